"""Users' own ops: a function of a module, with what it declares.

Rules:

- A function that declares nothing works sample by sample: it may be given any stretch of the recording, and returns an
  array of the same shape and type.
- The array that a function gets is its own to write to, and C-contiguous. What it returns is copied if it may be
  scratch memory, which the function fills again at its next call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, Op, Place, Precision
from zaudio.ops.functions import Allowed
from zaudio.steps import Scalar, Step


@dataclass(frozen=True)
class FunctionOp(Op):
    """A user's function and its keyword arguments."""

    precision: ClassVar[Precision] = Precision.STORED
    name: str
    function: Callable[..., object] = field(repr=False)
    params: Mapping[str, Scalar]

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return what the function makes of the samples.

        Raises:
            ValueError: It changed the shape.
            TypeError: It returned no array, or one of another type.
        """
        array = samples if samples.flags.carray else np.array(samples, order="C")
        shape, dtype = array.shape, array.dtype  # now: the function may set them on the array itself
        result = self.function(array, **self.params)
        if not isinstance(result, np.ndarray):
            raise TypeError(self._odd(f"an array of {dtype}", type(result).__name__))
        if result.shape != shape:
            raise ValueError(self._odd(f"an array of shape {shape}", result.shape))
        if result.dtype != dtype:
            raise TypeError(self._odd(f"an array of {dtype}", result.dtype))
        return array if result is array and array.flags.carray else np.array(result, order="C")

    def _odd(self, expected: str, got: object) -> str:
        return f"op {self.name}: expected {expected} back, got {got}{_home(self.function)}"


def own_op(step: Step, allowed: Allowed) -> Op:
    """Return the user's op that a Step names.

    Raises:
        UsageError: It is not allowed, or cannot be called with those parameters.
    """
    function = allowed.select(step.name)
    params = dict(step.params)
    try:
        inspect.signature(function).bind(None, **params)
    except TypeError as error:
        raise UsageError(f"op {step.name} cannot be called with an array and {params}: {error}") from None
    except ValueError:
        pass  # compiled, without a signature: the first call will tell
    return FunctionOp(step.name, function, params)


def own_step(op: FunctionOp) -> Step:
    """Return a user's op as it travels."""
    return Step(op.name, tuple(op.params.items()))


def _home(function: Callable[..., object]) -> str:
    """Return file and line of a function, in brackets; empty for a compiled one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
