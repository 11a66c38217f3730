"""Job: one stage as its workers know it. Ways: how results come back to the farm that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from zaudio.core.jury import Audit
from zaudio.lot import LotPlan
from zaudio.plan import Order, Plan
from zaudio.reference import Reference
from zaudio.signal import Signal
from zaudio.steps import Step
from zaudio.timing import Timing
from zaudio.wire.messages import Welcome


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways by which results come back: they belong to the farm, and outlive its jobs."""

    sinks: tuple[str, ...]  # endpoints that a welcome names
    outboxes: frozenset[bytes] = frozenset()  # those of local workers


@dataclass(frozen=True, slots=True)
class Job:
    """One stage as its workers know it, and the bounds that it keeps.

    Attributes:
        id: The stage's id.
        incarnation: The coordinator's.
        plan: The chunks of the output that are granted: bundles, where the user's are small. A lot's are those of
            several recordings.
        chunk_frames: Frames of the user's chunk. Without a grid, ops see so many at a time.
        ops: The ops as they travel.
        signal: The recording.
        grid: Frames of the output that are computed by themselves, counted from its frame 0; 0 for no grid.
        credit: Chunks that a worker may hold.
        window_most: Chunks that may lie between the first that is not ciphered and the newest grant.
        timing: The durations.
        source: The place of the recording, for workers that can read it themselves.
        first: The first chunk to be granted: those before it were done in an earlier life.
        audit: The chunks that are believed only when two workers agree; None for none.
        machine_class: The numbers of the ops that are asked of workers, as an earlier life established them; empty to
            ask for none. See `zaudio.core.classes`.
        class_name: The name of the class of machines that is asked for; empty to ask for none.
        lengths: Frames of each recording of a lot; empty for one recording, which has those of `signal`.
    """

    id: bytes
    incarnation: int
    plan: Plan | LotPlan
    chunk_frames: int
    ops: tuple[Step, ...]
    signal: Signal
    grid: int
    credit: int
    window_most: int
    timing: Timing
    source: Reference | None = None
    first: int = 0
    audit: Audit | None = None
    machine_class: tuple[int, ...] = ()
    class_name: str = ""
    lengths: tuple[int, ...] = ()
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False)  # user's chunks up to each recording's end

    def __post_init__(self) -> None:
        plans = self.plan.plans if isinstance(self.plan, LotPlan) else (self.plan,)
        object.__setattr__(self, "_ends", tuple(accumulate(-(-plan.frames // self._length(plan)) for plan in plans)))

    @property
    def chunks(self) -> int:
        """The user's chunks of all recordings."""
        return self._ends[-1]

    def chunk_at(self, frame: int, index: int = 0) -> int:
        """Return the user's chunk that holds that frame; chunks of a recording are counted in output order.

        Args:
            frame: The frame of the output.
            index: A grant of the same recording.
        """
        plan = self.plan.of(index)
        return Plan(plan.frames, self._length(plan), plan.order).index_at(frame)

    def first_chunk(self, start: int, stop: int, index: int) -> int:
        """Return the first, in output order, of the user's chunks that those frames of a grant touch."""
        return self.chunk_at(start if self.plan.order is Order.FORWARD else stop - 1, index)

    def frames_of(self, recording: int) -> int:
        """Return the frames of a recording as a Chunk says them: -1 for those of the welcome."""
        return self.lengths[recording] if self.lengths else -1

    def chunk_of(self, index: int) -> int:
        """Return the first of the user's chunks in this grant; used in messages."""
        return self.chunks_in(index)[0]

    def chunks_in(self, index: int) -> tuple[int, int]:
        """Return the first of the user's chunks that travel in this grant, in output order, and their number."""
        span = self.plan.span(index)
        return self.first_chunk(span.start, span.stop, index), -(-span.frames // self.chunk_frames)

    def chunks_in_all(self, index: int) -> tuple[int, int]:
        """Return the same with chunks numbered through all recordings: so events tell the chunks of a lot apart."""
        chunk, chunks = self.chunks_in(index)
        number = self.plan.span(index).recording
        return chunk + (self._ends[number - 1] if number else 0), chunks

    def chunks_before(self, index: int) -> int:
        """Return how many of the user's chunks lie in front of that grant; all of them for the index after the last."""
        return self.chunks_in_all(index)[0] if index < len(self.plan) else self.chunks

    def _length(self, plan: Plan) -> int:
        return min(self.chunk_frames, plan.chunk_frames)

    @property
    def chunks_a_grant(self) -> int:
        """The number of the user's chunks that travel together, at most."""
        return -(-self.plan.chunk_frames // self.chunk_frames)

    def source_for(self, folders: Sequence[str]) -> Reference | None:
        """Return the recording for a worker that may read files below those folders; None when it cannot."""
        if self.source is None:
            return None
        path = self.source.path
        return self.source if any(path.startswith(folder.rstrip("/") + "/") for folder in folders) else None

    def missing(self, offered: Sequence[str], offers: Callable[[Sequence[str], str], bool]) -> str:
        """Return why a worker with those ops cannot do the job; empty when it can.

        Args:
            offered: The ops of the worker.
            offers: Returns whether a worker that offers those ops has that one.
        """
        missing = [step.name for step in self.ops if not offers(offered, step.name)]
        if not missing:
            return ""
        module, colon, _ = missing[0].partition(":")
        return f"it lacks {', '.join(missing)}" + (f"; start it with --allow {module}" if colon else "")

    def welcome(self, session: bytes, sinks: tuple[str, ...], source: Reference | None) -> Welcome:
        """Return the welcome of a worker: where the sinks are, and the `source` if it can read the recording itself."""
        return Welcome(
            job=self.id,
            incarnation=self.incarnation,
            session=session,
            sinks=sinks,
            heartbeat=self.timing.heartbeat,
            liveness=self.timing.liveness,
            credit=self.credit,
            frames=self.signal.frames,
            channels=self.signal.channels,
            samplerate=self.signal.samplerate,
            format=self.signal.format.name,
            grid=self.grid,
            chunk_frames=self.chunk_frames,
            order=self.plan.order.value,
            ops=self.ops,
            source=source,
        )
