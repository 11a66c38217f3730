"""Settings in groups: what each refuses when it is made, and which values of two groups contradict each other."""

import dataclasses
import os
from pathlib import Path

import pytest

from zaudio import Limits, Network, Raw, Security, Timing, UsageError
from zaudio.errors import EndpointError, ExposedError
from zaudio.settings import check_reach, exposed

LOCAL, OPEN = "tcp://127.0.0.1:5555", "tcp://0.0.0.0:5555"


@pytest.mark.parametrize("group", [Raw, Network, Security, Limits])
def test_a_group_is_frozen_documented_and_needs_no_value(group):
    made = group()
    assert made == group()
    for field in dataclasses.fields(group):
        assert f"\n        {field.name}: " in group.__doc__
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)


# Raw samples


@pytest.mark.parametrize("given", [{"samplerate": 8000}, {"channels": 1024}, {"format": "s16be"}])
def test_any_value_describes_raw_samples(given):
    assert Raw(**given).given
    assert not Raw().given


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        (argument, value)
        for argument in ("samplerate", "channels")
        for value in (0, -1, True, 1.0, "2", 2**31 if argument == "samplerate" else 1025)
    ]
    + [("format", "f32"), ("format", 3), ("format", [])],
)
def test_a_description_of_raw_samples_that_is_out_of_range_is_named(argument, value):
    with pytest.raises(UsageError) as caught:
        Raw(**{argument: value})
    assert repr(value) in str(caught.value)


# Network


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sink_bind": "5556"}, "5556: expected tcp://HOST:PORT or ipc://PATH"),
        ({"sink_bind": 5556}, "sink_bind is text, not 5556"),
        ({"workers_on": "ssh:hosts.txt"}, "workers_on is a list of places, not 'ssh:hosts.txt'"),
        ({"all_workers": "no"}, "all_workers is True or False, not 'no'"),
        ({"advertise": ":1"}, r"advertise: expected HOST\[:PORT\[,PORT\]\], got ':1'"),
        ({"advertise": b"farm"}, "advertise is text, not b'farm'"),
        ({"sockets_only": "no"}, "sockets_only is True or False, not 'no'"),
    ],
)
def test_network_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        Network(**given)


def test_malformed_sink_is_an_error_of_an_endpoint():
    with pytest.raises(EndpointError):
        Network(sink_bind="udp://127.0.0.1:1")


def test_sink_is_where_it_was_asked_for_or_beside_the_ventilator():
    assert Network(sink_bind="tcp://127.0.0.1:7").sink(LOCAL) == "tcp://127.0.0.1:7"
    assert Network().sink(LOCAL) == "tcp://127.0.0.1:5556"


# Security


@pytest.mark.parametrize("path", ["keys", Path("keys"), None])
def test_paths_are_text_or_objects_that_give_it(path):
    held = Security(keys=path, recipient=path, identity=path)
    assert held.keys == held.recipient == held.identity == path


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"keys": b"keys"}, "keys is a path, not b'keys'"),
        ({"recipient": 3}, "recipient is a path, not 3"),
        ({"identity": ["me"]}, r"identity is a path, not \['me'\]"),
        ({"insecure": 1}, "insecure is True or False, not 1"),
        ({"keys": "k", "insecure": True}, "keys and insecure exclude each other"),
    ],
)
def test_security_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        Security(**given)


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan"), "5", None, True])
def test_what_is_no_percentage_is_refused(percent):
    with pytest.raises(UsageError, match="audit: expected a percentage, 0 to 100, got"):
        Security(audit=percent)


@pytest.mark.parametrize("percent", [0, 0.5, 100])
def test_a_percentage_is_taken(percent):
    assert Security(audit=percent).audit == percent


