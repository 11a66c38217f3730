"""KeyFile: a file elsewhere that the encryption key goes to, in place of the result's folder.

Rules: the key is there from its first instant, durable and readable by its owner alone. Such a file is made where
nothing was, and is never written over: an older key may be all that opens an older result. Only the job that made it
removes it, when nothing of that job is left.
"""

from __future__ import annotations

import os

from zaudio import disk
from zaudio.errors import StorageError, UsageError
from zaudio.steps import Buffer


class KeyFile:
    """The place of a job's encryption key outside of the result's folder.

    Args:
        path: The file.

    Attributes:
        path: As given.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._absolute = os.path.abspath(path)  # it must survive a chdir
        self._identity: tuple[int, int] | None = None  # of the file that this job has made or read

    def exists(self) -> bool:
        """Return whether something has that name.

        Raises:
            OSError: The system refused.
        """
        return disk.lstat(self._absolute) is not None

    def check_free(self) -> None:
        """Make sure that a key can be made there.

        Raises:
            UsageError: Something has that name, or its folder is not there.
        """
        if self.exists():
            raise UsageError(
                f"{self.path} exists already, and a key is never written over; choose another name with --key-out"
            )
        above = os.path.dirname(self._absolute)
        if not os.path.isdir(above):
            raise UsageError(f"{self.path}: there is no folder {above} for the key")

    def store(self, content: Buffer) -> None:
        """Make the file with this content, durable together with its name.

        Raises:
            StorageError: The system refused; no file is left.
        """
        with disk.storage_errors(self.path):
            fd = disk.create(self._absolute, mode=disk.PRIVATE)
            self._identity = disk.identity(os.fstat(fd))
            disk.store(fd, content)
            disk.sync_folder(os.path.dirname(self._absolute))

    def read(self, most: int) -> bytearray:
        """Return the content; of a file longer than `most`, one byte more than that.

        Raises:
            OSError: The system refused.
        """
        fd = os.open(self._absolute, disk.READ)
        try:
            self._identity = disk.identity(os.fstat(fd))
            return disk.read_all(fd, most)
        finally:
            os.close(fd)

    def check(self) -> None:
        """Make sure that the file is the one that this job has made or read.

        Raises:
            StorageError: It is not: the result could not be decrypted.
        """
        status = disk.lstat(self._absolute)
        if status is None or disk.identity(status) != self._identity:
            raise StorageError(self.path, "the key was removed or replaced while the job ran")

    def remove(self) -> None:
        """Remove the file if this job has made or read it. Never raises an OSError."""
        status = disk.lstat(self._absolute)
        if status is not None and disk.identity(status) == self._identity:
            disk.remove(self._absolute)


def read_key_file(path: str, most: int) -> bytearray:
    """Return the content of a file that a user named as a key, which may be a pipe.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            content = bytearray()
            while len(content) <= most and (piece := file.read(most + 1 - len(content))):
                content += piece
    except (OSError, ValueError) as error:
        reason = disk.reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: the key cannot be read: {reason}") from None
    return content
