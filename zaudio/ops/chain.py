"""Chain: the ops of a job, applied to one chunk after the other.

Rules: `prepare_chain` runs on the coordinator and turns what users ask for into Steps, which travel; a Chain is made of
Steps on a worker. The first op may see the payload itself, which nobody may write to. From then on the array between
two ops is private (nobody else refers to it), writeable and C-contiguous, so a user's function may write to what
it gets, and a result may be sent without a copy while the next chunk is worked on.
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
    """The steps for workers: parameters checked, coefficients computed, once for all of them.

    Raises:
        UsageError: There is no such built-in op, or its parameters cannot be used.
    """
    return tuple(_prepare(spec, format) for spec in specs)


class ChunkFailed(Exception):  # noqa: N818  # it says where; what the error is, its cause says
    """A chunk of a bundle failed: frames `start` to `stop`, counted from the bundle's first frame."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.start = start
        self.stop = stop


class Chain:
    """The steps of a job, ready to be applied to payloads.

    Args:
        steps: 1 to 32 of them, applied in order.
        format: How samples are stored in a payload and in its result.
        channels: Samples a frame, 1 or more.
        allowed: The users' functions that may be selected.

    Raises:
        UsageError: This worker cannot do one of the steps.
    """

    def __init__(self, steps: Sequence[Step], format: SampleFormat, channels: int, allowed: Allowed) -> None:
        if not 1 <= len(steps) <= LONGEST_CHAIN:
            raise UsageError(f"a chain has 1 to {LONGEST_CHAIN} ops, not {len(steps)}")
        self._format = format
        self._channels = channels
        self._ops = tuple(_bind(step, allowed) for step in steps)

    def __call__(self, payload: Buffer) -> Array:
        """Apply all ops to the frames of one payload.

        Args:
            payload: Whole frames as stored; read only during the call, never written.

        Returns:
            A new C-contiguous array (frames, channels) in the stored byte order.

        Raises:
            ValueError: The payload is no whole number of frames, or a function changed the shape.
            TypeError: A function returned no array, or one of another dtype.
            Exception: Whatever a user's function raises.
        """
        array = self._frames(payload)
        if not self._format.is_native:
            # Bytes are swapped, floats never converted: a signalling NaN passes as it is.
            array = array.byteswap().view(self._format.native_dtype)
        elif isinstance(self._ops[0], _Function):
            array = array.copy()
        for op in self._ops:
            array = op(array)
        return array if self._format.is_native else array.byteswap(inplace=True).view(self._format.dtype)

    def run(
        self, payload: Buffer, chunk_frames: int, *, lead: int = 0, tail: int = 0, before: int = 0, after: int = 0
    ) -> Array:
        """Apply all ops to a bundle of chunks, one chunk at a time, each with its context.

        Args:
            payload: Whole frames as stored: those of the bundle, between `lead` and `tail` frames of context.
            chunk_frames: Frames per chunk; the last may have fewer.
            lead: Frames in front of the bundle; fewer than `before` where the recording begins.
            tail: Frames behind the bundle; fewer than `after` where the recording ends.
            before: Frames of context that the ops need in front of a chunk.
            after: Frames of context that the ops need behind a chunk.

        Returns:
            The bundle's frames, as of a call; the context is trimmed.

        Raises:
            ChunkFailed: One of several chunks failed; its cause is the exception that a call raised.
            Exception: As of a call, for the only chunk.
        """
        frame_bytes = self._channels * self._format.itemsize
        view = memoryview(payload)
        end = view.nbytes // frame_bytes
        stop = end - tail
        if stop - lead <= chunk_frames:
            return self(payload)[lead:stop]
        bundle = np.empty_like(self._frames(payload)[lead:stop])
        for start in range(lead, stop, chunk_frames):
            behind = min(start + chunk_frames, stop)
            # A neighbour in the bundle is context like any other; at the payload's ends the recording has no more.
            first, last = max(0, start - before), min(end, behind + after)
            try:
                chunk = self(view[first * frame_bytes : last * frame_bytes])
            except BaseException as error:  # SystemExit too: a function of a user's may raise anything
                raise ChunkFailed(start - lead, behind - lead) from error
            bundle[start - lead : behind - lead] = chunk[start - first : behind - first]
        return bundle

    def _frames(self, payload: Buffer) -> Array:
        size, frame = memoryview(payload).nbytes, self._channels * self._format.itemsize
        if size % frame:
            raise ValueError(f"expected a payload of whole frames of {frame} bytes, got {size} bytes")
        return np.frombuffer(payload, self._format.dtype).reshape(-1, self._channels)


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
            raise TypeError(f"op {self.name}: expected an array of {dtype} back, got {type(result).__name__}")
        if result.shape != shape:
            raise ValueError(f"op {self.name}: expected an array of shape {shape} back, got {result.shape}")
        if result.dtype != dtype:
            raise TypeError(f"op {self.name}: expected an array of {dtype} back, got {result.dtype}")
        # Another array than the one it got may be a scratch array, which the function fills again for the next chunk.
        return array if result is array and array.flags.carray else np.array(result, order="C")


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
