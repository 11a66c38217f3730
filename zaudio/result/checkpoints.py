"""Checkpoints: the shell around a journal. When one is due, and how it gets to the disk.

Rules: a checkpoint is written after an fsync of what it vouches for, and is fsynced itself. They belong to the storage
thread. A failed fsync ends it all: nothing is written after it. Once `stop` returned, nothing is written either, though
a thread may still be inside an fsync: the folder may be another's by then.
"""

from __future__ import annotations

import os
import threading

from zaudio import disk
from zaudio.result.journal import Checkpoint, encode_checkpoint
from zaudio.result.primitives import JournalSeal

SECONDS = 2.0  # of work that a killed coordinator may have to do again; an fsync is some ms where the disk keeps up
BYTES = 256 << 20  # or so much ciphertext: half a second of AES
COST = 0.05  # of the time at most: where an fsync is slow, checkpoints are rarer ...
SECONDS_MOST = 60.0  # ... but not rarer than this
STOP_PATIENCE = 2.0  # s for a write of 84 bytes to end; only one that the disk does not answer takes longer


class Schedule:
    """When the next checkpoint is due. Pure: the time is an argument."""

    def __init__(self, *, now: float) -> None:
        self._ended = now  # of the last one
        self._pause = 0.0  # to be waited for after it, whatever was written

    def due(self, written: int, *, now: float) -> bool:
        """Whether one is, when so many bytes were written since the last."""
        passed = now - self._ended
        return written > 0 and passed >= self._pause and (passed >= SECONDS or written >= BYTES)

    def made(self, *, began: float, now: float) -> None:
        """One was made, in that time."""
        self._ended = now
        self._pause = min((now - began) / COST, SECONDS_MOST)


class Checkpoints:
    """The journal's file, to which checkpoints are appended.

    Args:
        fd: The journal, open for writing; owned from now on.
        end: Buffer of it that hold; what follows is cut off.
        seal: The chain of HMACs up to there.
        incarnation: This life's number.
        length: Buffer of ciphertext that are vouched for already.
    """

    def __init__(self, fd: int, end: int, seal: JournalSeal, incarnation: int, length: int = 0) -> None:
        self.length = length  # of ciphertext that the last checkpoint vouches for
        self._fd = fd
        self._seal = seal
        self._incarnation = incarnation
        self._lock = threading.Lock()  # between the storage thread's appending and another's stop
        self._stopped = False
        os.ftruncate(fd, end)
        os.lseek(fd, end, os.SEEK_SET)

    def append(self, length: int, running: bytes) -> None:
        """Write a checkpoint; so many bytes of ciphertext were fsynced before.

        Raises:
            OSError: The system refused.
        """
        with self._lock:
            if self._stopped:
                return
            disk.write_all(self._fd, encode_checkpoint(Checkpoint(self._incarnation, length, running), self._seal))
        os.fsync(self._fd)
        self.length = length

    def stop(self) -> None:
        """Let nothing be written any more."""
        written = self._lock.acquire(timeout=STOP_PATIENCE)
        self._stopped = True
        if written:
            self._lock.release()

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
