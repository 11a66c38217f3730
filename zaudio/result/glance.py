"""Glance: how far a job is, read from its output folder by another process, without the key.

Rules: nothing is written, and no lock is taken: a job that starts at this instant must not find the folder busy.
Without the key the journal's HMACs cannot be checked, so its content is shown and not relied on.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass

from zaudio import disk
from zaudio.errors import UsageError
from zaudio.result.description import FILE_BYTES_MAX, Description, decode_description, split_file
from zaudio.result.journal import MAGIC, RECORD_MAX
from zaudio.result.primitives import TAG_BYTES
from zaudio.result.publication import ADDRESS, COMMIT, DESCRIPTION, JOURNAL, NAMES, PART, RESULT

ADDRESS_MAX = 4096  # bytes
HEAD_MAX = len(MAGIC) + 4 + (1 << 20)  # bytes of a journal in which its first record ends
TAIL = 84  # bytes of a checkpoint's record

_LENGTH = struct.Struct(">I")
_CHECKPOINT = struct.Struct(f">QQ{TAG_BYTES}s")


@dataclass(frozen=True, slots=True)
class Glance:
    """The state of an output folder.

    Attributes:
        state: ``running``, ``interrupted``, ``done``, or ``empty``. A job that replaces a result is ``running``.
        bytes: Bytes of samples of the result; 0 when that is unknown.
        written: Bytes of it that lie in the folder, of which the last are perhaps not on the disk yet.
        incarnation: The life of the coordinator that wrote the last checkpoint; 0 before the first one.
        description: The description of the result, if it is known.
        quiet: Seconds since something was last written; None when nothing lies there.
    """

    state: str
    bytes: int = 0
    written: int = 0
    incarnation: int = 0
    description: Description | None = None
    quiet: float | None = None

    @property
    def ops(self) -> tuple[str, ...]:
        """The ops as text; none when they are unknown."""
        return self.description.ops if self.description is not None else ()


def glance(path: str, *, now: float) -> Glance:
    """Return the state of the job in an output folder.

    Args:
        path: The folder.
        now: The time of the day, as files have it.

    Raises:
        UsageError: It is no folder, or cannot be read.
    """
    try:
        fd = os.open(path, disk.FOLDER)
    except OSError as error:
        raise UsageError(f"{path}: no output folder can be read there: {disk.reason(error)}") from error
    try:
        return _glance(fd, now)
    except OSError as error:
        raise UsageError(f"{path}: {disk.reason(error)}") from error
    finally:
        os.close(fd)


def read_address(path: str) -> tuple[str, str] | None:
    """Return address and token of the page of a job; None when nothing names them.

    Args:
        path: The output folder, or another file that names them.
    """
    try:
        content = disk.read_file(os.path.join(path, ADDRESS) if os.path.isdir(path) else path, ADDRESS_MAX)
        fields = json.loads(bytes(content))
        address, token = fields["address"], fields["token"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (address, token) if isinstance(address, str) and isinstance(token, str) else None


def _glance(fd: int, now: float) -> Glance:
    part, journal = disk.lstat(RESULT + PART, dir_fd=fd), disk.lstat(JOURNAL, dir_fd=fd)
    published = all(disk.lstat(name, dir_fd=fd) is not None for name in NAMES if name != "encryption_key.bin")
    running = disk.is_locked(fd)
    if not running and (disk.lstat(COMMIT, dir_fd=fd) is not None or (journal is None and published)):
        return _published(fd, now)
    if journal is None and part is None:
        return Glance("running" if running else "empty")
    described, incarnation = _read_journal(fd)
    total = described.plaintext_bytes if described is not None else 0
    written = min(part.st_size, total or part.st_size) if part is not None else 0
    times = [status.st_mtime for status in (part, journal) if status is not None]
    quiet = max(0.0, now - max(times))
    return Glance("running" if running else "interrupted", total, written, incarnation, described, quiet)


def _published(fd: int, now: float) -> Glance:
    status = disk.lstat(DESCRIPTION, dir_fd=fd)
    try:
        content = bytes(disk.read_file(DESCRIPTION, FILE_BYTES_MAX, dir_fd=fd))
        described = decode_description(split_file(content)[0])
    except (ValueError, OSError):
        return Glance("done")
    quiet = max(0.0, now - status.st_mtime) if status is not None else None
    return Glance("done", described.plaintext_bytes, described.plaintext_bytes, 0, described, quiet)


def _read_journal(fd: int) -> tuple[Description | None, int]:
    """Return the description in the first record, and the life that the last one names, if it is a checkpoint."""
    try:
        file = os.open(JOURNAL, disk.READ, dir_fd=fd)
    except OSError:
        return None, 0
    try:
        size = os.fstat(file).st_size
        head = os.pread(file, HEAD_MAX, 0)
        tail = os.pread(file, TAIL, max(0, size - TAIL))
    finally:
        os.close(file)
    begin = len(MAGIC) + _LENGTH.size
    if not head.startswith(MAGIC) or len(head) < begin:
        return None, 0
    (length,) = _LENGTH.unpack_from(head, len(MAGIC))
    try:
        body = head[begin : begin + min(length, RECORD_MAX)]
        described = decode_description(json.loads(body)["description"].encode("ascii"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, 0
    first = begin + length + TAG_BYTES
    if size >= first + TAIL and tail[: _LENGTH.size] == _LENGTH.pack(_CHECKPOINT.size):
        return described, int(_CHECKPOINT.unpack_from(tail, _LENGTH.size)[0])
    return described, 0
