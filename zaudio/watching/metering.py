"""Metering: where the time of a stage goes, folded from the events of its job.

    Meter.apply(event)      events, one by one
    Meter.times(now)        -> Times: seconds of the stage so far, by use
    later - earlier         -> Times of the interval between two of the same stage

Rules:

- Pure, and of bounded memory: a few numbers for each worker, and the grants that are out.
- A worker's time is split by its events. It holds a chunk from its grant, or its last result if that is later, to the
  result. Of that time the result names the seconds of the op. The rest is transfer, both ways: the worker had nothing
  to compute. Grants that are still out count in no part yet: their op is not known.
- A worker's word on its op is taken up to the time since the grant, and no further.
- Two workers that live at once never have the same name. A worker in the place of a lost one continues its row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

from zaudio.endpoints import LOCAL
from zaudio.events import (
    MAIN,
    Accepted,
    Advanced,
    Duplicate,
    Event,
    Failed,
    Granted,
    Joined,
    Lost,
    Noted,
    Published,
    Rejected,
    Requeued,
    Sampled,
    StageBegan,
    Started,
    State,
    StateChanged,
    Welcomed,
)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one stage by their use, up to an instant; or, as a difference, of a while.

    Attributes:
        stage: The name of the stage.
        seconds: Since the first worker of the stage was welcomed.
        absent: Without any worker that was ready.
        encrypting: The cipher encrypted; 0 in a measuring stage.
        storing: The cipher waited for the disk that takes the result; at the end, the stage did.
        reading: The coordinator read the recording for workers that do not read it themselves.
        ready: Workers were ready, added up over workers, as the next four are.
        op: They computed what was accepted: the op, and reading where they read themselves.
        transfer: They held such chunks, and had nothing to compute: chunks and results were on the way.
        near: Of `transfer`, that of the coordinator's own workers.
        unused: They held chunks of which nothing was accepted: repeated ones, lost ones, the first halves of audits.
        idle: They held nothing.
        computed: Chunks that were accepted.
        done: Chunks that the stage has finished with; encrypted in the main one.
        together: The most chunks that travelled in one message.
        chunks: Chunks of the stage.
        chunk_bytes: Bytes of such a chunk; 0 for a single one, and in a batch, whose recordings may be shorter.
    """

    stage: str = MAIN
    seconds: float = 0.0
    absent: float = 0.0
    encrypting: float = 0.0
    storing: float = 0.0
    reading: float = 0.0
    ready: float = 0.0
    op: float = 0.0
    transfer: float = 0.0
    near: float = 0.0
    unused: float = 0.0
    idle: float = 0.0
    computed: int = 0
    done: int = 0
    together: int = 1
    chunks: int = 0
    chunk_bytes: int = 0

    @property
    def starved(self) -> float:
        """Seconds that the cipher waited for results; all of them in a measuring stage."""
        return max(0.0, self.seconds - self.encrypting - self.storing)

    @property
    def workers_useful(self) -> int | None:
        """The number of such workers that would keep the cipher busy: more are of no use. None when it is unknown.

        Seconds of the op for a chunk, over seconds of the cipher for one; never more than there are chunks to share.
        """
        if self.encrypting <= 0 or self.done <= 0 or self.op <= 0 or self.computed <= 0:
            return None
        wanted = (self.op / self.computed) / (self.encrypting / self.done)
        return max(1, min(math.ceil(wanted), self.messages))

    @property
    def messages(self) -> int:
        """The messages in which the chunks travel, at least: more workers than these have nothing to do."""
        return -(-self.chunks // self.together)

    def __add__(self, later: Times) -> Times:
        """Return the seconds and chunks of this stage and a later one of the same name."""
        spent = {name: getattr(self, name) + getattr(later, name) for name in _ADDED}
        return replace(later, **spent, together=max(self.together, later.together), chunks=self.chunks + later.chunks)

    def __sub__(self, earlier: Times) -> Times:
        """Return the seconds and chunks since then; those of this one when that is of another stage."""
        if earlier.stage != self.stage:
            return self
        spent = {name: max(0, getattr(self, name) - getattr(earlier, name)) for name in _ADDED}
        return replace(self, **spent)


_ADDED = [each.name for each in fields(Times) if each.name not in ("stage", "together", "chunks", "chunk_bytes")]


@dataclass(slots=True)
class Labour:
    """The time of one worker in a stage.

    Attributes:
        joined: When it was ready; None while it is not.
        sessions: Those of that name that are ready.
        free: When it last came to hold nothing; None while it holds something.
        last: When its last result came.
        out: Its grants that are out: the chunk, and when it was granted.
        ready: Seconds that it was ready, up to `joined`; likewise the others. See `Times`.
        held: Seconds that it held chunks that were accepted.
        computed: Chunks that were accepted.
    """

    joined: float | None = None
    sessions: set[str] = field(default_factory=set)
    free: float | None = None
    last: float = -math.inf
    out: dict[int, float] = field(default_factory=dict)
    ready: float = 0.0
    op: float = 0.0
    held: float = 0.0
    unused: float = 0.0
    idle: float = 0.0
    computed: int = 0

    @property
    def transfer(self) -> float:
        """Seconds that it held such chunks and had nothing to compute."""
        return max(0.0, self.held - self.op)

    def join(self, session: str, at: float) -> None:
        """Count from now on: it is ready."""
        self.sessions.add(session)
        if self.joined is None:
            self.joined = at
            self.free = at if not self.out else None

    def leave(self, session: str, at: float) -> None:
        """Count no longer, unless another of its name is ready."""
        self.sessions.discard(session)
        if self.sessions or self.joined is None:
            return
        self.ready += at - self.joined
        if self.free is not None:
            self.idle += at - self.free
        if self.out:
            self.unused += at - max(self.last, min(self.out.values()))
        self.joined = self.free = None
        self.out.clear()

    def hold(self, chunk: int, at: float) -> None:
        """Take a grant."""
        if self.free is not None:
            self.idle += at - self.free
            self.free = None
        self.out[chunk] = at

    def end(self, chunk: int, at: float) -> tuple[float, float]:
        """End a grant; return the seconds since it, and those of them since the last result."""
        granted = self.out.pop(chunk, None)
        if granted is None:
            return 0.0, 0.0
        span = at - max(granted, self.last)
        self.last = at
        if not self.out and self.joined is not None:
            self.free = at
        return at - granted, span

    def add(self, chunks: int, seconds: float) -> None:
        """Count chunks whose grants a log left out: the worker seemed to hold nothing, and computed."""
        self.computed += chunks
        self.op += seconds
        self.held += seconds
        self.idle -= seconds

    def ready_until(self, now: float) -> float:
        """Return the seconds that it was ready."""
        return self.ready + (max(0.0, now - self.joined) if self.joined is not None else 0.0)

    def idle_until(self, now: float) -> float:
        """Return the seconds that it was ready and held nothing."""
        return max(0.0, self.idle + (now - self.free if self.free is not None else 0.0))


class Meter:
    """The times of one life of a job, stage by stage. One thread uses it.

    Attributes:
        ended: The times of the stages that are over, by name; those of one name are added up.
    """

    def __init__(self) -> None:
        self.ended: dict[str, Times] = {}
        self._began: float | None = None  # when the first worker of the stage was welcomed
        self._over: float | None = None  # when it ended
        self._base = Times()  # what is known of the stage itself
        self._advanced: Advanced | None = None  # the last of the stage: there is one for nearly each chunk
        self._first = 0  # chunks that an earlier life had done
        self._whole: float | None = None  # when all chunks were done: the rest is the disk's
        self._absent = 0.0
        self._alone: float | None = None  # when the last worker left
        self._labour: dict[str, Labour] = {}

    @property
    def labour(self) -> dict[str, Labour]:
        """The workers' times in this stage, by name."""
        return self._labour

    def apply(self, event: Event) -> None:
        """Count an event. Those that count nothing may come too."""
        match event:  # the most frequent first
            case Granted():
                self._of(event.worker).hold(event.chunk, event.at)
                if event.chunks > self._base.together:
                    self._base = replace(self._base, together=event.chunks)
            case Accepted():
                self._accept(event)
            case Advanced():
                self._advance(event)
            case Duplicate() | Noted() | Rejected() | Requeued():
                labour = self._of(event.worker)
                labour.unused += labour.end(event.chunk, event.at)[1]
            case Sampled():
                for worker, (chunks, seconds) in event.workers.items():
                    self._of(worker).add(chunks, seconds)
            case Welcomed():
                self._begin(event.at)
            case Joined():
                self._begin(event.at)
                self._of(event.worker).join(event.session, event.at)
                if self._alone is not None:
                    self._absent += event.at - self._alone
                    self._alone = None
            case Lost():
                self._of(event.worker).leave(event.session, event.at)
                if self._alone is None and not any(each.sessions for each in self._labour.values()):
                    self._alone = event.at
            case Started():
                self._enter(MAIN, event)
            case StageBegan():
                self._enter(event.stage, event)
            case StateChanged(state=State.PUBLISHING) | Published() | Failed():
                self._over = event.at if self._over is None else self._over

    def times(self, now: float) -> Times:
        """Return the times of the stage that runs, up to now; of the last one when all are over."""
        now = self._over if self._over is not None else now
        base = self._stage_so_far()
        if self._began is None:
            return base
        each = self._labour.values()
        # After the last chunk nothing but the disk is waited for.
        stop = self._whole if self._whole is not None else now
        return replace(
            base,
            seconds=max(0.0, now - self._began),
            absent=self._absent + (max(0.0, stop - self._alone) if self._alone is not None else 0.0),
            storing=base.storing + (max(0.0, now - stop) if base.encrypting else 0.0),
            ready=sum(one.ready_until(stop) for one in each),
            op=sum(one.op for one in each),
            transfer=max(0.0, sum(one.held - one.op for one in each)),
            near=max(0.0, sum(one.held - one.op for name, one in self._labour.items() if name.startswith(LOCAL))),
            unused=sum(one.unused for one in each),
            idle=sum(one.idle_until(stop) for one in each),
            computed=sum(one.computed for one in each),
        )

    def total(self, now: float) -> Times:
        """Return the times of all stages of that name so far: a batch has many."""
        times = self.times(now)
        return self.ended[times.stage] + times if times.stage in self.ended else times

    def _of(self, worker: str) -> Labour:
        labour = self._labour.get(worker)  # first: `setdefault` would make a new one at each event
        if labour is None:
            labour = self._labour[worker] = Labour()
        return labour

    def _begin(self, at: float) -> None:
        if self._began is None:
            self._began = self._alone = at

    def _enter(self, stage: str, event: Started | StageBegan) -> None:
        if self._began is not None:
            self.ended[self._base.stage] = self.total(event.at)
        chunk_bytes = event.bytes // event.chunks if event.chunks > 1 and not event.recordings else 0
        self._base = Times(stage=stage, chunks=event.chunks, chunk_bytes=chunk_bytes)
        self._advanced = None
        self._first = event.resumed_chunks
        self._began = self._over = self._whole = self._alone = None
        self._absent = 0.0
        self._labour = {}

    def _accept(self, event: Accepted) -> None:
        labour = self._of(event.worker)
        since, held = labour.end(event.chunk, event.at)
        labour.held += held
        labour.op += min(event.seconds, since)
        labour.computed += event.chunks

    def _advance(self, event: Advanced) -> None:
        self._advanced = event
        if event.chunks >= self._base.chunks:
            self._whole = event.at

    def _stage_so_far(self) -> Times:
        last = self._advanced
        if last is None:
            return self._base
        return replace(
            self._base,
            done=max(0, last.chunks - self._first),
            encrypting=last.encrypting,
            storing=last.storing,
            reading=last.reading,
        )
