"""Address: where the page is served, and by which names a browser may ask for it.

Rules: pure. A browser that was led here by a foreign name (DNS rebinding) sends that name in `Host`. So only names are
let in that no stranger's name server can answer for: loopback names, the name that the user gave, numbers.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from zaudio.errors import UsageError

LAST_PORT = 65535
LOOPBACK = "127.0.0.1"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """An address to serve at.

    Attributes:
        host: A name or a number, without brackets.
        port: The port; 0 for any free one.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """The address as a browser takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def admits(self, host: str) -> bool:
        """Return whether a request with that `Host` may be answered.

        The port is left out of it: a tunnel has another one.
        """
        name = host_name(host)
        if name in _LOCAL or name == self.host.lower():
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self.is_loopback


def parse_address(text: str) -> Address:
    """Return the address of ``[HOST:]PORT``; loopback when no host is named.

    Raises:
        UsageError: The text is neither.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    known = all(character.isalnum() or character in ".-:_" for character in host)
    if not (port.isascii() and port.isdecimal() and int(port) <= LAST_PORT and known):
        raise UsageError(f"--web {text}: expected PORT or HOST:PORT, for example 8080 or 127.0.0.1:0")
    return Address(host or LOOPBACK, int(port))


def host_name(host: str) -> str:
    """Return the name in a `Host` header, without port and brackets, in small letters."""
    host = host.strip().lower()
    name, colon, port = host.rpartition(":")
    if not (colon and port.isdecimal()):
        name = host
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name
