"""The authenticator, and what a worker sees of it: real sockets, real handshakes, no farm.

The farm's loop is a function here: `serve` polls as it does. Without it, the authenticator is late for ever.
"""

import os
import time
from contextlib import contextmanager

import pytest
import zmq
from net_support import MS, PATIENCE, wait_until

from zaudio.core.handshake import Handshake
from zaudio.errors import UsageError
from zaudio.net import authenticator as authenticators
from zaudio.net import keys, sockets
from zaudio.net.authenticator import REREAD, STRANGERS_NAMED, Authenticator
from zaudio.net.monitor import Monitor

STRANGE_PUBLIC, STRANGE_SECRET = zmq.curve_keypair()


@pytest.fixture
def folder(tmp_path):
    folder = str(tmp_path / "keys")
    keys.init(folder)
    return folder


@pytest.fixture
def studio(folder):
    return keys.worker_keys(keys.add_worker(folder, "studio"))


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.fixture
def far():
    """The worker's context: a process has one, and the authenticator's address is its own."""
    with zmq.Context() as context:
        yield context


class Door:
    """A ROUTER with keys, its authenticator, and a loop that serves both."""

    def __init__(self, context, folder, *, gate=True):
        self.keys = keys.coordinator_keys(folder)
        self.gate = Authenticator(context, self.keys, now=time.monotonic()) if gate else None
        self.router = sockets.router(context, part_max=8192, keys=self.keys.server)
        self.endpoint = sockets.bind(self.router, "tcp://127.0.0.1:0")
        self.heard = []  # (identity, parts)

    def serve(self):
        if self.gate is not None:
            self.gate.serve()
        while (received := sockets.receive_from(self.router, copy=True)) is not None:
            parts, identity = received
            self.heard.append((identity, [bytes(part) for part in parts[1:]]))

    def close(self):
        if self.gate is not None and not self.gate.socket.closed:
            self.gate.socket.close(linger=0)
        self.router.close(linger=0)


@pytest.fixture
def door(context, folder):
    door = Door(context, folder)
    yield door
    door.close()


@contextmanager
def knocking(context, endpoint, client):
    """A DEALER with those keys that says hello, and its monitor."""
    monitors = []
    dealer = sockets.dealer(context, endpoint, keys=client, watch=lambda socket: monitors.append(Monitor(socket)))
    try:
        sockets.send(dealer, [b"hello"])
        yield dealer, monitors[0]
    finally:
        monitors[0].close()
        dealer.close(linger=0)


def outcome(door, monitor, *, within=PATIENCE):
    """How the next handshake ends, while the door is served, as a list. Who was refused may have tried again since."""

    def look():
        if door is not None:
            door.serve()
        return monitor.read()[:1]

    return wait_until(look, "a handshake ends", within=within)


def last_outcome(door, monitor):
    """How the first handshake ends that is not just cut: the other side may close before it says why."""
    return wait_until(
        lambda: next(iter(set(outcome(door, monitor)) - {Handshake.CUT}), None), "a handshake ends clearly"
    )


