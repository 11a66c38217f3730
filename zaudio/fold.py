"""Fold: the destination of a measuring stage. It collects what workers measured, in order, as one array.

Rules: those of `Into`. Cells come in the order of the recording. A measurement is small beside its recording, and
nothing of it is on the disk before it is whole.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zaudio.errors import UsageError
from zaudio.into import Into
from zaudio.signal import Signal

CELLS = "f64le"  # the format of what is measured


class Fold(Into):
    """A destination in memory for measured numbers.

    Args:
        signal: The measurement: a frame per cell, and a channel per number.

    Raises:
        UsageError: Its numbers are no float64.
    """

    content = "measurement"

    def __init__(self, signal: Signal) -> None:
        if signal.format.name != CELLS:
            raise UsageError(f"what is measured is {CELLS}, not {signal.format.name}")
        super().__init__(signal)

    @property
    def cells(self) -> npt.NDArray[np.float64]:
        """A copy of all that was measured, (cells, numbers), once it is sealed."""
        return self.array.astype(np.float64)
