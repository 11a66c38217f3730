import itertools
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_support import column, noise, run, signal_of, special_bits

from zaudio.errors import UsageError
from zaudio.formats import FORMATS, sample_format
from zaudio.ops import Chain, Course, Kernel, Step, graph_of, import_allowed, make_ops, parse_chain
from zaudio.ops.chain import CONTEXT_SHARE, GRID_LEAST, GRID_MOST, SAMPLES_MOST, Pass
from zaudio.ops.levels import Scale
from zaudio.signal import Signal

NOTHING = import_allowed([])
CHAIN = ["gain:db=3.3", "clip:low=-0.7,high=0.9", "invert"]


def course(ops, signal):
    return Course(make_ops(parse_chain(ops), NOTHING), signal)


def endless(channels=1, samplerate=44_100, name="f32le"):
    return Signal(2**40, channels, samplerate, sample_format(name))


# From SPECs to Steps and back


def test_steps_carry_what_the_coordinator_computed():
    steps = course(["gain:db=20", "clip:high=0.5", "invert", "trim:start=1s"], endless()).main.steps
    assert steps == (
        Step("gain", (("factor", 10.0),)),
        Step("clip", (("low", -1.0), ("high", 0.5))),
        Step("invert"),
        Step("trim", (("start", 44_100), ("frames", 2**40 - 44_100))),
    )


def test_an_unknown_op_is_refused_on_the_coordinator():
    with pytest.raises(UsageError, match=r"no op 'gian', did you mean gain\?"):
        make_ops(parse_chain("gian:db=3"), NOTHING)


def test_a_parameter_without_its_key_is_told_from_a_function():
    with pytest.raises(UsageError, match=r"op 'gain:db': gain is a built-in op, .* as in gain:db=-3"):
        make_ops(parse_chain("gain:db"), NOTHING)


@pytest.mark.parametrize("step", [Step("nope"), Step(""), Step("os:system"), Step("gain"), Step("invert", (("x", 1),))])
def test_a_worker_refuses_what_it_does_not_have(step):
    with pytest.raises(UsageError):
        graph_of([Step("invert"), step], endless(), 0, NOTHING)


def test_each_op_sees_the_signal_behind_the_one_before():
    chain = Chain(["trim:length=10f", "remix:to=mono", "pad:after=5f", "convert:format=s16be"], endless(2))
    assert chain.output == Signal(15, 1, 44_100, FORMATS["s16be"])
    with pytest.raises(UsageError, match="beyond the end"):
        Chain(["trim:length=10f", "mute:start=11f"], endless())


# Applying


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_chain_is_one_rounding_of_its_formula_in_any_byte_order(name, channels):
    array = noise(61, channels, name)
    full = 1.0 if name[0] == "f" else 2.0 ** (8 * FORMATS[name].itemsize - 1)
    exact = -np.clip(array.astype("f8") / full * 10 ** (3.3 / 20), -0.7, 0.9) * full
    expected = exact if name[0] == "f" else np.rint(exact)
    assert run(CHAIN, array).tobytes() == expected.astype(FORMATS[name].dtype).tobytes()
    for frames in (0, 1, 16, 17):
        assert run(CHAIN, array[:frames].copy()).tobytes() == expected[:frames].astype(FORMATS[name].dtype).tobytes()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_signalling_nan_comes_through_ops_that_compute_nothing(dtype):
    bits = special_bits(dtype)
    result = run(["invert", "pad:before=2f,after=1f", "trim:start=2f,length=24f", "remix:to=1/1"], bits.view(dtype))
    sign = 1 << (8 * bits.itemsize - 1)
    assert result.view(bits.dtype).tolist() == [[value ^ sign] * 2 for value in bits[:, 0].tolist()]


