"""SealedSource: a sealed result as a recording, read in the recording's order, whatever the stored one.

Rules:

- All of it is authenticated first. After that each block is compared with the mark that it had then.
- The key stays in this process: workers get samples. No plaintext goes to a disk; core dumps are off meanwhile.
- Memory is a few megabytes, and 32 bytes per megabyte of the result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np

from zaudio.errors import InputChangedError, VerificationError
from zaudio.formats import sample_format
from zaudio.packing import unpack
from zaudio.plan import Order
from zaudio.program import NoCoreDumps, keep_freed_memory
from zaudio.reference import Fingerprint, Reference
from zaudio.result.reader import OnProgress, OpenResult
from zaudio.reverse import reverse_into


class SealedSource:
    """The recording in a sealed result. A context manager; used by one thread at a time.

    Args:
        path: The result's folder.
        key: The file with its encryption key, if that is not in the folder.
        identity: The file with the private key that the encryption key is wrapped for, if it is.
        on_progress: Called for each megabyte that is authenticated with the bytes done, and how many there are. An
            exception of it ends that.

    Attributes:
        path: The folder, as it was named.
        description: The result's description.
        frames, channels, samplerate, format, frame_bytes: As the description says.
        bits: Significant bits of a sample.
        container: ``sealed result``.
        warnings: Empty.
        reference: None: workers cannot read what is encrypted.
        unresumable: Empty: the result can be read again.

    Raises:
        UsageError: The file of `key` holds no key; or the encryption key is wrapped, and there is no identity; or that
            file holds none.
        VerificationError: The result is missing, incomplete or damaged.
        FolderBusyError: Another job has been publishing into that folder for over two seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | os.PathLike[str] | None = None,
        identity: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.path = os.fspath(path)
        with ExitStack() as stack:
            stack.enter_context(NoCoreDumps())
            self._result = OpenResult(path, key=key, identity=identity, on_progress=on_progress)
            stack.enter_context(self._result)
            self._result.authenticate()
            self._stack = stack.pop_all()
        self._open = True
        keep_freed_memory()  # of what `read` returned
        self._real = os.path.realpath(self.path)
        self.description = self._result.description
        signal = self.description.signal
        self.frames, self.channels, self.samplerate = signal.frames, signal.channels, signal.samplerate
        self.format = sample_format(self.description.format)
        self.frame_bytes = signal.frame_bytes
        self.container = "sealed result"
        self.warnings: tuple[str, ...] = ()
        self.reference: Reference | None = None
        self.unresumable = ""
        self.bits = self.format.bits

    @property
    def resumable(self) -> bool:
        """Whether a later start can read the same again."""
        return True

    def read(self, start: int, stop: int) -> bytes | bytearray:
        """Return the interleaved samples of frames `start` to `stop` of the recording.

        Raises:
            InputChangedError: The result has changed since it was authenticated.
            IndexError: There are no such frames.
            ValueError: The source is closed.
        """
        if not self._open:
            raise ValueError(f"{self.path} is closed")
        if not 0 <= start <= stop <= self.frames:
            raise IndexError(f"frames {start} to {stop} of {self.frames}")
        turned = self.description.order is Order.REVERSED
        begin, end = (self.frames - stop, self.frames - start) if turned else (start, stop)
        first, size = self.description.header_bytes, self.description.frame_bytes
        try:
            stored: bytes | bytearray = self._result.read(first + begin * size, first + end * size)
        except VerificationError as error:
            raise InputChangedError(error.path, error.reason) from None
        if turned and stored:
            samples = bytearray(len(stored))
            reverse_into(np.frombuffer(stored, np.uint8), samples, size)
            stored = samples
        return unpack(stored, self.format)

    def header(self) -> bytes:
        """Return the bytes in front of the samples.

        Raises:
            InputChangedError: The result has changed since it was authenticated.
        """
        try:
            return self._result.read(0, self.description.header_bytes)
        except VerificationError as error:
            raise InputChangedError(error.path, error.reason) from None

    def plaintext(self) -> Iterator[memoryview]:
        """Give all of the plaintext, piece by piece; each piece is valid until the next one.

        Raises:
            VerificationError: The result has changed since it was authenticated.
        """
        return self._result.plaintext()

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the result, which has its tag for a sample."""
        size = self.description.plaintext_bytes
        return Fingerprint(self._real, size, self._result.mtime_ns, self._result.tag.hex())

    def check(self) -> None:
        """Make sure that the files have not changed since they were opened, and that their names lead to them.

        Raises:
            InputChangedError: One was written to or replaced, or is gone.
            ValueError: The source is closed.
        """
        if not self._open:
            raise ValueError(f"{self.path} is closed")
        try:
            self._result.check()
        except VerificationError as error:
            raise InputChangedError(error.path, error.reason) from None

    def close(self) -> None:
        """Close the files and wipe the key. Idempotent."""
        self._open = False
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
