"""PartFile: the file that a render writes to, beside its final name, and its journal.

    OUT.part           the bytes so far, 0600, locked for as long as a job writes to it
    OUT.part.journal   the job, and up to where the part is known to lie on the disk, 0600

Rules:

- What could keep a file from its name is found here, before any chunk is computed.
- The lock is on the part's own descriptor, so no lock file can be left behind and a killed job holds nothing.
- The part takes the final name when it is whole and durable, in one instant, and then the journal goes. A journal
  without a part beside a whole file is that instant's trace: the next start of the same job finds that it is done.
- Both files hold plaintext or speak of it: the user asked for a file that plays.
"""

from __future__ import annotations

import fcntl
import os
import stat

from zaudio import disk
from zaudio.audio.journal import Journal, RenderJob, decode_journal
from zaudio.errors import OutputExistsError, ResumeError, StorageError, UsageError

PART = ".part"
JOURNAL = ".part.journal"
JOURNAL_MAX = 64 << 20  # bytes that are read: a record each two seconds for a week takes 25 MB, and notes some more


class PartFile:
    """The part of one output, with its lock.

    Args:
        path: The output.
        job: The job, by which a later start recognises it; None when nothing can be resumed.
        overwrite: Whether an older file of that name may be replaced.
        fresh: Discard an unfinished job, whichever it is.

    Attributes:
        path: As given.
        part: The part's path.
        unfinished: The journal of this job's earlier life; None when the job begins here.
        done: Whether this very job took its name already. Then nothing is left to do.
        begins_again: Whether the part of an earlier start is written over.
        named: Whether the part has taken the final name.

    Raises:
        OutputExistsError: A file has the name and `overwrite` is false.
        ResumeError: An unfinished job lies there that is another one, or is damaged.
        UsageError: The name cannot be used, or another job writes to it.
        StorageError: The system refused.
    """

    def __init__(self, path: str, *, job: RenderJob | None, overwrite: bool = False, fresh: bool = False) -> None:
        self.path = path
        self.part = path + PART
        self.unfinished: Journal | None = None
        self.done = False
        self.begins_again = False
        self.named = False
        self._job = job
        self._overwrite = overwrite
        self._made = False  # by this job: the part can go when nothing of it is saved
        self._fd = -1
        self._folder, self._name = _open_folder(path)
        try:
            with disk.storage_errors(path):
                self._claim(fresh)
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """The part, open to read and write."""
        return self._fd

    def check_room(self, size: int) -> None:
        """Make sure that there is room for a file of that size, less what an earlier life of the job wrote.

        Raises:
            StorageError: There is not.
        """
        written = os.fstat(self._fd).st_blocks * 512
        disk.check_room(self._folder, self.path, max(0, size - written))

    def open_journal(self) -> int:
        """Open the journal, or make it for a new job, and make both names durable; return its descriptor.

        Raises:
            OSError: The system refused.
        """
        if self.unfinished is not None:
            return os.open(self._name + JOURNAL, disk.WRITE, dir_fd=self._folder)
        return disk.create(self._name + JOURNAL, mode=disk.PRIVATE, dir_fd=self._folder)

    def sync(self) -> None:
        """Make the names durable.

        Raises:
            OSError: The system refused.
        """
        os.fsync(self._folder)

    def publish(self) -> None:
        """Give the part its final name. It is complete and fsynced.

        Raises:
            OutputExistsError: A file took the name since the job began, and must not be replaced.
            StorageError: The part was removed or replaced, or the system refused.
        """
        with disk.storage_errors(self.path):
            self._check_name()
            if not self._is_ours():
                raise StorageError(self.part, "it was removed or replaced while the job ran")
            os.fsync(self._folder)
            os.rename(self._name + PART, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._made, self.named = False, True
            disk.sync_name(self._folder)
        disk.remove(self._name + JOURNAL, dir_fd=self._folder)

    def remove(self) -> None:
        """Remove part and journal. Never raises: the next start removes the rest."""
        if self._fd < 0 or not self._made or not self._is_ours():
            return
        disk.remove(self._name + JOURNAL, dir_fd=self._folder)  # first: a part without one is useless
        disk.remove(self._name + PART, dir_fd=self._folder)
        self._made = False

    def close(self) -> None:
        """Release the lock. Idempotent."""
        fd, self._fd = self._fd, -1
        folder, self._folder = self._folder, -1
        if fd >= 0:
            os.close(fd)
        if folder >= 0:
            os.close(folder)

    def _claim(self, fresh: bool) -> None:
        self._check_name_is_usable()
        journal = self._read_journal()
        part = disk.lstat(self._name + PART, dir_fd=self._folder)
        if part is not None and not stat.S_ISREG(part.st_mode):
            raise UsageError(f"{self.part} is {disk.kind(part)}; move it away, since the output is written there")
        if part is not None and journal is None and not fresh:
            self._check_foreign(part)
        if part is None and not fresh and self._took_its_name(journal):
            self.done = True
            return
        self._check_name()
        self._lock()
        if part is not None and part.st_size and not fresh:
            self._look_for(journal)
        if self.unfinished is None:
            disk.remove(self._name + JOURNAL, dir_fd=self._folder)
            os.ftruncate(self._fd, 0)
            self.begins_again = part is not None and part.st_size > 0
        self._made = True

    def _check_foreign(self, part: os.stat_result) -> None:
        """Make sure that a part without a journal is no other program's: downloads are named like that, too."""
        if part.st_size and stat.S_IMODE(part.st_mode) & 0o077:
            raise UsageError(
                f"{self.part} is there already, without a journal of zaudio; move it away, or pass --fresh "
                "(fresh=True) to write over it"
            )

    def _lock(self) -> None:
        """Open or make the part, and lock it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._fd = os.open(self._name + PART, flags, disk.PRIVATE, dir_fd=self._folder)
        except OSError as error:
            raise UsageError(f"{self.path}: it cannot be written there: {disk.reason(error)}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._busy() from None
        except OSError as error:
            raise UsageError(
                f"{self.path}: the file system cannot lock this file ({disk.reason(error)}), so two jobs could write "
                "to it at once; write it elsewhere"
            ) from error
        if not self._is_ours():  # its job ended between our opening and our lock
            raise self._busy()
        os.fchmod(self._fd, disk.PRIVATE)

    def _busy(self) -> UsageError:
        return UsageError(f"{self.path}: another zaudio job is writing this file; wait for it or name another")

    def _look_for(self, journal: Journal | str | None) -> None:
        """Find out whether the part is this job's, unfinished.

        Raises:
            ResumeError: It is another job's, or damaged, and work would be lost.
        """
        if journal is None or self._job is None:
            return  # of a job that cannot be continued, or that saved nothing
        if isinstance(journal, str):
            raise ResumeError(self.part, f"its journal is damaged: {journal}")
        if not journal.records and not journal.notes:
            return
        if reason := self._job.difference(journal.job):
            raise ResumeError(self.part, reason)
        self.unfinished = journal

    def _read_journal(self) -> Journal | str | None:
        """Return the journal; a string, its damage; None when no journal says anything."""
        status = disk.lstat(self._name + JOURNAL, dir_fd=self._folder)
        if status is None:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{self.path}{JOURNAL} is {disk.kind(status)}; move it away")
        try:
            return decode_journal(bytes(disk.read_file(self._name + JOURNAL, JOURNAL_MAX, dir_fd=self._folder)))
        except ValueError as error:
            return str(error)

    def _took_its_name(self, journal: Journal | str | None) -> bool:
        """Return whether the file of the final name is this job's, whose process died before its journal went."""
        if not isinstance(journal, Journal) or self._job is None or not journal.records:
            return False
        status = disk.lstat(self._name, dir_fd=self._folder)
        whole = status is not None and status.st_size == journal.records[-1].length == journal.job.size
        if not whole or self._job.difference(journal.job):
            return False
        disk.sync_name(self._folder)
        disk.remove(self._name + JOURNAL, dir_fd=self._folder)
        return True

    def _check_name_is_usable(self) -> None:
        status = disk.lstat(self._name, dir_fd=self._folder)
        if status is None:
            return
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{self.path} is {disk.kind(status)}; only a file may be replaced")
        if self._job is not None and _is_same(status, self._job.recording.path):
            raise UsageError(f"{self.path} is the recording itself; give the output another name")

    def _check_name(self) -> None:
        status = disk.lstat(self._name, dir_fd=self._folder)
        if status is not None and (not self._overwrite or not stat.S_ISREG(status.st_mode)):
            raise OutputExistsError(self.path)

    def _is_ours(self) -> bool:
        """Return whether the part's name leads to the file that we have locked."""
        status = disk.lstat(self._name + PART, dir_fd=self._folder)
        return status is not None and disk.identity(status) == disk.identity(os.fstat(self._fd))


def _open_folder(path: str) -> tuple[int, str]:
    """Return the descriptor of the folder that a file is in, and the file's name there."""
    above, name = os.path.split(path)
    if not name or "\0" in path:
        raise UsageError(f"{path!r} is no name of a file")
    try:
        return os.open(above or ".", disk.FOLDER), name
    except OSError as error:
        raise UsageError(f"{path}: its folder cannot be opened: {disk.reason(error)}") from None


def _is_same(status: os.stat_result, path: str) -> bool:
    try:
        return disk.identity(os.stat(path)) == disk.identity(status)
    except (OSError, ValueError):
        return False
