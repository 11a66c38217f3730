"""ResultWriter: from processed chunks in output order to a published result, in one life or several.

Rules: its methods belong to one thread and only `start`, `publish` and `abort` may wait for the disk. Key and IV are on
the disk, readable by their owner alone, before the journal names the job, and that before any ciphertext exists. What
was encrypted is read again by a resume alone, and no plaintext is ever written. After an error nothing is trusted: no
write and no fsync is tried a second time, and a resume goes on from the last checkpoint before it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from zaudio.errors import ResumeError, StorageError, UsageError, ZaudioError
from zaudio.result import files, primitives
from zaudio.result.checkpoints import Checkpoints, Schedule
from zaudio.result.description import Description, encode_description, join_file
from zaudio.result.files import storage_errors
from zaudio.result.folder import ResultFolder
from zaudio.result.journal import ID_BYTES, JobRecord, encode_job
from zaudio.result.pipeline import Pipeline
from zaudio.result.publication import DESCRIPTION, IV, JOURNAL, KEY, PART, RESULT
from zaudio.result.resume import Unfinished, trusted

if TYPE_CHECKING:
    from typing_extensions import Buffer

WRITEBACK_BYTES = 16 << 20  # the disk works while the cipher does, and the fsync at the end finds little left to do
JOIN_TIMEOUT = 2.0  # seconds; only a system call that the disk does not answer takes longer


class ResultWriter:
    """Encrypts, tags and stores the payloads of one job.

    Args:
        folder: The output folder, open.
        description: What the payloads will add up to.
        frame_bytes: Bytes a frame.
        notify: Called from the writer's threads whenever `finished`, `sealed` or `error` changed. It must be quick
            and must not raise.

    Raises:
        UsageError: `frame_bytes` is not the description's, or the description is too long.
    """

    def __init__(
        self,
        folder: ResultFolder,
        description: Description,
        *,
        frame_bytes: int,
        notify: Callable[[], None],
    ) -> None:
        if frame_bytes != description.frame_bytes:
            raise UsageError(f"the description's frames have {description.frame_bytes} bytes, not {frame_bytes}")
        self._folder = folder
        self._frame_bytes = frame_bytes
        self._notify = notify
        self._description = encode_description(description)
        self._expected = description.plaintext_bytes
        self.job_id = b""  # of this job in all its lives; after `start`
        self.incarnation = 0  # which of them this is, from 1
        self.resumed = 0  # bytes of ciphertext that an earlier life left, and of audio: no padding is among them
        self._taken = 0  # bytes of all payloads so far, an earlier life's too
        self._fd = -1  # of result.raw.part; the storage thread's once it runs
        self._written = 0  # bytes of it; the storage thread's, as is the next
        self._written_back = 0  # bytes of it that the system was told to write to the disk
        self._tag: primitives.Tag | None = None
        self._checkpoints: Checkpoints | None = None
        self._pipeline: Pipeline | None = None
        self._ended = False  # by seal or abort: no payload may follow
        self._aborted = False
        self._sealed = False
        self._error: ZaudioError | None = None

    @property
    def finished(self) -> int:
        """How many payloads the cipher has finished with; their buffers are released."""
        return self._pipeline.finished if self._pipeline else 0

    @property
    def saved(self) -> int:
        """Bytes of ciphertext that a later start can go on from."""
        return self._checkpoints.length if self._checkpoints is not None else 0

    @property
    def sealed(self) -> bool:
        """Whether all four parts lie there complete and fsynced."""
        return self._sealed

    @property
    def error(self) -> ZaudioError | None:
        """What failed, if anything did. The job cannot go on."""
        return self._error

    def start(self, *, pause: Callable[[], None] = lambda: None) -> None:
        """Store a new key and IV, or go on where an earlier life of this job was; then start the threads.

        Args:
            pause: Called now and then while what an earlier life wrote is read, which takes a second a gigabyte or so.
                What it raises ends that, and nothing has changed.

        Raises:
            ResumeError: What lies in the folder is not what the job's journal says.
            StorageError: The system refused; `abort` cleans up.
        """
        if self._pipeline or self._ended:
            raise UsageError("a result is written once: this writer was started before")
        unfinished = self._folder.unfinished
        key = unfinished.key if unfinished is not None else primitives.random_key()
        try:
            last = self._resume(unfinished, pause) if unfinished is not None else self._begin(key)
            encrypt = primitives.cbc_encryptor(key, last)
        finally:
            primitives.wipe(key)
        self._schedule = Schedule(now=time.monotonic())
        self._pipeline = Pipeline(
            encrypt,
            write=self._write,
            idle=self._save_if_due,
            leave=self._save,
            complete=self._complete,
            fail=self._fail,
            notify=self._notify,
        )
        self._pipeline.start()

    def put(self, payload: Buffer) -> None:
        """Take one chunk's processed frames, last frame first. Chunks come in output order. Never blocks.

        Args:
            payload: Any C-contiguous buffer of whole frames; it must not change until `finished` counts it. The first
                one after a resume lacks the bytes before `resumed`.

        Raises:
            UsageError: It is not whole frames, or more than the description has; or nothing may be put now.
        """
        view = memoryview(payload)
        if self._pipeline is None or self._ended:
            raise UsageError("payloads are taken between start and seal")
        # After a resume the first payload begins at any byte, and like all others ends with a frame.
        if (self._taken + view.nbytes) % self._frame_bytes or not view.c_contiguous:
            raise UsageError(f"a payload is contiguous frames of {self._frame_bytes} bytes, not {view.nbytes} bytes")
        if self._taken + view.nbytes > self._expected:
            raise UsageError(f"the result has {self._expected} bytes; {self._taken} came, and now {view.nbytes} more")
        self._taken += view.nbytes
        self._pipeline.put(view.cast("B") if view.nbytes else memoryview(b""))  # an empty view cannot be cast

    def seal(self) -> None:
        """No payload follows: let the threads pad, tag and fsync. Never blocks.

        Raises:
            UsageError: The payloads so far are not the whole result.
        """
        if self._pipeline is None or self._ended:
            raise UsageError("a result is sealed once, after start")
        if self._taken != self._expected:
            raise UsageError(f"the result has {self._expected} bytes, and only {self._taken} came")
        self._ended = True
        self._pipeline.end(primitives.padding(self._taken))

    def publish(self) -> dict[str, str]:
        """Give the four parts their final names, as one, and return the paths.

        Raises:
            UsageError: The result is not sealed, or a final name was taken since the folder was opened.
            StorageError: The system refused, now or before; see `ResultFolder.publish`.
        """
        if self._error:
            raise self._error
        if not self._sealed or self._aborted:
            raise UsageError("only a sealed result can be published")
        self._folder.publish()
        return self._folder.paths

    def abort(self) -> None:
        """Stop the threads. What no checkpoint vouches for is removed; after `publish` nothing is. Idempotent."""
        self._ended = self._aborted = True
        done = True
        if self._pipeline:
            self._pipeline.stop()
            done = self._pipeline.join(JOIN_TIMEOUT)
        if self._checkpoints is not None:
            self._checkpoints.stop()
        if done:  # else the thread is inside a call on these descriptors, whose numbers must not be given away
            self._close()
        if not self.saved and self._folder.unfinished is None:
            self._folder.remove_parts()

    def _begin(self, key: bytearray) -> bytes:
        """Lay down what a job needs before its first ciphertext, in the order in which it becomes durable."""
        iv = primitives.random_iv()
        self._store(KEY, self._folder.key_store.encode(key), mode=files.PRIVATE)
        self._store(IV, iv, mode=files.PRIVATE)
        with storage_errors(self._folder.path):
            self._folder.sync()
        self.job_id, self.incarnation = os.urandom(ID_BYTES), 1
        if self._folder.job is not None:
            self._begin_journal(self._folder.job, primitives.JournalSeal(key, iv))
        with storage_errors(self._folder.part_path(RESULT)):
            self._fd = self._folder.create_part(RESULT, mode=files.PUBLIC)
            if self._folder.job is not None:
                self._folder.sync()  # the first checkpoint needs the name of what it vouches for
        self._tag = primitives.Tag(key, iv, self._description)
        return iv

    def _begin_journal(self, job: JobRecord, seal: primitives.JournalSeal) -> None:
        with storage_errors(os.path.join(self._folder.path, JOURNAL)):
            fd = self._folder.open_journal()
            try:
                content = encode_job(self.job_id, job, seal)
                files.write_all(fd, content)
                os.fsync(fd)
                self._checkpoints = Checkpoints(fd, len(content), seal, self.incarnation)
            except BaseException:
                os.close(fd)
                raise

    def _resume(self, unfinished: Unfinished, pause: Callable[[], None]) -> bytes:
        """Go on after the last checkpoint that the part holds; returns the block that the chain goes on from."""
        journal = unfinished.journal
        self.job_id, self.incarnation = journal.id, journal.incarnation + 1
        tag = primitives.Tag(unfinished.key, unfinished.iv, self._description)
        with storage_errors(self._folder.part_path(RESULT)):
            try:
                self._fd = self._folder.reopen_part(RESULT)
            except FileNotFoundError:  # it died between its journal's first record and this part
                os.close(self._folder.create_part(RESULT, mode=files.PUBLIC))
                self._folder.sync()
                self._fd = self._folder.reopen_part(RESULT)
            for name in (KEY, IV):
                os.close(self._folder.reopen_part(name))
            held = trusted(self._fd, journal.checkpoints, tag, unfinished.iv, pause=pause)
            if held is None:
                raise ResumeError(self._folder.path, f"{RESULT}{PART} is not what its journal says: it is damaged")
            os.ftruncate(self._fd, held.length)
            os.lseek(self._fd, held.length, os.SEEK_SET)
        with storage_errors(os.path.join(self._folder.path, JOURNAL)):
            self._checkpoints = Checkpoints(
                self._folder.open_journal(), journal.end, journal.seal, self.incarnation, held.length
            )
            # Durable before any worker hears of this incarnation: no two lives may have the same number.
            self._checkpoints.append(held.length, held.tag.running())
        self._tag = held.tag
        self._taken = self._written = self._written_back = self.resumed = held.length
        return held.last

    def _store(self, name: str, content: primitives.Bytes, *, mode: int) -> None:
        """Write one small part and make it durable."""
        with storage_errors(self._folder.part_path(name)):
            fd = self._folder.create_part(name, mode=mode)
            try:
                files.write_all(fd, content)
                os.fsync(fd)
            finally:
                os.close(fd)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
        if self._checkpoints is not None:
            self._checkpoints.close()

    # What follows runs in the threads.

    def _write(self, ciphertext: memoryview) -> None:
        assert self._tag is not None
        self._tag.update(ciphertext)
        files.write_all(self._fd, ciphertext)
        self._written += ciphertext.nbytes
        if self._written - self._written_back >= WRITEBACK_BYTES:
            files.start_writeback(self._fd, self._written_back, self._written)
            self._written_back = self._written
        self._save_if_due()

    def _save_if_due(self) -> None:
        if self._checkpoints is not None:
            began = time.monotonic()
            if self._schedule.due(self._written - self._checkpoints.length, now=began):
                self._save()
                self._schedule.made(began=began, now=time.monotonic())

    def _save(self) -> None:
        """Make what was written durable, and then the checkpoint that says so. The padding never is under one."""
        checkpoints = self._checkpoints
        if checkpoints is None or not checkpoints.length < self._written <= self._expected:
            return
        assert self._tag is not None
        os.fsync(self._fd)
        checkpoints.append(self._written, self._tag.running())

    def _complete(self) -> None:
        assert self._tag is not None
        # The description first: an abort that gives up waiting for the long fsync must find no new file after it.
        self._store(DESCRIPTION, join_file(self._description, self._tag.digest()), mode=files.PUBLIC)
        with storage_errors(self._folder.part_path(RESULT)):
            os.fsync(self._fd)
        self._close()
        self._sealed = True
        self._notify()

    def _fail(self, error: Exception) -> None:
        """Say what failed. The error's own traceback stays behind: its frames hold what was being encrypted."""
        if isinstance(error, StorageError):
            self._error = StorageError(error.path, error.reason)
        elif isinstance(error, OSError):
            self._error = StorageError(self._folder.part_path(RESULT), files.reason(error))
        else:
            self._error = StorageError(
                self._folder.part_path(RESULT), f"{type(error).__name__}: {error}".split("\n")[0]
            )
        self._notify()
