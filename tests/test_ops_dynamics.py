import itertools
import math
import shutil
import subprocess

import numpy as np
import pytest
from extended import extended
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Chain, Course, Graph, graph_of, import_allowed, make_ops, parse_chain
from zaudio.ops.gains import CELL, UNIT, curve_table, factor_table, gains, on_curve, released, sliding_maximum
from zaudio.signal import Signal

RATE = 48_000  # 1500 cells per second
NOTHING = import_allowed([])
OPS = [
    "compress:threshold_db=-30,ratio=4",
    "compress:threshold_db=-40,ratio=2,knee_db=0,attack=20ms,release_db_per_s=1000,makeup_db=6",
    "gate:threshold_db=-30",
    "gate:threshold_db=-20,range_db=10,attack=0f,hold=100f,release_db_per_s=3000,knee_db=0",
    "limit:db=-12,release_db_per_s=400",
    "limit:db=-12,peak=sample,attack=1ms,release_db_per_s=1000",
]


def signal_of(frames, channels=1, name="f32le", rate=RATE):
    return Signal(frames, channels, rate, sample_format(name))


def applied(op, array, *, name="f64le", rate=RATE):
    array = np.asarray(array, sample_format(name).dtype).reshape(len(array), -1)
    return Chain([op], signal_of(*array.shape, name=name, rate=rate))(array)


def uneven(seed, frames, channels=1):
    """Return noise between -60 and +6 dBFS, of another level every 0.5 to 50 ms."""
    random = np.random.default_rng(seed)
    levels, lengths = 10 ** (random.uniform(-60, 6, 3000) / 20), random.integers(24, 2400, 3000)
    return random.uniform(-1, 1, (frames, channels)) * np.repeat(levels, lengths)[:frames, None]


def gain_db(op, array):
    """Return the gain of each frame, in decibels."""
    return 20 * np.log10(applied(op, array)[:, 0] / array)


def stairs(levels, frames=4800):
    """Return square waves of these levels in dBFS, each so many frames; and the middle of each."""
    signs = np.where(np.arange(len(levels) * frames) % 48 < 24, 1.0, -1.0)
    steps = np.repeat(10 ** (np.array(levels) / 20), frames)
    return signs * steps, np.arange(len(levels)) * frames + frames // 2


# Any cut gives the same bits


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("channels", [extended(1), 2])
def test_any_grid_and_any_cut_give_the_bits_of_the_whole(op, channels):
    frames = 20_011
    signal = signal_of(frames, channels)
    array = uneven(1, frames, channels).astype("<f4")
    course = Course(make_ops(parse_chain(op), NOTHING), signal)
    whole = Chain(op, signal)(array)
    for grid in (0, 32, 4096, 977, 15_000):
        graph = graph_of(course.main.steps, signal, grid, NOTHING)  # as it travels
        step = 7 * grid if grid in (32, 977) else grid or 10_007
        for start in reversed(range(0, frames, step)):
            stop = min(start + step, frames)
            low, high = graph.needs(start, stop)
            piece = graph(array[low:high], low, start, stop)
            np.testing.assert_array_equal(piece, whole[start:stop])


@pytest.mark.parametrize("op", OPS)
def test_memory_ends_where_the_op_says(op):
    frames = 200_000
    signal = signal_of(frames)
    graph = Course(make_ops(parse_chain(op), NOTHING), signal).main.graph()
    [kernel] = graph.ops
    array = uneven(2, frames).astype("<f4")
    start, stop = 128_001, 129_003
    low, high = kernel.needs(start, stop, signal)
    assert low > 0
    assert high < frames
    assert low % CELL == high % CELL == 0
    other = array.copy()
    other[:low] = 15.0
    other[high:] = -15.0
    plain = Graph([kernel], signal, 0)
    np.testing.assert_array_equal(plain(array, 0, start, stop), plain(other, 0, start, stop))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("frames", [0, 1, 31, 32, 33])
def test_short_recordings_work(op, frames):
    array = uneven(3, frames, 3).astype("<f4")
    result = Chain(op, signal_of(frames, 3))(array)
    assert result.shape == array.shape
    assert np.isfinite(result).all()


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_all_channels_have_the_gain_of_the_loudest(op, channels):
    array = uneven(4, 24_000, channels)
    array[8000:16_000] *= 1e-3
    array[:, -1] = array[:, 0] * 2
    result = Chain(op, signal_of(24_000, channels, "f64le"))(array)
    gains_ = result / array
    assert not np.allclose(gains_, 1)
    np.testing.assert_allclose(gains_, np.broadcast_to(gains_[:, :1], gains_.shape), rtol=1e-12)


@pytest.mark.parametrize("op", OPS)
def test_silence_and_denormals_stay_what_they_are_up_to_a_constant(op):
    assert not applied(op, np.zeros(5000)).any()
    tiny = np.full(5000, 5e-324)
    result = applied(op, tiny)
    assert ((result == 0) | (result == 5e-324) | (result == 1e-323)).all()


