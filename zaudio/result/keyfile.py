"""KeyFile: a file elsewhere that the encryption key goes to, in place of the result's folder.

Rules: the key is there from its first instant, durable and readable by its owner alone. Such a file is made where
nothing was, and is never written over: an older key may be all that opens an older result. Only the job that made it
removes it, when nothing of that job is left. A claim in the result's folder, made before the key, tells the next start
that a job that died before its journal made it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat

from zaudio import disk
from zaudio.errors import StorageError, UsageError
from zaudio.steps import Buffer

CLAIM_BYTES = 32


class KeyFile:
    """The place of a job's encryption key outside of the result's folder.

    Args:
        path: The file.

    Attributes:
        path: As given.

    Raises:
        UsageError: It is relative, and the current folder is gone.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._absolute = os.path.abspath(path)  # it must survive a chdir
        except OSError as error:
            raise UsageError(f"{path}: the key cannot lie there: {disk.reason(error)}") from None
        self._identity: tuple[int, int] | None = None  # of the file that this job has made or read

    def exists(self) -> bool:
        """Return whether something has that name.

        Raises:
            UsageError: No file can have it.
        """
        if not self.path or self.path.endswith("/") or self.path == "-":
            raise UsageError(f"{self.path!r} is no name of a file for the key; name one with --key-out, such as ./key")
        try:
            return disk.lstat(self._absolute) is not None
        except (OSError, ValueError) as error:
            reason = disk.reason(error) if isinstance(error, OSError) else str(error)
            raise UsageError(f"{self.path} is no name of a file for the key: {reason}") from None

    def check_free(self) -> None:
        """Make sure that a key can be made there.

        Raises:
            UsageError: Something has that name, or its folder is not there or cannot be written to.
        """
        if self.exists():
            raise UsageError(
                f"{self.path} exists already, and a key is never written over; choose another name with --key-out"
            )
        above = os.path.dirname(self._absolute)
        if not os.path.isdir(above):
            raise UsageError(f"{self.path}: there is no folder {above} for the key")
        if not os.access(above, os.W_OK | os.X_OK):
            raise UsageError(f"{self.path}: the folder {above} cannot be written to, so the key cannot be made there")

    def store(self, content: Buffer) -> None:
        """Make the file with this content, durable together with its name.

        Raises:
            StorageError: The system refused, or another program has made such a file; none of this job is left.
        """
        try:
            fd = disk.create(self._absolute, mode=disk.PRIVATE)
        except FileExistsError:
            raise StorageError(
                self.path, "another program has made this file since the job began, and a key is never written over"
            ) from None
        except OSError as error:
            raise disk.storage_error(self.path, error) from error
        self._identity = disk.identity(os.fstat(fd))
        try:
            with disk.storage_errors(self.path):
                disk.store(fd, content)
                disk.sync_folder(os.path.dirname(self._absolute))
        except BaseException:
            self.remove()
            raise

    def read(self, most: int) -> bytearray:
        """Return the content; of a file longer than `most`, one byte more than that.

        Raises:
            UsageError: It cannot be read, or is a link: the job could not make sure later that it is still there.
        """
        try:
            fd = os.open(self._absolute, disk.READ)
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise UsageError(f"{self.path} is no key of a job: it is {disk.kind(status)}, not a regular file")
                self._identity = disk.identity(status)
                return disk.read_all(fd, most)
            finally:
                os.close(fd)
        except OSError as error:
            reason = "it is a link; name the file itself" if error.errno == errno.ELOOP else disk.reason(error)
            raise UsageError(f"{self.path}: the key cannot be read: {reason}") from None

    def check(self) -> None:
        """Make sure that the file is the one that this job has made or read.

        Raises:
            StorageError: It is not: the result could not be decrypted.
        """
        with disk.storage_errors(self.path):
            status = disk.lstat(self._absolute)
        if status is None or disk.identity(status) != self._identity:
            raise StorageError(self.path, "the key was removed or replaced while the job ran")

    def remove(self) -> None:
        """Remove the file if this job has made or read it. Never raises an OSError."""
        with contextlib.suppress(OSError):
            status = disk.lstat(self._absolute)
            if status is not None and disk.identity(status) == self._identity:
                disk.remove(self._absolute)


def claim_of(content: Buffer) -> bytes:
    """Return the claim on a key file with that content: a hash, which tells nothing of 256 random bits."""
    digest = hashlib.sha256(b"zaudio key claim 1\n")
    digest.update(content)
    return digest.digest()


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
