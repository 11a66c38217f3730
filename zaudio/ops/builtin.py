"""The built-in ops: a table, and for each op a function that applies it and one that computes its coefficients.

Rules:

- An op works sample by sample, so no cut changes its result.
- `prepare` runs once, on the coordinator. Transcendental functions stand there alone: numpy's and libm's differ between
  CPUs in the last bit.
- `apply` runs on workers. It uses + - * /, rounding, comparisons and the sign bit, none of which differ.
- `apply` takes an array (frames, channels) in native byte order and never writes to it: it may be a message. It returns
  a new, C-contiguous array of the same dtype.
- No numpy warning leaves `apply`: a product may overflow to infinity.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from zaudio.errors import UsageError
from zaudio.formats import SampleFormat
from zaudio.steps import Scalar

Array = npt.NDArray[Any]

LOUDEST_DB = 200.0  # 24-bit audio spans 144 dB; and 10**10 times any float32 factor is far from overflow
WIDEST_CLIP = 1e6  # 120 dB above full scale: beyond any float recording, and exact enough in float32


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a built-in op; every one so far is a number.

    Attributes:
        name: Its key in a SPEC.
        default: Its value when it is not given; None if it must be.
        least: The least value allowed.
        most: The greatest value allowed.
        meaning: Its meaning, with the unit.
        type: The kind of value that it takes.
    """

    name: str
    default: float | None
    least: float
    most: float
    meaning: str
    type: str = "number"


@dataclass(frozen=True, slots=True)
class Op:
    """A built-in op.

    Attributes:
        name: Its name in a SPEC.
        summary: Its effect, in one line.
        parameters: The parameters that a user may set.
        example: A SPEC that works.
        coefficients: The keywords of `apply`, all numbers.
        compute: Turns values of all parameters and the sample format into coefficients.
        apply: Turns an array (frames, channels) into a new one.
        clips: Counts the samples of an array that `apply` would put outside of the range of their integers, and which
            it limits therefore; None for an op that has no such samples.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    example: str
    coefficients: tuple[str, ...]
    compute: Callable[[Mapping[str, float], SampleFormat], dict[str, Scalar]]
    apply: Callable[..., Array]
    clips: Callable[..., int] | None = None

    def prepare(self, params: Mapping[str, Scalar], format: SampleFormat) -> dict[str, Scalar]:
        """Return the coefficients for these parameters; runs on the coordinator.

        Raises:
            UsageError: A parameter is unknown, missing, no number or out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for key in params:
            if key not in known:
                raise UsageError(f"op {self.name} has no parameter {key}; it has {', '.join(known) or 'none'}")
        return self.compute({name: self._value(known[name], params.get(name)) for name in known}, format)

    def check(self, coefficients: Mapping[str, Scalar]) -> None:
        """Make sure that coefficients from a message are those that `apply` takes.

        Raises:
            UsageError: One is missing, unknown, or no finite number.
        """
        if set(coefficients) != set(self.coefficients) or not all(map(_is_number, coefficients.values())):
            raise UsageError(
                f"op {self.name}: expected the numbers {', '.join(self.coefficients) or '(none)'}, "
                f"not {dict(coefficients)!r:.80}"
            )

    def _value(self, parameter: Parameter, given: Scalar | None) -> float:
        name, least, most = parameter.name, parameter.least, parameter.most
        value = parameter.default if given is None else given
        if value is None:
            raise UsageError(f"op {self.name} needs {name}: {parameter.meaning}; for example {self.example}")
        if isinstance(value, bool | str) or not least <= value <= most:
            raise UsageError(f"op {self.name}: {name} is a number from {least:g} to {most:g}, not {value!r}")
        return float(value)


