"""InputFile: a regular file that is read by position and watched for change. FileSource: a recording in such a file.

Rules: one descriptor serves for the whole of a recording's life. It is read with `pread` and never mapped: a mapped
file that shrinks kills the process. An `fstat` follows every read, so samples of a file that may have changed are never
handed out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Self

import xxhash

from zaudio.audio.metadata import Carried, Metadata
from zaudio.disk import identity, kind, read_into, reason
from zaudio.errors import InputChangedError, InputError, UsageError
from zaudio.formats import SampleFormat
from zaudio.reference import Fingerprint, Reference

PATH_MAX = 1024  # bytes of a path in a reference: it shares a header with the rest of a welcome
FINGERPRINT_BLOCKS = 16  # of 64 KiB, head and tail among them: 1 MiB is read in a millisecond, or from a network in ten
SAMPLE_BYTES = 65536  # a block of a reference's sample: enough to tell two takes apart, quick on a network file system


class InputFile:
    """An open regular file.

    Attributes:
        path: Its name, as it was given.
        size: Its bytes when it was opened.
        unresumable: Why a later start cannot read the same again; empty because it can.
    """

    unresumable = ""

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            UsageError: The name is empty or has a NUL in it.
            InputError: There is no such file, it cannot be read, or it is not a regular file.
        """
        if not path:
            raise UsageError("the input's name is empty")
        if "\0" in path:
            raise UsageError(f"the input's name {path!r} has a NUL in it")
        self.path = path
        try:
            self._absolute = os.path.abspath(path)  # check() must survive a chdir
            # Without O_NONBLOCK, opening a FIFO waits for a writer that may never come.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(path, why_not(path, error)) from None
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise InputError(path, f"is {kind(status)}, not a regular file")
        self._identity = _identity(status)
        self.size = status.st_size

    @property
    def fd(self) -> int:
        """The descriptor, which this object closes.

        Raises:
            ValueError: The file is closed.
        """
        if self._fd < 0:
            raise ValueError(f"{self.path} is closed")
        return self._fd

    def reference(self, offset: int) -> Reference | None:
        """Return a reference to the samples from that byte on; None when the path cannot go over the wire."""
        device, inode, size, mtime_ns = self._identity
        path = os.path.realpath(self._absolute)
        if len(os.fsencode(path)) > PATH_MAX or mtime_ns < 0:
            return None
        try:
            path.encode()
        except UnicodeEncodeError:  # the wire takes UTF-8 only
            return None
        return Reference(path, offset, size, mtime_ns, device, inode, self._sample())

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of this file in this state, without reading all of it.

        Raises:
            InputError: The system could not read.
        """
        _, _, size, mtime_ns = self._identity
        last = max(0, size - SAMPLE_BYTES)
        places = {last * number // (FINGERPRINT_BLOCKS - 1) for number in range(FINGERPRINT_BLOCKS)}
        digest = hashlib.sha256()
        for place in sorted(places):
            digest.update(self.read_at(place, SAMPLE_BYTES))
        return Fingerprint(os.path.realpath(self._absolute), size, mtime_ns, digest.hexdigest())

    def matches(self, reference: Reference, *, local: bool) -> bool:
        """Return whether this file is the one that the reference names, in the same state."""
        device, inode, size, mtime_ns = self._identity
        if local and (device, inode) != (reference.device, reference.inode):
            return False
        return (size, mtime_ns) == (reference.size, reference.mtime_ns) and self._sample() == reference.sample

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset` on, and make sure that the file has not changed.

        Raises:
            InputChangedError: It has changed, or it ends too early.
            InputError: The system could not read.
        """
        try:
            done = read_into(self.fd, buffer, offset)
        except OSError as error:
            raise InputError(self.path, _reason(error)) from None
        self.check_descriptor()
        if done < buffer.nbytes:
            raise InputChangedError(self.path, f"gave {done} bytes instead of {buffer.nbytes}: it shrank")

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; fewer only where the file ends.

        Raises:
            InputError: The system could not read.
        """
        try:
            first = os.pread(self.fd, length, offset)
            if len(first) == length or not first:
                return first
            parts = [first]  # Linux reads at most 2 GiB - 4 KiB at once
            while (missing := length - sum(map(len, parts))) and (
                part := os.pread(self.fd, missing, offset + length - missing)
            ):
                parts.append(part)
        except OSError as error:
            raise InputError(self.path, _reason(error)) from None
        return b"".join(parts)

    def check_descriptor(self) -> None:
        """Make sure that the open file has not changed.

        Raises:
            InputChangedError: It has.
        """
        self._compare(os.fstat(self.fd))

    def check_path(self) -> None:
        """Make sure that the open file has not changed, and that the path still leads to it.

        Raises:
            InputChangedError: It has, or it does not.
        """
        self.check_descriptor()
        try:
            status = os.stat(self._absolute)
        except OSError as error:
            raise InputChangedError(self.path, f"is gone since it was opened: {_reason(error)}") from None
        self._compare(status)

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _sample(self) -> int:
        places = (0, max(0, self.size // 2 - SAMPLE_BYTES // 2), max(0, self.size - SAMPLE_BYTES))
        return xxhash.xxh3_64_intdigest(b"".join(self.read_at(place, SAMPLE_BYTES) for place in places))

    def _compare(self, status: os.stat_result) -> None:
        now = _identity(status)
        if now == self._identity:
            return
        if now[:2] != self._identity[:2]:
            raise InputChangedError(self.path, "was replaced by another file since it was opened")
        if now[2] != self._identity[2]:
            raise InputChangedError(self.path, f"had {self._identity[2]} bytes when it was opened and has {now[2]} now")
        raise InputChangedError(self.path, "was written to since it was opened")


class FileSource:
    """A recording in an InputFile, the base of every Source. A subclass brings `_samples` and owns the format.

    Attributes: as in `zaudio.audio.source.Source`, and
        describe: Reads the metadata; set by the module that knows the container.
    """

    def __init__(
        self, file: InputFile, *, frames: int, channels: int, samplerate: int, format: SampleFormat, container: str
    ) -> None:
        self.path = file.path
        self.frames = frames
        self.channels = channels
        self.samplerate = samplerate
        self.format = format
        self.bits = format.bits
        self.frame_bytes = channels * format.itemsize
        self.container = container
        self.warnings: tuple[str, ...] = ()
        self.reference: Reference | None = None
        self.unresumable = file.unresumable
        self.describe: Callable[[], Carried] = _nothing_said
        self._file = file

    @property
    def resumable(self) -> bool:
        """Whether a later start can read the same again."""
        return not self.unresumable

    def read(self, start: int, stop: int) -> bytes | bytearray:
        """Return the interleaved samples of frames `start` to `stop`; see `Source.read`."""
        if not 0 <= start <= stop <= self.frames:
            raise IndexError(f"frames {start} to {stop} of {self.frames}")
        try:
            samples = self._samples(start, stop)
        except InputError:
            self._file.check_descriptor()  # a change explains the error better than the error does
            raise
        self._file.check_descriptor()
        return samples

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the file in this state; see `Source.fingerprint`."""
        return self._file.fingerprint()

    def metadata(self) -> Carried:
        """Return the metadata of the file; see `Source.metadata`."""
        found = self.describe()
        return Carried(found.metadata, tuple(f"{self.path}: {sentence}" for sentence in found.dropped))

    def check(self) -> None:
        """Make sure that file and path have not changed; see `Source.check`."""
        self._file.check_path()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _samples(self, start: int, stop: int) -> bytes | bytearray:
        raise NotImplementedError


def _nothing_said() -> Carried:
    return Carried(Metadata())


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return (*identity(status), status.st_size, status.st_mtime_ns)


def _reason(error: OSError) -> str:
    return reason(error).lower()  # it goes on a sentence here


def why_not(path: str, error: OSError) -> str:
    """Return as the rest of a sentence why a file cannot be opened."""
    if path == "-" and error.errno == errno.ENOENT:
        return "standard input cannot be read from any frame on; write it into a file first, with `cat > take.raw`"
    # A socket cannot be opened at all, and the system calls that "no such device or address".
    if error.errno == errno.ENXIO:
        try:
            return f"is {kind(os.stat(path))}, not a regular file"
        except OSError:
            pass  # gone meanwhile: the first error stands
    return f"cannot be opened: {_reason(error)}"
