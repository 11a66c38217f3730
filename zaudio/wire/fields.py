"""Fields: the limits of the protocol, and a check for each type of field.

Rules: pure. A check takes a value as msgpack gives it, and returns it as a message has it or raises ProtocolError.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from zaudio.errors import ProtocolError
from zaudio.plan import Order
from zaudio.reference import Reference
from zaudio.steps import TABLE_TYPES, Buffer, Scalar, Step, Table

HEADER_MAX = 8192  # bytes; a ready with 256 held pairs and a welcome with two dozen ops fit
TEXT_MAX = 2048  # bytes of UTF-8; error texts are cut to this by their sender
NAME_MAX = 256  # bytes of UTF-8 for names, hosts, endpoints
HELD_MAX = 256  # (index, attempt) pairs; credit never goes beyond it
LIST_MAX = 64  # ops, endpoints, parameters, tables
TABLES_MAX = 64 * 1024 * 1024  # bytes of all tables of a welcome; a filter of 8 million taps
COUNT_MAX = 2**48  # frames, bytes, indexes, sequences: 200 years of audio
ID_LENGTH = 16  # bytes of a job or a session

Check = Callable[[object], object]
Head = tuple[Step, tuple[tuple[str, str, int], ...]]  # an op without its tables; name, type and bytes of each


def integer(low: int, high: int) -> Callable[[object], int]:
    """Return the check of an integer."""

    def check(value: object) -> int:
        # `type is int`, since True is an int to isinstance.
        if type(value) is int and low <= value <= high:
            return value
        raise ProtocolError(f"expected an integer from {low} to {high}, got {shown(value)}")

    return check


def number(low: float, high: float) -> Callable[[object], float]:
    """Return the check of a finite number, which becomes a float."""

    def check(value: object) -> float:
        if isinstance(value, int | float) and type(value) is not bool and low <= value <= high:  # nan is not
            return float(value)
        raise ProtocolError(f"expected a number from {low:g} to {high:g}, got {shown(value)}")

    return check


def text(limit: int) -> Callable[[object], str]:
    """Return the check of a text with a bounded length in UTF-8."""

    def check(value: object) -> str:
        if type(value) is str and len(value.encode("utf-8", "surrogatepass")) <= limit:
            return value
        raise ProtocolError(f"expected text of at most {limit} bytes, got {shown(value)}")

    return check


def identity(value: object) -> bytes:
    """Read the 16 bytes of a job or a session."""
    if type(value) is bytes and len(value) == ID_LENGTH:
        return value
    raise ProtocolError(f"expected {ID_LENGTH} bytes, got {shown(value)}")


def identity_or_none(value: object) -> bytes:
    """Read 16 bytes, or none."""
    return value if type(value) is bytes and not value else identity(value)


def truth(value: object) -> bool:
    """Read a boolean."""
    if type(value) is bool:
        return value
    raise ProtocolError(f"expected true or false, got {shown(value)}")


def reference(value: object) -> Reference | None:
    """Read a reference, which travels as an array of its fields, or nil."""
    if value is None:
        return None
    if type(value) is not list or len(value) != 7:
        raise ProtocolError(f"expected nil or the seven fields of a reference, got {shown(value)}")
    path, offset, size, *numbers = value
    return Reference(TEXT(path), COUNT(offset), COUNT(size), *map(HASH, numbers))


def order(value: object) -> str:
    """Read the order of frames."""
    if type(value) is str and value in _ORDERS:
        return value
    raise ProtocolError(f"expected {' or '.join(_ORDERS)}, got {shown(value)}")


def texts(value: object) -> tuple[str, ...]:
    """Read a list of names."""
    if type(value) is list and len(value) <= LIST_MAX:
        return tuple(map(text(NAME_MAX), value))
    raise ProtocolError(f"expected at most {LIST_MAX} names, got {shown(value)}")


def held(value: object) -> tuple[tuple[int, int], ...]:
    """Read pairs, which travel flat: index, attempt, index, attempt ..."""
    if type(value) is not list or len(value) % 2 or len(value) > 2 * HELD_MAX:
        raise ProtocolError(f"expected at most {HELD_MAX} pairs of index and attempt, got {shown(value)}")
    return tuple(zip(map(COUNT, value[::2]), map(ATTEMPT, value[1::2]), strict=True))


def hashes(value: object) -> tuple[int, ...]:
    """Read a list of hashes."""
    if type(value) is list and len(value) <= LIST_MAX:
        return tuple(map(HASH, value))
    raise ProtocolError(f"expected at most {LIST_MAX} hashes, got {shown(value)}")


def ops(value: object) -> tuple[Head, ...]:
    """Read ops; each is [name, [parameter, value ...], [table, type, bytes ...], version]."""
    if type(value) is not list or len(value) > LIST_MAX:
        raise ProtocolError(f"expected at most {LIST_MAX} ops, got {shown(value)}")
    return tuple(_head(item) for item in value)


def _head(value: object) -> Head:
    if type(value) is not list or len(value) != 4:
        raise ProtocolError(f"expected an op as [name, parameters, tables, version], got {shown(value)}")
    name, flat, tables, version = NAME(value[0]), value[1], _tables(value[2]), NAME(value[3])
    if type(flat) is not list or len(flat) % 2 or len(flat) > 2 * LIST_MAX:
        raise ProtocolError(f"expected parameters as [name, value, ...], got {shown(flat)}")
    params = tuple(zip(map(NAME, flat[::2]), map(_scalar, flat[1::2]), strict=True))
    if len({*(key for key, _ in params), *(key for key, _, _ in tables)}) != len(params) + len(tables):
        raise ProtocolError(f"op {shown(name)} names a parameter or a table twice")
    return Step(name, params, (), version), tables


def _tables(value: object) -> tuple[tuple[str, str, int], ...]:
    if type(value) is not list or len(value) % 3 or len(value) > 3 * LIST_MAX:
        raise ProtocolError(f"expected tables as [name, type, bytes, ...], got {shown(value)}")
    return tuple(_table(*value[at : at + 3]) for at in range(0, len(value), 3))


def _table(key: object, type_: object, length: object) -> tuple[str, str, int]:
    if type(type_) is not str or type_ not in TABLE_TYPES:
        raise ProtocolError(f"expected {' or '.join(TABLE_TYPES)}, got {shown(type_)}")
    size = _TABLE_BYTES(length)
    if size % int(type_[-1]):
        raise ProtocolError(f"expected whole numbers of {type_} in a table, got {size} bytes")
    return NAME(key), type_, size


def _scalar(value: object) -> Scalar:
    match value:
        case bool():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            return str(NAME(value))
    raise ProtocolError(f"expected a finite number, a boolean or text, got {shown(value)}")


def shown(value: object) -> str:
    """Return a value for a sentence, in short."""
    # Never repr: msgpack lets lists nested a thousand deep pass, and repr of those is a RecursionError.
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3
_BRIEF.maxstring = _BRIEF.maxother = 60


_ORDERS = tuple(order.value for order in Order)
COUNT = integer(0, COUNT_MAX)
ATTEMPT = integer(1, 2**31)
_TABLE_BYTES = integer(0, TABLES_MAX)
SLOT = integer(-1, HELD_MAX - 1)
FRAMES = integer(-1, COUNT_MAX)  # of a chunk's recording; -1: as in the welcome
HASH = integer(0, 2**64 - 1)
NAME = text(NAME_MAX)
TEXT = text(TEXT_MAX)
INCARNATION = integer(1, 2**31)


def with_tables(heads: Sequence[Head], payload: Sequence[Buffer]) -> tuple[Step, ...]:
    """Return the ops with the numbers of their tables, which lie one behind the other in the payload."""
    expected = sum(length for _, tables in heads for _, _, length in tables)
    got = [memoryview(part).nbytes for part in payload]
    if expected > TABLES_MAX or got != ([expected] if expected else []):
        raise ProtocolError(
            f"a Welcome with tables of {expected} bytes came with {len(got)} payload parts of {sum(got)} bytes"
        )
    numbers, at = memoryview(payload[0]).cast("B") if expected else memoryview(b""), 0
    steps = []
    for step, tables in heads:
        filled = []
        for key, type_, length in tables:
            filled.append(Table(key, type_, bytes(numbers[at : at + length])))
            at += length
        steps.append(replace(step, tables=tuple(filled)))
    return tuple(steps)
