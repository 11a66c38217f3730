"""Events of workers that come and go."""

from __future__ import annotations

from dataclasses import dataclass

from zaudio.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcomed(Event):
    """A worker said hello, and was told its task."""

    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(Event):
    """A worker is ready for its first chunk, or ready again on a new connection.

    Attributes:
        worker: Its name.
        session: Which worker of that name, in hex: another may have it after this one. Empty when it does not matter.
        host: The machine that it says to be on.
    """

    worker: str
    session: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """A worker is gone. One that goes between two stages is lost in the next one.

    Attributes:
        worker: Its name.
        reason: Why.
        session: As in `Joined`.
    """

    worker: str
    reason: str
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Event):
    """A worker is past the deadline of a chunk. A local one is killed and replaced."""

    worker: str
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(Event):
    """A worker gave a wrong result and is sent away for good: two others agree on another one.

    Attributes:
        worker: Its name.
        chunk: The chunk whose result was wrong.
        reason: The sentence that the worker is told, and its key.
        unchecked: Chunks that had been encrypted on its word alone.
        key: The name of its key, as `zaudio keys revoke` takes it; empty when it has none of its own.
    """

    worker: str
    chunk: int
    reason: str
    unchecked: int
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A worker cannot take part, and was told why. Sixteen different refusals are told by themselves, others as sums.

    Attributes:
        worker: The name that it gives itself; empty when it did not come so far as to say it.
        host: The machine that it says to be on, or its address; empty when neither is known.
        reason: Why.
        key: Its public key, or the name of its key if that is on the list; empty when it has none of its own.
        more: Refusals since the last event of this kind that count none of their own: this is the newest of them. 0 for
            one that is told by itself.
    """

    worker: str
    host: str
    reason: str
    key: str = ""
    more: int = 0

    @property
    def named(self) -> str:
        """Its name, or else its key or its address; for sentences."""
        return self.worker or (f"a worker with key {self.key}" if self.key else f"a peer at {self.host or '(unknown)'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Event):
    """Workers that the job starts elsewhere are absent: one did not come or failed, some wait, or a place is given up.

    Attributes:
        place: Where, as `--workers-on` or its file of hosts says.
        sentence: Why. Each sentence about a place is told once.
    """

    place: str
    sentence: str
