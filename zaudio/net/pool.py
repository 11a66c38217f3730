"""Pool: the coordinator's side of its local workers. `zaudio.net.starting` is the other side.

Rules: nothing here waits for the starter but `close`. A starter that dies is replaced, with workers of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zaudio.errors import ProtocolError
from zaudio.net import orders
from zaudio.net.keys import ClientKeys
from zaudio.net.obituary import cause_of_death
from zaudio.net.orders import GaveUp, Over, StarterReport
from zaudio.net.outbox import Outboxes
from zaudio.net.starter import Starter

STARTERS = 3  # that may die in a row; nothing but a signal from outside kills one

log = logging.getLogger("zaudio.coordinator")


class Pool:
    """`count` local workers.

    Args:
        starter: The process that starts them; the pool's from now on.
        endpoint: The address that they connect to.
        count: Their number.
        folder: The folder of their sockets. The starter removes it if the coordinator is killed and cannot.
        allow: Modules that they may import.
        outboxes: The memory for their results; with it, they read the recording themselves. None for sockets both ways.
        keys: The keys by which they are admitted, if the coordinator has keys. They go through the starter's pipe,
            never as an argument or in the environment, which others can read.
        preload: Modules that the starter imports before it forks.

    Attributes:
        ended: Whether all workers have left, or were given up.
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
        preload: Sequence[str] = (),
    ) -> None:
        self.ended = False
        self._endpoint = endpoint
        self._count = count
        self._folder = folder
        self._allow = tuple(allow)
        self._shelf = outboxes.shelf if outboxes is not None else None
        self._keys = keys
        self._preload = tuple(preload)
        self._memory = starter.memory
        self._over = False  # the starter said that it ends
        self._starters: list[Starter] = []
        self._begin(starter)

    def _begin(self, starter: Starter) -> None:
        self._starters.append(starter)
        self._starter = starter
        self._lines = orders.Lines()
        keys = self._keys
        start = orders.Start(
            self._endpoint,
            self._count,
            self._folder,
            self._allow,
            starter.lifeline,
            starter.memory,
            self._shelf,
            (keys.public, keys.secret, keys.server) if keys is not None else None,
            self._preload,
        )
        starter.tell(orders.encode(start))

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there are reports; another one after a starter died."""
        return self._starter.fd

    def events(self) -> list[StarterReport]:
        """Return the reports since the last call; never wait."""
        if self.ended:
            return []
        said = self._starter.read()
        if said is None:
            return []
        if said == b"":
            return self._starter_ended()
        reports: list[StarterReport] = []
        for line in self._lines.feed(said):
            try:
                report = orders.decode(line, orders.REPORTS)
                if isinstance(report, Over):
                    self._over = True
                else:
                    reports.append(report)
            except ProtocolError as error:
                log.warning("the process that starts local workers: %s", error)
        return reports

    def kill(self, session: bytes, reason: str) -> None:
        """Kill that worker, if it is one of ours; it is replaced."""
        self._starter.tell(orders.encode(orders.Kill(session, reason)))

    def close(self) -> None:
        """End all workers, within about a second. Idempotent."""
        self.ended = True
        for starter in reversed(self._starters):  # the first one owns the memory
            starter.close()

    def _starter_ended(self) -> list[StarterReport]:
        code = self._starter.wait()
        if self._over:
            self.ended = True
            return []
        # A process of the user's that ignores SIGCHLD is not told how its children end.
        cause = cause_of_death(code) if code else "it ended"
        if len(self._starters) >= STARTERS:
            self.ended = True
            return [GaveUp(f"the process that starts them: {cause}", "")]
        log.warning("the process that starts local workers: %s; starting another", cause)
        self._starter.cut()  # its workers leave, and are missed by heartbeat
        self._begin(Starter(memory=self._memory))
        return []
