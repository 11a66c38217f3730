"""Sampling: the format in which samples are stored, and the noise before their rounding: `convert`, `dither`.

Rules: samples are rounded once, at the end of the chain. Dither is noise for that rounding, so that nothing but
`convert` may stand behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.formats import FORMATS, PACKED, SampleFormat, sample_format
from zaudio.ops.contract import Array, BuiltIn, Kernel, Op, Place, Precision
from zaudio.ops.parameters import choice, integer
from zaudio.signal import Signal

FLOAT_BITS = 24  # of the numbers in float32, without their exponent
_PER_COUNT = 4  # numbers of 64 bits that Philox makes of one value of its counter


@dataclass(frozen=True)
class Convert(BuiltIn):
    """Store samples in another format.

    Integers have full scale where floats have 1. Samples are rounded once, at the end of the chain, half to even, and
    limited to the range of integers; those that are limited are counted. Ops between compute in floats: of b bits, an
    integer k is y = k / 2^(b - 1).
    Source: IEEE 754-2019, section 4.3.1, for half to even.
    """

    name: ClassVar[str] = "convert"
    example: ClassVar[str] = "convert:format=s16le"
    format: str = choice("sample format of the result", *FORMATS, *PACKED)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels."""
        return Stored(self.format)


@dataclass(frozen=True)
class Stored(Kernel):
    """A sample format."""

    name: ClassVar[str] = "convert"
    precision: ClassVar[Precision] = Precision.ANY
    format: str

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal, in that format."""
        return replace(before, format=sample_format(self.format))

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples as they are: they are converted when they are stored."""
        return samples


@dataclass(frozen=True)
class Dither(BuiltIn):
    """Add noise before samples are rounded, so that rounding makes noise in place of distortion.

    y = round(x 2^(bits - 1) + u - v) / 2^(bits - 1), half to even. u and v are uniform from 0 to 1, so their
    difference is triangular (TPDF) and up to one step of the result: after it, neither mean nor power of the error
    depends on the signal. The noise is the two halves of a number of Philox4x64-10, whose key is the seed and whose
    place is the sample's place in the recording: no cut changes it. It is the last op, or stands before `convert`.
    Sources: Lipshitz, Wannamaker, Vanderkooy, "Quantization and Dither: A Theoretical Survey", Journal of the Audio
    Engineering Society 40 (5), 1992; Salmon and others, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
    """

    name: ClassVar[str] = "dither"
    example: ClassVar[str] = "dither:bits=16"
    bits: int = integer("bits of the result; 0 for those of its format, 24 for floats", least=0, most=32, default=0)
    seed: int = integer("seed of the noise", least=0, most=2**63 - 1, default=0)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: One bit is no number of bits.
        """
        if self.bits == 1:
            raise UsageError("op dither: bits is 0 or from 2 to 32, not 1")
        return Rounded(self.bits or bits_of(signal.format), self.seed, signal.format.name, self.bits == 0)


@dataclass(frozen=True)
class Rounded(Kernel):
    """Noise, rounding, and the format in which the result is stored.

    Attributes:
        follows: Whether the bits are those of the format.
    """

    name: ClassVar[str] = "dither"
    bits: int
    seed: int
    format: str
    follows: bool

    def join(self, after: Op) -> Op | None:
        """Return one op for this one and a conversion behind it.

        Raises:
            UsageError: Another op stands behind it.
        """
        if not isinstance(after, Stored):
            name = getattr(after, "name", type(after).__name__)
            raise UsageError(f"op dither: expected nothing or convert behind it, not {name}; put dither last")
        return replace(
            self, format=after.format, bits=bits_of(sample_format(after.format)) if self.follows else self.bits
        )

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal, in that format."""
        return replace(before, format=sample_format(self.format))

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples with noise, rounded."""
        frames, channels = samples.shape
        samples *= 2.0 ** (self.bits - 1)
        samples += _triangular(self.seed, place.first * channels, frames * channels).reshape(frames, channels)
        np.rint(samples, out=samples)
        samples *= 2.0 ** (1 - self.bits)
        return samples


def bits_of(format: SampleFormat) -> int:
    """Return the bits of a format's samples; of floats, those that float32 has without its exponent."""
    return FLOAT_BITS if format.dtype[1] == "f" else format.bits


def _triangular(seed: int, first: int, count: int) -> Array:
    """Return noise from -1 to 1 for `count` samples of a recording, from `first` on."""
    skipped = first % _PER_COUNT
    raw = np.random.Philox(key=seed, counter=first // _PER_COUNT).random_raw(skipped + count)[skipped:]
    # Two whole numbers of 32 bits, their difference, and an exact scale: no rounding, so no machine differs.
    noise: Array = (raw >> np.uint64(32)).astype(np.float64)
    noise -= raw & np.uint64(0xFFFFFFFF)
    noise *= 2.0**-32
    return noise
