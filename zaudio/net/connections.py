"""Connections: a worker's two sockets, the monitor of the first, and the poller that waits for them all.

Rules: one thread opens, uses and closes all of them. A fresh connection to the ventilator closes the sink's too: a
connection that is thought dead must not be trusted again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import zmq

from zaudio.core.handshake import Handshake
from zaudio.net import sockets
from zaudio.net.keys import ClientKeys
from zaudio.net.monitor import Monitor
from zaudio.steps import Buffer
from zaudio.wire.messages import Channel


class Connections:
    """The sockets of one worker; none is open at first.

    Args:
        endpoint: The ventilator's address.
        keys: The worker's keys, if the coordinator has any.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[Channel, zmq.Socket[bytes]] = {}
        self._monitor: Monitor | None = None

    def watch(self, fd: int) -> None:
        """Have `wait` wait for that descriptor too."""
        self._poller.register(fd, zmq.POLLIN)

    def wait(self, seconds: float) -> set[object]:
        """Wait until something is readable, at most so long; return the readable sockets and descriptors."""
        return {key for key, _ in self._poller.poll(max(0, math.ceil(seconds * 1000)))}

    def connect(self) -> None:
        """Open a fresh socket to the ventilator; close the one before, and the sink's."""
        self._close(Channel.SINK)
        self._close_monitor()
        self._close(Channel.VENTILATOR)
        self._open(Channel.VENTILATOR, sockets.dealer(self._context, self._endpoint, keys=self._keys, watch=self._spy))

    def connect_sink(self, endpoint: str) -> None:
        """Open a fresh socket to the sink; close the one before.

        Raises:
            EndpointError: The endpoint is malformed.
        """
        self._close(Channel.SINK)
        self._open(Channel.SINK, sockets.dealer(self._context, endpoint, keys=self._keys))

    def is_open(self, channel: Channel) -> bool:
        """Return whether there is a socket for that channel."""
        return channel in self._sockets

    def receive(self, channel: Channel) -> list[Buffer] | None:
        """Return the parts of the next message; None when no message waits, or no socket is open."""
        socket = self._sockets.get(channel)
        return sockets.receive(socket, copy=False) if socket is not None else None

    def send(self, channel: Channel, parts: Sequence[Buffer]) -> bool:
        """Send now or not at all; return whether it was sent."""
        socket = self._sockets.get(channel)
        return socket is not None and sockets.send(socket, parts)

    def handshakes(self) -> list[Handshake]:
        """Return how the ventilator's handshakes ended since the last call."""
        return self._monitor.read() if self._monitor is not None else []

    def close(self, *, linger: int) -> None:
        """Close everything, and give messages `linger` ms to leave."""
        self._close_monitor()
        for socket in self._sockets.values():
            socket.close(linger=linger)
        self._sockets.clear()
        self._context.term()

    def _open(self, channel: Channel, socket: zmq.Socket[bytes]) -> None:
        self._sockets[channel] = socket
        self._poller.register(socket, zmq.POLLIN)

    def _close(self, channel: Channel) -> None:
        socket = self._sockets.pop(channel, None)
        if socket is not None:
            self._poller.unregister(socket)
            socket.close()

    def _spy(self, socket: zmq.Socket[bytes]) -> None:
        self._monitor = Monitor(socket)
        self._poller.register(self._monitor.socket, zmq.POLLIN)

    def _close_monitor(self) -> None:
        if self._monitor is not None:
            self._poller.unregister(self._monitor.socket)
            self._monitor.close()
            self._monitor = None
