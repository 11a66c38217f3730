"""News: a sentence for each event that is rarer than chunks are, as the page and `zaudio status` show them.

Rules: pure. A text that a worker chose is cut short here, and is never taken for anything but text by its readers.
"""

from __future__ import annotations

from zaudio.events import (
    Absent,
    Accepted,
    Advanced,
    Dropped,
    Event,
    Failed,
    Granted,
    Joined,
    Lost,
    Measured,
    Missed,
    Published,
    RecordingEnded,
    Refused,
    Rejected,
    Requeued,
    StageBegan,
    Started,
    StateChanged,
    Stuck,
    Withdrawn,
)

TEXT_MAX = 300  # characters; a worker's error may be a page long

GOOD, PLAIN, BAD = "+", "-", "!"


def cut(text: str) -> str:
    """Return the text, or its beginning when it is too long."""
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."


def news_of(event: Event) -> tuple[str, str] | None:
    """Return the mood of an event and its sentence; None for one that is no news."""
    found = _sentence(event)
    return None if found is None else (found[0], cut(found[1]))


def _sentence(event: Event) -> tuple[str, str] | None:
    match event:
        case Accepted() | Advanced() | Granted(repeated=False):
            return None  # nearly all events
        case Granted(worker=worker, chunk=chunk):
            return PLAIN, f"chunk {chunk} is granted to {worker} too: everything waits for it"
        case Joined(worker=worker):
            return GOOD, f"{worker} takes part"
        case Lost(worker=worker, reason=reason):
            return BAD, f"{worker} is gone: {reason}"
        case Refused(reason=reason, more=more):
            others = f"{more} more refusal{'s' * (more > 1)}; the newest: " if more else ""
            return BAD, f"{others}{event.named} cannot take part: {reason}"
        case Absent(sentence=sentence):
            return BAD, sentence
        case Stuck(worker=worker, chunk=chunk):
            return BAD, f"{worker} is past the deadline of chunk {chunk}"
        case Dropped(worker=worker, reason=reason):
            return BAD, f"{worker} is sent away for good: {reason}"
        case Requeued(worker=worker, chunk=chunk, reason=reason):
            return BAD, f"chunk {chunk} is to be granted again: {worker}: {reason}"
        case Rejected(worker=worker, chunk=chunk, reason=reason, late=False):
            return BAD, f"the result of chunk {chunk} by {worker} was rejected: {reason}"
        case Withdrawn(worker=worker, chunk=chunk):
            return BAD, f"chunk {chunk} is to be done again: {worker} was dropped"
    return _of_the_job(event)


def _of_the_job(event: Event) -> tuple[str, str] | None:
    match event:
        case Started(resumed_chunks=resumed, chunks=chunks) if resumed:
            return GOOD, f"an interrupted job goes on: {resumed} of {chunks} chunks were sealed before"
        case Started(recordings=recordings) if recordings:
            return GOOD, f"a batch of {recordings} recording{'s' * (recordings > 1)} begins"
        case Started(chunks=chunks):
            return GOOD, f"a job of {chunks} chunk{'s' * (chunks != 1)} begins"
        case StageBegan(stage=stage, measures=True, recordings=()):  # a batch measures for each of its recordings
            return PLAIN, f"{stage} begins"
        case Measured(sentence=sentence) if sentence:
            return PLAIN, sentence
        case StateChanged(state=state):
            return PLAIN, f"the job is {state.value}"
        case RecordingEnded(input=recording, state="failed", sentence=sentence):
            return BAD, f"{recording} failed: {sentence}"
        case Published():
            return GOOD, "the result is published"
        case Failed(sentence=sentence):
            return BAD, sentence
        case Missed(count=count):
            return PLAIN, f"{count} events came too fast to be shown; what they counted is"
    return None
