import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_support import column, noise, special_bits

from zaudio.formats import FORMATS, PACKED
from zaudio.ops.contract import Precision
from zaudio.ops.precision import convert, is_float, store, to_floats, to_stored

LITTLE = ["f32le", "f64le", "s16le", "s32le"]
SLABS = [(0, 1), (1, 1), (32_767, 1), (32_768, 1), (32_769, 1), (16_385, 2), (1, 1024), (33, 1024)]


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT64])
@pytest.mark.parametrize(("frames", "channels"), SLABS)
def test_floats_are_the_stored_samples_over_full_scale_in_either_byte_order(name, precision, frames, channels):
    array = noise(frames, channels, name)
    floats = to_floats(array, precision)
    dtype = np.float32 if precision is Precision.FLOAT32 else np.float64
    scale = 1.0 if name[0] == "f" else 2.0 ** (8 * FORMATS[name].itemsize - 1)
    expected = array.astype("=f8").astype(dtype) / dtype(scale)
    assert floats.dtype == dtype
    assert floats.dtype.isnative
    assert floats.flags.f_contiguous
    assert (floats == expected).all()


@pytest.mark.parametrize(("given", "wanted"), list(itertools.product(sorted(FORMATS), repeat=2)))
@pytest.mark.parametrize(("frames", "channels"), [(0, 2), (61, 1), (61, 17), (16_385, 2)])
def test_what_is_stored_and_read_again_is_the_same_where_it_fits(given, wanted, frames, channels):
    array = noise(frames, channels, given, 0.1)
    into = np.empty(array.shape, FORMATS[wanted].dtype)
    clipped, lost = store(array, into)
    assert lost == 0
    back = np.empty_like(array)
    store(into, back)
    if given[:3] == wanted[:3] or wanted[:3] == "f64" or (given[:3], wanted[:3]) in [("s16", "s32"), ("s16", "f32")]:
        assert (back.tobytes(), clipped) == (array.tobytes(), 0)
    else:
        step = {"s16": 2.0**-15, "s32": 2.0**-31, "f32": 2.0**-24}[wanted[:3]]
        assert np.abs(to_floats(back, Precision.FLOAT64) - to_floats(array, Precision.FLOAT64)).max(initial=0) <= step


@pytest.mark.parametrize("name", ["s16le", "s16be", "s32le", "s32be"])
@pytest.mark.parametrize("frames", [1, 7, 40_000])
def test_integers_are_rounded_half_to_even_limited_and_counted(name, frames):
    full = 2 ** (8 * FORMATS[name].itemsize - 1)
    units = [-full - 0.6, -full - 0.5, -full, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, full - 1, full - 0.6, full - 0.4, full]
    expected = [-full, -full, -full, -2, -2, 0, 0, 2, 2, full - 1, full - 1, full - 1, full - 1]
    odd = [np.nan, np.inf, -np.inf]
    array = np.tile(np.array([*units, *(value * full for value in odd)]) / full, (frames, 1))
    into = np.empty(array.shape, FORMATS[name].dtype)
    assert store(array, into) == (5 * frames, frames)
    assert (into == [*expected, 0, full - 1, -full]).all()


def test_a_sample_just_above_the_range_is_limited_and_one_that_rounds_into_it_is_not():
    into = np.empty((2, 1), "<i2")
    assert store(column([32767.4 / 32768, 32767.5 / 32768]), into) == (1, 0)
    assert into[:, 0].tolist() == [32767, 32767]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_bytes_are_swapped_and_no_float_is_converted(dtype):
    for before, after in itertools.product("<>", repeat=2):
        bits = special_bits(before + dtype)
        into = np.empty(bits.shape, after + dtype)
        assert store(bits.view(before + dtype), into) == (0, 0)
        assert into.view(f"{after}u{into.itemsize}").tolist() == bits.tolist()


@pytest.mark.parametrize("wanted", sorted(FORMATS))
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_no_bit_pattern_makes_a_warning(dtype, wanted):
    array = special_bits(dtype).view(dtype)
    with np.errstate(all="raise"):
        store(array, np.empty(array.shape, FORMATS[wanted].dtype))
        to_floats(array, Precision.FLOAT32)
        to_floats(array, Precision.FLOAT64)


