"""Door: the sockets of the page. Requests come in, answers and lines go out, in one thread that waits in one place.

Rules:

- No socket ever blocks. Bytes that a connection does not take yet are kept for it, and nothing is added to them.
- Limits stand where connections come in: so many at once, and so many bytes and seconds for a head. An answer must be
  taken as quickly. A connection that `stay`s has no such limit: its owner judges it.
- When there are too many, the oldest that does not stay makes room for the newest.
- A fault of one connection ends that one, and no other.
- `call` is for any thread, all else for the one that waits.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from zaudio.machine import page_connections
from zaudio.web.asking import HEAD_MAX, Refusal, refusal

HEAD_SECONDS = 5.0
ENDING = 1.0  # seconds for connections to take the rest
KEPT_BY_SYSTEM = 64 << 10  # bytes for a connection that stays: so that a slow one is found out
PIECE = 64 << 10  # bytes that are read at once

log = logging.getLogger("zaudio.web")


class Connection:
    """One connection.

    Attributes:
        sock: Its socket.
        head: The beginning of its request, as far as it came.
        rest: What it has yet to take.
        due: When it is closed if it has not said or taken all; None for one that stays.
        asked: Whether its request is complete.
        last: Whether it is closed when it has taken the rest.
        watched: What the door waits for.
    """

    __slots__ = ("asked", "due", "head", "last", "rest", "sock", "watched")

    def __init__(self, sock: socket.socket, due: float) -> None:
        self.sock = sock
        self.head = b""
        self.rest = b""
        self.due: float | None = due
        self.asked = False
        self.last = False
        self.watched = selectors.EVENT_READ


class Door:
    """The connections of one page.

    Args:
        listener: Where they come in. It belongs to its maker.
        answer: Called with a connection and the head of its request; says what is sent by `send` and `end`.
        gone: Called with a connection that is closed.
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Connection, bytes], None],
        gone: Callable[[Connection], None],
    ) -> None:
        self._listener = listener
        self._answer = answer
        self._gone = gone
        self._connections: set[Connection] = set()
        self._calls: deque[Callable[[], object]] = deque()
        self._ear, self._mouth = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for each in (listener, self._ear, self._mouth):
            each.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._listening = False
        self._listen()

    def __len__(self) -> int:
        return len(self._connections)

    def call(self, function: Callable[[], object]) -> None:
        """Let the waiting thread call a function soon. From any thread; after `shut` it does nothing."""
        self._calls.append(function)
        with suppress(OSError):  # shut; or full, and then it wakes up anyhow
            self._mouth.send(b"x")

    def wait(self, seconds: float) -> None:
        """Do what is to be done, or wait that long for it."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.fileobj is self._listener:
                self._meet()
            elif key.fileobj is self._ear:
                self._hear()
            else:
                self._serve(key.data)

    def tick(self, now: float) -> None:
        """Close those whose time is over. Call it now and then."""
        self._listen()
        for connection in list(self._connections):
            if connection.due is None or now <= connection.due:
                continue
            if connection.asked:
                self.drop(connection)  # it does not take its answer
            else:
                self._refuse(connection, Refusal(408, f"no whole request came in {HEAD_SECONDS:g} s"))

    def send(self, connection: Connection, content: bytes) -> None:
        """Send something to a connection that has taken all before."""
        connection.rest += content
        self._flush(connection)

    def stay(self, connection: Connection) -> None:
        """Let a connection stay as long as it likes; the system holds little for it."""
        connection.due = None
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KEPT_BY_SYSTEM)

    def end(self, connection: Connection) -> None:
        """Close a connection when it has taken the rest, for which it has as long as for an answer."""
        connection.last = True
        if connection.due is None:
            connection.due = time.monotonic() + HEAD_SECONDS
        if not connection.rest:
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Close a connection at once."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        with suppress(OSError):
            # Bytes that were not read would make the system forget the answer.
            connection.sock.shutdown(socket.SHUT_WR)
            connection.sock.recv(PIECE)
        connection.sock.close()
        self._gone(connection)

    def shut(self) -> None:
        """Close all connections, those last that have yet to take something. The listener stays."""
        if self._listening:
            self._selector.unregister(self._listener)
            self._listening = False
        for connection in list(self._connections):
            self.end(connection)
        deadline = time.monotonic() + ENDING
        while self._connections and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
        for connection in list(self._connections):
            self.drop(connection)
        self._selector.close()
        self._ear.close()
        self._mouth.close()

    # In detail

    def _listen(self) -> None:
        if not self._listening:
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._listening = True

    def _meet(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # it went away before it was met
        except OSError as error:  # no descriptor is free: to ask again at once would never end
            log.debug("a connection cannot be accepted: %s", error)
            self._selector.unregister(self._listener)
            self._listening = False  # until the next tick
            return
        if len(self._connections) >= page_connections() and not self._make_room():
            sock.close()
            return
        sock.setblocking(False)
        connection = Connection(sock, time.monotonic() + HEAD_SECONDS)
        self._connections.add(connection)
        self._selector.register(sock, connection.watched, connection)
        self._serve(connection)

    def _make_room(self) -> bool:
        """Close the connection that is about to be closed first; return whether there is one.

        Those that ask at once have their answer by then. Without this, silent ones would shut out all others.
        """
        due = {each: each.due for each in self._connections if each.due is not None}
        if due:
            self.drop(min(due, key=due.__getitem__))
        return bool(due)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            self._ear.recv(PIECE)
        while self._calls:
            self._safely(self._calls.popleft())

    def _serve(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # it was closed since it became ready
        if connection.rest:
            self._flush(connection)
        elif not self._safely(lambda: self._read(connection)):
            self.drop(connection)

    def _safely(self, function: Callable[[], object]) -> bool:
        """Call a function; return whether it did not fail."""
        try:
            function()
        except OSError:
            return False  # a connection is gone
        except Exception:  # a fault of the page must not end it, nor fill the log
            log.debug("an answer failed", exc_info=True)
            return False
        return True

    def _read(self, connection: Connection) -> None:
        try:
            piece = connection.sock.recv(PIECE)
        except BlockingIOError:
            return
        if not piece or connection.asked:  # it is gone, or a reader says more than its request
            self.drop(connection)
        else:
            self._ask(connection, piece)

    def _ask(self, connection: Connection, piece: bytes) -> None:
        known = len(connection.head)
        connection.head += piece
        end = connection.head.find(b"\r\n\r\n", max(0, known - 3))
        if end > HEAD_MAX or (end < 0 and len(connection.head) >= HEAD_MAX):
            self._refuse(connection, Refusal(431, f"the head of a request has at most {HEAD_MAX} bytes"))
        elif end >= 0:
            head, connection.head = connection.head[: end + 4], b""
            self._begin_answer(connection)
            self._answer(connection, head)

    def _begin_answer(self, connection: Connection) -> None:
        connection.asked = True
        connection.due = time.monotonic() + HEAD_SECONDS

    def _refuse(self, connection: Connection, refused: Refusal) -> None:
        self._begin_answer(connection)
        self.send(connection, refusal(refused))
        self.end(connection)

    def _flush(self, connection: Connection) -> None:
        """Send as much as a connection takes now."""
        try:
            sent = connection.sock.send(connection.rest)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop(connection)
            return
        connection.rest = connection.rest[sent:]
        if connection.last and not connection.rest:
            self.drop(connection)
        else:
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        """Wait until a connection takes the rest; else until it says something."""
        wanted = selectors.EVENT_WRITE if connection.rest else selectors.EVENT_READ
        if connection.watched != wanted:
            connection.watched = wanted
            self._selector.modify(connection.sock, wanted, connection)
