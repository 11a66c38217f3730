"""Ops as they travel: to Steps on the coordinator, from Steps on workers.

Rules: nothing from the wire is imported or evaluated. A name selects a class of the catalogue or a user's op that the
worker allows, and each coefficient must have the type that the class declares.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeGuard

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.catalogue import KERNELS
from zaudio.ops.contract import Kernel, Op
from zaudio.ops.spec import travelling
from zaudio.steps import TABLE_TYPES, Scalar, Step, Table


def is_kernel(op: Op) -> TypeGuard[Kernel]:
    """Return whether an op is a built-in one that travels."""
    return isinstance(op, Kernel) and KERNELS.get(op.name) is type(op)


def kernel_step(kernel: Kernel) -> Step:
    """Return a built-in op as it travels."""
    return step_of(kernel, kernel.name)


def step_of(op: Op, name: str, version: str = "") -> Step:
    """Return an op as it travels under that name: its fields are numbers, texts and tables.

    Raises:
        UsageError: A field is something else.
    """
    params: list[tuple[str, Scalar]] = []
    tables: list[Table] = []
    for item in dataclasses.fields(op):
        value = getattr(op, item.name)
        if isinstance(value, np.ndarray):
            tables.append(_table(name, item.name, value))
        elif value is not None or item.default is not None:  # None travels as the default that it is
            params.append((item.name, value))
    return Step(name, travelling(f"op {name}", params), tuple(tables), version)


def given_of(step: Step) -> dict[str, object]:
    """Return the fields of an op that came."""
    given: dict[str, object] = dict(step.params)
    for table in step.tables:
        given[table.key] = np.frombuffer(table.numbers, table.type)
    return given


def kernel_of(step: Step) -> Kernel:
    """Return the built-in op that a Step names.

    Raises:
        UsageError: There is no such op here, or its coefficients are those of another version.
    """
    kernel = KERNELS.get(step.name)
    if kernel is None:
        raise UsageError(f"op {step.name}: this worker's zaudio has no such op")
    given = given_of(step)
    expected = {item.name: str(item.type) for item in dataclasses.fields(kernel)}
    if given.keys() != expected.keys() or not all(fits(given[key], expected[key]) for key in given):
        raise UsageError(
            f"op {step.name}: expected the coefficients {', '.join(expected) or '(none)'}, "
            f"not {', '.join(f'{key}={_shown(value)}' for key, value in given.items()) or '(none)'}; "
            "are both sides the same version of zaudio?"
        )
    return kernel(**given)


def fits(value: object, declared: str) -> bool:
    """Return whether a value has the type that a field declares."""
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


def _table(op: str, key: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Table:
    stored = np.ascontiguousarray(value)
    if value.ndim != 1 or stored.dtype.str not in TABLE_TYPES:
        raise UsageError(
            f"op {op}: {key} is a table of one dimension, of {', '.join(TABLE_TYPES)}, "
            f"not of shape {value.shape} and {stored.dtype.str}"
        )
    return Table(key, stored.dtype.str, stored.tobytes())


def _shown(value: object) -> str:
    return f"<{value.size} numbers>" if isinstance(value, np.ndarray) else f"{value!r:.40}"
