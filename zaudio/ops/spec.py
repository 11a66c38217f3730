"""OpSpec: an op as its user asks for it, and its text, the SPEC.

    SPEC   = NAME [":" PARAMS]  |  MODULE ":" FUNCTION [":" PARAMS]
    PARAMS = KEY "=" VALUE {"," KEY "=" VALUE}

Rules:

- This module is pure: no arrays, and no import of a user's module.
- The text between the first colon and the next tells the two forms apart: with "=" in it, it is a parameter; without,
  it is a function.
- MODULE may hold dots, FUNCTION must not.
- A VALUE is an integer, a finite decimal number, true or false; anything else is a string. It holds no comma.
"""

from __future__ import annotations

import math
import re
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zaudio.errors import UsageError
from zaudio.steps import Params, Scalar

Requested = str | Callable[..., object]

LONGEST_CHAIN = 32  # ops; a chain is written by hand, and its steps travel in one small header

_FORMS = "NAME, NAME:KEY=VALUE,KEY=VALUE or MODULE:FUNCTION[:KEY=VALUE,...]"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
# However it is capitalised: as a string, False would be true.
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One op of a chain, as asked for; made by `parse` and `parse_chain`.

    Attributes:
        name: A built-in op's name, or ``module:function``.
        params: Its parameters as they were given, in that order.
    """

    name: str
    params: Params = ()

    @property
    def is_function(self) -> bool:
        """Whether it is a user's own function."""
        return ":" in self.name

    def __str__(self) -> str:
        """Return the canonical SPEC; `parse` gives this OpSpec back."""
        return ":".join([self.name, *([",".join(f"{k}={_text(v)}" for k, v in self.params)] if self.params else [])])


def parse(text: str) -> OpSpec:
    """Return the op that a SPEC names.

    Raises:
        UsageError: It is no SPEC, or it names a function of `__main__`.
    """
    name, params = _split(text)
    if ":" in name:
        module, function = split_function(name)
        if module == "__main__":
            raise _of_main(function)
    elif not name.isidentifier():
        raise UsageError(
            f"op {text!r}: expected {_FORMS}; {name!r} is no name (a chain is a list of ops, not one text)"
        )
    return OpSpec(name, () if params is None else _parse_params(text, params))


def parse_chain(ops: Requested | Sequence[Requested]) -> tuple[OpSpec, ...]:
    """Return the chain of ops that a user asked for, in the order in which they are applied.

    Args:
        ops: A SPEC, a module-level function, or a sequence of 1 to 32 of these. A string holds one SPEC.

    Raises:
        UsageError: One of them cannot be used, or there is none, or there are too many.
    """
    if isinstance(ops, str) or not isinstance(ops, Sequence):
        return (_one(ops),)
    if not 1 <= len(ops) <= LONGEST_CHAIN:
        raise UsageError(f"a chain has 1 to {LONGEST_CHAIN} ops, not {len(ops)}")
    return tuple(_one(op) for op in ops)


def split_function(name: str) -> tuple[str, str]:
    """Return the module and the function of ``module:function``.

    Raises:
        UsageError: It is nothing of that form.
    """
    module, _, function = name.partition(":")
    if not all(word.isidentifier() for word in module.split(".")):
        raise UsageError(f"op {name!r}: expected MODULE:FUNCTION; {module!r} is no name of a module")
    if not function.isidentifier():
        raise UsageError(f"op {name!r}: expected MODULE:FUNCTION or NAME:KEY=VALUE; {function!r} is neither")
    return module, function


def offers(names: Iterable[str], step_name: str) -> bool:
    """Return whether a worker that offers these names has that op.

    Args:
        names: Names of built-in ops, and ``module`` (any function of it) or ``module:function``.
        step_name: A built-in op's name or ``module:function``.
    """
    module = step_name.partition(":")[0]
    return any(name in (step_name, module) for name in names)


def _split(text: str) -> tuple[str, str | None]:
    """Return the name and the text of the parameters; None for the text when there is no colon for it."""
    first, colon, rest = text.partition(":")
    if not colon:
        return first, None
    second, colon, params = rest.partition(":")
    if "=" in second:
        return first, rest
    return f"{first}:{second}", params if colon else None


def _parse_params(spec: str, text: str) -> Params:
    params: dict[str, Scalar] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if not (equals and key.isidentifier() and value):
            raise UsageError(f"op {spec!r}: expected KEY=VALUE,KEY=VALUE, not {item!r}")
        if key in params:
            raise UsageError(f"op {spec!r}: parameter {key} is given twice")
        params[key] = _parse_value(spec, value)
    return tuple(params.items())


def _parse_value(spec: str, text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        # A message carries 64 bits. The length comes first, because Python refuses to read thousands of digits.
        if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            raise UsageError(f"op {spec!r}: expected an integer of 64 bits, not {text}")
        return int(text)
    if _NOT_FINITE.fullmatch(text) or (_DECIMAL.fullmatch(text) and not math.isfinite(float(text))):
        raise UsageError(f"op {spec!r}: expected a finite number, not {text}")
    if _DECIMAL.fullmatch(text):
        return float(text)
    if not text.isprintable():
        raise UsageError(f"op {spec!r}: expected a value of printable characters, not {text!r}")
    return _BOOLEANS.get(text.lower(), text)


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _one(op: object) -> OpSpec:
    if isinstance(op, str):
        return parse(op)
    if callable(op):
        return _of_callable(op)
    raise UsageError(f"an op is a text ({_FORMS}) or a function, not {op!r:.80}")


def _of_callable(op: Callable[..., object]) -> OpSpec:
    """Return the SPEC of a function that a worker will find under the same name in the same module."""
    if not isinstance(op, types.FunctionType):
        raise UsageError(f"an op is a plain function of a module, not {type(op).__name__} {op!r:.80}")
    module, name = op.__module__, op.__qualname__
    if module == "__main__":
        raise _of_main(name)
    if not name.isidentifier() or getattr(sys.modules.get(module), name, None) is not op:
        raise UsageError(f"an op is a function that a worker finds in its module by name; {module}:{name} is not")
    return OpSpec(f"{module}:{name}")


def _of_main(function: str) -> UsageError:
    return UsageError(
        f"op __main__:{function}: workers cannot import __main__, the script that was started; "
        f"put {function} in a module of its own"
    )
