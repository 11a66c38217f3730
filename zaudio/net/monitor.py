"""Monitor: how the handshakes of a socket end, which libzmq otherwise keeps to itself.

Rules: a monitor is opened before its socket connects and closed with it.
"""

from __future__ import annotations

import errno
import struct

import zmq

from zaudio.core.handshake import Handshake

_EVENTS = (
    zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
)


# Of an event's first part, by zmq_socket_monitor(3): its number and its value. `zmq.utils.monitor` knows it too, but
# imports asyncio and ssl, for 20 ms of each start of workers.
_EVENT = struct.Struct("=hi")


class Monitor:
    """The monitor of one socket.

    Attributes:
        socket: The socket that becomes readable when a handshake ended.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._of = socket
        self.socket: zmq.Socket[bytes] = socket.get_monitor_socket(_EVENTS)

    def read(self) -> list[Handshake]:
        """Return how handshakes ended, for all that ended since the last call."""
        ended = []
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            event, _ = self.socket.recv_multipart()  # the other part is the endpoint
            ended.append(_meaning(*_EVENT.unpack(event)))
        return ended

    def close(self) -> None:
        """Close it, before its socket."""
        self._of.disable_monitor()
        self.socket.close(linger=0)


def _meaning(event: int, value: int) -> Handshake:
    match event:
        case zmq.Event.HANDSHAKE_SUCCEEDED:
            return Handshake.DONE
        case zmq.Event.HANDSHAKE_FAILED_AUTH:  # the value is the status that the authenticator gave
            return Handshake.NOT_ADMITTED if value == 400 else Handshake.NOT_CHECKED
        case zmq.Event.HANDSHAKE_FAILED_PROTOCOL if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return Handshake.OTHER_MECHANISM
        case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL if value == errno.EAGAIN:  # HANDSHAKE_IVL is over
            return Handshake.LATE
    return Handshake.CUT
