"""Step: one op as it travels to workers; and the buffers that hold samples. Pure.

The coordinator turns each op that a user asks for into Steps, with everything computed that can be computed once. The
wire carries Steps, and a worker binds them to code that it has already.
"""

from __future__ import annotations

from dataclasses import dataclass

Scalar = int | float | bool | str
Params = tuple[tuple[str, Scalar], ...]

Buffer = bytes | bytearray | memoryview

TABLE_TYPES = ("<f8", "<f4", "<i8", "<i4")  # of the numbers in a table, as numpy names them


@dataclass(frozen=True, slots=True)
class Table:
    """A one-dimensional table of numbers that the coordinator computed.

    Attributes:
        key: The name of the coefficient.
        type: The type of its numbers, one of `TABLE_TYPES`.
        numbers: Their bytes.
    """

    key: str
    type: str
    numbers: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One op as it goes over the wire.

    Attributes:
        name: A built-in op's name, or ``module:function``.
        params: A built-in op's coefficients, or the keyword arguments of a user's function.
        tables: A built-in op's tables.
        version: The version that the op declares, with the hash of its model; empty for none.
    """

    name: str
    params: Params = ()
    tables: tuple[Table, ...] = ()
    version: str = ""
