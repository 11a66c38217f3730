"""An op of a known speed: it stands for one that takes time, on machines of which one is slow."""

from __future__ import annotations

import os
import time

import numpy as np

SPEED = "SCENE_MS"  # in a worker's environment: milliseconds that a chunk takes there


def restore(samples: np.ndarray) -> np.ndarray:
    """Return the samples after that time, which is slept: four workers need no four cores for it."""
    time.sleep(float(os.environ[SPEED]) / 1000)
    return samples
