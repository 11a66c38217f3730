"""Step: one op as it travels to workers; and the buffers that hold samples. Pure.

The coordinator turns each op that a user asks for into a Step, with everything computed that can be computed once. The
wire carries Steps, and a worker binds them to code that it has already.
"""

from __future__ import annotations

from dataclasses import dataclass

Scalar = int | float | bool | str
Params = tuple[tuple[str, Scalar], ...]

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Step:
    """One op as it goes over the wire.

    Attributes:
        name: A built-in op's name, or ``module:function``.
        params: A built-in op's coefficients, or the keyword arguments of a user's function.
    """

    name: str
    params: Params = ()
