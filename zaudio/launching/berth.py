"""Berth: a worker's place on a cluster: the body that Dask and Ray run, and the process of the worker beside it.

The worker is a process of its own, so nothing that the cluster's own process holds is in its way. It goes with that
process, whose pipe is its lifeline. Every zaudio that a cluster imports is this module and what it needs.

Rules: one thread looks, and it alone talks with the worker until it is closed. Ray calls `go` and `close` in another.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from zaudio.errors import ZaudioError
from zaudio.launching.launcher import Orders
from zaudio.launching.remote import orders_of
from zaudio.launching.talk import ARGUMENTS, Far
from zaudio.version import VERSION

LOOK = 0.1  # s between two looks at the worker
PATIENCE = 60.0  # s for its key to be admitted; the coordinator does it at once, if it is there
STOP = 4.0  # s for the worker to go

Message = dict[str, object]  # as `remote.py` has them, without the worker's number


def news_of(told: dict[int, str], waits: Mapping[int, str]) -> list[tuple[int, Message]]:
    """Return messages about workers that wait for another reason than was told, or for none now; keep what is told.

    Args:
        told: Worker's number, and why it waits, as it was told.
        waits: The same, as it is now.
    """
    news: list[tuple[int, Message]] = [
        (number, {"waits": waits.get(number, "")})
        for number in {**told, **waits}
        if told.get(number, "") != waits.get(number, "")
    ]
    told.clear()
    told.update(waits)
    return news


class Berth:
    """One worker's place.

    Args:
        version: The coordinator's zaudio.
        said: The worker's orders and its name, as a launcher sent them.
    """

    def __init__(self, version: str, said: Mapping[str, Any]) -> None:
        self._told_public = self._told_end = False
        self._admitted = False  # and the worker has not been told
        self._deadline = float("inf")  # of its admission
        self._far: Far | None = None
        self._failure = ""
        self._talking = threading.Lock()  # held by the one that looks or closes
        host = socket.gethostname()
        self.name = f"{host}/{said['name']}"
        if version != VERSION:
            self._failure = f"{host}: zaudio {VERSION} is installed there, and {version} here; install one version"
            return
        orders: Orders = orders_of({key: value for key, value in said.items() if key != "name"})
        try:
            self._far = Far([sys.executable, *ARGUMENTS], host)
        except ZaudioError as error:
            self._failure = str(error)
            return
        self._worker = self._far.start(self.name, orders)

    def look(self) -> Message | None:
        """Return what the worker said since the last look; None for nothing. Waits for nothing but `close`."""
        with self._talking:
            return self._look()

    def _look(self) -> Message | None:
        if self._told_end:
            return None
        if self._far is None:
            self._told_end = True
            return {"ended": self._failure, "hopeless": True}
        worker = self._worker
        if self._admitted:
            self._admitted, self._deadline = False, float("inf")
            worker.admit()
        self._far.look()
        if worker.ended is not None:
            self._told_end = True
            return {"ended": worker.ended, "died": worker.died, "hopeless": worker.hopeless}
        if worker.public is not None and not self._told_public:
            self._told_public = True
            self._deadline = time.monotonic() + PATIENCE
            return {"public": worker.public, "name": self.name}
        if time.monotonic() > self._deadline:
            self._told_end = True
            return {"ended": f"{self.name}: nobody admitted its key within {PATIENCE:g} s", "hopeless": False}
        return None

    def go(self) -> None:
        """Let the worker connect, at the next look: its key is admitted. From any thread."""
        self._admitted = True

    def close(self, deadline: float) -> None:
        """End the worker, by that time of the monotonic clock. From any thread."""
        with self._talking:
            if self._far is not None:
                self._far.close()
                self._far.wait(deadline)
