"""Site: the server of the page: what its readers are told, and when, in a thread of its own.

Rules:

- It binds in the caller's thread, so that a port in use is said before any work begins.
- The farm's thread never waits for it. Four times a second it empties a bounded subscription and makes at most one
  snapshot. That is serialised once, for all readers and those that come.
- All readers together cost at most `LINES_A_SECOND` lines a second: the more there are, the fewer each of them gets.
- A slow reader gets fewer snapshots, each of them whole. One that takes too long for one is dropped; its page comes
  back by itself, and goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from zaudio.errors import UsageError
from zaudio.events import Event
from zaudio.facts import Listed, Progress
from zaudio.machine import PAGE_CONNECTIONS
from zaudio.web.address import Address
from zaudio.web.asking import Asked, Refusal, answer, check_token, parse, refusal
from zaudio.web.board import Board
from zaudio.web.door import Connection, Door
from zaudio.web.metrics import CONTENT_TYPE, metrics
from zaudio.web.page import load_page

TICK = 0.25  # seconds between two looks at the events, and two snapshots
QUIET_TICKS = 4  # without events there is a snapshot a second, as a sign of life
EVENTS = 1 << 14  # that wait for a tick; the fastest farm makes a few thousand
READERS = 64  # pages
LINES_A_SECOND = 64  # to all readers: a farm that many look at must not feel it
BEHIND_SECONDS = 10.0  # a reader may take so long for one line; a tunnel over a bad line comes back within that

JSON = "application/json"
LINES = "application/x-ndjson"
PLAIN = "text/plain; charset=utf-8"

log = logging.getLogger("zaudio.web")


class Events(Protocol):
    """A bounded subscription to the events of a job, as `zaudio.watching.stream` makes it."""

    def take(self, timeout: float | None = None) -> Sequence[Event]:
        """Return all events that wait, none behind the last one; raise TimeoutError when no event came in time."""


@dataclass(slots=True)
class Reader:
    """A page that is open: the last news that it was sent, and when it last took all that it was sent."""

    seen: int
    kept_up: float


class Site:
    """The page of one job. `open` starts it, `end` shows the end, `close` stops it.

    Args:
        address: Where it is served. It is bound here.

    Attributes:
        address: Likewise, with the port that was bound.

    Raises:
        UsageError: The address cannot be bound.
    """

    def __init__(self, address: Address) -> None:
        self._listener = _bind(address)
        self.address = Address(address.host, self._listener.getsockname()[1])
        self._page = load_page()
        self._board = Board(os.urandom(8).hex())
        self._token = ""
        self._events: Events | None = None
        self._progress: Callable[[], Progress] | None = None
        self._signs: Callable[[], Mapping[str, float]] = dict
        self._jobs: Callable[[], Listed] = Listed
        self._news = False  # whether something happened since the last snapshot
        self._ticks = 0  # since then
        self._lines: dict[int, bytes] = {}  # the board in lines, by the last news that their readers have
        self._readers: dict[Connection, Reader] = {}
        self._door = Door(self._listener, self._answer, self._forget)
        self._leaving = False
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address with the token, for the one that may see the page."""
        return f"{self.address.url}#{self._token}"

    def open(
        self,
        token: str,
        events: Events,
        progress: Callable[[], Progress],
        *,
        title: str = "",
        signs: Callable[[], Mapping[str, float]] = dict,
        jobs: Callable[[], Listed] = Listed,
    ) -> None:
        """Start serving.

        Args:
            token: Lets its bearer see the page's data.
            events: The events of the job, all of them.
            progress: Returns how far the job is, in any thread.
            title: The name of the recording.
            signs: Returns when each worker gave its last sign of life, by name, in any thread.
            jobs: Returns, for a batch, where its recordings stand, in any thread.
        """
        self._token, self._events, self._progress = token, events, progress
        self._signs, self._jobs = signs, jobs
        self._board.title = title
        self._thread = threading.Thread(target=self._run, name="zaudio-web", daemon=True)
        self._thread.start()

    def end(self, lines: tuple[str, ...]) -> None:
        """Show the end of the job, with these lines of its report."""
        self._door.call(lambda: self._finish(lines))

    def close(self) -> None:
        """Stop serving. Idempotent."""
        if self._thread is not None:
            self._door.call(self._leave)
            self._thread.join()
        else:
            self._door.shut()
        self._listener.close()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # The thread

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:  # the job goes on without its page
            log.exception("the page is gone; the job goes on")
        finally:
            self._door.shut()
            self._listener.close()  # nobody is to wait for an answer that does not come

    def _serve(self) -> None:
        due = time.monotonic()
        while not self._leaving:
            if (now := time.monotonic()) >= due:
                due = now + TICK
                try:
                    self._tick()
                except Exception:  # a fault of the page must not end it, nor fill the log
                    log.debug("a snapshot failed", exc_info=True)
                self._door.tick(now)
            self._door.wait(due - now)

    def _leave(self) -> None:
        self._leaving = True

    def _tick(self) -> None:
        """Take what happened; tell the readers, when there is something to tell and it is their turn."""
        if self._board.final:
            return
        self._news = self._drain() or self._news
        self._ticks += 1
        if self._readers and self._ticks >= (pace(len(self._readers)) if self._news else QUIET_TICKS):
            self._tell()

    def _drain(self) -> bool:
        assert self._events is not None
        assert self._progress is not None
        events: Sequence[Event] = ()
        with contextlib.suppress(TimeoutError):
            events = self._events.take(0)
        for event in events:
            self._board.apply(event)
        self._board.tick(self._progress(), now=time.monotonic())
        self._board.staff.hear(self._signs())
        self._board.jobs = self._jobs()
        self._lines.clear()
        return bool(events)

    def _tell(self) -> None:
        self._news, self._ticks = False, 0
        now = time.monotonic()
        for connection, reader in list(self._readers.items()):
            if connection.rest:  # its last line is still here
                if now - reader.kept_up > BEHIND_SECONDS:
                    self._door.drop(connection)
                continue
            line = self._line(reader.seen)  # nearly always the same: readers that keep up have the same news
            reader.seen, reader.kept_up = self._board.seen, now
            self._door.send(connection, line)

    def _line(self, after: int) -> bytes:
        """Return the board as of the last tick."""
        if after not in self._lines:
            if len(self._lines) >= READERS:  # a request may name any number
                self._lines.clear()
            snapshot = self._board.snapshot(time.monotonic(), after=after)
            self._lines[after] = json.dumps(snapshot, separators=(",", ":")).encode("ascii") + b"\n"
        return self._lines[after]

    def _finish(self, lines: tuple[str, ...]) -> None:
        self._drain()
        self._board.report, self._board.final = lines, True
        self._tell()
        for connection in list(self._readers):
            self._door.end(connection)

    # A connection

    def _answer(self, connection: Connection, head: bytes) -> None:
        try:
            asked = parse(head, self.address)
            if asked.path == "/stream":
                check_token(asked, self._token)
                self._stream(asked, connection)
                return
            self._door.send(connection, self._reply(asked))
        except Refusal as refused:
            self._door.send(connection, refusal(refused))
        self._door.end(connection)

    def _reply(self, asked: Asked) -> bytes:
        if asked.path == "/":
            return answer(200, "text/html; charset=utf-8", self._page.html, policy=self._page.policy)
        if asked.path == "/health":  # for probes, which have no token: it says nothing of the job
            return answer(200, PLAIN, b"ok\n")
        check_token(asked, self._token)  # before it is told which other paths there are
        if asked.path == "/snapshot":
            return answer(200, JSON, self._line(0))
        if asked.path == "/metrics":
            return answer(200, CONTENT_TYPE, metrics(self._board, now=time.monotonic()).encode())
        raise Refusal(404, "there is no such path; / is the page")

    def _stream(self, asked: Asked, connection: Connection) -> None:
        """Send a snapshot now, and each later one, until the reader goes."""
        if len(self._readers) >= READERS:
            raise Refusal(503, f"{READERS} pages are open already; close one")
        life, seen = asked.place
        line = self._line(seen if life == self._board.life else 0)
        if not self._board.final:
            self._door.stay(connection)
            self._readers[connection] = Reader(self._board.seen, time.monotonic())
        self._door.send(connection, answer(200, LINES, None) + line)
        if self._board.final:
            self._door.end(connection)

    def _forget(self, connection: Connection) -> None:
        self._readers.pop(connection, None)


def pace(readers: int) -> int:
    """Return the ticks between two snapshots for so many readers: one for a few, a second for 64."""
    return max(1, math.ceil(readers / (LINES_A_SECOND * TICK)))


def _bind(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--web {address.host}:{address.port}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(PAGE_CONNECTIONS)
    except OSError as error:
        listener.close()
        reason = f"{error.strerror or error}; give another port, or 0 for any"
        raise UsageError(f"--web {address.host}:{address.port}: {reason}") from error
    return listener
