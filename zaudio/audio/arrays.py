"""ArraySource: an array as a recording. Local workers read it by themselves, where the system has sealed memory.

Rules:

- The array is copied once, into an anonymous file in memory that is sealed: from then on nobody can change it, not even
  this process. Without one it is read where it is, and workers get chunks over their sockets.
- The file has no name. Workers open it through this process, as ``/proc/PID/fd/NUMBER``. The number may lead elsewhere
  by then; a worker compares device, inode, size and content with the reference first. The system lets only this user
  in, and nobody while core dumps are switched off: then chunks come over the sockets, too.
- Nothing is written to a disk. The memory is freed when the last process that has it open closes it.
"""

from __future__ import annotations

import fcntl
import os
import sys
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from zaudio.audio.files import InputFile
from zaudio.audio.metadata import Carried, Metadata
from zaudio.errors import InputChangedError, InputError, UsageError
from zaudio.formats import FORMATS, MAX_CHANNELS, SampleFormat
from zaudio.reference import Fingerprint, Reference

Array = npt.NDArray[Any]

NAME = "the array"  # in sentences
SLAB_BYTES = 1 << 20  # copied at a time: an array that is not contiguous is made so in pieces

_ORDER = "le" if sys.byteorder == "little" else "be"
_FORMATS = {"f4": "f32", "f8": "f64", "i2": "s16", "i4": "s32"}  # by kind and bytes


def format_of(array: Array) -> SampleFormat:
    """Return the format of an array's samples, in this machine's byte order.

    Raises:
        UsageError: No format holds them.
    """
    name = _FORMATS.get(array.dtype.str[1:])
    if name is None:
        raise UsageError(
            f"expected an array of float32, float64, int16 or int32, got {array.dtype}; "
            "convert it, as with x.astype('float32')"
        )
    return FORMATS[name + _ORDER]


def as_frames(x: object) -> Array:
    """Return an array as (frames, channels), in native byte order; a copy only where the order differs.

    Args:
        x: (frames, channels), or (frames,) for one channel.

    Raises:
        UsageError: It is no such array, or no format holds its samples.
    """
    if not isinstance(x, np.ndarray):
        raise UsageError(f"expected a numpy array, got {type(x).__name__}; pass numpy.asarray(x, dtype='float32')")
    if isinstance(x, np.ma.MaskedArray):
        raise UsageError("expected an array without a mask; pass x.filled(0), or another value for what is masked")
    if x.ndim not in (1, 2):
        raise UsageError(f"expected an array of (frames, channels) or (frames,), got one of shape {x.shape}")
    format = format_of(x)
    frames = np.asarray(x).reshape(-1, 1) if x.ndim == 1 else np.asarray(x)  # without a subclass's ways
    if not 1 <= frames.shape[1] <= MAX_CHANNELS:
        raise UsageError(
            f"expected 1 to {MAX_CHANNELS} channels, got an array of shape {x.shape}; it is (frames, channels)"
        )
    return frames.astype(format.native_dtype, copy=False)


class ArraySource:
    """The samples of an array. A context manager; used by one thread at a time.

    Args:
        array: Samples (frames, channels), as `as_frames` returns them. Without shared memory they must not change as
            long as this is open.
        samplerate: Frames per second.
        shared: Whether to let local workers read them.

    Attributes: as in `zaudio.audio.source.Source`.
    """

    def __init__(self, array: Array, samplerate: int, *, shared: bool) -> None:
        self.path = NAME
        self.frames, self.channels = array.shape
        self.samplerate = samplerate
        self.format = format_of(array)
        self.bits = self.format.bits
        self.frame_bytes = self.channels * self.format.itemsize
        self.container = "array"
        self.warnings: tuple[str, ...] = ()
        self.unresumable = "an array is not kept"
        self.reference: Reference | None = None
        self._array: Array | None = array
        self._file = _share(array) if shared else None
        if self._file is not None:
            self._array = None
            reference = self._file.reference(0)
            if reference is not None:
                self.reference = replace(reference, path=f"/proc/{os.getpid()}/fd/{self._file.fd}")

    @property
    def resumable(self) -> bool:
        """Whether a later start can read the same again: never."""
        return False

    def read(self, start: int, stop: int) -> bytes | bytearray:
        """Return the interleaved samples of frames `start` to `stop`.

        Raises:
            IndexError: There are no such frames.
            ValueError: The source is closed.
        """
        if not 0 <= start <= stop <= self.frames:
            raise IndexError(f"frames {start} to {stop} of {self.frames}")
        if self._file is None:
            if self._array is None:
                raise ValueError(f"{NAME} is closed")
            return self._array[start:stop].tobytes()
        length = (stop - start) * self.frame_bytes
        samples = self._file.read_at(start * self.frame_bytes, length)
        if len(samples) != length:
            raise InputChangedError(NAME, f"gave {len(samples)} bytes instead of {length}")
        return samples

    def metadata(self) -> Carried:
        """Return nothing: an array has none."""
        return Carried(Metadata())

    def fingerprint(self) -> Fingerprint:
        """Refuse: a later start has no array to recognise.

        Raises:
            InputError: Always.
        """
        raise InputError(NAME, self.unresumable)

    def check(self) -> None:
        """Make sure that nothing has changed; in sealed memory nothing can."""
        if self._file is not None:
            self._file.check_descriptor()

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        self._array = None
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _share(array: Array) -> InputFile | None:
    """Copy an array into sealed memory, and return its file; None where the system has none, or too little."""
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        fd = os.memfd_create("zaudio-array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return None
    try:
        _fill(fd, array)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        )
        return InputFile(f"/proc/self/fd/{fd}")  # a descriptor that can read only
    except (OSError, InputError):
        return None
    finally:
        os.close(fd)


def _fill(fd: int, array: Array) -> None:
    step = max(1, SLAB_BYTES // max(1, array.shape[1] * array.itemsize))
    for start in range(0, len(array), step):
        slab = np.ascontiguousarray(array[start : start + step]).reshape(-1).view(np.uint8).data
        while slab.nbytes:
            slab = slab[os.write(fd, slab) :]
