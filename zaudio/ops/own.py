"""Users' own ops: a function of a module with what it declares, or a dataclass that derives from `Op`.

Rules:

- A function that declares nothing works sample by sample: it may be given any stretch of the recording, and returns an
  array of the same shape and type.
- The array that a function gets is its own to write to, and C-contiguous. Its result is copied if it may be scratch
  memory, which the function fills again at its next call.
- Both sides read the declaration from their own module. An op of another version, or with another model, is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.classes import class_version, make_class_op
from zaudio.ops.contract import Array, Op, Place
from zaudio.ops.declaring import PLAIN, Declaration, called, declaration_of, version_text
from zaudio.ops.functions import Allowed, is_op_class
from zaudio.ops.results import home_of, title_of
from zaudio.ops.travel import given_of, step_of
from zaudio.signal import Signal
from zaudio.steps import Scalar, Step

TOLD = ("place", "state")  # keyword arguments that a declared function gets, if it has them


@dataclass(frozen=True)
class FunctionOp(Op):
    """A user's function, its keyword arguments and its declaration.

    Attributes:
        name: ``module:function``.
        function: The function.
        params: The keyword arguments that the user gave.
        declared: The needs of the function.
    """

    name: str
    function: Callable[..., object] = field(repr=False)
    params: Mapping[str, Scalar]
    declared: Declaration = PLAIN

    def __post_init__(self) -> None:
        version = version_text(self.name, self.declared.version, self.declared.model, _file(self.function))
        # A function's declaration takes the place of a class's attributes.
        for key, value in (("precision", self.declared.precision), ("version", version)):
            object.__setattr__(self, key, value)

    def design(self, signal: Signal) -> Op:
        """Return the op itself, when its declaration can be used with that signal.

        Raises:
            UsageError: It cannot be used.
        """
        self.needs(0, signal.frames, signal)
        after = self.signal(signal)
        if self.declared.needs is None and (after.frames, after.samplerate) != (signal.frames, signal.samplerate):
            raise UsageError(f"op {self.name}: it makes {after} of {signal}, so its declaration takes needs=, too")
        return self

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal."""
        if self.declared.signal is None:
            return before
        after = self._asked("signal", partial(called, self.declared.signal, (before,)))
        if not isinstance(after, Signal) or after.frames < 0 or after.channels < 1 or after.samplerate < 1:
            raise self._refusal("signal returns a Signal", after)
        return after

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames in front of a block and behind it."""
        return cast(tuple[int, int], self._asked("context", partial(self.declared.context_of, signal)))

    def grid(self, signal: Signal) -> int:
        """Return the frames per block."""
        return cast(int, self._asked("grid", partial(self.declared.grid_of, signal)))

    def setup(self, signal: Signal) -> object:
        """Return the state that the function's `setup` makes."""
        return called(self.declared.setup, (signal,), self._params()) if self.declared.setup is not None else None

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the function's result for the samples."""
        array = samples if samples.flags.carray else np.array(samples, order="C")
        shape = array.shape  # now: the function may set another one on the array itself
        told = {key: value for key, value in zip(TOLD, (place, state), strict=True) if key in self._told()}
        result = self.function(array, **self.params, **told)
        if not isinstance(result, np.ndarray) or (result is array and array.flags.carray and array.shape == shape):
            return cast(Array, result)  # the graph checks it
        return np.array(result, order="C")

    def _told(self) -> set[str]:
        return _told(self.function, self.declared)

    def _params(self) -> dict[str, Any]:
        """Return the parameters with their defaults, for the functions of the declaration."""
        return {**_defaults(self.function), **self.params}

    def _asked(self, key: str, ask: Callable[[dict[str, Any]], object]) -> object:
        """Return the value of a declaration for the parameters.

        Raises:
            UsageError: It says nothing that can be used.
        """
        try:
            return ask(self._params())
        except UsageError as error:
            raise UsageError(f"op {self.name}: {error}{home_of(self.function)}") from error
        except Exception as error:  # it runs a stranger's code
            cause = f"{type(error).__name__}: {error}"
            raise UsageError(f"op {self.name}: its {key} failed: {cause}{home_of(self.function)}") from error

    def _refusal(self, expected: str, got: object) -> UsageError:
        return UsageError(f"op {self.name}: {expected}, not {got!r:.80}{home_of(self.function)}")


