"""Parameters of built-in ops: the fields of their dataclasses, with range, unit and meaning.

    @dataclass(frozen=True)
    class Gain(BuiltIn):
        db: float = number("gain in decibels; negative is quieter", least=-200, most=200)

Rules: pure. A value from outside is checked here, once, when an op is made of a SPEC. A field that Python has as a
keyword ends in an underscore, which the SPEC leaves out: `in_` is `in`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from zaudio.errors import UsageError
from zaudio.steps import Scalar

# 12 digits are 30,000 years. Frames are whole.
_DURATION = re.compile(r"(\d{1,12}(?=f)|\d{1,12}(?:\.\d{1,30})?(?=m?s))(s|ms|f)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a built-in op.

    Attributes:
        type: The kind of value that it takes: number, integer, duration, choice or text.
        meaning: Its meaning, with the unit.
        least: The least value allowed, in the unit of the value; None for no bound.
        most: The greatest value allowed; None for no bound.
        choices: The values allowed; empty when there are others.
    """

    type: str
    meaning: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def span(self) -> str:
        """The values allowed, in words: ``a number from -200 to 200``."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        article = "an" if self.type[0] in "aeiou" else "a"
        if self.type == "duration":
            return "a duration such as 2s, 500ms or 44100f (frames)"
        if self.least is None or self.most is None:
            return f"{article} {self.type}"
        return f"{article} {self.type} from {_plain(self.least)} to {_plain(self.most)}"

    def check(self, op: str, name: str, value: Scalar) -> Scalar:
        """Return a value as the op has it.

        Raises:
            UsageError: It is of another type, or out of range.
        """
        checked = self._checked(value)
        if checked is None:
            raise UsageError(f"op {op}: {name} is {self.span}, not {value!r:.80}")
        return checked

    def _checked(self, value: Scalar) -> Scalar | None:
        match self.type:
            case "number" if not isinstance(value, bool | str) and self._in_range(value):
                return float(value)
            case "integer" if isinstance(value, int) and not isinstance(value, bool) and self._in_range(value):
                return value
            case "duration" if isinstance(value, str) and is_duration(value):
                return value
            case "duration" if not isinstance(value, bool | str) and 0 <= value < 1e12:
                return f"{abs(value):f}".rstrip("0").rstrip(".") + "s"  # a bare number is seconds; -0.0 is one, too
            case "choice" if _word(value) in self.choices:
                return _word(value)
            case "text" if isinstance(value, int | str) and not isinstance(value, bool):
                return str(value)  # a SPEC reads digits as a number
        return None

    def _in_range(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def number(meaning: str, *, least: float, most: float, default: float | None = None) -> Any:
    """Return the field of a number; without a default it must be given."""
    return _field(Parameter("number", meaning, least, most), default)


def integer(meaning: str, *, least: int, most: int, default: int | None = None) -> Any:
    """Return the field of a whole number."""
    return _field(Parameter("integer", meaning, least, most), default)


def duration(meaning: str, *, default: str | None = None) -> Any:
    """Return the field of a duration: text such as ``2s``, ``500ms`` or ``44100f``; a bare number is seconds."""
    return _field(Parameter("duration", meaning), default)


def choice(meaning: str, *choices: str, default: str | None = None) -> Any:
    """Return the field of one text out of several."""
    return _field(Parameter("choice", meaning, choices=choices), default)


def text(meaning: str, *, default: str | None = None) -> Any:
    """Return the field of a text."""
    return _field(Parameter("text", meaning), default)


def is_duration(value: str) -> bool:
    """Return whether a text is a duration."""
    return _DURATION.fullmatch(value) is not None


def frames_of(value: str, samplerate: int) -> int:
    """Return the frames of a duration that a parameter checked; rounded to the nearest, half up."""
    match = _DURATION.fullmatch(value)
    assert match is not None, "the parameter was checked"
    amount, unit = Fraction(match[1]), match[2]
    if unit == "f":
        return int(amount)
    seconds = amount if unit == "s" else amount / 1000
    return int(seconds * samplerate + Fraction(1, 2))


def parameters_of(op: type) -> dict[str, tuple[Parameter, Scalar | None]]:
    """Return the parameters of a built-in op by their names in a SPEC, each with its default, None if it has none."""
    found: dict[str, tuple[Parameter, Scalar | None]] = {}
    for item in dataclasses.fields(op):
        default = None if item.default is dataclasses.MISSING else item.default
        found[item.name.rstrip("_")] = (item.metadata["parameter"], default)
    return found


def checked(op: type, name: str, given: Mapping[str, Scalar], example: str) -> dict[str, Scalar]:
    """Return the fields of an op, of parameters as they were given.

    Raises:
        UsageError: One is unknown, missing, of another type or out of range.
    """
    known = parameters_of(op)
    for key in given:
        if key not in known:
            raise UsageError(f"op {name} has no parameter {key}; it has {', '.join(known) or 'none'}")
    values = {}
    for item in dataclasses.fields(op):
        key = item.name.rstrip("_")
        parameter, default = known[key]
        value = given.get(key, default)
        if value is None:
            raise UsageError(f"op {name} needs {key}: {parameter.meaning}; for example {example}")
        values[item.name] = parameter.check(name, key, value) if key in given else value
    return values


def _plain(bound: float) -> str:
    """Return a bound in words: 1000000, and not 1e+06."""
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def _word(value: Scalar) -> str:
    """Return a value as it was written: a SPEC reads ``true`` as a boolean."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field(parameter: Parameter, default: Scalar | None) -> Any:
    if default is None:
        return field(metadata={"parameter": parameter})
    return field(default=default, metadata={"parameter": parameter})
