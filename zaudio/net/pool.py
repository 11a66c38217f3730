"""Pool: the coordinator's side of its local workers. `zaudio.net.supervisor` is the other side.

Rules: the workers' parent is a starter process of our own, never the coordinator and never `multiprocessing`, which
would import the user's script again. The coordinator holds the only write end of a pipe, the lifeline: when it ends,
however it ends, the pipe closes, and starter and workers end within a second. Nothing here waits for the starter but
`close`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from zaudio.net.outbox import Outboxes

CLOSE_PATIENCE = 2.0  # s for the starter to end its workers, who get 1 s, before it is killed itself
STARTERS = 3  # that may die in a row; nothing but a signal from outside kills one

log = logging.getLogger("zaudio.coordinator")

_STARTER = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from zaudio.net.supervisor import main; main()"


# What the starter reports


@dataclass(frozen=True, slots=True)
class Died:
    """A local worker died; another takes its place."""

    session: bytes
    name: str
    cause: str
    stderr: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Local workers die before they are ready, again and again."""

    cause: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Unable:
    """Local workers cannot do this job."""

    reason: str


PoolEvent = Died | GaveUp | Unable


class Pool:
    """A starter process with `count` workers.

    Args:
        endpoint: Where they connect.
        count: How many.
        folder: What the starter removes if the coordinator is killed, and cannot do it: where their sockets lie.
        allow: What they may import.
        outboxes: Where they leave results and so read the recording themselves; None for sockets both ways.
    """

    def __init__(
        self, endpoint: str, count: int, *, folder: str, allow: Sequence[str], outboxes: Outboxes | None
    ) -> None:
        self.ended = False
        self._job: dict[str, object] = {"endpoint": endpoint, "count": count, "folder": folder, "allow": list(allow)}
        self._inherited: list[int] = []
        if outboxes is not None:
            self._inherited.append(outboxes.fd)
            self._job["outbox"] = {
                "fd": outboxes.fd,
                "slots": outboxes.slots,
                "slot_bytes": outboxes.slot_bytes,
                "tokens": [token.hex() for token in outboxes.tokens],
            }
        self._starters = 0
        self._rest = b""
        self._process, self._lifeline = self._launch()

    @property
    def fd(self) -> int:
        """What becomes readable when there are events; another one after a starter died."""
        return _pipe(self._process.stdout).fileno()

    def events(self) -> list[PoolEvent]:
        """What happened since the last call; never waits."""
        if self.ended:
            return []
        chunk = _pipe(self._process.stdout).read()
        if chunk is None:
            return []
        if chunk == b"":
            return self._starter_ended()
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        return [_event(json.loads(line)) for line in lines]

    def kill(self, session: bytes, reason: str) -> None:
        """Kill that worker, if it is one of ours; it is replaced."""
        _tell(self._process, {"kill": session.hex(), "reason": reason})

    def close(self) -> None:
        """End all of them, within about a second. Idempotent."""
        self.ended = True
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout=CLOSE_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()

    def _launch(self) -> tuple[subprocess.Popen[bytes], int]:
        """A starter that was told what to do, and the write end of its lifeline."""
        theirs, ours = os.pipe()
        self._starters += 1
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _STARTER, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[theirs, *self._inherited],
                env=_environment(),
                process_group=0,  # Ctrl-C in a terminal is the coordinator's to handle
            )
        finally:
            os.close(theirs)
        os.set_blocking(_pipe(process.stdout).fileno(), False)
        _tell(process, self._job | {"lifeline": theirs})
        return process, ours

    def _starter_ended(self) -> list[PoolEvent]:
        code = self._process.wait()
        cause = cause_of_death(code)
        self.close()
        if code == 0:
            return []
        if self._starters >= STARTERS:
            return [GaveUp(f"the process that starts them: {cause}", "")]
        # Its workers have seen the lifeline break; they are missed by heartbeat.
        log.warning("the process that starts local workers: %s; starting another", cause)
        self.ended = False
        self._rest = b""
        self._process, self._lifeline = self._launch()
        return []


def _tell(process: subprocess.Popen[bytes], command: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):  # it is gone; `events` says so
        _pipe(process.stdin).write(json.dumps(command).encode() + b"\n")
        _pipe(process.stdin).flush()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "the starter was given pipes"
    return stream


def _environment() -> dict[str, str]:
    # One worker a core: threads of its own inside a numpy call would only fight over the cores.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Let glibc keep what is freed: a fresh array for each chunk would fault in each of its pages anew.
    memory = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
    return threads | memory | dict(os.environ)


def _event(fields: dict[str, str]) -> PoolEvent:
    match fields.pop("event"):
        case "Died":
            return Died(bytes.fromhex(fields["session"]), fields["name"], fields["cause"], fields["stderr"])
        case "GaveUp":
            return GaveUp(**fields)
        case _:
            return Unable(**fields)


def cause_of_death(code: int) -> str:
    """What an exit code, or a signal as a negative number, says in words."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it died of signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"it died of signal {-code}"
