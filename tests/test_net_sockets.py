"""Sockets over real TCP: options, sending, and endpoints as the system sees them."""

import errno
import socket

import pytest
import zmq
from net_support import MS, PATIENCE, wait_until

from zaudio.endpoints import parse_tcp
from zaudio.errors import EndpointError
from zaudio.net import sockets
from zaudio.net.keys import ClientKeys, ServerKeys
from zaudio.wire.fields import HEADER_MAX


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.fixture
def pair(context):
    """A ROUTER of ours, a DEALER of ours connected to it, and the DEALER's route."""
    with sockets.router(context, part_max=1000) as router:
        endpoint = sockets.bind(router, "tcp://127.0.0.1:0")
        with sockets.dealer(context, endpoint) as dealer:
            assert sockets.send(dealer, [b"hello"])
            assert router.poll(1000 * PATIENCE)
            route, word = sockets.receive(router, copy=True)
            assert word == b"hello"
            yield router, dealer, route


# Options


PUBLIC, SECRET = zmq.curve_keypair()
SERVER_PUBLIC, SERVER_SECRET = zmq.curve_keypair()
SERVER, CLIENT = ServerKeys(SERVER_SECRET), ClientKeys(PUBLIC, SECRET, SERVER_PUBLIC)
COMMON = {
    "HANDSHAKE_IVL": 5000,
    "HEARTBEAT_IVL": 10_000,
    "HEARTBEAT_TIMEOUT": 30_000,
    "TCP_KEEPALIVE": 1,
    "TCP_KEEPALIVE_IDLE": 30,
    "SNDHWM": sockets.HIGH_WATER,
    "RCVHWM": sockets.HIGH_WATER,
    "LINGER": 0,
    "ROUTING_ID": b"",
}
ROUTER = {**COMMON, "type": zmq.ROUTER, "MAXMSGSIZE": 8192 + 33, "BACKLOG": 1024}
DEALER = {**COMMON, "type": zmq.DEALER, "MAXMSGSIZE": -1, "RECONNECT_IVL": 50, "RECONNECT_IVL_MAX": 1000}
GUARDED = {"MECHANISM": zmq.CURVE, "CURVE_SERVER": 1, "ZAP_DOMAIN": b"zaudio", "ZAP_ENFORCE_DOMAIN": 1}
OPEN = {"MECHANISM": zmq.NULL, "CURVE_SERVER": 0, "ZAP_DOMAIN": b"zaudio", "ZAP_ENFORCE_DOMAIN": 0}
BARE = {"MECHANISM": zmq.NULL, "CURVE_SERVER": 0, "ZAP_DOMAIN": b"", "ZAP_ENFORCE_DOMAIN": 0}
# Which no socket tells: tests of what they do stand below, and in test_net_authenticator.py.
UNTOLD = {zmq.ROUTER_MANDATORY, zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY, zmq.CURVE_SERVERKEY}


def read_back(socket, names):
    return {name: socket.type if name == "type" else socket.getsockopt(getattr(zmq, name)) for name in names}


@pytest.mark.parametrize(("keys", "more"), [(None, OPEN), (SERVER, GUARDED)])
def test_router_has_the_options_that_make_it_safe(context, keys, more):
    expected = {**ROUTER, **more}
    with sockets.router(context, part_max=8192, keys=keys) as router:
        assert read_back(router, expected) == expected


@pytest.mark.parametrize(("keys", "more"), [(None, BARE), (CLIENT, {"MECHANISM": zmq.CURVE, "CURVE_SERVER": 0})])
def test_dealer_has_the_options_that_make_it_safe_and_no_name(context, keys, more):
    expected = {**DEALER, **more}
    with sockets.dealer(context, "tcp://127.0.0.1:9", keys=keys) as dealer:
        assert read_back(dealer, expected) == expected


@pytest.mark.parametrize(("kind", "keys"), [(zmq.ROUTER, None), (zmq.ROUTER, SERVER), (zmq.DEALER, CLIENT)])
def test_every_option_is_read_back_from_a_real_socket(context, kind, keys):
    chosen = sockets.options(kind, part_max=8192, keys=keys)
    table = {**(ROUTER if kind == zmq.ROUTER else DEALER), **GUARDED}
    assert set(chosen) - UNTOLD <= {getattr(zmq, name) for name in table if name != "type"}
    assert zmq.ROUTING_ID not in chosen
    if kind == zmq.ROUTER:
        socket = sockets.router(context, part_max=8192, keys=keys)
    else:
        socket = sockets.dealer(context, "tcp://127.0.0.1:9", keys=keys)
    with socket:
        assert {option: socket.getsockopt(option) for option in set(chosen) - UNTOLD} == {
            option: value for option, value in chosen.items() if option not in UNTOLD
        }


SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"
OTHERS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: farm\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "SSH": b"SSH-2.0-x\r\n",
    "ZMTP 1": b"\x01\x00" + b"\x03\x00ab",
    "ZMTP 1 with a name": b"\x06\x00hello",
    "ZMTP 2": SIGNATURE + b"\x01\x05\x00\x00",
}


