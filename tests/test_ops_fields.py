from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.ops import Kernel, Op, Step
from zaudio.ops.levels import Gain, Scale
from zaudio.ops.travel import fits, given_of, is_kernel, step_of
from zaudio.steps import Table


@dataclass(frozen=True)
class Curve(Op):
    name_of: str
    count: int
    loud: bool
    table: np.ndarray
    depth: float | None = None


@dataclass(frozen=True)
class Scaled(Kernel):
    """A user's class with the name of a built-in op."""

    name: ClassVar[str] = "gain"
    factor: float


def test_fields_travel_as_numbers_texts_and_tables():
    table = np.array([1.5, -2])
    step = step_of(Curve("a", 3, True, table), "m:Curve", "2")
    assert step == Step(
        "m:Curve",
        (("name_of", "a"), ("count", 3), ("loud", True)),
        (Table("table", "<f8", np.array([1.5, -2], "<f8").tobytes()),),
        "2",
    )
    given = given_of(step)
    assert given.pop("table").tolist() == [1.5, -2]
    assert given == {"name_of": "a", "count": 3, "loud": True}


def test_numpys_numbers_travel_as_pythons():
    step = step_of(Curve("a", np.int32(3), np.bool_(True), np.zeros(0), np.float32(0.5)), "m:Curve")
    assert [(key, type(value)) for key, value in step.params] == [
        ("name_of", str),
        ("count", int),
        ("loud", bool),
        ("depth", float),
    ]


def test_a_table_of_a_view_travels_as_its_numbers():
    step = step_of(Curve("a", 1, False, np.arange(10.0)[::3]), "m:Curve")
    assert given_of(step)["table"].tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"table": np.zeros((2, 2))}, r"table is a table of one dimension, of <f8, .* not of shape \(2, 2\) and <f8"),
        ({"table": np.zeros(2, "<i2")}, "not of shape .* and <i2"),
        ({"table": [1, 2]}, "table is a number, a text, True or False, not"),
        ({"count": None}, "count is a number, a text, True or False, not None"),
        ({"depth": float("inf")}, "a finite number"),
        ({"name_of": "a\nb"}, "printable"),
        ({"count": 2**63}, "64 bits"),
    ],
)
def test_a_field_that_cannot_travel_is_named(field, words):
    fields = {"name_of": "a", "count": 1, "loud": False, "table": np.zeros(1), **field}
    with pytest.raises(UsageError, match=f"op m:Curve: .*{words}"):
        step_of(Curve(**fields), "m:Curve")


def test_only_the_catalogues_own_classes_are_built_in():
    assert is_kernel(Scale(1.0))
    assert not is_kernel(Scaled(1.0))
    assert not is_kernel(Gain(1.0))


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (1, "float", True),
        (True, "float", False),
        (float("inf"), "float", False),
        (True, "int", False),
        (1.0, "int", False),
        (1, "bool", False),
        ("a", "str", True),
        (np.zeros(1), "Array", True),
        (1, "list", False),
    ],
)
def test_a_value_has_the_type_that_a_field_declares(value, declared, expected):
    assert fits(value, declared) is expected
