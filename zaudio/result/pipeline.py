"""Pipeline: two threads, so that a coordinator's loop never waits for the cipher or the disk.

    put -> [payloads] -> cipher thread: encrypt -> [ring] -> storage thread: tag, write

Rules: the cipher thread does nothing but encrypt, in rounds of 1 MiB, into buffers that are made once: many small
payloads are taken together, a large one is cut into several rounds. What the threads hold is bounded by the ring,
whatever the payloads' sizes; the owner of the payloads bounds those that wait, by `finished`. After a failure or `stop`
both threads end and every payload is let go.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from zaudio.steps import Buffer

ROUND_BYTES = 1 << 20  # 1 ms of AES: a hundred times what a round costs in Python, and it stays in the cache
IDLE = 0.5  # seconds without ciphertext after which `idle` is called
RING = 4  # ciphertext buffers: a write of a few ms (the kernel flushing) does not stop the cipher
TELL_EVERY = 4  # payloads; while the cipher has that many more to do, waking the farm for each costs more than it gains


class _Stopped(Exception):  # noqa: N818  a signal inside of the cipher thread, which it never leaves
    """The pipeline was stopped while a thread waited for a buffer."""


class Pipeline:
    """A chain of payloads into a chain of ciphertext.

    The callables are called from the threads.

    Args:
        encrypt: As `primitives.cbc_encryptor` makes it.
        write: Takes each piece of ciphertext in order; it is valid during the call only.
        complete: Called after the last piece.
        fail: Called once, with the exception of one of these.
        notify: Called when `finished` has grown: for every few payloads while many wait, for each while few do.
        idle: Called by the storage thread when no piece came for a while.
        leave: Called by the storage thread in place of `complete` when it was stopped and raised nothing itself.
    """

    def __init__(
        self,
        encrypt: Callable[[Buffer, bytearray], int],
        *,
        write: Callable[[memoryview], None],
        complete: Callable[[], None],
        fail: Callable[[Exception], None],
        notify: Callable[[], None],
        idle: Callable[[], None] = lambda: None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.finished = 0  # payloads that nothing here refers to any more; these three are the cipher thread's
        self.encrypting = 0.0  # seconds that the cipher worked
        self.storing = 0.0  # seconds that it waited for the disk
        self._encrypt = encrypt
        self._write = write
        self._idle = idle
        self._leave = leave
        self._complete = complete
        self._fail = fail
        self._notify = notify
        self._condition = threading.Condition()  # guards the next three
        self._payloads: deque[memoryview] = deque()
        self._tail: bytes | None = None  # set once no payload will follow
        self._stopped = False
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()  # None: stopped
        self._full: SimpleQueue[tuple[bytearray, int] | None] = SimpleQueue()  # None: nothing will follow
        for _ in range(RING):
            self._free.put(bytearray(ROUND_BYTES + 16))  # the cipher asks for 15 bytes more than it is given
        self._threads = [
            threading.Thread(target=self._run, args=(body,), name=f"zaudio-{name}", daemon=True)
            for name, body in (("cipher", self._run_cipher), ("storage", self._run_storage))
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, payload: memoryview) -> None:
        """Queue a payload: C-contiguous, unchanged until it is finished."""
        with self._condition:
            if not self._stopped:
                self._payloads.append(payload)
                self._condition.notify()

    def end(self, tail: bytes) -> None:
        """End the chain with the tail, not empty, which completes the last block. No payload follows."""
        with self._condition:
            self._tail = tail
            self._condition.notify()

    def stop(self) -> None:
        """Let go of everything that waits and end the threads soon, with `leave`. Idempotent."""
        with self._condition:
            self._stopped = True
            self._payloads.clear()
            self._condition.notify()
        self._free.put(None)
        self._full.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the threads to end; return False when one is inside a system call after that many seconds."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, body: Callable[[], None]) -> None:
        try:
            body()
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001  the job must end, and not wait for this thread
            self.stop()
            self._fail(error)

    def _run_cipher(self) -> None:
        untold = 0
        while batch := self._take():
            count = len(batch)
            self._encrypt_batch(batch)
            batch.clear()
            self.finished += count
            untold += count
            if untold >= TELL_EVERY or len(self._payloads) < TELL_EVERY:
                untold = 0
                self._notify()
        if self._tail is not None:
            for start in range(0, len(self._tail), ROUND_BYTES):  # it may hold the header of an empty recording
                self._emit(self._tail[start : start + ROUND_BYTES])
            self._full.put(None)

    def _take(self) -> list[memoryview]:
        """Return the next payload and those behind it that fit into the same round; an empty list at the end."""
        with self._condition:
            while not self._payloads and self._tail is None and not self._stopped:
                self._condition.wait()
            if self._stopped:
                raise _Stopped
            batch: list[memoryview] = []
            room = ROUND_BYTES
            while self._payloads and (not batch or self._payloads[0].nbytes <= room):
                payload = self._payloads.popleft()
                batch.append(payload)
                room -= payload.nbytes
            return batch

    def _encrypt_batch(self, batch: list[memoryview]) -> None:
        joined = batch[0] if len(batch) == 1 else memoryview(b"".join(batch))
        for start in range(0, joined.nbytes, ROUND_BYTES):
            self._emit(joined[start : start + ROUND_BYTES])

    def _emit(self, piece: Buffer) -> None:
        """Encrypt a piece into a free buffer of the ring and pass it on."""
        asked = time.monotonic()
        buffer = self._free.get()
        if buffer is None:
            raise _Stopped
        began = time.monotonic()
        self._full.put((buffer, self._encrypt(piece, buffer)))
        self.storing += began - asked
        self.encrypting += time.monotonic() - began

    def _run_storage(self) -> None:
        while item := self._next():
            buffer, size = item
            self._write(memoryview(buffer)[:size])
            self._free.put(buffer)
            if self._stopped:
                break
        if self._stopped:
            self._leave()
        else:
            while not self._free.empty():  # else the ring would stay until Python collects the writer
                self._free.get()
            self._complete()

    def _next(self) -> tuple[bytearray, int] | None:
        """Return the next piece of ciphertext; None at the end."""
        while True:
            try:
                return self._full.get(timeout=IDLE)
            except Empty:
                self._idle()
