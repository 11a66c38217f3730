"""RawSource: samples stored in a file as they are, from an offset on. `doubt` tells whether they seem to be no floats.

Rules: no header is read here, and no sample is changed; the bytes of the file are the bytes of the chunk.
"""

from __future__ import annotations

import sys

from zaudio.audio.files import FileSource, InputFile
from zaudio.errors import InputChangedError, InputError
from zaudio.formats import SampleFormat

DOUBTFUL = 0.01  # the share of samples that no recording has, from which on a user is told
DOUBTFUL_LEAST = 8  # such samples: a handful of infinities does not make a file doubtful
DOUBT_BLOCKS = 16  # of 16 KiB: looked at in five milliseconds
DOUBT_BYTES = 16384

# Bytes of a float: its first byte without the sign, below which it is too small and from which on it is too large for
# a recording, and these two as words. Two 16-bit integers that are read as one f32 are one or the other as a rule.
_LIMITS = {4: (0x0D, 0x45, "2^-101", "2^11"), 8: (0x39, 0x41, "2^-111", "2^17")}


class RawSource(FileSource):
    """Interleaved samples of known format: `length` bytes from byte `offset` on; without a length, to the file's end.

    Raises:
        InputError: The bytes are not a whole number of frames, and `truncated` does not allow that.
    """

    def __init__(
        self,
        file: InputFile,
        *,
        channels: int,
        samplerate: int,
        format: SampleFormat,
        container: str = "raw",
        offset: int = 0,
        length: int | None = None,
        truncated: bool = False,
    ) -> None:
        size = file.size - offset if length is None else length
        frames, warnings = whole_frames(file, size, channels, format, truncated=truncated)
        super().__init__(
            file, frames=frames, channels=channels, samplerate=samplerate, format=format, container=container
        )
        self.warnings = warnings
        self._offset = offset
        self.reference = file.reference(offset)

    def _samples(self, start: int, stop: int) -> bytes:
        length = (stop - start) * self.frame_bytes
        samples = self._file.read_at(self._offset + start * self.frame_bytes, length)
        if len(samples) != length:
            raise InputChangedError(
                self.path, f"gave {len(samples)} bytes of frames {start} to {stop} instead of {length}: it shrank"
            )
        return samples


def whole_frames(
    file: InputFile, size: int, channels: int, format: SampleFormat, *, truncated: bool
) -> tuple[int, tuple[str, ...]]:
    """Return the whole frames in a number of bytes, and a sentence when bytes are left out.

    Raises:
        InputError: They are not a whole number of frames, and `truncated` does not allow that.
    """
    width = channels * format.stored_bytes
    frames, remainder = divmod(size, width)
    if not remainder:
        return frames, ()
    sentence = (
        f"{size} bytes of samples are {frames} frames of {width} bytes ({channels} x {format.name}) and {remainder} "
        "bytes more"
    )
    if not truncated:
        raise InputError(
            file.path,
            f"{sentence}; name the format with --samplerate, --channels and --format (of a render --input-format), or "
            "pass --truncated (Raw(truncated=True)) to leave the last bytes out",
        )
    return frames, (f"{file.path}: {sentence}, which are left out",)


def doubt(file: InputFile, format: SampleFormat) -> str | None:
    """Return a sentence when the samples of a raw file seem to be no floats, though they are to be read as such.

    It looks at blocks from all over the file. Integers that are read as floats are mostly far too large, far too small,
    or no numbers.
    """
    if format.name[0] != "f":
        return None
    width = format.itemsize
    low, high, faint, loud = _LIMITS[width]
    last = max(0, file.size - DOUBT_BYTES)
    places = {last * number // (DOUBT_BLOCKS - 1) // width * width for number in range(DOUBT_BLOCKS)}
    blocks = b"".join(file.read_at(place, DOUBT_BYTES) for place in sorted(places))
    samples = blocks[: len(blocks) // width * width]
    # The first bytes tell, and bytes are counted quickly without numpy, which raw samples do not need.
    first = samples[width - 1 if format.dtype[0] == "<" else 0 :: width]
    impossible = bytes(byte for byte in range(256) if not low <= byte & 0x7F < high)
    strange = len(first) - len(first.translate(None, impossible))
    if strange > DOUBTFUL * len(first):
        strange -= _zeros(samples, format)  # they look strange, too; counting them takes some ms
    if strange < DOUBTFUL_LEAST or strange <= DOUBTFUL * len(first):
        return None
    return (
        f"{file.path}: {strange / len(first):.0%} of its samples, read as {format.name}, are above {loud}, below "
        f"{faint} or no numbers, where full scale is 1; if they are 16-bit integers, pass --format s16le "
        "(of a render --input-format s16le, from Python Raw(format='s16le')), or else the format that they have"
    )


def _zeros(samples: bytes, format: SampleFormat) -> int:
    """Return how many floats are 0 or -0."""
    numbers = memoryview(samples).cast("I" if format.itemsize == 4 else "Q").tolist()
    negative = bytes([0x80, *bytes(format.itemsize - 1)])
    if format.dtype[0] == "<":
        negative = negative[::-1]
    return numbers.count(0) + numbers.count(int.from_bytes(negative, sys.byteorder))
