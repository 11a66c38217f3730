"""Talk: the near end of a launcher's conversation: one process, and the workers that its far end runs.

`remote.py` is the far end and has the lines. Every launcher that can reach a far end's standard input uses this: ssh
directly, Dask and Ray in a body that runs on the cluster.

Rules: nothing here waits but `wait`. The process leads a session of its own, so Ctrl-C at a terminal is not its
business. Lines from elsewhere are data: they are parsed, shortened and shown as one line, and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from zaudio.errors import LaunchError
from zaudio.launching.launcher import Orders
from zaudio.net.obituary import cause_of_death, last_words
from zaudio.net.orders import Lines
from zaudio.version import VERSION

MODULE = "zaudio.launching.remote"
ARGUMENTS = ("-P", "-m", MODULE)  # of Python: the current folder, a home full of files, must not answer its imports
GREETING_MAX = 4096  # bytes in front of the first line of ours: a shell's greeting, which a login may print
LINE_MAX = 65536  # bytes; ours are far shorter
PIPE = 65536  # bytes that a pipe holds
LOOK = 0.01  # s between two looks at a process that is to end
TAIL = 8192  # bytes of standard error that are kept

log = logging.getLogger("zaudio.launching")


class Worker:
    """One worker of a far end. A `Handle`."""

    def __init__(self, name: str, admit: Callable[[], None]) -> None:
        self.name = name
        self.public: str | None = None
        self.ended: str | None = None
        self.died = False
        self.hopeless = False
        self.waits = ""
        self._admit = admit

    def admit(self) -> None:
        """Let it connect: its key is admitted."""
        self._admit()


class Far:
    """A far end: the process that reaches it, and its workers.

    Args:
        command: The program and its arguments.
        where: What sentences call the far end: ``attic``.
        explain: Returns a better sentence for the exit code and the last line of standard error, empty for none; and
            whether another process would end likewise.
        renames: Whether the far end says where its workers run; else a host could take the name of another.
        env: The process's environment; None for this one's.

    Raises:
        LaunchError: The program cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        where: str,
        *,
        explain: Callable[[int, str], tuple[str, bool]] = lambda *_: ("", False),
        renames: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.where = where
        self._explain = explain
        self._renames = renames
        self._workers: dict[int, Worker] = {}  # number -> worker that has not ended
        self._numbers = 0
        self._lines = Lines()
        self._greeting = b""
        self.facts: Mapping[str, object] = {}  # the far end's first line, once it came
        self.failure = ""  # why the far end ended by a fault
        self.hopeless = False  # another would end likewise
        self._outgoing = b""
        self._tail = b""
        self._closing = False
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env
            )
        except OSError as error:
            raise LaunchError(where, f"{command[0]} cannot be started: {error.strerror}") from None
        assert self._process.stdin is not None, "a pipe"
        assert self._process.stdout is not None, "a pipe"
        assert self._process.stderr is not None, "a pipe"
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr
        for stream in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)

    @property
    def workers(self) -> list[Worker]:
        """The workers that have not ended."""
        return list(self._workers.values())

    @property
    def over(self) -> bool:
        """Whether the process has ended: a worker more takes another `Far`."""
        return self._closing

    def start(self, name: str, orders: Orders) -> Worker:
        """Ask for a worker of that name."""
        self._numbers += 1
        number = self._numbers
        worker = self._workers[number] = Worker(name, lambda: self._say({"worker": number, "go": True}))
        self._say({"worker": number, "orders": {"name": name, **dataclasses.asdict(orders)}})
        return worker

    def look(self) -> None:
        """Take in what came, and send what waits. Never waits itself."""
        if self._closing:
            return
        ended = self._process.poll()  # first: what it said before it ended is in the pipes
        self._flush()
        self._hear_errors()
        for line in self._lines.feed(_read(self._stdout)):
            if not self._closing:
                self._hear(line)
        if self._lines.held > LINE_MAX:
            self.give_up(f"expected lines of zaudio's, got {self._lines.held} bytes without an end")
        if ended is not None and not self._closing:
            sentence, hopeless = self._end_of(ended)
            self._fail(sentence, hopeless=hopeless)

    def give_up(self, sentence: str) -> None:
        """End the process at once, and all workers for that reason."""
        self._fail(sentence)
        self._kill()

    def close(self) -> None:
        """Break the lifeline: workers go within 2 s."""
        if not self._closing:
            self._closing = True
            with contextlib.suppress(OSError):
                self._stdin.close()

    def wait(self, deadline: float) -> None:
        """Wait for the process's end until that time of the monotonic clock, then kill it. After `close`.

        A far end that has not said anything yet has no workers, and nothing that it could end well.
        """
        while self.facts and self._process.poll() is None and time.monotonic() < deadline:
            for stream in (self._stdout, self._stderr):
                _read(stream)  # or it would wait for a reader
            time.sleep(LOOK)
        self._kill()
        self._process.wait()
        for stream in (self._stdout, self._stderr):
            stream.close()
        for worker in self._workers.values():
            worker.ended = worker.ended or ""
        self._workers.clear()

    # Inside

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _say(self, message: Mapping[str, object]) -> None:
        self._outgoing += json.dumps(message).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        while self._outgoing and not self._closing:
            try:
                sent = os.write(self._stdin.fileno(), self._outgoing)
            except OSError:  # it is full, or the process has ended: `look` sees to both
                return
            self._outgoing = self._outgoing[sent:]

    def _hear(self, line: bytes) -> None:
        message = _parse(line)
        if message is None:
            self._greeting += line + b"\n"
            if self.facts or len(self._greeting) > GREETING_MAX:
                self.give_up(f"expected lines of zaudio's, got {_shown(self._greeting)!r}")
        elif "zaudio" in message:
            self.facts = message
            if message["zaudio"] != VERSION:
                sentence = f"zaudio {_shown(str(message['zaudio']))} is installed there, and {VERSION} here"
                self._fail(f"{sentence}; install one version on both machines", hopeless=True)
        elif isinstance(number := message.get("worker"), int) and number in self._workers:
            self._hear_of(number, message)

    def _hear_of(self, number: int, message: Mapping[str, object]) -> None:
        worker = self._workers[number]
        if self._renames and isinstance(name := message.get("name"), str):
            worker.name = _shown(name)
        if isinstance(waits := message.get("waits"), str):
            worker.waits = _shown(waits) if waits else ""
        if worker.public is None and isinstance(public := message.get("public"), str):
            worker.public = public
        if isinstance(ended := message.get("ended"), str):
            worker.ended = f"{self.where}: {_shown(ended) or 'it gave no reason'}" if ended else ""
            worker.died = message.get("died") is True
            worker.hopeless = message.get("hopeless") is True
            del self._workers[number]

    def _hear_errors(self) -> None:
        piece = _read(self._stderr)
        self._tail = (self._tail + piece)[-TAIL:]
        for line in piece.splitlines():
            log.info("%s: %s", self.where, _shown(line))

    def _end_of(self, code: int) -> tuple[str, bool]:
        """Return why the process has ended, and whether another would end likewise."""
        words = last_words(self._tail.decode(errors="replace"))
        if "No module named" in words and "zaudio" in words:
            return f"its Python has no zaudio {VERSION}; install it there, or name the Python that has it", True
        if "Unknown option: -P" in self._tail.decode(errors="replace"):
            return "its Python is older than 3.11; name another", True
        sentence, hopeless = self._explain(code, words)
        greeting = "" if self.facts else _shown(self._greeting)
        return sentence or words or greeting or cause_of_death(code), hopeless

    def _fail(self, sentence: str, *, hopeless: bool = False) -> None:
        """End all workers for that reason, and the process."""
        self.failure, self.hopeless = sentence, hopeless
        for worker in self._workers.values():
            worker.hopeless = hopeless
            worker.ended = f"{self.where}: {sentence}"
        self._workers.clear()
        self.close()


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _read(pipe: IO[bytes]) -> bytes:
    """Return what a pipe holds; nothing when it is empty or at its end."""
    try:
        return os.read(pipe.fileno(), PIPE)
    except BlockingIOError:
        return b""


def _shown(text: bytes | str) -> str:
    """Return text of others as a part of one line. A string of JSON may hold what no encoding takes."""
    return last_words(text if isinstance(text, str) else text.decode(errors="replace"))
