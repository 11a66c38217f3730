import itertools
import json
import math
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import FORMATS, sample_format
from zaudio.ops.builtin import BUILTIN, describe_op, describe_ops, find_op
from zaudio.ops.spec import parse

NATIVE = [sample_format(kind + "le").native_dtype for kind in ("f32", "f64", "s16", "s32")]
FLOATS, INTS = NATIVE[:2], NATIVE[2:]
KIND = dict(zip(NATIVE, (sample_format(kind + "le") for kind in ("f32", "f64", "s16", "s32")), strict=True))


def apply(spec, array):
    """Prepare and apply one op, on a read-only array, and see that it kept the rules that hold for all."""
    parsed = parse(spec)
    op = BUILTIN[parsed.name]
    coefficients = op.prepare(dict(parsed.params), KIND["=" + array.dtype.str[1:]])
    op.check(coefficients)
    before = array.tobytes()
    array.flags.writeable = False
    result = op.apply(array, **coefficients)
    assert array.tobytes() == before
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert not np.shares_memory(result, array)
    return result


def column(values, dtype):
    return np.array(values, dtype).reshape(-1, 1)


def special_bits(dtype):
    """Every sign with: zero, denormals, one, the largest, infinity, signalling and quiet NaN with payloads."""
    size = np.dtype(dtype).itemsize
    mantissa, exponent = (23, 8) if size == 4 else (52, 11)
    full = ((1 << exponent) - 1) << mantissa
    quiet = 1 << (mantissa - 1)
    positive = [0, 1, (1 << mantissa) - 1, 1 << mantissa, ((1 << (exponent - 1)) - 1) << mantissa, full - 1, full]
    positive += [full | 1, full | (quiet - 1), full | quiet, full | quiet | 0x1234, full | ((1 << mantissa) - 1)]
    sign = 1 << (8 * size - 1)
    return np.array(positive + [bits | sign for bits in positive], f"=u{size}").reshape(-1, 1)


# Lengths with a whole vector of any width and a rest: SIMD code treats the rest differently.
LENGTHS = (0, 1, 15, 16, 17, 61)


# invert


@pytest.mark.parametrize("dtype", FLOATS)
def test_invert_flips_the_sign_bit_and_nothing_else(dtype):
    bits = special_bits(dtype)
    for repeat in (1, 3, 7):
        many = np.tile(bits, (repeat, 1))
        sign = many.dtype.type(1 << (8 * many.itemsize - 1))
        assert (apply("invert", many.view(dtype)).view(many.dtype) == many ^ sign).all()


