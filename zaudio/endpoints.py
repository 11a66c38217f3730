"""Endpoints: the addresses at which sockets are bound, and the names by which others reach them.

Rules: pure; this module opens no socket and asks no name server. An endpoint is `tcp://HOST:PORT` or `ipc://PATH`. An
address that a user wrote is checked here, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zaudio.errors import EndpointError, UsageError

LAST_PORT = 65535
LOCAL = "local-"  # begins the names of a coordinator's own workers, which no address reaches
IPC_PATH_MAX = 107  # bytes: the longest path that Linux takes for a Unix socket

_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\s]+|\*):(?P<port>[0-9]{1,5}|\*)")
_EVERY_ADDRESS = ("0.0.0.0", "[::]", "*")  # noqa: S104  compared, not bound


def parse_tcp(endpoint: str) -> tuple[str, int] | None:
    """Return host and port of a tcp endpoint (port 0 for `*`), or None for any other."""
    match = _TCP.fullmatch(endpoint)
    if match is None:
        return None
    port = 0 if match["port"] == "*" else int(match["port"])
    return (match["host"], port) if port <= LAST_PORT else None


def check_endpoint(endpoint: str) -> str:
    """Return the endpoint if zaudio can use it.

    Raises:
        EndpointError: It is not `tcp://HOST:PORT` or `ipc://PATH`.
    """
    if parse_tcp(endpoint) is not None:
        return endpoint
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        if len(endpoint.encode()) - len("ipc://") > IPC_PATH_MAX:
            raise EndpointError(endpoint, f"the path of an ipc socket has at most {IPC_PATH_MAX} bytes")
        return endpoint
    raise EndpointError(endpoint, "expected tcp://HOST:PORT or ipc://PATH, for example tcp://127.0.0.1:5555")


def is_loopback(endpoint: str) -> bool:
    """Return whether only this machine can reach the endpoint."""
    tcp = parse_tcp(endpoint)
    if tcp is None:
        return endpoint.startswith("ipc://")
    host = tcp[0].strip("[]")
    return host in ("localhost", "::1", "lo") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def parse_advertise(text: str | None) -> tuple[str, int, int] | None:
    """Return the host, the ventilator's port and the sink's port; 0 stands for the port that is bound.

    Raises:
        UsageError: The text is not `HOST[:PORT[,PORT]]`.
    """
    if text is None:
        return None
    host, _, ports = text.rpartition(":") if ":" in text else (text, "", "")
    numbers = ports.split(",") if ports else []
    if not host or len(numbers) > 2 or not all(n.isdecimal() and 0 < int(n) <= LAST_PORT for n in numbers):
        raise UsageError(f"advertise: expected HOST[:PORT[,PORT]], got {text!r}")
    ventilator = int(numbers[0]) if numbers else 0
    return host, ventilator, int(numbers[1]) if len(numbers) > 1 else _port_after(ventilator)


def sink_beside(bind: str) -> str:
    """Return the sink's default endpoint: one port above the ventilator's, any port if that is any or the last."""
    tcp = parse_tcp(bind)
    if tcp is None:
        return f"{bind}.sink"
    host, port = tcp
    return f"tcp://{host}:{_port_after(port)}"


def from_elsewhere(endpoint: str, *, host: str) -> str:
    """Return the endpoint as other machines write it: with `host`, this machine's name, for "every address"."""
    tcp = parse_tcp(endpoint)
    if tcp is None or tcp[0] not in _EVERY_ADDRESS:
        return endpoint
    return f"tcp://{host}:{tcp[1]}"


def sink_names(bound: Sequence[str], advertised: str | None) -> tuple[str, ...]:
    """Return the sinks as a welcome names them.

    An empty host stands for the one by which the worker reached the ventilator: the coordinator cannot know it.
    """
    if advertised is not None:
        return (*(endpoint for endpoint in bound if endpoint.startswith("ipc://")), advertised)
    names = []
    for endpoint in bound:
        tcp = parse_tcp(endpoint)
        names.append(endpoint if tcp is None else f"tcp://:{tcp[1]}")
    return tuple(names)


def reachable(sinks: Sequence[str], endpoint: str) -> str | None:
    """Return the first sink that a worker can reach, given the `endpoint` at which it reached the ventilator.

    A sink with an empty host is on the host by which the ventilator was reached. An ``ipc`` sink is for workers that
    came by ``ipc``.
    """
    tcp = parse_tcp(endpoint)
    for sink in sinks:  # those for ipc come first
        if sink.startswith("ipc://"):
            if tcp is None:
                return sink
        elif sink.startswith("tcp://:"):
            if tcp is not None:
                return f"tcp://{tcp[0]}{sink.removeprefix('tcp://')}"
        elif parse_tcp(sink) is not None:
            return sink
    return None


def _port_after(port: int) -> int:
    return port + 1 if 0 < port < LAST_PORT else 0
