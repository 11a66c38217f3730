"""EarlierLife: the files that an earlier life of a job left in the output folder, and the key that reads them.

Rules: nothing is changed here. A job counts as unfinished when its journal can be read with its key and tells of this
very job. Ciphertext that needs another key or another command is never taken for useless.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from zaudio import disk
from zaudio.errors import ResumeError, UsageError
from zaudio.result.journal import JobRecord, Journal, decode_journal
from zaudio.result.keyfile import CLAIM_BYTES, KeyFile, claim_of
from zaudio.result.keystore import KeyStore
from zaudio.result.primitives import IV_BYTES, JournalSeal, wipe
from zaudio.result.publication import CLAIM, IV, JOURNAL, KEY, KEYLESS, NAMES, PART, RESULT

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


class EarlierLife:
    """The files of an earlier life in an output folder.

    Args:
        fd: The folder's descriptor; its lock is held.
        path: The folder, for sentences.
        key_store: How this life stores the key.
        key_file: The file elsewhere that the key of this life goes to, if it does.
    """

    def __init__(self, fd: int, path: str, key_store: KeyStore, key_file: KeyFile | None) -> None:
        self._fd = fd
        self._path = path
        self._key_store = key_store
        self._key_file = key_file

    def key_file_is_its_own(self) -> bool:
        """Return whether the key file holds the key of the job whose journal lies here."""
        if self._key_file is None or not self._key_file.exists():
            return False
        try:
            found = self._load(PART)
        except (ValueError, OSError):
            return False
        if found is not None:
            wipe(found.key)
        return found is not None

    def key_file_is_claimed(self) -> bool:
        """Return whether a start that died before its journal made the key file, which then opens nothing."""
        if self._key_file is None or self._size(CLAIM + PART) < 0:
            return False
        try:
            claim = bytes(disk.read_file(CLAIM + PART, CLAIM_BYTES, dir_fd=self._fd))
            stored = self._key_file.read(self._key_store.content_max)
        except (ValueError, OSError):
            return False
        try:
            return len(claim) == CLAIM_BYTES and (not stored or claim == claim_of(stored))
        finally:
            wipe(stored)

    def find_unfinished(self, job: JobRecord) -> Unfinished | None:
        """Return the job that lies unfinished in the folder; None when nothing there is worth keeping.

        Raises:
            ResumeError: It is another job, or damaged.
            UsageError: Its key needs other options.
            OSError: The system refused.
        """
        has_ciphertext = self._size(RESULT + PART) > 0
        has_key = self._key_file.exists() if self._key_file is not None else self._size(KEY + PART) >= 0
        if self._size(JOURNAL) < 0 or not has_key or self._size(IV + PART) < 0:
            if has_ciphertext and self._size(JOURNAL) >= 0:
                raise ResumeError(self._path, "its IV is missing" if has_key else self._no_key())
            return None
        try:
            found = self._load(PART)
        except ValueError as error:
            if not has_ciphertext:
                return None  # its process died before its first record was on the disk
            raise self._refusal(error) from None
        if found is None:
            if has_ciphertext:
                raise ResumeError(self._path, "its journal has no beginning")
            return None
        reason = job.difference(found.journal.job)
        is_saved = any(checkpoint.length for checkpoint in found.journal.checkpoints)
        if not reason and is_saved and self._size(RESULT + PART) < 0:
            reason = f"{RESULT}{PART} is missing"
        if not reason:
            return found
        wipe(found.key)
        if is_saved or has_ciphertext or found.journal.measured:
            raise ResumeError(self._path, reason)
        return None  # no work of that other job is lost

    def was_published(self, job: JobRecord) -> bool:
        """Return whether the published result in the folder is that of this very job, by its journal.

        Raises:
            OSError: The system refused.
        """
        names = NAMES if self._key_file is None else KEYLESS
        if self._size(JOURNAL) < 0 or any(self._size(name) < 0 for name in names):
            return False
        if self._key_file is not None and not self._key_file.exists():
            return False
        try:
            found = self._load("")
        except ValueError:
            return False  # of another job, or its key needs other options: the usual rules for older results hold
        if found is None:
            return False
        wipe(found.key)
        return not job.difference(found.journal.job)

    def _load(self, suffix: str) -> Unfinished | None:
        """Read key, IV and journal; return None when the journal ends inside of its first record.

        Raises:
            ValueError: They do not belong together; a UsageError when the key needs other options.
        """
        if self._key_file is None:
            where = os.path.join(self._path, KEY + suffix)
            stored = disk.read_file(KEY + suffix, self._key_store.content_max, dir_fd=self._fd)
        else:
            where, stored = self._key_file.path, self._key_file.read(self._key_store.content_max)
        try:
            key = self._key_store.decode(stored, where)
        finally:
            wipe(stored)
        try:
            iv = bytes(disk.read_file(IV + suffix, IV_BYTES, dir_fd=self._fd))
            if len(iv) != IV_BYTES:
                raise ValueError(f"the IV has {len(iv)} bytes and not {IV_BYTES}")
            content = bytes(disk.read_file(JOURNAL, JOURNAL_MAX, dir_fd=self._fd))
            journal = decode_journal(content, JournalSeal(key, iv))
        except BaseException:
            wipe(key)
            raise
        if journal is None:
            wipe(key)
            return None
        return Unfinished(key, iv, journal)

    def _refusal(self, error: ValueError) -> UsageError:
        if isinstance(error, UsageError):
            return error  # a key store's own sentence, which says what to do
        other = f", or {self._key_file.path} is not its key" if self._key_file is not None else ""
        return ResumeError(self._path, f"its journal is damaged{other}: {error}")

    def _no_key(self) -> str:
        """Return the reason for which the key of an unfinished job is not there."""
        if self._key_file is None:
            return "its key is not in the folder; pass --key-out FILE (Security(key_out=)) if it was begun with that"
        if self._size(KEY + PART) >= 0:
            return "its key lies in the folder, since it was begun without --key-out; start it again like that"
        return f"its key is missing: there is no {self._key_file.path}"

    def _size(self, name: str) -> int:
        """Return the size of that file in bytes; -1 when it does not exist."""
        status = disk.lstat(name, dir_fd=self._fd)
        return -1 if status is None else status.st_size
