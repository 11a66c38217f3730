"""The files of a result, opened as one set.

Rules: jobs may publish beside us. A set counts only if no commit file lies there after it was opened, and the names
still lead to the same files. Then all came from one publication, and stay readable whatever happens to the names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence

from zaudio import disk
from zaudio.errors import FolderBusyError, UsageError, VerificationError
from zaudio.result import publication
from zaudio.result.publication import DESCRIPTION, KEY, NAMES

TRIES = 20  # publications that may come in between while four files are opened


def open_set(path: str, names: Sequence[str] = NAMES) -> dict[str, int]:
    """Return the descriptors, by name, of files that were published together, open for reading.

    Raises:
        VerificationError: One is missing, is no file, or cannot be read.
        FolderBusyError: A publication is pending, and another process has held the lock for too long.
    """
    try:
        folder = os.open(path, disk.FOLDER)
    except (OSError, ValueError) as error:
        reason = disk.reason(error) if isinstance(error, OSError) else str(error)
        if (whole := publication.result_of(path)) is not None:
            reason += f"; it is a part of the result {whole}, so name that"
        raise VerificationError(path, f"there is no folder to be read: {reason}") from None
    try:
        for _ in range(TRIES):
            _settle(folder, path)
            before = _identities(folder, names)
            fds: dict[str, int] = {}
            failure = _try_open(folder, path, names, fds)
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


def _identities(folder: int, names: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Return the file that each name leads to now."""
    found = {name: disk.lstat(name, dir_fd=folder) for name in names}
    return {name: status and disk.identity(status) for name, status in found.items()}


def _try_open(folder: int, path: str, names: Sequence[str], fds: dict[str, int]) -> VerificationError | None:
    """Open the files into `fds`; return the error of one that cannot be opened, which counts if it stays so."""
    for name in names:
        where = os.path.join(path, name)
        try:
            fds[name] = os.open(name, disk.READ, dir_fd=folder)
        except FileNotFoundError:
            if name == KEY and disk.lstat(DESCRIPTION, dir_fd=folder) is not None:
                return VerificationError(
                    where,
                    "it is missing; if the key lies elsewhere, name it with --key FILE (key=), or that of an input "
                    "with --input-key FILE (Security(input_key=))",
                )
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
    """Return whether no publication has touched the names since `before`. The files were opened in between."""
    if publication.is_pending(folder):  # first: one that begins after this look changes a name or comes too late
        return False
    now = _identities(folder, before)
    return now == before and all(disk.identity(os.fstat(fd)) == now[name] for name, fd in fds.items())
