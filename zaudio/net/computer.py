"""Computer: the thread of a worker that computes. Its ops may take long; the other thread answers meanwhile.

Rules:

- Work and tasks are done in the order in which they were asked for. Ops are set up in the thread.
- The outcome of a job that is over, or of superseded work, is dropped.
- The thread is never waited for longer than a moment, since an op can hang.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue

import xxhash

from zaudio.errors import InputError, UsageError
from zaudio.net.compute import ChunkFailed, compute
from zaudio.net.failure import parted, told
from zaudio.net.outbox import Outbox
from zaudio.net.recording import LocalRecording
from zaudio.net.setups import Setups
from zaudio.ops.graph import Counts, Graph
from zaudio.plan import Order
from zaudio.steps import Buffer, Step
from zaudio.wire.messages import Chunk

STOP_PATIENCE = 0.2  # s; an op may take long, and the thread is a daemon that ends with the process
GRAPHS_KEPT = 16  # for the recordings of a lot that are of equal length; making one takes less than a millisecond

log = logging.getLogger("zaudio.worker")


@dataclass(frozen=True, slots=True)
class Work:
    """All that is the same for the chunks of one job.

    Attributes:
        graph: The ops.
        steps: The ops as they travelled.
        chunk_frames: Frames per chunk of the user's.
        order: The order of frames in a result.
        recording: The recording, if it is open here.
    """

    graph: Graph
    steps: tuple[Step, ...]
    chunk_frames: int
    order: Order
    recording: LocalRecording | None = None


@dataclass(frozen=True, slots=True)
class _Setup:
    """Work that the thread is to make ready. `number` counts these, so that an older one is recognised."""

    job: int
    work: Work
    number: int


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
        zeroed: Samples that were not finite, and read as 0 by ops with memory.
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
    zeroed: int = 0
    payload: Buffer | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The end of a preparation: the ops are set up, or an error says why they cannot be.

    Attributes:
        job: The number of its job.
        number: Which preparation it was.
        error: A sentence; empty when the ops are set up.
        numbers: A number for each op, by which classes of machines are told apart.
    """

    job: int
    number: int
    error: str = ""
    numbers: tuple[int, ...] = ()


class Computer:
    """The thread that computes: work and tasks go in, outcomes come out in the same order.

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
        self._preparations = 0
        self._setups = Setups()
        self._graphs: dict[int, Graph] = {}  # of the work's ops, by the frames of a lot's recordings; latest last
        self._tasks: SimpleQueue[_Setup | _Task | None] = SimpleQueue()
        self._outcomes: deque[Prepared | Outcome] = deque()
        self._thread = threading.Thread(target=self._run, name="zaudio-compute", daemon=True)

    @property
    def reads(self) -> bool:
        """Whether the recording is open here, so that chunks need no payload."""
        return self._work is not None and self._work.recording is not None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def prepare(self, work: Work) -> None:
        """Compute all further chunks like this; close the recording of the work before.

        An outcome says when its ops are set up.
        """
        self._close_recording()
        self._work = work
        self._preparations += 1
        self._tasks.put(_Setup(self._job, work, self._preparations))

    def ask(self, chunk: Chunk, payload: Buffer | None) -> None:
        """Compute a chunk after those before it; without a payload, read its frames from the recording."""
        assert self._work is not None, "chunks come behind a welcome"
        self._tasks.put(_Task(self._job, self._work, chunk, payload))

    def outcomes(self) -> Iterator[Prepared | Outcome]:
        """Yield the outcomes since the last call, but for those of jobs that are over and of older work."""
        while self._outcomes:
            outcome = self._outcomes.popleft()
            stale = isinstance(outcome, Prepared) and outcome.number != self._preparations
            if outcome.job == self._job and not stale:
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
                outcome = self._set_up(task) if isinstance(task, _Setup) else self._compute(task)
                if os.getpid() != self._pid:  # an op forked, and its child came back from it: it must not go on as us
                    os._exit(1)
                self._outcomes.append(outcome)
                self._wake()

    def _set_up(self, task: _Setup) -> Prepared:
        self._graphs.clear()
        try:
            numbers = self._setups.set_up(task.work.graph, task.work.steps)
        except UsageError as error:
            return Prepared(task.job, task.number, str(error))
        return Prepared(task.job, task.number, numbers=numbers)

    def _compute(self, task: _Task) -> Outcome:
        started = time.monotonic()
        work, chunk, graph = task.work, task.chunk, task.work.graph
        try:
            graph = self._graph(work, chunk.frames)
            graph.counts = Counts()
            payload = task.payload if task.payload is not None else _read(work, chunk)
            slot, into = self._room(chunk, (chunk.stop - chunk.start) * graph.output.frame_bytes)
            # The order is applied here, spread over all workers and in their caches, because the whole farm waits for
            # the cipher's thread.
            result = compute(graph, chunk, payload, chunk_frames=work.chunk_frames, order=work.order, into=into)
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
            clipped=graph.counts.clipped,
            zeroed=graph.counts.zeroed,
            payload=result if into is None else None,
        )

    def _graph(self, work: Work, frames: int) -> Graph:
        """Return the ops over a recording of that length; a length of -1 means that of the welcome."""
        if frames in (-1, work.graph.input.frames):
            return work.graph
        graph = self._graphs.pop(frames, None) or work.graph.over(frames)
        self._graphs[frames] = graph
        if len(self._graphs) > GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        return graph

    def _room(self, chunk: Chunk, length: int) -> tuple[int, memoryview | None]:
        """Return the slot for a result and its memory; -1 and None when it is to travel as a payload."""
        if self._outbox is None or chunk.slot < 0 or length > self._outbox.slot_bytes:
            return -1, None
        return chunk.slot, self._outbox.slot(chunk.slot, length)


def _read(work: Work, chunk: Chunk) -> memoryview:
    if work.recording is None:
        raise InputError("the recording", "is not open here any more")
    return work.recording.read(chunk.input_start, chunk.input_stop, work.graph.input.frame_bytes)


def _failure(task: _Task, error: BaseException) -> Outcome:
    failed = task.chunk.start, task.chunk.stop
    if isinstance(error, ChunkFailed) and error.__cause__ is not None:
        failed, error = (error.start, error.stop), error.__cause__
    return Outcome(task.job, task.chunk, told(error), failed)
