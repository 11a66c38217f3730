"""OpSpec: an op as its user asks for it, and its text, the SPEC.

    SPEC   = NAME [":" PARAMS]  |  MODULE ":" FUNCTION [":" PARAMS]
    PARAMS = KEY "=" VALUE {"," KEY "=" VALUE}

Rules:

- This module is pure: no arrays, and no import of a user's module.
- The text between the first colon and the next tells the two forms apart: with "=" in it, it is a parameter; without,
  it is a function.
- MODULE may hold dots, FUNCTION must not.
- A VALUE is an integer, a finite decimal number, true or false; anything else is a string. It holds no comma, or stands
  in double quotes as in JSON: so a string may look like a number, too.
- Values from Python obey the same limits as values from a text, so that each op has a SPEC.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import numbers
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from zaudio.errors import UsageError
from zaudio.steps import Params, Scalar

if TYPE_CHECKING:
    from zaudio.ops.contract import Op

LONGEST_CHAIN = 32  # ops; a chain is written by hand, and its steps travel in one small header
LONGEST_TEXT = 256  # bytes of a name or a text in a message
MOST_PARAMS = 64  # of one op in a message

_FORMS = "NAME, NAME:KEY=VALUE,KEY=VALUE or MODULE:FUNCTION[:KEY=VALUE,...]"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ITEM = re.compile(rf"([^=,]*)(=({_QUOTED.pattern}(?=,|$)|[^,]*))?(,|$)")
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


# A SPEC, a function or class of a module, an own op with its parameters, or what `zaudio.op` returned.
if TYPE_CHECKING:
    Requested: TypeAlias = str | Callable[..., object] | OpSpec | Op
else:
    Requested = str | Callable[..., object] | OpSpec  # hints are read at run time too; the class `Op` needs numpy


def request(name: Requested, params: Mapping[str, Any]) -> OpSpec:
    """Return an op with more parameters, which need not be text; `zaudio.op` calls this.

    Args:
        name: The op; a SPEC may have parameters too.
        params: The others: numbers, texts, True or False.

    Raises:
        UsageError: The op is neither a name nor a function, or a parameter cannot travel to a worker.
    """
    return _with_params(_one(name), params)


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
        ops: A SPEC, a module-level function, a `functools.partial` of one, what `op` returned, or a sequence of up to
            32 of these: of none, the result is a copy. A string holds one SPEC.

    Raises:
        UsageError: One of them cannot be used, or the chain is too long.
    """
    if isinstance(ops, str) or not isinstance(ops, Sequence):
        return (_one(ops),)
    if len(ops) > LONGEST_CHAIN:
        raise UsageError(f"a chain has up to {LONGEST_CHAIN} ops, not {len(ops)}")
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
    place = 0
    while True:
        item = _ITEM.match(text, place)
        if item is None or not (item[1].isidentifier() and item[3]):
            raise UsageError(f"op {spec!r}: expected KEY=VALUE,KEY=VALUE, not {text[place:].partition(',')[0]!r}")
        if item[1] in params:
            raise UsageError(f"op {spec!r}: parameter {item[1]} is given twice")
        params[item[1]] = _parse_value(spec, item[3])
        if not item[4]:
            return travelling(f"op {spec!r}", params.items())
        place = item.end()


def _parse_value(spec: str, text: str) -> Scalar:
    if _QUOTED.fullmatch(text):
        try:
            return str(json.loads(text))
        except ValueError:
            raise UsageError(f"op {spec!r}: expected a text in quotes as JSON has it, not {text}") from None
    if _INTEGER.fullmatch(text):
        if len(text) > 20:  # Python refuses to read thousands of digits
            raise UsageError(f"op {spec!r}: expected an integer of 64 bits, not {text}")
        return int(text)
    if _NOT_FINITE.fullmatch(text) or _DECIMAL.fullmatch(text):
        return float(text)
    return _BOOLEANS.get(text.lower(), text)


def travelling(where: str, params: Iterable[tuple[str, Any]]) -> Params:
    """Return parameters that a message can carry, numpy's scalars as Python's.

    Raises:
        UsageError: One cannot travel, or there are too many.
    """
    checked = tuple((key, _scalar(where, key, value)) for key, value in params)
    if len(checked) > MOST_PARAMS:
        raise UsageError(f"{where}: expected at most {MOST_PARAMS} parameters, not {len(checked)}")
    return checked