@dataclass(frozen=True)
class ReachingOp(FunctionOp):
    """A user's function that declares which frames it needs: its output may have another length."""

    whole: ClassVar[bool] = True

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames of the input for those of the output."""
        assert self.declared.needs is not None, "own_op chose this class by it"
        found = self._asked("needs", partial(called, self.declared.needs, (start, stop, signal)))
        if not isinstance(found, tuple) or [*map(type, found)] != [int, int] or found[0] > found[1]:
            raise self._refusal(f"needs returns two frames for {start} to {stop}, the greater one last", found)
        return found

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the frame of the input at the same instant."""
        after = self.signal(signal).frames
        return frame if after == signal.frames else frame * signal.frames // max(1, after)

    def has_memory(self, signal: Signal) -> bool:
        """Return whether an output frame depends on more than the input frame at the same instant."""
        return True


def make_own(name: str, params: Mapping[str, object], allowed: Allowed) -> Op:
    """Return a user's op with those parameters.

    Raises:
        UsageError: It is not allowed, or cannot be used with those parameters.
    """
    found = allowed.select(name)
    if is_op_class(found):
        return make_class_op(name, found, params)
    declared = declaration_of(found) or PLAIN
    try:
        inspect.signature(found).bind(None, **params, **dict.fromkeys(_told(found, declared)))
    except TypeError as error:
        raise UsageError(
            f"op {name} cannot be called with an array and {dict(params)}: {error}{_untold(found)}"
        ) from None
    except ValueError:
        pass  # compiled, without a signature: the first call will tell
    kind = FunctionOp if declared.needs is None else ReachingOp
    return kind(name, found, cast(Mapping[str, Scalar], params), declared)


def own_op(step: Step, allowed: Allowed) -> Op:
    """Return the user's op that a Step names.

    Raises:
        UsageError: It is not allowed, cannot be used with those parameters, or is another version here.
    """
    op = make_own(step.name, given_of(step), allowed)
    version = own_version(op)
    if version != step.version:
        raise UsageError(
            f"op {step.name}: the job has version {step.version or '(none)'} of it, and this worker has version "
            f"{version or '(none)'}; both need the same module and the same model"
        )
    return op


def own_step(op: Op) -> Step:
    """Return a user's op as it travels.

    Raises:
        UsageError: A field of it cannot travel.
    """
    if isinstance(op, FunctionOp):
        return Step(op.name, tuple(op.params.items()), version=op.version)
    if not is_op_class(type(op)):
        raise UsageError(f"op {title_of(op)} cannot travel; put @dataclass(frozen=True) in front of its class")
    return step_of(op, title_of(op), own_version(op))


def own_version(op: Op) -> str:
    """Return the version of a user's op, with the hash of its model."""
    return op.version if isinstance(op, FunctionOp) else class_version(op, title_of(op))


def _told(function: Callable[..., object], declared: Declaration) -> set[str]:
    """Return the facts that a function asks for by the names of its arguments, if it declares anything."""
    if declared is PLAIN:
        return set()
    try:
        return {*TOLD} & inspect.signature(function).parameters.keys()
    except ValueError:  # compiled
        return set()


def _untold(function: Callable[..., object]) -> str:
    """Return the fault of a function that asks for its place without a declaration, after a semicolon; else empty."""
    wanted = {*TOLD} & inspect.signature(function).parameters.keys()
    if not wanted or declaration_of(function) is not None:
        return ""
    return f"; only a function with @zaudio.op() in front of it is told its {' and its '.join(sorted(wanted))}"


def _defaults(function: Callable[..., object]) -> dict[str, Any]:
    try:
        items = inspect.signature(function).parameters.values()
    except ValueError:  # compiled
        return {}
    return {item.name: item.default for item in items if item.default is not item.empty and item.name not in TOLD}


def _file(function: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code is not None else ""
