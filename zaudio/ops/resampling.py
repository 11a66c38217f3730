"""Resampling: another samplerate, `resample`, or another speed, `speed`.

Rules:

- Output frame n is the input at the instant n down / up, up and down being whole numbers without a common divisor. The
  first frames of both are at one instant: there is no delay.
- The output is computed in hops of up x 2^i frames, each by itself, from the hop's input and a margin on either side
  that is longer than the low-pass filter. So a hop's bits depend on its place alone.
- Zeros stand in front of the input and behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, BuiltIn, Exactness, Kernel, Op, Place, Precision, arrays
from zaudio.ops.parameters import integer, number
from zaudio.ops.spectra import cost, kaiser, kaiser_beta, kaiser_length, scale, windows
from zaudio.signal import Signal

PASSBAND = 0.95  # of the lower rate's Nyquist frequency; from there to 1 the filter falls. SoX's rate -v has the same
ATTENUATION_DB = 175.0  # of images and aliases: 29 bits; also SoX's rate -v
FFT_MOST = 2**20  # frames: 8 MiB a row
FFT_CACHED = 2**15  # frames: up to there, rows and their spectra stay in a CPU's cache
ROWS_FRAMES = 2**17  # are transformed at once, in rows of hops: numpy prepares an FFT afresh for each call
ROWS_LEAST = 4  # hops at once also where they are long, as far as FFT_MOST allows
OVERSAMPLING = 4  # taps per frame of the lower rate: the filter's own images are then below its attenuation
NEAREST = Fraction(1, 10**8)  # relative error of a speed: 1 ms a day
TERM_MOST = FFT_MOST // 3  # of up and down: a hop of one group with a margin of one on either side


@dataclass(frozen=True)
class Resample(BuiltIn):
    """Change the samplerate, and keep pitch and length.

    A linear-phase low-pass filter passes frequencies up to 0.95 of the lower rate's half and stops images and aliases
    from its half on by 175 dB. A tone up to 0.9 of that half comes out with an error below -170 dB. The filter is a
    sinc with a Kaiser window, 233 frames of the lower rate on either side. The output has
    ceil(frames x hz / samplerate) frames, of which the first is at the instant of the first input frame.

    Any two rates work whose ratio, in lowest terms, has no term above about 349,000, and that are not further than a
    few hundred times apart. Ratios with small terms, as 48000:44100 = 160:147, are the fastest.

    Source: overlap-save in the frequency domain: Oppenheim and Schafer, Discrete-Time Signal Processing, 8.7.3; Kaiser
    window: the same, 7.5.3.
    """

    name: ClassVar[str] = "resample"
    example: ClassVar[str] = "resample:hz=48000"
    exactness: ClassVar[Exactness] = Exactness.GRID
    hz: int = integer("new samplerate in hertz", least=100, most=1_000_000)

    def signal(self, before: Signal) -> Signal:
        """Return the signal with the new samplerate, and as many frames as that needs."""
        return self.design(before).signal(before)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The ratio of the rates has terms that are too large.
        """
        ratio = Fraction(self.hz, signal.samplerate)
        rated = _rated(ratio, self.hz)
        if rated is None:
            raise UsageError(
                f"op resample: from {signal.samplerate} Hz to {self.hz} Hz is {ratio.numerator}:{ratio.denominator}, "
                f"which needs an FFT of more than {FFT_MOST} frames; go by way of a rate between, or choose rates with "
                "a greater common divisor"
            )
        return rated


