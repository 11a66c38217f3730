"""ResultFolder: the output folder of one job, locked for as long as the job runs.

Rules:

- Everything that could keep a result from being published is found here, before any chunk is computed.
- Of dead jobs only this very job is kept, to be resumed. Another job, or damage, is a `ResumeError` before any work:
  nothing is removed or written then.
- The lock is on the folder's own descriptor, so no lock file can be left behind and a killed job holds nothing.
- All work goes through that descriptor: renaming the folder under a running job does no harm.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from zaudio import disk
from zaudio.errors import FolderBusyError, OutputExistsError, ResumeError, StorageError, UsageError
from zaudio.result import publication
from zaudio.result.journal import JobRecord, Journal, decode_journal
from zaudio.result.keystore import KeyStore, RawKey
from zaudio.result.primitives import IV_BYTES, JournalSeal, wipe
from zaudio.result.publication import COMMIT, COMMIT_TEXT, DESCRIPTION, IV, JOURNAL, KEY, NAMES, PART, PARTS, RESULT

JOURNAL_MAX = 1 << 28  # bytes; a checkpoint takes 84, so this is more than a week of four a second


@dataclass(slots=True)
class Unfinished:
    """The wanted job, as an earlier life left it.

    Attributes:
        key: The encryption key; its owner wipes it.
        iv: The initialisation vector.
        journal: The content of its journal.
    """

    key: bytearray = field(repr=False)
    iv: bytes
    journal: Journal


class ResultFolder:
    """The folder that a result is written to, with its lock. A context manager.

    Opening it makes the folder if it is missing, takes the lock, finishes an interrupted publication, and looks for an
    unfinished job. Useless parts are removed.

    Args:
        path: The folder.
        overwrite: Whether an older result may be replaced, at the instant of publication.
        job: The job, by which a later start recognises it. Without it nothing can be resumed, now or later.
        key_store: How the key is stored; raw by default.
        fresh: Discard an unfinished job, whichever it is.

    Attributes:
        job: As given.
        key_store: As given.
        unfinished: The job as an earlier life left it, to be resumed; None when the job begins here.
        done: Whether this very job was published already. Then nothing is left to do.

    Raises:
        FolderBusyError: Another job holds the lock.
        ResumeError: An unfinished job lies there that is another one, or is damaged.
        OutputExistsError: A result is there already and `overwrite` is false.
        UsageError: It is no folder, or cannot be written to; something that is not a file has an output's name; or the
            key of the unfinished job needs other options.
        StorageError: The system refused, in finishing an older publication for example.
    """

    def __init__(
        self,
        path: str,
        *,
        overwrite: bool = False,
        job: JobRecord | None = None,
        key_store: KeyStore | None = None,
        fresh: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self.job = job
        self.key_store = key_store if key_store is not None else RawKey()
        self.unfinished: Unfinished | None = None
        self.done = False
        self._overwrite = overwrite
        self._made: dict[str, tuple[int, int]] = {}  # parts of this job by name: their identity
        self._committed = False
        self._fd = _open_folder(self.path)
        try:
            self._claim(fresh=fresh)
        except BaseException:
            self.close()
            raise

    @property
    def paths(self) -> dict[str, str]:
        """The paths of the result: `result`, `key`, `iv` and `description`."""
        names = {"result": RESULT, "key": KEY, "iv": IV, "description": DESCRIPTION}
        return {role: os.path.join(self.path, name) for role, name in names.items()}

    @property
    def closed(self) -> bool:
        """Whether the lock was released; then nothing here must be touched any more."""
        return self._fd < 0

    def part_path(self, name: str) -> str:
        """Return the path of an output until it is published."""
        return os.path.join(self.path, name + PART)

    def create_part(self, name: str, *, mode: int) -> int:
        """Make the part of an output and return its descriptor, open for writing.

        Raises:
            OSError: The system refused.
        """
        fd = disk.create(name + PART, mode=mode, dir_fd=self._fd)
        self._made[name + PART] = disk.identity(os.fstat(fd))
        return fd

    def reopen_part(self, name: str) -> int:
        """Take over the part that an earlier life of this job made; return its descriptor, open to read and write.

        Raises:
            OSError: The system refused, or there is no such part.
        """
        fd = os.open(name + PART, disk.WRITE, dir_fd=self._fd)
        self._made[name + PART] = disk.identity(os.fstat(fd))
        return fd

    def open_journal(self) -> int:
        """Open the journal, or make it for a new job; return its descriptor.

        Raises:
            OSError: The system refused.
        """
        if self.unfinished is not None:
            return os.open(JOURNAL, disk.WRITE, dir_fd=self._fd)
        return disk.create(JOURNAL, mode=disk.PRIVATE, dir_fd=self._fd)

    def check_room(self, size: int) -> None:
        """Make sure that there is room for a result of that size, less what an earlier life of the job wrote.

        Raises:
            StorageError: There is not.
        """
        status = disk.lstat(RESULT + PART, dir_fd=self._fd)
        disk.check_room(self._fd, self.path, size - (status.st_size if status is not None else 0))

    def sync(self) -> None:
        """Make the names in the folder durable.

        Raises:
            OSError: The system refused; nothing since the last good call can be trusted.
        """
        os.fsync(self._fd)

    def publish(self) -> None:
        """Give the four parts their final names, as one. All four are complete and fsynced.

        Raises:
            UsageError: A final name was taken since the job began; nothing has changed.
            StorageError: The system refused. Nothing older has changed, unless the sentence says that the result is
                committed: then every later start, verify or decrypt finishes the renames.
        """
        self._check_names()
        self._check_parts()
        with disk.storage_errors(os.path.join(self.path, COMMIT + PART)):
            self.sync()
            disk.store(self.create_part(COMMIT, mode=disk.PUBLIC), COMMIT_TEXT)
            self._rename_commit()
        try:
            publication.finish(self._fd)
        except OSError as error:
            # Not undone: a removal that is only half on the disk could not be told from a half publication.
            reason = f"{disk.reason(error)} (the result is committed; the next start, verify or decrypt will finish it)"
            raise StorageError(self.path, reason) from error
        if self.job is not None:
            disk.remove(JOURNAL, dir_fd=self._fd)

    def remove_parts(self) -> None:
        """Remove all that this job made, unless it is committed. Never raises: the next start removes the rest."""
        if self._committed or self.closed:
            return
        if self.job is not None:
            disk.remove(JOURNAL, dir_fd=self._fd)  # first: parts without a journal are useless, and known to be
        for name in self._made:
            disk.remove(name, dir_fd=self._fd)
        self._made.clear()

    def close(self) -> None:
        """Release the lock. Idempotent."""
        if self.unfinished is not None:
            wipe(self.unfinished.key)
        if not self.closed:
            fd, self._fd = self._fd, -1
            try:
                publication.unlock(fd)
            finally:
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self, *, fresh: bool) -> None:
        """Lock the folder; leave only an older result that may be replaced, and this job unfinished."""
        with disk.storage_errors(self.path):
            if not publication.try_lock(self._fd, self.path):
                raise FolderBusyError(self.path)
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._fd):
                raise UsageError(f"{self.path}: this folder cannot be written to")
            publication.recover(self._fd, self.path)
            parts = [name for name in (JOURNAL, *PARTS) if publication.check_file(self._fd, self.path, name)]
            if self.job is not None and not fresh:
                self._look_for(self.job, parts)
            if not self.done:
                self._check_names()
            kept = (JOURNAL, *(name + PART for name in (RESULT, KEY, IV))) if self.unfinished is not None else ()
            for name in parts:  # the journal first: parts without one are useless, and known to be
                if name not in kept:
                    os.unlink(name, dir_fd=self._fd)

    def _look_for(self, job: JobRecord, parts: list[str]) -> None:
        """Find out whether this job lies here unfinished, or was published a moment before its process died."""
        if not any(name + PART in parts for name in NAMES):
            self.done = _was_published(self._fd, self.path, job, self.key_store)
        if not self.done:
            self.unfinished = _find_unfinished(self._fd, self.path, job, self.key_store)

    def _check_names(self) -> None:
        """Make sure that each final name is free, or that of a file that may be replaced."""
        for name in NAMES:
            if publication.check_file(self._fd, self.path, name) and not self._overwrite:
                raise OutputExistsError(os.path.join(self.path, name))

    def _check_parts(self) -> None:
        """Make sure that each part is the one that was made. After the commit it would be too late to find one gone."""
        for name in NAMES:
            status = disk.lstat(name + PART, dir_fd=self._fd)
            if status is None or disk.identity(status) != self._made.get(name + PART):
                raise StorageError(self.part_path(name), "it was removed or replaced while the job ran")

    def _rename_commit(self) -> None:
        # Set first: after an interruption right behind the rename, the parts that it stands for must stay.
        self._committed = True
        try:
            os.rename(COMMIT + PART, COMMIT, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            self._committed = False
            raise


# What an earlier life left


def _find_unfinished(folder: int, path: str, job: JobRecord, key_store: KeyStore) -> Unfinished | None:
    """Return the job that lies unfinished in the folder; None when nothing there is worth keeping.

    Raises:
        ResumeError: It is another job, or damaged.
        UsageError: Its key needs other options.
        OSError: The system refused.
    """
    has_ciphertext = _size(folder, RESULT + PART) > 0
    if _size(folder, JOURNAL) < 0 or not (_size(folder, KEY + PART) >= 0 <= _size(folder, IV + PART)):
        if has_ciphertext and _size(folder, JOURNAL) >= 0:
            raise ResumeError(path, "its key or its IV is missing")
        return None
    try:
        found = _load(folder, path, key_store, PART)
    except ValueError as error:
        if not has_ciphertext:
            return None  # its process died before its first record was on the disk
        raise _refusal(path, error) from None
    if found is None:
        if has_ciphertext:
            raise ResumeError(path, "its journal has no beginning")
        return None
    reason = job.difference(found.journal.job)
    is_saved = any(checkpoint.length for checkpoint in found.journal.checkpoints)
    if not reason and is_saved and _size(folder, RESULT + PART) < 0:
        reason = f"{RESULT}{PART} is missing"
    if not reason:
        return found
    wipe(found.key)
    if is_saved or has_ciphertext:
        raise ResumeError(path, reason)
    return None  # no work of that other job is lost


def _was_published(folder: int, path: str, job: JobRecord, key_store: KeyStore) -> bool:
    """Return whether the published result in the folder is that of this very job, by its journal.

    Raises:
        OSError: The system refused.
    """
    if _size(folder, JOURNAL) < 0 or any(_size(folder, name) < 0 for name in NAMES):
        return False
    try:
        found = _load(folder, path, key_store, "")
    except ValueError:
        return False  # of another job, or its key needs other options: the usual rules for older results hold
    if found is None:
        return False
    wipe(found.key)
    return not job.difference(found.journal.job)


def _load(folder: int, path: str, key_store: KeyStore, suffix: str) -> Unfinished | None:
    """Read key, IV and journal; return None when the journal ends inside of its first record.

    Raises:
        ValueError: They do not belong together; a UsageError when the key needs other options.
    """
    where = os.path.join(path, KEY + suffix)
    stored = _read(folder, KEY + suffix, key_store.content_max)
    try:
        key = key_store.decode(stored, where)
    finally:
        wipe(stored)
    try:
        iv = bytes(_read(folder, IV + suffix, IV_BYTES))
        if len(iv) != IV_BYTES:
            raise ValueError(f"the IV has {len(iv)} bytes and not {IV_BYTES}")
        content = bytes(_read(folder, JOURNAL, JOURNAL_MAX))
        journal = decode_journal(content, JournalSeal(key, iv))
    except BaseException:
        wipe(key)
        raise
    if journal is None:
        wipe(key)
        return None
    return Unfinished(key, iv, journal)


def _refusal(path: str, error: ValueError) -> UsageError:
    # A key store's own sentence says what to do; the others tell of damage.
    return error if isinstance(error, UsageError) else ResumeError(path, f"its journal is damaged: {error}")


def _size(folder: int, name: str) -> int:
    """Return the bytes of that file; -1 when there is none."""
    status = disk.lstat(name, dir_fd=folder)
    return -1 if status is None else status.st_size


def _read(folder: int, name: str, most: int) -> bytearray:
    fd = os.open(name, disk.READ, dir_fd=folder)
    try:
        return disk.read_all(fd, most)
    finally:
        os.close(fd)


# The folder itself


def _open_folder(path: str) -> int:
    """Open the folder, which is made if it is missing; return its descriptor."""
    if not path:
        raise UsageError("the output folder has no name")
    try:
        _make_folder(os.path.abspath(path))
        return os.open(path, disk.FOLDER)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path}: the output goes to a folder, and this is none") from None
    except ValueError:
        raise UsageError(f"{path!r} is no name of a folder") from None
    except OSError as error:
        raise UsageError(f"{path}: the output folder cannot be opened: {disk.reason(error)}") from None


def _make_folder(path: str) -> None:
    """Make the folder and those above it, each one durable in the one above."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _make_folder(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        if os.path.isdir(path):
            return  # another job made it in between
        raise
    disk.sync_folder(above)