def settle(door, seconds=300 * MS):
    """Serve for a while: what does not come must have had the time to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        door.serve()
        door.router.poll(10)


# Who comes in


def test_admitted_key_comes_in_and_its_messages_carry_it(door, far, studio):
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]
        wait_until(lambda: door.serve() or door.heard, "the hello comes")
    assert door.heard == [(studio.public.decode(), [b"hello"])]


def test_local_workers_come_in_with_the_key_of_the_job_that_is_in_no_file(door, far, folder):
    local = door.keys.local
    with knocking(far, door.endpoint, local) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]
    for where, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:
                assert local.public not in file.read()


def test_unknown_key_gets_no_byte_in_and_is_named_by_its_public_half(door, far, caplog):
    stranger = keys.ClientKeys(STRANGE_PUBLIC, STRANGE_SECRET, door.keys.local.server)
    with knocking(far, door.endpoint, stranger) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.NOT_ADMITTED]
        settle(door)
    assert door.heard == []
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"its public key {STRANGE_PUBLIC.decode()} is not admitted" in warning
    assert STRANGE_SECRET.decode() not in caplog.text
    assert {*door.gate.take_refused()} == {("127.0.0.1", "its key is not admitted", STRANGE_PUBLIC.decode())}
    assert door.gate.take_refused() == []


@pytest.mark.covers("Wrong server key")
def test_wrong_key_of_the_coordinator_lets_nothing_out(door, far, studio):
    mistaken = keys.ClientKeys(studio.public, studio.secret, STRANGE_PUBLIC)
    with knocking(far, door.endpoint, mistaken) as (_, monitor):
        assert outcome(door, monitor)[0] is Handshake.CUT
        settle(door)
    assert door.heard == []


def test_worker_without_keys_gets_no_byte_in(door, far):
    with knocking(far, door.endpoint, None) as (_, monitor):
        assert last_outcome(door, monitor) is Handshake.OTHER_MECHANISM
        settle(door)
    assert door.heard == []


def test_worker_with_keys_says_nothing_to_a_coordinator_without(context, far, studio):
    with sockets.router(context, part_max=8192) as router:
        endpoint = sockets.bind(router, "tcp://127.0.0.1:0")
        with knocking(far, endpoint, studio) as (_, monitor):
            assert last_outcome(None, monitor) is Handshake.OTHER_MECHANISM
            assert not router.poll(200)


def test_key_that_is_made_meanwhile_is_admitted_at_once(door, far, folder):
    later = keys.worker_keys(keys.add_worker(folder, "later"))
    with knocking(far, door.endpoint, later) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]


def test_key_that_was_revoked_does_not_come_in_again(door, far, folder, studio):
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]
    keys.revoke(folder, "studio")
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.NOT_ADMITTED]


def test_guest_comes_in_by_no_file_until_it_is_revoked(door, far, folder):
    guest = keys.guest_keys(door.keys.local.server.decode())
    public = guest.public.decode()
    with knocking(far, door.endpoint, guest) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.NOT_ADMITTED]
    door.keys.guests.admit(public, "attic/1")
    with knocking(far, door.endpoint, guest) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]
    with pytest.raises(UsageError, match="expected a key of its own, got that of attic/1"):
        door.keys.guests.admit(public, "cellar/1")
    assert public in door.gate.admitted
    assert public not in door.gate.names  # `zaudio keys revoke` takes a name of these
    assert os.listdir(os.path.join(folder, keys.WORKERS)) == []
    door.keys.guests.revoke(public)
    door.gate.refresh(door.gate.due)
    assert public not in door.gate.admitted
    with knocking(far, door.endpoint, guest) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.NOT_ADMITTED]


@pytest.mark.parametrize("public", ["", "short", "x" * 41, "\u00e9" * 40, '"' * 40])
def test_what_is_no_key_is_no_guest(door, public):
    with pytest.raises(UsageError, match="expected a public key"):
        door.keys.guests.admit(public, "attic/1")
    with pytest.raises(UsageError, match="expected a public key"):
        keys.guest_keys(public)
    assert door.keys.guests.read() == {}


# The authenticator dead, raising, late


def test_without_an_authenticator_nobody_comes_in(context, far, folder, studio):
    door = Door(context, folder, gate=False)
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor)[0] is Handshake.CUT
        settle(door)
    assert door.heard == []
    door.close()


@pytest.mark.covers("Authenticator dead")
def test_once_the_authenticator_is_dead_nobody_comes_in(door, far, studio):
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]
        wait_until(lambda: door.serve() or door.heard, "the hello comes")
    door.gate.socket.close(linger=0)
    door.gate, heard = None, len(door.heard)
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor)[0] is Handshake.CUT
        settle(door)
    assert len(door.heard) == heard


@pytest.mark.covers("Authenticator raising")
def test_authenticator_that_raises_admits_nobody_and_goes_on(door, far, studio, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr(Authenticator, "_judge", lambda *_: 1 // 0)
        with knocking(far, door.endpoint, studio) as (_, monitor):
            assert outcome(door, monitor) == [Handshake.NOT_CHECKED]
            settle(door)
    assert door.heard == []
    assert "the authenticator failed, so nobody is admitted" in caplog.text
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]


@pytest.mark.covers("Authenticator late")
def test_authenticator_that_is_late_admits_nobody_until_it_answers(door, far, studio):
    gate, door.gate = door.gate, None
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert wait_until(lambda: gate.socket.poll(10), "it is asked")
        settle(door)
        assert (monitor.read(), door.heard) == ([], [])
        door.gate = gate
        assert outcome(door, monitor) == [Handshake.DONE]


def test_list_that_cannot_be_read_admits_nobody_new_and_keeps_who_is_here(door, far, studio, monkeypatch, caplog):
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.DONE]
    before = door.gate.admitted

    def fails(self):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(keys.AllowList, "read", fails)
    with knocking(far, door.endpoint, studio) as (_, monitor):
        assert outcome(door, monitor) == [Handshake.NOT_CHECKED]
    guest = keys.guest_keys(door.keys.local.server.decode())
    door.keys.guests.admit(guest.public.decode(), "attic/1")
    for client in (door.keys.local, guest):  # which are on no list
        with knocking(far, door.endpoint, client) as (_, monitor):
            assert outcome(door, monitor) == [Handshake.DONE]
    door.keys.guests.revoke(guest.public.decode())
    door.gate.refresh(time.monotonic() + 1)
    assert door.gate.admitted == before
    assert caplog.text.count("the list of keys cannot be read, so nobody is admitted") == 1


@pytest.mark.parametrize(
    "request_",
    [
        [b""],
        [b"1.0", b"1"],
        [b"1.0", b"1", b"zaudio", b"127.0.0.1", b"", b"NULL"],
        [b"1.0", b"1", b"zaudio", b"127.0.0.1", b"", b"PLAIN", b"user", b"password"],
        [b"1.0", b"1", b"zaudio", b"127.0.0.1", b"", b"CURVE"],
        [b"1.0", b"1", b"zaudio", b"127.0.0.1", b"", b"CURVE", b"short"],
        [b"1.0", b"1", b"zaudio", b"127.0.0.1", b"", b"CURVE", bytes(32), b"more"],
        [b"1.0", b"1", b"elsewhere", b"127.0.0.1", b"", b"CURVE", bytes(32)],
        [b"2.0", b"1", b"zaudio", b"127.0.0.1", b"", b"CURVE", bytes(32)],
        [b"\xff" * 9] * 9,
    ],
)
def test_question_that_it_does_not_understand_is_answered_with_a_refusal(context, door, request_):
    with context.socket(zmq.REQ) as asker:
        asker.linger = 0
        asker.connect(authenticators.ENDPOINT)
        asker.send_multipart(request_)
        wait_until(lambda: door.gate.serve() or asker.poll(5), "it answers")
        answer = asker.recv_multipart()
    assert len(answer) == 6
    assert answer[2] in (b"400", b"500")
    assert answer[4] == b""


# The list, by the clock


def test_list_is_looked_at_four_times_a_second_and_change_is_told_once(door, folder, studio):
    gate, now = door.gate, 100.0
    gate.due = now
    assert gate.refresh(now)
    assert not gate.refresh(now + REREAD)
    keys.revoke(folder, "studio")
    assert not gate.refresh(now + 1.5 * REREAD)
    assert gate.due == now + 2 * REREAD
    assert gate.refresh(now + 2 * REREAD)
    assert gate.admitted == {door.keys.local.public.decode()}
    assert not gate.refresh(now + 3 * REREAD)
    assert REREAD <= 0.25


def test_flood_of_unknown_keys_does_not_fill_the_log(door, caplog):
    for number in range(10 * STRANGERS_NAMED):
        door.gate._warn_of(f"key {number}", "127.0.0.1")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == STRANGERS_NAMED
