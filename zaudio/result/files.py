"""The few ways in which results open, write and name files.

Rules: no link is followed, no descriptor reaches a child process, and opening a FIFO never waits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from zaudio.errors import StorageError
from zaudio.result.primitives import Bytes

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO in a file's place must not hang us
WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

PRIVATE = 0o600  # keys and plaintext, whatever the umask
PUBLIC = 0o666  # ciphertext and description; the umask has its say


def create(name: str, *, mode: int, dir_fd: int | None = None) -> int:
    """A new file, open for writing. A private one is private from its first instant and under any umask."""
    fd = os.open(name, CREATE, mode, dir_fd=dir_fd)
    try:
        if mode == PRIVATE:
            os.fchmod(fd, mode)  # a umask of 0o777 would leave a key that nobody can read
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_all(fd: int, most: int) -> bytearray:
    """All of a file, from its beginning; one byte more than `most` when it is longer than that."""
    content = bytearray(min(os.fstat(fd).st_size, most) + 1)
    filled = 0
    with memoryview(content) as view:
        while filled < len(content) and (count := os.preadv(fd, [view[filled:]], filled)):
            filled += count
    del content[filled:]
    return content


def write_all(fd: int, piece: Bytes) -> None:
    """Write all of it: one call may write less than it was given."""
    view = memoryview(piece)
    while view.nbytes:
        view = view[os.write(fd, view) :]


def start_writeback(fd: int, start: int, stop: int) -> None:
    """Let the system begin to write those bytes to the disk, without waiting for it."""
    # Linux begins to write what is dirty and drops what is clean: nothing is clean yet, so nothing is dropped.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_DONTNEED)


def identity(status: os.stat_result) -> tuple[int, int]:
    """What makes two names the same file."""
    return status.st_dev, status.st_ino


def kind(status: os.stat_result) -> str:
    """What a thing in the file system is, for a sentence."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def lstat(name: str, *, dir_fd: int | None = None) -> os.stat_result | None:
    """What lies at that name, links not followed; None when nothing does."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def reason(error: OSError) -> str:
    """The system's word for what went wrong, without the number."""
    return error.strerror or type(error).__name__


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Turn an OSError into the StorageError of that path."""
    try:
        yield
    except OSError as error:
        raise StorageError(path, reason(error)) from error
