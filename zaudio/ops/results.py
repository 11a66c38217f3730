"""Results: checks of what users' ops return or raise, and the words that name such an op.

Rules: a user's op may return anything. A sentence names the expectation, the finding and the line of code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from zaudio.ops.contract import Array, Kernel, Op, Precision
from zaudio.signal import Signal


def checked_result(op: Op, result: object, given: Array, lengths: tuple[int, ...], before: Signal) -> Array:
    """Return the result of an op, if it is an array as expected.

    Args:
        op: The op.
        result: The value that it returned.
        given: The samples that it got.
        lengths: The numbers of frames that it may return.
        before: The signal of its input.

    Raises:
        TypeError: It is no array, or one of another type.
        ValueError: It has another shape.
    """
    after = op.signal(before)
    dtype = given.dtype
    if op.precision is Precision.STORED and after.format != before.format:
        dtype = np.dtype(after.format.native_dtype)
    if not isinstance(result, np.ndarray):
        raise TypeError(_odd(op, f"an array of {dtype}", type(result).__name__))
    if result.ndim != 2 or result.shape[1] != after.channels or len(result) not in lengths:
        shapes = " or ".join(str((length, after.channels)) for length in dict.fromkeys(lengths))
        raise ValueError(_odd(op, f"an array of shape {shapes}", result.shape))
    if result.dtype != dtype:
        raise TypeError(_odd(op, f"an array of {dtype}", result.dtype))
    return result


def made_state(op: Op, signal: Signal) -> object:
    """Return the state that an op's `setup` makes.

    Raises:
        RuntimeError: The `setup` of a user's op failed.
    """
    if isinstance(op, Kernel):
        return op.setup(signal)
    try:
        return op.setup(signal)
    except Exception as error:  # it runs a stranger's code
        cause = f"{type(error).__name__}: {error}"
        home = home_of(getattr(op, "function", type(op).setup))
        raise RuntimeError(f"op {title_of(op)}: its setup failed: {cause}{home}") from error


def title_of(op: Op) -> str:
    """Return an op's name for a sentence: ``module:function`` for a user's op."""
    name = getattr(op, "name", "")
    return name if isinstance(name, str) and ":" in name else f"{type(op).__module__}:{type(op).__qualname__}"


def home_of(function: Callable[..., object]) -> str:
    """Return file and line of a function, in brackets; empty for a compiled one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""


def _odd(op: Op, expected: str, got: object) -> str:
    function = getattr(op, "function", type(op).apply)
    return f"op {title_of(op)}: expected {expected} back, got {got}{home_of(function)}"
