"""ResultWriter: from processed chunks in output order to a published result.

Rules: its methods belong to one thread and only `start`, `publish` and `abort` may wait for the disk. Key and IV are on
the disk, readable by their owner alone, before any ciphertext exists. What was encrypted is never read again, and no
plaintext is ever written. After an error nothing is trusted: no write and no fsync is tried a second time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from zaudio.errors import StorageError, UsageError, ZaudioError
from zaudio.result import files, primitives
from zaudio.result.description import Description, encode_description, join_file
from zaudio.result.files import storage_errors
from zaudio.result.folder import ResultFolder
from zaudio.result.keystore import KeyStore, RawKey
from zaudio.result.pipeline import Pipeline
from zaudio.result.publication import DESCRIPTION, IV, KEY, RESULT

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
        key_store: How the key is stored.

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
        key_store: KeyStore | None = None,
    ) -> None:
        if frame_bytes != description.frame_bytes:
            raise UsageError(f"the description's frames have {description.frame_bytes} bytes, not {frame_bytes}")
        self._folder = folder
        self._frame_bytes = frame_bytes
        self._notify = notify
        self._key_store = key_store if key_store is not None else RawKey()
        self._description = encode_description(description)
        self._expected = description.plaintext_bytes
        self._taken = 0  # bytes of all payloads so far
        self._fd = -1  # of result.raw.part; the storage thread's once it runs
        self._written = 0  # bytes of it; the storage thread's, as is the next
        self._written_back = 0  # bytes of it that the system was told to write to the disk
        self._tag: primitives.Tag | None = None
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
    def sealed(self) -> bool:
        """Whether all four parts lie there complete and fsynced."""
        return self._sealed

    @property
    def error(self) -> ZaudioError | None:
        """What failed, if anything did. The job cannot go on."""
        return self._error

    def start(self) -> None:
        """Store a new key and IV, then start the threads.

        Raises:
            StorageError: The system refused; `abort` cleans up.
        """
        if self._pipeline or self._ended:
            raise UsageError("a result is written once: this writer was started before")
        key, iv = primitives.random_key(), primitives.random_iv()
        try:
            self._store(KEY, self._key_store.encode(key), mode=files.PRIVATE)
            self._store(IV, iv, mode=files.PRIVATE)
            with storage_errors(self._folder.path):
                self._folder.sync()
            with storage_errors(self._folder.part_path(RESULT)):
                self._fd = self._folder.create_part(RESULT, mode=files.PUBLIC)
            self._tag = primitives.Tag(key, iv, self._description)
            encrypt = primitives.cbc_encryptor(key, iv)
        finally:
            primitives.wipe(key)
        self._pipeline = Pipeline(
            encrypt,
            write=self._write,
            complete=self._complete,
            fail=self._fail,
            notify=self._notify,
        )
        self._pipeline.start()

    def put(self, payload: Buffer) -> None:
        """Take one chunk's processed frames, last frame first. Chunks come in output order. Never blocks.

        Args:
            payload: Any C-contiguous buffer of whole frames; it must not change until `finished` counts it.

        Raises:
            UsageError: It is not whole frames, or more than the description has; or nothing may be put now.
        """
        view = memoryview(payload)
        if self._pipeline is None or self._ended:
            raise UsageError("payloads are taken between start and seal")
        if view.nbytes % self._frame_bytes or not view.c_contiguous:
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
        """Stop the threads and remove the parts; after `publish` nothing is removed. Idempotent, at any time."""
        self._ended = self._aborted = True
        done = True
        if self._pipeline:
            self._pipeline.stop()
            done = self._pipeline.join(JOIN_TIMEOUT)
        if done:  # else the thread is inside a call on this descriptor, whose number must not be given away
            self._close()
        self._folder.remove_parts()

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

    # What follows runs in the threads.

    def _write(self, ciphertext: memoryview) -> None:
        assert self._tag is not None
        self._tag.update(ciphertext)
        files.write_all(self._fd, ciphertext)
        self._written += ciphertext.nbytes
        if self._written - self._written_back >= WRITEBACK_BYTES:
            files.start_writeback(self._fd, self._written_back, self._written)
            self._written_back = self._written

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
