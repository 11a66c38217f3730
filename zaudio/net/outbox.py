"""Outboxes: shared memory in which local workers leave their results.

A result over a socket is copied four times on its way; one in an outbox is copied once, into the coordinator's own
memory, where its checksum is taken.

Rules:

- One anonymous segment serves all local workers. It is allocated in full before it is used. The starter and its workers
  inherit it, so it has no name that could be left behind.
- Each worker owns one region of it. A region has as many slots as the worker has credit.
- A grant names the slot for its result. The slot is named again only when that lease has ended: the sink has copied the
  result, or the worker does not hold the chunk.
- A worker that was given up while it computed may write into a slot that was named again. Then the checksum of the copy
  does not agree, and the chunk is granted again.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from zaudio.net.orders import Shelf


class Outboxes:
    """The coordinator's side: all regions.

    Args:
        memory: Descriptor of an empty piece of anonymous memory, which stays its owner's; -1 for none.
        count: Number of local workers.
        slots: Slots of each.
        slot_bytes: Bytes of the longest result.

    Attributes:
        slots: As the argument.
        slot_bytes: As the argument.
        tokens: The name of each outbox, by the worker's number.

    Raises:
        OSError: There is no such memory, or not that much.
    """

    def __init__(self, memory: int, count: int, slots: int, slot_bytes: int) -> None:
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.tokens = tuple(os.urandom(16) for _ in range(count))
        self._region_bytes = region_bytes(slots, slot_bytes)
        self._number = {token: number for number, token in enumerate(self.tokens)}
        if memory < 0:
            raise OSError("this system has no anonymous shared memory")
        os.posix_fallocate(memory, 0, count * self._region_bytes)
        self._memory = mmap.mmap(memory, count * self._region_bytes)

    @property
    def shelf(self) -> Shelf:
        """The layout, as the starter is told it."""
        return Shelf(self.slots, self.slot_bytes, self.tokens)

    def copy(self, token: bytes, slot: int, buffer: memoryview) -> bool:
        """Fill the buffer from a slot; return False when there is no such slot or it is shorter than the buffer."""
        number = self._number.get(token)
        if number is None or not 0 <= slot < self.slots or buffer.nbytes > self.slot_bytes:
            return False
        if buffer.nbytes:
            start = number * self._region_bytes + slot * self.slot_bytes
            # By numpy, which lets other threads run meanwhile; a slice of a memoryview would make the cipher wait.
            np.copyto(np.frombuffer(buffer, np.uint8), np.frombuffer(self._memory, np.uint8, buffer.nbytes, start))
        return True

    def close(self) -> None:
        """Let go of the memory. Workers that still have it keep theirs."""
        self._memory.close()


class Outbox:
    """A worker's side: its own region.

    Args:
        fd: The segment.
        number: The region's number.
        slots: Slots of the region.
        slot_bytes: Bytes of each.
        token: The coordinator's name for it.
    """

    def __init__(self, fd: int, number: int, slots: int, slot_bytes: int, token: bytes) -> None:
        self.token = token
        self.slot_bytes = slot_bytes
        length = region_bytes(slots, slot_bytes)
        memory = mmap.mmap(fd, length, offset=number * length)
        if hasattr(mmap, "MADV_DONTFORK"):
            # A child that an op forks, and that comes back from the op, would write into a slot that is granted again.
            memory.madvise(mmap.MADV_DONTFORK)
        self._memory = memoryview(memory)

    def slot(self, number: int, length: int) -> memoryview:
        """Return the first `length` bytes of a slot, to write to; fewer where the region ends."""
        start = number * self.slot_bytes
        return self._memory[start : start + length]


def region_bytes(slots: int, slot_bytes: int) -> int:
    """Return the bytes of a region: whole pages, since it is mapped by itself."""
    pages = -(-slots * slot_bytes // mmap.ALLOCATIONGRANULARITY)
    return max(1, pages) * mmap.ALLOCATIONGRANULARITY
