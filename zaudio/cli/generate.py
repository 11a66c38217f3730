"""`zaudio generate`: write a test recording."""

from __future__ import annotations

import os

import click

from zaudio.cli import voice
from zaudio.cli.options import voice_options


@click.command(epilog="\b\nExample:\n  zaudio generate noise.raw --seconds 60 --channels 2")
@click.argument("path", type=click.Path(), metavar="[PATH]", default="generated_data/test.raw")
@click.option("--seconds", metavar="SECONDS", type=click.FloatRange(min=0), default=3600.0, help="Length in seconds.")
@click.option(
    "--samplerate", metavar="HZ", type=click.IntRange(min=1), default=44100, help="Frames a second, in hertz."
)
@click.option("--channels", metavar="COUNT", type=click.IntRange(min=1), default=1, help="Samples a frame.")
@click.option(
    "--seed",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    default=0,
    help="A number; the same one gives the same file.",
)
@voice_options
def generate(path: str, seconds: float, samplerate: int, channels: int, seed: int) -> None:
    """Write a test recording to PATH.

    It holds raw float32 samples, little-endian. PATH is generated_data/test.raw by default.
    """
    from zaudio.audio.generate import generate as write

    frames = write(path, seconds=seconds, samplerate=samplerate, channels=channels, seed=seed)
    if not voice.is_quiet():
        voice.out(f"generated {voice.printable(path)}: {frames} frames, {os.path.getsize(path)} bytes")
