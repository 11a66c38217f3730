"""Container: the kinds of file that are written, by the suffix of their name, and what each can hold.

Rules: pure. A refusal says what to type. Suffixes of raw files are those that are read as raw.
"""

from __future__ import annotations

import os
from enum import Enum

from zaudio.audio.source import RAW_SUFFIXES
from zaudio.errors import UsageError
from zaudio.signal import Signal

FLAC_CHANNELS = 8  # the limits of the format, RFC 9639: 3 bits, and 36 bits for the frames
FLAC_FRAMES = 2**36 - 1
FLAC_SAMPLERATE = 655_350  # libsndfile's limit: the highest rate that the head of a frame can name
FLAC_BITS = (16, 24)


class Container(Enum):
    """A kind of file that is written."""

    WAV = "WAV"  # RF64 from 4 GiB on
    FLAC = "FLAC"
    RAW = "raw"


_SUFFIXES = {
    ".wav": Container.WAV,
    ".wave": Container.WAV,
    ".rf64": Container.WAV,
    ".flac": Container.FLAC,
    **dict.fromkeys(sorted(RAW_SUFFIXES), Container.RAW),
}

_NAMED = frozenset({".f32", ".f64", ".s16", ".s32"})  # suffixes of raw files that say a format


def container_of(path: str) -> Container:
    """Return the kind of file that a name's suffix names.

    Raises:
        UsageError: It names none that is written here.
    """
    if not path:
        raise UsageError("the output file has no name")
    suffix = os.path.splitext(path)[1].lower()
    try:
        return _SUFFIXES[suffix]
    except KeyError:
        known = ", ".join(sorted(_SUFFIXES))
        found = f"and {suffix} is not one of them" if suffix else "and this name has no suffix"
        raise UsageError(f"{path}: the kind of file goes by its suffix, {known}, {found}") from None


def check_container(
    path: str, container: Container, signal: Signal, *, convert: str = "", of_batch: bool = False
) -> None:
    """Make sure that a kind of file can hold a signal.

    Args:
        path: The file.
        container: Its kind.
        signal: The signal.
        convert: A command that converts samples, all but the format; by default the one that was typed does.
        of_batch: Whether a batch names the file: its user types a suffix.

    Raises:
        UsageError: It cannot.
    """
    stem, suffix = os.path.splitext(path)

    def write(other: str) -> str:
        return f"pass --render {other} (suffix={other!r})" if of_batch else f"write {stem}.{other}"

    if container is Container.FLAC:
        _check_flac(path, signal, convert, write("wav"))
    if suffix.lower() in _NAMED and signal.format.name[:3] != suffix.lower()[1:]:
        wanted = suffix.lower()[1:]
        raise UsageError(
            f"{path}: its suffix says {wanted}, and the samples are {signal.format.name}; pass --format {wanted}le, or "
            f"{write('raw')}"
        )


def _check_flac(path: str, signal: Signal, convert: str, write: str) -> None:
    format = signal.format
    if format.dtype[1] == "f" or format.bits not in FLAC_BITS:
        remedy = f"type `{convert} s24le`" if convert else "pass --format s24le or --format s16le"
        raise UsageError(
            f"{path}: a FLAC file holds 16 or 24 bits, and the samples are {format.name}; {remedy}, or {write}"
        )
    if signal.channels > FLAC_CHANNELS:
        raise UsageError(
            f"{path}: a FLAC file holds {FLAC_CHANNELS} channels, and there are {signal.channels}; {write}"
        )
    if signal.samplerate > FLAC_SAMPLERATE:
        raise UsageError(
            f"{path}: a FLAC file holds up to {FLAC_SAMPLERATE} frames a second, and there are "
            f"{signal.samplerate}; {write}"
        )
    if not signal.frames:
        raise UsageError(f"{path}: the recording has no frames, which a FLAC file cannot say; {write}")
    if signal.frames > FLAC_FRAMES:
        raise UsageError(
            f"{path}: a FLAC file counts up to {FLAC_FRAMES} frames, and there are {signal.frames}; {write}"
        )