@pytest.mark.parametrize("op", OPS)
def test_samples_that_are_not_finite_count_as_zero(op):
    array = uneven(5, 5000)
    clean = array.copy()
    array[[0, 1700, 1701, 4999]] = [[np.nan], [np.inf], [-np.inf], [np.nan]]
    clean[[0, 1700, 1701, 4999]] = 0
    chain = Chain(op, signal_of(5000, name="f64le"))
    np.testing.assert_array_equal(chain(array), applied(op, clean))
    assert chain.counts.zeroed == 4


# Static curves


def compressed(level, threshold, ratio, knee):
    over = level - threshold
    if abs(over) * 2 <= knee and knee:
        return (1 / ratio - 1) * (over + knee / 2) ** 2 / (2 * knee)
    return (1 / ratio - 1) * max(0, over)


@pytest.mark.parametrize(
    ("threshold", "ratio", "knee", "makeup"), [(-20, 4, 6, 0), (-50.3, 1.5, 0, 10), (-10, 1000, 20, -3), (0, 1, 6, 0)]
)
def test_compressor_follows_its_formula_from_minus_90_to_plus_12_dbfs(threshold, ratio, knee, makeup):
    levels = np.arange(-90, 12.01, 0.75)
    array, middles = stairs(levels)
    op = f"compress:threshold_db={threshold},ratio={ratio},knee_db={knee},makeup_db={makeup}"
    expected = [makeup + compressed(level, threshold, ratio, knee) for level in levels]
    np.testing.assert_allclose(gain_db(op, array)[middles], expected, atol=2e-4)


@pytest.mark.parametrize(("threshold", "range_db", "knee"), [(-40, 30, 6), (-50, 100, 20), (-30, 0, 3)])
def test_gate_follows_its_formula_from_minus_90_to_plus_12_dbfs(threshold, range_db, knee):
    levels = np.arange(-90, 12.01, 0.75)
    array, middles = stairs(levels)
    op = f"gate:threshold_db={threshold},range_db={range_db},knee_db={knee}"
    expected = [-range_db * min(1, max(0, (threshold - level) / knee)) for level in levels]
    np.testing.assert_allclose(gain_db(op, array)[middles], expected, atol=1e-3)


def test_gate_without_a_knee_is_open_from_its_threshold_on():
    array, middles = stairs([-40.1, -40.0, -39.9])
    closed, _, opened = gain_db("gate:threshold_db=-40,range_db=20,knee_db=0", array)[middles]
    assert (round(closed, 4), round(opened, 4)) == (-20, 0)


# Times


def steps(loud_from, loud_to, frames, quiet=1e-3):
    array = np.full(frames, quiet)
    array[loud_from:loud_to] = 1.0
    return array


@pytest.mark.parametrize(("attack", "frames"), [("0s", 32), ("5ms", 256), ("20ms", 960), ("100ms", 4800)])
def test_compressor_falls_linearly_in_decibels_and_is_done_when_the_loud_passage_begins(attack, frames):
    at = 9600
    gain = gain_db(f"compress:threshold_db=-20,ratio=2,knee_db=0,attack={attack}", steps(at, 14_400, 19_200))
    assert (gain[: at - frames + 1] == 0).all()
    edges = gain[at - frames : at + 1 : CELL]
    np.testing.assert_allclose(edges, np.linspace(0, -10, len(edges)), atol=1e-3)
    np.testing.assert_allclose(gain[at:14_400], -10, atol=1e-3)


@pytest.mark.parametrize("rate", [20, 100, 1000])
def test_compressor_rises_by_its_decibels_per_second(rate):
    gain = gain_db(
        f"compress:threshold_db=-20,ratio=2,knee_db=0,release_db_per_s={rate}", steps(0, 9600, 9600 + 48_000)
    )
    done = 9600 + 48_000 * 10 // rate
    attack = 256  # the mean over the attack rounds both ends of the release
    slope = (gain[done - 2 * CELL - attack] - gain[9600 + attack]) / (done - 9600 - 2 * attack - 2 * CELL) * RATE
    if rate < 1000:
        assert slope == pytest.approx(rate, rel=0.01)
    assert gain[9600] == pytest.approx(-10, abs=1e-3)
    assert gain[done - attack] < -0.001
    assert (gain[done + attack + CELL :] == 0).all()


def test_gate_opens_before_and_stays_for_its_hold_and_closes_at_its_rate():
    gain = gain_db(
        "gate:threshold_db=-40,range_db=20,attack=10ms,hold=100ms,release_db_per_s=200", steps(9600, 9664, 28_800)
    )
    np.testing.assert_allclose(gain[: 9600 - 480 + 1], -20, atol=1e-3)
    np.testing.assert_allclose(gain[9600 : 9664 + 4800], 0, atol=1e-3)
    assert gain[9664 + 4800 + 64] < 0
    half = 9664 + 4800 + 2400 + 240  # 10 of 20 dB at 200 dB per second, and half of the mean over the attack
    assert gain[half] == pytest.approx(-10, abs=0.3)
    np.testing.assert_allclose(gain[half + 2400 + 480 :], -20, atol=1e-3)


