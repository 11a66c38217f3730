"""Stages: a course over one recording, cut into chunks, each of its stages ready for a farm.

    Shared           what all stages of a job share
    measure          the measuring stages, one by one   -> the course is ready for its main stage
    main_stage       the last pass                      -> Stage

Rules: measuring stages run forward, into memory, each as a job of its own to workers. Users see one job.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from zaudio.audio import Source
from zaudio.core.job import Job
from zaudio.core.jury import SECRET_BYTES, Audit
from zaudio.errors import UsageError
from zaudio.events import Event, Measured, StageBegan, Started, State, StateChanged
from zaudio.fold import Fold
from zaudio.job.classes import JobClass
from zaudio.job.cutting import chunk_bytes, cut, in_bundles
from zaudio.job.request import Request
from zaudio.net.destination import Destination
from zaudio.net.farm import Farm
from zaudio.net.stage import Stage
from zaudio.ops.beside import beside
from zaudio.ops.chain import GRID_LEAST, GRID_MOST, Course, Pass
from zaudio.ops.contract import Array, Op
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.ops.spec import OpSpec
from zaudio.plan import Order, Plan
from zaudio.program import PrintsAside
from zaudio.signal import Signal

CREDIT = 2  # bundles that a worker holds: one to compute, one to fetch meanwhile
ID_BYTES = 16
UNKNOWN_MAX = 16 << 20  # bytes of a result in a stage that is not known before something is measured

Say = Callable[..., None]  # say(kind, **facts): publish an event of that kind, with the job's id and the time


@dataclass(frozen=True, slots=True)
class Shared:
    """All that the stages of a job share: request, recording, class of machines, and the ways to tell the farm.

    Attributes:
        request: The wishes of the user.
        source: The recording.
        machines: The class of machines that computes the job.
        notify: Wakes the farm; from any thread.
        publish: Takes the events of a stage.
    """

    request: Request
    source: Source
    machines: JobClass
    notify: Callable[[], None]
    publish: Callable[[Event], None]

    @property
    def signal(self) -> Signal:
        """The recording's signal."""
        return signal_of(self.source)


@dataclass(frozen=True, slots=True)
class Demand:
    """The needs of a job from its farm.

    Attributes:
        chunks: Messages of the longest stage: more workers than that have nothing to do.
        result_max: Bytes of the longest result of any stage.
        slot_bytes: Bytes of the longest result of the stages that are known.
        modules: Modules that its ops import and that take long.
        own: Users' ops in the stages that are known; those that the user named are in the request too.
    """

    chunks: int
    result_max: int
    slot_bytes: int
    modules: tuple[str, ...]
    own: tuple[str, ...]


class OpenWork(Protocol):
    """A job, a batch or a survey that is ready for a farm: `OpenJob` and its kin."""

    @property
    def started(self) -> Started:
        """The facts of the job."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""

    @property
    def request(self) -> Request:
        """The wishes of the user."""

    @property
    def demand(self) -> Demand:
        """The needs from the farm."""

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run the stages.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole job.
            on_open: Called once, when workers can take part.
        """


def signal_of(source: Source) -> Signal:
    """Return the signal of a recording."""
    return Signal(source.frames, source.channels, source.samplerate, source.format)


# What a farm must be made for


def demand_of(request: Request, course: Course, main: Plan, *, first: int = 0) -> Demand:
    """Return the needs of a course.

    Args:
        request: The wishes of the user.
        course: The course.
        main: The chunks of its main stage, as far as that is known.
        first: Messages of the main stage that were done already.
    """
    pass_ = course.foreseen if course.measuring is not None else course.main
    bundles = in_bundles(main, pass_)
    chunks, slot = len(bundles) - first, _longest(bundles, pass_)
    if course.measuring is None:
        return Demand(chunks, slot, slot, _modules(pass_), _own(pass_))
    measuring = in_bundles(cut(request, course.measuring, Order.FORWARD), course.measuring)
    slot = max(slot, _longest(measuring, course.measuring))
    # A grid is at most so long, whatever the measured ops are.
    most_frames = main.chunk_frames + math.ceil(GRID_MOST / pass_.stretch) + GRID_LEAST
    unknown = min(most_frames, course.output.frames) * course.output.frame_bytes
    passes = (pass_, course.measuring)
    result_max = max(slot, unknown, UNKNOWN_MAX)
    return Demand(max(chunks, len(measuring)), result_max, slot, _modules(*passes), _own(*passes))


def demand_of_stage(plan: Plan, pass_: Pass) -> Demand:
    """Return the needs of a course whose first measuring stage alone is known."""
    bundles = in_bundles(plan, pass_)
    longest = _longest(bundles, pass_)
    return Demand(len(bundles), max(longest, UNKNOWN_MAX), longest, _modules(pass_), _own(pass_))


def _modules(*passes: Pass) -> tuple[str, ...]:
    return tuple(sorted({module for pass_ in passes for op in pass_.ops for module in op.requires}))


def _own(*passes: Pass) -> tuple[str, ...]:
    return tuple(dict.fromkeys(step.name for pass_ in passes for step in pass_.steps if ":" in step.name))


def _longest(bundles: Plan, pass_: Pass) -> int:
    return min(bundles.chunk_frames, bundles.frames) * pass_.graph().output.frame_bytes


# Stages