@given(
    content=st.binary(max_size=600),
    cuts=st.lists(st.integers(0, 600), max_size=6),
    name=st.sampled_from(sorted(FORMATS)),
    channels=st.sampled_from([1, 2, 3]),
)
def test_a_worker_gives_the_bits_of_the_chain_for_any_cut(content, cuts, name, channels):
    format = sample_format(name)
    size = format.itemsize * channels
    array = np.frombuffer(content[: len(content) // size * size], format.dtype).reshape(-1, channels)
    signal = signal_of(array)
    ops = [*CHAIN, "fade:in=1f", "dither:bits=8"] if len(array) else CHAIN
    graph = graph_of(course(ops, signal).main.steps, signal, 0, NOTHING)
    edges = [0, *sorted(cut % (len(array) + 1) for cut in cuts), len(array)]
    parts = [graph(array[a:b], a, a, b).tobytes() for a, b in itertools.pairwise(edges)]
    assert b"".join(parts) == Chain(ops, signal)(array).tobytes()


def test_the_counts_are_those_of_the_last_call():
    chain = Chain("gain:db=6", Signal(2, 1, 1000, FORMATS["s16le"]))
    for _ in range(2):
        chain(column([30000, 1], "<i2"))
        assert chain.counts.clipped == 1


@pytest.mark.parametrize("array", [np.zeros((3, 1), "<i2"), np.zeros((2, 2), "<i2"), np.zeros((2, 1), "<f4")])
def test_an_array_of_another_shape_or_type_is_refused(array):
    chain = Chain("invert", Signal(2, 1, 1000, FORMATS["s16le"]))
    with pytest.raises(ValueError, match=r"expected an array \(2, 1\) of s16le, got"):
        chain(array)


def test_an_array_in_the_other_byte_order_is_taken_by_its_values():
    chain = Chain("invert", Signal(2, 1, 1000, FORMATS["s16be"]))
    assert chain(column([1, -2], "<i2")).tobytes() == chain(column([1, -2], ">i2")).tobytes() == b"\xff\xff\0\2"


# The grid


@dataclass(frozen=True)
class Remembering(Kernel):
    before: int
    size: int = 1

    def context(self, signal):
        return self.before, 0

    def grid(self, signal):
        return self.size


def grid_of(ops, signal):
    """Return the grid of a chain of designed ops."""
    return Course(ops, signal).main.grid


def test_a_chain_without_memory_has_no_grid():
    assert course([*CHAIN, "trim:start=1s", "pad:after=1s", "dither"], endless()).main.grid == 0


@pytest.mark.parametrize(
    ("before", "grid"), [(1, GRID_LEAST), (8192, GRID_LEAST), (8193, 2 * GRID_LEAST), (10**6, GRID_MOST)]
)
def test_a_grid_is_long_enough_for_the_context_of_all_ops(before, grid):
    assert grid_of([Remembering(before)], endless()) == grid
    halves = [Remembering(before // 2), Scale(1.0), Remembering(before - before // 2)]
    assert grid_of(halves, endless()) == grid
    assert CONTEXT_SHARE == 8


def test_a_grid_is_a_multiple_of_an_ops_own():
    assert grid_of([Remembering(10, 480), Scale(1.0)], endless()) % 480 == 0
    assert grid_of([Remembering(10, 48), Remembering(10, 441)], endless()) % (16 * 441) == 0


def test_two_long_grids_without_a_short_common_multiple_give_one_of_the_longer():
    longer, shorter = Remembering(10, GRID_LEAST + 3), Remembering(10, GRID_LEAST + 1)
    for ops in ([longer, shorter], [shorter, longer]):
        grid = grid_of(ops, endless())
        assert (grid % longer.size, grid < 2 * GRID_MOST) == (0, True)


def test_a_grid_in_front_of_a_change_of_length_does_not_count():
    (cut,) = make_ops(parse_chain("trim:start=1s"), NOTHING)
    plain, own = [[Remembering(10, size), cut, Remembering(10, 7)] for size in (1, 4801)]
    assert grid_of(own, endless()) == grid_of(plain, endless())


def test_a_grid_of_many_channels_is_short():
    assert grid_of([Remembering(10**6)], endless(8)) == SAMPLES_MOST // 8


@pytest.mark.parametrize("cut", ["trim:start=10s,length=60s", "trim:length=1f", "pad:before=1s", "trim:start=1000s"])
def test_a_cut_or_silence_changes_no_grid(cut):
    (op,) = make_ops(parse_chain(cut), NOTHING)
    for ops in ([op, Remembering(8193)], [Remembering(8193), op]):
        assert grid_of(ops, endless()) >= GRID_LEAST


def test_a_pass_makes_the_graph_of_its_grid():
    signal = signal_of(noise(10))
    graph = Pass((Scale(2.0),), signal, 4).graph()
    assert graph.output == signal
    assert graph(noise(10), 0, 0, 10).tolist() == (noise(10) * 2).tolist()


# What is imported


def test_ops_import_nothing_heavy():
    code = "import sys, zaudio.ops; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"zmq", "soundfile", "cryptography", "click", "rich", "msgpack", "scipy", "asyncio", "multiprocessing"}
    assert not heavy & set(done.stdout.split())


def test_silence_behind_an_op_that_computes_has_one_sign_wherever_it_is_cut():
    array = np.ones((10, 1), "<i2")
    signal, ops = signal_of(array), ["gain:db=1", "pad:before=10f", "invert", "convert:format=f32le"]
    graph = course(ops, signal).main.graph()
    parts = [graph(array[slice(*graph.needs(a, b))], graph.needs(a, b)[0], a, b) for a, b in ((0, 5), (5, 20))]
    assert np.concatenate(parts).tobytes() == Chain(ops, signal)(array).tobytes()
