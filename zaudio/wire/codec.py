"""encode(message) -> parts, decode(parts) -> message: the only code that knows message bytes.

Rules:

- A message is a header part, the msgpack array `[kind, field, ...]`. A `Chunk` or a `Result` has a payload part of raw
  bytes besides, unless the other side finds those bytes itself. A `Welcome` has one if its ops have tables.
- Every limit of the protocol stands in `fields.py`.
- `decode` returns something valid or raises ProtocolError. Nothing behind it checks again.
- Maps, extension types and floats that are not finite are refused, although msgpack lets them pass.
- Nothing from the wire is ever unpickled or imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import msgpack

from zaudio.errors import ProtocolError
from zaudio.formats import MAX_CHANNELS, MAX_SAMPLERATE
from zaudio.reference import Reference
from zaudio.steps import Buffer, Step
from zaudio.wire import fields
from zaudio.wire.fields import HEADER_MAX, HELD_MAX, ID_LENGTH, TABLES_MAX, TEXT_MAX, shown
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

_LEASE = (fields.identity, fields.INCARNATION, fields.identity)  # job, incarnation, session

# One row per message: its kind on the wire, its class, and a check for each field in order.
_TABLE: tuple[tuple[int, type[Message], tuple[fields.Check, ...]], ...] = (
    (
        1,
        Hello,
        (
            fields.integer(0, 2**16),
            fields.identity,
            fields.NAME,
            fields.integer(0, 2**31),
            fields.NAME,
            fields.NAME,
            fields.texts,
            fields.texts,
            fields.identity_or_none,
        ),
    ),
    (
        2,
        Welcome,
        (
            *_LEASE,
            fields.texts,
            fields.number(0.001, 3600),
            fields.integer(2, 1000),
            fields.integer(1, HELD_MAX),
            fields.COUNT,
            fields.integer(1, MAX_CHANNELS),
            fields.integer(1, MAX_SAMPLERATE),
            fields.NAME,
            fields.COUNT,
            fields.integer(1, fields.COUNT_MAX),
            fields.order,
            fields.ops,  # their tables come behind the header
            fields.reference,
        ),
    ),
    (3, Refused, (fields.TEXT,)),
    (4, Again, ()),
    (
        5,
        Chunk,
        (
            *_LEASE,
            fields.COUNT,
            fields.COUNT,
            fields.ATTEMPT,
            fields.COUNT,
            fields.COUNT,
            fields.COUNT,
            fields.COUNT,
            fields.COUNT,
            fields.HASH,
            fields.SLOT,
            fields.FRAMES,
        ),
    ),
    (6, Sent, (*_LEASE, fields.COUNT)),
    (7, Heartbeat, _LEASE),
    (8, Ready, (*_LEASE, fields.COUNT, fields.held, fields.truth, fields.hashes)),
    (
        9,
        Result,
        (
            *_LEASE,
            fields.COUNT,
            fields.ATTEMPT,
            fields.COUNT,
            fields.HASH,
            fields.number(0, 1e9),
            fields.SLOT,
            fields.COUNT,
            fields.COUNT,
        ),
    ),
    (10, Failed, (*_LEASE, fields.COUNT, fields.ATTEMPT, fields.COUNT, fields.COUNT, fields.TEXT)),
    (11, Goodbye, (*_LEASE, fields.TEXT)),
)
_KIND = {cls: kind for kind, cls, _ in _TABLE}
_FIELDS = {cls: tuple(field.name for field in dataclasses.fields(cls)) for _, cls, _ in _TABLE}
_DECODE = {kind: (cls, checks) for kind, cls, checks in _TABLE}
_WITH_PAYLOAD = (Chunk, Result)
_OPS = _FIELDS[Welcome].index("ops")

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
        payload: The bytes that go with a Chunk or a Result; exactly `message.length` of them. A Welcome brings its own:
            the tables of its ops.

    Raises:
        ProtocolError: The header would be longer than HEADER_MAX, the tables would be longer than TABLES_MAX, or the
            payload does not fit the message.
    """
    cls = type(message)
    values = [_flat(getattr(message, name)) for name in _FIELDS[cls]]
    header: bytes = msgpack.packb([_KIND[cls], *values])
    if len(header) > HEADER_MAX:
        raise ProtocolError(f"a {cls.__name__} header of {len(header)} bytes is over the limit of {HEADER_MAX}")
    if isinstance(message, Welcome) and payload is None:
        tables = b"".join(table.numbers for step in message.ops for table in step.tables)
        if len(tables) > TABLES_MAX:
            raise ProtocolError(f"tables of {len(tables)} bytes are over the limit of {TABLES_MAX}")
        return [header, tables] if tables else [header]
    if payload is None:
        _check_payload(message, 1, 0)
        return [header]
    _check_payload(message, 2, memoryview(payload).nbytes)
    return [header, payload]


def decode(parts: Sequence[Buffer], accepted: frozenset[type[Message]]) -> Message:
    """Return the message that these parts hold. The payload of a Chunk or a Result, if it has one, is `parts[1]`.

    Args:
        parts: Header, and for a Chunk or a Result the payload, for a Welcome the tables; without envelope.
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
    checked = [check(value) for check, value in zip(checks, values[1:], strict=True)]
    if cls is Welcome:
        checked[_OPS] = fields.with_tables(checked[_OPS], parts[1:])  # type: ignore[arg-type]  # `ops` checked it
        return make(*checked)
    message = make(*checked)
    if isinstance(message, Chunk):
        _check_ranges(message)
    _check_payload(message, len(parts), memoryview(parts[1]).nbytes if len(parts) > 1 else 0)
    return message


def cut(text: str, limit: int = TEXT_MAX) -> str:
    """Return the text, shortened to at most `limit` bytes of UTF-8 at a whole character."""
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 4].decode("utf-8", "ignore") + "..."


def _parse(header: memoryview) -> tuple[type[Message], tuple[fields.Check, ...], list[object]]:
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
        raise ProtocolError(f"a header that is no msgpack within the limits: {shown(str(error))}") from None
    if type(values) is not list or not values or type(values[0]) is not int or values[0] not in _DECODE:
        raise ProtocolError(f"a header that is no known message: {shown(values)}")
    return *_DECODE[values[0]], values


def _check_ranges(chunk: Chunk) -> None:
    if chunk.start > chunk.stop or chunk.input_start > chunk.input_stop:
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
    """Return a field as it travels: held pairs, parameters, tables and references as flat arrays, all else as it is."""
    if isinstance(value, Reference):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, Step):
        tables = [item for table in value.tables for item in (table.key, table.type, len(table.numbers))]
        return [value.name, _flat(value.params), tables, value.version]
    if type(value) is not tuple or not value or type(value[0]) in (str, int):
        return value
    if isinstance(value[0], Step):
        return [_flat(step) for step in value]
    return [item for pair in value for item in pair]
