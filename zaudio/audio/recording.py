"""Source: a recording as the farm sees it, whatever it lies in.

Rules: a protocol and nothing else. Files, arrays, streams and sealed results implement it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from zaudio.audio.metadata import Carried
from zaudio.formats import SampleFormat
from zaudio.reference import Fingerprint, Reference


class Source(Protocol):
    """A recording that can be read from any frame on. Used by one thread at a time, not always the same.

    Attributes:
        path: The file, as it was named.
        frames: Its length, 0 or more.
        channels: Samples per frame.
        samplerate: Frames per second.
        format: How `read` gives a sample.
        bits: Significant bits of a sample; 24 where a file of 24 bits is read as 32, whose lowest byte is zero.
        frame_bytes: Bytes per frame.
        container: The kind of the file: ``raw``, ``WAV``, ``FLAC`` ...
        warnings: Sentences for the user about oddities that were overcome.
        reference: The place at which workers can read the samples themselves; None when they are not stored as they
            are.
        unresumable: Why a later start cannot read the same again; empty when it can.
    """

    path: str
    frames: int
    channels: int
    samplerate: int
    format: SampleFormat
    bits: int
    frame_bytes: int
    container: str
    warnings: tuple[str, ...]
    reference: Reference | None
    unresumable: str

    @property
    def resumable(self) -> bool:
        """Whether a later start can read the same again. If not, there is no fingerprint."""
        ...

    def read(self, start: int, stop: int) -> bytes | bytearray:
        """Return the interleaved samples of frames `start` to `stop`, in `format`: (stop - start) x frame_bytes bytes.

        Raises:
            InputChangedError: The file has changed since it was opened.
            InputError: The system or the decoder could not read.
            IndexError: There are no such frames.
        """
        ...

    def metadata(self) -> Carried:
        """Return the metadata of the file, and sentences about those that cannot be carried over.

        Raises:
            InputError: The system could not read.
        """
        ...

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the file in the state in which it was opened.

        Raises:
            InputError: The system could not read, or the recording is not resumable.
        """
        ...

    def check(self) -> None:
        """Make sure that file and path have not changed since it was opened.

        Raises:
            InputChangedError: The file was written to, or the path leads to another file or to none.
        """
        ...

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
