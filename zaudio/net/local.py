"""LocalWorkers: the workers on this machine, as one thing: starter, pool, outboxes, and the folder of their sockets.

Rules:

- Local workers connect by `ipc` sockets in a folder that only this user can enter.
- They read the recording themselves and leave results in outboxes, where shared memory allows it. Without outboxes they
  get chunks and send results over their sockets, as all other workers do.
- `close` ends all of them. What was opened before a failure is closed by the failure.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from zaudio.net.keys import ClientKeys
from zaudio.net.orders import StarterReport
from zaudio.net.outbox import Outboxes
from zaudio.net.pool import Pool
from zaudio.net.starter import Starter

FOLDER_MAX = 60  # characters; the address of a Unix socket has 107 bytes, and mkdtemp and our own names need some

log = logging.getLogger("zaudio.coordinator")


class LocalWorkers:
    """`count` workers on this machine.

    Args:
        count: Their number, 1 or more.
        starter: The process that starts them; closed with them. None to launch one.
        allow: Modules that they may import.
        credit: Bundles that each of them holds at most.
        slot_bytes: Bytes of the longest result; None to use sockets in place of outboxes.
        memory: Bytes that all outboxes together may have. If they would need more, workers use sockets.
        keys: The keys by which they are admitted, if the coordinator has keys.
        preload: Modules that the starter imports before it forks.

    Attributes:
        ventilator: The endpoint where they fetch chunks.
        sink: The endpoint where they say that they are ready, and send results.
    """

    def __init__(
        self,
        count: int,
        *,
        starter: Starter | None = None,
        allow: Sequence[str] = (),
        credit: int,
        slot_bytes: int | None,
        memory: int,
        keys: ClientKeys | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        with ExitStack() as stack:
            starter = starter if starter is not None else Starter()
            stack.callback(starter.close)
            self._outboxes = None
            if slot_bytes is not None and count * credit * slot_bytes <= memory:
                self._outboxes = _open_outboxes(starter, count, credit, slot_bytes)
            if self._outboxes is not None:
                stack.callback(self._outboxes.close)
            folder = tempfile.mkdtemp(prefix="zaudio-", dir=_short_folder())  # 0700, as mkdtemp makes them
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.ventilator, self.sink = f"ipc://{folder}/v", f"ipc://{folder}/s"
            self._pool = Pool(
                starter,
                self.ventilator,
                count,
                folder=folder,
                allow=allow,
                outboxes=self._outboxes,
                keys=keys,
                preload=preload,
            )
            stack.callback(self._pool.close)
            self._resources = stack.pop_all()

    @property
    def tokens(self) -> frozenset[bytes]:
        """The names of their outboxes; empty when they use sockets."""
        return frozenset(self._outboxes.tokens) if self._outboxes is not None else frozenset()

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there are reports; -1 at the end. A new starter has another one."""
        return self._pool.fd if not self._pool.ended else -1

    def events(self) -> list[StarterReport]:
        """Return the reports since the last call; never wait."""
        return self._pool.events()

    def kill(self, session: bytes, reason: str) -> None:
        """Kill that worker, if it is one of these; it is replaced."""
        self._pool.kill(session, reason)

    def has_room(self, length: int) -> bool:
        """Return whether a slot of an outbox can hold a result of that many bytes."""
        return self._outboxes is not None and length <= self._outboxes.slot_bytes

    def copy(self, token: bytes, slot: int, buffer: memoryview) -> bool:
        """Fill the buffer from a slot of that outbox; return False when there is no such slot."""
        return self._outboxes is not None and self._outboxes.copy(token, slot, buffer)

    def close(self) -> None:
        """End all of them, within about a second. Idempotent."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _open_outboxes(starter: Starter, count: int, credit: int, slot_bytes: int) -> Outboxes | None:
    try:
        return Outboxes(starter.memory, count, credit, slot_bytes)
    except OSError as error:
        log.info("local workers use sockets: no shared memory: %s", error)
        return None


def _short_folder() -> str | None:
    """Return the usual folder for temporary files, unless its name is too long for a socket's address."""
    usual = tempfile.gettempdir()
    return usual if len(usual) < FOLDER_MAX else "/tmp"  # noqa: S108  mkdtemp makes a folder of its own in it
