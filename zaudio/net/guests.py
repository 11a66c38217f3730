"""Guests: workers that are admitted for one job and by no file. A launcher names them while the job runs.

A guest makes its key pair in its own process, so its secret travels nowhere.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from zmq.utils import z85

from zaudio.errors import UsageError

KEY_BYTES = 32  # of CURVE


class End(NamedTuple):
    """Why a guest ended, and whether its process died by itself: then the chunk that it computed may be to blame."""

    reason: str
    died: bool


class Guests:
    """The public keys that are admitted for one job, each with its worker's name. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._ended: dict[str, End] = {}  # by key, until they are taken

    def admit(self, public: str, name: str) -> None:
        """Admit that key from now on.

        Raises:
            UsageError: It is no public key, or another worker's: a far end must not end a worker of another by it.
        """
        check_public(public)
        with self._lock:
            if public in self._names:
                raise UsageError(f"expected a key of its own, got that of {self._names[public]}")
            self._names[public] = name

    def revoke(self, public: str, end: End | None = None) -> None:
        """Stop admitting that key. An unknown key changes nothing.

        Args:
            public: The key.
            end: The end of its worker; None when that is not known.
        """
        with self._lock:
            if self._names.pop(public, None) is not None and end is not None:
                self._ended[public] = end

    def take_ended(self) -> dict[str, End]:
        """Return the ends of workers since the last call, by key."""
        with self._lock:
            ended, self._ended = self._ended, {}
            return ended

    def read(self) -> dict[str, str]:
        """Return each admitted key with its worker's name."""
        with self._lock:
            return dict(self._names)


def check_public(public: str) -> None:
    """Check that a text is a public key.

    Raises:
        UsageError: The text is no key.
    """
    if not is_key(public.encode(errors="surrogatepass")):
        raise UsageError(f"expected a public key, 40 characters of Z85, got {public!r:.60}")


def is_key(text: bytes) -> bool:
    """Return whether a text is a key: 40 characters of Z85 for 32 bytes."""
    try:
        return len(z85.decode(text)) == KEY_BYTES
    except Exception:  # noqa: BLE001  z85 raises whatever its arithmetic stumbles over
        return False
