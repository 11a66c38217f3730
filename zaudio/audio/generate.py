"""generate: a recording for trials. White noise, the same bytes for the same seed on every machine.

Rules: the samples are 24 of every 32 bits of PCG64, scaled by a power of two. numpy promises to keep the stream of the
bit generator, and not its distributions; functions such as `sin` differ between CPUs. The file appears by rename, whole
or not at all.
"""

from __future__ import annotations

import math
import os
import secrets
from typing import TYPE_CHECKING

from zaudio.disk import PUBLIC, reason, whole_file, write_all
from zaudio.errors import StorageError, UsageError
from zaudio.formats import MAX_CHANNELS, MAX_SAMPLERATE, check_count, check_headerless

if TYPE_CHECKING:
    import numpy as np

_BLOCK_WORDS = 2**18  # of 64 bits, two samples each: 2 MiB stays in the cache and makes the calls cheap
_MAX_BYTES = 2**63 - 1  # the largest file there can be


def generate(
    path: str | os.PathLike[str],
    *,
    seconds: float = 3600.0,
    samplerate: int = 44100,
    channels: int = 1,
    seed: int = 0,
) -> int:
    """Write white noise in [-1, 1) as raw float32 little-endian, over an older file if there is one.

    Args:
        path: The file; missing folders are made.
        seconds: Its duration, 0 or more; rounded to a whole number of frames.
        samplerate: Frames per second.
        channels: Samples per frame.
        seed: 0 or more; the same seed gives the same bytes.

    Returns:
        The number of frames that were written.

    Raises:
        UsageError: An argument is out of range.
        StorageError: The file could not be written; nothing is left of it, and an older one is unchanged.
    """
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        raise UsageError(f"the name of the file to generate is a path, not {name!r}")
    frames = _check(seconds, samplerate, channels, seed)
    check_headerless(name, "f32le", samplerate, channels)
    try:
        folder = os.path.dirname(os.path.abspath(name))
        os.makedirs(folder, exist_ok=True)
        if os.path.isdir(name):
            raise IsADirectoryError(None, "is a folder")
        _write(name, f".zaudio-{secrets.token_hex(8)}.part", frames * channels, seed)
    except OSError as error:
        raise StorageError(name, reason(error).lower()) from None
    return frames


def _check(seconds: object, samplerate: object, channels: object, seed: object) -> int:
    """Check every argument; return the number of frames."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise UsageError(f"seconds is a number, 0 or more, not {seconds!r}")
    samplerate = check_count("samplerate", samplerate, MAX_SAMPLERATE)
    channels = check_count("channels", channels, MAX_CHANNELS)
    if type(seed) is not int or seed < 0:
        raise UsageError(f"seed is a whole number, 0 or more, not {seed!r}")
    frames = seconds * samplerate
    if not frames * channels * 4 <= _MAX_BYTES:
        raise UsageError(f"{seconds!r} s of {channels} channels at {samplerate} Hz do not fit into a file")
    return round(frames)


def _write(name: str, part: str, samples: int, seed: int) -> None:
    from numpy.random import PCG64

    with whole_file(name, part, mode=PUBLIC) as fd:
        noise = PCG64(seed)
        for start in range(0, samples, 2 * _BLOCK_WORDS):
            write_all(fd, _block(noise, min(2 * _BLOCK_WORDS, samples - start)))


def _block(noise: np.random.PCG64, samples: int) -> memoryview:
    """Return the next samples, two of each word, the low half first. Only the last block may have an odd number."""
    words = noise.random_raw((samples + 1) // 2)
    bits = words.astype("<u8", copy=False).view("<u4")[:samples]
    block = (bits >> 8).astype("<f4")  # 24 bits: every value is exact
    block *= 2.0**-23
    block -= 1.0
    return block.data.cast("B")
