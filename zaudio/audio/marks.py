"""Marks: how a later start recognises a file that an earlier one published whole.

Rules: a file with the size and time of its mark counts as it; one with another time is read. A file behind a link is
never trusted.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import NamedTuple

from zaudio import disk
from zaudio.audio.part import JOURNAL, PART

READ_BYTES = 1 << 20


class FileMark(NamedTuple):
    """The mark of a file.

    Attributes:
        sha256: Of all its bytes, in hex.
        size: Bytes of it.
        mtime_ns: When it was last written to.
    """

    sha256: str
    size: int
    mtime_ns: int


def mark_of(fd: int) -> FileMark:
    """Return the mark of an open file, which is read for it.

    Raises:
        OSError: The system refused.
    """
    status = os.fstat(fd)
    return FileMark(_sha256(fd), status.st_size, status.st_mtime_ns)


def read_mark(path: str) -> FileMark:
    """Return the mark of a file, which is read.

    Raises:
        OSError: The system refused.
    """
    fd = os.open(path, disk.READ)
    try:
        return mark_of(fd)
    finally:
        os.close(fd)


def is_marked(path: str, mark: FileMark, *, thorough: bool) -> bool:
    """Return whether the file of that name is the one of a mark.

    Args:
        path: The file.
        mark: The mark.
        thorough: Whether it is read in any case; otherwise only where its time is another one.
    """
    try:
        fd = os.open(path, disk.READ)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != mark.size:
            return False
        return (status.st_mtime_ns == mark.mtime_ns and not thorough) or _sha256(fd) == mark.sha256
    except OSError:
        return False
    finally:
        os.close(fd)


def tidy(path: str) -> None:
    """Remove the journal of a file that is published: a kill in that instant leaves one without a part."""
    if os.path.lexists(path + JOURNAL) and not os.path.lexists(path + PART):
        disk.remove(path + JOURNAL)


def _sha256(fd: int) -> str:
    digest, buffer, at = hashlib.sha256(), memoryview(bytearray(READ_BYTES)), 0
    while count := disk.read_into(fd, buffer, at):
        digest.update(buffer[:count])
        at += count
    return digest.hexdigest()
