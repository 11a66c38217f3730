import itertools

import numpy as np
import pytest
from ops_support import column, noise, run, run_counting, signal_of

from zaudio.errors import UsageError
from zaudio.formats import FORMATS
from zaudio.ops import Chain
from zaudio.ops.chain import Course, make_ops
from zaudio.ops.functions import import_allowed
from zaudio.ops.sampling import _triangular
from zaudio.ops.spec import parse_chain

# convert


@pytest.mark.parametrize(("given", "wanted"), list(itertools.product(sorted(FORMATS), repeat=2)))
def test_convert_rounds_once_half_to_even(given, wanted):
    array = noise(61, 2, given)
    result, counts = run_counting(f"convert:format={wanted}", array)
    assert result.dtype == FORMATS[wanted].dtype
    floats = array.astype("f8") / (1 if given[0] == "f" else 2.0 ** (8 * FORMATS[given].itemsize - 1))
    if wanted[0] == "f":
        assert result.tolist() == floats.astype(FORMATS[wanted].dtype).tolist()
        assert counts.clipped == 0
        return
    full = 2.0 ** (8 * FORMATS[wanted].itemsize - 1)
    exact = np.rint(floats * full)
    assert result.tolist() == exact.clip(-full, full - 1).tolist()
    assert counts.clipped == np.count_nonzero((exact > full - 1) | (exact < -full))


def test_convert_in_front_of_another_op_rounds_at_the_end_alone():
    quiet = column([0.2 / 32768, 0.4 / 32768])
    assert run(["convert:format=s16le", "gain:db=20"], quiet)[:, 0].tolist() == [2, 4]
    assert Chain(["convert:format=s16le", "convert:format=f32be"], signal_of(quiet)).output.format.name == "f32be"


def test_convert_counts_nan_as_read_as_0_and_infinity_as_limited():
    result, counts = run_counting("convert:format=s16le", column([np.nan, np.inf, -np.inf, 0.5]))
    assert result[:, 0].tolist() == [0, 32767, -32768, 16384]
    assert (counts.clipped, counts.zeroed) == (2, 1)


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match=r"op convert: format is one of .*s16be.*, not 's20le'"):
        Chain("convert:format=s20le", signal_of(column([])))


# dither


def graph(ops, signal):
    return Course(make_ops(parse_chain(ops), import_allowed([])), signal).main.graph()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_dither_is_the_same_for_every_cut(channels):
    array = noise(211, channels, "f32le")
    signal = signal_of(array)
    ops = ["dither:seed=7", "convert:format=s16be"]
    whole = graph(ops, signal)(array, 0, 0, 211)
    rng = np.random.default_rng(3)
    for _ in range(20):
        edges = [0, *sorted(rng.integers(0, 212, 5).tolist()), 211]
        parts = [graph(ops, signal)(array[a:b], a, a, b).tobytes() for a, b in itertools.pairwise(edges)]
        assert b"".join(parts) == whole.tobytes()


def test_dither_is_triangular_noise_whose_error_does_not_depend_on_the_signal():
    step = 2.0**-15
    for offset in (0, 0.25, 0.5, 0.9):
        result = run("dither:bits=16", np.full((200_000, 1), offset * step)) / step
        assert (result == np.rint(result)).all()
        error = result - offset
        assert np.abs(error).max() <= 2
        assert error.mean() == pytest.approx(0, abs=0.01)
        assert error.var() == pytest.approx(0.25, abs=0.01)  # 1/6 of the noise, 1/12 of the rounding


def test_dither_keeps_a_sine_below_one_step_which_rounding_would_lose():
    sine = column(0.4 / 32768 * np.sin(np.arange(100_000) * 0.1))
    assert not run("convert:format=s16le", sine).any()
    dithered = run(["dither", "convert:format=s16le"], sine) / 32768
    assert (dithered * sine).sum() / (sine * sine).sum() == pytest.approx(1, abs=0.05)


def test_dither_depends_on_its_seed_and_its_place_alone():
    zeros = np.zeros((1000, 1), "<i2")
    first, again, other = (run(f"dither:seed={seed}", zeros) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert set(np.unique(first)) == {-1, 0, 1}
    assert run("dither:seed=1", zeros[:17].copy()).tolist() == first[:17].tolist()


def test_the_noise_is_the_same_in_every_version():
    known = [-1240638733, -1771682623, 2321505463, -2373094459, 1226040551]
    assert (_triangular(7, 3, 5) * 2**32).tolist() == known
    assert (_triangular(7, 0, 8)[3:] * 2**32).tolist() == known


@pytest.mark.parametrize(
    ("ops", "name", "bits"),
    [
        (["dither"], "s16le", 16),
        (["dither"], "f64be", 24),
        (["dither", "convert:format=s16le"], "f32le", 16),
        (["dither", "convert:format=f32le"], "s16le", 24),
        (["convert:format=s16le", "dither"], "f32le", 16),
        (["dither:bits=12", "convert:format=s16le"], "f32le", 12),
        (["dither", "convert:format=s16le", "convert:format=s32le"], "f32le", 32),
    ],
)
def test_dither_has_the_bits_of_the_format_that_it_leads_to(ops, name, bits):
    array = noise(500, 1, name, 0.1)
    (op,) = [
        op
        for op in Course(make_ops(parse_chain(ops), import_allowed([])), signal_of(array)).main.ops
        if op.name == "dither"
    ]
    assert op.bits == bits
    assert run(ops, array).dtype == Chain(ops, signal_of(array)).output.format.dtype


@pytest.mark.parametrize(
    "ops", [["dither", "gain:db=-3"], ["dither", "dither"], ["dither", "convert:format=s16le", "invert"]]
)
def test_nothing_but_a_conversion_stands_behind_dither(ops):
    with pytest.raises(
        UsageError, match=r"op dither: expected nothing or convert behind it, not (gain|dither|invert); put"
    ):
        Chain(ops, signal_of(column([])))


def test_one_bit_is_refused():
    with pytest.raises(UsageError, match="bits is 0 or from 2 to 32, not 1"):
        Chain("dither:bits=1", signal_of(column([])))


# 24 bits


@pytest.mark.parametrize("name", ["s24le", "s24be"])
def test_24_bits_are_the_upper_ones_of_four_bytes(name):
    array = noise(300, 2, "f64le", 0.9)
    result = run(f"convert:format={name}", array)
    assert result.dtype.str == {"s24le": "<i4", "s24be": ">i4"}[name]
    assert result.tolist() == (np.rint(array * 2**23).clip(-(2**23), 2**23 - 1) * 256).astype("<i4").tolist()


@pytest.mark.parametrize("ops", [[], ["invert"], ["gain:db=-3"], ["dither"]])
def test_no_op_leaves_more_than_24_bits(ops):
    array = noise(300, 2, "s32le", 0.9)
    result = run([*ops, "convert:format=s24le"], array)
    assert not (result & 0xFF).any()


def test_dither_before_24_bits_is_a_step_of_24_bits():
    result = run(["dither", "convert:format=s24le"], np.zeros((2000, 1), "<f4"))
    assert set((result[:, 0] // 256).tolist()) == {-1, 0, 1}
