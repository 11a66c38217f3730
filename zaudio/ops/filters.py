"""Filters of second order: highpass, lowpass, bandpass, notch, eq, lowshelf, highshelf, dcblock.

The designs are those of Robert Bristow-Johnson, "Audio EQ Cookbook" (W3C Working Group Note, 2021), but for dcblock.
With

    w = 2 pi hz / samplerate     alpha = sin(w) / (2 q)     A = 10^(db / 40)

each op's docstring gives its transfer function H(s) of the analogue model, which the bilinear transform maps so that
`hz` stays where it is. `zaudio.ops.biquads` computes them: neighbours in a chain become one cascade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from zaudio.errors import UsageError
from zaudio.ops.biquads import Section, biquads
from zaudio.ops.contract import BuiltIn, Exactness, Op
from zaudio.ops.parameters import number
from zaudio.signal import Signal

LEAST_HZ = 0.1  # far below anything that can be heard, and a warm-up of minutes
MOST_HZ = 384_000.0  # half of 768 kHz, the highest samplerate of any converter; the signal's own half is checked
LEAST_Q, MOST_Q = 0.05, 1000.0
MOST_DB = 60.0  # either way; mixing desks stop at 20
BUTTERWORTH = math.sqrt(0.5)  # -3 dB at hz, and no ripple anywhere


def _hz(meaning: str, default: float | None = None) -> Any:
    return number(f"{meaning} in Hz, below half the samplerate", least=LEAST_HZ, most=MOST_HZ, default=default)


def _q(meaning: str, default: float) -> Any:
    return number(meaning, least=LEAST_Q, most=MOST_Q, default=default)


def _db(meaning: str) -> Any:
    return number(f"{meaning} in decibels; negative lowers it", least=-MOST_DB, most=MOST_DB)


@dataclass(frozen=True)
class Filter(BuiltIn):
    """A filter of second order: each one says its section."""

    exactness: ClassVar[Exactness] = Exactness.GRID
    hz: float

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: hz is too high for the signal, or the filter rings for too long.
        """
        half = signal.samplerate / 2
        if not self.hz < half:
            raise UsageError(f"op {self.name}: hz must be below half the samplerate, {half:g} Hz, not {self.hz:g}")
        return biquads(self.name, [self.section(2 * math.pi * self.hz / signal.samplerate)], signal)

    def section(self, angle: float) -> Section:
        """Return the coefficients for w, the angle of `hz` per frame."""
        raise NotImplementedError


@dataclass(frozen=True)
class HighPass(Filter):
    """Take out what is below a frequency: rumble, handling noise, pops.

    H(s) = s^2 / (s^2 + s / q + 1), -3 dB at `hz` with the default q, and 12 dB per octave below it. Two of them in a
    row with q=0.541 and q=1.307 are a Butterworth filter of 24 dB per octave.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", HPF.
    """

    name: ClassVar[str] = "highpass"
    example: ClassVar[str] = "highpass:hz=80"
    hz: float = _hz("corner")
    q: float = _q("gain at hz, as a factor; above 0.7071 the corner has a bump", BUTTERWORTH)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        cosine, alpha = _turn(angle, self.q)
        edge = 1 + cosine
        return _section((edge / 2, -edge, edge / 2), (1 + alpha, -2 * cosine, 1 - alpha))


@dataclass(frozen=True)
class LowPass(Filter):
    """Take out what is above a frequency: hiss.

    H(s) = 1 / (s^2 + s / q + 1), -3 dB at `hz` with the default q, and 12 dB per octave above it.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", LPF.
    """

    name: ClassVar[str] = "lowpass"
    example: ClassVar[str] = "lowpass:hz=8000"
    hz: float = _hz("corner")
    q: float = _q("gain at hz, as a factor; above 0.7071 the corner has a bump", BUTTERWORTH)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        cosine, alpha = _turn(angle, self.q)
        edge = 1 - cosine
        return _section((edge / 2, edge, edge / 2), (1 + alpha, -2 * cosine, 1 - alpha))


@dataclass(frozen=True)
class BandPass(Filter):
    """Keep what is around a frequency.

    H(s) = (s / q) / (s^2 + s / q + 1): 0 dB at `hz`, -3 dB at two frequencies that are hz / q apart.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", BPF (constant 0 dB peak gain).
    """

    name: ClassVar[str] = "bandpass"
    example: ClassVar[str] = "bandpass:hz=1000,q=2"
    hz: float = _hz("middle")
    q: float = _q("hz divided by the width between the -3 dB points", 1.0)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        cosine, alpha = _turn(angle, self.q)
        return _section((alpha, 0.0, -alpha), (1 + alpha, -2 * cosine, 1 - alpha))


@dataclass(frozen=True)
class Notch(Filter):
    """Take out one frequency: hum, a whistle.

    H(s) = (s^2 + 1) / (s^2 + s / q + 1): nothing passes at `hz`; -3 dB at two frequencies that are hz / q apart.
    A narrow notch at a low frequency rings for long, and needs as much warm-up: at 44.1 kHz and 50 Hz 2.7 s with the
    default q, 8 s with q=30.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", notch.
    """

    name: ClassVar[str] = "notch"
    example: ClassVar[str] = "notch:hz=50"
    hz: float = _hz("frequency that is taken out")
    q: float = _q("hz divided by the width between the -3 dB points", 10.0)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        cosine, alpha = _turn(angle, self.q)
        return _section((1.0, -2 * cosine, 1.0), (1 + alpha, -2 * cosine, 1 - alpha))


