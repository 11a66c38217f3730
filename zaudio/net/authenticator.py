"""Authenticator: decides for each connection whether its key is admitted, before a byte of it reaches our code.

It answers ZAP (ZeroMQ RFC 27) on a socket that the farm's own loop polls, so it cannot die by itself: a farm that does
not answer does not admit.

Rules:

- It is bound before any socket that asks it.
- A question that it does not understand is refused, and so is one on which it fails.
- The list of keys is read again for each connection, and four times a second besides. So a worker whose key is revoked
  is gone within a second. The same goes for guests, which are on no list.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import zmq
from zmq.utils import z85

from zaudio.net.keys import LOCAL, CoordinatorKeys
from zaudio.net.sockets import ZAP_DOMAIN
from zaudio.steps import Buffer

ENDPOINT = "inproc://zeromq.zap.01"  # where libzmq asks
ANSWERS_A_TURN = 64  # then the farm's sockets have their turn again
REREAD = 0.25  # s between two looks at the list
STRANGERS_NAMED = 16  # unknown keys that get a warning; a flood of them must not fill a disk with logs
ADMITTED, REFUSED, FAILED = b"200", b"400", b"500"

log = logging.getLogger("zaudio.coordinator")


class Stranger(NamedTuple):
    """A peer that was refused: its address, the reason, and its public key, which is empty if it showed none."""

    address: str
    reason: str
    key: str


class Authenticator:
    """The authenticator of a farm's sockets.

    Args:
        context: The sockets' context.
        keys: The coordinator's keys.
        now: The time.

    Attributes:
        socket: The socket that becomes readable when a peer wants to connect.
        due: When to call `refresh` next.
        local: The public key that all local workers of this job share.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: CoordinatorKeys, *, now: float) -> None:
        self._allowed = keys.allowed
        self._guests = keys.guests
        self.local = keys.local.public.decode()
        self._strangers: set[str] = set()
        self._refused: list[Stranger] = []
        self._faults: tuple[str, ...] = ()
        self._trouble = ""
        self._listed: dict[str, str] = {}  # of the list, as of the last look
        self._names: dict[str, str] = {self.local: LOCAL}  # of all that are admitted
        self._told: frozenset[str] | None = None
        self.due = now
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ENDPOINT)

    @property
    def admitted(self) -> frozenset[str]:
        """The admitted public keys, as of the last look."""
        return frozenset(self._names)

    @property
    def names(self) -> dict[str, str]:
        """The names of workers' keys, by public key: those that `zaudio keys revoke` takes."""
        return self._listed

    def serve(self) -> None:
        """Answer the peers that wait to connect."""
        for _ in range(ANSWERS_A_TURN):
            if not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            request = self.socket.recv_multipart()
            try:
                status, text, key = self._judge(request)
            except Exception:
                log.exception("the authenticator failed, so nobody is admitted")
                status, text, key = FAILED, "the key could not be checked", ""
            number = request[1] if len(request) > 1 else b""
            self.socket.send_multipart([b"1.0", number, status, text.encode(), key.encode(), b""])

    def take_refused(self) -> list[Stranger]:
        """Return the peers that were refused since the last call. Take them after each `serve`, which bounds them."""
        taken, self._refused = self._refused, []
        return taken

    def refresh(self, now: float) -> bool:
        """Read the list again if that is due; return whether the admitted keys changed since the last call."""
        if now >= self.due:
            self.due = now + REREAD
            self._reread()
        changed = self.admitted != self._told
        self._told = self.admitted
        return changed

    def _judge(self, request: Sequence[Buffer]) -> tuple[bytes, str, str]:
        version, _, domain, address, _, mechanism, *credentials = map(bytes, request)
        if (version, domain, mechanism) != (b"1.0", ZAP_DOMAIN, b"CURVE") or len(credentials) != 1:
            self._refused.append(Stranger(address.decode("ascii", "replace"), "it does not use CURVE", ""))
            log.warning("a peer at %s was refused: it does not use CURVE", address.decode("ascii", "replace"))
            return REFUSED, "only CURVE is admitted", ""
        key, name = z85.encode(credentials[0]).decode(), address.decode("ascii", "replace")
        if key == self.local:  # on no list, so a list that cannot be read must not keep it out
            return ADMITTED, "", key
        if not self._reread() and key not in self._guests.read():  # guests are on no list either
            self._refused.append(Stranger(name, "the list of keys cannot be read", key))
            return FAILED, "the list of keys cannot be read", ""
        if key in self._names:
            log.info("%s connects from %s", self._names[key], name)
            return ADMITTED, "", key
        self._refused.append(Stranger(name, "its key is not admitted", key))
        self._warn_of(key, name)
        return REFUSED, "this key is not admitted", ""

    def _reread(self) -> bool:
        """Read the list and the guests; return False, and keep the former list, when it cannot be read now."""
        readable = self._reread_list()
        self._names = {**self._listed, **self._guests.read(), self.local: LOCAL}
        return readable

    def _reread_list(self) -> bool:
        try:
            self._listed = self._allowed.read()
        except OSError as error:
            if str(error) != self._trouble:
                log.error("the list of keys cannot be read, so nobody is admitted: %s", error)
            self._trouble = str(error)
            return False
        self._trouble = ""
        if self._allowed.faults != self._faults:
            self._faults = self._allowed.faults
            for fault in self._faults:
                log.warning("%s; nobody is admitted by it", fault)
        return True

    def _warn_of(self, key: str, address: str) -> None:
        if key not in self._strangers and len(self._strangers) < STRANGERS_NAMED:
            self._strangers.add(key)
            log.warning("a peer at %s was refused: its public key %s is not admitted", address, key)
        else:
            log.debug("a peer at %s was refused: its public key %s is not admitted", address, key)
