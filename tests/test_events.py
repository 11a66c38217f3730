import dataclasses
import pickle

import pytest

from zaudio import events
from zaudio.events import Event, Joined, Missed, State, StateChanged

KINDS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def make(kind):
    """An event of that kind, with something in every field that has no default."""
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    return kind(**dict.fromkeys(needed, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_says_when_in_which_job_and_in_which_stage(kind):
    event = make(kind)
    assert (event.at, event.job, event.stage) == (1, 1, "main")


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_cannot_be_changed_and_has_a_docstring_of_its_own(kind):
    event = make(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 2.0
    assert kind.__doc__ != Event.__doc__
    assert not hasattr(event, "__dict__")


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_takes_keywords_only_and_travels_between_processes(kind):
    with pytest.raises(TypeError):
        kind(1.0, "job")
    assert pickle.loads(pickle.dumps(make(kind))) == make(kind)


def test_there_are_all_kinds():
    assert {kind.__name__ for kind in KINDS} == {
        "Reading", "StageBegan", "Measured", "RecordingEnded",
        "Started", "StateChanged", "Advanced", "Published", "Failed", "Welcomed", "Joined", "Lost", "Stuck", "Dropped",
        "Granted", "Requeued", "Accepted", "Duplicate", "Rejected", "Noted", "Withdrawn", "Missed", "Sampled",
        "Refused", "Absent",
    }  # fmt: skip


def test_events_of_one_kind_are_compared_by_their_fields():
    one = Joined(at=1.0, job="ab", worker="a")
    assert one == Joined(at=1.0, job="ab", worker="a")
    assert one != Joined(at=1.0, job="ab", worker="b")
    assert one != Missed(at=1.0, job="ab", count=1)


def test_a_state_is_its_word():
    assert [str(state) for state in State] == [
        "starting", "waiting", "running", "publishing", "done", "failed", "stopped",
    ]  # fmt: skip
    assert State("running") is State.RUNNING
    assert StateChanged(at=0.0, job="", state=State.DONE).state == "done"


def test_three_states_are_ends():
    assert {state for state in State if state.ended} == {State.DONE, State.FAILED, State.STOPPED}
