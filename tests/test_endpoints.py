"""Endpoints: what is parsed and refused, who can reach them, and how workers are told of the sink."""

import pytest

from zaudio.endpoints import (
    check_endpoint,
    from_elsewhere,
    is_loopback,
    parse_advertise,
    parse_tcp,
    reachable,
    sink_beside,
    sink_names,
)
from zaudio.errors import EndpointError, UsageError

# What a user writes


@pytest.mark.parametrize(
    ("endpoint", "parsed"),
    [
        ("tcp://127.0.0.1:5555", ("127.0.0.1", 5555)),
        ("tcp://farm.example:0", ("farm.example", 0)),
        ("tcp://*:*", ("*", 0)),
        ("tcp://*:65535", ("*", 65535)),
        ("tcp://[::1]:7", ("[::1]", 7)),
        ("tcp://127.0.0.1:65536", None),
        ("tcp://127.0.0.1:", None),
        ("tcp://127.0.0.1", None),
        ("tcp://:5555", None),
        ("tcp://::1:7", None),
        ("tcp://a b:7", None),
        ("tcp://127.0.0.1:-1", None),
        ("tcp://127.0.0.1:\u0665", None),
        ("tcp://127.0.0.1:5555\n", None),
        ("ipc:///tmp/x", None),
        ("", None),
    ],
)
def test_tcp_endpoint_is_parsed_whole_or_not_at_all(endpoint, parsed):
    assert parse_tcp(endpoint) == parsed


@pytest.mark.parametrize("endpoint", ["tcp://localhost:0", "ipc:///tmp/x", "ipc://" + "x" * 107])
def test_usable_endpoint_is_given_back(endpoint):
    assert check_endpoint(endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint", ["", "host:5555", "udp://127.0.0.1:1", "inproc://x", "ipc://", "tcp://h:99999", "ipc://" + "x" * 108]
)  # fmt: skip
def test_unusable_endpoint_is_refused_with_what_was_expected(endpoint):
    with pytest.raises(EndpointError, match=r"expected tcp://HOST:PORT or ipc://PATH|at most 107 bytes") as error:
        check_endpoint(endpoint)
    assert error.value.endpoint == endpoint


@pytest.mark.parametrize(
    ("endpoint", "loopback"),
    [
        ("tcp://127.0.0.1:1", True), ("tcp://127.8.9.10:1", True), ("tcp://localhost:1", True), ("tcp://[::1]:1", True),
        ("ipc:///tmp/x", True), ("tcp://*:1", False), ("tcp://0.0.0.0:1", False), ("tcp://10.0.0.1:1", False),
        ("tcp://[::]:1", False), ("tcp://127.example.com:1", False), ("tcp://eth0:1", False),
    ],
)  # fmt: skip
def test_loopback_is_what_nobody_else_can_reach(endpoint, loopback):
    assert is_loopback(endpoint) is loopback


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (None, None),
        ("farm.example", ("farm.example", 0, 0)),
        ("farm.example:7001", ("farm.example", 7001, 7002)),
        ("farm.example:7001,8001", ("farm.example", 7001, 8001)),
        ("10.0.0.1:1,65535", ("10.0.0.1", 1, 65535)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535, 0)),
    ],
)
def test_advertised_host_and_ports_are_parsed(text, parsed):
    assert parse_advertise(text) == parsed


@pytest.mark.parametrize("text", ["", ":7001", "h:0", "h:x", "h:1,2,3", "h:65536", "h:1,"])
def test_nonsense_is_not_advertised(text):
    with pytest.raises(UsageError, match=r"advertise: expected HOST\[:PORT\[,PORT\]\]"):
        parse_advertise(text)


@pytest.mark.parametrize(
    ("bind", "sink"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
        ("tcp://*:*", "tcp://*:0"),
        ("tcp://127.0.0.1:65534", "tcp://127.0.0.1:65535"),
        ("tcp://127.0.0.1:65535", "tcp://127.0.0.1:0"),
        ("ipc:///tmp/x", "ipc:///tmp/x.sink"),
    ],
)
def test_sink_is_beside_the_ventilator(bind, sink):
    assert sink_beside(bind) == sink


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]"])
def test_endpoint_on_all_addresses_is_told_by_the_name_of_the_machine(host):
    assert from_elsewhere(f"tcp://{host}:5555", host="studio") == "tcp://studio:5555"


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5555", "tcp://[::1]:1", "tcp://farm.example:2", "ipc:///tmp/x"])
def test_endpoint_on_one_address_is_told_as_it_is(endpoint):
    assert from_elsewhere(endpoint, host="studio") == endpoint


# How workers are told of the sink


BOUND = ("ipc:///tmp/z/s", "tcp://0.0.0.0:5556")


def test_welcome_names_sinks_without_the_host_that_cannot_be_known():
    assert sink_names(BOUND, None) == ("ipc:///tmp/z/s", "tcp://:5556")


def test_welcome_names_the_advertised_sink_and_keeps_the_local_one():
    assert sink_names(BOUND, "tcp://farm.example:7002") == ("ipc:///tmp/z/s", "tcp://farm.example:7002")


@pytest.mark.parametrize(
    ("sinks", "endpoint", "reached"),
    [
        (sink_names(BOUND, None), "tcp://10.0.0.7:5555", "tcp://10.0.0.7:5556"),
        (sink_names(BOUND, None), "tcp://[fe80::1]:5555", "tcp://[fe80::1]:5556"),
        (sink_names(BOUND, None), "ipc:///tmp/z/v", "ipc:///tmp/z/s"),
        (sink_names(BOUND, "tcp://farm.example:7002"), "tcp://farm.example:7001", "tcp://farm.example:7002"),
        (sink_names(BOUND, "tcp://farm.example:7002"), "ipc:///tmp/z/v", "ipc:///tmp/z/s"),
        (("ipc:///tmp/z/s",), "tcp://10.0.0.7:5555", None),
        (("tcp://:5556",), "ipc:///tmp/z/v", None),
        (("nonsense", "tcp://:5556"), "tcp://h:1", "tcp://h:5556"),
        ((), "tcp://h:1", None),
    ],
)
def test_worker_takes_the_first_sink_that_it_can_reach(sinks, endpoint, reached):
    assert reachable(sinks, endpoint) == reached
