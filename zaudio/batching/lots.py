"""Lots: opens the recordings of a batch, and puts those together that are small and alike.

    open_small   a file      -> a Small recording, or None for one that is a job of its own
    Packer       recordings  -> lots
    lot_stage    a lot       -> a stage for the farm

Rules:

- A small recording is a few megabytes, and nothing is measured for it. It is held in memory as a whole, and begun again
  when the batch is.
- Recordings of a lot differ in their lengths alone: channels, samplerate, format and the ops as they travel are the
  same. To workers a lot is a job over a recording without end, and each chunk names the length of its own.
- The files that are open at a time, and the bytes of a lot, are bounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from zaudio.audio import Source
from zaudio.audio.rendering import FileLayout
from zaudio.batching.ends import Begun
from zaudio.core.job import Job
from zaudio.core.jury import SECRET_BYTES, Audit
from zaudio.events import Event
from zaudio.into import Dealer
from zaudio.job.classes import JobClass
from zaudio.job.cutting import BUNDLE_BYTES, chunk_bytes, cut
from zaudio.job.outputs import describe, lay_out, with_format
from zaudio.job.request import Request
from zaudio.job.stages import CREDIT, ID_BYTES, signal_of
from zaudio.lot import LotPlan
from zaudio.net.stage import Stage
from zaudio.ops.chain import ENDLESS, Course, Pass, make_ops
from zaudio.ops.contract import Op
from zaudio.ops.functions import Allowed
from zaudio.plan import Plan
from zaudio.result import Description
from zaudio.settings import Playable, Sealed
from zaudio.signal import Signal
from zaudio.steps import Step

SMALL_MOST = 4 << 20  # bytes of a small recording, and of its result: more of them are worth a job that can be resumed
LOT_MOST = 128  # recordings of a lot, whose files are open: 640 at a time at most, and a usual limit is 1,024
OPEN_MOST = 128  # recordings that wait for their lots to be full
LOT_SHARE = 4  # of the memory, which headers and metadata of a lot may take
LINE_CREDIT = 4  # over a line of 100 ms, workers that hold two chunks of 50 ms each wait for a third of their time


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """A small recording, open.

    Attributes:
        begun: The recording.
        source: The recording.
        main: Its ops.
        plan: Its chunks.
        bundles: The chunks by which it travels.
        described: The description of its result, but for the class of machines.
        layout: The bytes of a file that plays besides its samples; None for a sealed result.
        warnings: Sentences for the user.
    """

    begun: Begun
    source: Source
    main: Pass
    plan: Plan
    bundles: Plan
    described: Description
    layout: FileLayout | None
    warnings: tuple[str, ...]

    @property
    def alike(self) -> tuple[object, ...]:
        """The things that recordings of a lot have in common."""
        signal = replace(signal_of(self.source), frames=0)
        # Without a grid, ops see a chunk at a time.
        return signal, self.main.steps, self.main.grid, 0 if self.main.grid else self.plan.chunk_frames

    @property
    def bytes(self) -> int:
        """Bytes that it takes in memory when it is farmed: its samples, and those of its result."""
        return signal_of(self.source).bytes + self.described.signal.bytes + self.held

    @property
    def held(self) -> int:
        """Bytes that it takes in memory before: those of its file besides samples."""
        return _besides(self.layout)


def open_small(request: Request, begun: Begun, source: Source, ops: Sequence[Op]) -> Small | None:
    """Return a recording as one of a lot; None when it is to be a job of its own.

    Raises:
        UsageError: An op or a size cannot be used with it.
    """
    signal = signal_of(source)
    course = Course(ops, signal)
    if course.measuring is not None or (isinstance(request.store, Sealed) and request.store.inside != "raw"):
        return None
    asked, request = request, with_format(request, source, course.output)
    if request is not asked:
        course = Course((*ops, *make_ops(request.specs[len(asked.specs) :], Allowed((), {}))), signal)
    main = course.main
    plan = cut(request, main)
    described = describe(request.specs, course, plan)
    if max(signal.bytes, described.signal.bytes) > SMALL_MOST:
        return None
    layout, dropped = lay_out(request, source, course) if isinstance(request.store, Playable) else (None, ())
    if _besides(layout) > SMALL_MOST:
        return None
    bundles = plan.in_bundles(BUNDLE_BYTES // max(1, chunk_bytes(plan, main)))
    return Small(begun, source, main, plan, bundles, described, layout, (*source.warnings, *dropped))


def _besides(layout: FileLayout | None) -> int:
    return len(layout.header) + len(layout.footer) if layout is not None else 0


class Packer:
    """Puts small recordings together.

    Args:
        bytes_most: Bytes that the recordings of a lot may hold, unless it is one alone. Those of samples do not count:
            they are read when they are farmed, inside the farm's window.
    """

    def __init__(self, bytes_most: int) -> None:
        self._bytes_most = bytes_most
        self._open: dict[tuple[object, ...], list[Small]] = {}  # what they have in common -> a lot that is not full

    def add(self, small: Small) -> list[list[Small]]:
        """Take a recording; return the lots that are full now."""
        full, key = [], small.alike
        lot = self._open.setdefault(key, [])
        if lot and sum(each.held for each in lot) + small.held > self._bytes_most:
            full.append(self._open.pop(key))
            lot = self._open.setdefault(key, [])
        lot.append(small)
        if len(lot) >= LOT_MOST:
            full.append(self._open.pop(key))
        elif sum(map(len, self._open.values())) >= OPEN_MOST:
            full.append(self._open.pop(max(self._open, key=lambda key: len(self._open[key]))))
        return full

    def rest(self) -> list[list[Small]]:
        """Return the lots that are left, and forget them."""
        lots, self._open = list(self._open.values()), {}
        return lots


def lot_stage(
    request: Request,
    lot: Sequence[Small],
    *,
    give: Callable[[int, bytearray], None],
    has_room: Callable[[], bool],
    notify: Callable[[], None],
    publish: Callable[[Event], None],
) -> Stage:
    """Return the stage that goes over a lot.

    Args:
        request: The wishes of the user.
        lot: The recordings, all alike.
        give: Takes the number of a recording and its result, in the farm's thread.
        has_room: Returns whether another result can be taken.
        notify: Wakes the farm.
        publish: Takes the events of the stage.
    """
    first = lot[0]
    plan = LotPlan(tuple(small.bundles for small in lot))
    longest = max(chunk_bytes(small.bundles, small.main) for small in lot)
    percent = request.security.audit
    steps: tuple[Step, ...] = first.main.steps
    endless: Signal = replace(signal_of(first.source), frames=ENDLESS)
    machines = JobClass(request.security.machines)
    job = Job(
        id=os.urandom(ID_BYTES),
        incarnation=1,
        plan=plan,
        chunk_frames=max(small.plan.chunk_frames for small in lot),
        ops=steps,
        signal=endless,
        grid=first.main.grid,
        credit=CREDIT if request.workers else LINE_CREDIT,  # a local worker has an outbox of CREDIT slots, and no line
        window_most=request.memory // ((4 if percent else 2) * max(1, longest)),
        timing=request.timing,
        audit=Audit(percent, os.urandom(SECRET_BYTES)) if percent else None,
        machine_class=machines.expected(steps, endless),
        class_name=machines.to_ask,
        lengths=tuple(small.source.frames for small in lot),
    )
    dealer = Dealer([small.described.signal for small in lot], give=give, has_room=has_room)
    return Stage(
        job,
        sources=[small.source for small in lot],
        destination=dealer,
        frame_bytes=first.described.signal.frame_bytes,
        notify=notify,
        publish=publish,
    )
