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
        session: Which worker of that name, in hex: two may have the same. Empty when it does not matter.
        host: The machine that it says to be on.
    """

    worker: str
    session: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """A worker is gone.

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
