"""Computing a chunk: `compute`, which is pure, and `Computer`, the thread around it.

Rules:

- The chain sees one of the user's chunks at a time, with its context and no more, even in a bundle. The cuts lie on a
  grid that starts at frame 0 of the recording.
- The context is clipped at the recording's ends: a chunk's input range says where they are.
- Ops see frames in the recording's order. The order of the output is applied once, at the end, on the way into the
  outbox or into a fresh buffer.
- A failure names the user's chunk that failed, in frames of the recording.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np
import xxhash

from zaudio.errors import InputError
from zaudio.net.failure import parted, told
from zaudio.net.outbox import Outbox
from zaudio.net.recording import LocalRecording
from zaudio.ops.builtin import Array
from zaudio.ops.chain import Chain
from zaudio.plan import Order
from zaudio.reverse import order_into
from zaudio.steps import Buffer
from zaudio.wire.messages import Chunk

STOP_PATIENCE = 0.2  # s; an op may take long, and the thread is a daemon that ends with the process

log = logging.getLogger("zaudio.worker")


class Ranges(Protocol):
    """The two ranges of a chunk or of a bundle, in frames of the recording."""

    @property
    def start(self) -> int:
        """The first frame of the output range."""

    @property
    def stop(self) -> int:
        """The frame after the last of the output range."""

    @property
    def input_start(self) -> int:
        """The first frame of the input range, at most `start`."""

    @property
    def input_stop(self) -> int:
        """The frame after the last of the input range, at least `stop`."""


class ChunkFailed(Exception):  # noqa: N818  # it says where; its cause is the error
    """The chain failed on the user's chunk of frames `start` to `stop` of the recording."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.start = start
        self.stop = stop


def compute(
    chain: Chain,
    chunk: Ranges,
    payload: Buffer,
    *,
    chunk_frames: int,
    order: Order,
    before: int = 0,
    after: int = 0,
    into: memoryview | None = None,
) -> memoryview:
    """Apply a chain to a chunk, or to each chunk of a bundle.

    Args:
        chain: The chain.
        chunk: The ranges of the chunk or the bundle.
        payload: The frames of the input range, as stored; never written to.
        chunk_frames: Frames per chunk of the user's.
        order: The order of frames in the result.
        before: Frames of context that the chain needs in front of a chunk.
        after: Frames of context that the chain needs behind a chunk.
        into: A buffer for the result, just as long; None for a fresh one.

    Returns:
        The buffer, with the frames of the output range as stored.

    Raises:
        ChunkFailed: The chain failed on one of the user's chunks; the cause is the exception that it raised.
        ValueError: The payload does not hold the frames of the input range, or `into` has no room for those of the
            output range.
    """
    frames = chain.frames(payload)
    if len(frames) != chunk.input_stop - chunk.input_start:
        raise ValueError(f"expected {chunk.input_stop - chunk.input_start} frames in the payload, got {len(frames)}")
    length = (chunk.stop - chunk.start) * chain.frame_bytes
    if into is None:
        into = np.empty(length, np.uint8).data
    elif into.nbytes != length:
        raise ValueError(f"expected {length} bytes of room for the result, got {into.nbytes}")
    array = _apply(chain, chunk, frames, chunk_frames, before, after)
    order_into(array.reshape(-1).view(np.uint8), into, chain.frame_bytes, order)
    return into


def _apply(chain: Chain, chunk: Ranges, frames: Array, chunk_frames: int, before: int, after: int) -> Array:
    """Return the frames of the output range in the recording's order; contiguous."""
    origin, end = chunk.input_start, chunk.input_stop
    cuts = range(chunk.start - chunk.start % chunk_frames + chunk_frames, chunk.stop, chunk_frames)
    bundle = np.empty_like(frames, shape=(chunk.stop - chunk.start, frames.shape[1])) if cuts else None
    for start, stop in itertools.pairwise((chunk.start, *cuts, chunk.stop)):
        first, last = max(start - before, origin), min(stop + after, end)
        try:
            array = chain.apply(frames[first - origin : last - origin], slice(start - first, stop - first))
        except BaseException as error:  # SystemExit too: a function of a user's may raise anything
            raise ChunkFailed(start, stop) from error
        result = array[start - first : stop - first]
        if bundle is None:
            return result  # of the only chunk: no copy
        bundle[start - chunk.start : stop - chunk.start] = result
    assert bundle is not None
    return bundle


