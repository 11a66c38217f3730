"""encode(message) -> parts, decode(parts) -> message: the only code that knows message bytes.

Rules:

- A message is a header part, the msgpack array `[kind, field, ...]`. A `Chunk` or a `Result` has a payload part of raw
  bytes besides, unless the other side finds those bytes itself.
- Every limit of the protocol stands in this file.
- `decode` returns something valid or raises ProtocolError. Nothing behind it checks again.
- Maps, extension types and floats that are not finite are refused, although msgpack lets them pass.
- Nothing from the wire is ever unpickled or imported.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import fields

import msgpack

from zaudio.errors import ProtocolError
from zaudio.plan import Order
from zaudio.reference import Reference
from zaudio.steps import Buffer, Scalar, Step
from zaudio.wire.messages import (
    Again,
    Channel,
    Chunk,
    Failed,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Ready,
    Refused,
    Result,
    Sent,
    Welcome,
)

HEADER_MAX = 4096  # bytes; a ready with 256 held pairs and a welcome with a dozen ops fit
TEXT_MAX = 2048  # bytes of UTF-8; error texts are cut to this by their sender
NAME_MAX = 256  # bytes of UTF-8 for names, hosts, endpoints
HELD_MAX = 256  # (index, attempt) pairs; credit never goes beyond it
LIST_MAX = 64  # ops, endpoints, parameters
COUNT_MAX = 2**48  # frames, bytes, indexes, sequences: 200 years of audio
ID_LENGTH = 16  # bytes of a job or a session

_Check = Callable[[object], object]


def _integer(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        # `type is int`, since True is an int to isinstance.
        if type(value) is int and low <= value <= high:
            return value
        raise ProtocolError(f"expected an integer from {low} to {high}, got {_shown(value)}")

    return check


def _number(low: float, high: float) -> Callable[[object], float]:
    def check(value: object) -> float:
        if isinstance(value, int | float) and type(value) is not bool and low <= value <= high:  # nan is not
            return float(value)
        raise ProtocolError(f"expected a number from {low:g} to {high:g}, got {_shown(value)}")

    return check


def _text(limit: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        if type(value) is str and len(value.encode("utf-8", "surrogatepass")) <= limit:
            return value
        raise ProtocolError(f"expected text of at most {limit} bytes, got {_shown(value)}")

    return check


def _identity(value: object) -> bytes:
    if type(value) is bytes and len(value) == ID_LENGTH:
        return value
    raise ProtocolError(f"expected {ID_LENGTH} bytes, got {_shown(value)}")


def _identity_or_none(value: object) -> bytes:
    return value if type(value) is bytes and not value else _identity(value)


def _truth(value: object) -> bool:
    if type(value) is bool:
        return value
    raise ProtocolError(f"expected true or false, got {_shown(value)}")


def _reference(value: object) -> Reference | None:
    if value is None:
        return None
    if type(value) is not list or len(value) != 7:
        raise ProtocolError(f"expected nil or the seven fields of a reference, got {_shown(value)}")
    path, offset, size, *numbers = value
    return Reference(_TEXT(path), _COUNT(offset), _COUNT(size), *map(_HASH, numbers))


def _order(value: object) -> str:
    if type(value) is str and value in _ORDERS:
        return value
    raise ProtocolError(f"expected {' or '.join(_ORDERS)}, got {_shown(value)}")


def _texts(value: object) -> tuple[str, ...]:
    if type(value) is list and len(value) <= LIST_MAX:
        return tuple(map(_text(NAME_MAX), value))
    raise ProtocolError(f"expected at most {LIST_MAX} names, got {_shown(value)}")


def _held(value: object) -> tuple[tuple[int, int], ...]:
    """Read pairs, which travel flat: index, attempt, index, attempt ..."""
    if type(value) is not list or len(value) % 2 or len(value) > 2 * HELD_MAX:
        raise ProtocolError(f"expected at most {HELD_MAX} pairs of index and attempt, got {_shown(value)}")
    return tuple(zip(map(_COUNT, value[::2]), map(_ATTEMPT, value[1::2]), strict=True))


def _steps(value: object) -> tuple[Step, ...]:
    """Read ops; each is [name, [parameter, value, parameter, value ...]]."""
    if type(value) is not list or not 1 <= len(value) <= LIST_MAX:
        raise ProtocolError(f"expected 1 to {LIST_MAX} ops, got {_shown(value)}")
    return tuple(_step(item) for item in value)


def _step(value: object) -> Step:
    if type(value) is not list or len(value) != 2:
        raise ProtocolError(f"expected an op as [name, parameters], got {_shown(value)}")
    name, flat = _NAME(value[0]), value[1]
    if type(flat) is not list or len(flat) % 2 or len(flat) > 2 * LIST_MAX:
        raise ProtocolError(f"expected parameters as [name, value, ...], got {_shown(flat)}")
    params = tuple(zip(map(_NAME, flat[::2]), map(_scalar, flat[1::2]), strict=True))
    if len({key for key, _ in params}) != len(params):
        raise ProtocolError(f"op {name} names a parameter twice")
    return Step(name, params)


def _scalar(value: object) -> Scalar:
    match value:
        case bool():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            return str(_NAME(value))
    raise ProtocolError(f"expected a finite number, a boolean or text, got {_shown(value)}")


def _shown(value: object) -> str:
    # Never repr: msgpack lets lists nested a thousand deep pass, and repr of those is a RecursionError.
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3
_BRIEF.maxstring = _BRIEF.maxother = 60


_ORDERS = tuple(order.value for order in Order)
_COUNT = _integer(0, COUNT_MAX)
_ATTEMPT = _integer(1, 2**31)
_SLOT = _integer(-1, HELD_MAX - 1)
_HASH = _integer(0, 2**64 - 1)
_NAME = _text(NAME_MAX)
_TEXT = _text(TEXT_MAX)
_INCARNATION = _integer(1, 2**31)
_LEASE = (_identity, _INCARNATION, _identity)  # job, incarnation, session

# One row per message: its kind on the wire, its class, and a check for each field in order.
_TABLE: tuple[tuple[int, type[Message], tuple[_Check, ...]], ...] = (
    (
        1,
        Hello,
        (
            _integer(0, 2**16),
            _identity,
            _NAME,
            _integer(0, 2**31),
            _NAME,
            _NAME,
            _texts,
            _texts,
            _identity_or_none,
        ),
    ),
    (
        2,
        Welcome,
        (
            *_LEASE,
            _texts,
            _number(0.001, 3600),
            _integer(2, 1000),
            _integer(1, HELD_MAX),
            _NAME,
            _integer(1, 1024),
            _integer(1, COUNT_MAX),
            _COUNT,
            _COUNT,
            _order,
            _steps,
            _reference,
        ),
    ),
    (3, Refused, (_TEXT,)),
    (4, Again, ()),
    (5, Chunk, (*_LEASE, _COUNT, _COUNT, _ATTEMPT, _COUNT, _COUNT, _COUNT, _COUNT, _COUNT, _HASH, _SLOT)),
    (6, Sent, (*_LEASE, _COUNT)),
    (7, Heartbeat, _LEASE),
    (8, Ready, (*_LEASE, _COUNT, _held, _truth)),
    (9, Result, (*_LEASE, _COUNT, _ATTEMPT, _COUNT, _HASH, _number(0, 1e9), _SLOT, _COUNT)),
    (10, Failed, (*_LEASE, _COUNT, _ATTEMPT, _COUNT, _COUNT, _TEXT)),
    (11, Goodbye, (*_LEASE, _TEXT)),
)
_KIND = {cls: kind for kind, cls, _ in _TABLE}
_FIELDS = {cls: tuple(field.name for field in fields(cls)) for _, cls, _ in _TABLE}
_DECODE = {kind: (cls, checks) for kind, cls, checks in _TABLE}
_WITH_PAYLOAD = (Chunk, Result)

# The messages that may arrive on each socket; any other is a protocol error there.
TO_COORDINATOR: dict[Channel, frozenset[type[Message]]] = {
    Channel.VENTILATOR: frozenset({Hello, Heartbeat, Goodbye}),
    Channel.SINK: frozenset({Ready, Result, Failed, Goodbye}),
}
TO_WORKER: dict[Channel, frozenset[type[Message]]] = {
    Channel.VENTILATOR: frozenset({Welcome, Refused, Again, Chunk, Sent, Goodbye}),
    Channel.SINK: frozenset({Heartbeat, Refused, Again, Goodbye}),
}


def encode(message: Message, payload: Buffer | None = None) -> list[Buffer]:
    """Return the parts of a message, without envelope.

    Args:
        message: The message.
        payload: The bytes that go with a Chunk or a Result; exactly `message.length` of them.

    Raises:
        ProtocolError: The header would be longer than HEADER_MAX, or the payload does not fit the message.
    """
    cls = type(message)
    values = [_flat(getattr(message, name)) for name in _FIELDS[cls]]
    header: bytes = msgpack.packb([_KIND[cls], *values])
    if len(header) > HEADER_MAX:
        raise ProtocolError(f"a {cls.__name__} header of {len(header)} bytes is over the limit of {HEADER_MAX}")
    if payload is None:
        _check_payload(message, 1, 0)
        return [header]
    _check_payload(message, 2, memoryview(payload).nbytes)
    return [header, payload]


def decode(parts: Sequence[Buffer], accepted: frozenset[type[Message]]) -> Message:
    """Return the message that these parts hold. Its payload, if it has one, is `parts[1]`.

    Args:
        parts: Header, and for a Chunk or a Result the payload; without envelope.
        accepted: The classes that may come here, a row of TO_COORDINATOR or TO_WORKER.

    Raises:
        ProtocolError: The parts are no message, or not one that may come here.
    """
    if not parts:
        raise ProtocolError("a message of no parts")
    header = memoryview(parts[0])
    if header.nbytes > HEADER_MAX:
        raise ProtocolError(f"a header of {header.nbytes} bytes is over the limit of {HEADER_MAX}")
    cls, checks, values = _parse(header)
    if cls not in accepted:
        raise ProtocolError(f"a {cls.__name__} does not belong on this socket")
    if len(values) != len(checks) + 1:
        raise ProtocolError(f"a {cls.__name__} has {len(checks)} fields, got {len(values) - 1}")
    make: Callable[..., Message] = cls  # the table keeps fields and checks in step; the vectors prove it
    message = make(*[check(value) for check, value in zip(checks, values[1:], strict=True)])
    if isinstance(message, Chunk):
        _check_ranges(message)
    _check_payload(message, len(parts), memoryview(parts[1]).nbytes if len(parts) > 1 else 0)
    return message


def cut(text: str, limit: int = TEXT_MAX) -> str:
    """Return the text, shortened to at most `limit` bytes of UTF-8 at a whole character."""
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 4].decode("utf-8", "ignore") + "..."


def _parse(header: memoryview) -> tuple[type[Message], tuple[_Check, ...], list[object]]:
    try:
        values = msgpack.unpackb(
            header,
            raw=False,
            strict_map_key=True,
            max_str_len=TEXT_MAX,
            max_bin_len=ID_LENGTH,
            max_array_len=2 * HELD_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a header that is no msgpack within the limits: {_shown(str(error))}") from None
    if type(values) is not list or not values or type(values[0]) is not int or values[0] not in _DECODE:
        raise ProtocolError(f"a header that is no known message: {_shown(values)}")
    return *_DECODE[values[0]], values


def _check_ranges(chunk: Chunk) -> None:
    if not chunk.input_start <= chunk.start <= chunk.stop <= chunk.input_stop:
        raise ProtocolError(
            f"a Chunk of frames {chunk.start} to {chunk.stop} came with frames "
            f"{chunk.input_start} to {chunk.input_stop}"
        )


def _check_payload(message: Message, parts: int, length: int) -> None:
    if parts == 1 and (isinstance(message, Chunk) or (isinstance(message, Result) and message.slot >= 0)):
        return  # the bytes lie in the recording, or in the outbox
    if isinstance(message, _WITH_PAYLOAD) and (isinstance(message, Chunk) or message.slot < 0):
        if parts != 2 or length != message.length:
            raise ProtocolError(
                f"a {type(message).__name__} of {message.length} bytes came with {parts - 1} payload parts "
                f"of {length} bytes"
            )
    elif parts != 1:
        raise ProtocolError(f"a {type(message).__name__} has no payload, got {parts} parts")


def _flat(value: object) -> object:
    """Return a field as it travels: held pairs, parameters and references as flat arrays, all else as it is."""
    if isinstance(value, Reference):
        return [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Step):
        return [value.name, _flat(value.params)]
    if type(value) is not tuple or not value or type(value[0]) is str:
        return value
    if isinstance(value[0], Step):
        return [_flat(step) for step in value]
    return [item for pair in value for item in pair]
