"""Ops as they travel: to Steps on the coordinator, from Steps on workers.

Rules: nothing from the wire is imported or evaluated. A name selects a class of the catalogue or a user's op that the
worker allows, and each coefficient must have the type that the class declares.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.catalogue import KERNELS
from zaudio.ops.contract import Kernel
from zaudio.steps import Scalar, Step, Table


def kernel_step(kernel: Kernel) -> Step:
    """Return a built-in op as it travels."""
    params: list[tuple[str, Scalar]] = []
    tables: list[Table] = []
    for item in dataclasses.fields(kernel):
        value = getattr(kernel, item.name)
        if isinstance(value, np.ndarray):
            stored = np.ascontiguousarray(value)
            tables.append(Table(item.name, stored.dtype.str, stored.tobytes()))
        else:
            params.append((item.name, value))
    return Step(kernel.name, tuple(params), tuple(tables))


def kernel_of(step: Step) -> Kernel:
    """Return the built-in op that a Step names.

    Raises:
        UsageError: There is no such op here, or its coefficients are those of another version.
    """
    kernel = KERNELS.get(step.name)
    if kernel is None:
        raise UsageError(f"op {step.name}: this worker's zaudio has no such op")
    given: dict[str, object] = dict(step.params)
    for table in step.tables:
        given[table.key] = np.frombuffer(table.numbers, table.type)
    expected = {item.name: str(item.type) for item in dataclasses.fields(kernel)}
    if given.keys() != expected.keys() or not all(_fits(given[key], expected[key]) for key in given):
        raise UsageError(
            f"op {step.name}: expected the coefficients {', '.join(expected) or '(none)'}, "
            f"not {', '.join(f'{key}={_shown(value)}' for key, value in given.items()) or '(none)'}; "
            "are both sides the same version of zaudio?"
        )
    return kernel(**given)


def _fits(value: object, declared: str) -> bool:
    match declared:
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
        case "Array":
            return isinstance(value, np.ndarray)
    return False


def _shown(value: object) -> str:
    return f"<{value.size} numbers>" if isinstance(value, np.ndarray) else f"{value!r:.40}"
