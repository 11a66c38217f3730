"""Classes: users' ops that are dataclasses, made of parameters that came from a SPEC or over the wire."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Op
from zaudio.ops.declaring import check_version, version_text
from zaudio.ops.travel import fits

_PLAIN = {float: "float", int: "int", bool: "bool", str: "str"}
_WORDS = {"float": "a number", "int": "a whole number", "bool": "True or False", "str": "a text", "Array": "a table"}


def make_class_op(name: str, kind: type[Op], given: Mapping[str, object]) -> Op:
    """Return an op of a user's class.

    Args:
        name: ``module:class``, for sentences.
        kind: The class.
        given: Its fields, as far as they are not the defaults.

    Raises:
        UsageError: A field is unknown, missing or of another type, or the class itself refuses it.
    """
    known = [item.name for item in dataclasses.fields(kind) if item.init]
    for key in given:
        if key not in known:
            raise UsageError(f"op {name} has no parameter {key}; it has {', '.join(known) or 'none'}")
    if kind.needs is not Op.needs and not kind.whole:
        raise UsageError(f"op {name} has needs() of its own: its class states whole = True, too")
    declared = _types(kind)
    values = {key: _value(name, key, value, declared.get(key, "")) for key, value in given.items()}
    try:
        return kind(**values)
    except Exception as error:  # a field is missing; or the class has checks of its own, which may raise anything
        cause = error if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"op {name} cannot be made with {dict(given)}: {cause}") from error


def class_version(op: Op, name: str) -> str:
    """Return the version of an op of a user's class, with the hash of its model.

    Raises:
        UsageError: The version is no short text, or the model cannot be read.
    """
    check_version(f"op {name}", op.version)
    home = getattr(sys.modules.get(type(op).__module__), "__file__", None) or ""
    return version_text(name, op.version, op.model, home)


def _value(name: str, key: str, value: object, declared: str) -> object:
    if declared == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if declared and not fits(value, declared):
        raise UsageError(f"op {name}: {key} is {_WORDS[declared]}, not {value!r:.80}")
    return value


def _types(kind: type[Op]) -> dict[str, str]:
    """Return the declared types of fields; an empty text for one that is not plain."""
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # noqa: BLE001  names that exist for type checkers alone, in a stranger's module
        return {}
    return {
        key: "Array" if np.ndarray in (hint, typing.get_origin(hint)) else _PLAIN.get(hint, "")
        for key, hint in hints.items()
    }
