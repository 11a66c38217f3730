"""OpenBatch: a batch that is ready for a farm. It runs lots and jobs in turn, while results are published.

Rules:

- The opener's thread opens recordings, the farm's thread runs their stages, a few threads publish results.
- An op that fails on a recording costs its own result alone: the rest of its lot is farmed again. What no recording is
  to blame for ends the batch.
- A result that is whole when the batch is stopped is published all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from zaudio.batching.alone import Alone
from zaudio.batching.ends import Ends
from zaudio.batching.lots import LOT_SHARE, Small, lot_stage
from zaudio.batching.opener import Opener
from zaudio.batching.publishers import Publishers
from zaudio.batching.roll import Roll
from zaudio.errors import NoWorkerError, StoppedError, UsageError, WorkersDiedError, ZaudioError
from zaudio.events import Advanced, Event, StageBegan, Started, State, StateChanged
from zaudio.net.farm import Farm
from zaudio.net.stage import Stage
from zaudio.ops.chain import versions_of
from zaudio.ops.contract import Op
from zaudio.outputs import open_folder
from zaudio.request import Request
from zaudio.result import Description, publish_small
from zaudio.sizes import parse_bytes
from zaudio.stages import BUNDLE_BYTES, CHUNK_OF_GRID, CREDIT, ID_BYTES, UNKNOWN_MAX, Demand, Say, once

Write = Callable[[Request, Small, Description, bytearray, Callable[[bytes], None]], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """The result of a small recording, to be published.

    Attributes:
        small: The recording.
        described: The description of its result.
        samples: The result.
    """

    small: Small
    described: Description
    samples: bytearray


def seal(
    request: Request, small: Small, described: Description, samples: bytearray, before: Callable[[bytes], None]
) -> bytes:
    """Publish the result of a small recording as a sealed one; return its tag.

    Args:
        request: The job.
        small: The recording.
        described: The description of the result.
        samples: The result.
        before: Called with the tag, before the instant of publication.

    Raises:
        UsageError: The folder cannot be used.
        StorageError: The system refused.
    """
    with open_folder(request, small.source, described) as folder:
        if folder.unfinished is not None or folder.done:
            raise UsageError(
                f"{request.output}: an interrupted job lies there; `zaudio farm` with this output goes on with it, "
                "and --fresh (fresh=True) discards it"
            )
        return publish_small(folder, described, samples, before=before)


class OpenBatch:
    """A batch that is ready for a farm.

    Args:
        request: The wishes of the user.
        count: The number of recordings.
        opener: Opens them.
        ends: Takes their ends.
        roll: Is told of those that begin.
        ops: The operations.
        notify: Wakes the farm.
        warnings: Sentences for the user.
        write: Publishes the result of a small recording.

    Attributes:
        running: Recordings in the stage that runs.
    """

    def __init__(
        self,
        request: Request,
        count: int,
        opener: Opener,
        ends: Ends,
        roll: Roll,
        ops: Sequence[Op],
        *,
        notify: Callable[[], None],
        publish: Callable[[Event], None],
        warnings: tuple[str, ...] = (),
        write: Write = seal,
    ) -> None:
        self.request = request
        self.warnings = warnings
        self.running = 0
        self._opener = opener
        self._ends = ends
        self._roll = roll
        self._ops = ops
        self._notify = notify
        self._publish = publish
        self._write = write
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
        slot = min(parse_bytes(CHUNK_OF_GRID, what="chunk"), request.memory // (max(1, request.workers) * CREDIT))
        modules = {module for op in self._ops for module in op.requires}
        return Demand(
            1 << 30, max(request.memory, UNKNOWN_MAX, BUNDLE_BYTES), slot, tuple(sorted(modules)), self._opener.own
        )

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run lots and jobs, until all recordings have ended.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole batch.
            on_open: Called once, when workers can take part.

        Raises:
            JobError: As many recordings failed as the user allows.
            ZaudioError: The farm failed, or was stopped.
        """

        def open_once() -> None:
            say(StateChanged, state=State.RUNNING)
            on_open()

        opened = once(open_once)
        publishers: Publishers[Whole | Alone] = Publishers(
            self._publish_one,
            bytes_of=lambda one: one.memory if isinstance(one, Alone) else one.small.bytes,
            bytes_most=self.request.memory // LOT_SHARE,
            notify=self._notify,
        )
        try:
            for work in self._opener:
                if isinstance(work, Alone):
                    self._run_alone(farm, work, publishers, say, opened)
                else:
                    self._run_lot(farm, work, publishers, say, opened)
        finally:
            self._opener.close()
            publishers.close()
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

        def has_room() -> bool:
            self._ends.tell(say)
            self._ends.check()
            return publishers.has_room()

        while lot:
            whole: list[Small] = []

            def give(number: int, samples: bytearray) -> None:
                small = lot[number]  # noqa: B023  it is called by this stage alone
                whole.append(small)  # noqa: B023
                described = replace(small.described, machines=stage.class_name)  # noqa: B023
                publishers.give(Whole(small, described, samples))

            stage = lot_stage(
                self.request, lot, give=give, has_room=has_room, notify=self._notify, publish=self._pass_on
            )
            self._begin(say, stage, [small.begun.named.path for small in lot])
            try:
                farm.run(stage, on_open=opened)
            except BaseException as error:
                if stage.failed is None or not isinstance(error, ZaudioError) or _is_of_farm(error):
                    for small in lot[len(whole) :]:
                        small.source.close()
                    raise
                if stage.failed >= len(whole):  # else a worker contradicts a result that is whole, as after any job
                    failed = lot.pop(stage.failed)
                    failed.source.close()
                    self._ends.failed(failed.begun.named, error, failed.source.warnings)
            else:
                # Told by no progress of its own: the stage ends with its last result.
                say(Advanced, chunks=stage.job.chunks, bytes=stage.job.plan.frames * stage.frame_bytes)
            lot = lot[len(whole) :]

    def _begin(self, say: Say, stage: Stage, recordings: list[str]) -> None:
        self.running = len(recordings)
        self._roll.begin(recordings)
        say(
            StageBegan,
            chunks=stage.job.chunks,
            chunk_frames=stage.job.chunk_frames,
            bytes=stage.job.plan.frames * stage.frame_bytes,
            recordings=tuple(recordings),
        )

    # Jobs of their own

    def _run_alone(
        self, farm: Farm, alone: Alone, publishers: Publishers[Whole | Alone], say: Say, opened: Callable[[], None]
    ) -> None:
        self.running = 1
        self._roll.begin([alone.begun.named.path])
        try:
            alone.run(farm, say=say, on_open=opened)
        except BaseException as error:
            alone.stack.close()
            if not isinstance(error, ZaudioError) or _is_of_farm(error):
                raise
            self._ends.failed(alone.begun.named, error, alone.work.warnings)
        else:
            publishers.wait()  # two writers at a time: one that ends, and one that the farm fills
            publishers.give(alone)
        self._ends.tell(say)
        self._ends.check()

    # In a publisher's thread

    def _publish_one(self, one: Whole | Alone) -> None:
        if isinstance(one, Alone):
            one.publish(self._ends)
            return
        small, described = one.small, one.described
        begun = small.begun
        request = replace(self.request, input=begun.named.path, output=self._ends.output_of(begun.named))
        try:
            with small.source:
                small.source.check()
                tag = self._write(
                    request, small, described, one.samples, lambda tag: self._ends.note_done(begun, described, tag)
                )
        except Exception as error:  # noqa: BLE001  it costs this result alone
            self._ends.failed(begun.named, error, small.source.warnings)
        else:
            self._ends.done(begun, described, tag, small.source.warnings)

    def _pass_on(self, event: Event) -> None:
        # To workers a stage is a job of its own, to users a part of the batch.
        self._publish(replace(event, job=self.started.job))


def job_of(request: Request, ops: Sequence[Op]) -> str:
    """Return a hash of what a result follows from besides its recording."""
    specs = tuple(map(str, request.specs))
    stored = (request.order, getattr(request.store, "inside", ""))
    asked = (request.chunk, request.raw, request.security.machines, str(request.recipient))
    facts = (specs, versions_of(ops), *stored, *asked)
    return sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _is_of_farm(error: BaseException) -> bool:
    """Return whether an error is about the farm, and no recording is to blame."""
    return isinstance(error, StoppedError | NoWorkerError | WorkersDiedError)
