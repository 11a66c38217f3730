"""ResultWriter: writes processed chunks, in output order, to a published result, in one life of a job or several.

Rules:

- Its methods belong to one thread. Only `open`, `publish` and `abort` may wait for the disk.
- Key and IV are on the disk, readable by their owner alone, before the journal names the job, and that before any
  ciphertext exists. No plaintext is ever written.
- The description is settled when the first payload comes: what was measured and which machines compute is known then.
  It is in the journal before any ciphertext that its tag covers.
- After an error nothing is trusted: no write and no fsync is tried a second time, and a resume goes on from the last
  checkpoint before it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from zaudio import disk
from zaudio.errors import StorageError, UsageError, ZaudioError
from zaudio.plan import Order
from zaudio.records import Schedule
from zaudio.result import primitives
from zaudio.result.description import Description, encode_description, join_file
from zaudio.result.folder import ResultFolder
from zaudio.result.journal import Checkpoints
from zaudio.result.notes import Machines, MeasuredOp, Settled
from zaudio.result.opening import begin, reopen, store
from zaudio.result.pipeline import Pipeline
from zaudio.result.plaintext import Plaintext
from zaudio.result.publication import DESCRIPTION, JOURNAL, RESULT
from zaudio.signal import Signal
from zaudio.steps import Buffer

WRITEBACK_BYTES = 16 << 20  # the disk works while the cipher does, and the fsync at the end finds little left to do
JOIN_TIMEOUT = 2.0  # seconds; only a system call that the disk does not answer takes longer

Settlement = tuple[Description, Machines | None]  # of a result, when everything is measured


class ResultWriter:
    """The destination of a sealed result: it encrypts, tags and stores the payloads of one job.

    Args:
        folder: The output folder, open.
        description: The description of all payloads together, as far as it is known.
        header: The bytes in front of the samples, as many as the description says.

    Attributes:
        job_id: The job's id in all its lives; set by `open`.
        incarnation: The number of this life, from 1; set by `open`.

    Raises:
        UsageError: The description is too long, or the header has another length.
    """

    def __init__(self, folder: ResultFolder, description: Description, header: bytes = b"") -> None:
        self._folder = folder
        self._description = description
        self._encoded = encode_description(description)  # as it is in the journal, or will be
        self._describe: Callable[[], Settlement] = lambda: (description, None)
        self._final: Settlement | None = None  # until the first payload comes
        self._plaintext = Plaintext(description, header)
        self._notify: Callable[[], None] = lambda: None  # until `open`
        self.job_id = b""
        self.incarnation = 0
        self._fd = -1  # of result.raw.part; it belongs to the storage thread once that runs
        self._written = 0  # bytes of it; these two belong to the storage thread
        self._written_back = 0  # bytes of it that the system was told to take to the disk
        self._begin_tag: Callable[[bytes], primitives.Tag] | None = None
        self._tag: primitives.Tag | None = None  # None until the first ciphertext comes
        # The last that a checkpoint can cover, once it is written.
        self._before_padding: tuple[int, bytes] | None = None
        self._checkpoints: Checkpoints | None = None
        self._pipeline: Pipeline | None = None
        self._ended = False  # by seal or abort: no payload may follow
        self._aborted = False
        self._disowned = False
        self._sealed = False
        self._published = False
        self._error: ZaudioError | None = None

    @property
    def finished(self) -> int:
        """The number of payloads that the cipher has finished with; their buffers are released."""
        return self._pipeline.finished if self._pipeline else 0

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds that the cipher encrypted, and that it waited for the disk."""
        return (self._pipeline.encrypting, self._pipeline.storing) if self._pipeline else (0.0, 0.0)

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the page of the job, the same in all its lives; after `open`."""
        return self._folder.page_token

    @property
    def saved(self) -> int:
        """Bytes of payloads that a later start can go on from."""
        return self._plaintext.payloads_in(self._kept_bytes)

    @property
    def kept(self) -> bool:
        """Whether a later start can continue from something here: ciphertext, or a measurement."""
        noted = self._checkpoints.notes if self._checkpoints is not None and not self._disowned else 0
        return self._kept_bytes > 0 or noted > 0

    @property
    def _kept_bytes(self) -> int:
        """Bytes of ciphertext that a checkpoint covers."""
        return self._checkpoints.length if self._checkpoints is not None and not self._disowned else 0

    @property
    def sealed(self) -> bool:
        """Whether all four parts lie there complete and fsynced."""
        return self._sealed

    @property
    def description(self) -> Description:
        """The description, as far as it is known now."""
        return self._final[0] if self._final is not None else self._description

    @property
    def tag(self) -> bytes:
        """The tag, once the result is sealed; empty before."""
        return self._tag.digest() if self._sealed and self._tag is not None else b""

    @property
    def error(self) -> ZaudioError | None:
        """The error that ended the writing, if there was one. The job cannot go on."""
        return self._error

    def open(
        self, signal: Signal, order: Order, *, notify: Callable[[], None], check_stop: Callable[[], None] = lambda: None
    ) -> int:
        """Store a new key and IV, or go on where an earlier life of this job ended; then start the threads.

        Args:
            signal: The shape of all payloads together.
            order: The order of their frames.
            notify: Called from the writer's threads whenever `finished`, `sealed` or `error` changed. It must be quick
                and must not raise.
            check_stop: Called now and then while the ciphertext of an earlier life is read, which takes a second per
                gigabyte or so. An exception that it raises ends the reading, and nothing has changed.

        Returns:
            The bytes of audio that an earlier life wrote; 0 for a new job. The payloads go on behind them.

        Raises:
            UsageError: The signal or the order is not the description's.
            ResumeError: The ciphertext in the folder is not that of the job's journal.
            StorageError: There is too little room for the result, or the system refused; `abort` cleans up.
        """
        if self._pipeline or self._ended:
            raise UsageError("a result is written once: this writer was opened before")
        if order is not self._description.order:
            raise UsageError(f"the description says {self._description.order.value}, and the payloads {order.value}")
        self._plaintext.begin(signal, 0)
        self._folder.check_room(primitives.padded_bytes(self._plaintext.size))
        self._notify = notify
        unfinished = self._folder.unfinished
        if unfinished is not None:
            self._encoded = encode_description(unfinished.journal.description)
        key = unfinished.key if unfinished is not None else primitives.random_key()
        try:
            if unfinished is not None:
                opened = reopen(self._folder, unfinished, self._encoded, check_stop=check_stop)
            else:
                opened = begin(self._folder, key)
            self._fd, self._tag, self._checkpoints = opened.fd, opened.tag, opened.checkpoints
            self._begin_tag = opened.begin_tag
            encrypt = primitives.cbc_encryptor(key, opened.last)
            self._folder.page_token = primitives.derive_page_token(key)
        finally:
            primitives.wipe(key)
        self.job_id, self.incarnation = opened.job_id, opened.incarnation
        self._written = self._written_back = opened.length
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
        return self._plaintext.begin(signal, opened.length)  # no checkpoint covers the padding

    def describe_by(self, describe: Callable[[], Settlement]) -> None:
        """Ask that function, once, when the first payload comes or the result is sealed.

        It returns the description, with the frames, channels, samplerate and format that the writer was made with, and
        the class of machines if the journal is to keep it. It must be quick.
        """
        self._describe = describe

    def note(self, note: MeasuredOp | Machines) -> None:
        """Keep that in the journal, durable, before any payload is put.

        Raises:
            UsageError: It is too long.
            StorageError: The system refused.
        """
        if self._checkpoints is not None:
            with disk.storage_errors(os.path.join(self._folder.path, JOURNAL)):
                self._checkpoints.note(note)

    def put(self, payload: Buffer) -> None:
        """Take the processed frames of the next chunk in output order. Never blocks.

        Args:
            payload: Any C-contiguous buffer of whole frames; it must not change until `finished` counts it. The first
                one after a resume lacks the bytes that `open` returned.

        Raises:
            UsageError: It is not whole frames, or longer than the rest of the result; or the writer is not open.
        """
        if self._pipeline is None or self._ended:
            raise UsageError("payloads are taken between open and seal")
        plaintext = self._plaintext.take(payload)
        self._final = self._final or self._describe()
        self._pipeline.put(plaintext)

    def seal(self) -> None:
        """Let the threads pad, tag and fsync: no payload follows. Never blocks.

        Raises:
            UsageError: The payloads so far are not the whole result.
        """
        if self._pipeline is None or self._ended:
            raise UsageError("a result is sealed once, after open")
        rest = self._plaintext.end()
        self._ended = True
        self._final = self._final or self._describe()
        self._pipeline.end(rest + primitives.padding(self._plaintext.size))

    def publish(self) -> dict[str, str]:
        """Give the four parts their final names, as one; return the paths.

        Raises:
            UsageError: The result is not sealed, or a final name was taken since the folder was opened.
            StorageError: The system refused, now or before; see `ResultFolder.publish`.
        """
        if self._error:
            raise self._error
        if not self._sealed or self._aborted:
            raise UsageError("only a sealed result can be published")
        self._folder.publish()
        self._published = True
        return self._folder.paths

    def disown(self) -> None:
        """Do as `abort`, and remove the ciphertext too: it is in doubt, and no later start must go on from it."""
        self._disowned = True
        self.abort()

    def abort(self) -> None:
        """Stop the threads, after a last checkpoint. A part that none covers is removed. Idempotent.

        After `publish` nothing is removed. When the disk refuses the last checkpoint, or does not answer in time, a
        later start goes on from the one before.
        """
        self._ended = self._aborted = True
        done = True
        if self._pipeline:
            self._pipeline.stop()
            done = self._pipeline.join(JOIN_TIMEOUT)
        if self._sealed and not self._published and not self._folder.closed:
            done = self._save_last()
        if self._checkpoints is not None:
            self._checkpoints.stop()
        if done:  # else the thread is inside a call on these descriptors, whose numbers must not be given away
            self._close()
        if self._disowned or not (self.kept or self._folder.unfinished is not None):
            self._folder.remove_parts()

    def _save_last(self) -> bool:
        """Make the checkpoint of a result that will not be published; False when the disk does not answer."""

        def save() -> None:
            with contextlib.suppress(OSError):
                self._save()

        # The storage thread, which makes the others, has ended.
        thread = threading.Thread(target=save, name="zaudio-last-checkpoint", daemon=True)
        thread.start()
        thread.join(JOIN_TIMEOUT)
        return not thread.is_alive()

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
        if self._checkpoints is not None:
            self._checkpoints.close()

    # What follows runs in the threads.

    def _begin(self) -> primitives.Tag:
        """Note the description in the journal, and begin the tag with it."""
        assert self._final is not None
        assert self._begin_tag is not None
        description, machines = self._final
        encoded = encode_description(description)
        if machines is not None and self._checkpoints is not None:
            self._checkpoints.note(machines)
        if encoded != self._encoded and self._checkpoints is not None:
            self._checkpoints.note(Settled(encoded.decode("ascii")))
        self._encoded = encoded
        return self._begin_tag(encoded)

    def _write(self, ciphertext: memoryview) -> None:
        if self._tag is None:
            self._tag = self._begin()
        if self._written + ciphertext.nbytes > self._plaintext.size:
            self._before_padding = (self._written, self._tag.running())
        self._tag.update(ciphertext)
        disk.write_all(self._fd, ciphertext)
        self._written += ciphertext.nbytes
        if self._written - self._written_back >= WRITEBACK_BYTES:
            disk.start_writeback(self._fd, self._written_back, self._written)
            self._written_back = self._written
        if self._before_padding is None:  # else the end is near, with an fsync of its own
            self._save_if_due()

    def _save_if_due(self) -> None:
        if self._checkpoints is not None:
            began = time.monotonic()
            if self._schedule.due(self._written - self._checkpoints.length, now=began):
                self._save()
                self._schedule.made(began=began, now=time.monotonic())

    def _save(self) -> None:
        """Make the ciphertext durable, and then the checkpoint that covers it, up to the padding."""
        if self._checkpoints is None or self._tag is None:
            return
        length, running = self._before_padding or (self._written, self._tag.running())
        if length > self._checkpoints.length:
            os.fsync(self._fd)
            self._checkpoints.append(length, running)

    def _complete(self) -> None:
        assert self._tag is not None
        # The description first: an abort that gives up waiting for the long fsync must find no new file after it.
        store(self._folder, DESCRIPTION, join_file(self._encoded, self._tag.digest()), mode=disk.PUBLIC)
        with disk.storage_errors(self._folder.part_path(RESULT)):
            os.fsync(self._fd)
        self._sealed = True
        self._notify()

    def _fail(self, error: Exception) -> None:
        """Take note of an error, without its traceback, whose frames hold plaintext."""
        if isinstance(error, StorageError):
            self._error = type(error)(error.path, error.reason)
        elif isinstance(error, OSError):
            self._error = disk.storage_error(self._folder.part_path(RESULT), error)
        else:
            self._error = StorageError(
                self._folder.part_path(RESULT), f"{type(error).__name__}: {error}".split("\n")[0]
            )
        self._notify()