@dataclass(frozen=True)
class Speed(BuiltIn):
    """Play faster or slower, as a tape does: pitch and length change, the samplerate is kept.

    y(t) = x(factor t): a factor of 2 is twice as fast, half as long and an octave higher. The output has
    ceil(frames / factor) frames. The filter is that of `resample`.

    The factor is used as a ratio of small whole numbers that is within one part in 100,000,000 of it, which is 1 ms a
    day. Where no ratio with terms below about 349,000 is as near, as just beside 1, the factor is refused, and the
    sentence names the nearest one that works.

    Source: as of `resample`.
    """

    name: ClassVar[str] = "speed"
    example: ClassVar[str] = "speed:factor=1.25"
    exactness: ClassVar[Exactness] = Exactness.GRID
    factor: float = number("how many times as fast; above 1 is faster and higher", least=0.01, most=100)

    def signal(self, before: Signal) -> Signal:
        """Return the signal with another number of frames."""
        return self.design(before).signal(before)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: No ratio that can be computed is near enough.
        """
        factor = Fraction(repr(self.factor))
        near = _near(factor)
        rated = _rated(1 / near, signal.samplerate)
        if rated is None:
            nearest = _nearest(factor)
            raise UsageError(
                f"op speed: factor {self.factor!r} is {near.numerator}:{near.denominator}, and terms above {TERM_MOST} "
                f"need too long an FFT; the nearest factor that works is {float(nearest)!r}, which is "
                f"{nearest.numerator}:{nearest.denominator}"
            )
        return rated


@dataclass(frozen=True)
class Rated(Kernel):
    """Resampling by a ratio.

    Attributes:
        up: Output frames per group.
        down: Input frames per group.
        groups: Groups per hop.
        margin: Groups in front of a hop, and behind it, that are transformed with it.
        samplerate: The output's, in hertz.
        taps: The low-pass filter from its middle on, in steps of 1 / OVERSAMPLING frames of the lower rate.
    """

    name: ClassVar[str] = "resample"
    up: int
    down: int
    groups: int
    margin: int
    samplerate: int
    taps: Array

    def signal(self, before: Signal) -> Signal:
        """Return the signal with the new samplerate and number of frames."""
        return replace(before, frames=-(-before.frames * self.up // self.down), samplerate=self.samplerate)

    def grid(self, signal: Signal) -> int:
        """Return the output frames of a hop."""
        return self.groups * self.up

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the input frames of all hops that these frames are in, and their margins."""
        hop, margin = self.groups * self.down, self.margin * self.down
        return start // self.grid(signal) * hop - margin, -(-stop // self.grid(signal)) * hop + margin

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the input frame at that instant, or the one before it."""
        return frame * self.down // self.up

    def setup(self, signal: Signal) -> object:
        """Return the function that resamples hops."""
        size = OVERSAMPLING * min(self.up, self.down) * (self.groups + 2 * self.margin)
        filter = np.zeros(size)
        filter[: len(self.taps)] = self.taps
        filter[size - len(self.taps) + 1 :] = self.taps[:0:-1]
        response = np.fft.rfft(filter).real[: size // OVERSAMPLING // 2 + 1].copy()
        response[-1] = 0.0  # the lower rate's half: its phase is lost
        return _Hops(np.repeat(response, 2), self.up * (self.groups + 2 * self.margin), self._rows)

    @property
    def _rows(self) -> int:
        """The hops that are transformed at once."""
        size = max(self.up, self.down) * (self.groups + 2 * self.margin)
        return max(1, ROWS_FRAMES // size, min(ROWS_LEAST, FFT_MOST // size))

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the wanted frames at the new rate."""
        total = self.groups + 2 * self.margin
        hop, skipped, rows = self.groups * self.up, self.margin * self.up, self._rows
        first = place.start // hop * hop
        output = np.empty((samples.shape[1], -(-(place.stop - first) // hop), hop))
        for channel in range(samples.shape[1]):
            stretches = windows(samples[:, channel], total * self.down, self.groups * self.down)
            for row in range(0, len(stretches), rows):
                resampled = state(stretches[row : row + rows])
                output[channel, row : row + rows] = resampled[:, skipped : skipped + hop]
        return output.reshape(samples.shape[1], -1)[:, place.start - first : place.stop - first].T


class _Hops:
    """Resamples stretches of one length. Its arrays are used again for each range.

    Args:
        response: The filter's, two equal numbers per bin that the spectra at both rates have.
        frames: The length of a stretch at the new rate.
        rows: The stretches at once, at most.
    """

    def __init__(self, response: Array, frames: int, rows: int) -> None:
        self._response = response
        # With bins of 0 behind those of the input: numpy adds them by itself, but then transforms row by row, in place
        # of two rows at a time.
        self._spectra = np.zeros((rows, frames // 2 + 1), np.complex128)
        self._resampled = np.empty((rows, frames))

    def __call__(self, stretches: Array) -> Array:
        """Return stretches, (rows, frames), at the new rate; they stay until the next call."""
        spectra, bins = self._spectra[: len(stretches)], len(self._response) // 2
        if bins == spectra.shape[1]:
            spectra = np.fft.rfft(stretches)[:, :bins]
        else:
            np.fft.rfft(stretches, out=spectra[:, :bins])
        scale(spectra[:, :bins], self._response)
        resampled = self._resampled[: len(stretches)]
        np.fft.irfft(spectra, resampled.shape[1], out=resampled)
        return resampled


@dataclass(frozen=True)
class Kept(Kernel):
    """Resampling by 1:1."""

    name: ClassVar[str] = "resample-1"
    precision: ClassVar[Precision] = Precision.ANY

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples."""
        return samples


# On the coordinator


def _rated(ratio: Fraction, samplerate: int) -> Op | None:
    """Return the op that resamples by that ratio of output to input; None when that needs too long an FFT."""
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        return Kept()
    hop = _hop(up, down)
    if hop is None:
        return None
    return Rated(up, down, *hop, samplerate, _taps(up, down, sum(hop) + hop[1]))


def _length(up: int, down: int) -> Fraction:
    """Return the input frames on either side of the middle of the filter."""
    taps = kaiser_length(ATTENUATION_DB, (1 - PASSBAND) / 2)
    return Fraction(taps // 2 * max(up, down), up)


@lru_cache(maxsize=64)
def _hop(up: int, down: int) -> tuple[int, int] | None:
    """Return the groups of a hop and those of its margins that take the least time; None when all are too long."""
    least = math.ceil(_length(up, down) / down)
    best = min(_hops(up, down, least), default=None)
    return best[1:] if best is not None else None


def _hops(up: int, down: int, least: int) -> Iterator[tuple[float, int, int]]:
    """Yield the time per group, the groups of a hop and those of each margin, of hops that can be."""
    groups = 1
    while max(up, down) * (groups + 2 * least) <= FFT_MOST:
        # Margins longer than the filter may give lengths with smaller factors.
        for margin in range(least, least + min(groups // 8, 32) + 1):
            total = groups + 2 * margin
            yield (_time(total * up) + _time(total * down)) / groups, groups, margin
        groups *= 2  # so that grids of other ops, which are powers of two, have a small common multiple with it


def _time(frames: int) -> float:
    return cost(frames) * (1.0 + 0.2 * max(0.0, math.log2(frames / FFT_CACHED)))


def _taps(up: int, down: int, total: int) -> Array:
    """Return the filter from its middle on, scaled for spectra of that many groups."""
    lower = min(1.0, up / down)  # the lower rate, in frames per input frame
    length = float(_length(up, down))
    count = math.floor(length * lower * OVERSAMPLING) + 1
    instants = np.arange(count) / (OVERSAMPLING * lower)  # in input frames
    cutoff = lower * (1.0 + PASSBAND) / 4.0  # in cycles per input frame: the middle of the fall
    window = kaiser(instants / length, kaiser_beta(ATTENUATION_DB))
    steps = OVERSAMPLING * min(up, down) * total  # of the filter, in a stretch
    return arrays(2.0 * cutoff * np.sinc(2.0 * cutoff * instants) * window * (up * total / steps))


def _near(factor: Fraction) -> Fraction:
    """Return a ratio with a small denominator that is as near as `NEAREST` says."""
    denominator = 1
    while True:
        near = factor.limit_denominator(denominator)
        if abs(near - factor) <= factor * NEAREST:
            return near
        denominator *= 2


def _nearest(factor: Fraction) -> Fraction:
    """Return the nearest ratio with small enough terms."""
    if factor < 1:
        return 1 / _nearest(1 / factor)
    return factor.limit_denominator(int(TERM_MOST / factor) - 1)
