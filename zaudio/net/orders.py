"""Orders: all that travels through the two pipes between a coordinator and its starter.

The coordinator says what to `Start`, once, and later which worker to `Kill`. The starter reports deaths and ends.

Rules: each order is one line of JSON, its class's name first. A line that is no order of an expected kind is a
ProtocolError. The keys are in no `repr`, so no log can show them. The starter imports this module while the coordinator
waits for workers, so it imports next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from zaudio.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Shelf:
    """The outboxes in the shared memory.

    Attributes:
        slots: Slots of each outbox.
        slot_bytes: Bytes of each slot.
        tokens: The name of each outbox, one per worker.
    """

    slots: int
    slot_bytes: int
    tokens: tuple[bytes, ...]


# From the coordinator


@dataclass(frozen=True, slots=True)
class Start:
    """Start these workers.

    Attributes:
        endpoint: Where they connect.
        count: Their number.
        folder: The folder that the starter removes when the lifeline breaks.
        allow: Modules that they may import.
        lifeline: The starter's descriptor of the lifeline.
        memory: The starter's descriptor of the shared memory; -1 without one.
        shelf: Their outboxes; None for results over sockets.
        keys: Public key, secret key and the coordinator's public key, in Z85; None without keys.
        preload: Modules that the starter imports before it forks; see `zaudio.needed`.
    """

    endpoint: str
    count: int
    folder: str
    allow: tuple[str, ...]
    lifeline: int
    memory: int
    shelf: Shelf | None = None
    keys: tuple[bytes, bytes, bytes] | None = field(default=None, repr=False)
    preload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the worker of that session, for that reason; another takes its place."""

    session: bytes
    reason: str


# From the starter


@dataclass(frozen=True, slots=True)
class Died:
    """A local worker died; another takes its place. `cause` has all that is known, on one line."""

    session: bytes
    name: str
    cause: str
    stderr: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Local workers die before they are ready, again and again."""

    cause: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Unable:
    """Local workers cannot do this job."""

    reason: str


@dataclass(frozen=True, slots=True)
class Over:
    """The starter has nothing more to do, and ends. An end without this report is a death."""


StarterCommand = Start | Kill
StarterReport = Died | GaveUp | Unable | Over

REPORTS: tuple[type[StarterReport], ...] = (Died, GaveUp, Unable, Over)

Line = TypeVar("Line", Start, Kill, Died, GaveUp, Unable, Over, StarterCommand, StarterReport)


def encode(order: StarterCommand | StarterReport) -> bytes:
    """Return the order as a line, with its end."""
    kind = type(order)
    values = [form(getattr(order, each.name)) for each, (form, _) in zip(fields(kind), _FORMS[kind], strict=True)]
    return json.dumps([kind.__name__, *values]).encode() + b"\n"


def decode(line: bytes, kinds: tuple[type[Line], ...]) -> Line:
    """Return the order that a line holds.

    Args:
        line: The line, with or without its end.
        kinds: The classes that it may be of.

    Raises:
        ProtocolError: The line is no order of these kinds.
    """
    try:
        name, *values = json.loads(line)
        kind = next(kind for kind in kinds if kind.__name__ == name)
        return kind(*(parse(value) for value, (_, parse) in zip(values, _FORMS[kind], strict=True)))
    except (ValueError, TypeError, StopIteration, RecursionError) as error:
        # The line itself is left out: it may hold keys.
        expected = ", ".join(kind.__name__ for kind in kinds)
        raise ProtocolError(f"expected a line of {expected}, got {len(line)} bytes: {type(error).__name__}") from None


class Lines:
    """Cuts a stream that comes in pieces of any length into lines."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of the line that is not complete."""
        return len(self._rest)

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece; return the lines that it completes, without their ends."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return lines


# The form of each field: how it is written as JSON, and how it is read


def _same(value: object) -> object:
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected an integer, got {type(value).__name__}")
    return value


def _octets(value: object) -> bytes:
    return bytes.fromhex(_text(value))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(each) for each in _list(value))


def _shelf(value: object) -> Shelf | None:
    if value is None:
        return None
    slots, slot_bytes, tokens = _list(value)
    return Shelf(_number(slots), _number(slot_bytes), tuple(_octets(token) for token in _list(tokens)))


def _write_shelf(shelf: Shelf | None) -> object:
    return shelf and [shelf.slots, shelf.slot_bytes, [token.hex() for token in shelf.tokens]]


def _keys(value: object) -> tuple[bytes, bytes, bytes] | None:
    if value is None:
        return None
    public, secret, server = _texts(value)
    return public.encode(), secret.encode(), server.encode()


def _write_keys(keys: tuple[bytes, bytes, bytes] | None) -> object:
    return keys and [key.decode() for key in keys]


_Form = tuple[Callable[[Any], object], Callable[[object], Any]]

_TEXT: _Form = (_same, _text)
_NUMBER: _Form = (_same, _number)
_OCTETS: _Form = (bytes.hex, _octets)
_TEXTS: _Form = (list, _texts)
_SHELF: _Form = (_write_shelf, _shelf)
_KEYS: _Form = (_write_keys, _keys)

_FORMS: dict[type, tuple[_Form, ...]] = {
    Start: (_TEXT, _NUMBER, _TEXT, _TEXTS, _NUMBER, _NUMBER, _SHELF, _KEYS, _TEXTS),
    Kill: (_OCTETS, _TEXT),
    Died: (_OCTETS, _TEXT, _TEXT, _TEXT),
    GaveUp: (_TEXT, _TEXT),
    Unable: (_TEXT,),
    Over: (),
}
