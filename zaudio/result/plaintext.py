"""Plaintext: the bytes that are encrypted: a header, samples as they lie in a file, and a byte of padding.

Rules: payloads come as they lie in memory, in output order. 24 bits are packed, and bytes are swapped where the header
says another order. The place where a later life goes on may be any byte: that of a header, or inside of a sample.
"""

from __future__ import annotations

from dataclasses import replace

from zaudio.errors import UsageError
from zaudio.packing import pack
from zaudio.result.description import Description
from zaudio.signal import Signal
from zaudio.steps import Buffer


class Plaintext:
    """The plaintext of one result, as it grows.

    Args:
        description: The description of the result.
        header: The bytes in front of the samples.

    Attributes:
        size: Bytes of all of it.

    Raises:
        UsageError: The header has not as many bytes as the description says.
    """

    def __init__(self, description: Description, header: bytes = b"") -> None:
        if len(header) != description.header_bytes:
            raise UsageError(
                f"the description says {description.header_bytes} bytes of header, and it has {len(header)}"
            )
        self.size = description.plaintext_bytes
        self._description = description
        self._signal = description.signal  # of payloads
        self._little = description.signal.format.dtype[0] == "<"
        self._head = header  # what of it is still to come
        self._foot = bytes(description.footer_bytes)
        self._drop = 0  # bytes of the next sample that an earlier life wrote
        self._taken = 0  # bytes of payloads so far, also in earlier lives

    def begin(self, signal: Signal, length: int) -> int:
        """Take note of the payloads' signal, and of the bytes of plaintext that an earlier life wrote.

        Returns:
            The bytes of payloads that lie there already; payloads go on behind them.

        Raises:
            UsageError: The signal is not the description's.
        """
        stored = self._description.signal
        if signal != stored and not (self._description.header_bytes and _are_alike(signal, stored)):
            raise UsageError(f"the description is of {stored}, and the payloads are of {signal}")
        self._signal = signal
        done = max(0, length - len(self._head))
        self._head = self._head[length:]
        samples = min(done, self._description.samples_bytes)
        self._foot = self._foot[done - samples :]
        self._drop = samples % signal.format.stored_bytes
        self._taken = self.payloads_in(length)
        return self._taken

    def payloads_in(self, length: int) -> int:
        """Return the bytes of payloads, whole samples, in the first `length` bytes of plaintext."""
        done = max(0, length - self._description.header_bytes)
        samples = min(done, self._description.samples_bytes)
        return samples // self._signal.format.stored_bytes * self._signal.format.itemsize

    def take(self, payload: Buffer) -> memoryview:
        """Return the plaintext of a payload, with the header if it is the first one.

        Raises:
            UsageError: It is not whole frames, or longer than the rest of the result.
        """
        view = memoryview(payload)
        frame_bytes = self._signal.frame_bytes
        # After a resume the first payload begins at any sample, and like all others ends with a frame.
        if (self._taken + view.nbytes) % frame_bytes or not view.c_contiguous:
            raise UsageError(f"a payload is contiguous frames of {frame_bytes} bytes, not {view.nbytes} bytes")
        if self._taken + view.nbytes > self._signal.bytes:
            raise UsageError(
                f"the result has {self._signal.bytes} bytes; {self._taken} came, and now {view.nbytes} more"
            )
        self._taken += view.nbytes
        if not view.nbytes:
            return memoryview(b"")  # an empty view cannot be cast
        packed = memoryview(pack(view.cast("B"), self._signal.format, little=self._little))[self._drop :]
        self._drop = 0
        if self._head:
            packed, self._head = memoryview(b"".join((self._head, packed))), b""
        return packed

    def end(self) -> bytes:
        """Return the bytes behind the last payload: padding, and the header if there are no samples.

        Raises:
            UsageError: The payloads so far are not the whole result.
        """
        if self._taken != self._signal.bytes:
            raise UsageError(f"the result has {self._signal.bytes} bytes, and only {self._taken} came")
        return self._head + self._foot


def _are_alike(signal: Signal, stored: Signal) -> bool:
    """Return whether two signals differ in the order of bytes at most."""
    here, there = signal.format, stored.format
    return replace(signal, format=there) == stored and (here.dtype[1:], here.bits) == (there.dtype[1:], there.bits)
