"""Needed: the modules that built-in ops import and that take long, by the ops' names.

Rules: this imports nothing, so that a command knows them before numpy is there. `zaudio.ops.contract.Op.requires` says
the same; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SOSFILT = ("zaudio.ops.sosfilt",)  # 0.01 s; 0.7 s and 50 MB if this scipy needs all of `scipy.signal` for it

REQUIRED: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("bandpass", "dcblock", "eq", "highpass", "highshelf", "loudnorm", "lowpass", "lowshelf", "notch"), SOSFILT
)


def required(specs: Iterable[str]) -> tuple[str, ...]:
    """Return the modules that the ops of these SPECs import."""
    modules = {module for spec in specs for module in REQUIRED.get(spec.partition(":")[0], ())}
    return tuple(sorted(modules))
