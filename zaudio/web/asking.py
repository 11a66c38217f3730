"""Asking: a request and its answer, as bytes.

Rules: pure. GET only, one request a connection. The headers of an answer forbid a browser to run or load anything else,
to guess another type, to keep it, to tell the address to others and to show it in a frame.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from zaudio.web.address import Address

HEAD_MAX = 8192  # bytes; browsers send less than one KiB

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Connection": "close",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"  # for every answer but the page

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,2047}) HTTP/1\.[01]")
# The value takes its blanks along: patterns for them beside it would be tried in all ways, and stop every thread.
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")
_PLACE = re.compile(r"after=([0-9a-zA-Z-]{1,64})\.([0-9]{1,18})")


class Refusal(Exception):  # noqa: N818  no failure of this program
    """A request that is not answered.

    Args:
        status: The status of HTTP.
        sentence: The reason, for a person.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        path: Without the query.
        query: Behind the question mark.
        headers: By their names in small letters.
    """

    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def place(self) -> tuple[str, int]:
        """The life and the number of the news up to which its sender has everything."""
        match = _PLACE.fullmatch(self.query)
        return (match[1], int(match[2])) if match is not None else ("", 0)


def parse(head: bytes, address: Address) -> Asked:
    """Return the request of a head, if it is one for this server.

    Raises:
        Refusal: It is malformed, no GET, or came by a name that is not this server's.
    """
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise Refusal(400, "this is no request of HTTP/1.1")
    headers: dict[str, str] = {}
    for each in rest:
        field = _FIELD.fullmatch(each)
        if field is None:
            raise Refusal(400, "a header is malformed")
        name = field[1].decode("ascii").lower()
        if name in headers and name in ("host", "authorization"):
            raise Refusal(400, f"there are two headers {name}")
        headers[name] = field[2].strip(b" \t").decode("latin-1")
    if line[1] != b"GET":
        raise Refusal(405, "only GET is answered: nothing here can be changed")
    if "host" not in headers or not address.admits(headers["host"]):
        raise Refusal(403, "this server does not go by that name; use the address that zaudio printed")
    path, _, query = line[2].decode("ascii").partition("?")
    return Asked(path, query, headers)


def check_token(asked: Asked, token: str) -> None:
    """Let a request pass that has the token.

    Raises:
        Refusal: It has not.
    """
    kind, _, given = asked.headers.get("authorization", "").partition(" ")
    # Both compared, so that the time tells nothing.
    right = hmac.compare_digest(given.strip().encode("latin-1"), token.encode("ascii"))
    if kind.lower() != "bearer" or not right:
        raise Refusal(401, "the token is missing or wrong; it stands behind the # of the address that zaudio printed")


def answer(status: int, kind: str, body: bytes | None, *, policy: str = NOTHING) -> bytes:
    """Return an answer.

    Args:
        status: The status.
        kind: The content's type.
        body: The content; None when it goes on until the connection is closed.
        policy: The Content-Security-Policy.
    """
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Type: {kind}", f"Content-Security-Policy: {policy}"]
    lines += [f"{name}: {value}" for name, value in SAFE.items()]
    if status == 401:
        lines.append("WWW-Authenticate: Bearer")
    if status == 405:
        lines.append("Allow: GET")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


def refusal(refused: Refusal) -> bytes:
    """Return the answer to a request that is refused."""
    return answer(refused.status, "text/plain; charset=utf-8", f"{refused.sentence}\n".encode())
