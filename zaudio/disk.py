"""Files: how they are opened, filled, named and made durable, the same way in every room.

Rules: a new file is made only where nothing was, and no link is followed there. No descriptor reaches a child process,
and opening a FIFO never waits. The content of a file is durable before its final name is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import IO

from zaudio.errors import DiskFullError, StorageError
from zaudio.steps import Buffer

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO in a file's place must not hang us
WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

PRIVATE = 0o600  # keys and plaintext, whatever the umask
PUBLIC = 0o666  # all else; the umask has its say

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

STOP_PATIENCE = 2.0  # s for a write of 84 bytes to end; only one that the disk does not answer takes longer


# To and from a descriptor


def create(name: str, *, mode: int, dir_fd: int | None = None) -> int:
    """Make a new file and return its descriptor, open for writing.

    A private file is private from its first instant and under any umask.

    Raises:
        FileExistsError: Something has that name.
        OSError: The system refused.
    """
    fd = os.open(name, CREATE, mode, dir_fd=dir_fd)
    try:
        if mode == PRIVATE:
            os.fchmod(fd, mode)  # a umask of 0o777 would leave a key that nobody can read
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_into(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill the buffer from that byte of a file on; return the bytes read, which are fewer only at the file's end."""
    filled = 0
    while filled < buffer.nbytes and (count := os.preadv(fd, [buffer[filled:]], offset + filled)):
        filled += count
    return filled


def read_all(fd: int, most: int) -> bytearray:
    """Return all of a file from its beginning; of a file longer than `most`, one byte more than that."""
    content = bytearray(min(os.fstat(fd).st_size, most) + 1)
    with memoryview(content) as view:
        filled = read_into(fd, view, 0)
    del content[filled:]
    return content


def read_file(name: str, most: int, *, dir_fd: int | None = None) -> bytearray:
    """Return all of a file, as `read_all` does. No link is followed at its name."""
    fd = os.open(name, READ, dir_fd=dir_fd)
    try:
        return read_all(fd, most)
    finally:
        os.close(fd)


def write_all(fd: int, piece: Buffer) -> None:
    """Write all of it: one call may write less than it was given."""
    view = memoryview(piece)
    while view.nbytes:
        view = view[os.write(fd, view) :]


def store(fd: int, content: Buffer) -> None:
    """Fill a new file, make it durable and close it; its name is not durable yet."""
    try:
        write_all(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)


def start_writeback(fd: int, start: int, stop: int) -> None:
    """Let the system begin to write those bytes to the disk, without waiting for it."""
    # Linux begins to write what is dirty and drops what is clean: nothing is clean yet, so nothing is dropped.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_DONTNEED)


