"""Chain: the ops of a job, applied to one chunk after the other.

Rules:

- `prepare_chain` runs on the coordinator and turns the ops that users ask for into Steps, which travel. A worker makes
  a Chain of them.
- The first op may see the payload itself, which must not be written to.
- From then on the array between two ops is private (nothing else refers to it), writeable and C-contiguous. So a user's
  function may write to the array that it gets, and a result may be sent without a copy during the next chunk.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zaudio.errors import UsageError
from zaudio.formats import SampleFormat
from zaudio.ops.builtin import BUILTIN, Array, find_op
from zaudio.ops.functions import Allowed
from zaudio.ops.spec import LONGEST_CHAIN, OpSpec, split_function
from zaudio.steps import Buffer, Scalar, Step


def prepare_chain(specs: Sequence[OpSpec], format: SampleFormat) -> tuple[Step, ...]:
    """Return the steps for workers: parameters checked, coefficients computed, once for all of them.

    Raises:
        UsageError: There is no such built-in op, or its parameters cannot be used.
    """
    return tuple(_prepare(spec, format) for spec in specs)


class Chain:
    """The steps of a job, ready to be applied to payloads.

    Args:
        steps: 1 to 32 of them, applied in order.
        format: How samples are stored in a payload and in its result.
        channels: Samples per frame, 1 or more.
        allowed: The users' functions that may be selected.

    Attributes:
        frame_bytes: Bytes per frame as stored.

    Raises:
        UsageError: This worker cannot do one of the steps.
    """

    def __init__(self, steps: Sequence[Step], format: SampleFormat, channels: int, allowed: Allowed) -> None:
        if not 1 <= len(steps) <= LONGEST_CHAIN:
            raise UsageError(f"a chain has 1 to {LONGEST_CHAIN} ops, not {len(steps)}")
        self._format = format
        self._channels = channels
        self._ops = tuple(_bind(step, allowed) for step in steps)
        self._clips = tuple(_counter(step) for step in steps)
        self._clipped = 0
        self.frame_bytes = channels * format.itemsize

    def __call__(self, payload: Buffer) -> Array:
        """Apply all ops to the frames of one payload: `apply` to its `frames`."""
        return self.apply(self.frames(payload))

    def frames(self, payload: Buffer) -> Array:
        """Return the frames of a payload as an array (frames, channels) in the stored byte order, without a copy.

        Args:
            payload: Whole frames as stored.

        Raises:
            ValueError: The payload is no whole number of frames.
        """
        size, frame = memoryview(payload).nbytes, self.frame_bytes
        if size % frame:
            raise ValueError(f"expected a payload of whole frames of {frame} bytes, got {size} bytes")
        return np.frombuffer(payload, self._format.dtype).reshape(-1, self._channels)

    def take_clipped(self) -> int:
        """Return how many samples were limited to the range of their integers since the last call."""
        clipped, self._clipped = self._clipped, 0
        return clipped

    def apply(self, frames: Array, counted: slice = slice(None)) -> Array:
        """Apply all ops.

        Args:
            frames: Frames as `frames` returns them; read only during the call, never written.
            counted: The frames of which clipped samples are counted: those that are no context.

        Returns:
            A new C-contiguous array (frames, channels) in the stored byte order.

        Raises:
            ValueError: A function changed the shape.
            TypeError: A function returned no array, or one of another dtype.
            Exception: Any other that a user's function raises.
        """
        array = frames
        if not self._format.is_native:
            # Bytes are swapped, floats never converted: a signalling NaN passes as it is.
            array = array.byteswap().view(self._format.native_dtype)
        elif isinstance(self._ops[0], _Function):
            array = array.copy()
        for op, clips in zip(self._ops, self._clips, strict=True):
            if clips is not None:
                self._clipped += clips(array[counted])
            array = op(array)
        return array if self._format.is_native else array.byteswap(inplace=True).view(self._format.dtype)


@dataclass(frozen=True, slots=True)
class _Function:
    """A user's function and its keyword arguments; called with a private array, it returns a private array."""

    name: str
    function: Callable[..., object]
    params: Mapping[str, Scalar]

    def __call__(self, array: Array) -> Array:
        shape, dtype = array.shape, array.dtype  # now: the function may set them on the array itself
        result = self.function(array, **self.params)
        if not isinstance(result, np.ndarray):
            raise TypeError(self._odd(f"an array of {dtype}", type(result).__name__))
        if result.shape != shape:
            raise ValueError(self._odd(f"an array of shape {shape}", result.shape))
        if result.dtype != dtype:
            raise TypeError(self._odd(f"an array of {dtype}", result.dtype))
        # Any array but the one that it got may be scratch memory, which the function fills again for the next chunk.
        return array if result is array and array.flags.carray else np.array(result, order="C")

    def _odd(self, expected: str, got: object) -> str:
        return f"op {self.name}: expected {expected} back, got {got}{_home(self.function)}"


def _home(function: Callable[..., object]) -> str:
    """Return file and line of a function, in brackets; empty for a compiled one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""


def _prepare(spec: OpSpec, format: SampleFormat) -> Step:
    if not spec.is_function:
        return Step(spec.name, tuple(find_op(spec.name).prepare(dict(spec.params), format).items()))
    module, _ = split_function(spec.name)
    if module in BUILTIN:
        raise UsageError(
            f"op {str(spec)!r}: {module} is a built-in op, and a parameter is written KEY=VALUE, "
            f"as in {BUILTIN[module].example}; a module of that name cannot be used"
        )
    return Step(spec.name, spec.params)


def _counter(step: Step) -> Callable[[Array], int] | None:
    clips = BUILTIN[step.name].clips if step.name in BUILTIN else None
    return functools.partial(clips, **dict(step.params)) if clips is not None else None


def _bind(step: Step, allowed: Allowed) -> Callable[[Array], Array]:
    params: dict[str, Any] = dict(step.params)
    if ":" not in step.name:
        op = find_op(step.name)
        op.check(params)
        return functools.partial(op.apply, **params)
    function = allowed.select(step.name)
    try:
        inspect.signature(function).bind(None, **params)
    except TypeError as error:
        raise UsageError(f"op {step.name} cannot be called with an array and {params}: {error}") from None
    except ValueError:
        pass  # compiled, without a signature: the first call will tell
    return _Function(step.name, function, params)
