"""Job: what every worker of a job is told, and what bounds it. Ways: where the farm that runs it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zaudio.core.jury import Audit
from zaudio.plan import Plan
from zaudio.reference import Reference
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
    """What every worker of a job is told, and what bounds it."""

    job: bytes
    incarnation: int
    plan: Plan  # of what is granted: of runs, where chunks are small
    chunk_frames: int  # what an op sees at once
    ops: tuple[Step, ...]
    format: str
    channels: int
    credit: int
    window_most: int
    timing: Timing
    source: Reference | None = None  # for workers that can read the recording themselves
    first: int = 0  # the first chunk that is to be granted: those before it were done in an earlier life
    audit: Audit | None = None  # the chunks that are believed only when two workers agree; None for none

    def chunk_at(self, start: int) -> int:
        """The index that the user's chunk has which begins at that frame: chunks are counted in output order."""
        return (self.plan.frames - 1) // self.chunk_frames - start // self.chunk_frames

    def chunk_of(self, index: int) -> int:
        """What a sentence calls that grant: the index that the user's chunk has which begins where it does."""
        return self.chunk_at(self.plan.span(index).start)

    def chunks_in(self, index: int) -> int:
        """How many of the user's chunks travel in that grant."""
        return -(-self.plan.span(index).frames // self.chunk_frames)

    @property
    def chunks_a_grant(self) -> int:
        """How many of the user's chunks travel together, at most."""
        return -(-self.plan.chunk_frames // self.chunk_frames)

    def source_for(self, folders: Sequence[str]) -> Reference | None:
        """Return the recording for a worker that reads what lies below those folders; None when it cannot."""
        below = self.source is not None and any(
            self.source.path.startswith(folder.rstrip("/") + "/") for folder in folders
        )
        return self.source if below else None

    def welcome(self, session: bytes, sinks: tuple[str, ...], source: Reference | None) -> Welcome:
        """Return what a worker is told: where the sinks are, and the `source` if it can read the recording itself."""
        return Welcome(
            self.job,
            self.incarnation,
            session,
            sinks,
            self.timing.heartbeat,
            self.timing.liveness,
            self.credit,
            self.format,
            self.channels,
            self.chunk_frames,
            self.plan.before,
            self.plan.after,
            self.plan.order.value,
            self.ops,
            source,
        )
