"""Proxy: a man in the middle of a worker's two connections, who holds back, slows down and changes what passes.

Rules: TCP on both sides, a thread a direction and connection; needs no rights. Directions are the worker's: ``up`` is
to the coordinator, ``down`` from it. What a partition holds back is delivered when it heals, as TCP would.
"""

import contextlib
import random
import socket
import threading
import time

from net_support import LOOK, PATIENCE

BOTH = ("up", "down")
PIECE = 1 << 16  # bytes taken at once


class Proxy:
    """Listens on `ports` of `host` and passes everything on to `upstream` ports of the same host. A context manager.

    Attributes:
        flipped: How many bytes were changed.
        passed: Bytes passed on, by direction.
    """

    def __init__(self, host, ports=(6555, 6556), upstream=(5555, 5556)):
        self.flipped = 0
        self.passed = dict.fromkeys(BOTH, 0)
        self._cut = frozenset()
        self._rate = None
        self._every = None
        self._random = random.Random(1)
        self._closed = False
        self._threads = []
        self._open = set()
        for port, beyond in zip(ports, upstream, strict=True):
            listener = self._keep(socket.create_server((host, port), reuse_port=False))
            self._run(self._accept, listener, (host, beyond))

    # Faults

    def partition(self, *directions):
        """Hold everything back, both ways or in those directions."""
        self._cut = frozenset(directions or BOTH)

    def heal(self):
        """End all faults."""
        self._cut, self._rate, self._every = frozenset(), None, None

    def throttle(self, rate):
        """Pass so many bytes a second, in each direction of each connection."""
        self._rate = rate

    def flip_bytes(self, every):
        """Change one bit in about every so many bytes."""
        self._every = every

    # Passing on

    def _accept(self, listener, upstream):
        while True:
            near, _ = listener.accept()
            self._keep(near)
            try:
                far = self._keep(socket.create_connection(upstream))
            except OSError:
                near.close()
                continue
            self._run(self._pump, near, far, "up")
            self._run(self._pump, far, near, "down")

    def _pump(self, source, target, direction):
        while piece := source.recv(PIECE):
            while direction in self._cut and not self._closed:
                time.sleep(LOOK)
            if self._rate is not None:
                time.sleep(len(piece) / self._rate)
            target.sendall(self._flip(piece))
            self.passed[direction] += len(piece)
        target.shutdown(socket.SHUT_WR)

    def _flip(self, piece):
        if self._every is None:
            return piece
        changed = bytearray(piece)
        for position in range(len(piece)):
            if self._random.random() * self._every < 1:
                changed[position] ^= 1 << self._random.randrange(8)
                self.flipped += 1
        return changed

    def _run(self, body, *arguments):
        def until_closed():
            with contextlib.suppress(OSError):  # the end of a connection, or ours
                body(*arguments)

        thread = threading.Thread(target=until_closed, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _keep(self, sock):
        self._open.add(sock)
        return sock

    def close(self):
        """Close every connection and wait for the threads."""
        self._closed = True
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=PATIENCE)
            assert not thread.is_alive(), "a thread of the proxy does not end"
        for sock in self._open:
            sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
