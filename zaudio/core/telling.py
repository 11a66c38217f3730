"""Teller: the one translation of the Desk's actions into public events.

Rules: a session becomes the worker's name, a bundle the first of the user's chunks in it and their number. Actions that
only concern the shell (what to send, to release or to forget) have no event. How far the cipher is, and how the job
begins and ends, only the shell knows: it makes `Advanced`, `StateChanged` and the like itself.
"""

from __future__ import annotations

from collections.abc import Callable

from zaudio import events
from zaudio.core.actions import (
    Accepted,
    DeskAction,
    Duplicate,
    Grant,
    Joined,
    Liar,
    Lost,
    Noted,
    Rejected,
    Requeued,
    Send,
    Stuck,
    TurnedAway,
    Withdrawn,
)
from zaudio.core.desk import Desk
from zaudio.events import Event
from zaudio.wire.messages import Welcome

SESSION_DIGITS = 8  # as in the name of a worker whose own is not known


class Teller:
    """Turns the decisions of a Desk into events.

    Args:
        desk: The Desk whose actions these are. Tell them in their order, before its next verb is called.
        job: The job's id as users know it, in hex.
        stage: The stage of the job.
    """

    def __init__(self, desk: Desk, job: str, stage: str) -> None:
        self._desk = desk
        self._job = job
        self._stage = stage

    def tell(self, action: DeskAction, at: float) -> Event | None:
        """Return the event of an action, or None if it has none.

        Args:
            action: What the Desk decided.
            at: The time.
        """
        name = self._desk.name
        match action:
            case Grant():
                return self._granted(action, at)
            case Accepted():
                return self._accepted(action, at)
            case Duplicate(session=session, index=index):
                return self._of_chunks(events.Duplicate, at, name(session), index)
            case Noted(session=session, index=index):
                return self._of_chunks(events.Noted, at, name(session), index)
            case Rejected(session=session, index=index, reason=reason, late=late):
                return self._of_chunks(events.Rejected, at, name(session), index, reason=reason, late=late)
            case Requeued(index=index, attempt=attempt, name=worker, reason=reason):
                return self._of_chunks(events.Requeued, at, worker, index, attempt=attempt, reason=reason)
            case Withdrawn(index=index, name=worker, clipped=clipped, zeroed=zeroed):
                return self._of_chunks(events.Withdrawn, at, worker, index, clipped=clipped, zeroed=zeroed)
            case Stuck(session=session, index=index):
                return self._of(events.Stuck, at, name(session), chunk=self._place(index)[0])
            case Liar():
                return self._dropped(action, at)
            case Send(message=Welcome(session=session)):
                return self._of(events.Welcomed, at, name(session))
            case Joined(session=session, name=worker, host=host):
                return self._of(events.Joined, at, worker, session=_short(session), host=host)
            case Lost(session=session, name=worker, reason=reason):
                return self._of(events.Lost, at, worker, reason=reason, session=_short(session))
            case TurnedAway(name=worker, host=host, reason=reason, key=key, more=more):
                return self._of(events.Refused, at, worker, host=host, reason=reason, key=key, more=more)
        return None

    # Of every bundle there is one of these two at least: they are made without detours.

    def _granted(self, grant: Grant, at: float) -> Event:
        chunk, chunks = self._place(grant.index)
        return events.Granted(
            at=at,
            job=self._job,
            stage=self._stage,
            worker=self._desk.name(grant.session),
            chunk=chunk,
            chunks=chunks,
            attempt=grant.attempt,
            repeated=grant.repeated,
        )

    def _accepted(self, accepted: Accepted, at: float) -> Event:
        chunk, chunks = self._place(accepted.index)
        return events.Accepted(
            at=at,
            job=self._job,
            stage=self._stage,
            worker=self._desk.name(accepted.session),
            chunk=chunk,
            chunks=chunks,
            audited=self._desk.audits(accepted.index),
            clipped=accepted.clipped,
            zeroed=accepted.zeroed,
            seconds=accepted.seconds,
        )

    # The others

    def _dropped(self, liar: Liar, at: float) -> Event:
        chunk, _ = self._place(liar.index)
        return self._of(
            events.Dropped,
            at,
            liar.name,
            chunk=chunk,
            reason=f"its result of chunk {chunk} is not that of two others{self._key(liar.session)}",
            key=self._desk.key(liar.session),
            unchecked=-(-self._desk.dropped[liar.session] // self._desk.job.chunk_frames),
        )

    def _key(self, session: bytes) -> str:
        key = self._desk.key(session)
        return f"; its key is {key}" if key else ""

    def _of_chunks(self, kind: Callable[..., Event], at: float, worker: str, index: int, **more: object) -> Event:
        chunk, chunks = self._place(index)
        return self._of(kind, at, worker, chunk=chunk, chunks=chunks, **more)

    def _of(self, kind: Callable[..., Event], at: float, worker: str, **more: object) -> Event:
        return kind(at=at, job=self._job, stage=self._stage, worker=worker, **more)

    def _place(self, index: int) -> tuple[int, int]:
        """Return the first of the user's chunks in a grant, and how many travel in it."""
        job = self._desk.job
        if not 0 <= index < len(job.plan):
            return -1, 0  # only a rejected result names such a one
        return job.chunks_in_all(index)


def said(event: Event) -> str:
    """Return a sentence of an event that is rarer than chunks are; empty for the others."""
    match event:
        case events.Joined(worker=worker):
            return f"worker {worker} takes part"
        case events.Lost(worker=worker, reason=reason):
            return f"worker {worker} is gone: {reason}"
        case events.Refused(reason=reason, more=more):
            others = f"{more} workers were refused, at last " if more else ""
            return f"{others}{event.named} cannot take part: {reason}"
        case events.Stuck(worker=worker, chunk=chunk):
            return f"worker {worker} is past the deadline of chunk {chunk}"
        case events.Requeued(worker=worker, chunk=chunk, reason=reason):
            return f"chunk {chunk} is to be granted again: worker {worker}: {reason}"
        case events.Rejected(worker=worker, chunk=chunk, reason=reason):
            return f"the result of chunk {chunk} by worker {worker} was rejected: {reason}"
        case events.Withdrawn(worker=worker, chunk=chunk):
            return f"chunk {chunk} is to be done again: worker {worker} was dropped"
        case events.Granted(worker=worker, chunk=chunk, repeated=True):
            return f"chunk {chunk} is granted to worker {worker} too: everything waits for it"
    return ""


def _short(session: bytes) -> str:
    return session.hex()[:SESSION_DIGITS]
