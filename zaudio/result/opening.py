"""The files that a job writes to: made for a new job, or taken over from an earlier life of the job.

Rules, in order; each line is durable before the next begins:

1. key and IV, and their names; before a key that goes elsewhere, a claim on it
2. the journal's first record, which names the job
3. the names of the journal and of the part that the ciphertext goes to
4. in a later life, the checkpoint that the part was cut to, with that life's number: no two lives have the same

Of an earlier life's ciphertext, the bytes under a checkpoint count, and only while the part still holds them: the rest
was never known to be on the disk. The caller aborts when anything here raises; all that was opened is closed then, and
nothing is removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from zaudio import disk
from zaudio.errors import ResumeError
from zaudio.result import primitives
from zaudio.result.earlier import Unfinished
from zaudio.result.folder import ResultFolder
from zaudio.result.journal import ID_BYTES, Checkpoint, Checkpoints, JobRecord, encode_job
from zaudio.result.keyfile import claim_of
from zaudio.result.primitives import BLOCK_BYTES, JournalSeal, Tag
from zaudio.result.publication import CLAIM, IV, JOURNAL, KEY, PART, RESULT
from zaudio.steps import Buffer

READ_BYTES = 1 << 20  # of the part at a time: what the processor's cache holds


@dataclass(slots=True)
class Trusted:
    """The ciphertext of an earlier life that can be trusted.

    Attributes:
        length: Its bytes.
        tag: The tag's state after them.
        last: The 16 bytes that the chain goes on from.
    """

    length: int
    tag: Tag
    last: bytes


@dataclass(slots=True)
class Opened:
    """The files of a job, as its writer goes on with them.

    Attributes:
        job_id: The job's id, in all its lives.
        incarnation: This life's number, from 1.
        fd: The descriptor of the part that the ciphertext goes to, at the part's end.
        length: Bytes of that part.
        tag: The tag's state after them; None where the part is empty.
        begin_tag: Makes the tag of a description, before the first byte.
        last: The block that the chain goes on from.
        checkpoints: The journal; None when the job keeps none.
    """

    job_id: bytes
    incarnation: int
    fd: int
    length: int
    tag: Tag | None
    begin_tag: Callable[[bytes], Tag]
    last: bytes
    checkpoints: Checkpoints | None


def begin(folder: ResultFolder, key: bytearray) -> Opened:
    """Begin a new job under that key.

    Raises:
        StorageError: The system refused.
    """
    iv, job_id = primitives.random_iv(), os.urandom(ID_BYTES)
    if folder.key_file is not None:
        stored = folder.key_store.encode(key)
        store(folder, CLAIM, claim_of(stored), mode=disk.PRIVATE)
        with disk.storage_errors(folder.path):
            folder.sync()
        folder.key_file.store(stored)
    else:
        store(folder, KEY, folder.key_store.encode(key), mode=disk.PRIVATE)
    store(folder, IV, iv, mode=disk.PRIVATE)
    with disk.storage_errors(folder.path):
        folder.sync()
    with ExitStack() as stack:
        checkpoints = None
        if folder.job is not None:
            checkpoints = _begin_journal(folder, folder.job, job_id, JournalSeal(key, iv))
            stack.callback(checkpoints.close)
        with disk.storage_errors(folder.part_path(RESULT)):
            fd = folder.create_part(RESULT, mode=disk.PUBLIC)
            stack.callback(os.close, fd)
            if checkpoints is not None:
                folder.sync()
        if folder.key_file is not None:
            folder.remove_claim()
        stack.pop_all()
    return Opened(job_id, 1, fd, 0, None, Tag.later(key, iv), iv, checkpoints)


def reopen(
    folder: ResultFolder, unfinished: Unfinished, description: bytes, *, check_stop: Callable[[], None]
) -> Opened:
    """Go on with the job that lies unfinished in the folder, after the last checkpoint that its part holds.

    Raises:
        ResumeError: The part does not hold any.
        StorageError: The system refused.
    """
    journal, key, iv = unfinished.journal, unfinished.key, unfinished.iv
    incarnation = journal.incarnation + 1
    with ExitStack() as stack:
        with disk.storage_errors(folder.part_path(RESULT)):
            fd = _reopen_parts(folder)
            stack.callback(os.close, fd)
            held = _trusted(fd, journal.checkpoints, Tag(key, iv, description), iv, check_stop=check_stop)
            if held is None:
                raise ResumeError(folder.path, f"{RESULT}{PART} is not what its journal says: it is damaged")
            os.ftruncate(fd, held.length)
            os.lseek(fd, held.length, os.SEEK_SET)
        checkpoints = _go_on_with_journal(folder, unfinished, incarnation, held)
        stack.pop_all()
    tag = held.tag if held.length else None
    return Opened(journal.id, incarnation, fd, held.length, tag, Tag.later(key, iv), held.last, checkpoints)


def _trusted(
    fd: int, checkpoints: Sequence[Checkpoint], tag: Tag, iv: bytes, *, check_stop: Callable[[], None] = lambda: None
) -> Trusted | None:
    """Read the part up to its last checkpoint that it still holds; return None when it holds none of several.

    Args:
        fd: The part, open for reading.
        checkpoints: Each longer than the one before.
        tag: The tag's state before the first byte; taken along.
        iv: The IV.
        check_stop: Called once per megabyte; an exception that it raises ends the reading.

    Raises:
        OSError: The system refused.
    """
    best = Trusted(0, tag.copy(), iv)
    done, last, buffer = 0, iv, bytearray(READ_BYTES)
    for checkpoint in checkpoints:
        while done < checkpoint.length:
            check_stop()
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


def store(folder: ResultFolder, name: str, content: Buffer, *, mode: int) -> None:
    """Write one small part and make it durable; its name is not durable yet.

    Raises:
        StorageError: The system refused.
    """
    with disk.storage_errors(folder.part_path(name)):
        disk.store(folder.create_part(name, mode=mode), content)


def _begin_journal(folder: ResultFolder, job: JobRecord, job_id: bytes, seal: JournalSeal) -> Checkpoints:
    with disk.storage_errors(os.path.join(folder.path, JOURNAL)), ExitStack() as stack:
        fd = folder.open_journal()
        stack.callback(os.close, fd)
        content = encode_job(job_id, job, seal)
        disk.write_all(fd, content)
        os.fsync(fd)
        checkpoints = Checkpoints(fd, len(content), seal, 1)
        stack.pop_all()
    return checkpoints


def _reopen_parts(folder: ResultFolder) -> int:
    """Take over the parts of an earlier life; return the descriptor of the one that the ciphertext goes to."""
    for name in (KEY, IV) if folder.key_file is None else (IV,):
        fd = folder.reopen_part(name)
        try:
            if stat.S_IMODE(os.fstat(fd).st_mode) != disk.PRIVATE:  # it was copied from elsewhere, say
                os.fchmod(fd, disk.PRIVATE)
        finally:
            os.close(fd)
    try:
        return folder.reopen_part(RESULT)
    except FileNotFoundError:  # that life ended between its journal's first record and this part
        os.close(folder.create_part(RESULT, mode=disk.PUBLIC))
        folder.sync()
        return folder.reopen_part(RESULT)


def _go_on_with_journal(folder: ResultFolder, unfinished: Unfinished, incarnation: int, held: Trusted) -> Checkpoints:
    journal = unfinished.journal
    with disk.storage_errors(os.path.join(folder.path, JOURNAL)), ExitStack() as stack:
        fd = folder.open_journal()
        stack.callback(os.close, fd)
        checkpoints = Checkpoints(fd, journal.end, journal.seal, incarnation, held.length, notes=len(journal.measured))
        checkpoints.append(held.length, held.tag.running())
        stack.pop_all()
    return checkpoints
