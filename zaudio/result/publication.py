"""Publication: four files change their names as one, whatever instant the machine dies in.

Rules, in order; each line is durable before the next begins:

1. the four outputs lie there as `NAME.part`, and so do their names
2. `result.commit` names them: **this is the instant of publication**. It names three when the key lies elsewhere
3. each part takes its final name, over an older one
4. `result.commit` goes away

The job's journal goes last. Only its writer or the next start removes it: by the journal that start knows that this
very job is done. Before 2 nothing older has changed. After 2 every process that finds `result.commit` does 3 and 4,
under the folder's lock: a part that is gone was renamed already. So a reader never takes four files while a commit file
lies beside them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Sequence

from zaudio import disk
from zaudio.errors import FolderBusyError, UsageError

RESULT = "result.raw"
KEY = "encryption_key.bin"
IV = "encryption_iv.bin"
DESCRIPTION = "result.json"
NAMES = (RESULT, KEY, IV, DESCRIPTION)

JOURNAL = "result.journal"
ADDRESS = "result.web"  # while a job has a page: its address and token, private
CLAIM = "encryption_key.claim"  # there only while a job begins whose key lies elsewhere

PART = ".part"
COMMIT = "result.commit"
KEYLESS = tuple(name for name in NAMES if name != KEY)  # of a result whose key lies elsewhere
COMMIT_TEXTS = {names: "\n".join(("zaudio result commit 1", *names, "")).encode("ascii") for names in (NAMES, KEYLESS)}
PARTS = tuple(name + PART for name in (*NAMES, COMMIT, CLAIM))
RESERVED = frozenset((*NAMES, JOURNAL, COMMIT, ADDRESS, *PARTS))

PATIENCE = 2.0  # seconds; a live publisher needs four renames and three fsyncs of a folder
PAUSE = 0.02  # seconds between two looks at its lock


def is_reserved(path: str, folder: str) -> bool:
    """Return whether that path, links followed, is a name in that folder that a result or an unfinished job takes.

    Neither has to exist.
    """
    try:
        above, name = os.path.split(os.path.realpath(path))
        return name in RESERVED and above == os.path.realpath(folder)
    except ValueError:
        return False  # one of them has a NUL in it, as opening it will say


def result_of(path: str) -> str | None:
    """Return the folder of the result that a path leads to, or that it leads to a file of; None for any other path.

    A name alone does not make a result, nor does a description alone: both must be there.
    """
    try:
        real = os.path.realpath(path)
        above, name = os.path.split(real)
        if os.path.isdir(real):
            return path if os.path.lexists(os.path.join(real, RESULT)) and _has_marks(real) else None
    except (OSError, ValueError):
        return None
    if name not in RESERVED or not _has_marks(above):
        return None
    given = os.path.dirname(path) or "."
    return given if os.path.realpath(given) == above else above  # a link leads to another folder


def _has_marks(folder: str) -> bool:
    """Return whether files lie there that only a result or an unfinished job has."""
    for name in (DESCRIPTION, JOURNAL):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                head = file.read(1 << 16)
        except OSError:
            continue
        if head.startswith(b"zaudio ") or (head.startswith(b"{") and b'"cipher": ' in head and b'"zaudio": ' in head):
            return True
    return False


def try_lock(folder: int, path: str) -> bool:
    """Take the folder's lock for its descriptor, until that is closed; return False when another process has it.

    Raises:
        UsageError: There are no locks on that file system.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UsageError(
            f"{path}: the file system cannot lock this folder ({disk.reason(error)}), so two jobs could write to it "
            "at once; choose a folder elsewhere"
        ) from error
    return True


def unlock(folder: int) -> None:
    """Release the lock, for copies of the descriptor in forked processes too."""
    with contextlib.suppress(OSError):  # there are no locks here, so there is none to release
        fcntl.flock(folder, fcntl.LOCK_UN)


def finish(folder: int, names: Sequence[str] = NAMES) -> None:
    """Do steps 3 and 4, or the rest of them. The caller holds the lock.

    Args:
        folder: Its descriptor.
        names: The files that the commit file names. An older file of a name that it leaves out is removed.

    Raises:
        OSError: The system refused; the commit file still stands, and calling again goes on.
    """
    os.fsync(folder)  # the commit file must not be younger than the first rename that it stands for
    for name in names:
        try:
            os.rename(name + PART, name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileNotFoundError:
            pass  # renamed before the interruption
    for name in set(NAMES) - set(names):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)  # an older result's key, which would be taken for this one's
    os.fsync(folder)
    os.unlink(COMMIT, dir_fd=folder)
    os.fsync(folder)


def recover(folder: int, path: str) -> None:
    """Finish an interrupted publication, if there is one. The caller holds the lock.

    Raises:
        UsageError: The commit file is not ours, or something other than files lies in the way of its renames.
        OSError: The system refused.
    """
    if disk.lstat(COMMIT, dir_fd=folder) is None:
        return
    content = _read_commit(folder)
    names = next((names for names, text in COMMIT_TEXTS.items() if text == content), None)
    if names is None:
        raise UsageError(f"{os.path.join(path, COMMIT)} does not name the files of a result; nothing was renamed")
    for name in NAMES:
        check_file(folder, path, name + PART)
        check_file(folder, path, name)
    finish(folder, names)


def settle(folder: int, path: str) -> None:
    """Wait until no publication is pending; finish one that was interrupted.

    Raises:
        FolderBusyError: Another process holds the lock and did not finish it in `PATIENCE` seconds.
        UsageError, OSError: As `recover`.
    """
    deadline = time.monotonic() + PATIENCE
    while is_pending(folder):
        if try_lock(folder, path):
            try:
                recover(folder, path)  # looks again: it may have been finished while we took the lock
            finally:
                unlock(folder)
        elif time.monotonic() > deadline:
            raise FolderBusyError(path)
        else:
            time.sleep(PAUSE)


def is_pending(folder: int) -> bool:
    """Return whether a commit file lies there."""
    return disk.lstat(COMMIT, dir_fd=folder) is not None


def check_file(folder: int, path: str, name: str) -> bool:
    """Return whether there is a file of that name.

    Raises:
        UsageError: Something else has that name; it is not ours to replace.
    """
    status = disk.lstat(name, dir_fd=folder)
    if status is None:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{os.path.join(path, name)} is {disk.kind(status)}; only a file may be replaced")
    return True


def _read_commit(folder: int) -> bytes:
    """Return the content of the commit file, or as much of it as shows that it is not ours."""
    try:
        fd = os.open(COMMIT, disk.READ, dir_fd=folder)
    except OSError:
        return b""  # a link, a socket: not ours
    try:
        return os.read(fd, len(COMMIT_TEXTS[NAMES]) + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
