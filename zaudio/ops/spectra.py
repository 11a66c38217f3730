"""Spectra: the arithmetic of ops that compute in blocks of FFTs.

Rules:

- Windows and lengths are computed on the coordinator: they use transcendental functions.
- Workers multiply spectra with real arithmetic. numpy's complex product uses fused operations on some CPUs and rounds
  there in another way.
- FFTs are numpy's, in float64. Each row of a two-dimensional array is transformed as if it were alone.
"""

from __future__ import annotations

import math

import numpy as np

from zaudio.ops.contract import Array

# numpy's FFT has a routine of its own for these factors; 11 is slower than the others, and greater ones much slower.
_COSTS = {2: 1.0, 3: 1.6, 5: 2.6, 7: 3.6, 11: 6.0}
_BLUESTEIN = 7.0  # times a power of two of the same length: three transforms of at least twice the length


def multiply(spectra: Array, factors: Array) -> None:
    """Multiply complex spectra (rows, bins) in place by complex factors, one per bin.

    (a + bi) (c + di) = (ac - bd) + (ad + bc) i, each product and each sum rounded by itself.
    """
    real, imaginary = spectra.real, spectra.imag
    crossed = real * factors.imag
    subtracted = imaginary * factors.imag
    real *= factors.real
    real -= subtracted
    imaginary *= factors.real
    imaginary += crossed


def scale(spectra: Array, factors: Array) -> None:
    """Multiply complex spectra (rows, bins) in place by real factors; `factors` has each of them twice in a row.

    Six times as fast as a factor per bin: real and imaginary parts are then one run of numbers.
    """
    numbers = spectra.view(np.float64)
    numbers *= factors


def windows(samples: Array, size: int, hop: int) -> Array:
    """Return stretches of `size` frames of one channel, one every `hop` frames, as rows of a view to read from."""
    view: Array = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    return view


def kaiser(positions: Array, beta: float) -> Array:
    """Return the Kaiser window at positions from -1 to 1. On the coordinator.

    I0(beta sqrt(1 - x^2)) / I0(beta). Source: Kaiser and Schafer, On the use of the I0-sinh window for spectrum
    analysis, IEEE Trans. ASSP 28 (1980).
    """
    window: Array = np.i0(beta * np.sqrt(np.maximum(0.0, 1.0 - positions * positions))) / np.i0(beta)
    return window


def kaiser_beta(attenuation_db: float) -> float:
    """Return the Kaiser window's parameter for a stop band of 50 dB or more. On the coordinator."""
    return 0.1102 * (attenuation_db - 8.7)


def kaiser_length(attenuation_db: float, width: float) -> int:
    """Return the taps, an odd number, for a transition as wide as `width` cycles per frame. On the coordinator."""
    half = math.ceil((attenuation_db - 7.95) / (14.36 * width) / 2)
    return 2 * half + 1


def hann(size: int) -> Array:
    """Return the periodic Hann window, 0.5 - 0.5 cos(2 pi n / size). On the coordinator."""
    return np.array([0.5 - 0.5 * math.cos(2.0 * math.pi * n / size) for n in range(size)])


def cost(length: int) -> float:
    """Return roughly the time of an FFT of that length, in steps of a radix 2 FFT. On the coordinator."""
    rest, steps = length, 0.0
    for factor, weight in _COSTS.items():
        while rest % factor == 0:
            rest //= factor
            steps += weight
    if rest > 1:
        steps = min(_BLUESTEIN * math.log2(2 * length), steps + rest)
    return length * steps