def test_gain_of_noise_is_that_of_the_formula_written_down_plainly():
    array = uneven(6, 9600)[:, 0]
    look, fall = 8, 300 * CELL / RATE
    cells = np.abs(array).reshape(-1, CELL).max(axis=1)
    wanted = [-compressed(20 * math.log10(level), -30, 3, 6) for level in cells] + [0.0] * look
    held = [max(wanted[max(0, k) : k + look + 1]) for k in range(-look, len(cells))]
    fallen = [max(held[j] - (k - j) * fall for j in range(k + 1)) for k in range(len(held))]
    edges = [sum(fallen[k : k + look]) / look for k in range(len(cells) + 1)]
    found = gain_db("compress:threshold_db=-30,ratio=3,attack=256f,release_db_per_s=300", array)
    np.testing.assert_allclose(found[::CELL], [-edge for edge in edges[:-1]], atol=2e-3)
    middle = [(10 ** (-a / 20) + 10 ** (-b / 20)) / 2 for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(found[CELL // 2 :: CELL], 20 * np.log10(middle), atol=2e-3)


# The arithmetic


@given(level=st.floats(1e-6, 250))
def test_curve_is_within_a_few_units_of_its_law(level):
    curve = curve_table(lambda db: max(0.0, db + 130))
    found = on_curve(curve, np.array([level])).item()
    expected = (20 * math.log10(level) + 130) * UNIT
    assert expected - 2.5 <= found <= expected + 1 or level < 2**-20


def test_curve_ends_where_its_table_does():
    curve = curve_table(lambda db: db + 130)
    low, high = on_curve(curve, np.array([0.0, 5e-324, 2.0**-20])), on_curve(curve, np.array([256.0, 1e300]))
    assert set(low.tolist()) == {curve[0]}
    assert set(high.tolist()) == {curve[-1]}


@given(st.lists(st.integers(0, 255 * UNIT), min_size=1))
def test_factors_of_three_bytes_are_the_power_of_ten(reductions):
    found = gains(factor_table(6.0), np.array(reductions))
    np.testing.assert_allclose(found, [10 ** ((6 - units / UNIT) / 20) for units in reductions], rtol=1e-13)


@given(values=st.lists(st.integers(0, 1000), min_size=1), width=st.integers(1, 20), fall=st.integers(1, 300))
def test_sliding_maximum_and_release_are_their_definitions(values, width, fall):
    array = np.array(values + [0] * 20)
    expected = [max(array[k : k + width]) for k in range(len(array) - width + 1)]
    assert sliding_maximum(array, width).tolist() == expected
    state, expected = 0, []
    for value in array.tolist():
        state = max(value, state - fall)
        expected.append(state)
    assert released(array, fall).tolist() == expected


# Refusals


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        ("compress:threshold_db=-20", "needs ratio"),
        ("compress:threshold_db=-20,ratio=0.5", "ratio is a number from 1 to 1000, not 0.5"),
        ("compress:threshold_db=-20,ratio=2,attack=11s", "attack is at most 10 s, not 11s"),
        ("gate:threshold_db=-50,hold=1000s", "hold is at most 10 s, not 1000s"),
        ("gate:threshold_db=5", "threshold_db is a number from -90 to 0"),
    ],
)
def test_parameters_out_of_range_are_refused(op, sentence):
    with pytest.raises(UsageError, match=sentence):
        Chain(op, signal_of(10))


# Others that have the same law


def piped(command, array):
    return np.frombuffer(subprocess.run(command, input=array.tobytes(), capture_output=True, check=True).stdout, "<f8")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is missing")
@pytest.mark.parametrize(("threshold", "ratio"), [(-20, 4), (-35, 2)])
def test_static_curve_is_that_of_ffmpegs_acompressor(threshold, ratio):
    levels = np.arange(-60, 0.01, 2.5)
    array, middles = stairs(levels)
    raw = f"-f f64le -ar {RATE} -ac 1"
    law = f"acompressor=threshold={threshold}dB:ratio={ratio}:knee=1:attack=0.01:release=0.01:detection=peak"
    theirs = piped(f"ffmpeg -v error {raw} -i - -af {law} {raw} -".split(), array)
    ours = applied(f"compress:threshold_db={threshold},ratio={ratio},knee_db=0", array)[:, 0]
    np.testing.assert_allclose(20 * np.log10(ours[middles] / theirs[middles]), 0, atol=0.01)


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is missing")
def test_static_curve_is_that_of_soxs_compand():
    levels = np.arange(-60, -0.99, 2.5)
    array, middles = stairs(levels)
    raw = f"-t f64 -r {RATE} -c 1"
    theirs = piped(f"sox -D {raw} - {raw} - compand 0.0001,0.0001 -90,-90,-30,-30,0,-20".split(), array)
    ours = applied("compress:threshold_db=-30,ratio=3,knee_db=0", array)[:, 0]
    np.testing.assert_allclose(20 * np.log10(ours[middles] / theirs[middles]), 0, atol=0.01)