@dataclass(frozen=True, slots=True)
class Work:
    """All that is the same for the chunks of one job.

    Attributes:
        chain: The chain.
        chunk_frames: Frames per chunk of the user's.
        before: Frames of context that the chain needs in front of a chunk.
        after: Frames of context that the chain needs behind a chunk.
        order: The order of frames in a result.
        recording: The recording, if it is open here.
    """

    chain: Chain
    chunk_frames: int
    before: int
    after: int
    order: Order
    recording: LocalRecording | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """A chunk for the thread. `job` counts jobs, so that a task of a finished job is recognised."""

    job: int
    work: Work
    chunk: Chunk
    payload: Buffer | None  # None: it is to be read from the recording


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a task: a result, or an error.

    Attributes:
        job: The number of its job.
        chunk: The chunk.
        error: A sentence, and behind it a traceback (see `zaudio.net.failure`); empty for a result.
        failed: The frames on which the error was raised.
        length: Bytes of the result.
        checksum: XXH3-64 of the result.
        seconds: The time that it took.
        clipped: Samples that were limited to the range of their integers.
        slot: The slot of the outbox that has the result; -1 for none.
        payload: The result, if it is in no slot.
    """

    job: int
    chunk: Chunk
    error: str = ""
    failed: tuple[int, int] = (0, 0)
    length: int = 0
    checksum: int = 0
    seconds: float = 0.0
    slot: int = -1
    clipped: int = 0
    payload: Buffer | None = None


class Computer:
    """The thread that computes: tasks go in, outcomes come out in the same order.

    Args:
        wake: Called from the thread when there is an outcome.
        outbox: Shared memory for results; None to return them all as payloads.
    """

    def __init__(self, wake: Callable[[], None], *, outbox: Outbox | None = None) -> None:
        self._wake = wake
        self._outbox = outbox
        self._work: Work | None = None
        self._job = 0
        self._pid = os.getpid()
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._thread = threading.Thread(target=self._run, name="zaudio-compute", daemon=True)

    @property
    def reads(self) -> bool:
        """Whether the recording is open here, so that chunks need no payload."""
        return self._work is not None and self._work.recording is not None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def prepare(self, work: Work) -> None:
        """Compute all further chunks like this; close the recording of the work before."""
        self._close_recording()
        self._work = work

    def ask(self, chunk: Chunk, payload: Buffer | None) -> None:
        """Compute a chunk after those before it; without a payload, read its frames from the recording."""
        assert self._work is not None, "chunks come behind a welcome"
        self._tasks.put(_Task(self._job, self._work, chunk, payload))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes since the last call, but for those of jobs that are over."""
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if outcome.job == self._job:
                yield outcome

    def discard(self) -> None:
        """Forget all chunks: their job is over."""
        self._job += 1

    def stop(self) -> None:
        """Tell the thread to end; chunks that wait are forgotten."""
        self.discard()
        self._tasks.put(None)

    def join(self) -> bool:
        """Close the recording and wait a little for the end; return False when an op still runs."""
        if self._thread.is_alive():
            self._thread.join(STOP_PATIENCE)
        self._close_recording()
        return not self._thread.is_alive()

    def _close_recording(self) -> None:
        if self._work is not None and self._work.recording is not None:
            self._work.recording.close()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if task.job == self._job:
                outcome = self._compute(task)
                if os.getpid() != self._pid:  # an op forked, and its child came back from it: it must not go on as us
                    os._exit(1)
                self._outcomes.append(outcome)
                self._wake()

    def _compute(self, task: _Task) -> Outcome:
        started = time.monotonic()
        work, chunk = task.work, task.chunk
        work.chain.take_clipped()  # of a chunk that failed
        try:
            payload = task.payload if task.payload is not None else _read(work, chunk)
            slot, into = self._room(chunk, (chunk.stop - chunk.start) * work.chain.frame_bytes)
            # The order is applied here, spread over all workers and in their caches, because the whole farm waits for
            # the cipher's thread.
            result = compute(
                work.chain,
                chunk,
                payload,
                chunk_frames=work.chunk_frames,
                order=work.order,
                before=work.before,
                after=work.after,
                into=into,
            )
            checksum = xxhash.xxh3_64_intdigest(result)
        except BaseException as error:  # a user's op may raise anything, SystemExit too: the chunk failed
            outcome = _failure(task, error)
            if not parted(outcome.error)[1]:  # no code of the user's raised it
                log.debug("chunk %d failed", chunk.index, exc_info=True)
            return outcome
        seconds = time.monotonic() - started
        return Outcome(
            task.job,
            chunk,
            length=result.nbytes,
            checksum=checksum,
            seconds=seconds,
            slot=slot,
            clipped=work.chain.take_clipped(),
            payload=result if into is None else None,
        )

    def _room(self, chunk: Chunk, length: int) -> tuple[int, memoryview | None]:
        """Return the slot for a result and its memory; -1 and None when it is to travel as a payload."""
        if self._outbox is None or chunk.slot < 0 or length > self._outbox.slot_bytes:
            return -1, None
        return chunk.slot, self._outbox.slot(chunk.slot, length)


def _read(work: Work, chunk: Chunk) -> memoryview:
    if work.recording is None:
        raise InputError("the recording", "is not open here any more")
    return work.recording.read(chunk.input_start, chunk.input_stop, work.chain.frame_bytes)


def _failure(task: _Task, error: BaseException) -> Outcome:
    failed = task.chunk.start, task.chunk.stop
    if isinstance(error, ChunkFailed) and error.__cause__ is not None:
        failed, error = (error.start, error.stop), error.__cause__
    return Outcome(task.job, task.chunk, told(error), failed)
