"""AudioFile: writes processed chunks, in output order, to a playable file, in one life of a job or several.

Rules:

- Its methods belong to one thread. Only `open`, `publish` and `abort` may wait for the disk.
- The file appears under its name when it is whole and durable, or not at all. Until then it is `OUT.part`.
- A WAV or raw file is continued by a later life of the job; a FLAC is begun again.
- After an error nothing is trusted: no write and no fsync is tried a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from zaudio import disk
from zaudio.audio.container import Container, check_container, container_of
from zaudio.audio.feeder import Feeder
from zaudio.audio.flacs import flac_metadata
from zaudio.audio.journal import RenderJob
from zaudio.audio.marks import FileMark
from zaudio.audio.metadata import Metadata
from zaudio.audio.part import PartFile
from zaudio.audio.storing import FlacStorage, PlainStorage
from zaudio.audio.tagging import flac_tags, foreign_chunks, wave_chunks
from zaudio.audio.wave import WaveFile
from zaudio.errors import StorageError, UsageError, ZaudioError
from zaudio.plan import Order
from zaudio.reference import Fingerprint
from zaudio.signal import Signal
from zaudio.steps import Buffer
from zaudio.version import VERSION

JOIN_TIMEOUT = 2.0  # seconds; only a system call that the disk does not answer takes longer
FLAC_SHARE = 4  # a FLAC needs a quarter of its samples' room at least, but for silence; most need half


@dataclass(frozen=True, slots=True)
class Origin:
    """The recording and the ops that a file is made of: by them a later start recognises the job.

    Attributes:
        recording: The state of the recording's file.
        ops: The ops as text, with their versions; dither is one of them.
        decoder: The decoder and its version, if the recording was decoded first.
    """

    recording: Fingerprint
    ops: tuple[str, ...]
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """The bytes of a file besides its samples.

    Attributes:
        container: The kind of file.
        header: The bytes in front of the samples; of a FLAC, its blocks of metadata.
        footer: The bytes behind the samples.
        little: Whether the file's byte order is the little one.
        dropped: Sentences about metadata that the container cannot hold.
    """

    container: Container
    header: bytes
    footer: bytes
    little: bool
    dropped: tuple[str, ...]

    def size_of(self, signal: Signal) -> int:
        """Return the bytes of a file with that signal; of a FLAC, about as many at most."""
        samples = signal.frames * signal.channels * signal.format.stored_bytes
        return len(self.header) + samples + len(self.footer)


def file_layout(path: str, signal: Signal, metadata: Metadata, *, of_batch: bool = False) -> FileLayout:
    """Return the bytes of a file besides its samples.

    Args:
        path: The file.
        signal: Its samples.
        metadata: What it is to hold besides.
        of_batch: Whether a batch names the file: a refusal then says so.

    Raises:
        UsageError: The suffix names no kind of file, or that kind cannot hold the signal.
    """
    container = container_of(path)
    check_container(path, container, signal, of_batch=of_batch)
    if container is Container.WAV:
        chunks, homeless = wave_chunks(metadata)
        wave = WaveFile(signal, chunks, metadata.speakers)
        return FileLayout(container, wave.header, wave.footer, True, _dropped(path, "WAV", homeless))
    if container is Container.FLAC:
        blocks, long = flac_metadata(flac_tags(metadata), foreign_chunks(metadata))
        return FileLayout(container, blocks, b"", True, _dropped(path, "FLAC", long))
    names = ("all of it",) if metadata else ()
    return FileLayout(container, b"", b"", signal.format.dtype[0] == "<", _dropped(path, "raw file", names))


def storage_of(part: PartFile, signal: Signal, layout: FileLayout, job: RenderJob | None) -> PlainStorage | FlacStorage:
    """Return what writes samples into the part of a file; with a journal where there is a job."""
    if layout.container is Container.FLAC:
        return FlacStorage(part, signal, layout.header)
    return PlainStorage(part, signal, header=layout.header, footer=layout.footer, little=layout.little, job=job)


def room_for(signal: Signal, layout: FileLayout) -> int:
    """Return the bytes on the disk that a file takes at least."""
    size = layout.size_of(signal)
    return size // FLAC_SHARE if layout.container is Container.FLAC else size


class AudioFile:
    """The destination of a playable file. Making it claims the name; `open` starts to write.

    Args:
        path: The file; its suffix says the kind.
        signal: All payloads together.
        order: The order of their frames.
        metadata: What to write besides samples.
        origin: What it is made of; without it nothing can be resumed.
        overwrite: Whether an older file may be replaced, at the instant of publication.
        fresh: Discard an unfinished job, whichever it is.

    Attributes:
        path: As given.
        container: The kind of file.
        done: Whether this very job's file stands there already. Then nothing is left to do.
        sentences: What a user should know: metadata that is dropped, a part that is begun again.

    Raises:
        OutputExistsError: The file exists and `overwrite` is false.
        ResumeError: An unfinished job lies there that is another one, or is damaged.
        UsageError: The suffix or the name cannot be used, or another job writes there.
        StorageError: The system refused.
    """

    def __init__(
        self,
        path: str,
        signal: Signal,
        *,
        order: Order = Order.FORWARD,
        metadata: Metadata = Metadata(),  # noqa: B008  frozen
        origin: Origin | None = None,
        overwrite: bool = False,
        fresh: bool = False,
    ) -> None:
        layout = file_layout(path, signal, metadata)
        self.path = path
        self.container = layout.container
        self._signal = signal
        self._order = order
        self._layout = layout
        self._job = self._name(origin) if origin is not None else None
        self._part = PartFile(path, job=self._job, overwrite=overwrite, fresh=fresh)
        self.done = self._part.done
        self.sentences = layout.dropped
        if self._part.begins_again:
            reason = " (a FLAC cannot be continued)" if self.container is Container.FLAC else ""
            self.sentences += (f"{self._part.part} of an earlier start is begun again{reason}",)
        self._storage: PlainStorage | FlacStorage | None = None
        self._feeder: Feeder | None = None
        self._notify: Callable[[], None] = lambda: None  # until `open`
        self._taken = 0  # bytes of all payloads so far, also in earlier lives
        self._ended = False  # by seal or abort: no payload may follow
        self._aborted = self._disowned = self._published = False
        self._error: ZaudioError | None = None

    @property
    def resumed(self) -> bool:
        """Whether an earlier life of this job left bytes or notes to go on from."""
        return self._part.unfinished is not None

    @property
    def notes(self) -> tuple[bytes, ...]:
        """The notes of earlier lives, oldest first."""
        return self._part.unfinished.notes if self._part.unfinished is not None else ()

    @property
    def job_id(self) -> bytes:
        """The job's id in all its lives; known after `open`."""
        return self._storage.job_id if self._storage is not None else b""

    @property
    def incarnation(self) -> int:
        """The number of this life, from 1; known after `open`."""
        return self._storage.incarnation if self._storage is not None else 0

    @property
    def kept(self) -> bool:
        """Whether a later start finds something here to go on from: samples or notes."""
        if self._storage is None or self._disowned or self._part.named:
            return False
        return bool(self._storage.saved or self._storage.notes)

    @property
    def finished(self) -> int:
        """The number of payloads that are written; their buffers are released."""
        return self._feeder.finished if self._feeder is not None else 0

    @property
    def spent(self) -> tuple[float, float]:
        """No seconds of a cipher, and those that writing took."""
        return 0.0, self._feeder.storing if self._feeder is not None else 0.0

    @property
    def saved(self) -> int:
        """Bytes of payloads that a later start can go on from."""
        return self._storage.saved if self._storage is not None and not self._disowned else 0

    @property
    def sealed(self) -> bool:
        """Whether the part is whole and durable."""
        return self._feeder is not None and self._feeder.completed

    @property
    def error(self) -> ZaudioError | None:
        """The error that ended the writing, if there was one. The job cannot go on."""
        return self._error

    def open(
        self, signal: Signal, order: Order, *, notify: Callable[[], None], check_stop: Callable[[], None] = lambda: None
    ) -> int:
        """Write the header, or go on where an earlier life of this job ended; then start the thread.

        Args:
            signal: All payloads together.
            order: The order of their frames.
            notify: Called from the thread whenever `finished`, `sealed` or `error` changed. It must be quick and must
                not raise.
            check_stop: Called now and then while the part of an earlier life is hashed. An exception of it ends that,
                and nothing has changed.

        Returns:
            The bytes of payloads that an earlier life wrote; 0 for a new job. The payloads go on behind them.

        Raises:
            UsageError: It was opened before, or for another signal or order.
            ResumeError: The part is not what its journal says.
            StorageError: There is too little room for the file, or the system refused; `abort` cleans up.
        """
        if self._feeder is not None or self._ended or self.done:
            raise UsageError("a file is written once: this one was opened before")
        if (signal, order) != (self._signal, self._order):
            raise UsageError(
                f"the file is for {self._signal}, {self._order.value}, and the payloads are {signal}, {order.value}"
            )
        self._part.check_room(room_for(signal, self._layout))
        self._notify = notify
        self._storage = storage_of(self._part, signal, self._layout, self._job)
        with disk.storage_errors(self._part.part):
            self._taken = self._storage.start(check_stop)
        self._feeder = Feeder(self._storage, fail=self._fail, notify=notify)
        self._feeder.start()
        return self._taken

    def note(self, note: bytes) -> None:
        """Keep a note in the journal, durable, for a later life. A FLAC, which is begun again, keeps none.

        Args:
            note: A JSON object.

        Raises:
            UsageError: It is something else, or too long.
            StorageError: The system refused.
        """
        if self._storage is not None:
            with disk.storage_errors(self._part.part):
                self._storage.note(note)

    def put(self, payload: Buffer) -> None:
        """Take the frames of the next chunk in output order. Never blocks.

        Args:
            payload: Any C-contiguous buffer of whole frames; it must not change until `finished` counts it. The first
                one after a resume lacks the bytes that `open` returned.

        Raises:
            UsageError: It is not whole frames, or longer than the rest; or the file is not open.
        """
        view = memoryview(payload)
        if self._feeder is None or self._ended:
            raise UsageError("payloads are taken between open and seal")
        if view.nbytes % self._signal.frame_bytes or not view.c_contiguous:
            raise UsageError(
                f"a payload is contiguous frames of {self._signal.frame_bytes} bytes, not {view.nbytes} bytes"
            )
        if self._taken + view.nbytes > self._signal.bytes:
            raise UsageError(
                f"the result has {self._signal.bytes} bytes; {self._taken} came, and now {view.nbytes} more"
            )
        self._taken += view.nbytes
        self._feeder.put(view.cast("B") if view.nbytes else memoryview(b""))  # an empty view cannot be cast

    def seal(self) -> None:
        """Let the thread complete the file and fsync: no payload follows. Never blocks.

        Raises:
            UsageError: The payloads so far are not the whole result.
        """
        if self._feeder is None or self._ended:
            raise UsageError("a file is sealed once, after open")
        if self._taken != self._signal.bytes:
            raise UsageError(f"the result has {self._signal.bytes} bytes, and only {self._taken} came")
        self._ended = True
        self._feeder.end()

    def mark(self) -> FileMark:
        """Return the mark by which a later start recognises the file, which is sealed. A FLAC is read for it.

        Raises:
            StorageError: The system refused.
        """
        assert self._storage is not None, "it is sealed"
        with disk.storage_errors(self._part.part):
            return self._storage.mark()

    def publish(self) -> dict[str, str]:
        """Give the file its name; return its path, as ``result``.

        Raises:
            UsageError: The file is not sealed, or its name was taken meanwhile.
            StorageError: The system refused, now or before.
        """
        if self._error is not None:
            raise self._error
        if not self.sealed or self._aborted:
            raise UsageError("only a sealed file can be published")
        self._part.publish()
        self._published = True
        return {"result": self.path}

    def disown(self) -> None:
        """Do as `abort`, and remove the part too: it is in doubt, and no later start must go on from it."""
        self._disowned = True
        self.abort()

    def abort(self) -> None:
        """Stop the thread, after a last record, and release the lock. Idempotent.

        A part that no record covers is removed. After `publish` nothing is removed.
        """
        self._ended = self._aborted = True
        done = True
        if self._feeder is not None:
            self._feeder.stop()
            done = self._feeder.join(JOIN_TIMEOUT)
        if self._storage is not None:
            self._storage.stop()
        if not self._published and (self._disowned or not (self.kept or self.resumed)):
            self._part.remove()
        if done:  # else the thread is inside a call on these descriptors, whose numbers must not be given away
            if self._storage is not None:
                self._storage.close()
            self._part.close()

    def _name(self, origin: Origin) -> RenderJob:
        version = f"{VERSION} {origin.decoder}".rstrip()
        header = hashlib.sha256(self._layout.header).hexdigest()
        return RenderJob(
            origin.recording,
            origin.ops,
            self.container.value,
            str(self._signal),
            self._order.value,
            header,
            self._layout.size_of(self._signal),
            version,
        )

    # What follows runs in the thread.

    def _fail(self, error: Exception) -> None:
        """Take note of an error, without its traceback, whose frames hold samples."""
        if isinstance(error, StorageError):
            self._error = type(error)(error.path, error.reason)
        elif isinstance(error, OSError):
            self._error = disk.storage_error(self._part.part, error)
        else:
            self._error = StorageError(self._part.part, f"{type(error).__name__}: {error}".split("\n")[0])
        self._notify()


def _dropped(path: str, kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"{path}: metadata that a {kind} has no place for is dropped: {', '.join(names)}",)
