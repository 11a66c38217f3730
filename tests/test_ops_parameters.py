from dataclasses import dataclass
from typing import ClassVar

import pytest

from zaudio.errors import UsageError
from zaudio.ops.contract import BuiltIn
from zaudio.ops.parameters import checked, choice, duration, frames_of, integer, number, parameters_of, text


@dataclass(frozen=True)
class Sample(BuiltIn):
    """Do nothing."""

    name: ClassVar[str] = "sample"
    db: float = number("level", least=-10, most=10)
    order: int = integer("order", least=1, most=2_000_000, default=2)
    in_: str = duration("time", default="0s")
    shape: str = choice("shape", "round", "flat", default="flat")
    file: str = text("path", default="")


def fields(**given):
    return checked(Sample, "sample", {"db": 0, **given}, "sample:db=1")


def test_a_field_that_is_a_keyword_loses_its_underscore():
    assert list(parameters_of(Sample)) == ["db", "order", "in", "shape", "file"]
    assert fields(**{"in": "2s"})["in_"] == "2s"


def test_defaults_stand_for_what_is_not_given():
    assert fields() == {"db": 0.0, "order": 2, "in_": "0s", "shape": "flat", "file": ""}
    assert parameters_of(Sample)["db"][1] is None
    assert Sample(**fields()).order == 2


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("db", -10, -10.0),
        ("db", 10.0, 10.0),
        ("order", 8, 8),
        ("in", "500ms", "500ms"),
        ("in", "1.25s", "1.25s"),
        ("in", "44100f", "44100f"),
        ("in", 3, "3s"),
        ("in", 100, "100s"),
        ("in", 0, "0s"),
        ("in", 0.25, "0.25s"),
        ("in", 1e-9, "0s"),
        ("in", -0.0, "0s"),
        ("shape", "round", "round"),
        ("file", "a=b", "a=b"),
        ("file", 12, "12"),
    ],
)
def test_a_value_in_range_is_kept(key, value, kept):
    result = fields(**{key: value})[key if key != "in" else "in_"]
    assert (result, type(result)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("db", 10.5, "op sample: db is a number from -10 to 10, not 10.5"),
        ("db", "loud", "not 'loud'"),
        ("db", True, "not True"),
        ("db", float("nan"), "not nan"),
        ("db", float("inf"), "not inf"),
        ("db", 2**63 - 1, "not 9223372036854775807"),
        ("order", 2_000_001, "order is an integer from 1 to 2000000, not 2000001"),
        ("order", 2.0, "not 2.0"),
        ("order", True, "not True"),
        ("in", "2", r"in is a duration such as 2s, 500ms or 44100f \(frames\), not '2'"),
        ("in", "-2s", "not '-2s'"),
        ("in", -2, "not -2"),
        ("in", "2 s", "not '2 s'"),
        ("in", "s", "not 's'"),
        ("in", "\u0663s", "not '\u0663s'"),
        ("in", True, "not True"),
        ("in", float("nan"), "not nan"),
        ("in", 1e12, "not 1000000000000.0"),
        ("in", "1.5f", "not '1.5f'"),
        ("in", "1" * 300 + "s", "not '1111"),
        ("shape", "square", "shape is one of round, flat, not 'square'"),
        ("shape", True, "not True"),
        ("file", True, "file is a text, not True"),
        ("file", 1.5, "not 1.5"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(key, value, words):
    with pytest.raises(UsageError, match=words):
        fields(**{key: value})


def test_an_unknown_or_missing_parameter_is_named():
    with pytest.raises(UsageError, match="op sample has no parameter dB; it has db, order, in, shape, file"):
        fields(dB=3)
    with pytest.raises(UsageError, match="op sample has no parameter in_"):
        fields(in_="2s")
    with pytest.raises(UsageError, match="op sample needs db: level; for example sample:db=1"):
        checked(Sample, "sample", {}, "sample:db=1")


@pytest.mark.parametrize(
    ("value", "frames"),
    [
        *[("0s", 0), ("1s", 44100), ("500ms", 22050), ("1ms", 44), ("7f", 7), ("0.5s", 22050), ("0.00001s", 0)],
        *[("0.0000113378684807s", 0), ("0.0000113378684808s", 1)],  # just below and above half a frame
    ],
)
def test_a_duration_is_rounded_to_the_nearest_frame(value, frames):
    assert frames_of(value, 44100) == frames


def test_a_duration_of_many_digits_is_exact():
    assert frames_of("123456789.5s", 2**31 - 1) == (1234567895 * (2**31 - 1) + 5) // 10
