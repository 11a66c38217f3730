"""`zaudio view`: a picture of a recording, or of the sound that ops make of it: waveform and spectrogram.

Rules: a file is written whole or not at all, and replaces none without --overwrite. That and the names are checked
before anything is measured.
"""

from __future__ import annotations

import importlib.util
import os
import re
import stat
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from zaudio import disk
from zaudio.cli import voice
from zaudio.cli.measuring import measure, measured_options
from zaudio.errors import OutputExistsError, UsageError
from zaudio.needed import required

if TYPE_CHECKING:
    from zaudio.ops.picturing import PictureSurvey, View

SUFFIXES = ("png", "svg", "pdf")
SIZE = "1600x900"
SIZE_LEAST, SIZE_MOST = 400, 10_000  # pixels
PIECE_LEAST, PIECE_MOST = 2, 2**24  # frames per pixel; 16 million are six minutes


def picture_size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """Return width and height in pixels.

    Raises:
        click.BadParameter: It is no such text, or out of range.
    """
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", value)
    if match is None or not all(SIZE_LEAST <= int(side) <= SIZE_MOST for side in match.groups()):
        raise click.BadParameter(
            f"{value!r} is no size in pixels from {SIZE_LEAST} to {SIZE_MOST}; write it like {SIZE}", ctx, param
        )
    return int(match[1]), int(match[2])


def time_of(ctx: click.Context, param: click.Parameter, value: str | None) -> Decimal | None:
    """Return seconds, of ``90s``, ``1.5s``, ``500ms``, ``1:30`` or ``1:02:30``; None when the option was left out.

    Raises:
        click.BadParameter: It is no time.
    """
    if value is None:
        return None
    if match := re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|ms|)", value):
        return Decimal(match[1]) / (1000 if match[2] == "ms" else 1)
    if match := re.fullmatch(r"(?:([0-9]{1,5}):)?([0-9]{1,5}):([0-5]?[0-9](?:\.[0-9]{1,9})?)", value):
        return (int(match[1] or 0) * 60 + int(match[2])) * 60 + Decimal(match[3])
    raise click.BadParameter(f"{value!r} is no time; write it like 90s, 500ms or 1:02:30", ctx, param)


