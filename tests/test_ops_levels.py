import itertools
import math
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_support import LENGTHS, column, noise, run, run_counting, signal_of, special_bits

from zaudio.errors import UsageError
from zaudio.formats import FORMATS
from zaudio.ops import Chain
from zaudio.ops.levels import Clip, Gain, Scale

FLOATS, INTS = ["<f4", "<f8", ">f4", ">f8"], ["<i2", "<i4", ">i2", ">i4"]
EVERY = ["invert", "gain:db=5.3", "dcshift:shift=0.1", "clip:low=-0.3,high=0.7", "softclip:threshold=0.3"]


# invert


@pytest.mark.parametrize("dtype", FLOATS)
def test_invert_flips_the_sign_bit_and_nothing_else(dtype):
    bits = special_bits(dtype)
    for repeat in (1, 3, 7):
        many = np.tile(bits, (repeat, 1))
        sign = many.dtype.type(1 << (8 * many.itemsize - 1))
        assert (run("invert", many.view(dtype)).view(many.dtype) == many ^ sign).all()


@given(st.binary(max_size=400), st.sampled_from(FLOATS))
def test_invert_twice_gives_back_every_bit(content, dtype):
    size = np.dtype(dtype).itemsize
    array = np.frombuffer(content[: len(content) // size * size], dtype).reshape(-1, 1).copy()
    once = run("invert", array)
    assert run(["invert", "invert"], array).tobytes() == array.tobytes()
    assert (np.signbit(once) != np.signbit(array)).all()


@pytest.mark.parametrize("dtype", INTS)
def test_invert_of_integers_negates_and_saturates(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = column([low, low + 1, -2, -1, 0, 1, 2, high - 1, high], dtype)
    assert run("invert", array)[:, 0].tolist() == [high, high, 2, 1, 0, -1, -2, -high + 1, -high]


def test_invert_of_every_16_bit_integer():
    every = np.arange(-32768, 32768).astype("<i2").reshape(-1, 2)
    assert run("invert", every).tolist() == np.minimum(-every.astype(int), 32767).tolist()


def test_invert_of_stored_samples_converts_nothing(monkeypatch):
    monkeypatch.setattr("zaudio.ops.graph.store", None)
    monkeypatch.setattr("zaudio.ops.precision.to_floats", None)
    assert run("invert", column([1, -2], "<i2")).tolist() == [[-1], [2]]


# gain


@pytest.mark.parametrize(("db", "factor"), [(0, 1.0), (20, 10.0), (-20, 0.1), (40, 100.0), (-3, 10 ** (-3 / 20))])
def test_gain_computes_its_factor_beforehand(db, factor):
    assert Gain(db).design(signal_of(column([]))) == Scale(factor)


def test_gain_of_float32_multiplies_in_float64_and_rounds_once():
    array = column(np.linspace(-2, 2, 101), "<f4")
    expected = (array.astype("<f8") * 10 ** (-3 / 20)).astype("<f4")
    assert run("gain:db=-3", array).tolist() == expected.tolist()
    # In single precision, some come out differently: this test can tell.
    assert (array * np.float32(10 ** (-3 / 20))).tolist() != expected.tolist()


def test_gains_in_a_row_round_once():
    array = column(np.arange(-500, 500), "<i2")
    assert run(["gain:db=-40", "gain:db=40"], array).tolist() == array.tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_gain_of_floats_overflows_to_infinity_without_a_warning(dtype):
    top = np.finfo(dtype).max
    result = run("gain:db=6", column([top, -top, np.inf, -np.inf, -0.0], dtype))
    assert result[:, 0].tolist() == [np.inf, -np.inf, np.inf, -np.inf, 0.0]
    assert np.signbit(result[4, 0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spec", [*EVERY, "gain:db=-200", "gain:db=0", "clip:low=0,high=0.5", "softclip:threshold=0"])
def test_no_bit_pattern_makes_a_warning(dtype, spec):
    for repeat in (1, 5):
        with np.errstate(all="raise"):
            run(spec, np.tile(special_bits(dtype), (repeat, 1)).view(dtype))


@pytest.mark.parametrize("dtype", INTS)
@given(data=st.data())
def test_gain_of_integers_rounds_half_to_even_saturates_and_counts(dtype, data):
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    samples = data.draw(st.lists(st.one_of(st.integers(low, high), st.sampled_from([low, low + 1, high - 1, high]))))
    db = data.draw(st.one_of(st.floats(-200, 200), st.sampled_from([0, 0.01, 6.0206])))
    result, counts = run_counting(f"gain:db={db!r}", column(samples, dtype))
    # The scale is a power of two, so the product is the one of the integer itself.
    exact = [int(Decimal(s * 10 ** (db / 20)).quantize(Decimal(1), ROUND_HALF_EVEN)) for s in samples]
    assert result[:, 0].tolist() == [min(max(value, low), high) for value in exact]
    assert counts.clipped == sum(not low <= value <= high for value in exact)


# dcshift


def test_dcshift_adds_in_units_of_full_scale():
    assert run("dcshift:shift=0.25", column([-1, 0, 0.5, np.inf]))[:, 0].tolist() == [-0.75, 0.25, 0.75, np.inf]
    result, counts = run_counting("dcshift:shift=0.5", column([-32768, 0, 20000], ">i2"))
    assert (result[:, 0].tolist(), counts.clipped) == ([-16384, 16384, 32767], 1)


# clip


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip_limits_floats_and_keeps_everything_else(dtype):
    array = np.tile(special_bits(dtype), (3, 1)).view(dtype)
    result = run("clip:low=-0.5,high=0.25", array)
    for before, after in zip(array[:, 0], result[:, 0], strict=True):
        if np.isnan(before):
            assert np.isnan(after)
            assert np.signbit(before) == np.signbit(after)
        else:
            assert after == min(max(before, -0.5), 0.25)
            assert np.signbit(before) == np.signbit(after)


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip_at_zero_keeps_negative_zero_wherever_it_stands(dtype):
    for length, spec in itertools.product(LENGTHS, ("clip:low=0", "clip:low=-1,high=0", "clip:low=-0.0")):
        assert np.signbit(run(spec, np.full((length, 1), -0.0, dtype))).all()
        assert not np.signbit(run(spec, np.zeros((length, 1), dtype))).any()


def test_clip_is_full_scale_when_nothing_is_said():
    assert run("clip", column([-1.5, -1, 0.5, 1, 1.5], "<f4"))[:, 0].tolist() == [-1, -1, 0.5, 1, 1]


@pytest.mark.parametrize("dtype", INTS)
def test_clip_of_integers_is_in_units_of_full_scale(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = column([low, low // 2 - 1, low // 2, -1, 0, 1, high // 2 + 1, high // 2 + 2, high], dtype)
    assert run("clip", array).tolist() == array.tolist()
    half = (int(high) + 1) // 2
    expected = [min(max(sample, -half), half) for sample in array[:, 0].tolist()]
    assert run("clip:low=-0.5,high=0.5", array)[:, 0].tolist() == expected
    assert set(run("clip:low=2,high=3", array)[:, 0].tolist()) == {high}
    assert set(run("clip:low=-3,high=-2", array)[:, 0].tolist()) == {low}


def test_clip_rounds_its_integer_limits_half_to_even():
    result = run(f"clip:low={-2.5 / 32768!r},high={1.5 / 32768!r}", column([-100, 100], ">i2"))
    assert result[:, 0].tolist() == [-2, 2]


@pytest.mark.parametrize(("low", "high"), [(1, -1), (0.5, 0.5), (2, 1)])
def test_clip_wants_low_below_high(low, high):
    with pytest.raises(UsageError, match="low must be below high"):
        Clip(low, high).design(signal_of(column([])))


# softclip


@pytest.mark.parametrize("threshold", [0, 0.3, 0.5, 0.8, 0.999])
def test_softclip_keeps_what_is_quiet_and_never_passes_full_scale(threshold):
    array = column(np.concatenate([np.linspace(-4, 4, 4001), [1e300, -np.inf, np.inf]]))
    result = run(f"softclip:threshold={threshold}", array)
    quiet = np.abs(array) <= threshold
    assert (result[quiet] == array[quiet]).all()
    assert (np.abs(result) <= 1).all()
    assert (np.diff(result[:4001, 0]) >= 0).all()
    assert (result == -run(f"softclip:threshold={threshold}", -array)).all()


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.75])
def test_softclip_is_the_curve_of_its_formula(threshold):
    array = column([1.0, 2.0, -0.9])
    expected = [math.copysign(1 - (1 - threshold) ** 2 / (abs(x) + 1 - 2 * threshold), x) for x in array[:, 0]]
    assert np.allclose(run(f"softclip:threshold={threshold}", array)[:, 0], expected, rtol=1e-15)
    near = column([threshold + 1e-6])
    slope = (run(f"softclip:threshold={threshold}", near)[0, 0] - threshold) / 1e-6
    assert slope == pytest.approx(1, abs=1e-5)


def test_softclip_passes_nan():
    assert np.isnan(run("softclip", column([np.nan, 3.0]))).tolist() == [[True], [False]]


# all of them


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("spec", EVERY)
def test_a_sample_is_the_same_at_any_place_and_among_any_channels(name, spec):
    array = noise(61, 6, name)
    expected = run(spec, array)
    for channel, start in itertools.product((0, 5), (0, 1, 15, 16)):
        alone = np.ascontiguousarray(array[start:, channel : channel + 1])
        assert run(spec, alone).tobytes() == np.ascontiguousarray(expected[start:, channel]).tobytes()
    for frames in LENGTHS:
        assert run(spec, array[:frames].copy()).tobytes() == expected[:frames].tobytes()


@pytest.mark.parametrize("kind", ["f32", "f64", "s16", "s32"])
@pytest.mark.parametrize("spec", EVERY)
def test_both_byte_orders_give_the_same_values(kind, spec):
    little, big = (run(spec, noise(61, 2, kind + order)) for order in ("le", "be"))
    assert little.tolist() == big.tolist()
    assert little.tolist() != noise(61, 2, kind + "le").tolist()


def test_a_shift_beyond_full_scale_twice_is_refused():
    with pytest.raises(UsageError, match="op dcshift: shift is a number from -2 to 2, not 3"):
        Chain("dcshift:shift=3", signal_of(column([])))
