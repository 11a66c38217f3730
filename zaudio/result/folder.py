"""ResultFolder: the output folder of one job, locked for as long as the job runs.

Rules:

- Everything that could keep a result from being published is found here, before any chunk is computed.
- Of dead jobs only this very job is kept, to be resumed. Another job, or damage, is a `ResumeError` before any work:
  nothing is removed or written then.
- The lock is on the folder's own descriptor, so no lock file can be left behind and a killed job holds nothing.
- A folder that the job made goes with it if nothing lies there at the end.
- All work goes through that descriptor: renaming the folder under a running job does no harm.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Self

from zaudio import disk
from zaudio.errors import FolderBusyError, OutputExistsError, StorageError, UsageError
from zaudio.result import publication
from zaudio.result.earlier import EarlierLife, Unfinished
from zaudio.result.journal import JobRecord
from zaudio.result.keyfile import KeyFile
from zaudio.result.keystore import KeyStore, RawKey
from zaudio.result.primitives import wipe
from zaudio.result.publication import (
    CLAIM,
    COMMIT,
    COMMIT_TEXTS,
    DESCRIPTION,
    IV,
    JOURNAL,
    KEY,
    KEYLESS,
    NAMES,
    PART,
    PARTS,
    RESULT,
)


class ResultFolder:
    """The folder that a result is written to, with its lock. A context manager.

    Opening it makes the folder if it is missing, takes the lock, finishes an interrupted publication, and looks for an
    unfinished job. Useless parts are removed.

    Args:
        path: The folder.
        overwrite: Whether an older result may be replaced, at the instant of publication.
        job: The job, by which a later start recognises it. Without it nothing can be resumed, now or later.
        key_store: How the key is stored; raw by default.
        key_file: The file elsewhere that the key goes to; by default it goes to the folder.
        fresh: Discard an unfinished job, whichever it is.

    Attributes:
        job: As given.
        key_store: As given.
        key_file: As given.
        unfinished: The job as an earlier life left it, to be resumed; None when the job begins here.
        done: Whether this very job was published already. Then nothing is left to do.
        page_token: Set by the job's writer, which has the key; see there.

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
        key_file: KeyFile | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.key_file = key_file
        self._names = NAMES if key_file is None else KEYLESS
        self.job = job
        self.key_store = key_store if key_store is not None else RawKey()
        self.unfinished: Unfinished | None = None
        self.done = False
        self.page_token = ""
        self._overwrite = overwrite
        self._made: dict[str, tuple[int, int]] = {}  # parts of this job by name: their identity
        self._committed = False
        self._fd, self._new = _open_folder(self.path)  # with the folders that were made for it, from the top
        try:
            self._claim(fresh=fresh)
        except BaseException:
            self.close()
            raise

    @property
    def paths(self) -> dict[str, str]:
        """The paths of the result: `result`, `key`, `iv` and `description`."""
        names = {"result": RESULT, "key": KEY, "iv": IV, "description": DESCRIPTION}
        paths = {role: os.path.join(self.path, name) for role, name in names.items()}
        return paths if self.key_file is None else paths | {"key": self.key_file.path}

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

    def remove_claim(self) -> None:
        """Remove the claim on the key file: from now on the journal knows the key."""
        self._made.pop(CLAIM + PART, None)
        disk.remove(CLAIM + PART, dir_fd=self._fd)

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
            disk.store(self.create_part(COMMIT, mode=disk.PUBLIC), COMMIT_TEXTS[self._names])
            self._rename_commit()
        try:
            publication.finish(self._fd, self._names)
        except OSError as error:
            # Not undone: a removal that is only half on the disk could not be told from a half publication.
            reason = f"{disk.reason(error)} (the result is committed; the next start, verify or decrypt will finish it)"
            raise StorageError(self.path, reason) from error
        if self.job is not None:
            disk.remove(JOURNAL, dir_fd=self._fd)

    def remove_parts(self) -> None:
        """Remove all that this job made, unless it is committed. Never raises: the next start removes the rest."""
        if self._committed or self.closed or self.done:
            return
        if self.job is not None:
            disk.remove(JOURNAL, dir_fd=self._fd)  # first: parts without a journal are useless, and known to be
        for name in self._made:
            disk.remove(name, dir_fd=self._fd)
        if self.key_file is not None:
            self.key_file.remove()
        self._made.clear()

    def close(self) -> None:
        """Release the lock; remove a folder that was made for nothing. Idempotent."""
        if self.unfinished is not None:
            wipe(self.unfinished.key)
        if not self.closed:
            self._remove_new()
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
            if not publication.try_lock(self._fd, self.path) or not disk.is_at(self.path, self._fd):
                raise FolderBusyError(self.path)  # or the job that had it has just removed it
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._fd):
                raise UsageError(f"{self.path}: this folder cannot be written to")
            publication.recover(self._fd, self.path)
            parts = [name for name in (JOURNAL, *PARTS) if publication.check_file(self._fd, self.path, name)]
            earlier = EarlierLife(self._fd, self.path, self.key_store, self.key_file)
            if self.job is not None and not fresh:
                self._look_for(self.job, parts, earlier)
            if not self.done:
                self._check_names()
            self._claim_key_file(parts, earlier)
            kept = (JOURNAL, *(name + PART for name in (RESULT, KEY, IV))) if self.unfinished is not None else ()
            for name in parts:  # the journal first: parts without one are useless, and known to be
                if name not in kept:
                    os.unlink(name, dir_fd=self._fd)

    def _claim_key_file(self, parts: list[str], earlier: EarlierLife) -> None:
        """Leave no key of a discarded job, and make sure that a new job can have its key there.

        Before the parts are removed: by them the key is known, and a refusal removes nothing.
        """
        if self.key_file is None or self.done or self.unfinished is not None:
            return
        if earlier.key_file_is_claimed() or (JOURNAL in parts and earlier.key_file_is_its_own()):
            self.key_file.remove()
        self.key_file.check_free()

    def _look_for(self, job: JobRecord, parts: list[str], earlier: EarlierLife) -> None:
        """Find out whether this job lies here unfinished, or was published a moment before its process died."""
        if not any(name + PART in parts for name in NAMES):
            self.done = earlier.was_published(job)
        if not self.done:
            self.unfinished = earlier.find_unfinished(job)

    def _check_names(self) -> None:
        """Make sure that each final name is free, or that of a file that may be replaced."""
        for name in NAMES:
            if publication.check_file(self._fd, self.path, name) and not self._overwrite:
                raise OutputExistsError(os.path.join(self.path, name))

    def _check_parts(self) -> None:
        """Make sure that each part is the one that was made. After the commit it would be too late to find one gone."""
        if self.key_file is not None:
            self.key_file.check()
        for name in self._names:
            status = disk.lstat(name + PART, dir_fd=self._fd)
            if status is None or disk.identity(status) != self._made.get(name + PART):
                raise StorageError(self.part_path(name), "it was removed or replaced while the job ran")

    def _remove_new(self) -> None:
        """Remove the folders that were made for this job, as far as nothing lies in them. The lock is still held."""
        with contextlib.suppress(OSError):
            if self._new and not self._committed and disk.is_at(self._new[-1], self._fd):
                for path in reversed(self._new):
                    os.rmdir(path)

    def _rename_commit(self) -> None:
        # Set first: after an interruption right behind the rename, the parts that it stands for must stay.
        self._committed = True
        try:
            os.rename(COMMIT + PART, COMMIT, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            self._committed = False
            raise


# The folder itself


def check_free(path: str) -> None:
    """Make sure that no finished result lies in a folder, without a lock: for a refusal before long work.

    `ResultFolder` checks it again. A folder with a journal is left to it: the job there may be this very one.

    Raises:
        OutputExistsError: One does.
    """
    if any(os.path.lexists(os.path.join(path, name)) for name in (JOURNAL, COMMIT)):
        return
    for name in NAMES:
        if os.path.isfile(os.path.join(path, name)):
            raise OutputExistsError(os.path.join(path, name))


def _open_folder(path: str) -> tuple[int, list[str]]:
    """Open the folder, which is made if it is missing; return its descriptor, and the folders that were made."""
    if not path:
        raise UsageError("the output folder has no name")
    try:
        made = disk.make_folder(os.path.abspath(path))
        return os.open(path, disk.FOLDER), made
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path}: the output goes to a folder, and this is none") from None
    except ValueError:
        raise UsageError(f"{path!r} is no name of a folder") from None
    except OSError as error:
        raise UsageError(f"{path}: the output folder cannot be opened: {disk.reason(error)}") from None
