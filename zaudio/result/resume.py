"""What an earlier life of a job left in its folder, and how far the ciphertext there can be trusted.

Rules: the folder's lock is held. Only what a checkpoint vouches for counts, and only while the part still holds it:
what lies behind it was never known to be on the disk. A job that is not the one that is wanted, or damage, is a
`ResumeError` before any work; nothing is removed or written here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zaudio import disk
from zaudio.errors import ResumeError, UsageError
from zaudio.result.journal import Checkpoint, JobRecord, Journal, decode_journal
from zaudio.result.keystore import KeyStore
from zaudio.result.primitives import BLOCK_BYTES, IV_BYTES, JournalSeal, Tag, wipe
from zaudio.result.publication import IV, JOURNAL, KEY, NAMES, PART, RESULT

READ_BYTES = 1 << 20  # of the part at a time: what the processor's cache holds
JOURNAL_MAX = 1 << 28  # bytes; a checkpoint takes 84, so this is more than a week of four a second


@dataclass(slots=True)
class Unfinished:
    """The wanted job, as an earlier life left it.

    Attributes:
        key: The encryption key; its owner wipes it.
        iv: The initialisation vector.
        journal: What its journal says.
    """

    key: bytearray = field(repr=False)
    iv: bytes
    journal: Journal


@dataclass(slots=True)
class Trusted:
    """How far the part can be trusted.

    Attributes:
        length: Buffer.
        tag: The tag's state after them.
        last: The 16 bytes that the chain goes on from.
    """

    length: int
    tag: Tag
    last: bytes


def find_unfinished(folder: int, path: str, job: JobRecord, key_store: KeyStore) -> Unfinished | None:
    """The job that lies unfinished in the folder; None when nothing there is of use to anyone.

    Raises:
        ResumeError: It is another job, or damaged.
        UsageError: Its key cannot be had.
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
            return None  # it died before its first record was on the disk
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
    return None  # nothing of that other job was done yet, so there is nothing to lose


def was_published(folder: int, path: str, job: JobRecord, key_store: KeyStore) -> bool:
    """Whether what is published in the folder is the result of this very job, by its journal.

    Raises:
        OSError: The system refused.
    """
    if _size(folder, JOURNAL) < 0 or any(_size(folder, name) < 0 for name in NAMES):
        return False
    try:
        found = _load(folder, path, key_store, "")
    except ValueError:
        return False  # of another job, or its key cannot be had: the usual rules for older results hold
    if found is None:
        return False
    wipe(found.key)
    return not job.difference(found.journal.job)


def trusted(
    fd: int, checkpoints: Sequence[Checkpoint], tag: Tag, iv: bytes, *, pause: Callable[[], None] = lambda: None
) -> Trusted | None:
    """Read the part up to its last checkpoint that holds; None when there are some and none does.

    Args:
        fd: The part, open for reading.
        checkpoints: Each longer than the one before.
        tag: The tag's state before the first byte; taken along.
        iv: The IV.
        pause: Called once a megabyte; what it raises ends the reading.

    Raises:
        OSError: The system refused.
    """
    best = Trusted(0, tag.copy(), iv)
    done, last, buffer = 0, iv, bytearray(READ_BYTES)
    for checkpoint in checkpoints:
        while done < checkpoint.length:
            pause()
            piece = memoryview(buffer)[: min(READ_BYTES, checkpoint.length - done)]
            count = os.preadv(fd, [piece], done)
            if not count:
                break
            tag.update(piece[:count])
            last = (last + bytes(piece[max(0, count - BLOCK_BYTES) : count]))[-BLOCK_BYTES:]
            done += count
        if done < checkpoint.length or not tag.runs_as(checkpoint.tag):
            break  # and no later one can hold
        best = Trusted(done, tag.copy(), last)
    claimed = checkpoints[-1].length if checkpoints else 0
    return None if claimed and not best.length else best


def _load(folder: int, path: str, key_store: KeyStore, suffix: str) -> Unfinished | None:
    """Key, IV and journal; None when the journal ends before its first record does.

    Raises:
        ValueError: They do not belong together; a UsageError when the key cannot be had.
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
    # A key store's own sentence says what is to be done; the others are of damage.
    return error if isinstance(error, UsageError) else ResumeError(path, f"its journal is damaged: {error}")


def _size(folder: int, name: str) -> int:
    """Buffer of that file; -1 when there is none."""
    status = disk.lstat(name, dir_fd=folder)
    return -1 if status is None else status.st_size


def _read(folder: int, name: str, most: int) -> bytearray:
    fd = os.open(name, disk.READ, dir_fd=folder)
    try:
        return disk.read_all(fd, most)
    finally:
        os.close(fd)
