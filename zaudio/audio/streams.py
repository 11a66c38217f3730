"""Streams: standard input and FIFOs. All of a stream is read once into a spool, which is then read like a file.

Rules: a stream is waited for in short turns, so that a stop is heard. A stream cannot be read again, so a job of one
cannot be resumed. The spool comes from the caller: this room encrypts nothing.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn, Protocol

from zaudio.audio.files import InputFile, why_not
from zaudio.disk import reason
from zaudio.errors import InputError, UsageError
from zaudio.reference import Fingerprint, Reference

STANDARD_INPUT = "-"
READ_BYTES = 1 << 20  # a pipe has 64 KiB by default, and a file behind standard input has more
TURN_MS = 100  # between two looks for a stop while nothing comes

# on_progress(verb, done, total): bytes; a total of 0 is not known. An exception of it ends the work.
OnProgress = Callable[[str, int, int], None]


class Spool(Protocol):
    """A place for bytes that are written once, in order, and read from any byte on. The input's source closes it.

    Attributes:
        size: Bytes that were written.
    """

    size: int

    def reserve(self, size: int) -> None:
        """Make sure that there is room for that many bytes.

        Raises:
            StorageError: There is not.
        """

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""

    def freeze(self) -> None:
        """End writing."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; fewer only where the spool ends."""
        ...

    def close(self) -> None:
        """Let go of it. Idempotent."""


MakeSpool = Callable[[], Spool]


class SpooledFile(InputFile):
    """A stream that was read to its end.

    Attributes:
        path: Its name, as it was given.
        size: Its bytes.
    """

    def __init__(self, path: str, spool: Spool) -> None:
        self.path = path
        self.size = spool.size
        name = "standard input" if path == STANDARD_INPUT else path
        self.unresumable = f"{name} is a stream, which cannot be read again"
        self._spool = spool

    @property
    def fd(self) -> NoReturn:
        """There is no descriptor.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"{self.path} is a stream")

    def reference(self, offset: int) -> Reference | None:  # noqa: ARG002  that of a file has a place
        """Return None: no worker can read a stream."""
        return None

    def fingerprint(self) -> Fingerprint:
        """Refuse: no later start can recognise a stream.

        Raises:
            InputError: Always.
        """
        raise InputError(self.path, "is a stream, which cannot be read again, so its job cannot be resumed")

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; fewer only where the stream ended.

        Raises:
            StorageError: The spool cannot be read.
        """
        return self._spool.read(offset, length)

    def check_descriptor(self) -> None:
        """Do nothing: the spool checks what it gives."""

    def check_path(self) -> None:
        """Do nothing: a stream that was read does not change."""

    def close(self) -> None:
        """Close the spool. Idempotent."""
        self._spool.close()


def is_stream(path: str) -> bool:
    """Return whether a path names a stream: ``-`` for standard input, or a FIFO."""
    if path == STANDARD_INPUT:
        return True
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_stream(path: str, make_spool: MakeSpool, on_progress: OnProgress | None = None) -> SpooledFile:
    """Read a stream to its end.

    Args:
        path: ``-`` for standard input, or a FIFO, whose writer is waited for.
        make_spool: Makes the spool that it goes to.
        on_progress: Called after each piece, and ten times a second while none comes.

    Raises:
        UsageError: Standard input is a terminal.
        InputError: It cannot be read, or is empty.
        StorageError: There is too little room.
    """
    with ExitStack() as stack:
        if path == STANDARD_INPUT:
            fd = 0
            if os.isatty(fd):
                raise UsageError("standard input is a terminal; send a recording into it, or name a file instead of -")
        else:
            try:
                # Without O_NONBLOCK, opening a FIFO waits for a writer, and a stop would not be heard.
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError as error:
                raise InputError(path, why_not(path, error)) from None
            stack.callback(os.close, fd)
        with ExitStack() as failing:
            spool = make_spool()
            failing.callback(spool.close)
            _copy(fd, path, spool, on_progress)
            spool.freeze()
            if not spool.size:
                raise InputError(path, "is empty: it ended before its first byte")
            failing.pop_all()
    return SpooledFile(path, spool)


def _copy(fd: int, path: str, spool: Spool, on_progress: OnProgress | None) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        if poll.poll(TURN_MS):
            try:
                piece = os.read(fd, READ_BYTES)
            except BlockingIOError:
                continue  # another process took it
            except OSError as error:
                raise InputError(path, f"cannot be read: {reason(error).lower()}") from None
            if not piece:
                return
            spool.write(piece)
        if on_progress is not None:
            on_progress("reading", spool.size, 0)
