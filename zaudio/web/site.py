"""Site: the server of the page: a thread with a loop of its own.

Rules:

- It binds in the caller's thread, so that a port in use is said before any work begins.
- The farm's thread never waits for it. Four times a second it empties a bounded subscription, and makes at most one
  snapshot, which is serialised once for all readers.
- Limits stand where connections come in: so many connections, so many bytes and seconds for a head, so many readers.
  A slow reader gets fewer snapshots, each of them whole. One that takes nothing for long is dropped; its page comes
  back by itself, and goes on where it was.
- The event loop is asyncio's, which has time limits and counts its buffers. `http.server` takes a thread a reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from zaudio.errors import UsageError
from zaudio.events import Event
from zaudio.facts import Listed, Progress
from zaudio.web.address import Address
from zaudio.web.asking import HEAD_MAX, Asked, Refusal, answer, check_token, parse, refusal
from zaudio.web.board import Board
from zaudio.web.metrics import CONTENT_TYPE, metrics
from zaudio.web.page import load_page

TICK = 0.25  # seconds between two looks at the events, and two snapshots
QUIET_TICKS = 4  # without events there is a snapshot a second, as a sign of life
EVENTS = 1 << 14  # that wait for a tick; the fastest farm makes a few thousand
CONNECTIONS = 128
READERS = 64  # pages; each of them costs a write four times a second
HEAD_SECONDS = 5.0
BEHIND_SECONDS = 10.0  # a reader may take nothing for so long; a tunnel over a bad line comes back within that
ENDING = 1.0  # seconds for readers to take the rest

JSON = "application/json"
LINES = "application/x-ndjson"
PLAIN = "text/plain; charset=utf-8"

log = logging.getLogger("zaudio.web")


class Events(Protocol):
    """A bounded subscription to the events of a job, as `zaudio.watching.stream` makes it."""

    def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event, None behind the last one; raise TimeoutError when no event came in time."""


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
        self._board = Board(secrets.token_hex(8))
        self._token = ""
        self._events: Events | None = None
        self._progress: Callable[[], Progress] | None = None
        self._signs: Callable[[], Mapping[str, float]] = dict
        self._jobs: Callable[[], Listed] = Listed
        self._quiet = 0  # ticks without an event
        self._connections = 0
        self._readers: dict[asyncio.StreamWriter, Reader] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
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
        """Start to serve.

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
        self._ready.wait()

    def end(self, lines: tuple[str, ...]) -> None:
        """Show the end of the job, with these lines of its report."""
        self._call(lambda: self._finish(lines))

    def close(self) -> None:
        """Stop to serve. Idempotent."""
        if self._thread is not None:
            self._call(self._leave)
            self._thread.join()
        self._listener.close()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # The thread

    def _call(self, function: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # the job goes on without its page
            log.exception("the page is gone; the job goes on")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._meet, sock=self._listener, limit=HEAD_MAX)
        self._ready.set()
        beat = self._loop.create_task(self._beat())
        await self._stop.wait()
        beat.cancel()
        server.close()
        writers = list(self._readers)
        for writer in writers:
            writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    def _leave(self) -> None:
        if self._stop is not None:
            self._stop.set()

    async def _beat(self) -> None:
        while True:
            try:
                self._tick()
            except Exception:  # a fault of the page must not end it, nor fill the log
                log.debug("a snapshot failed", exc_info=True)
            await asyncio.sleep(TICK)

    def _tick(self) -> None:
        """Take what happened; tell the readers, when there is something to tell."""
        if self._board.final:
            return
        news = self._drain()
        self._quiet = 0 if news else self._quiet + 1
        if self._readers and (news or self._quiet % QUIET_TICKS == 0):
            self._tell()

    def _drain(self) -> bool:
        assert self._events is not None
        assert self._progress is not None
        taken = 0
        with contextlib.suppress(TimeoutError):
            while taken < 4 * EVENTS and (event := self._events.get(0)) is not None:
                self._board.apply(event)
                taken += 1
        self._board.tick(self._progress(), now=time.monotonic())
        self._board.staff.hear(self._signs())
        self._board.jobs = self._jobs()
        return taken > 0

    def _tell(self) -> None:
        lines: dict[int, bytes] = {}  # nearly always one: readers that keep up have the same news
        now = time.monotonic()
        for writer, reader in list(self._readers.items()):
            if writer.transport.get_write_buffer_size():  # its last line is still here
                if now - reader.kept_up > BEHIND_SECONDS:
                    writer.transport.abort()
                continue
            if reader.seen not in lines:
                lines[reader.seen] = self._line(reader.seen)
            writer.transport.write(lines[reader.seen])
            reader.seen, reader.kept_up = self._board.seen, now

    def _line(self, after: int) -> bytes:
        snapshot = self._board.snapshot(time.monotonic(), after=after)
        return json.dumps(snapshot, separators=(",", ":")).encode("ascii") + b"\n"

    def _finish(self, lines: tuple[str, ...]) -> None:
        self._drain()
        self._board.report, self._board.final = lines, True
        self._tell()
        for writer in list(self._readers):
            writer.close()  # behind what is to be sent

    # A connection

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            await self._answer(reader, writer)
        except (OSError, EOFError):
            pass  # it is gone
        except asyncio.CancelledError:
            pass  # the page is closed; Python 3.11 would print a traceback for a connection that said nothing yet
        finally:
            self._connections -= 1
            self._readers.pop(writer, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await self._ask(reader)
            if asked.path == "/stream":
                check_token(asked, self._token)
                await self._stream(asked, reader, writer)
                return
            writer.write(self._reply(asked))
        except Refusal as refused:
            writer.write(refusal(refused))
        async with asyncio.timeout(HEAD_SECONDS):
            await writer.drain()

    async def _ask(self, reader: asyncio.StreamReader) -> Asked:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise Refusal(408, f"no whole request came in {HEAD_SECONDS:g} s") from None
        except asyncio.LimitOverrunError:
            raise Refusal(431, f"the head of a request has at most {HEAD_MAX} bytes") from None
        return parse(head, self.address)

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

    async def _stream(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send a snapshot now, and each later one, until the reader goes."""
        if len(self._readers) >= READERS:
            raise Refusal(503, f"{READERS} pages are open already; close one")
        _keep_little(writer)
        life, seen = asked.place
        writer.write(answer(200, LINES, None))
        writer.write(self._line(seen if life == self._board.life else 0))
        if self._board.final:
            await writer.drain()
            return
        self._readers[writer] = Reader(self._board.seen, time.monotonic())
        await reader.read(1)  # it has nothing more to say: this is its end


def _keep_little(writer: asyncio.StreamWriter) -> None:
    """Let the system hold little for a reader, so that a slow one is found out."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)


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
        listener.listen(CONNECTIONS)
    except OSError as error:
        listener.close()
        reason = f"{error.strerror or error}; give another port, or 0 for any"
        raise UsageError(f"--web {address.host}:{address.port}: {reason}") from error
    return listener