# Limits


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"memory": "much"}, "memory"),
        ({"memory": 0}, "memory: expected at least 1 byte"),
        ({"memory": None}, "memory"),
        ({"worker_timeout": 0}, "worker_timeout is a number of seconds above 0, not 0"),
        ({"worker_timeout": float("inf")}, "worker_timeout is a number of seconds above 0, not inf"),
        ({"chunk_timeout": "5"}, "chunk_timeout is a number of seconds above 0, not '5'"),
        ({"chunk_timeout": 0.5}, "longer than a heartbeat"),
    ],
)
def test_limit_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        Limits(**given)


def test_memory_is_a_number_of_bytes():
    assert Limits().memory_bytes == 128 * 2**20
    assert Limits(memory=1).memory_bytes == 1


def test_durations_follow_from_the_limits_or_are_given():
    assert Limits().durations(None) == Timing()
    assert Limits(worker_timeout=9).durations(None) == Timing(worker_timeout=9)
    assert Limits(memory=1).durations(Timing(liveness=3)) == Timing(liveness=3)


@pytest.mark.covers("60 s at first, later max(30 s, 10 x median); `--chunk-timeout` in the place of both")
def test_chunk_timeout_is_the_first_and_the_least():
    timing = Limits(chunk_timeout=5).durations(None)
    assert (timing.chunk_timeout, timing.chunk_timeout_floor, timing.worker_timeout) == (5, 5, 30.0)


@pytest.mark.parametrize("name", ["worker_timeout", "chunk_timeout"])
def test_timing_and_a_timeout_exclude_each_other(name):
    sentence = rf"{name} and timing exclude each other: give Timing\({name}=...\), or leave timing out"
    with pytest.raises(UsageError, match=sentence):
        Limits(**{name: 30.0}).durations(Timing())


# Who can connect


@pytest.mark.parametrize(("name", "option"), [("sink_bind", "--sink-bind"), ("advertise", "--advertise")])
def test_what_belongs_to_bind_is_an_error_without_it(name, option):
    network = Network(**{name: LOCAL if name == "sink_bind" else "farm.example"})
    with pytest.raises(UsageError, match=rf"{option} \(Network\({name}=\)\) goes with --bind \(bind=\)"):
        check_reach(None, network, Security())
    check_reach(LOCAL, network, Security())


@pytest.mark.parametrize(
    ("bind", "network"),
    [(LOCAL, Network(sink_bind="ipc:///tmp/s")), ("ipc:///tmp/v", Network(sink_bind=LOCAL))],
)
def test_a_sink_that_no_worker_could_reach_is_an_error(bind, network):
    with pytest.raises(UsageError, match=f"connects to --bind {bind} .* cannot reach --sink-bind {network.sink_bind}"):
        check_reach(bind, network, Security())
    check_reach(bind, dataclasses.replace(network, advertise="farm.example:1,2"), Security())  # somebody forwards both


def test_a_path_has_no_port_that_could_be_advertised():
    with pytest.raises(UsageError, match=r"advertise: ipc:///tmp/v has no port; expected HOST:PORT"):
        check_reach("ipc:///tmp/v", Network(advertise="farm.example"), Security())
    check_reach("ipc:///tmp/v", Network(advertise="farm.example:7001"), Security())


@pytest.mark.parametrize(
    ("bind", "network", "endpoint"),
    [
        (None, Network(), None),
        (LOCAL, Network(), None),
        ("ipc:///tmp/v", Network(), None),
        (OPEN, Network(), OPEN),
        (LOCAL, Network(sink_bind="tcp://eth0:1"), "tcp://eth0:1"),
    ],
)
def test_strangers_are_let_in_only_if_that_is_insisted_on(bind, network, endpoint):
    assert exposed(bind, network, Security()) == endpoint
    if endpoint is not None:
        with pytest.raises(ExposedError, match=endpoint):
            check_reach(bind, network, Security())
    check_reach(bind, network, Security(insecure=True))
    assert exposed(bind, network, Security(keys=os.devnull)) is None
    check_reach(bind, network, Security(keys=os.devnull))