def _scalar(where: str, key: str, value: object) -> Scalar:
    match value:
        case bool():
            return value
        case _ if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
            return bool(value)  # numpy's is no number
        case str():
            if not value.isprintable():
                raise UsageError(f"{where}: expected a value of printable characters, not {value!r:.80}")
            if len(value.encode()) > LONGEST_TEXT:
                raise UsageError(f"{where}: expected a text of at most {LONGEST_TEXT} bytes, not {value!r:.80}")
            return str(value)
        case numbers.Integral():
            if not -(2**63) <= int(value) < 2**63:
                raise UsageError(f"{where}: expected an integer of 64 bits, not {_brief(value)}")
            return int(value)
        case numbers.Real():
            try:
                number = float(value)
            except OverflowError:  # a fraction
                number = math.inf
            if not math.isfinite(number):
                raise UsageError(f"{where}: expected a finite number, not {_brief(value)}")
            return number
    raise UsageError(f"{where}: {key} is a number, a text, True or False, not {value!r:.80}")


def _brief(value: object) -> str:
    try:
        text = str(value)
    except ValueError:  # Python refuses to write thousands of digits
        return "one of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _with_params(spec: OpSpec, params: Mapping[str, Any]) -> OpSpec:
    for key, _ in spec.params:
        if key in params:
            raise UsageError(f"op {str(spec)!r}: parameter {key} is given twice")
    for key in params:
        if not key.isidentifier():
            raise UsageError(f"op {str(spec)!r}: expected the name of a parameter, not {key!r}")
    return OpSpec(spec.name, travelling(f"op {str(spec)!r}", [*spec.params, *params.items()]))


def _text(value: Scalar) -> str:
    """Return a value as `_parse_value` reads it, in quotes where it would read something else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    text = str(value)
    if isinstance(value, str) and (not text or text[0] == '"' or "," in text or _reads_otherwise(text)):
        return json.dumps(text)
    return text


def _reads_otherwise(text: str) -> bool:
    """Return whether a string, unquoted, would be read as a number or a boolean."""
    patterns = (_INTEGER, _DECIMAL, _NOT_FINITE)
    return text.lower() in _BOOLEANS or any(pattern.fullmatch(text) for pattern in patterns)


def _one(op: object) -> OpSpec:
    if isinstance(op, OpSpec):
        return op
    if isinstance(op, str):
        return parse(op)
    if isinstance(op, functools.partial):
        return _of_partial(op)
    if dataclasses.is_dataclass(op):
        return _of_dataclass(op)
    if callable(op):
        return _of_callable(op)
    raise UsageError(f"an op is a text ({_FORMS}) or a function, not {op!r:.80}")


def _of_callable(op: Callable[..., object]) -> OpSpec:
    """Return the SPEC of a function that a worker will find under the same name in the same module."""
    if not isinstance(op, types.FunctionType):
        raise UsageError(f"an op is a plain function of a module, not {type(op).__name__} {op!r:.80}")
    return OpSpec(_findable(op, "function"))


def _of_dataclass(op: Any) -> OpSpec:
    """Return the SPEC of an op that is a dataclass of a module: of the class, or of one with its parameters."""
    if isinstance(op, type):
        return OpSpec(_findable(op, "class"))
    name = _findable(type(op), "class")
    return OpSpec(name, travelling(f"op {name}", [(item.name, getattr(op, item.name)) for item in _given(op)]))


def _given(op: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields that are not their defaults."""
    return [item for item in dataclasses.fields(op) if item.init and getattr(op, item.name) is not item.default]


def _findable(op: Any, kind: str) -> str:
    """Return ``module:name`` of a function or a class that a worker finds by it."""
    module, name = op.__module__, op.__qualname__
    if module == "__main__":
        raise _of_main(name)
    found = getattr(sys.modules.get(module), name, None)
    if not name.isidentifier() or found is not op:
        raise UsageError(
            f"an op is a {kind} that a worker finds in its module by name; {module}:{name} is not{_found(op, found)}"
        )
    return f"{module}:{name}"


def _found(op: Any, found: Any) -> str:
    """Return the reason why something else is found under an op's name, after a semicolon; empty if it is not known."""
    if not op.__qualname__.isidentifier():
        return ""
    if type(found) is type(op) and found.__module__ == op.__module__:
        return f"; the module was imported again, so take {op.__qualname__} from it again"
    return "; a declaration has brackets: @zaudio.op()" if isinstance(op, types.FunctionType) else ""


def _of_partial(op: functools.partial[Any]) -> OpSpec:
    if op.args:
        raise UsageError(
            f"op {op!r:.80}: the samples come first, so a partial names all that it gives, as in KEY=VALUE"
        )
    return _with_params(_one(op.func), op.keywords)


def _of_main(function: str) -> UsageError:
    return UsageError(
        f"op __main__:{function}: workers cannot import __main__, the script that was started; "
        f"put {function} in a module of its own"
    )