def silence(stream: IO[str] | IO[bytes]) -> None:
    """Let all further output of a stream go nowhere; the flush at exit would raise the last write's error again."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: there is no descriptor behind it
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(nowhere, descriptor)
        finally:
            os.close(nowhere)


def check_room(fd: int, path: str, size: int) -> None:
    """Make sure that the disk has room for that many bytes.

    Args:
        fd: A descriptor of the folder that they are for.
        path: What they make up, for the sentence.
        size: The bytes.

    Raises:
        DiskFullError: They do not.
    """
    status = os.fstatvfs(fd)
    free = status.f_bavail * status.f_frsize
    if status.f_blocks and size > free:  # some file systems say nothing about their size
        raise DiskFullError(path, f"too little room on the disk: {size} bytes are needed, and {free} are free")


class RecordFile:
    """A journal to which records are appended, each durable before `append` returns. It belongs to one thread.

    Another thread may `stop` it: nothing is written after that, though the first may still be inside of an fsync. The
    journal may be another job's by then.

    Args:
        fd: The journal, open for writing; owned from now on.
        end: Bytes of it that are whole; the rest is cut off.
    """

    def __init__(self, fd: int, end: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()  # between `append` in the one thread and `stop` in the other
        self._stopped = False
        os.ftruncate(fd, end)
        os.lseek(fd, end, os.SEEK_SET)

    def append(self, encode: Callable[[], Buffer]) -> bool:
        """Append the record that `encode` returns; return False, without a call of it, when the file was stopped.

        Raises:
            OSError: The system refused. Nothing must be appended after that.
        """
        with self._lock:
            if self._stopped:
                return False
            write_all(self._fd, encode())
        os.fsync(self._fd)
        return True

    def stop(self) -> None:
        """Let nothing more be written."""
        written = self._lock.acquire(timeout=STOP_PATIENCE)
        self._stopped = True
        if written:
            self._lock.release()

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


# Names


def sync_folder(path: str) -> None:
    """Make the names in a folder durable; the empty path is the current folder."""
    fd = os.open(path or ".", FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_name(folder: int) -> None:
    """Make the name that a whole file has just taken durable.

    Raises:
        OSError: The system refused. Its words say that the file is there.
    """
    try:
        os.fsync(folder)
    except OSError as error:
        words = f"{reason(error)}; the file is there, whole, but a power cut could take its name away"
        raise OSError(error.errno, words) from error


def make_folder(path: str) -> list[str]:
    """Make the folder and those above it, each one durable in the one above; return those that were missing."""
    if os.path.isdir(path):
        return []
    above = os.path.dirname(path)
    made = make_folder(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        if os.path.isdir(path):
            return made  # another job made it in between
        raise
    sync_folder(above)
    return [*made, path]


def is_at(path: str, fd: int) -> bool:
    """Return whether that path leads to the file or folder of that descriptor."""
    try:
        return identity(os.stat(path)) == identity(os.fstat(fd))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def whole_file(path: str, part: str, *, mode: int, check: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Give the descriptor of a new file, which takes its name when the block ends, durable and in one instant.

    It replaces an older file of that name. When the block raises, the older file stays and the new one is removed.

    Args:
        path: The file.
        part: Its name in the same folder until then.
        mode: `PRIVATE` or `PUBLIC`.
        check: Called once the file is durable, just before it takes its name, which an exception prevents.

    Raises:
        FileExistsError: Something has the part's name; it stays.
        OSError: The system refused.
    """
    above, name = os.path.split(path)
    folder = os.open(above or ".", FOLDER)  # all goes through it: renaming the folder meanwhile does no harm
    try:
        fd = create(part, mode=mode, dir_fd=folder)
        try:
            try:
                yield fd
                os.fsync(fd)
            finally:
                os.close(fd)
            check()
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            sync_name(folder)
        except BaseException:
            remove(part, dir_fd=folder)
            raise
    finally:
        os.close(folder)


def remove(name: str, *, dir_fd: int | None = None) -> None:
    """Remove a file if it is there and the system lets us. Never raises an OSError."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=dir_fd)


def lstat(name: str, *, dir_fd: int | None = None) -> os.stat_result | None:
    """Return the status of the thing of that name, links not followed; None when there is no such thing."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def identity(status: os.stat_result) -> tuple[int, int]:
    """Return device and inode, which are the same for all names of one file and of no other."""
    return status.st_dev, status.st_ino


def is_locked(fd: int) -> bool:
    """Return whether a process holds the lock of that file or folder. No lock is taken where the system tells."""
    inode = os.fstat(fd).st_ino
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            held = [line.split() for line in locks]
        return any("FLOCK" in line and any(word.endswith(f":{inode}") for word in line) for line in held)
    except OSError:
        pass  # not Linux
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


# For sentences


def kind(status: os.stat_result) -> str:
    """Return the name of a kind of thing in the file system, for a sentence."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def reason(error: OSError) -> str:
    """Return the system's words for an error, without the number."""
    return error.strerror or str(error) or type(error).__name__


def storage_error(path: str, error: OSError, words: str = "") -> StorageError:
    """Return the error of that path for one of the system's: a DiskFullError where room is missing.

    Args:
        path: The file or folder.
        error: The system's error.
        words: The reason, where the system's words do not say enough.
    """
    kind = DiskFullError if error.errno in NO_ROOM else StorageError
    return kind(path, words or reason(error))


@contextlib.contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Turn an OSError of the block into the StorageError of that path."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error
