"""The sockets of the page, without a page: limits, half-closed connections, and a system without descriptors."""

import errno
import resource
import socket

import pytest
from net_support import PATIENCE, wait_until

from zaudio.machine import PAGE_SHARE
from zaudio.web import door as module
from zaudio.web.door import Door

ANSWER = b"x" * (4 << 20)  # more than a system keeps for a connection
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class Listener(socket.socket):
    full = False
    asked = 0

    def accept(self):
        self.asked += 1
        if self.full:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.fixture
def opened():
    """A door that gives everybody the same answer, and its listener."""
    gone = []
    with Listener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)

        def answer(connection, head):
            assert head == REQUEST
            door.send(connection, ANSWER)
            door.end(connection)

        door = Door(listener, answer, gone.append)
        yield door, listener, gone
        door.shut()


def connect(listener):
    return socket.create_connection(listener.getsockname(), timeout=PATIENCE)


def read_all(door, peer):
    """What a peer gets, while the door has its turns."""
    peer.setblocking(False)
    found = bytearray()
    while True:
        door.wait(0)
        try:
            piece = peer.recv(1 << 20)
        except BlockingIOError:
            continue
        if not piece:
            return bytes(found)
        found += piece


def test_a_peer_that_says_no_more_than_its_request_gets_the_whole_answer(opened):
    door, listener, gone = opened
    with connect(listener) as peer:
        for byte in REQUEST:
            peer.sendall(bytes([byte]))
            door.wait(1)
        peer.shutdown(socket.SHUT_WR)
        assert read_all(door, peer) == ANSWER
    assert (len(door), len(gone)) == (0, 1)


def test_a_peer_that_takes_no_answer_is_closed_when_its_time_is_over(opened):
    door, listener, gone = opened
    with connect(listener) as peer:
        peer.sendall(REQUEST)
        wait_until(lambda: door.wait(0.1) or any(each.asked for each in door._connections), "it asked")
        (connection,) = door._connections
        door.tick(connection.due)
        assert gone == []
        door.tick(connection.due + 0.001)
        assert gone == [connection]


def test_a_reader_that_stays_has_as_long_for_the_rest_as_for_an_answer(opened, monkeypatch):
    door, listener, gone = opened
    monkeypatch.setattr(door, "_answer", lambda connection, head: door.stay(connection))
    with connect(listener) as peer:
        peer.sendall(REQUEST)
        wait_until(lambda: door.wait(0.1) or any(each.asked for each in door._connections), "it asked")
        (connection,) = door._connections
        door.send(connection, ANSWER)
        door.tick(1e9)
        assert gone == [], "its owner judges it"
        door.end(connection)
        door.tick(connection.due + 0.001)
        assert gone == [connection]


def test_without_a_free_descriptor_the_listener_rests_until_the_next_tick(opened):
    door, listener, _ = opened
    with connect(listener) as peer:
        listener.full = True
        for _ in range(5):
            door.wait(0)
        assert listener.asked == 1
        listener.full = False
        door.tick(0.0)
        peer.sendall(REQUEST)
        assert read_all(door, peer) == ANSWER


def test_connections_take_a_small_share_of_the_descriptors(opened, monkeypatch):
    door, listener, gone = opened
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2 * PAGE_SHARE, 4096))
    with connect(listener), connect(listener), connect(listener):
        for _ in range(3):
            door.wait(1)
    assert (len(door), len(gone)) == (2, 1)


def test_a_fault_of_an_answer_ends_that_connection_and_no_other(opened):
    door, listener, gone = opened
    with connect(listener) as first, connect(listener) as second:
        first.sendall(b"POST / HTTP/1.1\r\n\r\n")  # the assertion above fails
        wait_until(lambda: door.wait(0.1) or gone, "it is closed")
        second.sendall(REQUEST)
        assert read_all(door, second) == ANSWER


def test_the_end_waits_for_what_is_to_be_taken_and_not_for_long(opened, monkeypatch):
    door, listener, gone = opened
    monkeypatch.setattr(module, "ENDING", 0.05)
    with connect(listener) as silent, connect(listener) as slow:
        slow.sendall(REQUEST)
        wait_until(lambda: door.wait(0.1) or any(each.asked for each in door._connections), "it asked")
        silent.sendall(b"GET")
        door.shut()
    assert len(door) == 0
    assert len(gone) == 2