@given(st.binary(max_size=400), st.sampled_from(FLOATS))
def test_invert_twice_gives_back_every_bit(content, dtype):
    size = np.dtype(dtype).itemsize
    array = np.frombuffer(content[: len(content) // size * size], dtype).reshape(-1, 1)
    once = apply("invert", array)
    assert apply("invert", once).tobytes() == array.tobytes()
    assert (np.signbit(once) != np.signbit(array)).all()


@pytest.mark.parametrize("dtype", INTS)
def test_invert_of_integers_negates_and_saturates(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = column([low, low + 1, -2, -1, 0, 1, 2, high - 1, high], dtype)
    assert apply("invert", array)[:, 0].tolist() == [high, high, 2, 1, 0, -1, -2, -high + 1, -high]


def test_invert_of_every_16_bit_integer():
    every = np.arange(-32768, 32768).astype("=i2").reshape(-1, 2)
    assert apply("invert", every).tolist() == np.minimum(-every.astype(int), 32767).tolist()


# gain


@pytest.mark.parametrize(("db", "factor"), [(0, 1.0), (20, 10.0), (-20, 0.1), (40, 100.0), (-3, 10 ** (-3 / 20))])
def test_gain_computes_its_factor_beforehand(db, factor):
    assert find_op("gain").prepare({"db": db}, sample_format("f32le")) == {"factor": factor}


def test_gain_of_float32_multiplies_in_float32():
    array = column(np.linspace(-2, 2, 101), "=f4")
    factor = np.float32(10 ** (-3 / 20))
    expected = [np.float32(sample) * factor for sample in array[:, 0]]
    assert apply("gain:db=-3", array)[:, 0].tolist() == expected
    # In double precision, rounded afterwards, some would come out differently: this test can tell.
    assert apply("gain:db=-3", array).tolist() != (array.astype("=f8") * 10 ** (-3 / 20)).astype("=f4").tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_gain_of_floats_overflows_to_infinity_without_a_warning(dtype):
    top = np.finfo(dtype).max
    result = apply("gain:db=6", column([top, -top, np.inf, -np.inf, -0.0], dtype))
    assert result[:, 0].tolist() == [np.inf, -np.inf, np.inf, -np.inf, 0.0]
    assert np.signbit(result[4, 0])
    assert apply("gain:db=-200", column([np.finfo(dtype).tiny], dtype))[0, 0] <= np.finfo(dtype).tiny


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spec", ["gain:db=6", "gain:db=-200", "gain:db=0", "clip", "clip:low=0,high=0.5"])
def test_no_bit_pattern_makes_a_warning(dtype, spec):
    for repeat in (1, 5):
        with np.errstate(all="raise"):
            apply(spec, np.tile(special_bits(dtype), (repeat, 1)).view(dtype))


def exact_gain(sample, factor, low, high):
    """The double-precision product, rounded half to even by decimal arithmetic, saturated."""
    rounded = int(Decimal(sample * factor).quantize(Decimal(1), ROUND_HALF_EVEN))
    return min(max(rounded, low), high)


@pytest.mark.parametrize("dtype", INTS)
@given(data=st.data())
def test_gain_of_integers_rounds_half_to_even_and_saturates(dtype, data):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    samples = data.draw(st.lists(st.one_of(st.integers(low, high), st.sampled_from([low, low + 1, high - 1, high]))))
    db = data.draw(st.floats(-200, 200))
    factor = 10 ** (db / 20)
    result = apply(f"gain:db={db!r}", column(samples, dtype))
    assert result[:, 0].tolist() == [exact_gain(sample, factor, low, high) for sample in samples]


@pytest.mark.parametrize("dtype", INTS)
def test_gain_by_a_half_shows_which_way_halves_go(dtype):
    op = find_op("gain")
    halves = op.apply(column([-5, -3, -1, 0, 1, 3, 5], dtype), factor=0.5)
    assert halves[:, 0].tolist() == [-2, -2, 0, 0, 0, 2, 2]


@pytest.mark.parametrize("dtype", INTS)
def test_gain_of_nothing_keeps_every_extreme(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = column([low, low + 1, -1, 0, 1, high - 1, high], dtype)
    assert apply("gain:db=0", array).tolist() == array.tolist()
    assert apply("gain:db=200", array)[:, 0].tolist() == [low, low, low, 0, high, high, high]


# clip


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip_limits_floats_and_keeps_everything_else_bit_for_bit(dtype):
    bits = np.tile(special_bits(dtype), (3, 1))
    array = bits.view(dtype)
    result = apply("clip:low=-0.5,high=0.25", array)
    for before, after, kept, came in zip(
        array[:, 0], result[:, 0], bits[:, 0], result.view(bits.dtype)[:, 0], strict=True
    ):
        if before < -0.5:
            assert after == -0.5
        elif before > 0.25:
            assert after == 0.25
        else:  # inside, or NaN
            assert came == kept


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip_at_zero_keeps_negative_zero_wherever_it_stands(dtype):
    for length, spec in itertools.product(LENGTHS, ("clip:low=0", "clip:low=-1,high=0", "clip:low=-0.0")):
        assert np.signbit(apply(spec, np.full((length, 1), -0.0, dtype))).all()
        assert not np.signbit(apply(spec, np.zeros((length, 1), dtype))).any()


def test_clip_is_full_scale_when_nothing_is_said():
    assert apply("clip", column([-1.5, -1, 0.5, 1, 1.5], "=f4"))[:, 0].tolist() == [-1, -1, 0.5, 1, 1]


@pytest.mark.parametrize("dtype", INTS)
def test_clip_of_integers_is_in_units_of_full_scale(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = column([low, low // 2 - 1, low // 2, -1, 0, 1, high // 2 + 1, high // 2 + 2, high], dtype)
    assert apply("clip", array).tolist() == array.tolist()
    half = (high + 1) // 2
    expected = [min(max(sample, -half), half) for sample in array[:, 0].tolist()]
    assert apply("clip:low=-0.5,high=0.5", array)[:, 0].tolist() == expected
    assert set(apply("clip:low=2,high=3", array)[:, 0].tolist()) == {high}
    assert set(apply("clip:low=-3,high=-2", array)[:, 0].tolist()) == {low}


def test_clip_rounds_its_integer_limits_half_to_even():
    s16 = sample_format("s16be")
    prepare = find_op("clip").prepare
    assert prepare({"low": -2.5 / 32768, "high": 1.5 / 32768}, s16) == {"low": -2, "high": 2}
    assert prepare({}, s16) == {"low": -32768, "high": 32767}
    assert prepare({}, sample_format("s32le")) == {"low": -(2**31), "high": 2**31 - 1}
    assert prepare({"high": 0.1}, sample_format("f32le")) == {"low": -1.0, "high": 0.1}


@pytest.mark.parametrize(("low", "high"), [(1, -1), (0.5, 0.5), (1, 1), (2, 1)])
def test_clip_wants_low_below_high(low, high):
    with pytest.raises(UsageError, match="low must be below high"):
        find_op("clip").prepare({"low": low, "high": high}, sample_format("f32le"))


# what holds for all


@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("spec", ["invert", "gain:db=5.3", "clip:low=-0.3,high=0.7"])
def test_any_length_and_any_layout_in_memory_gives_the_same(dtype, spec):
    rng = np.random.default_rng(7)
    for length, channels in itertools.product(LENGTHS, (1, 2, 3)):
        raw = rng.integers(0, 256, length * channels * np.dtype(dtype).itemsize, np.uint8)
        array = raw.view(dtype).reshape(length, channels)
        expected = apply(spec, array).tobytes()
        assert apply(spec, np.asfortranarray(array)).tobytes() == expected
        assert apply(spec, array[::-1])[::-1].tobytes() == expected


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("invert", {"x": 1}, "has no parameter x; it has none"),
        ("gain", {}, "needs db: gain in decibels.*gain:db=-3"),
        ("gain", {"dB": 3}, "has no parameter dB; it has db"),
        ("gain", {"db": "loud"}, "from -200 to 200, not 'loud'"),
        ("gain", {"db": True}, "not True"),
        ("gain", {"db": 200.5}, "not 200.5"),
        ("gain", {"db": -201}, "not -201"),
        ("gain", {"db": math.nan}, "not nan"),
        ("gain", {"db": 2**63 - 1}, "from -200 to 200"),
        ("clip", {"low": "a"}, "not 'a'"),
        ("clip", {"high": math.inf}, "not inf"),
        ("clip", {"high": 1e7}, "op clip: high is a number"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(name, params, words):
    with pytest.raises(UsageError, match=words):
        find_op(name).prepare(params, sample_format("s16le"))


@pytest.mark.parametrize(
    "coefficients", [{}, {"factor": "1"}, {"factor": True}, {"factor": math.nan}, {"factor": 1.0, "x": 1}, {"x": 1.0}]
)
def test_coefficients_that_apply_does_not_take_are_refused(coefficients):
    with pytest.raises(UsageError, match="expected the numbers factor, not"):
        find_op("gain").check(coefficients)


def test_an_unknown_op_is_met_with_what_there_is():
    with pytest.raises(UsageError, match=r"no op 'inver', did you mean invert\?.*clip, gain, invert .*zaudio ops"):
        find_op("inver")
    with pytest.raises(UsageError, match=r"no op 'xyzzy'; built in are clip, gain, invert"):
        find_op("xyzzy")


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        BUILTIN["mine"] = BUILTIN["gain"]


def test_every_op_describes_itself_in_plain_data():
    described = describe_ops()
    assert [op["name"] for op in described] == ["clip", "gain", "invert"]
    assert json.loads(json.dumps(described)) == described
    gain = describe_op("gain")
    assert gain["example"] == "gain:db=-3"
    assert [(p["name"], p["type"], p["default"]) for p in gain["parameters"]] == [("db", "number", None)]
    assert [(p["name"], p["default"]) for p in describe_op("clip")["parameters"]] == [("low", -1.0), ("high", 1.0)]
    assert all("\n" not in op["summary"] and op["summary"] for op in described)
    with pytest.raises(UsageError, match="no op"):
        describe_op("nothing")


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_the_example_of_every_op_works_in_every_format(name):
    example = parse(BUILTIN[name].example)
    assert example.name == name
    for format in FORMATS:
        coefficients = BUILTIN[name].prepare(dict(example.params), sample_format(format))
        assert set(coefficients) == set(BUILTIN[name].coefficients)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("db", [-6, 0, 1e-9, 0.01, 0.5, 6, 6.0206, 20, 60, 200])
def test_a_gain_counts_the_samples_that_it_limits(dtype, db):
    limits = np.iinfo(dtype)
    factor = 10.0 ** (db / 20)
    edges = [round(limits.max / factor), round(limits.min / factor)]
    values = [limits.min, limits.max, 0, 1, -1, *(edge + off for edge in edges for off in range(-3, 4))]
    values = [min(max(value, limits.min), limits.max) for value in values]
    wanted = sum(not limits.min <= round(value * factor) <= limits.max for value in values)
    array = np.array(values, dtype).reshape(-1, 1)
    assert BUILTIN["gain"].clips(array, factor=factor) == wanted
    assert BUILTIN["gain"].clips(array.astype(np.float32), factor=factor) == 0
