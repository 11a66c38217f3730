"""Events about events: those that a reader did not get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zaudio.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(Event):
    """A subscriber was too slow: it did not get that many events, which belong here. Only a subscription makes it."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled(Event):
    """A log wrote no lines of some chunks, to keep to a thousand chunks a second. Only a log makes it.

    Attributes:
        count: Events that have no line.
        workers: By worker name, the chunks of its results among them and the seconds that it computed for them.
    """

    count: int
    workers: Mapping[str, tuple[int, float]]
