"""Levels: ops on each sample by itself, `invert`, `gain`, `dcshift`, `clip` and `softclip`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, BuiltIn, Kernel, Op, Place, Precision
from zaudio.ops.parameters import number
from zaudio.signal import Signal

LOUDEST_DB = 200.0  # 24-bit audio spans 144 dB; and 10**10 times any float32 factor is far from overflow
WIDEST_CLIP = 1e6  # 120 dB above full scale: beyond any float recording, and exact enough in float32


@dataclass(frozen=True)
class Invert(BuiltIn, Kernel):
    """Flip the sign of every sample.

    y = -x. The sign bit of floats is flipped, also that of NaN. The most negative integer has no positive twin: it
    becomes the greatest one.
    """

    name: ClassVar[str] = "invert"
    example: ClassVar[str] = "invert"
    precision: ClassVar[Precision] = Precision.ANY

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples with their signs flipped."""
        flipped: Array
        if samples.dtype.kind == "f":
            # XOR, not multiplication: that leaves the sign of NaN as it was and makes signalling NaN quiet.
            bits = np.dtype(f"u{samples.dtype.itemsize}")
            flipped = np.bitwise_xor(samples.view(bits), bits.type(1 << (8 * bits.itemsize - 1)))
            return flipped.view(samples.dtype)
        # -x is ~x + 1. The most negative integer has no positive twin: left at ~x, it is the greatest one.
        flipped = np.invert(samples)
        flipped += samples != np.iinfo(samples.dtype).min
        return flipped


@dataclass(frozen=True)
class Gain(BuiltIn):
    """Make louder or quieter.

    y = 10^(db / 20) x.
    Source: IEC 60027-3, for decibels of a level.
    """

    name: ClassVar[str] = "gain"
    example: ClassVar[str] = "gain:db=-3"
    db: float = number("gain in decibels; negative is quieter", least=-LOUDEST_DB, most=LOUDEST_DB)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels: the gain as a factor."""
        return Scale(10.0 ** (self.db / 20.0))


@dataclass(frozen=True)
class Scale(Kernel):
    """Multiplication by a factor."""

    name: ClassVar[str] = "gain"
    factor: float

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples times the factor."""
        samples *= self.factor
        return samples


@dataclass(frozen=True)
class Clip(BuiltIn):
    """Limit samples to a range.

    y = min(max(x, low), high), with full scale at 1: a sample below `low` becomes `low`, one above `high` becomes
    `high`. NaN passes.
    """

    name: ClassVar[str] = "clip"
    example: ClassVar[str] = "clip:low=-1,high=1"
    low: float = number("least sample that is kept, 1 for full scale", least=-WIDEST_CLIP, most=WIDEST_CLIP, default=-1)
    high: float = number(
        "greatest sample that is kept, 1 for full scale", least=-WIDEST_CLIP, most=WIDEST_CLIP, default=1
    )

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The range is empty.
        """
        if not self.low < self.high:
            raise UsageError(f"op clip: low must be below high, not {self.low:g} and {self.high:g}")
        return Bounds(float(self.low), float(self.high))


@dataclass(frozen=True)
class Bounds(Kernel):
    """The limits of a clip."""

    name: ClassVar[str] = "clip"
    low: float
    high: float

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples, limited."""
        # Not numpy's clip: of -0.0 and 0.0, and of two NaNs, its minimum and maximum may return either. Which one
        # depends on the CPU and on a sample's place in the array. Comparisons leave both as they are.
        below, above = samples < self.low, samples > self.high
        np.copyto(samples, self.low, where=below)
        np.copyto(samples, self.high, where=above)
        return samples


@dataclass(frozen=True)
class DcShift(BuiltIn):
    """Add a constant to every sample.

    y = x + shift, with full scale at 1. Integers that leave their range are limited to it.
    """

    name: ClassVar[str] = "dcshift"
    example: ClassVar[str] = "dcshift:shift=-0.02"
    shift: float = number("constant to add, 1 for full scale", least=-2, most=2)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels."""
        return Offset(float(self.shift))


@dataclass(frozen=True)
class Offset(Kernel):
    """Addition of a constant."""

    name: ClassVar[str] = "dcshift"
    shift: float

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples plus the constant."""
        samples += self.shift
        return samples


@dataclass(frozen=True)
class SoftClip(BuiltIn):
    """Bend peaks, so that they approach full scale and never pass it.

    With t for the threshold: y = x where |x| <= t, and above it y = sign(x) (1 - (1 - t)^2 / (|x| + 1 - 2 t)). Value
    and slope are continuous at t. Infinity becomes full scale, and NaN passes. The curve is zaudio's own: the usual
    tanh gives other bits on other machines.
    """

    name: ClassVar[str] = "softclip"
    example: ClassVar[str] = "softclip:threshold=0.5"
    threshold: float = number("level up to which samples are kept, 1 for full scale", least=0, most=0.999, default=0.5)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels."""
        return Bend(float(self.threshold))


@dataclass(frozen=True)
class Bend(Kernel):
    """The curve of a soft clip."""

    name: ClassVar[str] = "softclip"
    threshold: float

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples with their peaks bent."""
        t = self.threshold
        for channel in samples.T:
            above = np.flatnonzero(np.abs(channel) > t)
            peaks = channel[above]
            # A rational function: + - * / are exact to the last bit on every machine, and tanh is not.
            bent = 1.0 - (1.0 - t) * (1.0 - t) / (np.abs(peaks) + (1.0 - 2.0 * t))
            channel[above] = np.copysign(bent, peaks)
        return samples