@pytest.mark.parametrize("keys", [None, SERVER], ids=["without keys", "with keys"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_connection_that_speaks_another_protocol_is_closed_at_once(context, keys, other):
    with sockets.router(context, part_max=8192, keys=keys) as router:
        port = parse_tcp(sockets.bind(router, "tcp://127.0.0.1:0"))[1]
        with socket.create_connection(("127.0.0.1", port), timeout=2000 * MS) as stranger:
            stranger.sendall(OTHERS[other])
            try:
                while stranger.recv(4096):
                    pass  # of its own greeting
            except ConnectionResetError:
                pass
        assert sockets.receive(router, copy=True) is None, "no message of it"


def test_dealer_is_watched_from_before_it_connects(context):
    seen = []
    with sockets.dealer(context, "tcp://127.0.0.1:9", watch=lambda dealer: seen.append(dealer.last_endpoint)):
        assert seen == [b""]


def test_sink_takes_the_longest_payload_and_the_longest_header():
    assert sockets.sink_part_max(0) == HEADER_MAX
    assert sockets.sink_part_max(1_000_000) == 1_000_000 + HEADER_MAX


# Sending and receiving


def test_message_to_nobody_is_not_sent(context):
    with sockets.router(context, part_max=1000) as router:
        sockets.bind(router, "tcp://127.0.0.1:0")
        # Only with ROUTER_MANDATORY, which cannot be read back: without it, this would be True.
        assert sockets.send(router, [b"nobody", b"word"]) is False


def test_message_to_somebody_who_left_is_not_sent(pair):
    router, dealer, route = pair
    assert sockets.send(router, [route, b"word"]) is True
    dealer.close()
    wait_until(lambda: not sockets.send(router, [route, b"word"]), "the route is gone", within=2000 * MS)


def test_dealer_without_a_peer_queues_up_to_the_high_water_mark_and_never_blocks(context):
    with sockets.dealer(context, "tcp://127.0.0.1:9") as dealer:
        sent = 0
        while sockets.send(dealer, [b"word"]):
            sent += 1
        assert sent == sockets.HIGH_WATER


@pytest.mark.parametrize(
    "size", [0, 1, sockets.ZERO_COPY_FROM - 1, sockets.ZERO_COPY_FROM, 10 * sockets.ZERO_COPY_FROM]
)
@pytest.mark.parametrize(("kind", "copy"), [(bytes, True), (bytes, False), (bytearray, True), (memoryview, False)])
def test_payload_of_any_size_and_kind_arrives_as_it_was(pair, size, kind, copy):
    router, dealer, route = pair
    payload = kind(bytes(range(251)) * (size // 251 + 1))[:size]
    assert sockets.send(router, [route, b"header", payload])
    assert dealer.poll(1000 * PATIENCE)
    parts = sockets.receive(dealer, copy=copy)
    assert [bytes(part) for part in parts] == [b"header", bytes(payload)]


def test_nothing_to_receive_is_none(pair):
    router, dealer, _ = pair
    assert sockets.receive(router, copy=True) is None
    assert sockets.receive(dealer, copy=False) is None


def test_part_over_the_limit_ends_its_peer_and_no_other(pair, context):
    router, dealer, _ = pair
    other = sockets.dealer(context, router.getsockopt_string(zmq.LAST_ENDPOINT))
    with other:
        assert sockets.send(dealer, [bytes(1000 + 33 + 1)])
        assert sockets.send(other, [bytes(1000 + 33)])
        assert router.poll(1000 * PATIENCE)
        _, word = sockets.receive(router, copy=True)
        assert len(word) == 1000 + 33
        assert not router.poll(50)


def test_error_that_is_neither_full_nor_gone_is_raised(context):
    with sockets.router(context, part_max=1000) as router:
        pass
    with pytest.raises(zmq.ZMQError) as error:
        sockets.send(router, [b"route", b"word"])
    assert error.value.errno == errno.ENOTSOCK


# Endpoints


def test_bind_says_the_real_port(context):
    with sockets.router(context, part_max=1) as router:
        host, port = parse_tcp(sockets.bind(router, "tcp://127.0.0.1:0"))
        assert (host, port > 0) == ("127.0.0.1", True)


def test_bind_to_all_interfaces_is_named_as_it_was_asked_for(context):
    with sockets.router(context, part_max=1) as router:
        assert parse_tcp(sockets.bind(router, "tcp://*:0"))[0] == "0.0.0.0"


def test_bind_to_a_port_in_use_says_so(context):
    with sockets.router(context, part_max=1) as first, sockets.router(context, part_max=1) as second:
        endpoint = sockets.bind(first, "tcp://127.0.0.1:0")
        with pytest.raises(EndpointError, match="the address is in use; another coordinator may be running there"):
            sockets.bind(second, endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://192.0.2.1:0", "tcp://no-such-host.invalid:0", "ipc:///no/such/folder/x"])
def test_bind_to_what_is_not_ours_says_what_the_system_says(context, endpoint):
    with sockets.router(context, part_max=1) as router, pytest.raises(EndpointError, match=r"cannot bind: .") as error:
        sockets.bind(router, endpoint)
    assert error.value.endpoint == endpoint


def test_connecting_to_nonsense_says_so_and_leaves_no_socket(context):
    with pytest.raises(EndpointError, match="cannot connect"):
        sockets.dealer(context, "tcp://127.0.0.1")
    # The context ends with the fixture; it would hang if the socket were still there.


# Messages of too many parts


@pytest.mark.parametrize("copy", [True, False])
def test_of_a_message_that_goes_on_a_few_parts_are_kept_and_the_next_message_is_whole(pair, copy):
    router, dealer, route = pair
    for parts in ([bytes([n % 256]) for n in range(3000)], [b"header", b"payload"]):
        dealer.send_multipart(parts)
    assert router.poll(1000 * PATIENCE)
    kept = [bytes(part) for part in sockets.receive(router, copy=copy)]
    assert kept == [route, bytes([0]), bytes([1]), bytes([2])]  # one more than any message has, so it is refused
    assert router.poll(1000 * PATIENCE)
    assert [bytes(part) for part in sockets.receive(router, copy=copy)] == [route, b"header", b"payload"]
