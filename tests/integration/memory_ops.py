"""Ops with memory and ops that measure, for tests of whole farms. A chain that names a function here knows them all."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from zaudio.formats import sample_format
from zaudio.ops.catalogue import BUILTIN, KERNELS
from zaudio.ops.contract import BuiltIn, Combined, Exactness, Kernel, Precision
from zaudio.ops.levels import Scale
from zaudio.ops.parameters import integer
from zaudio.signal import Signal

CELL = 1000  # frames
LOOK = 0.002  # seconds between two looks
HELD = "ZT_HELD"  # the environment's name of a file: the stage in it waits, and says so by another file


def same(array):
    """What comes."""
    return array


def _wait(stage):
    path = os.environ.get(HELD)
    while path is not None and Path(path).read_text() == stage:
        Path(f"{path}.waits").touch()
        time.sleep(LOOK)


@dataclass(frozen=True)
class Peaks(Kernel):
    """The greatest sample of each cell, of all channels."""

    name: ClassVar[str] = "zt_peaks"

    def signal(self, before):
        return Signal(-(-before.frames // CELL), 1, before.samplerate, sample_format("f64le"))

    def needs(self, start, stop, signal):
        return start * CELL, stop * CELL

    def source_frame(self, frame, signal):
        return frame * CELL

    def apply(self, samples, place, state):
        if place.start > 0:
            _wait("measuring")
        return np.abs(samples).reshape(-1, CELL * samples.shape[1]).max(axis=1).reshape(-1, 1)


@dataclass(frozen=True)
class Normal(BuiltIn):
    """Make the greatest sample as great as the level.

    For tests.
    """

    name: ClassVar[str] = "zt_normal"
    example: ClassVar[str] = "zt_normal:level=1"
    level: int = integer("greatest sample", least=1, most=9)

    def measure(self, signal):
        return Peaks()

    def combine(self, cells, signal):
        peak = float(cells.max(initial=0)) or 1.0
        return Combined(Scale(self.level / peak), f"zt_normal: peak {peak!r}")


@dataclass(frozen=True)
class Sums(BuiltIn, Kernel):
    """Add up all samples since the block began, and some before: every cut would be heard.

    For tests.
    """

    name: ClassVar[str] = "zt_sums"
    example: ClassVar[str] = "zt_sums:before=100"
    exactness: ClassVar[Exactness] = Exactness.GRID
    precision: ClassVar[Precision] = Precision.FLOAT64
    before: int = integer("frames in front of a block", least=0, most=100_000)

    def context(self, signal):
        return self.before, 0

    def apply(self, samples, place, state):
        return np.add.accumulate(samples, axis=0)[place.start - place.first :] / 1024


@dataclass(frozen=True)
class Ahead(BuiltIn, Kernel):
    """Give each sample as it will be some frames later.

    For tests.
    """

    name: ClassVar[str] = "zt_ahead"
    example: ClassVar[str] = "zt_ahead:frames=10"
    precision: ClassVar[Precision] = Precision.FLOAT64
    frames: int = integer("frames", least=0, most=100_000)

    def context(self, signal):
        return 0, self.frames

    def apply(self, samples, place, state):
        return samples[self.frames :]


@dataclass(frozen=True)
class Hold(BuiltIn, Kernel):
    """Wait at the beginning of the recording, while the main stage is to wait.

    For tests.
    """

    name: ClassVar[str] = "zt_hold"
    example: ClassVar[str] = "zt_hold"
    precision: ClassVar[Precision] = Precision.ANY

    def apply(self, samples, place, state):
        if place.start == 0:
            _wait("main")
        return samples


def _register(table, *classes):
    """Put classes into a table of the catalogue, which nobody else may change."""
    (table,) = [inner for inner in gc.get_referents(table) if isinstance(inner, dict)]
    table.update({each.name: each for each in classes})


_register(BUILTIN, Normal, Sums, Ahead, Hold)
_register(KERNELS, Peaks, Sums, Ahead, Hold)
