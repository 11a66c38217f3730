"""The messages: plain frozen values, in a table that agrees with the codec."""

import dataclasses

import pytest
from wire_support import vector_message, vectors

from zaudio.wire import messages
from zaudio.wire.codec import TO_COORDINATOR, TO_WORKER
from zaudio.wire.messages import Channel

EXAMPLES = [vector_message(v) for v in vectors() if v["example"]]


def test_there_is_an_example_of_every_message():
    assert [type(message) for message in EXAMPLES] == list(messages.Message.__args__)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_is_frozen_hashable_and_small(message):
    for field in dataclasses.fields(message):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(message, field.name, getattr(message, field.name))
    assert hash(message) == hash(dataclasses.replace(message))
    assert not hasattr(message, "__dict__")


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_what_speaks_of_a_job_begins_with_job_incarnation_and_session(message):
    names = [field.name for field in dataclasses.fields(message)]
    assert ("job" in names) == (names[:3] == ["job", "incarnation", "session"])
    assert ("job" in names) == (type(message).__name__ not in ("Hello", "Refused", "Again"))


def test_chunks_come_down_one_socket_and_results_go_up_the_other():
    assert [channel for channel, row in TO_WORKER.items() if messages.Chunk in row] == [Channel.VENTILATOR]
    assert [channel for channel, row in TO_COORDINATOR.items() if messages.Result in row] == [Channel.SINK]


def test_heartbeats_travel_the_quiet_ways_and_what_proves_arrival_the_busy_ones():
    assert messages.Heartbeat in TO_WORKER[Channel.SINK]
    assert messages.Heartbeat in TO_COORDINATOR[Channel.VENTILATOR]
    assert messages.Sent in TO_WORKER[Channel.VENTILATOR]
    assert messages.Ready in TO_COORDINATOR[Channel.SINK]


def test_a_goodbye_may_arrive_everywhere():
    assert all(messages.Goodbye in row for row in (*TO_COORDINATOR.values(), *TO_WORKER.values()))
