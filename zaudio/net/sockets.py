"""The ZeroMQ sockets that peers reach: their options and the reasons, binding, and sending without ever blocking.

Rules:

- A socket is used by the thread that opened it.
- No routing ids are set: with a fixed one, a healed partition leads messages into a dead connection.
- A message that cannot be sent at once is not sent, and the caller is told.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Mapping, Sequence

import zmq

from zaudio.errors import EndpointError
from zaudio.net.keys import ClientKeys, ServerKeys
from zaudio.steps import Buffer
from zaudio.wire.fields import HEADER_MAX, HELD_MAX

VENTILATOR_PART_MAX = 8192  # bytes; workers send only small messages there, and unknown peers meet it first
CURVE_SLACK = 33  # bytes that CURVE adds to a part
ZERO_COPY_FROM = 65536  # bytes; below it, handing a buffer over costs more than copying it
HIGH_WATER = 4 * HELD_MAX  # messages; a backstop only: credit bounds what is in flight
MOST_PARTS = 4  # that are kept of a message: envelope, header, payload, and one that shows that there are too many
BACKLOG = 1024  # connections that the kernel keeps for us while we are busy
ZAP_DOMAIN = b"zaudio"  # named in each question to the authenticator; ours is the only one in its context
DESCRIPTORS = 65536  # enough for 30,000 workers


def options(kind: int, *, part_max: int = 0, keys: ServerKeys | ClientKeys | None = None) -> dict[int, int | bytes]:
    """Return every option of a socket but the address family, by its number. A routing id is never among them.

    Args:
        kind: `zmq.ROUTER` for the coordinator, `zmq.DEALER` for a worker.
        part_max: Bytes of the longest part that a peer may send to the coordinator.
        keys: CURVE keys for that side; without them, the mechanism is NULL and every peer may connect.
    """
    chosen: dict[int, int | bytes] = {
        zmq.SNDHWM: HIGH_WATER,
        zmq.RCVHWM: HIGH_WATER,
        # The default has no limit, and can keep a program from ending. Raised where goodbyes are to leave.
        zmq.LINGER: 0,
        # A silent connection keeps a descriptor that long; the default is 30 s.
        zmq.HANDSHAKE_IVL: 5000,  # ms
        # These notice a dead host or a half-open link, not a stuck worker. 30 s, because a timeout shorter than the
        # time of one part on the slowest link would kill each transfer of it.
        zmq.HEARTBEAT_IVL: 10_000,  # ms
        zmq.HEARTBEAT_TIMEOUT: 30_000,  # ms
        # For bytes that are stuck in the kernel, where no ping of ZeroMQ's gets through.
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 30,  # s
    }
    if kind == zmq.ROUTER:
        # Without it, a ROUTER silently drops a message that it cannot send.
        chosen[zmq.ROUTER_MANDATORY] = 1
        # Without it, an unknown peer could make us allocate as many bytes as its part header claims.
        chosen[zmq.MAXMSGSIZE] = part_max + CURVE_SLACK
        # One command may start workers on many machines, and all connect at once; the default is 100.
        chosen[zmq.BACKLOG] = BACKLOG
        # Without a domain, and without keys, it takes HTTP, TLS and the like for ZMTP 1 or 2, in which there is no
        # handshake that could be late, and keeps them for good. With one it closes them at once. Nothing is asked of an
        # authenticator as long as there is none.
        chosen[zmq.ZAP_DOMAIN] = ZAP_DOMAIN
    else:
        # Each worker finds a coordinator that starts after it within this time.
        chosen[zmq.RECONNECT_IVL] = 50  # ms
        chosen[zmq.RECONNECT_IVL_MAX] = 1000  # ms
    if isinstance(keys, ServerKeys):
        chosen[zmq.CURVE_SERVER] = 1
        chosen[zmq.CURVE_SECRETKEY] = keys.secret
        # A CURVE server without a domain admits every key. Without ZAP_ENFORCE_DOMAIN it does so as long as there is
        # no authenticator.
        chosen[zmq.ZAP_ENFORCE_DOMAIN] = 1
    elif keys is not None:
        chosen[zmq.CURVE_PUBLICKEY] = keys.public
        chosen[zmq.CURVE_SECRETKEY] = keys.secret
        # A coordinator without the secret of this key learns nothing from this worker.
        chosen[zmq.CURVE_SERVERKEY] = keys.server
    return chosen


def router(
    context: zmq.Context[zmq.Socket[bytes]], *, part_max: int, keys: ServerKeys | None = None
) -> zmq.Socket[bytes]:
    """Return a ROUTER for one of the coordinator's two sockets.

    Args:
        context: The coordinator's.
        part_max: Bytes of the longest part that a peer may send here.
        keys: The coordinator's key, if it has one. Then an `Authenticator` of the same context decides which peers may
            connect; without an authenticator, none may.
    """
    return _open(context, zmq.ROUTER, options(zmq.ROUTER, part_max=part_max, keys=keys))


def dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    endpoint: str,
    *,
    keys: ClientKeys | None = None,
    watch: Callable[[zmq.Socket[bytes]], None] = lambda _: None,
) -> zmq.Socket[bytes]:
    """Return a worker's DEALER, connected.

    Args:
        context: The worker's.
        endpoint: The address to connect to.
        keys: The worker's keys, if the coordinator has any.
        watch: Called before it connects, so that a monitor misses nothing.

    Raises:
        EndpointError: The endpoint is malformed.
    """
    socket = _open(context, zmq.DEALER, options(zmq.DEALER, keys=keys))
    socket.setsockopt(zmq.IPV6, _is_ipv6(endpoint))
    watch(socket)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise EndpointError(endpoint, f"cannot connect: {error.strerror}") from None
    return socket


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind; return the endpoint with its real port.

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
    """Send now or not at all; return False when the peer is gone or takes nothing more."""
    try:
        socket.send_multipart(parts, zmq.DONTWAIT, copy=_nbytes(parts[-1]) < ZERO_COPY_FROM)
    except zmq.ZMQError as error:
        if error.errno in (errno.EAGAIN, errno.EHOSTUNREACH):
            return False
        raise
    return True


def receive(socket: zmq.Socket[bytes], *, copy: bool) -> list[Buffer] | None:
    """Return the parts of the next message; None when no message waits.

    Args:
        socket: The socket.
        copy: False where parts are large: they are then views of memory that ZeroMQ received into.
    """
    # Ask first: the exception for "nothing there" costs ten times as much, and each drain ends with it.
    if not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        return None
    return _take(socket, copy=copy)


def receive_from(socket: zmq.Socket[bytes], *, copy: bool) -> tuple[list[Buffer], str] | None:
    """Return the next message as `receive` does, with the key that its sender proved to have; for sockets with keys."""
    if not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        return None
    envelope = socket.recv(zmq.DONTWAIT, copy=False)
    return [envelope.buffer, *_take(socket, copy=copy)], _user(envelope)


def raise_descriptor_limit() -> None:
    """Raise this process's limit of descriptors: each worker takes two, and 1,024 is a usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def sink_part_max(payload_max: int) -> int:
    """Return the bytes of the longest part that a worker may send to the sink."""
    return max(payload_max, 0) + HEADER_MAX


def _open(context: zmq.Context[zmq.Socket[bytes]], kind: int, chosen: Mapping[int, int | bytes]) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    for option, value in chosen.items():
        socket.setsockopt(option, value)
    return socket


def _take(socket: zmq.Socket[bytes], *, copy: bool) -> list[Buffer]:
    parts: list[Buffer] = []
    more = True
    while more:
        if copy:
            part: Buffer = socket.recv(zmq.DONTWAIT)
            more = bool(socket.getsockopt(zmq.RCVMORE))
        else:
            frame = socket.recv(zmq.DONTWAIT, copy=False)
            part, more = frame.buffer, frame.more
        if len(parts) < MOST_PARTS:  # a message that goes on is no message: the rest is freed as it is taken
            parts.append(part)
    return parts


def _user(part: zmq.Frame) -> str:
    try:
        return str(part.get("User-Id"))
    except zmq.ZMQError:  # no such property: the empty key, which is on no list
        return ""


def _is_ipv6(endpoint: str) -> int:
    # Only for an IPv6 address: a socket for both families would name its IPv4 address in IPv6's way.
    return int("[" in endpoint)


def _nbytes(part: Buffer) -> int:
    return part.nbytes if isinstance(part, memoryview) else len(part)
