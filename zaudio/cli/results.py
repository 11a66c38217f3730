"""`zaudio decrypt` and `zaudio verify`: read and check a published result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from zaudio.cli import voice
from zaudio.cli.options import voice_options

if TYPE_CHECKING:
    from zaudio.result import Description

identity_option = click.option(
    "--identity",
    metavar="FILE",
    type=click.Path(),
    show_default="none",
    help="The identity that the key is wrapped for, as `zaudio identity` wrote it.",
)


@click.command(epilog="\b\nExample:\n  zaudio decrypt generated_data --forward -o processed.raw")
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    type=click.Path(allow_dash=True),
    show_default="DIR/decrypted.raw",
    help="File for the audio; - is standard output.",
)
@click.option("--forward", is_flag=True, help="Undo the reversal: write the first frame of the recording first.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@identity_option
@voice_options
def decrypt(folder: str, output: str | None, forward: bool, overwrite: bool, identity: str | None) -> None:
    """Verify a result, then write its audio.

    DIR is the folder of the result. The command writes raw samples, reversed in time like the result itself.
    """
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; pipe it somewhere, or name a file with -o")
    from zaudio import result

    description, path = result.decrypt(folder, output, forward=forward, overwrite=overwrite, identity=identity)
    if voice.is_quiet():
        return
    order = "forward" if forward else "reversed in time"
    if output == "-":
        voice.err(f"decrypted {_audio(description)}, {order}")
    else:
        voice.out(f"decrypted to {voice.printable(str(path))}: {_audio(description)}, {order}")


@click.command(epilog="\b\nExample:\n  zaudio verify generated_data")
@click.argument("folder", type=click.Path(), metavar="DIR")
@identity_option
@voice_options
def verify(folder: str, identity: str | None) -> None:
    """Check that a result is complete and unchanged.

    DIR is the folder of the result. The exit code is 5 if anything in it does not agree.
    """
    from zaudio import result

    description = result.verify(folder, identity=identity)
    if not voice.is_quiet():
        voice.out(f"{voice.printable(folder)}: complete and unchanged: {_audio(description)}")


def _audio(description: Description) -> str:
    return (
        f"{description.frames} frames, channels {description.channels}, "
        f"{description.samplerate} Hz, {voice.printable(str(description.format))}"
    )