def find_op(name: str) -> Op:
    """Return the built-in op of that name.

    Raises:
        UsageError: There is no such op; the sentence lists all ops.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    close = difflib.get_close_matches(name, BUILTIN, n=1)
    raise UsageError(
        f"there is no op {name!r}{f', did you mean {close[0]}?' if close else ''}; built in are "
        f"{', '.join(sorted(BUILTIN))} (see zaudio ops), and a function of your own is MODULE:FUNCTION"
    )


def describe_op(name: str) -> dict[str, Any]:
    """Return one built-in op as plain data: name, summary, parameters, example.

    Each parameter has name, type, default (None: required), least, most, meaning.

    Raises:
        UsageError: There is no such op.
    """
    op = find_op(name)
    parameters = [asdict(parameter) for parameter in op.parameters]
    return {"name": op.name, "summary": op.summary, "parameters": parameters, "example": op.example}


def describe_ops() -> list[dict[str, Any]]:
    """Return all built-in ops as `describe_op` has them, sorted by name."""
    return [describe_op(name) for name in sorted(BUILTIN)]


def _invert(array: Array) -> Array:
    if array.dtype.kind == "f":
        # XOR, not multiplication: that leaves the sign of NaN as it was and makes signalling NaN quiet.
        bits = np.dtype(f"u{array.dtype.itemsize}")
        sign = bits.type(1 << (8 * bits.itemsize - 1))
        flipped: Array = np.bitwise_xor(array.view(bits), sign, order="C")
        return flipped.view(array.dtype)
    # The most negative integer has no positive twin: raised by one first, it saturates.
    raised: Array = np.maximum(array, np.iinfo(array.dtype).min + 1, order="C")
    np.negative(raised, out=raised)
    return raised


def _compute_gain(values: Mapping[str, float], _: SampleFormat) -> dict[str, Scalar]:
    return {"factor": 10.0 ** (values["db"] / 20.0)}


def _gain(array: Array, *, factor: float) -> Array:
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f":
            louder: Array = np.multiply(array, array.dtype.type(factor), order="C")
            return louder
        scaled: Array = np.multiply(array, factor, dtype=np.float64, order="C")
        np.rint(scaled, out=scaled)  # half to even
        limits = np.iinfo(array.dtype)
        # float64 holds both limits of 32 bits exactly, so nothing wraps in the cast.
        np.clip(scaled, limits.min, limits.max, out=scaled)
        return scaled.astype(array.dtype)


def _gain_clips(array: Array, *, factor: float) -> int:
    if array.dtype.kind == "f" or factor <= 1:
        return 0
    limits = np.iinfo(array.dtype)
    low, high = _kept(factor, int(limits.min), int(limits.max))
    return int(np.count_nonzero(array > array.dtype.type(high)) + np.count_nonzero(array < array.dtype.type(low)))


@functools.cache
def _kept(factor: float, least: int, most: int) -> tuple[int, int]:
    """Return the least and the greatest integer that a gain leaves in the range from `least` to `most`."""
    low = max(least, int((least - 1) / factor) - 1)
    while round(low * factor) < least:
        low += 1
    high = min(most, int((most + 1) / factor) + 1)
    while round(high * factor) > most:
        high -= 1
    return low, high


def _compute_clip(values: Mapping[str, float], format: SampleFormat) -> dict[str, Scalar]:
    low, high = values["low"], values["high"]
    if not low < high:
        raise UsageError(f"op clip: low must be below high, not {low:g} and {high:g}")
    if format.dtype[1] == "f":
        return {"low": low, "high": high}
    full = 2 ** (8 * format.itemsize - 1)
    return {"low": _level(low, full), "high": _level(high, full)}


def _level(value: float, full: int) -> int:
    """Return the integer sample for a value in units of full scale: rounded half to even, clamped into the range."""
    return min(max(round(value * full), -full), full - 1)


def _clip(array: Array, *, low: float, high: float) -> Array:
    # Not numpy's clip: of -0.0 and 0.0, and of two NaNs, its minimum and maximum may return either. Which one depends
    # on the CPU and on a sample's place in the array. Comparisons leave both as they are. With some compilers,
    # comparing a signalling NaN warns.
    with np.errstate(all="ignore"):
        bottom, top = array.dtype.type(low), array.dtype.type(high)
        below, above = array < bottom, array > top
    clipped = array.copy(order="C")
    np.copyto(clipped, bottom, where=below)
    np.copyto(clipped, top, where=above)
    return clipped


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bound(name: str, default: float) -> Parameter:
    meaning = f"{'least' if name == 'low' else 'greatest'} sample that is kept, in units of full scale"
    return Parameter(name, default, -WIDEST_CLIP, WIDEST_CLIP, meaning)


_DB = Parameter("db", None, -LOUDEST_DB, LOUDEST_DB, "gain in decibels; negative is quieter")

BUILTIN: Mapping[str, Op] = MappingProxyType(
    {
        op.name: op
        for op in (
            Op("invert", "flip the sign of every sample", (), "invert", (), lambda _values, _format: {}, _invert),
            Op("gain", "make louder or quieter", (_DB,), "gain:db=-3", ("factor",), _compute_gain, _gain, _gain_clips),
            Op(
                name="clip",
                summary="limit samples to a range",
                parameters=(_bound("low", -1.0), _bound("high", 1.0)),  # full scale, where integers end
                example="clip:low=-1,high=1",
                coefficients=("low", "high"),
                compute=_compute_clip,
                apply=_clip,
            ),
        )
    }
)