@click.command(
    epilog="\b\nExample:\n"
    "  zaudio view take.wav -o take.png\n"
    "  zaudio view take.wav -o start.svg --length 30s --average --op highpass:hz=80\n"
    "  zaudio view take.wav --data take.json --samples-per-pixel 256"
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    show_default="no picture",
    help="File for the picture: .png, .svg or .pdf.",
)
@click.option(
    "--data",
    metavar="FILE",
    type=click.Path(),
    show_default="none",
    help="File for the waveform as JSON, in the format of the BBC's audiowaveform, for players in web pages.",
)
@click.option(
    "--start",
    metavar="TIME",
    callback=time_of,
    show_default="0s",
    help="Instant at which the picture begins, such as 90s or 1:02:30.",
)
@click.option("--length", metavar="TIME", callback=time_of, show_default="up to the end", help="Length of the picture.")
@click.option(
    "--size", metavar="WxH", default=SIZE, callback=picture_size, help="Width and height of the picture in pixels."
)
@click.option("--scale", type=click.Choice(("mel", "linear")), default="mel", help="Scale of the frequencies.")
@click.option("--average", is_flag=True, help="Draw the long-term average spectrum beside the spectrogram.")
@click.option(
    "--theme", type=click.Choice(("dark", "light")), default="dark", help="Dark for screens, light for paper."
)
@click.option(
    "--samples-per-pixel",
    "piece",
    metavar="FRAMES",
    type=click.IntRange(PIECE_LEAST, PIECE_MOST),
    show_default="as a picture has",
    help="Frames per pair of extremes in the JSON.",
)
@click.option("--bits", type=click.Choice(("8", "16")), default="16", help="Bits of a value in the JSON.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@measured_options
def view(
    output: str | None,
    data: str | None,
    start: Decimal | None,
    length: Decimal | None,
    overwrite: bool,
    **options: Any,  # noqa: ANN401  the options of the picture, and those of `measure`, as click names them
) -> None:
    """Draw a picture: waveform and spectrogram.

    For each channel of INPUT the extremes of the samples, and the RMS within; below, the spectrogram of all channels
    together. A sine at full scale has 0 dB there. With --op, it is the sound behind these ops.
    """
    drawn = {key: options.pop(key) for key in ("size", "scale", "average", "theme")}
    piece, bits = options.pop("piece"), int(options.pop("bits"))
    check_wanted(output, data)
    for target in (name for name in (output, data) if name is not None):
        check_free(target, options["input"], overwrite=overwrite)

    def survey() -> PictureSurvey:
        from zaudio.ops.picturing import COLUMNS_MOST, PictureSurvey

        columns = min(drawn["size"][0], COLUMNS_MOST)
        return PictureSurvey(columns, piece or 0, drawn["scale"] if output is not None else "")

    asked = options["ops"]
    ops = (*cut_out(start, length), *asked)
    what, (cells, signal) = measure(survey, preload=required(ops), **{**options, "ops": ops})
    result: View = what.report(cells, signal)
    del cells
    written = []
    if output is not None:
        from zaudio.cli.drawing import Look, draw

        title = " ".join([os.path.basename(options["input"]), *(f"> {op}" for op in asked)])
        look = Look(title=title, first=float(start or 0), **drawn)
        content = draw(result, look, suffix_of(output))
        written.append(save(output, lambda: iter([content]), options["input"], overwrite=overwrite))
    if data is not None:
        from zaudio.cli.waveform import pieces_of_json

        written.append(save(data, lambda: pieces_of_json(result, bits), options["input"], overwrite=overwrite))
    for target in [] if voice.is_quiet() else written:
        voice.out(f"wrote {voice.printable(target)}")


def check_wanted(output: str | None, data: str | None) -> None:
    """Make sure that a file is asked for, of a kind that can be made.

    Raises:
        UsageError: It is not; or matplotlib is missing.
    """
    if output is None and data is None:
        raise UsageError("nothing is asked for: name a picture with -o FILE.png, or a file for the JSON with --data")
    if output is None:
        return
    if suffix_of(output) not in SUFFIXES:
        raise UsageError(f"{output}: expected a name that ends in .{', .'.join(SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("a picture needs matplotlib: pip install 'zaudio[plot]'")
    if data is not None and os.path.realpath(output) == os.path.realpath(data):
        raise UsageError(f"{data}: the picture and the JSON are two files")


def check_free(target: str, input: str, *, overwrite: bool) -> None:
    """Make sure that a file can take that name.

    Raises:
        OutputExistsError: Something has it, and must not be replaced.
        UsageError: It is the recording, or no file.
    """
    if not os.path.basename(target):
        raise UsageError(f"{target or repr(target)}: the output is no name of a file")
    try:
        status = disk.lstat(target)
    except (OSError, ValueError) as error:
        raise UsageError(f"{target!r}: the output cannot be written there: {error}") from None
    if not os.path.isdir(os.path.dirname(target) or "."):
        raise UsageError(f"{target}: there is no folder {os.path.dirname(target)}")
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{target} is {disk.kind(status)}; only a file may be replaced")
    if os.path.exists(input) and os.path.samestat(status, os.stat(input)):
        raise UsageError(f"{target} is the recording; choose another name")
    if not overwrite:
        raise OutputExistsError(target)


def save(target: str, content: Callable[[], Iterator[bytes]], input: str, *, overwrite: bool) -> str:
    """Write a file whole, and return its name.

    Raises:
        OutputExistsError: Something has taken the name in the meantime.
        StorageError: The disk refused.
    """

    def check() -> None:
        check_free(target, input, overwrite=overwrite)

    part = f"{os.path.basename(target)}.{os.getpid()}.part"
    with disk.storage_errors(target), disk.whole_file(target, part, mode=disk.PUBLIC, check=check) as fd:
        for piece in content():
            disk.write_all(fd, piece)
    return target


def cut_out(start: Decimal | None, length: Decimal | None) -> tuple[str, ...]:
    """Return the op that takes the wanted stretch out of the recording; none for all of it."""
    given = [f"{key}={value:f}s" for key, value in (("start", start), ("length", length)) if value is not None]
    return (f"trim:{','.join(given)}",) if given else ()


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name, without the dot and in small letters."""
    return os.path.splitext(name)[1][1:].lower()
