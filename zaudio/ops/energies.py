"""Energies: K-weighted sums of squares in cells of 100 ms, of which `loudness` makes the numbers of the standards.

Source: ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio level", annexes 1 and 2.

Rules:

- A cell is 100 ms: a tenth of the samplerate, rounded half up to whole frames. At 11,025 Hz it is 1,103 frames, so
  that windows are 0.05 % longer than the standard's.
- Cells are filtered in blocks that are counted from cell 0. Each block starts afresh, from a warm-up in front of it. So
  a cell's numbers do not depend on the cut, nor on the grid of the chain.
- The last cell may be partial: zeros fill it. No window of 400 ms or 3 s reaches into it; its true peak counts.
- A true peak is that of a cell's whole block: far fewer stretches are computed than for each cell by itself.
- BS.1770-4 gives coefficients for 48,000 Hz alone. Here they follow from the analogue prototype that has those.
- Workers sum squares. Logarithms are taken on the coordinator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops.biquads import Biquads, Section, biquads
from zaudio.ops.contract import Array, Kernel, Place, arrays
from zaudio.ops.truepeak import HISTORY, true_peaks
from zaudio.signal import Signal

CELLS_PER_SECOND = 10
MOMENTARY = 4  # cells: 400 ms, which is a gating block too
PARTS = 10  # of a cell: the momentary maximum is sought in steps of 10 ms, as test 13 of Tech 3341 needs it
BLOCK_CELLS = 64  # filtered at once: the warm-up costs 3 % of 6.4 s
BLOCK_LEAST = 8  # cells
BLOCK_SAMPLES = 2**20  # of all channels, in float64: a worker holds a few such blocks
LOWEST_RATE = 4000  # Hz: below it, the shelf at 1,682 Hz comes too near to half the samplerate

SURROUND = 1.41  # BS.1770-4, table 3: loudspeakers at the side, from 60 to 120 degrees
_LAYOUTS = {  # in the order of WAV files; the effects channel does not count
    4: (1.0, 1.0, SURROUND, SURROUND),  # L R Ls Rs
    5: (1.0, 1.0, 1.0, SURROUND, SURROUND),  # L R C Ls Rs
    6: (1.0, 1.0, 1.0, 0.0, SURROUND, SURROUND),  # L R C LFE Ls Rs
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, SURROUND, SURROUND),  # L R C LFE, back L R at 135 degrees, side L R
}


@dataclass(frozen=True)
class Energies(Kernel):
    """Measures the sum of squares of each channel's K-weighted samples, per cell.

    Its output has a channel per number. First come the energies of the channels. Then, if asked for, the greatest
    weighted energy of all windows of 400 ms that end in the cell. Then, if asked for, the channels' true peaks. The
    energy of a channel that does not count is 0.

    Attributes:
        sos: The K-weighting as sections of six coefficients.
        weights: The channels' weights.
        warmup: Frames in front of a block from which the filter starts.
        momentary: Whether the windows of 400 ms are measured.
        peaks: Whether true peaks are measured.
    """

    name: ClassVar[str] = "loudness"
    requires: ClassVar[tuple[str, ...]] = ("zaudio.ops.sosfilt",)
    sos: Array
    weights: Array
    warmup: int
    momentary: bool
    peaks: bool

    def signal(self, before: Signal) -> Signal:
        """Return a frame per cell and a channel per number."""
        columns = before.channels * (2 if self.peaks else 1) + self.momentary
        frames = before.frames + (HISTORY if self.peaks and before.frames else 0)  # the end is heard so much later
        return Signal(-(-frames // cell_frames(before.samplerate)), columns, CELLS_PER_SECOND, sample_format("f64le"))

    def grid(self, signal: Signal) -> int:
        """Return the cells of a block."""
        cells, samples = BLOCK_CELLS, cell_frames(signal.samplerate) * signal.channels
        while cells > BLOCK_LEAST and cells * samples > BLOCK_SAMPLES:
            cells //= 2
        return cells

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames from the warm-up of the first block to the end of the last cell, or of its block."""
        cell, grid = cell_frames(signal.samplerate), self.grid(signal)
        stop = -(-stop // grid) * grid if self.peaks else stop
        return start // grid * grid * cell - self._before(cell), stop * cell

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the first frame of a cell."""
        return frame * cell_frames(signal.samplerate)

    def setup(self, signal: Signal) -> object:
        """Return the filter.

        Raises:
            UsageError: scipy is not installed.
        """
        return Biquads(self.sos, self.warmup).setup(signal)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the numbers of the cells."""
        cell, grid = cell_frames(place.samplerate), self.grid(place.signal)
        before, channels = self._before(cell), place.signal.channels
        result = np.empty((place.stop - place.start, self.signal(place.signal).channels))
        for low in range(place.start // grid * grid, place.stop, grid):
            high = min(low + grid, place.stop)
            block = samples[low * cell - before - place.first :]
            rows = result[max(0, low - place.start) : high - place.start]
            energies = self._energies(block[: before + (high - low) * cell], cell, state.filter)
            rows[:, : energies.shape[1]] = energies[-len(rows) :]
            if self.peaks:
                rows[:, -channels:] = true_peaks(block[before - HISTORY : before + grid * cell], grid * cell)
        return result

    def _energies(self, samples: Array, cell: int, filter: Any) -> Array:
        """Return the energies of a block's cells, and their windows if asked for."""
        cells = (len(samples) - self.warmup) // cell
        result = np.zeros((cells, len(self.weights) + self.momentary))
        weighted = np.zeros(cells * PARTS)
        for channel, weight in enumerate(self.weights):
            if weight:
                (filtered,) = filter(np.array(samples[None, :, channel], order="C"), self.warmup)
                filtered *= filtered
                parts = _part_sums(filtered, cell)
                result[:, channel] = np.add.reduce(parts.reshape(-1, PARTS), axis=1)
                weighted += parts * weight
        if self.momentary:
            result[MOMENTARY:, -1] = _window_maxima(weighted)
            return result[MOMENTARY:]
        return result

    def _before(self, cell: int) -> int:
        """Return the frames in front of a block."""
        return self.warmup + (MOMENTARY * cell if self.momentary else 0)


def energies(signal: Signal, *, momentary: bool = False, peaks: bool = False) -> Energies:
    """Return the op that measures a signal's loudness.

    Args:
        signal: The signal that is measured.
        momentary: Whether its output has the momentary maximum of each cell too.
        peaks: Whether its output has the true peaks too.

    Raises:
        UsageError: The samplerate is too low, or scipy is not installed.
    """
    if signal.samplerate < LOWEST_RATE:
        raise UsageError(
            f"loudness needs {LOWEST_RATE} Hz or more, not {signal.samplerate} Hz; put resample:hz=8000 in front of it"
        )
    filter = biquads("loudness", k_weighting(signal.samplerate), signal)
    return Energies(filter.sos, arrays(weights(signal.channels)), filter.warmup, momentary, peaks)


def cell_frames(samplerate: int) -> int:
    """Return the frames of a cell: 100 ms, rounded half up."""
    return max(1, (samplerate + CELLS_PER_SECOND // 2) // CELLS_PER_SECOND)


def weights(channels: int) -> tuple[float, ...]:
    """Return the weights of channels in the order of WAV files; 1 for each where the layout is not known."""
    return _LAYOUTS.get(channels, (1.0,) * channels)


def k_weighting(samplerate: int) -> tuple[Section, Section]:
    """Return the K-weighting as two sections: a high shelf for the head, and a high-pass.

    At 48,000 Hz they are those of BS.1770-4, tables 1 and 2, to 2e-12. The frequencies, gain and Qs of the analogue
    prototype are from B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 2018;
    both sections are its bilinear transform.
    """
    hz, db, q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k, high = math.tan(math.pi * hz / samplerate), 10.0 ** (db / 20.0)
    middle = high**0.4996667741545416
    unit = 1.0 + k / q + k * k
    b = (high + middle * k / q + k * k, 2.0 * (k * k - high), high - middle * k / q + k * k)
    a1, a2 = 2.0 * (k * k - 1.0) / unit, (1.0 - k / q + k * k) / unit
    shelf = (b[0] / unit, b[1] / unit, b[2] / unit, 1.0, a1, a2)
    hz, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * hz / samplerate)
    unit = 1.0 + k / q + k * k
    high_pass = (1.0, -2.0, 1.0, 1.0, 2.0 * (k * k - 1.0) / unit, (1.0 - k / q + k * k) / unit)
    return shelf, high_pass


def _part_sums(squares: Array, cell: int) -> Array:
    """Return the sums of the parts of consecutive cells."""
    if cell % PARTS == 0:
        sums: Array = np.add.reduce(squares.reshape(-1, cell // PARTS), axis=1)
        return sums
    within = np.arange(PARTS) * cell // PARTS
    return np.add.reduceat(squares, (np.arange(len(squares) // cell)[:, None] * cell + within).reshape(-1))


def _window_maxima(parts: Array) -> Array:
    """Return, for each cell but the first four, the greatest sum of the windows of 400 ms that end with its parts."""
    sums = {1: parts}
    for size in (2, 4, 8, 16, 32):
        half = sums[size // 2]
        sums[size] = half[: -size // 2] + half[size // 2 :]
    assert MOMENTARY * PARTS == 40, "a window is 32 and 8 parts"
    windows = sums[32][:-8] + sums[8][32:]  # the window that begins at each part
    greatest: Array = windows[1:].reshape(-1, PARTS).max(axis=1)
    return greatest
