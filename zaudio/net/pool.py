"""Pool: the coordinator's side of its local workers. `zaudio.net.supervisor` is the other side.

Rules: nothing here waits for the starter but `close`. A starter that dies is replaced, with workers of its own.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from zaudio.net.keys import ClientKeys
from zaudio.net.outbox import Outboxes
from zaudio.net.starter import Starter

WORDS_MAX = 200  # characters of a worker's last words; an error's own line is shorter
STARTERS = 3  # that may die in a row; nothing but a signal from outside kills one

log = logging.getLogger("zaudio.coordinator")


# What the starter reports


@dataclass(frozen=True, slots=True)
class Died:
    """A local worker died; another takes its place. `cause` has all that is known, on one line."""

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
    """`count` local workers.

    Args:
        starter: The process that starts them; the pool's from now on.
        endpoint: Where they connect.
        count: How many.
        folder: What the starter removes if the coordinator is killed, and cannot do it: where their sockets lie.
        allow: What they may import.
        outboxes: Where they leave results and so read the recording themselves; None for sockets both ways.
        keys: By which they are admitted, if the coordinator has keys. They go through the starter's pipe, never as an
            argument or in the environment, which others can read.
    """

    def __init__(
        self,
        starter: Starter,
        endpoint: str,
        count: int,
        *,
        folder: str,
        allow: Sequence[str],
        outboxes: Outboxes | None,
        keys: ClientKeys | None = None,
    ) -> None:
        self.ended = False
        self._job: dict[str, object] = {"endpoint": endpoint, "count": count, "folder": folder, "allow": list(allow)}
        if outboxes is not None:
            self._job["outbox"] = {
                "slots": outboxes.slots,
                "slot_bytes": outboxes.slot_bytes,
                "tokens": [token.hex() for token in outboxes.tokens],
            }
        if keys is not None:
            self._job["keys"] = [key.decode() for key in (keys.public, keys.secret, keys.server)]
        self._memory = starter.memory
        self._starter = starter
        self._starters = [starter]
        self._rest = b""
        starter.begin(self._job)

    @property
    def fd(self) -> int:
        """What becomes readable when there are events; another one after a starter died."""
        return self._starter.fd

    def events(self) -> list[PoolEvent]:
        """What happened since the last call; never waits."""
        if self.ended:
            return []
        said = self._starter.read()
        if said is None:
            return []
        if said == b"":
            return self._starter_ended()
        lines = (self._rest + said).split(b"\n")
        self._rest = lines.pop()
        return [_event(json.loads(line)) for line in lines]

    def kill(self, session: bytes, reason: str) -> None:
        """Kill that worker, if it is one of ours; it is replaced."""
        self._starter.tell({"kill": session.hex(), "reason": reason})

    def close(self) -> None:
        """End all of them, within about a second. Idempotent."""
        self.ended = True
        for starter in reversed(self._starters):  # the first one owns the memory
            starter.close()

    def _starter_ended(self) -> list[PoolEvent]:
        code = self._starter.wait()
        cause = cause_of_death(code)
        if code == 0:
            self.ended = True
            return []
        if len(self._starters) >= STARTERS:
            self.ended = True
            return [GaveUp(f"the process that starts them: {cause}", "")]
        log.warning("the process that starts local workers: %s; starting another", cause)
        self._starter.cut()  # its workers leave, and are missed by heartbeat
        self._rest = b""
        self._starter = Starter(memory=self._memory)
        self._starters.append(self._starter)
        self._starter.begin(self._job)
        return []


def _event(fields: dict[str, str]) -> PoolEvent:
    match fields.pop("event"):
        case "Died":
            return Died(bytes.fromhex(fields["session"]), fields["name"], fields["cause"], fields["stderr"])
        case "GaveUp":
            return GaveUp(**fields)
        case _:
            return Unable(**fields)


def last_words(stderr: str) -> str:
    """The last line that says something, without control characters, shortened to what fits into a sentence."""
    lines = [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in stderr.splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 3] + "..."


def obituary(cause: str, mib: float, stderr: str) -> str:
    """All that is known of a death, on one line.

    Args:
        cause: Its signal or exit code in words, or why it was killed.
        mib: The most memory that it ever had, in MiB.
        stderr: The tail of what it wrote to standard error.
    """
    words = last_words(stderr)
    return f"{cause}, with at most {mib:.0f} MiB of memory" + (f'; it last wrote "{words}"' if words else "")


def cause_of_death(code: int) -> str:
    """What an exit code, or a signal as a negative number, says in words."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it died of signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"it died of signal {-code}"
