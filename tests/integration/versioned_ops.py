"""A user's own ops that declare what they need, for tests of whole farms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import zaudio
from zaudio import Combined, Op


@zaudio.op(context=50, grid=1000, version="7")
def smooth(samples, *, strength=0.5):
    """Add up what came since the block began, and a little before."""
    return np.add.accumulate(samples * samples.dtype.type(strength), axis=0, dtype=samples.dtype)


@dataclass(frozen=True)
class Times(Op):
    """Multiplication by a factor."""

    factor: float = 1.0

    def apply(self, samples, place, state):
        """Return the samples times the factor."""
        return samples * self.factor


@dataclass(frozen=True)
class Peak(Op):
    """The greatest sample of each 100 frames."""

    whole: ClassVar[bool] = True

    def signal(self, before):
        """Return a frame per cell, in float64."""
        cells = -(-before.frames // 100)
        return zaudio.Signal(cells, 1, before.samplerate, zaudio.sample_format("f64le"))

    def needs(self, start, stop, signal):
        """Return the frames of the cells."""
        return start * 100, stop * 100

    def source_frame(self, frame, signal):
        """Return the first frame of a cell."""
        return frame * 100

    def apply(self, samples, place, state):
        """Return the greatest of each cell."""
        return np.abs(samples).reshape(-1, 100 * samples.shape[1]).max(axis=1).reshape(-1, 1)


@dataclass(frozen=True)
class Loud(Op):
    """Make the greatest sample as great as the level."""

    version: ClassVar[str] = "3"
    level: float = 1.0

    def measure(self, signal):
        """Return the measuring op."""
        return Peak()

    def combine(self, cells, signal):
        """Return the op that makes it so loud."""
        return Combined(Times(self.level / float(cells.max())), f"the peak is {cells.max():.3f}")
