"""Launcher: the two interfaces between a job's fleet and whatever starts its workers, and the orders of a worker.

Rules: every launcher passes `tests/integration/test_launchers.py`. No secret is in orders, since a cluster shows and
stores what it is given: a worker makes its key pair where it runs, and its handle says the public half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Orders:
    """All that a worker is told. Every worker of a job is told the same, but for what its machine needs.

    Attributes:
        endpoint: Where it connects, ``tcp://HOST:PORT`` or ``ipc://PATH``.
        server: The coordinator's public key, 40 characters of Z85; None when the coordinator runs without keys.
        allow: The functions (``MODULE:FUNCTION``) that the job names as ops; the worker imports their modules.
        path: Folders in which it finds modules, besides where Python looks and its current folder.
        read: Folders below which it reads the recording itself.
        lifetime: Seconds after which it finishes its chunk and leaves; None for no end.
    """

    endpoint: str
    server: str | None = None
    allow: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    lifetime: float | None = None


class Handle(Protocol):
    """One worker that was asked for."""

    @property
    def name(self) -> str:
        """Where it runs, and its name in reports: ``attic/1``, ``slurm 4711_3``."""

    @property
    def public(self) -> str | None:
        """Its public key, Z85; empty when there are no keys, None as long as it is not known."""

    @property
    def ended(self) -> str | None:
        """None while it starts or runs; empty when it ended in order; else one sentence that says why it ended."""

    @property
    def died(self) -> bool:
        """Whether its own process died. If its place was taken away, no chunk is to blame for its end."""

    @property
    def waits(self) -> str:
        """Why a queue has not started it yet; empty where none says so."""

    @property
    def hopeless(self) -> bool:
        """Whether another worker in its place would end likewise: it was refused, or a module is missing there."""

    def admit(self) -> None:
        """Let it connect: its public key is admitted now. Called once, as soon as `public` is known."""


class Launcher(Protocol):
    """Starts workers at one place. One thread calls `start`, `alive` and `stop`."""

    where: str  # what sentences call the place: ``attic``, ``dask:tcp://10.0.0.1:8786``

    def check(self, endpoint: str) -> None:
        """Find out, before anything is started, whether workers could reach that endpoint.

        Its port may be 0: it is not bound yet.

        Raises:
            UsageError: It is of this machine alone and the workers would be elsewhere; or an option is missing.
            LaunchError: A program or a package is missing here; the sentence says what to install.
        """

    def start(self, count: int, orders: Orders) -> Sequence[Handle]:
        """Ask for so many more workers, and return soon. What fails is said by a handle's `ended`."""

    def alive(self) -> Sequence[Handle]:
        """Take in what happened, and return the handles that have not ended. Called five times a second or more."""

    def hurry(self) -> None:
        """Find out soon what became of the workers: the farm hears nothing of one. May be called at each turn."""

    def stop(self) -> None:
        """End all workers that this launcher started: in order within 2 s, by force within 5 s. Idempotent."""
