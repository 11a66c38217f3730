"""SampleFormat: the sample formats of raw audio, their sizes, and how many samples a frame may have.

Rules: pure; names and sizes only, no arrays. A format is named as FFmpeg and SoX users know it: kind, bits, byte
order.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from zaudio.errors import UsageError

# Names of files that have a header, by which players know them: samples without one must not go there.
HEADERED = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus"}
    | {".rf64", ".snd", ".voc", ".w64", ".wav", ".wave", ".wma", ".wv"}
)

MAX_CHANNELS = 1024  # libsndfile's limit
MAX_SAMPLERATE = 2**31 - 1  # a C int in libsndfile


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """How one sample is stored.

    Attributes:
        name: ``f32le``, ``s16be`` ...
        dtype: The numpy dtype string, byte order included: ``<f4``, ``>i2`` ...
        itemsize: Bytes per sample in memory and in messages.
        bits: Significant bits of a sample. Fewer than `itemsize` has are its upper ones, and the rest is zero.
    """

    name: str
    dtype: str
    itemsize: int
    bits: int

    @property
    def stored_bytes(self) -> int:
        """Bytes per sample in a file: those without the zeros."""
        return self.bits // 8

    @property
    def is_packed(self) -> bool:
        """Whether a sample takes fewer bytes in a file than in memory."""
        return self.stored_bytes < self.itemsize

    @property
    def native_dtype(self) -> str:
        """The same dtype in this machine's byte order, in which ops compute."""
        return "=" + self.dtype[1:]

    @property
    def is_native(self) -> bool:
        """Whether the stored byte order is this machine's."""
        return (self.dtype[0] == "<") == (sys.byteorder == "little")


FORMATS = {
    kind + order: SampleFormat(kind + order, mark + code, size, 8 * size)
    for kind, code, size in (("f32", "f4", 4), ("f64", "f8", 8), ("s16", "i2", 2), ("s32", "i4", 4))
    for order, mark in (("le", "<"), ("be", ">"))
}

# 24 bits: three bytes in a file. In memory they are the upper ones of four, since no machine computes with three.
PACKED = {"s24le": SampleFormat("s24le", "<i4", 4, 24), "s24be": SampleFormat("s24be", ">i4", 4, 24)}

_ALL = FORMATS | PACKED


def sample_format(name: str) -> SampleFormat:
    """Return the format of that name.

    Raises:
        UsageError: There is no such format; the sentence lists all.
    """
    try:
        return _ALL[name]
    except KeyError:
        raise UsageError(f"sample format {name!r} is none of {', '.join(sorted(_ALL))}") from None


def check_headerless(path: str, format: str, samplerate: int, channels: int) -> None:
    """Make sure that a file's name does not promise a header that it will not have.

    Raises:
        UsageError: It does; the sentence says how to get such a file.
    """
    stem, dot, suffix = path.rpartition(".")
    if dot and f".{suffix.lower()}" in HEADERED and "/" not in suffix:
        raise UsageError(
            f"{path}: samples are written without a header, and a .{suffix} has one; write {stem}.raw, and then: "
            f"ffmpeg -f {format} -ar {samplerate} -ac {channels} -i {stem}.raw {path}"
        )


def check_count(name: str, value: object, most: int) -> int:
    """Return a number of samples or frames as a user gave it.

    Raises:
        UsageError: It is not a whole number from 1 to `most`.
    """
    if type(value) is int and 1 <= value <= most:
        return value
    raise UsageError(f"{name} is a whole number from 1 to {most}, not {value!r}")
