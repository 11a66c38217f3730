"""Cluster: the launcher for Dask and Ray. It talks to a bridge, which talks to the cluster.

Rules:

- The control plane of a cluster can admit workers. So beyond this machine it must encrypt, or the user says that its
  network is trusted. See docs/security.md.
- The package of the cluster is imported in the bridge alone.
- Only `check` waits until a bridge has connected. Another one, for a cluster that was lost, is looked at as it comes.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from zaudio.endpoints import is_loopback
from zaudio.errors import LaunchError, UsageError
from zaudio.launching.launcher import Orders
from zaudio.launching.places import Place
from zaudio.launching.talk import Far, Worker

ARGUMENTS = ("-P", "-m", "zaudio.launching.bridge")  # of Python: a script named ray.py is no package of Ray's
PACKAGES = {"dask": "distributed", "ray": "ray"}
CONNECT = 40.0  # s for the bridge to import its library and connect
STOP = 5.0  # s for the bridge to end all workers
LOOK = 0.05  # s between two looks at a bridge that connects
FRAME = re.compile(r"\[0x[0-9a-f]+\]$")  # ends a line of a stack
DISCARD = 9  # a port; any would do


class ClusterLauncher:
    """Workers on a Dask or Ray cluster.

    Args:
        place: The place: the kind of cluster, its address, and what each worker takes there.
        trust: Whether the cluster's network is trusted without encryption.

    Raises:
        UsageError: The address or an option cannot be used.
    """

    def __init__(self, place: Place, *, trust: bool) -> None:
        self.where = place.text
        self._place = place
        self._trust = trust
        self._far: Far | None = None
        self._begun = 0.0  # when it was begun
        self._started = 0
        _check_options(place)

    def check(self, endpoint: str) -> None:
        """See `Launcher`."""
        kind, address = self._place.kind, self._place.rest
        if importlib.util.find_spec(PACKAGES[kind]) is None:
            raise LaunchError(self.where, f"it needs the package {PACKAGES[kind]}; pip install 'zaudio[{kind}]'")
        host = _host(address)
        if host is not None and not is_here(host):
            self._check_known(host)
            self._check_trust(host)
        far = self._connect()
        elsewhere = [node for node in _texts(far.facts.get("nodes")) if not is_here(node)]
        if not elsewhere:
            return
        self._check_trust(elsewhere[0])
        if is_loopback(endpoint):
            raise UsageError(
                f"{self.where}: {elsewhere[0]} is another machine, and cannot reach {endpoint}; "
                "give an address of this machine with --bind tcp://ADDRESS:PORT (bind=), and --keys DIR"
            )

    def start(self, count: int, orders: Orders) -> Sequence[Worker]:
        """See `Launcher`."""
        far = self._reach()
        path, read = (tuple(filter(None, [self._place.options.get(key)])) for key in ("path", "read"))
        orders = replace(orders, path=(*orders.path, *path), read=(*orders.read, *read))
        first, self._started = self._started + 1, self._started + count
        return [far.start(f"{self._place.kind}-{number}", orders) for number in range(first, first + count)]

    def alive(self) -> Sequence[Worker]:
        """See `Launcher`."""
        far = self._far
        if far is None:
            return []
        far.look()
        if not far.facts and not far.over and time.monotonic() >= self._begun + CONNECT:
            far.give_up(f"the cluster did not answer within {CONNECT:g} s")
        return far.workers

    def hurry(self) -> None:
        """See `Launcher`. The far end says at once what it knows."""

    def stop(self) -> None:
        """See `Launcher`."""
        if self._far is not None:
            over = self._far.over
            self._far.close()
            self._far.wait(time.monotonic() + (0.0 if over else STOP))
            self._far = None

    def _reach(self) -> Far:
        """Return the bridge, and begin another when the last one is over. Never wait for the cluster."""
        if self._far is not None and not self._far.over:
            return self._far
        self.stop()
        options = [f"{key}={value}" for key, value in self._place.options.items() if key not in ("path", "read")]
        command = [sys.executable, *ARGUMENTS, self._place.kind, self._place.rest, *options]
        self._begun = time.monotonic()
        self._far = Far(command, self.where, explain=self._explain, renames=True)
        return self._far

    def _connect(self) -> Far:
        """Return the bridge, connected to the cluster."""
        far = self._reach()
        while not far.facts and not far.over:
            time.sleep(LOOK)
            self.alive()
        if far.over:
            self.stop()
            raise LaunchError(self.where, far.failure)
        return far

    def _explain(self, _: int, words: str) -> tuple[str, bool]:
        if FRAME.search(words):  # Ray ends the process so when it has missed the head of its cluster for a minute
            return "the cluster is lost: its library ended the bridge to it", False
        return words.removeprefix(f"{self._place.kind}:{self._place.rest}: "), False

    def _check_known(self, host: str) -> None:
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            raise UsageError(f"{self.where}: {host}: {error.strerror or error}") from None

    def _check_trust(self, host: str) -> None:
        if self._trust:
            return
        name, encrypted, remedy = {
            "dask": ("Dask", self._place.rest.startswith("tls://"), "a scheduler with tls://"),
            "ray": ("Ray", os.environ.get("RAY_USE_TLS") == "1", "RAY_USE_TLS=1"),
        }[self._place.kind]
        if not encrypted:
            raise UsageError(
                f"{self.where}: {host} is another machine, and everyone who reaches this {name} can run code on it and "
                f"admit workers; use {remedy}, or --trust-cluster (trust_cluster=True) if its network is trusted"
            )


def is_here(host: str) -> bool:
    """Return whether that host is this machine: packets to its addresses would come from these addresses.

    Binding to them would prove nothing: Linux can be set to allow that for any address.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, protocol, _, (address, _, *scope) in found:
        try:
            with socket.socket(family, kind, protocol) as trial:  # nothing is sent
                trial.connect((address, DISCARD, *scope))
                if trial.getsockname()[0] != address and not is_loopback(f"tcp://{address}:1"):
                    return False
        except OSError:
            return False
    return bool(found)


def _check_options(place: Place) -> None:
    if place.rest.startswith("-") or not re.fullmatch(r"[\w.:/\[\]%-]+", place.rest):
        raise UsageError(f"--workers-on {place.text!r:.80}: {place.rest!r:.60} is no address of a cluster")
    for key in ("cpus", "gpus"):
        value = place.options.get(key)
        if value is not None and not re.fullmatch(r"\d{1,4}(\.\d{1,4})?", value):
            raise UsageError(f"--workers-on {place.text}: {key}= is a number, such as 1 or 0.5, not {value!r:.40}")


def _host(address: str) -> str | None:
    """Return the host of a cluster's address; None for `auto`."""
    if address == "auto":
        return None
    return urlsplit(address if "://" in address else f"//{address}").hostname


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
