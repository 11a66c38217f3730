"""Glance: how far a render is, read from its files by another process.

Rules: nothing is written, and no lock is taken: a render that starts at this instant must not find its part busy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from zaudio import disk
from zaudio.audio.container import Container, container_of
from zaudio.audio.journal import Journal, decode_journal
from zaudio.audio.magic import HEAD_BYTES, sniff
from zaudio.audio.part import JOURNAL, JOURNAL_MAX, PART
from zaudio.errors import UsageError


@dataclass(frozen=True, slots=True)
class FileGlance:
    """The state of a file that plays.

    Attributes:
        state: ``running``, ``interrupted``, ``done``, or ``empty``. A render that replaces a file is ``running``.
        bytes: Bytes of the file; 0 when that is unknown, as of a FLAC that is being written.
        written: Bytes of it so far, of which the last are perhaps not on the disk yet.
        incarnation: The life of the render that wrote last; 0 when that is unknown.
        ops: The ops as text, with their versions; none when they are unknown.
        quiet: Seconds since something was last written; None when nothing lies there.
    """

    state: str
    bytes: int = 0
    written: int = 0
    incarnation: int = 0
    ops: tuple[str, ...] = ()
    quiet: float | None = None


def glance_file(path: str, *, now: float) -> FileGlance:
    """Return the state of a render by the files at its output.

    Args:
        path: The output; its part may lie beside it.
        now: The time of the day, as files have it.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        try:
            return _glance(path, now)
        except FileNotFoundError:
            return _glance(path, now)  # the part took its name meanwhile
    except OSError as error:
        raise UsageError(f"{path}: {disk.reason(error)}") from error


def is_of_render(path: str) -> bool:
    """Return whether the files at an output can be those of a render: by its journal, or by suffix and first bytes."""
    if _read_journal(path) is not None:
        return True
    try:
        container = container_of(path)
        if container is Container.RAW or disk.lstat(path + PART) is not None:  # a part has no header yet
            return True
        with open(path, "rb") as file:
            kind = sniff(file.read(HEAD_BYTES))
    except (UsageError, OSError):
        return False
    return kind in (("FLAC",) if container is Container.FLAC else ("WAV", "RF64"))


def _glance(path: str, now: float) -> FileGlance:
    part, whole = disk.lstat(path + PART), disk.lstat(path)
    if part is None:
        if whole is None:
            return FileGlance("empty")
        return FileGlance("done", whole.st_size, whole.st_size, quiet=max(0.0, now - whole.st_mtime))
    fd = os.open(path + PART, disk.READ)
    try:
        running = disk.is_locked(fd)
    finally:
        os.close(fd)
    journal = _read_journal(path)
    return FileGlance(
        "running" if running else "interrupted",
        journal.job.size if journal is not None else 0,
        part.st_size,
        journal.incarnation if journal is not None else 0,
        journal.job.ops if journal is not None else (),
        max(0.0, now - part.st_mtime),
    )


def _read_journal(path: str) -> Journal | None:
    """Return the journal; None when it is missing or cannot be read."""
    try:
        return decode_journal(bytes(disk.read_file(path + JOURNAL, JOURNAL_MAX)))
    except (OSError, ValueError):
        return None
