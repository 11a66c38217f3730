"""Handshakes: decides which failed handshakes end a worker, and with which sentence for its operator.

Rules:

- A clear answer of the coordinator ends the worker at once: this key is not admitted, or one side uses keys and the
  other does not.
- A connection that is cut in mid-handshake says nothing by itself. The worker may have a wrong public key of the
  coordinator. The coordinator may be ending just now, or have no keys and close before it says so.
- So several cuts in a row, over some time, end a worker that has keys and was never welcomed with them. A worker that
  was welcomed knows that its keys are right; one without keys cannot have wrong ones.
- Slowness never ends a worker.
"""

from __future__ import annotations

from enum import Enum

CUTS = 3  # in a row; a coordinator that ends cuts one
CUTS_SPAN = 1.5  # s from the first to the last; attempts come every 0.05 to 1 s, so all is over well within 5 s


class Handshake(Enum):
    """How a handshake ended."""

    DONE = "done"
    NOT_ADMITTED = "not admitted"  # this key is unknown to the coordinator, or revoked
    NOT_CHECKED = "not checked"  # its authenticator failed
    OTHER_MECHANISM = "other mechanism"  # one side uses keys, the other does not
    CUT = "cut"  # the connection was closed
    LATE = "late"  # nothing came in time


class Handshakes:
    """The handshakes of one worker with the ventilator.

    Args:
        endpoint: The ventilator's address, for sentences.
        keys: Whether the worker has keys.
    """

    def __init__(self, endpoint: str, *, keys: bool) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._cuts = 0
        self._since = 0.0  # when the first of them was
        self._trusted = False

    def welcomed(self) -> None:
        """Note that the coordinator welcomed this worker: their keys fit."""
        self._trusted = True

    def ended(self, how: Handshake, *, now: float) -> str:
        """Note how a handshake ended; return why the worker must end, or an empty text to go on trying."""
        match how:
            case Handshake.DONE:
                self._cuts = 0
            case Handshake.NOT_ADMITTED:
                return self._sentence(
                    "the coordinator does not admit this worker's key: it is unknown there, or was revoked; "
                    "`zaudio keys list` on its machine names those it admits, `zaudio keys worker NAME` makes one"
                )
            case Handshake.NOT_CHECKED:
                return self._sentence("the coordinator could not check this worker's key; what it printed says why")
            case Handshake.OTHER_MECHANISM if self._keys:
                return self._sentence(
                    "the coordinator runs without keys; start it with --keys, "
                    "or this worker without if you trust everyone on the way to it"
                )
            case Handshake.OTHER_MECHANISM:
                return self._sentence(
                    "the coordinator admits nobody without a key; `zaudio keys worker NAME` on its machine makes one, "
                    "and --keys DIR uses it here"
                )
            case Handshake.CUT if self._keys and not self._trusted:
                return self._cut(now)
        return ""

    def _cut(self, now: float) -> str:
        if not self._cuts:
            self._since = now
        self._cuts += 1
        if self._cuts < CUTS or now - self._since < CUTS_SPAN:
            return ""
        return self._sentence(
            f"{self._cuts} handshakes were cut off: coordinator.public is not the key of this coordinator (compare it "
            "with `zaudio keys list` on its machine), or it runs without keys, or its authenticator is dead, "
            "or no coordinator is behind this address"
        )

    def _sentence(self, reason: str) -> str:
        return f"{self._endpoint}: {reason}"
