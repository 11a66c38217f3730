"""OpenedResult: a sealed result as arrays, in the order of the recording. `open` verifies all of it first.

Rules: those of `SealedSource`. No sample is given before everything was verified, and no plaintext goes to a disk but
to the file that the user names.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from operator import index
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from zaudio.audio.container import check_container, container_of
from zaudio.audio.metadata import Metadata
from zaudio.audio.rendering import AudioFile
from zaudio.errors import InputChangedError, UsageError, VerificationError
from zaudio.job.inputs import SealedRecording
from zaudio.result import is_reserved
from zaudio.result.reader import OnProgress
from zaudio.unsealing import write_file

Array = npt.NDArray[Any]
Path = str | os.PathLike[str]

BLOCK = 65_536  # frames
SAVE_BYTES = 1 << 20  # at a time: what the result is decrypted in


def open(
    path: Path, *, key: Path | None = None, identity: Path | None = None, on_progress: OnProgress | None = None
) -> OpenedResult:
    """Open a sealed result, and verify all of it.

    Args:
        path: The result's folder.
        key: The file with the encryption key, if that is not in the folder.
        identity: The file with the private key that the encryption key is wrapped for, if it is.
        on_progress: Called for each megabyte that is verified with the bytes done, and how many there are. An exception
            of it ends the opening.

    Raises:
        UsageError: The file of `key` holds no key; or the encryption key is wrapped, and there is no identity; or that
            file holds none.
        VerificationError: The result is missing, incomplete or damaged.
        FolderBusyError: Another job has been publishing into that folder for over two seconds.

    Example:
        >>> with zaudio.open("out") as result:  # doctest: +SKIP
        ...     first_second = result.read(0, result.samplerate)
    """
    source = SealedRecording(path, key=key, identity=identity, on_progress=on_progress)
    try:
        return OpenedResult(source)
    except BaseException:
        source.close()
        raise


class OpenedResult:
    """A verified result. A context manager; used by one thread at a time. `open` makes it.

    Core dumps of this process are switched off as long as it is open, since it holds the key.

    Attributes:
        path: The result's folder.
        frames: Its length, 0 or more.
        channels: Samples per frame.
        samplerate: Frames per second.
        format: The name of its sample format, such as ``f32le``.
        ops: The operations that made it, as text, in their order.
        metadata: Titles, cue points and all else that the WAV inside carries; None when the result has samples alone.

    Raises:
        VerificationError: The files have changed since they were verified.
    """

    def __init__(self, source: SealedRecording) -> None:
        self._source = source
        description = source.description
        self.path = source.path
        self.frames, self.channels, self.samplerate = source.frames, source.channels, source.samplerate
        self.format = description.format
        self.ops = description.ops
        self.metadata: Metadata | None = None
        if description.header_bytes:
            try:
                self.metadata = source.metadata().metadata
            except InputChangedError as error:
                raise VerificationError(error.path, error.reason) from None
        self.closed = False

    def read(self, start: int = 0, frames: int | None = None) -> Array:
        """Return frames of the recording from `start` on, in its order: a new array (frames, channels).

        Args:
            start: The first frame, counted from the recording's beginning.
            frames: How many; None for all up to the end.

        Raises:
            IndexError: There are no such frames.
            VerificationError: The files have changed since they were verified.
            ValueError: It is closed.
        """
        start = index(start)
        stop = self.frames if frames is None else start + index(frames)
        format = self._source.format
        stored = np.frombuffer(self._read(start, stop), format.dtype).reshape(-1, self.channels)
        return stored.astype(format.native_dtype)

    def blocks(self, frames: int = BLOCK) -> Iterator[Array]:
        """Yield all of the recording in its order, as arrays of `frames` frames; the last one may be shorter.

        Raises:
            UsageError: `frames` is no whole number from 1 on.
            VerificationError: The files have changed since they were verified.
            ValueError: It is closed.
        """
        if not isinstance(frames, int | np.integer) or frames < 1:
            raise UsageError(f"frames is a whole number from 1 on, not {frames!r}")
        return (self.read(at, min(frames, self.frames - at)) for at in range(0, self.frames, int(frames)))

    def save(self, path: Path, *, overwrite: bool = False) -> str:
        """Write all of the recording to a file, in its order, whole or not at all; return the file's path.

        Args:
            path: The file, which only its owner can read. Its suffix says the kind: ``.wav``, ``.flac``, ``.raw`` and
                other names of raw samples.
            overwrite: Whether an older file may be replaced.

        Raises:
            OutputExistsError: The file is there already.
            UsageError: The file cannot be written there, or files of that kind cannot hold such samples.
            StorageError: There is too little room, or the system refused.
            VerificationError: The files have changed since they were verified; no file appears.
            ValueError: It is closed.
        """
        target = os.fspath(path)
        if is_reserved(target, self.path):
            raise UsageError(f"{target} belongs to the result; choose another file")
        self._read(0, 0)  # a closed result replaces nothing
        signal = self._source.description.signal
        convert = f"zaudio render {shlex.quote(self.path)} {shlex.quote(target)} --format"
        check_container(target, container_of(target), signal, convert=convert)
        file = AudioFile(target, signal, metadata=self.metadata or Metadata(), overwrite=overwrite)
        step = max(1, SAVE_BYTES // signal.frame_bytes)
        try:
            write_file(
                file, signal, (self._read(at, min(at + step, self.frames)) for at in range(0, self.frames, step))
            )
        finally:
            file.abort()  # after it was published, nothing is removed
        return target

    def close(self) -> None:
        """Close the files and wipe the key. Idempotent."""
        self.closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return its path and signal."""
        return f"<zaudio result {self.path!r}: {self._source.description.signal}{', closed' if self.closed else ''}>"

    def _read(self, start: int, stop: int) -> bytes | bytearray:
        if self.closed:
            raise ValueError(f"{self.path} is closed")
        if not 0 <= start <= stop <= self.frames:
            raise IndexError(f"expected frames from 0 to {self.frames}, got {start} to {stop}")
        try:
            return self._source.read(start, stop)
        except InputChangedError as error:
            raise VerificationError(error.path, error.reason) from None
