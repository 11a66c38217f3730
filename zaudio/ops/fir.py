"""Fir: filters of finite length, from a file or designed by the window method. Computed by overlap-save in float64.

Rules:

- A range is cut into equal blocks that are counted from its start, and each block is one FFT. Their size follows from
  the lengths of range and filter alone.
- Spectra are multiplied with real arithmetic. Taps that are the same backwards have a real spectrum: half the work.
- Few taps are applied one after the other: that is faster then.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, BuiltIn, Exactness, Kernel, Op, Place, arrays
from zaudio.ops.declaring import HASH_DIGITS
from zaudio.ops.filters import LEAST_HZ, MOST_HZ
from zaudio.ops.parameters import choice, integer, number, text
from zaudio.ops.spectra import kaiser, kaiser_beta, multiply
from zaudio.signal import Signal

TAPS_MOST = 131_072  # 3 s at 44.1 kHz: the reverberation of a large hall
LINE_MOST = 1000  # characters of a line in a file of taps: a number and its comment; /dev/zero is one endless line
TAP_MOST = 1e6  # 120 dB, as far as a gain is ever needed; so no sum overflows

DIRECT_MOST = 16  # taps that are applied one after the other
FFT_FRAMES = 16_384  # of a block: rows of that size stay in the cache
FFT_TAPS = 4  # a block is at least so many times as long as the filter: 4/3 of the samples are transformed
ROWS = 4  # FFTs at once: numpy does two rows in the time of one and a half
ROW_SAMPLES = 262_144  # of them all at most: 2 MiB per array
SIZES = (16, 18, 20, 24, 25, 27, 30)  # times a power of two: lengths of fast FFTs


@dataclass(frozen=True)
class Fir(BuiltIn):
    """Filter by a list of taps, without any change of phase if they are the same backwards.

    y[n] = sum h[k] x[n + d - k]. The taps h come from the file `taps`, one number per line, `#` before a comment; or
    they are designed as an ideal filter times a window: `type` with its edge `hz` (bandpass and bandstop: from `hz` to
    `high_hz`), where the gain is -6 dB, and `length` taps. The design is scaled so that 0 Hz passes with 0 dB, or not
    at all. With the kaiser window, ripple in pass band and stop band is about -`stop_db`, and the slope is (stop_db -
    7.95) / (14.36 length) times the samplerate wide. An odd number of taps that are the same backwards, or the same
    with the opposite sign, delays all frequencies alike. That delay d = (length - 1) / 2 is taken out, unless
    `delay=kept`. Other taps are taken as they are, with d = 0.
    Source: A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", 3rd edition (2010), section 7.5, and
    section 8.7.3 for overlap-save.
    """

    name: ClassVar[str] = "fir"
    example: ClassVar[str] = "fir:type=lowpass,hz=4000,length=511"
    exactness: ClassVar[Exactness] = Exactness.GRID
    _taps: ClassVar[Array] = arrays(())  # those of the file
    taps: str = text("file of taps, one number per line, in place of a design", default="")
    type: str = choice("design", "lowpass", "highpass", "bandpass", "bandstop", default="lowpass")
    hz: float = number("edge in Hz, below half the samplerate; 0 with a file", least=0, most=MOST_HZ, default=0.0)
    high_hz: float = number("upper edge of a bandpass or bandstop in Hz", least=0, most=MOST_HZ, default=0.0)
    length: int = integer("taps of the design, an odd number", least=3, most=TAPS_MOST - 1, default=511)
    window: str = choice("window", "kaiser", "blackman", "hamming", "hann", "rectangular", default="kaiser")
    stop_db: float = number("attenuation in decibels, kaiser window", least=50, most=160, default=80.0)
    delay: str = choice("delay of symmetric taps", "removed", "kept", default="removed")

    def __post_init__(self) -> None:
        if self.taps:
            # Read once, and part of the version: no job is resumed with other taps in a file of the same name.
            taps = self._read()
            hashed = hashlib.sha256(taps.astype("<f8").tobytes()).hexdigest()[:HASH_DIGITS]
            for key, value in (("_taps", arrays(taps)), ("version", f"{Fir.version}+sha256:{hashed}")):
                object.__setattr__(self, key, value)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The edges cannot be used with that signal.
        """
        taps = self._taps if self.taps else self._designed(signal.samplerate)
        even = len(taps) % 2 == 0
        alike = np.array_equal(taps, taps[::-1]) or np.array_equal(taps, -taps[::-1])
        removed = self.delay == "removed" and alike and not even
        return Taps(arrays(taps), len(taps) // 2 if removed else 0)

    def _read(self) -> Array:
        if replace(self, taps="", delay=Fir.delay) != Fir():
            raise UsageError(f"op fir: give either taps={self.taps} or a design (hz, type and so on), not both")
        try:
            # With a byte order mark, which some editors write.
            with open(self.taps, encoding="utf-8-sig", errors="replace") as lines:
                return read_taps(iter(lambda: lines.readline(LINE_MOST + 1), ""), self.taps)
        except UsageError:
            raise
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise UsageError(f"op fir: cannot read the taps in {self.taps}: {error}") from None

    def _designed(self, samplerate: int) -> Array:
        band = self.type in ("bandpass", "bandstop")
        edges = [self.hz, self.high_hz] if band else [self.hz]
        if not self.hz:
            raise UsageError(f"op fir needs hz, or taps=FILE; for example {self.example}")
        if self.hz < LEAST_HZ:
            raise UsageError(f"op fir: hz must be {LEAST_HZ:g} Hz or more, not {self.hz:g}")
        if self.high_hz and not band:
            raise UsageError(f"op fir: high_hz is for bandpass and bandstop, and type is {self.type}")
        if band and not self.hz < self.high_hz:
            raise UsageError(f"op fir: high_hz must be above hz, {self.hz:g}, not {self.high_hz:g}")
        if not edges[-1] < samplerate / 2:
            key = "high_hz" if band else "hz"
            raise UsageError(
                f"op fir: {key} must be below half the samplerate, {samplerate / 2:g} Hz, not {edges[-1]:g}"
            )
        if self.length % 2 == 0:
            raise UsageError(f"op fir: length must be odd, so that there is a tap in the middle, not {self.length}")
        return design_taps(self.type, [hz / samplerate for hz in edges], self.length, self.window, self.stop_db)


@dataclass(frozen=True)
class Taps(Kernel):
    """A filter of finite length.

    Attributes:
        taps: The impulse response.
        delay: Frames by which the output is moved to the left.
    """

    name: ClassVar[str] = "fir"
    taps: Array
    delay: int

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames that the taps reach back and ahead."""
        return len(self.taps) - 1 - self.delay, self.delay

    def setup(self, signal: Signal) -> object:
        """Return the function that filters one channel."""
        taps = np.array(self.taps, np.float64)
        return _Direct(taps) if len(taps) <= DIRECT_MOST else _OverlapSave(taps)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the filtered frames."""
        result = np.empty((place.stop - place.start, samples.shape[1]), order="F")
        for channel in range(samples.shape[1]):
            state(np.ascontiguousarray(samples[:, channel]), result[:, channel])
        return result


class _Direct:
    """Taps, applied one after the other."""

    def __init__(self, taps: Array) -> None:
        self._taps = taps

    def __call__(self, samples: Array, result: Array) -> None:
        """Filter the samples of one channel: one less than the taps more than the result has."""
        last = len(self._taps) - 1
        scratch = np.empty_like(result)
        np.multiply(samples[last:], self._taps[0], out=result)
        for tap in range(1, len(self._taps)):
            first = last - tap
            result += np.multiply(samples[first : first + len(result)], self._taps[tap], out=scratch)


@dataclass(slots=True)
class _Blocks:
    """The arrays for blocks of one size.

    Attributes:
        spectrum: Of the taps: complex; or real, each number twice, to multiply real and imaginary parts.
        samples: Blocks of the input, (rows, size).
        spectra: Of the blocks, (rows, size / 2 + 1).
        results: Blocks of the output, (rows, size).
    """

    spectrum: Array
    samples: Array
    spectra: Array
    results: Array


class _OverlapSave:
    """Taps, applied by FFT. Its arrays are used again for each range."""

    KEPT = 4  # sizes: of ranges at the beginning, in the middle and at the end

    def __init__(self, taps: Array) -> None:
        self._taps = taps
        # Symmetric taps around 0 have a real spectrum; others begin at 0.
        self._symmetric = len(taps) % 2 == 1 and np.array_equal(taps, taps[::-1])
        self._first = len(taps) // 2 if self._symmetric else len(taps) - 1  # frame of a block that is right
        self._blocks: dict[int, _Blocks] = {}

    def __call__(self, samples: Array, result: Array) -> None:
        """Filter the samples of one channel: one less than the taps more than the result has."""
        count, hop, size = block_sizes(len(result), len(self._taps))
        blocks = self._of_size(size)
        rows, reach, first = len(blocks.samples), hop + len(self._taps) - 1, self._first
        for low in range(0, count, rows):
            high = min(low + rows, count)
            inputs, spectra, outputs = (
                array[: high - low] for array in (blocks.samples, blocks.spectra, blocks.results)
            )
            for row in range(low, high):
                block = samples[row * hop : row * hop + reach]
                inputs[row - low, : len(block)] = block
                inputs[row - low, len(block) :] = 0.0
            np.fft.rfft(inputs, out=spectra)
            if self._symmetric:
                pairs = spectra.view(np.float64)
                pairs *= blocks.spectrum
            else:
                multiply(spectra, blocks.spectrum)
            np.fft.irfft(spectra, size, out=outputs)
            for row in range(low, high):
                wanted = result[row * hop : (row + 1) * hop]
                wanted[:] = outputs[row - low, first : first + len(wanted)]

    def _of_size(self, size: int) -> _Blocks:
        if size not in self._blocks:
            if len(self._blocks) == self.KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            rows = max(1, min(ROWS, ROW_SAMPLES // size))
            padded = np.zeros(size)
            padded[: len(self._taps)] = self._taps
            spectrum = np.fft.rfft(np.roll(padded, -self._first if self._symmetric else 0))
            self._blocks[size] = _Blocks(
                np.repeat(spectrum.real, 2) if self._symmetric else spectrum,
                np.empty((rows, size)),
                np.empty((rows, size // 2 + 1), np.complex128),
                np.empty((rows, size)),
            )
        return self._blocks[size]


def block_sizes(frames: int, taps: int) -> tuple[int, int, int]:
    """Return into how many blocks a range is cut, the frames of each, and the size of its FFT.

    Args:
        frames: The length of the range, 1 or more.
        taps: The length of the filter.
    """
    target = max(FFT_FRAMES, (FFT_TAPS - 1) * taps)
    # An even number, for the rows.
    count = 2 * round(frames / (2 * target)) or 1
    hop = -(-frames // count)
    least = hop + taps - 1
    power = 2 ** max(0, least.bit_length() - 5)
    size = next(factor * power for factor in (*SIZES, 32) if factor * power >= least)
    return count, hop, size


def read_taps(lines: Iterable[str], name: str) -> Array:
    """Return the taps of a file, one number per line.

    Args:
        lines: The lines of the file.
        name: Its name, for sentences.

    Raises:
        UsageError: A line is no number, the file has no numbers, or it has too many.
    """
    taps: list[float] = []
    for place, line in enumerate(lines, 1):
        if len(line) > LINE_MOST:
            raise UsageError(
                f"op fir: {name}, line {place} has more than {LINE_MOST} characters; expected one number per line"
            )
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not abs(value) <= TAP_MOST:
            raise UsageError(
                f"op fir: {name}, line {place}: expected a number from {-TAP_MOST:g} to {TAP_MOST:g}, not {word!r:.60}"
            )
        if len(taps) == TAPS_MOST:
            raise UsageError(f"op fir: {name} has more than {TAPS_MOST} taps, the most that there may be")
        taps.append(value)
    if not taps:
        raise UsageError(f"op fir: {name} has no taps; expected one number per line")
    return np.array(taps)


def design_taps(type: str, edges: list[float], length: int, window: str, stop_db: float) -> Array:
    """Return the taps of a filter by the window method. On the coordinator.

    Args:
        type: lowpass, highpass, bandpass or bandstop.
        edges: One edge or two, in cycles per frame.
        length: The number of taps, odd.
        window: Its name.
        stop_db: The attenuation, for the kaiser window.

    Returns:
        Symmetric taps. At 0 Hz they sum to 1 where it passes, and to 0 where it does not.
    """
    shape = _half_window(length // 2, window, stop_db)
    low = _lowpass(edges[0], shape)
    impulse = np.zeros(len(shape))
    impulse[0] = 1.0
    match type:
        case "lowpass":
            half = low
        case "highpass":
            half = impulse - low
        case "bandpass":
            half = _lowpass(edges[1], shape) - low
        case _:
            half = impulse - (_lowpass(edges[1], shape) - low)
    return np.concatenate((half[:0:-1], half))  # one half mirrored: the same backwards, in every bit


def _lowpass(edge: float, shape: Array) -> Array:
    """Return the right half of a lowpass, with the tap in the middle."""
    half: Array = 2 * edge * np.sinc(2 * edge * np.arange(len(shape))) * shape
    half /= half[0] + 2 * np.add.reduce(half[1:])
    return half


def _half_window(reach: int, name: str, stop_db: float) -> Array:
    """Return the right half of a window that falls to both sides, with its middle."""
    positions = np.arange(reach + 1) / max(1, reach)  # 0 in the middle, 1 at the last tap
    turns = np.cos(np.pi * positions)
    shape: Array = np.ones(reach + 1)
    match name:
        case "hann":
            shape = 0.5 + 0.5 * turns
        case "hamming":
            shape = 0.54 + 0.46 * turns
        case "blackman":
            shape = 0.42 + 0.5 * turns + 0.08 * np.cos(2 * np.pi * positions)
        case "kaiser":
            shape = kaiser(positions, kaiser_beta(stop_db))
    return shape


__all__ = ["Fir", "Taps", "block_sizes", "design_taps", "read_taps"]