def test_a_float64_beyond_float32_becomes_infinity():
    assert to_floats(column([1e300, -1e300, 1e-300]), Precision.FLOAT32)[:, 0].tolist() == [np.inf, -np.inf, 0]


@given(st.lists(st.floats(width=64), max_size=40), st.sampled_from(LITTLE), st.sampled_from("CF"))
def test_the_layout_in_memory_changes_nothing(values, name, order):
    array = np.array([*values, *([0.0] * (len(values) % 2))]).reshape(-1, 2)
    into, other = np.empty(array.shape, FORMATS[name].dtype), np.empty(array.shape, FORMATS[name].dtype, order="F")
    counts = store(array, into)
    assert store(np.array(array, order=order), other) == counts
    assert other.tobytes() == into.tobytes()
    assert store(array[::-1], other[::-1]) == counts
    assert other.tobytes() == into.tobytes()


def test_stored_samples_of_the_same_format_are_only_made_contiguous():
    array = noise(7, 2, "s16le")
    assert to_stored(array, FORMATS["s16le"])[0] is array
    stored, clipped = to_stored(np.asfortranarray(array), FORMATS["s16be"])
    assert stored.flags.c_contiguous
    assert (stored.tolist(), clipped) == (array.tolist(), 0)
    assert stored.dtype.byteorder == "="
    assert stored.dtype.isnative


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT64])
def test_conversion_copies_only_where_numbers_or_layout_differ(precision):
    dtype = "=f4" if precision is Precision.FLOAT32 else "=f8"
    format = FORMATS["s16le"]
    planar = np.zeros((5, 2), dtype, order="F")
    for same in (planar, planar[1:4], np.zeros((5, 1), dtype), np.zeros((0, 1), dtype)):
        assert convert(same, precision, format)[0] is same
    woven = np.arange(10, dtype=dtype).reshape(5, 2)
    floats, clipped = convert(woven, precision, format)
    assert floats.flags.f_contiguous
    assert (floats.tolist(), clipped) == (woven.tolist(), 0)
    assert convert(woven, Precision.ANY, format)[0] is woven


def test_conversion_to_stored_samples_says_how_many_were_limited():
    stored, clipped = convert(column([2.0, 0.5, -2.0, -1.0]), Precision.STORED, FORMATS["s16be"])
    assert (stored[:, 0].tolist(), clipped) == ([32767, 16384, -32768, -32768], 2)
    assert stored.dtype == np.dtype("=i2")


def test_floats_are_told_from_integers():
    assert [is_float(np.zeros(1, format.dtype)) for format in FORMATS.values()] == [True] * 4 + [False] * 4
    assert sys.byteorder in ("little", "big")


# 24 bits


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("frames", [1, 40_000])
def test_24_bits_are_rounded_half_to_even_limited_and_counted(order, frames):
    full = 2**23
    units = [-full - 0.6, -full, -1.5, -0.5, 0.5, 1.5, full - 1, full - 0.4, full, np.nan]
    expected = [-full, -full, -2, 0, 0, 2, full - 1, full - 1, full - 1, 0]
    into = np.empty((frames, len(units)), f"{order}i4")
    assert store(np.tile(np.array(units) / full, (frames, 1)), into, 24) == (3 * frames, frames)
    assert (into == [256 * value for value in expected]).all()


def test_integers_of_32_bits_are_rounded_to_24():
    into = np.empty((5, 1), "<i4")
    assert store(column([128, 129, 384, -(2**31), 2**31 - 1], "<i4"), into, 24) == (1, 0)
    assert into[:, 0].tolist() == [0, 256, 512, -(2**31), 2**31 - 256]


@pytest.mark.parametrize("name", sorted(PACKED))
def test_24_bits_pass_as_they_are(name):
    array = noise(61, 2, name.replace("24", "32")) // 256 * 256
    stored, clipped = to_stored(array, PACKED[name])
    assert (stored.tolist(), clipped) == (array.tolist(), 0)
    into = np.empty(array.shape, PACKED[name].dtype)
    assert store(to_floats(array, Precision.FLOAT64), into, 24) == (0, 0)
    assert into.tolist() == array.tolist()
