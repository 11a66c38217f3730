"""The contract of an op, and what each built-in one owes its user."""

import re
from pathlib import Path

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import BUILTIN as CATALOGUE
from zaudio.ops import KERNELS, Chain, Course, Exactness, Op, Place, describe_op, parse
from zaudio.ops.catalogue import make_op
from zaudio.ops.contract import arrays, fixed_vector
from zaudio.ops.parameters import parameters_of
from zaudio.signal import Signal

# Other tests of the same process may have added ops of their own.
BUILTIN = {name: op for name, op in CATALOGUE.items() if op.__module__.startswith("zaudio.")}

# The formula says all of them.
BY_DEFINITION = ("clip", "dcshift", "fade", "invert", "mute", "pad", "remix", "removedc", "softclip", "trim")
SIGNAL = Signal(44100 * 120, 2, 44100, sample_format("f32le"))
PAGE = (Path(__file__).parents[1] / "docs" / "ops.md").read_text(encoding="utf-8")
ROWS = {row[1]: row.groups() for row in re.finditer(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", PAGE, re.M)}


@pytest.mark.parametrize("name", BUILTIN)
def test_op_describes_itself(name):
    described = describe_op(name)
    assert re.fullmatch(r"[A-Z].*\.", described.summary)
    assert re.search(r" = |is multiplied by", described.text), "a formula"
    assert re.search(r"^Sources?: ", described.text, re.M) or name in BY_DEFINITION
    assert BUILTIN[name].name == name
    for key, _, span, meaning in described.parameters:
        assert key.isidentifier() or key == "in"
        assert span
        assert meaning == meaning.strip()
        assert len(meaning) > 5


@pytest.mark.parametrize("name", BUILTIN)
def test_example_of_an_op_is_designed_for_a_recording(name):
    spec = parse(BUILTIN[name].example)
    assert spec.name == name
    op = make_op(spec)
    course = Course([op], SIGNAL)
    stage = course.measuring or course.main
    assert stage.steps
    assert course.output.channels >= 1


@pytest.mark.parametrize("name", BUILTIN)
def test_exactness_of_an_op_is_what_it_does(name):
    op = make_op(parse(BUILTIN[name].example))
    measures = op.measure(SIGNAL) is not None
    assert (op.exactness is Exactness.WHOLE) == measures
    if op.exactness is Exactness.SAMPLE:
        assert not any(op.has_memory(SIGNAL) for op in Course([op], SIGNAL).main.ops)


@pytest.mark.parametrize("name", BUILTIN)
def test_op_has_its_row_on_the_page(name):
    assert name in ROWS, f"docs/ops.md has no row of {name}"
    _, parameters, exactness, cost = ROWS[name]
    assert BUILTIN[name].exactness.value in exactness
    for key in parameters_of(BUILTIN[name]):
        assert re.search(rf"\b{key}\b", parameters)
    assert re.match(r"\d", cost)


def test_page_has_no_row_of_an_op_that_does_not_exist():
    assert set(ROWS) == set(BUILTIN)


@pytest.mark.parametrize("name", KERNELS)
def test_op_that_travels_has_its_name(name):
    assert KERNELS[name].name == name
    assert ":" not in name


# what is told


def test_a_place_tells_the_ends_of_the_recording():
    def place(first, last):
        return Place(first, last, first, last, SIGNAL)

    assert (place(0, 5).at_start, place(1, 5).at_start, place(-3, 5).at_start) == (True, False, True)
    end = SIGNAL.frames
    assert (place(0, end).at_end, place(0, end - 1).at_end, place(0, end + 3).at_end) == (True, False, True)
    assert place(0, 1).samplerate == 44100


class Reaching(Op):
    def context(self, signal):
        return 5, 2

    def grid(self, signal):
        return 10


def test_context_and_grid_say_which_frames_are_needed():
    op = Reaching()
    assert op.needs(0, 10, SIGNAL) == (-5, 12)
    assert op.needs(13, 14, SIGNAL) == (5, 22)
    assert op.needs(10, 30, SIGNAL) == (5, 32)
    assert Op().needs(3, 7, SIGNAL) == (3, 7)
    assert (op.has_memory(SIGNAL), Op().has_memory(SIGNAL)) == (True, False)


def test_a_table_cannot_be_changed():
    table = arrays([1, 2], np.array([3.0]))
    assert table.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 5


def test_the_fixed_vector_is_fixed():
    vector = fixed_vector(SIGNAL, 4)
    assert vector.shape == (4, 2)
    # From the counter of Philox with that key: the same on every machine.
    assert vector[0, 0] == fixed_vector(SIGNAL, 1)[0, 0]
    assert np.abs(fixed_vector(SIGNAL, 10000)).max() <= 0.5
    assert abs(fixed_vector(SIGNAL, 10000).mean()) < 0.01


def test_a_chain_says_what_it_expects():
    with pytest.raises(ValueError, match=r"expected an array \(3, 1\) of f32le, got \(2, 1\) float32"):
        Chain("invert", Signal(3, 1, 44100, sample_format("f32le")))(np.zeros((2, 1), "<f4"))
    with pytest.raises(UsageError, match="no op"):
        Chain("nothing", SIGNAL)