def measure(
    shared: Shared,
    course: Course,
    farm: Farm,
    *,
    demand: Demand,
    job: str,
    say: Say,
    on_open: Callable[[], None],
    keep: Callable[[Op, str], None] = lambda *_: None,
    last: int = 0,
) -> Array | None:
    """Run the measuring stages of a course, until `last` of its ops are left.

    Args:
        shared: All that the stages share.
        course: The course; each stage advances it.
        farm: The farm, entered.
        demand: What the farm was made for.
        job: The job's id, in hex.
        say: Publishes events of the whole job.
        on_open: Called when workers can take part in a stage.
        keep: Takes each op that was measured, and the sentence about it, before the next stage begins.
        last: The number of ops whose measurement is the result.

    Returns:
        The result, (cells, numbers); None with `last` at 0.

    Raises:
        ZaudioError: A stage failed.
    """
    while course.measuring is not None:
        name = f"measuring for {name_of(course.waiting[0])}"
        plan = cut(shared.request, course.measuring, Order.FORWARD)
        stage, fold = _measuring_stage(shared, course.measuring, plan, name=name, job=job)
        if stage.result_max > demand.result_max:
            raise UsageError(f"{name}: a result has {stage.result_max} bytes, and {demand.result_max} are the most")
        say(StageBegan, stage=name, chunks=len(plan), chunk_frames=0, bytes=shared.signal.bytes, measures=True)
        farm.run(stage, on_open=on_open)
        learn(shared, stage)
        if len(course.waiting) == last:
            return fold.cells
        sentence = course.take(fold.cells)
        keep(course.measured[-1], sentence)
        say(Measured, stage=name, sentence=sentence)
    return None


def learn(shared: Shared, stage: Stage) -> None:
    """Keep a stage's findings about its workers' machines, for later stages and later lives."""
    shared.machines.learn(stage.job.ops, stage.job.signal, stage.machine_class, stage.class_name)


def main_stage(
    shared: Shared, pass_: Pass, plan: Plan, destination: Destination, *, job: bytes, incarnation: int, resumed: int
) -> Stage:
    """Return the main stage, which goes on after the bytes that an earlier life wrote.

    Args:
        shared: All that the stages share.
        pass_: The last pass of the course.
        plan: Its chunks.
        destination: Where results go; open.
        job: The job's id.
        incarnation: The number of this life.
        resumed: Bytes of the result that are done.
    """
    frame_bytes = pass_.graph().output.frame_bytes
    frame, rest = divmod(resumed, frame_bytes)
    first, skipped = in_bundles(plan, pass_).at_output(frame)
    return Stage(
        _job(shared, pass_, plan, job=job, incarnation=incarnation, first=first),
        sources=(shared.source,),
        destination=destination,
        frame_bytes=frame_bytes,
        notify=shared.notify,
        publish=shared.publish,
        skip=skipped * frame_bytes + rest,
    )


def _measuring_stage(shared: Shared, pass_: Pass, plan: Plan, *, name: str, job: str) -> tuple[Stage, Fold]:
    fold = Fold(pass_.graph().output)

    def publish(event: Event) -> None:  # to workers it is a job of its own, to users a part of theirs
        shared.publish(replace(event, job=job))

    made = Stage(
        _job(shared, pass_, plan, job=os.urandom(ID_BYTES)),
        sources=(shared.source,),
        destination=fold,
        frame_bytes=fold.signal.frame_bytes,
        notify=shared.notify,
        publish=publish,
        name=name,
    )
    return made, fold


def _job(shared: Shared, pass_: Pass, plan: Plan, *, job: bytes, incarnation: int = 1, first: int = 0) -> Job:
    request = shared.request
    bundles = in_bundles(plan, pass_)
    percent = request.security.audit
    # A bundle is in flight one way, then the other; while two workers are at it, both ways at once. An audited one is
    # at two workers from the start.
    ways = 4 if percent else 2
    return Job(
        id=job,
        incarnation=incarnation,
        plan=bundles,
        chunk_frames=plan.chunk_frames,
        ops=pass_.steps,
        signal=pass_.signal,
        grid=pass_.grid,
        credit=CREDIT,
        window_most=request.memory // (ways * max(1, chunk_bytes(bundles, pass_))),
        timing=request.timing,
        source=shared.source.reference,
        first=first,
        audit=Audit(percent, os.urandom(SECRET_BYTES)) if percent else None,
        machine_class=shared.machines.expected(pass_.steps, pass_.signal),
        class_name=shared.machines.to_ask,
    )


def name_of(op: Op) -> str:
    """Return the name of an op, for a sentence."""
    return getattr(op, "name", "") or type(op).__name__


def opening(say: Say, on_open: Callable[[], None]) -> Callable[[], None]:
    """Return a function for each stage to call when workers can take part; all its calls but the first do nothing."""
    opened: list[bool] = []

    def call() -> None:
        if not opened:
            opened.append(True)
            say(StateChanged, state=State.RUNNING)
            on_open()

    return call


def import_named(specs: Sequence[OpSpec]) -> Allowed:
    """Import the modules of the functions that the user named, for their declarations.

    As in the process that starts local workers, they may lie in the current folder.

    Raises:
        UsageError: One cannot be imported.
    """
    names = list(dict.fromkeys(spec.name for spec in specs if spec.is_function))
    # A module may print while it is imported. Standard output is for results.
    with beside(names), PrintsAside():
        return import_allowed(names)
