"""Sosfilt: scipy's compiled loop over the frames of second-order sections, without the rest of `scipy.signal`.

Importing `scipy.signal` takes 0.7 s and 50 MB, most of it for statistics and optimisation. The loop itself is a
compiled module of its own there, which needs numpy alone: 0.01 s and 2 MB.

Rules:

- That module is no public name of scipy. So it is tried on a few numbers first. If it is not there, raises or answers
  with anything else, the public function takes its place. That one calls the same loop: no bit differs.
- It is known by its true name: a program that imports `scipy.signal` later finds it, and loads it no second time.
- This module is imported by workers alone, and needs scipy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import numpy as np
import scipy

from zaudio.ops.contract import Array

Sosfilt = Callable[[Array, Array, Array], None]  # sections, samples, memory: as `sosfilt` below has them

_NAME = "scipy.signal._sosfilt"

# Two sections and a few frames, with something in the memory.
_SECTIONS = np.array([[0.5, 0.25, -0.125, 1.0, -0.5, 0.25], [1.0, -2.0, 1.0, 1.0, -1.5, 0.75]])
_SAMPLES = np.array([[1.0, -0.5, 0.25, 0.0, 3.0], [0.0, 1.0, 0.0, -1.0, 0.125]])
_MEMORY = np.array([[[0.5, -1.0], [-0.5, 2.0]], [[0.25, 0.125], [0.0, 1.0]]])


def compiled() -> Sosfilt | None:
    """Return the filter that calls the compiled loop by itself; None if this scipy has no such loop."""
    if "scipy.signal" in sys.modules:
        return None  # the public function costs nothing any more
    try:
        filter, samples = _around(_loop()), _SAMPLES.copy()
        filter(_SECTIONS, samples, _MEMORY.copy())
        right = np.allclose(samples, _expected(), rtol=1e-12, atol=1e-12)
    except Exception:  # noqa: BLE001  it is not public: another version may do anything
        return None
    return filter if right else None


def public() -> Sosfilt:
    """Return the filter that calls `scipy.signal.sosfilt`."""
    from scipy.signal import sosfilt

    def filter(sections: Array, samples: Array, memory: Array) -> None:
        samples[...], _ = sosfilt(sections, samples, zi=memory.transpose(1, 0, 2))

    return filter


def _loop() -> Callable[[Array, Array, Array], None]:
    """Return the compiled loop: it filters samples (rows, frames) in place, from a memory (rows, sections, 2)."""
    module = sys.modules.get(_NAME)
    if module is None:
        spec = PathFinder.find_spec(_NAME, [os.path.join(folder, "signal") for folder in scipy.__path__])
        if spec is None or spec.loader is None:
            raise ImportError(_NAME)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[_NAME] = module
    loop: Callable[[Array, Array, Array], None] = module._sosfilt
    return loop


def _around(loop: Callable[[Array, Array, Array], None]) -> Sosfilt:
    def filter(sections: Array, samples: Array, memory: Array) -> None:
        for row, own in zip(samples, memory, strict=True):  # it takes what lies in one piece
            loop(sections, row[None], own[None])

    return filter


def _expected() -> Array:
    """Return what the filter makes of the few numbers: the transposed direct form II, frame by frame."""
    expected = _SAMPLES.copy()
    for row, frames in enumerate(expected):
        memory = _MEMORY[row].tolist()
        for frame, sample in enumerate(frames.tolist()):
            for section, (b0, b1, b2, _, a1, a2) in enumerate(_SECTIONS.tolist()):
                first, second = memory[section]
                out = b0 * sample + first
                memory[section] = b1 * sample - a1 * out + second, b2 * sample - a2 * out
                sample = out
            frames[frame] = sample
    return expected


_filter = compiled() or public()


def sosfilt(sections: Array, samples: Array, memory: Array | None = None) -> None:
    """Filter samples in place by a cascade of second-order sections.

    Args:
        sections: b0, b1, b2, 1, a1, a2 of each, (sections, 6), float64, writable.
        samples: Float64, (rows, frames); each row is filtered by itself, and lies in one piece.
        memory: Of each section in front of the first frame, (rows, sections, 2), C-contiguous; it is written to. None
            for zeros.
    """
    _filter(sections, samples, np.zeros((len(samples), len(sections), 2)) if memory is None else memory)


__all__ = ["Sosfilt", "compiled", "public", "sosfilt"]
