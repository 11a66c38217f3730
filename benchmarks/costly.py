"""An op that takes its time: numpy arithmetic over and over, and then the inversion.

`benchmarks.costly:work:passes=N` is an op for `zaudio farm`; `stream.py --passes N` applies the same. Its result is
that of `invert`, so it is checked in the same way; the arithmetic before is computed and thrown away.
"""

from __future__ import annotations

import time

import numpy as np

MIB_SAMPLES = (1 << 20) // 4
PATIENCE = 5  # measurements, of which the fastest counts: the others waited for something else on the machine


def work(samples: np.ndarray, *, passes: int) -> np.ndarray:
    """Compute for a while, then flip the sign of each sample."""
    toil(samples, passes)
    np.negative(samples, out=samples)
    return samples


def rest(samples: np.ndarray, *, ms: float) -> np.ndarray:
    """Return the samples after that time, which is slept: two workers need no two cores for it."""
    time.sleep(ms / 1000)
    return samples


def toil(samples: np.ndarray, passes: int) -> None:
    """Smooth a copy of the samples that many times; the samples stay as they are."""
    scratch = np.array(samples)
    for _ in range(passes):
        np.multiply(scratch, np.float32(0.5), out=scratch)
        np.add(scratch, samples, out=scratch)


def passes_for(seconds: float) -> int:
    """Return the number of passes over 1 MiB of samples that take that long here."""
    samples = np.linspace(-1, 1, MIB_SAMPLES, dtype=np.float32)
    toil(samples, 20)
    times = []
    for _ in range(PATIENCE):
        begun = time.perf_counter()
        toil(samples, 100)
        times.append(time.perf_counter() - begun)
    return max(1, round(100 * seconds / min(times)))
