"""The base of all events, and the states of a job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAIN = "main"  # the name of the stage that makes the result


class State(StrEnum):
    """Where a job stands. A job never goes back, but for `WAITING` and `RUNNING`, which take turns."""

    STARTING = "starting"
    WAITING = "waiting"  # for workers: none is ready
    RUNNING = "running"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        """Whether the job is over."""
        return self in (State.DONE, State.FAILED, State.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened; the base of all events.

    Attributes:
        at: When, in seconds of the monotonic clock.
        job: The job's id, in hex.
        stage: The stage of the job: ``main``, or a measuring one before it, as ``measuring for loudnorm``.
    """

    at: float
    job: str
    stage: str = MAIN
