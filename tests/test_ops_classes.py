import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Chain, Course, Graph, Step, graph_of, import_allowed, make_ops, parse_chain
from zaudio.ops.chain import from_step, to_step
from zaudio.signal import Signal

CLASSES = """
from dataclasses import dataclass, replace
from typing import ClassVar
import numpy as np
from zaudio.formats import sample_format
from zaudio.ops import Combined, Op

@dataclass(frozen=True)
class Cells(Op):
    whole: ClassVar[bool] = True
    frames: int

    def signal(self, before):
        return replace(before, frames=-(-before.frames // self.frames), channels=1, format=sample_format("f64le"))

    def needs(self, start, stop, signal):
        return start * self.frames, stop * self.frames

    def source_frame(self, frame, signal):
        return frame * self.frames

    def apply(self, samples, place, state):
        return np.abs(samples).max(axis=1).reshape(-1, self.frames).max(axis=1, keepdims=True)

@dataclass(frozen=True)
class Scaled(Op):
    by: float
    table: np.ndarray

    def apply(self, samples, place, state):
        return samples * self.by

@dataclass(frozen=True)
class Normal(Op):
    to: float = 1.0

    def __post_init__(self):
        if self.to <= 0:
            raise ValueError("to is above 0")

    def measure(self, signal):
        return Cells(100)

    def combine(self, cells, signal):
        return Combined(Scaled(self.to / cells.max(), cells[:, 0]), f"the peak is {cells.max():g}")

@dataclass(frozen=True)
class Smooth(Op):
    width: int = 4
    name_of: str = "mean"
    loud: bool = False

    def context(self, signal):
        return self.width - 1, 0

    def apply(self, samples, place, state):
        before = np.zeros((self.width - 1 - (place.start - place.first), samples.shape[1]))
        sums = np.zeros((place.stop - place.start, samples.shape[1]))
        padded = np.concatenate([before, samples])
        for shift in range(self.width):
            sums += padded[shift : shift + len(sums)]
        return sums / self.width

@dataclass(frozen=True)
class Loose(Op):
    def needs(self, start, stop, signal):
        return start, stop + 1

@dataclass(frozen=True)
class Odd(Op):
    def apply(self, samples, place, state):
        return samples[:1]

class Bare(Op):
    pass
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module of a user's."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "zt_classes.py").write_text(CLASSES)
    yield import_allowed(["zt_classes"])
    del sys.modules["zt_classes"]


def column(values):
    return np.array(values, "<f4").reshape(-1, 1)


def apply(ops, array):
    return Chain(ops, one_hz(len(array)))(array)


def made(spec, allowed):
    return make_ops(parse_chain(spec), allowed)[0]


def one_hz(frames):
    return Signal(frames, 1, 1000, sample_format("f32le"))


@given(grid=st.integers(1, 40), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_the_bits_of_a_block_do_not_depend_on_cuts(grid, cuts):
    op, signal = smooth(), one_hz(211)
    samples = column(np.random.default_rng(3).standard_normal(211))
    whole = Graph([op], signal, grid)(samples, 0, 0, 211)
    edges = sorted({0, 211, *(min(211, cut * grid) for cut in cuts)})
    for start, stop in itertools.pairwise(edges):
        low, high = Graph([op], signal, grid).needs(start, stop)
        part = Graph([op], signal, grid)(samples[low:high], low, start, stop)
        assert part.tobytes() == whole[start:stop].tobytes()


def smooth():
    """Return an op of five frames; hypothesis calls this often, without a fixture."""
    namespace = {"__name__": __name__}
    exec(compile(CLASSES, "classes", "exec"), namespace)
    return namespace["Smooth"](5)


def test_a_dataclass_is_an_op_by_its_spec_its_class_and_its_instance(users):
    classes = sys.modules["zt_classes"]
    array = column([4, 8, 0, 0, 0, 4])
    expected = [1, 3, 3, 3, 2, 1]
    for op in ("zt_classes:Smooth", classes.Smooth, classes.Smooth(), classes.Smooth(width=4)):
        assert apply(op, array)[:, 0].tolist() == expected
    assert apply(classes.Smooth(2), array).tolist() == apply("zt_classes:Smooth:width=2", array).tolist()


def test_a_class_that_measures_gets_the_whole_recording_first(users):
    array = column(np.linspace(-0.25, 0.2, 1001))
    chain = Chain("zt_classes:Normal:to=0.5", one_hz(1001))
    assert np.abs(chain(array)).max() == 0.5
    assert chain.sentences == ("the peak is 0.25",)


def test_the_ops_of_a_measurement_travel_and_come_back(users):
    course = Course(make_ops(parse_chain("zt_classes:Normal"), users), one_hz(250))
    (measuring,) = course.measuring.steps
    assert measuring == Step("zt_classes:Cells", (("frames", 100),), version="1")
    course.take(np.array([[0.5], [0.25], [0.125]]))
    (step,) = course.main.steps
    assert (step.name, step.params, step.tables[0].type) == ("zt_classes:Scaled", (("by", 2.0),), "<f8")
    allowed = import_allowed(["zt_classes:Normal"])  # as a local worker of that job allows it
    came = from_step(step, allowed)
    assert (came.by, came.table.tolist()) == (2.0, [0.5, 0.25, 0.125])
    graph = graph_of([step], one_hz(3), 0, allowed)
    assert graph(column([0.5, 0.25, -1]), 0, 0, 3)[:, 0].tolist() == [1, 0.5, -2]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("Smooth:width=wide", "width is a whole number, not 'wide'"),
        ("Smooth:width=2.5", "width is a whole number, not 2.5"),
        ("Smooth:name_of=3", "name_of is a text, not 3"),
        ("Smooth:loud=1", "loud is True or False, not 1"),
        ("Smooth:depth=2", "has no parameter depth; it has width, name_of, loud"),
        ("Normal:to=loud", "to is a number, not 'loud'"),
        ("Normal:to=0", "cannot be made with {'to': 0}: to is above 0"),
        ("Scaled:by=2", "cannot be made with {'by': 2}: .*missing 1 required positional argument: 'table'"),
        ("Loose", r"has needs\(\) of its own: its class states whole = True, too"),
        ("Bare", "it is a class; put @dataclass"),
    ],
)
def test_a_class_that_cannot_be_made_so_is_refused(users, spec, words):
    with pytest.raises(UsageError, match=f"op zt_classes:{spec.partition(':')[0]}.*{words}"):
        made(f"zt_classes:{spec}", users)


def test_an_integer_is_a_number(users):
    op = made("zt_classes:Normal:to=2", users)
    assert (op.to, type(op.to)) == (2.0, float)


def test_what_a_class_returns_is_checked(users):
    with pytest.raises(ValueError, match=r"op zt_classes:Odd: .* shape \(3, 1\) back, got \(1, 1\) \(.*py:\d+\)$"):
        apply("zt_classes:Odd", column([1, 2, 3]))


def test_a_setup_of_a_class_that_fails_names_the_op_and_its_line(users, monkeypatch):
    monkeypatch.setattr(sys.modules["zt_classes"].Smooth, "setup", lambda self, signal: 1 / 0)
    with pytest.raises(RuntimeError, match=r"op zt_classes:Smooth: its setup failed: ZeroDivisionError: .*py:\d+\)$"):
        apply("zt_classes:Smooth", column([1, 2, 3]))


def test_a_field_that_cannot_travel_is_named(users):
    classes = sys.modules["zt_classes"]
    for table, words in (
        (np.zeros((2, 2)), "one dimension"),
        (np.zeros(2, "<u2"), "<f8, <f4, <i8, <i4"),
        ([1], "table"),
    ):
        with pytest.raises(UsageError, match=f"op zt_classes:Scaled: table.*{words}|table is a number"):
            to_step(classes.Scaled(1.0, table))
    with pytest.raises(UsageError, match="finite"):
        to_step(classes.Scaled(float("nan"), np.zeros(2)))


# versions


def test_a_class_has_the_version_that_it_states(users, tmp_path, monkeypatch):
    classes = sys.modules["zt_classes"]
    specs = parse_chain(["gain:db=3", "zt_classes:Smooth", "zt_classes:Normal"])
    assert Course(make_ops(specs, users), one_hz(10)).versions == ("", "1", "1")
    step = to_step(classes.Smooth())
    monkeypatch.setattr(classes.Smooth, "version", "2", raising=False)
    with pytest.raises(
        UsageError, match="op zt_classes:Smooth: the job has version 1 of it, and this worker has version 2;"
    ):
        from_step(step, users)
    (tmp_path / "weights").write_bytes(b"weights")
    monkeypatch.setattr(classes.Smooth, "model", "weights", raising=False)
    assert to_step(classes.Smooth()).version == "2+sha256:9a129038d9a00aed"
    monkeypatch.setattr(classes.Smooth, "version", 3, raising=False)
    with pytest.raises(UsageError, match="op zt_classes:Smooth: version is a text"):
        to_step(classes.Smooth())
