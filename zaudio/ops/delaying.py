"""Delaying: an op that adds an echo, `delay`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, BuiltIn, Exactness, Kernel, Op, Place
from zaudio.ops.parameters import duration, frames_of, number
from zaudio.signal import Signal

LONGEST = 10  # seconds: so many frames are read before every block
WEAKEST_DB, STRONGEST_DB = -120.0, 20.0


@dataclass(frozen=True)
class Delay(BuiltIn):
    """Add one echo.

    y[n] = x[n] + 10^(level_db / 20) x[n - D], where D is `time` in frames and nothing sounded before the recording. The
    length stays: what would sound behind the end is cut, so put `pad` in front of this op to keep it. To move a
    recording in time, use `pad` and `trim`.
    Source: J. O. Smith, "Physical Audio Signal Processing" (2010), section "Feedforward Comb Filters".
    """

    name: ClassVar[str] = "delay"
    example: ClassVar[str] = "delay:time=250ms,level_db=-6"
    exactness: ClassVar[Exactness] = Exactness.FINITE
    time: str = duration("time after which the echo sounds, at most 10s")
    level_db: float = number("level of the echo in decibels", least=WEAKEST_DB, most=STRONGEST_DB, default=-6)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The time is shorter than a frame, or too long.
        """
        frames = frames_of(self.time, signal.samplerate)
        if not 1 <= frames <= LONGEST * signal.samplerate:
            raise UsageError(f"op delay: time is from 1f (one frame) to {LONGEST}s, not {self.time}")
        return Echo(frames, 10.0 ** (self.level_db / 20.0))


@dataclass(frozen=True)
class Echo(Kernel):
    """An echo: its delay in frames, and its factor."""

    name: ClassVar[str] = "delay"
    frames: int
    factor: float

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames of the delay, in front."""
        return self.frames, 0

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples with their echo."""
        echoed = np.multiply(samples[: -self.frames], self.factor, order="F")
        echoed += samples[self.frames :]
        return echoed
