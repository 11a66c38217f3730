"""The four files of a result, opened as one set while jobs may be publishing beside us.

Rules: a set counts only if no commit file lies there after it was opened and the names still lead to the same files.
Then all four came from one publication, and stay readable through their descriptors whatever happens to the names.
"""

from __future__ import annotations

import os
import stat

from zaudio import disk
from zaudio.errors import FolderBusyError, UsageError, VerificationError
from zaudio.result import publication
from zaudio.result.publication import NAMES

TRIES = 20  # publications that may come in between while four files are opened


def open_set(path: str) -> dict[str, int]:
    """Descriptors by name of four files that were published together, open for reading.

    Raises:
        VerificationError: One is missing, or is no file, or may not be read.
        FolderBusyError: A publication is pending, and another process has held the lock for too long.
    """
    try:
        folder = os.open(path, disk.FOLDER)
    except (OSError, ValueError) as error:
        reason = disk.reason(error) if isinstance(error, OSError) else str(error)
        raise VerificationError(path, f"there is no folder to be read: {reason}") from None
    try:
        for _ in range(TRIES):
            _settle(folder, path)
            before = _identities(folder)
            fds: dict[str, int] = {}
            failure = _try_open(folder, path, fds)
            unchanged = _is_one_set(folder, fds, before)
            if unchanged and failure is None:
                return fds
            for fd in fds.values():
                os.close(fd)
            if unchanged and failure is not None:
                raise failure
        raise VerificationError(path, "its files changed each time that they were opened")
    finally:
        os.close(folder)


def _settle(folder: int, path: str) -> None:
    try:
        publication.settle(folder, path)
    except FolderBusyError:
        raise
    except UsageError as error:
        raise VerificationError(path, f"an interrupted publication cannot be finished: {error}") from None
    except OSError as error:
        reason = f"an interrupted publication cannot be finished: {disk.reason(error)}"
        raise VerificationError(path, reason) from error


def _identities(folder: int) -> dict[str, tuple[int, int] | None]:
    """Which file each name leads to now."""
    found = {name: disk.lstat(name, dir_fd=folder) for name in NAMES}
    return {name: status and disk.identity(status) for name, status in found.items()}


def _try_open(folder: int, path: str, fds: dict[str, int]) -> VerificationError | None:
    """Open the four files into `fds`; return what it means that one could not be opened, should it stay so."""
    for name in NAMES:
        where = os.path.join(path, name)
        try:
            fds[name] = os.open(name, disk.READ, dir_fd=folder)
        except FileNotFoundError:
            return VerificationError(where, "it is missing; there is no complete result here")
        except OSError as error:
            status = disk.lstat(name, dir_fd=folder)
            if status is not None and not stat.S_ISREG(status.st_mode):
                return VerificationError(where, f"it is {disk.kind(status)} and not a file")
            return VerificationError(where, f"it cannot be opened: {disk.reason(error)}")
        status = os.fstat(fds[name])
        if not stat.S_ISREG(status.st_mode):
            return VerificationError(where, f"it is {disk.kind(status)} and not a file")
    return None


def _is_one_set(folder: int, fds: dict[str, int], before: dict[str, tuple[int, int] | None]) -> bool:
    """Whether no publication touched the names from `before` until now, after the files were opened."""
    if publication.is_pending(folder):  # first: one that begins after this look changes a name or comes too late
        return False
    now = _identities(folder)
    return now == before and all(disk.identity(os.fstat(fd)) == now[name] for name, fd in fds.items())
