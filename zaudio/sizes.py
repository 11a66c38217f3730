"""SIZE: an amount as a user writes it: bytes with a suffix (`1MiB`), seconds (`1s`) or frames (`44100f`).

Rules: pure. Text from outside is checked here, once.
"""

from __future__ import annotations

import re
from fractions import Fraction

from zaudio.errors import UsageError

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", re.ASCII)


def parse_bytes(size: str | int, *, what: str) -> int:
    """Return bytes, 1 or more, from a number of bytes or text such as `128MiB`.

    Args:
        size: The size, as the user gave it.
        what: The name of the thing that has that size, for the sentence.

    Raises:
        UsageError: It is no such size.
    """
    number, unit = _split(size, what)
    if unit not in _UNITS:
        raise UsageError(f"{what}: expected bytes such as 128MiB, got {size!r}")
    amount = int(number * _UNITS[unit])
    if amount < 1:
        raise UsageError(f"{what}: expected at least 1 byte, got {size!r}")
    return amount


def parse_frames(size: str | int, *, what: str, frame_bytes: int, samplerate: int) -> int:
    """Return frames, 1 or more, from bytes (`1MiB`), seconds (`1.5s`) or frames (`44100f`); rounded down.

    Raises:
        UsageError: It is no such size, or less than one frame.
    """
    number, unit = _split(size, what)
    if unit == "s":
        frames = int(number * samplerate)
    elif unit == "f":
        frames = int(number)
    elif unit in _UNITS:
        frames = int(number * _UNITS[unit]) // frame_bytes
    else:
        raise UsageError(f"{what}: expected bytes (1MiB), seconds (1s) or frames (44100f), got {size!r}")
    if frames < 1:
        raise UsageError(f"{what}: {size!r} is less than one frame of {frame_bytes} bytes")
    return frames


def _split(size: str | int, what: str) -> tuple[Fraction, str]:
    match = _SIZE.fullmatch(str(size))
    if match is None or len(match[1]) > 30 or isinstance(size, bool):
        raise UsageError(f"{what}: expected a number and a unit such as 1MiB, got {size!r}")
    return Fraction(match[1]), match[2].lower()
