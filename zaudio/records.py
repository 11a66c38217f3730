"""Records: the journal of any destination. Each record's sum covers the one before; a schedule says when one is due.

    record: length (4 bytes), body, sum (32 bytes)

Rules: pure. A destination brings its sums: a secret's HMAC, or SHA-256 alone. An incomplete record at the very end was
being written when its writer died, and is cut off. A wrong record before the end is damage.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Protocol

SUM_BYTES = 32

SECONDS = 2.0  # of work that is lost when a coordinator is killed; an fsync takes some ms where the disk keeps up
BYTES = 256 << 20  # or so much output: half a second of AES
COST = 0.05  # of the time at most: where an fsync is slow, records are rarer ...
SECONDS_MOST = 60.0  # ... but not rarer than this

_LENGTH = struct.Struct(">I")


class Seal(Protocol):
    """A chain of sums through a journal."""

    def next(self, record: bytes) -> bytes:
        """Return the sum of the next record."""

    def agrees(self, record: bytes, seal: bytes) -> bool:
        """Return whether that is the sum of the next record; if it is, go on behind that record."""


class Sums:
    """The chain of a journal without a secret: SHA-256 of the sum before it and the record. It finds damage."""

    def __init__(self) -> None:
        self._last = b""

    def next(self, record: bytes) -> bytes:
        """Return the sum of the next record."""
        self._last = sha256(self._last + record).digest()
        return self._last

    def agrees(self, record: bytes, seal: bytes) -> bool:
        """Return whether that is the sum of the next record; if it is, go on behind that record."""
        expected = sha256(self._last + record).digest()
        if expected != seal:
            return False
        self._last = expected
        return True


def encode_record(body: bytes, seal: Seal) -> bytes:
    """Return one more record."""
    head = _LENGTH.pack(len(body)) + body
    return head + seal.next(head)


def decode_records(
    content: bytes, start: int, seal: Seal, *, most: int, doubt: str = ""
) -> Iterator[tuple[int, bytes]]:
    """Give the end of each record and its body, up to a torn one.

    Args:
        content: All of the journal.
        start: The byte at which the first record begins.
        seal: The chain's beginning; taken along.
        most: Bytes of the longest body.
        doubt: Another reason for which a sum may be wrong, for the sentence.

    Raises:
        ValueError: A record is damaged.
    """
    first = start
    while start < len(content):
        body = start + _LENGTH.size
        if len(content) < body:
            return
        (length,) = _LENGTH.unpack_from(content, start)
        if not length and not any(content[start:]):
            return  # the system had made room for a record and not yet filled it
        if not 0 < length <= most:
            raise ValueError(f"a record at byte {start} is damaged")
        end = body + length + SUM_BYTES
        if end > len(content):
            return
        if not seal.agrees(content[start : body + length], content[body + length : end]):
            if end == len(content) and start > first:
                return
            raise ValueError(f"the record at byte {start} is damaged{doubt}")
        yield end, content[body : body + length]
        start = end


class Schedule:
    """The times at which records are due. Pure: the time is an argument."""

    def __init__(self, *, now: float) -> None:
        self._ended = now  # of the last one
        self._pause = 0.0  # to wait for after it at least

    def due(self, written: int, *, now: float) -> bool:
        """Return whether a record is due, given the bytes that were written since the last one."""
        passed = now - self._ended
        return written > 0 and passed >= self._pause and (passed >= SECONDS or written >= BYTES)

    def made(self, *, began: float, now: float) -> None:
        """Note that a record was made in that time."""
        self._ended = now
        self._pause = min((now - began) / COST, SECONDS_MOST)
