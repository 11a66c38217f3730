"""Events: all that a user may know of a running job, as frozen dataclasses.

Rules: pure. An event names a worker by its name and a chunk by the user's own number, never a session or a bundle. All
fields are keywords. Every event says when it happened, in which job and in which stage. Events are made in the
coordinator's thread, but for `Absent`, and in the order in which things happen. `zaudio.watching` counts them and hands
them out.

A message to a worker may carry several small chunks. Its event has the first of them in output order, `chunk`, and how
many travel in it, `chunks`.

    base       Event, State, MAIN      job        a job, a batch, their stages      workers    workers that come and go
    chunks     grants and results      missing    events that a reader did not get
"""

from zaudio.events.base import MAIN, Event, State
from zaudio.events.chunks import Accepted, Duplicate, Granted, Noted, Rejected, Requeued, Withdrawn
from zaudio.events.job import (
    Advanced,
    Failed,
    Measured,
    Published,
    Reading,
    RecordingEnded,
    StageBegan,
    Started,
    StateChanged,
)
from zaudio.events.missing import Missed, Sampled
from zaudio.events.workers import Absent, Dropped, Joined, Lost, Refused, Stuck, Welcomed

__all__ = [  # in the order of the schema
    "MAIN",
    "State",
    "Event",
    "Started",
    "Reading",
    "StateChanged",
    "StageBegan",
    "Measured",
    "Advanced",
    "Published",
    "Failed",
    "RecordingEnded",
    "Welcomed",
    "Joined",
    "Lost",
    "Stuck",
    "Dropped",
    "Refused",
    "Absent",
    "Granted",
    "Requeued",
    "Accepted",
    "Duplicate",
    "Rejected",
    "Noted",
    "Withdrawn",
    "Missed",
    "Sampled",
]
