"""Every ZeroMQ socket of zaudio: its options and their reasons, binding, and sending without ever blocking.

Rules: a socket is used by the thread that opened it. No routing ids are set: a fixed one and a healed partition lead
messages into a dead connection. What cannot be sent at once is not sent, and the caller is told.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Sequence

import zmq

from zaudio.errors import EndpointError
from zaudio.wire.codec import HEADER_MAX, HELD_MAX, Buffer

VENTILATOR_PART_MAX = 8192  # bytes; workers say only small things there, and unknown peers meet it first
CURVE_SLACK = 33  # bytes that CURVE adds to a part
ZERO_COPY_FROM = 65536  # bytes; below it, handing a buffer over costs more than copying it
HIGH_WATER = 4 * HELD_MAX  # messages; a backstop only: credit bounds what is in flight
DESCRIPTORS = 65536  # enough for 30,000 workers


def router(context: zmq.Context[zmq.Socket[bytes]], *, part_max: int) -> zmq.Socket[bytes]:
    """A ROUTER for one of the coordinator's two sockets.

    Args:
        context: The coordinator's.
        part_max: Bytes of the longest part that a peer may send here.
    """
    socket = context.socket(zmq.ROUTER)
    _set_common(socket)
    # Without it, a ROUTER drops in silence what it cannot send.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    # Without it, a peer that never proved anything may make us allocate what its part header claims.
    socket.setsockopt(zmq.MAXMSGSIZE, part_max + CURVE_SLACK)
    # A worker that leaves must hear of it; one that does not read must not hold us up.
    socket.setsockopt(zmq.LINGER, 0)
    return socket


def dealer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    """A worker's DEALER, connected.

    Raises:
        EndpointError: The endpoint is malformed.
    """
    socket = context.socket(zmq.DEALER)
    _set_common(socket)
    socket.setsockopt(zmq.LINGER, 0)  # raised when leaving in order
    # A coordinator that starts after its workers is found within this, by each of them.
    socket.setsockopt(zmq.RECONNECT_IVL, 50)  # ms
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)  # ms
    socket.setsockopt(zmq.IPV6, _is_ipv6(endpoint))
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise EndpointError(endpoint, f"cannot connect: {error.strerror}") from None
    return socket


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind, and say where: the endpoint with its real port.

    Raises:
        EndpointError: It is malformed or in use.
    """
    socket.setsockopt(zmq.IPV6, _is_ipv6(endpoint))
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "the address is in use; another coordinator may be running there"
        else:
            reason = f"cannot bind: {error.strerror}"
        raise EndpointError(endpoint, reason) from None
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT))


def send(socket: zmq.Socket[bytes], parts: Sequence[Buffer]) -> bool:
    """Send now or not at all. False when the peer is gone or takes nothing more."""
    try:
        socket.send_multipart(parts, zmq.DONTWAIT, copy=_nbytes(parts[-1]) < ZERO_COPY_FROM)
    except zmq.ZMQError as error:
        if error.errno in (errno.EAGAIN, errno.EHOSTUNREACH):
            return False
        raise
    return True


def receive(socket: zmq.Socket[bytes], *, copy: bool) -> list[Buffer] | None:
    """The parts of the next message, or None when there is none.

    Args:
        socket: Where from.
        copy: False where parts are large: they are then views of memory that ZeroMQ received into.
    """
    # Asked first: the exception for "nothing there" costs ten times the question, and each drain ends with it.
    if not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        return None
    if copy:
        return list(socket.recv_multipart(zmq.DONTWAIT))
    return [frame.buffer for frame in socket.recv_multipart(zmq.DONTWAIT, copy=False)]


def raise_descriptor_limit() -> None:
    """Let this process open as many descriptors as it may: each worker takes two, and 1,024 is a usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def sink_part_max(payload_max: int) -> int:
    """Bytes of the longest part that a worker may send to the sink."""
    return max(payload_max, 0) + HEADER_MAX


def _set_common(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)  # ms; the default lets a silent connection sit for 30 s
    # These see a dead host or a half-open link, not a stuck worker. A timeout shorter than one part takes on the
    # slowest link would kill the transfer for good, so 30 s.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)  # ms
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)  # ms
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)  # s


def _is_ipv6(endpoint: str) -> int:
    # Only where it is written so: a socket for both would name its IPv4 address in IPv6's way.
    return int("[" in endpoint)


def _nbytes(part: Buffer) -> int:
    return part.nbytes if isinstance(part, memoryview) else len(part)
