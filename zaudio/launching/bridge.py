"""Bridge: a far end that is a cluster: `python -m zaudio.launching.bridge dask|ray ADDRESS [KEY=VALUE ...]`.

A launcher talks to it as to `remote.py`; the workers that it starts run in berths on the cluster. A process of its own
keeps the cluster's library, its threads and its signal handlers out of the coordinator.

Rules:

- Standard input is the lifeline: at its end all berths are closed.
- The first line says which machines the cluster has. A cluster that cannot be used is one sentence on standard error.
- Names, orders and public keys pass here, and nothing that lets anyone in.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import signal
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from zaudio.errors import ZaudioError
from zaudio.launching.berth import Message
from zaudio.net.orders import Lines
from zaudio.program import begin
from zaudio.version import VERSION

LOOK = 0.05  # s between two looks at the cluster
CANNOT = 69  # exit code: the cluster cannot be used


class Cluster(Protocol):
    """The cluster, as the bridge needs it."""

    def nodes(self) -> list[str]:
        """Return the addresses of its machines."""

    def start(self, number: int, said: Mapping[str, Any]) -> None:
        """Start a berth for the worker of that number, with these orders."""

    def go(self, number: int) -> None:
        """Let that worker connect."""

    def look(self) -> list[tuple[int, Message]]:
        """Return what workers said since the last look."""

    def explain(self, error: Exception) -> str:
        """Return what an error of the library's means for its user."""

    def close(self) -> None:
        """End all workers, within 4 s."""


def main() -> None:
    """Be the bridge, from its first line to its end."""
    begin()
    kind, address, *pairs = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the lifeline says when to end
    speech = os.dup(1)
    os.dup2(2, 1)  # libraries print
    warnings.simplefilter("ignore")  # they are theirs, and no user of ours can do anything about them
    options = dict(pair.split("=", 1) for pair in pairs)
    try:
        cluster = _connect(kind, address, options)
    except ZaudioError as error:
        _end(f"{error}", CANNOT)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ray has set its own
    first = {"zaudio": VERSION, "python": platform.python_version(), "nodes": cluster.nodes()}
    _say(speech, first)
    try:
        _relay(cluster, speech)
    except Exception as error:  # noqa: BLE001  a library raises many kinds when its cluster is lost
        with contextlib.suppress(Exception):
            cluster.close()
        _end(f"the cluster is lost: {cluster.explain(error)}", 1)
    cluster.close()
    _end("", 0)


def _connect(kind: str, address: str, options: Mapping[str, str]) -> Cluster:
    if kind == "dask":
        from zaudio.launching.daskcluster import DaskCluster

        return DaskCluster(address, options)
    from zaudio.launching.raycluster import RayCluster

    return RayCluster(address, options)


def _relay(cluster: Cluster, speech: int) -> None:
    """Pass lines on, both ways, until standard input ends."""
    lines = Lines()
    while True:
        if select.select([0], [], [], LOOK)[0]:
            piece = os.read(0, 65536)
            if not piece:
                return
            for line in lines.feed(piece):
                message = json.loads(line)
                if "orders" in message:
                    cluster.start(message["worker"], message["orders"])
                elif "go" in message:
                    cluster.go(message["worker"])
        for number, said in cluster.look():
            _say(speech, {"worker": number, **said})


def _say(speech: int, message: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):  # the near end is gone; the lifeline says so too
        os.write(speech, json.dumps(message).encode() + b"\n")


def _end(sentence: str, code: int) -> None:
    """End this process at once: a library's threads and exit handlers must not keep it."""
    if sentence:
        sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
