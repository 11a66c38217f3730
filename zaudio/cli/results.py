"""`zaudio decrypt` and `zaudio verify`: read and check a published result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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


key_option = click.option(
    "--key",
    metavar="FILE",
    type=click.Path(allow_dash=False),
    show_default="encryption_key.bin in DIR",
    help="The encryption key, if it lies elsewhere.",
)


@click.command(epilog="\b\nExample:\n  zaudio decrypt generated_data --forward -o processed.wav")
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    type=click.Path(allow_dash=True),
    show_default="DIR/decrypted.raw",
    help="File for the audio: .wav or .flac, or samples alone for any other suffix; - is standard output.",
)
@click.option("--forward", is_flag=True, help="Undo the reversal: write the first frame of the recording first.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@key_option
@identity_option
@voice_options
def decrypt(folder: str, output: str | None, **options: Any) -> None:  # noqa: ANN401  arguments of `decrypt`
    """Verify a result, then write its audio.

    DIR is the folder of the result. Frames come in the stored order, reversed in time unless the result says forward.
    """
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; pipe it somewhere, or name a file with -o")
    from zaudio import unsealing

    with reading("decrypting") as on_progress:
        description, path = unsealing.decrypt(folder, output, on_progress=on_progress, **options)
    if voice.is_quiet():
        return
    order = "forward" if options["forward"] or description.order.value == "forward" else "reversed in time"
    if output == "-":
        voice.err(f"decrypted {_audio(description)}, {order}")
    else:
        voice.out(f"decrypted to {voice.printable(str(path))}: {_audio(description)}, {order}")


@click.command(epilog="\b\nExample:\n  zaudio verify generated_data")
@click.argument("folder", type=click.Path(), metavar="DIR")
@key_option
@identity_option
@voice_options
def verify(folder: str, **options: Any) -> None:  # noqa: ANN401  arguments of `verify`
    """Check that a result is complete and unchanged.

    DIR is the folder of the result. The exit code is 5 if anything in it does not agree.
    """
    from zaudio import result

    with reading("verifying") as on_progress:
        description = result.verify(folder, on_progress=on_progress, **options)
    if not voice.is_quiet():
        voice.out(f"{voice.printable(folder)}: complete and unchanged: {_audio(description)}")


@contextmanager
def reading(word: str) -> Iterator[Callable[[int, int], None]]:
    """Give the function that shows how far a command has come, once it takes long."""
    if voice.is_quiet():
        yield lambda *_: None
        return
    from zaudio.cli.progress import ReadingLine

    shown = ReadingLine(word, sys.stderr, now=time.monotonic())
    try:
        yield lambda done, total: shown.show(done, total, now=time.monotonic())
    finally:
        shown.close()


def _audio(description: Description) -> str:
    return (
        f"{description.frames} frames, channels {description.channels}, "
        f"{description.samplerate} Hz, {voice.printable(str(description.format))}"
    )
