import dataclasses

import numpy as np
import pytest
from ops_support import noise, run, signal_of

from zaudio.errors import UsageError
from zaudio.ops.catalogue import BUILTIN, make_op
from zaudio.ops.channels import Mix, Pick
from zaudio.ops.contract import arrays
from zaudio.ops.graph import Graph
from zaudio.ops.levels import Bounds, Invert, Scale
from zaudio.ops.sampling import Rounded
from zaudio.ops.spec import parse
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.steps import Step, Table

OPS = [
    *["invert", "gain:db=-3", "dcshift:shift=0.1", "clip:low=-0.1,high=0.2", "softclip", "trim:start=3f,length=50f"],
    *["pad:before=3f,after=1f", "mute:start=3f,length=9f", "fade:in=5f,out=7f,shape=power", "remix:to=2/1/0"],
    *["remix:to=swap", "convert:format=s16be", "dither:bits=8,seed=3", "delay:time=5f"],
]


def test_numbers_travel_as_coefficients_and_arrays_as_tables():
    assert kernel_step(Scale(10.0)) == Step("gain", (("factor", 10.0),))
    assert kernel_step(Invert()) == Step("invert")
    step = kernel_step(Pick(2, arrays([1, 0], type="<i4")))
    assert step == Step("remix-pick", (("channels", 2),), (Table("picked", "<i4", b"\1\0\0\0\0\0\0\0"),))


@pytest.mark.parametrize("spec", OPS)
def test_an_op_that_travelled_gives_the_same_bits(spec):
    array = noise(61, 2, "f32be")
    signal = signal_of(array)
    designed = make_op(parse(spec)).design(signal)
    arrived = kernel_of(kernel_step(designed))
    assert type(arrived) is type(designed)
    graph = Graph([arrived], signal, 0)
    assert graph.output == designed.signal(signal)
    assert graph(array, 0, 0, graph.output.frames).tobytes() == run(spec, array).tobytes()


def test_every_op_without_a_measurement_or_memory_is_tried_here():
    assert {spec.partition(":")[0] for spec in OPS} <= set(BUILTIN)


def test_a_table_cannot_be_written_to():
    matrix = kernel_of(kernel_step(Mix(1, arrays([1.0, 0.5])))).matrix
    with pytest.raises(ValueError, match="read-only"):
        matrix[0] = 2.0


def test_an_op_that_is_not_here_is_refused():
    for name in ("", "nope", "os", "Scale"):
        with pytest.raises(UsageError, match=f"op {name}: this worker's zaudio has no such op"):
            kernel_of(Step(name))


@pytest.mark.parametrize(
    ("step", "got"),
    [
        (Step("gain"), r"not \(none\)"),
        (Step("gain", (("factor", "1"),)), "not factor='1'"),
        (Step("gain", (("factor", True),)), "not factor=True"),
        (Step("gain", (("factor", float("nan")),)), "not factor=nan"),
        (Step("gain", (("factor", 1.0), ("x", 1))), "not factor=1.0, x=1"),
        (Step("gain", (), (Table("factor", "<f8", bytes(8)),)), "not factor=<1 numbers>"),
        (Step("clip", (("low", 0),)), "low, high, not low=0"),
        (Step("invert", (("x", 1),)), r"\(none\), not x=1"),
        (Step("fade", (("rise", 1.5), ("fall", 1), ("shape", "power"))), "not rise=1.5, .*"),
        (Step("fade", (("rise", True), ("fall", 1), ("shape", "power"))), "not rise=True, .*"),
        (Step("fade", (("rise", 1), ("fall", 1), ("shape", 3))), "shape=3"),
        (Step("remix", (("channels", 1), ("matrix", 3.0))), "matrix=3.0"),
        (Step("dither", (("bits", 8), ("seed", 1), ("format", "s16le"), ("follows", 1))), "follows=1"),
    ],
)
def test_coefficients_of_another_version_are_refused(step, got):
    with pytest.raises(
        UsageError,
        match=f"op {step.name}: expected the coefficients .*{got}; are both sides the same version of zaudio",
    ):
        kernel_of(step)


def test_a_whole_number_does_for_a_float_and_every_kind_of_field_arrives():
    assert kernel_of(Step("clip", (("low", -1), ("high", 1)))) == Bounds(-1, 1)
    dither = Rounded(8, 2**62, "s16le", True)
    assert kernel_of(kernel_step(dither)) == dither
    assert [type(getattr(dither, item.name)) for item in dataclasses.fields(dither)] == [int, int, str, bool]
    assert isinstance(arrays([1], [2.5]), np.ndarray)
