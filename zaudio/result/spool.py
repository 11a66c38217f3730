"""Spool: samples that were decoded once, in a file without a name that no one else can read.

Rules:

- The file is encrypted with a key in memory and has no name, so nothing is left of it once the process ends.
- It is written once, in order, then frozen and read from any byte on. A block that changed is found, never read.
- Memory is two blocks. Core dumps are off while a spool is open, because key and samples are in memory.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from zaudio import disk
from zaudio.errors import StorageError
from zaudio.program import NoCoreDumps
from zaudio.result.primitives import BlockCipher
from zaudio.steps import Buffer

BLOCK_BYTES = 1 << 20  # encrypted at a time: a read of a few bytes decrypts so much, in 0.3 ms
STORED_BYTES = BLOCK_BYTES + BlockCipher.OVERHEAD
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}  # of a file system or a kernel without it


class Spool:
    """A file of bytes that is written once and read from any place. A context manager.

    Args:
        folder: The folder on whose disk it lies.

    Attributes:
        size: Bytes that were written.

    Raises:
        StorageError: The system refused.
    """

    def __init__(self, folder: str) -> None:
        self.size = 0
        self._folder = folder
        self._cipher = BlockCipher()
        self._pending = bytearray()  # of the block that is not full yet
        self._frozen = False
        self._held = (-1, b"")  # the block that was decrypted last
        with ExitStack() as stack:
            stack.enter_context(NoCoreDumps())
            with disk.storage_errors(folder):
                self._fd = _nameless(folder)
            stack.callback(os.close, self._fd)
            self._stack = stack.pop_all()

    def reserve(self, size: int) -> None:
        """Make sure that there is room for that many bytes in all.

        Raises:
            StorageError: There is not; the sentence names the need.
        """
        blocks = -(-size // BLOCK_BYTES)
        disk.check_room(self._fd, f"{self._folder}: samples of the input", size + blocks * BlockCipher.OVERHEAD)

    def write(self, piece: Buffer) -> None:
        """Append bytes.

        Raises:
            StorageError: The disk is full, or the system refused.
        """
        if self._frozen or self._fd < 0:
            raise ValueError("the spool is frozen or closed")
        view = memoryview(piece).cast("B")
        self.size += view.nbytes
        while view.nbytes:
            missing = BLOCK_BYTES - len(self._pending)
            self._pending += view[:missing]
            view = view[missing:]
            if len(self._pending) == BLOCK_BYTES:
                self._store((self.size - view.nbytes - 1) // BLOCK_BYTES)

    def freeze(self) -> None:
        """End writing; from here on it is read. Idempotent.

        Raises:
            StorageError: As `write`.
        """
        if not self._frozen and self._pending:
            self._store(self.size // BLOCK_BYTES)
        self._frozen = True

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; fewer only where the spool ends.

        Raises:
            StorageError: The system refused, or the file is not what was written.
            ValueError: It is not frozen yet, or closed.
        """
        if not self._frozen or self._fd < 0:
            raise ValueError("the spool is not frozen yet, or closed")
        stop = min(offset + length, self.size)
        if not 0 <= offset < stop:
            return b""
        indices = range(offset // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1)
        down = self._held[0] >= indices[-1]  # reads that go down through the file decrypt each block once, too
        parts = []
        for index in reversed(indices) if down else indices:
            first = index * BLOCK_BYTES
            parts.append(self._block(index)[max(offset - first, 0) : stop - first])
        return b"".join(reversed(parts) if down else parts)

    def close(self) -> None:
        """Close the file, and drop the key and the blocks in memory. Idempotent."""
        self._fd = -1
        self._held = (-1, b"")
        self._pending.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _store(self, index: int) -> None:
        try:
            disk.write_all(self._fd, self._cipher.encrypt(index, self._pending))
        except OSError as error:
            reason = f"samples of the input need more than {index * BLOCK_BYTES} bytes: {disk.reason(error)}"
            raise disk.storage_error(self._folder, error, reason) from error
        self._pending.clear()
        disk.start_writeback(self._fd, index * STORED_BYTES, (index + 1) * STORED_BYTES)

    def _block(self, index: int) -> bytes:
        if self._held[0] == index:
            return self._held[1]
        stored = bytearray(min(BLOCK_BYTES, self.size - index * BLOCK_BYTES) + BlockCipher.OVERHEAD)
        try:
            filled = disk.read_into(self._fd, memoryview(stored), index * STORED_BYTES)
            block = self._cipher.decrypt(index, memoryview(stored)[:filled])
        except OSError as error:
            raise StorageError(self._folder, f"samples of the input cannot be read: {disk.reason(error)}") from error
        except ValueError:
            raise StorageError(
                self._folder, f"samples of the input changed on the disk, near byte {index * BLOCK_BYTES}"
            ) from None
        self._held = (index, block)
        return block


def _nameless(folder: str) -> int:
    """Make a file without a name in that folder; return its descriptor."""
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, disk.PRIVATE)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
    return _unlinked(folder)


def _unlinked(folder: str) -> int:
    """Make a file and take its name away at once; return its descriptor."""
    path = os.path.join(folder, f".zaudio-{os.urandom(8).hex()}.spool")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, disk.PRIVATE)
    try:
        os.unlink(path)
    except BaseException:
        os.close(fd)
        raise
    return fd