@dataclass(frozen=True)
class Equalizer(Filter):
    """Raise or lower what is around a frequency.

    H(s) = (s^2 + s A / q + 1) / (s^2 + s / (A q) + 1) with A = 10^(db / 40): `db` at `hz`, and 0 dB far from it. Half
    the decibels remain at two frequencies that are about hz / q apart. With -db it is the exact inverse.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", peaking EQ.
    """

    name: ClassVar[str] = "eq"
    example: ClassVar[str] = "eq:hz=3000,db=3,q=1"
    hz: float = _hz("middle")
    db: float = _db("gain at hz")
    q: float = _q("hz divided by the width at half the decibels", 1.0)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        cosine, alpha = _turn(angle, self.q)
        gain = 10.0 ** (self.db / 40.0)
        numerator = (1 + alpha * gain, -2 * cosine, 1 - alpha * gain)
        return _section(numerator, (1 + alpha / gain, -2 * cosine, 1 - alpha / gain))


@dataclass(frozen=True)
class Shelf(Filter):
    """A shelf: the high one is the low one with the signs changed of the cosine, b1 and a1."""

    sign: ClassVar[float]
    hz: float = _hz("middle of the slope")
    db: float = _db("gain of the shelf")
    slope: float = number("steepness; 1 is the steepest without a bump", least=0.01, most=1, default=1)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        gain = 10.0 ** (self.db / 40.0)
        cosine, alpha = _turn(angle, 1 / math.sqrt((gain + 1 / gain) * (1 / self.slope - 1) + 2))
        cosine *= self.sign
        up, down, turn = gain + 1, gain - 1, 2 * math.sqrt(gain) * alpha
        numerator = (
            gain * (up - down * cosine + turn),
            self.sign * 2 * gain * (down - up * cosine),
            gain * (up - down * cosine - turn),
        )
        denominator = (up + down * cosine + turn, self.sign * -2 * (down + up * cosine), up + down * cosine - turn)
        return _section(numerator, denominator)


@dataclass(frozen=True)
class LowShelf(Shelf):
    """Raise or lower what is below a frequency.

    H(s) = A (s^2 + s sqrt(A) / q + A) / (A s^2 + s sqrt(A) / q + 1) with A = 10^(db / 40), 1 / q^2 = (A + 1 / A)
    (1 / slope - 1) + 2: `db` far below `hz`, half of it at `hz`, and 0 dB far above.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", lowShelf.
    """

    name: ClassVar[str] = "lowshelf"
    example: ClassVar[str] = "lowshelf:hz=200,db=4"
    sign: ClassVar[float] = 1.0


@dataclass(frozen=True)
class HighShelf(Shelf):
    """Raise or lower what is above a frequency.

    H(s) = A (A s^2 + s sqrt(A) / q + 1) / (s^2 + s sqrt(A) / q + A) with A = 10^(db / 40), 1 / q^2 = (A + 1 / A)
    (1 / slope - 1) + 2: `db` far above `hz`, half of it at `hz`, and 0 dB far below.
    Source: R. Bristow-Johnson, "Audio EQ Cookbook", highShelf.
    """

    name: ClassVar[str] = "highshelf"
    example: ClassVar[str] = "highshelf:hz=8000,db=-4"
    sign: ClassVar[float] = -1.0


@dataclass(frozen=True)
class DcBlock(Filter):
    """Take out a constant offset, also one that drifts.

    y[n] = (1 + r) / 2 (x[n] - x[n - 1]) + r y[n - 1] with r = e^(-2 pi hz / samplerate): about -3 dB at `hz`, 6 dB per
    octave below it, nothing at 0 Hz, and 0 dB at half the samplerate. `removedc` takes out one offset for the whole
    recording and changes nothing else.
    Source: J. O. Smith, "Introduction to Digital Filters with Audio Applications" (2007), section "DC Blocker", with
    its gain scaled to 1.
    """

    name: ClassVar[str] = "dcblock"
    example: ClassVar[str] = "dcblock:hz=10"
    hz: float = _hz("corner", 10.0)

    def section(self, angle: float) -> Section:
        """Return the coefficients."""
        pole = math.exp(-angle)
        gain = (1 + pole) / 2
        return gain, -gain, 0.0, 1.0, -pole, 0.0


def _turn(angle: float, q: float) -> tuple[float, float]:
    """Return cos(w) and alpha."""
    return math.cos(angle), math.sin(angle) / (2 * q)


def _section(numerator: Sequence[float], denominator: Sequence[float]) -> Section:
    """Return a section whose a0 is 1."""
    b0, b1, b2 = numerator
    a0, a1, a2 = denominator
    return (b0 / a0, b1 / a0, b2 / a0, 1.0, a1 / a0, a2 / a0)


__all__ = [
    "BandPass",
    "DcBlock",
    "Equalizer",
    "HighPass",
    "HighShelf",
    "LowPass",
    "LowShelf",
    "Notch",
]
