"""Needed: the modules that built-in ops import and that take long, by the ops' names.

Rules: this imports nothing, so that a command knows them before numpy is there. `zaudio.ops.contract.Op.requires` says
the same; a test compares the two. Nothing is imported by a name that came over a wire: `load` knows its modules.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

SCIPY = ("scipy.signal",)  # 0.7 s, 80 MB

REQUIRED: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("bandpass", "dcblock", "eq", "highpass", "highshelf", "loudnorm", "lowpass", "lowshelf", "notch"), SCIPY
)


def required(specs: Iterable[str]) -> tuple[str, ...]:
    """Return the modules that the ops of these SPECs import."""
    modules = {module for spec in specs for module in REQUIRED.get(spec.partition(":")[0], ())}
    return tuple(sorted(modules))


def load(modules: Iterable[str]) -> None:
    """Import those of these modules that are installed: the op that needs one says what to install.

    Other names than those of `REQUIRED` are left to the ops.
    """
    if SCIPY[0] in modules:
        with contextlib.suppress(ImportError):
            import scipy.signal  # noqa: F401
