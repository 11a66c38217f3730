"""OpenBatch: a batch that is ready for a farm. It runs lots and jobs in turn, while results are published.

Rules:

- The opener's thread opens recordings, the farm's thread runs their stages, a few threads publish results.
- An op that fails on a recording costs its own result alone: the rest of its lot is farmed again. An error that no
  recording is to blame for ends the batch, and so does a full disk.
- A result that is whole when the batch is stopped is published all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

from zaudio.batching.alone import Alone
from zaudio.batching.ends import Ends, Made
from zaudio.batching.lots import LOT_SHARE, Small, lot_stage
from zaudio.batching.opener import Opener
from zaudio.batching.publishers import Publishers
from zaudio.batching.results import Before, Whole, end, publish
from zaudio.batching.roll import Roll
from zaudio.batching.weights import Weights
from zaudio.errors import DiskFullError, NoWorkerError, StoppedError, WorkersDiedError, ZaudioError
from zaudio.events import Advanced, Event, StageBegan, Started, State, StateChanged
from zaudio.facts import Progress
from zaudio.job.cutting import BUNDLE_BYTES, CHUNK_OF_GRID
from zaudio.job.request import Request
from zaudio.job.stages import CREDIT, ID_BYTES, UNKNOWN_MAX, Demand, Say, opening
from zaudio.net.farm import Farm
from zaudio.net.stage import Stage
from zaudio.ops.chain import versions_of
from zaudio.ops.contract import Op
from zaudio.settings import Playable

ENDING_MOST = 3  # jobs that wait for the disk: ten fsyncs may take longer than a job of some seconds' sound


class OpenBatch:
    """A batch that is ready for a farm.

    Args:
        request: The wishes of the user.
        count: The number of recordings.
        opener: Opens them.
        weights: Their weights.
        ends: Takes their ends.
        roll: Is told of those that begin.
        ops: The operations.
        notify: Wakes the farm.
        warnings: Sentences for the user.
    """

    def __init__(
        self,
        request: Request,
        count: int,
        opener: Opener,
        weights: Weights,
        ends: Ends,
        roll: Roll,
        ops: Sequence[Op],
        *,
        notify: Callable[[], None],
        publish: Callable[[Event], None],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.request = request
        self.warnings = warnings
        self._opener = opener
        self._ends = ends
        self._roll = roll
        self._ops = ops
        self._notify = notify
        self._publish = publish
        self._weights = weights
        # The weights of recordings that are farmed, and of those in the stage that runs. Replaced as a whole, and
        # whenever another stage begins or ends.
        self._farmed = (0, 0)
        self._last: Alone | None = None  # the last that was given to the publishers
        self.started = Started(
            at=time.monotonic(),
            job=os.urandom(ID_BYTES).hex(),
            chunks=0,
            chunk_frames=0,
            frames=0,
            channels=0,
            samplerate=0,
            format="",
            bytes=0,
            recordings=count,
        )

    @property
    def demand(self) -> Demand:
        """The needs from the farm: those of any chunk that the memory allows."""
        request = self.request
        slot = min(CHUNK_OF_GRID, request.memory // (max(1, request.workers) * CREDIT))
        modules = {module for op in self._ops for module in op.requires}
        return Demand(
            1 << 30, max(request.memory, UNKNOWN_MAX, BUNDLE_BYTES), slot, tuple(sorted(modules)), self._opener.own
        )

    def done_bytes(self, progress: Callable[[], Progress]) -> tuple[Progress, int, int]:
        """Return how far the stage is, the weight of recordings that are done, and of those that no stage was for.

        Args:
            progress: Returns how far the stage is.
        """
        while True:
            farmed, passed = self._farmed, self._weights.passed
            own = progress()
            if self._farmed is farmed:  # else the share might be that of the stage before
                before, running = farmed
                return own, passed + before + int(running * own.fraction), passed

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run lots and jobs, until all recordings have ended.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole batch.
            on_open: Called once, when workers can take part.

        Raises:
            JobError: As many recordings failed as the user allows.
            DiskFullError: There is no room for the next result.
            ZaudioError: The farm failed, or was stopped.
        """
        opened = opening(say, on_open)
        publishers: Publishers[Whole | Alone] = Publishers(
            self._publish_one,
            bytes_of=lambda one: one.memory if isinstance(one, Alone) else one.small.bytes,
            bytes_most=self.request.memory // LOT_SHARE,
            notify=self._notify,
        )
        farm.each_turn = lambda: self._ends.tell(say)  # a recording may end while a stage of others goes on for long
        try:
            for work in self._opener:
                if isinstance(work, Alone):
                    self._run_alone(farm, work, publishers, say, opened)
                else:
                    self._run_lot(farm, work, publishers, say, opened)
        finally:
            self._opener.close()
            try:
                publishers.close()
            finally:
                self._ends.tell(say)
        self._ends.check()
        say(StateChanged, state=State.DONE)

    # Lots

    def _run_lot(
        self,
        farm: Farm,
        lot: list[Small],
        publishers: Publishers[Whole | Alone],
        say: Say,
        opened: Callable[[], None],
    ) -> None:
        """Run a lot, again without a recording that failed, until all of its recordings have ended or are whole."""
        while lot:
            lot = self._run_once(farm, lot, publishers, say, opened)

    def _run_once(
        self,
        farm: Farm,
        lot: list[Small],
        publishers: Publishers[Whole | Alone],
        say: Say,
        opened: Callable[[], None],
    ) -> list[Small]:
        """Run a lot until its end, or until one of its recordings fails; return those that are still to be done."""
        whole: list[Small] = []

        def give(number: int, samples: bytearray) -> None:
            small = lot[number]
            whole.append(small)
            described = replace(small.described, machines=stage.class_name)
            publishers.give(Whole(small, described, samples))

        def has_room() -> bool:
            self._ends.check()
            return publishers.has_room()

        stage = lot_stage(self.request, lot, give=give, has_room=has_room, notify=self._notify, publish=self._pass_on)
        self._begin(say, stage, lot)
        try:
            farm.run(stage, on_open=opened)
        except BaseException as error:
            if stage.failed is None or not isinstance(error, ZaudioError) or _is_of_all(error):
                for small in lot[len(whole) :]:
                    small.source.close()
                raise
            if stage.failed >= len(whole):  # else a worker contradicts a result that is whole, as after any job
                failed = lot.pop(stage.failed)
                failed.source.close()
                self._ends.failed(failed.begun.named, error, failed.warnings)
                self._end([failed])
        else:
            # Told by no progress of its own: the stage ends with its last result.
            say(Advanced, chunks=stage.job.chunks, bytes=stage.job.plan.frames * stage.frame_bytes)
        self._end(whole)
        return lot[len(whole) :]

    def _begin(self, say: Say, stage: Stage, lot: Sequence[Small]) -> None:
        recordings = tuple(small.begun.named.path for small in lot)
        self._roll.begin(recordings)
        say(
            StageBegan,
            chunks=stage.job.chunks,
            chunk_frames=stage.job.chunk_frames,
            bytes=stage.job.plan.frames * stage.frame_bytes,
            recordings=recordings,
        )
        self._farmed = self._farmed[0], self._weigh(lot)

    def _end(self, ended: Sequence[Small | Alone]) -> None:
        """Take note of recordings that no stage will go over again; no stage runs."""
        self._farmed = self._farmed[0] + self._weigh(ended), 0

    def _weigh(self, recordings: Iterable[Small | Alone]) -> int:
        return sum(self._weights.of(one.begun.named) for one in recordings)

    # Jobs of their own

    def _run_alone(
        self, farm: Farm, alone: Alone, publishers: Publishers[Whole | Alone], say: Say, opened: Callable[[], None]
    ) -> None:

        def say_on(kind: Callable[..., Event], **facts: object) -> None:
            say(kind, **facts)
            if kind is StageBegan and not facts.get("measures"):
                self._farmed = self._farmed[0], self._weigh([alone])

        self._roll.begin([alone.begun.named.path])
        try:
            alone.run(farm, say=say_on, on_open=opened)
        except BaseException as error:
            alone.stack.close()
            if not isinstance(error, ZaudioError) or _is_of_all(error):
                raise
            self._end([alone])
            self._ends.failed(alone.begun.named, error, alone.work.warnings)
        else:
            self._end([alone])
            if self._last is not None:
                self._last.drain()  # two writers hold payloads: one that the farm has left, and one that it fills
            try:
                publishers.wait(ENDING_MOST - 1)
            finally:
                publishers.give(alone)
            self._last = alone
        self._ends.tell(say)
        self._ends.check()

    # In a publisher's thread

    def _publish_one(self, one: Whole | Alone) -> None:
        if isinstance(one, Alone):
            one.publish(self._ends)
            return
        small = one.small
        begun = small.begun
        request = replace(self.request, input=begun.named.path, output=self._ends.output_of(begun.named))

        def publication(before: Before) -> Made:
            with small.source:
                small.source.check()
                return publish(request, one, before)

        end(self._ends, begun, request, publication, small.warnings)

    def _pass_on(self, event: Event) -> None:
        # To workers a stage is a job of its own, to users a part of the batch.
        self._publish(replace(event, job=self.started.job))


def job_of(request: Request, ops: Sequence[Op]) -> str:
    """Return a hash of all that a result follows from, besides its recording."""
    specs = tuple(map(str, request.specs))
    store = request.store
    stored: tuple[object, ...] = (request.order, getattr(store, "inside", ""))
    if isinstance(store, Playable):
        stored = (*stored, store.ending, store.format, store.dither)
    asked = (request.chunk, request.raw, request.security.machines, str(request.recipient))
    facts = (specs, versions_of(ops), *stored, *asked)
    return sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _is_of_all(error: BaseException) -> bool:
    """Return whether an error is about the farm or its disk, and no recording is to blame."""
    return isinstance(error, StoppedError | NoWorkerError | WorkersDiedError | DiskFullError)
