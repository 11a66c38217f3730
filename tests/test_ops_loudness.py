import math

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops.energies import cell_frames, energies, k_weighting, weights
from zaudio.ops.graph import Graph
from zaudio.ops.loudness import Loudness
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

pytest.importorskip("scipy.signal")

RATE = 48_000


def signal_of(array, samplerate=RATE):
    name = {4: "f32le", 8: "f64le"}[array.itemsize] if array.dtype.kind == "f" else "s16le"
    return Signal(len(array), array.shape[1], samplerate, sample_format(name))


def cells_of(array, op, samplerate=RATE, grid=None, blocks=None):
    """Return the cells as a graph with that grid computes them, so many cells a call."""
    signal = signal_of(array, samplerate)
    graph = Graph((kernel_of(kernel_step(op)),), signal, grid or op.grid(signal))
    step, pieces = blocks or graph.output.frames or 1, []
    for start in range(0, graph.output.frames, step):
        stop = min(start + step, graph.output.frames)
        low, high = graph.needs(start, stop)
        pieces.append(graph(array[low:high], low, start, stop))
    return np.concatenate(pieces) if pieces else np.empty((0, graph.output.channels))


def measured(array, samplerate=RATE, *, momentary=True, peaks=True):
    signal = signal_of(array, samplerate)
    op = energies(signal, momentary=momentary, peaks=peaks)
    return Loudness.of(cells_of(array, op, samplerate), signal, op)


def tones(*pieces, channels=2, hz=1000, samplerate=RATE):
    """Return a sine in pieces of (dBFS, seconds), the same in all channels; the phase runs on."""
    level = np.concatenate([np.full(round(seconds * samplerate), 10 ** (db / 20)) for db, seconds in pieces])
    sine = level * np.sin(2 * np.pi * hz / samplerate * np.arange(len(level)))
    return np.repeat(sine[:, None], channels, axis=1).astype(np.float32)


def noise(frames, channels=1, seed=1):
    return (np.random.default_rng(seed).standard_normal((frames, channels)) * 0.1).astype(np.float32)


# K-weighting


def test_k_weighting_has_the_coefficients_of_the_standard_at_48_khz():
    shelf = (1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585)
    high_pass = (1, -2, 1, 1, -1.99004745483398, 0.99007225036621)
    for section, expected in zip(k_weighting(48_000), (shelf, high_pass), strict=True):
        assert section == pytest.approx(expected, abs=2e-12)


@pytest.mark.parametrize("samplerate", [8000, 11_025, 22_050, 44_100, 96_000])
def test_a_full_scale_sine_of_997_hz_is_at_minus_3_at_every_samplerate(samplerate):
    result = measured(tones((0, 3), channels=1, hz=997, samplerate=samplerate), samplerate)
    assert result.integrated == pytest.approx(-3.01, abs=0.05)


def test_the_effects_channel_does_not_count_and_surrounds_count_more():
    assert weights(6) == (1, 1, 1, 0, 1.41, 1.41)
    assert weights(1) + weights(2) == (1, 1, 1)
    assert weights(17) == (1,) * 17
    quiet = np.zeros((RATE, 6), np.float32)
    levels = []
    for channel in range(6):
        array = quiet.copy()
        array[:, channel] = tones((-20, 1), channels=1)[:, 0]
        levels.append(measured(array).integrated)
    assert levels[3] is None
    assert levels[4] - levels[0] == pytest.approx(10 * math.log10(1.41), abs=1e-9)
    assert levels[0] == levels[1] == levels[2]


def test_a_samplerate_below_the_shelf_is_refused():
    with pytest.raises(UsageError, match="4000 Hz or more, not 3999 Hz; put resample:hz=8000 in front"):
        energies(Signal(9, 1, 3999, sample_format("f32le")))


# EBU Tech 3341, table 1


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (((-23, 20),), -23),
        (((-33, 20),), -33),
        (((-36, 10), (-23, 60), (-36, 10)), -23),
        (((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)), -23),
        (((-26, 20), (-20, 20.1), (-26, 20)), -23),
    ],
)
def test_integrated_loudness_of_tech_3341_cases_1_to_5(pieces, expected):
    result = measured(tones(*pieces), peaks=False)
    assert result.integrated == pytest.approx(expected, abs=0.1)
    if len(pieces) == 1:
        assert result.momentary == pytest.approx(expected, abs=0.1)
        assert result.short_term == pytest.approx(expected, abs=0.1)


def test_integrated_loudness_of_tech_3341_case_6_with_five_channels():
    levels = (-28, -28, -24, -30, -30)
    array = np.concatenate([tones((db, 20), channels=1) for db in levels], axis=1)
    assert measured(array, peaks=False).integrated == pytest.approx(-23, abs=0.1)


def test_short_term_maximum_of_tech_3341_case_9():
    assert measured(tones(*[(-20, 1.34), (-30, 1.66)] * 5), peaks=False).short_term == pytest.approx(-23, abs=0.1)


def test_short_term_maximum_of_tech_3341_case_10():
    for delay in (0, 1, 9, 19):
        array = tones((-200, delay * 0.15 + 1e-9), (-23, 3), (-200, 1))
        assert measured(array, peaks=False).short_term == pytest.approx(-23, abs=0.1)


def test_momentary_maximum_of_tech_3341_case_12():
    assert measured(tones(*[(-20, 0.18), (-30, 0.22)] * 25), peaks=False).momentary == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("samplerate", [RATE, 44_100, 22_050])  # a cell of 2205 frames has parts of unequal length
def test_momentary_maximum_of_tech_3341_case_13(samplerate):
    for delay in range(20):
        array = tones((-200, delay * 0.02), (-23, 0.4), (-200, 1), samplerate=samplerate)
        assert measured(array, samplerate, peaks=False).momentary == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    ("divisor", "degrees", "amplitude", "expected"),
    [(4, 0, 0.5, -6), (4, 45, 0.5, -6), (6, 60, 0.5, -6), (8, 67.5, 0.5, -6), (4, 45, 1.41, 3)],
)
def test_true_peak_of_tech_3341_cases_15_to_19(divisor, degrees, amplitude, expected):
    angles = 2 * np.pi / divisor * np.arange(RATE) + math.radians(degrees)
    ramp = np.minimum(1, np.minimum(np.arange(RATE), np.arange(RATE)[::-1]) / 2000)  # as at Tech 3341: no click
    array = np.repeat((amplitude * ramp * np.sin(angles))[:, None], 2, axis=1).astype(np.float32)
    assert expected - 0.4 <= measured(array).true_peak <= expected + 0.2


@pytest.mark.parametrize(("name", "length", "step"), [("short_term", 3, 0.15), ("momentary", 0.4, 0.02)])
def test_successive_maxima_of_tech_3341_cases_11_and_14(name, length, step):
    pieces = [[(-200, i * step), (i - 38, length), (-200, length - i * step)] for i in range(20)]
    array = np.concatenate([tones(*piece) for piece in pieces])
    op = energies(signal_of(array), momentary=True, peaks=False)
    cells = cells_of(array, op)
    for i in range(20):  # what has been played up to the end of the piece, as a meter shows it while it plays
        played = array[: round(2 * length * RATE) * (i + 1)]
        result = Loudness.of(cells[: len(played) // cell_frames(RATE)], signal_of(played), op)
        assert getattr(result, name) == pytest.approx(i - 38, abs=0.1)


@pytest.mark.parametrize("offset", range(4))
def test_true_peak_of_tech_3341_cases_20_to_23(offset):
    from scipy.signal import resample_poly

    tone = 0.5 * np.sin(2 * np.pi / 24 * np.arange(24 * 400))  # fs/6, at four times the samplerate
    loud = np.sin(2 * np.pi / 16 * np.arange(16))  # one period of fs/4, at full scale
    array = resample_poly(np.concatenate([tone, loud, tone])[offset:], 1, 4)[20:-20]  # without the edges: they click
    result = measured(np.repeat(array[:, None], 2, axis=1).astype(np.float32))
    assert -0.4 <= result.true_peak <= 0.2


# EBU Tech 3342, table 1


@pytest.mark.parametrize(
    ("levels", "expected"), [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)]
)
def test_loudness_range_of_tech_3342_cases_1_to_4(levels, expected):
    assert measured(tones(*((db, 20) for db in levels)), peaks=False).range == pytest.approx(expected, abs=1)


# others


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("samplerate", [RATE, 44_100])
def test_integrated_loudness_is_that_of_pyloudnorm(channels, samplerate):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    array = noise(9 * samplerate + 123, channels) * np.linspace(0.01, 1, 9 * samplerate + 123)[:, None]
    expected = pyloudnorm.Meter(samplerate, filter_class="DeMan").integrated_loudness(array.astype(np.float64))
    assert measured(array.astype(np.float32), samplerate, peaks=False).integrated == pytest.approx(expected, abs=0.01)


def test_integrated_loudness_is_that_of_the_formula_without_blocks():
    from scipy.signal import sosfilt

    array = (noise(20 * RATE, 2) * np.linspace(0, 1, 20 * RATE)[:, None] ** 3).astype(np.float32)
    filtered = sosfilt(np.array(k_weighting(RATE)), array.astype(np.float64), axis=0)
    starts = range(0, 20 * RATE - 4 * 4800 + 1, 4800)
    powers = [float((filtered[start : start + 19_200] ** 2).mean(axis=0).sum()) for start in starts]
    loud = [power for power in powers if -0.691 + 10 * math.log10(power) >= -70]
    gate = sum(loud) / len(loud) / 10
    loud = [power for power in loud if power >= gate]
    assert 10 < len(loud) < len(powers)
    expected = -0.691 + 10 * math.log10(sum(loud) / len(loud))
    assert measured(array, peaks=False).integrated == pytest.approx(expected, abs=1e-9)


# cuts


@pytest.mark.parametrize("momentary", [False, True])
@pytest.mark.parametrize("peaks", [False, True])
def test_no_grid_and_no_cut_changes_a_cell(momentary, peaks):
    array = noise(8000 * 29 + 77, 2)
    op = energies(signal_of(array, 8000), momentary=momentary, peaks=peaks)
    assert op.grid(signal_of(array, 8000)) == 64
    whole = cells_of(array, op, 8000)
    assert len(whole) == 291
    for grid, blocks in ((64, 64), (128, 128), (37, 74), (512, None)):
        assert cells_of(array, op, 8000, grid, blocks).tobytes() == whole.tobytes()
    graph = Graph((op,), signal_of(array, 8000), 1)
    for cell in (0, 1, 62, 63, 64, 65, 127, 128, 289, 290):
        low, high = graph.needs(cell, cell + 1)
        assert graph(array[low:high], low, cell, cell + 1).tobytes() == whole[cell : cell + 1].tobytes()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_measured_each_by_itself(channels):
    array = noise(8000 * 3 + 5, channels)
    whole = cells_of(array, energies(signal_of(array, 8000), peaks=True), 8000)
    for channel in range(channels):
        own = array[:, channel : channel + 1].copy()
        cells = cells_of(own, energies(signal_of(own, 8000), peaks=True), 8000)
        if not weights(channels)[channel]:
            cells[:, 0] = 0
        assert cells.tobytes() == whole[:, [channel, channels + channel]].tobytes()


def test_a_block_of_many_channels_is_shorter():
    op = energies(Signal(9, 1, RATE, sample_format("f32le")))
    grids = [op.grid(Signal(9, channels, rate, sample_format("f32le"))) for channels, rate in PLACES]
    assert grids == [64, 64, 32, 16, 8]


PLACES = ((1, RATE), (2, RATE), (6, RATE), (2, 192_000), (64, 192_000))


def test_the_gap_between_a_peak_and_its_measurement_does_not_lose_the_last_peak():
    array = np.zeros((4800, 1), np.float32)
    array[-2:] = 0.9  # between the two, and behind them, the curve passes 0.9
    assert measured(array).true_peak > 20 * math.log10(0.95)


# short, silent and odd recordings


def test_a_recording_of_no_frames_has_no_loudness():
    result = measured(np.empty((0, 2), np.float32))
    assert (result.integrated, result.range, result.momentary, result.short_term) == (None,) * 4
    assert result.true_peaks == (None, None)
    assert result.is_too_short


@pytest.mark.parametrize(("frames", "too_short"), [(1, True), (19_199, True), (19_200, False)])
def test_less_than_400_ms_is_too_short(frames, too_short):
    result = measured(tones((-20, 1), channels=1)[:frames])
    assert result.is_too_short == too_short
    assert (result.integrated is None) == too_short
    assert (result.momentary is None) == too_short
    assert result.short_term is None


def test_silence_has_no_loudness():
    result = measured(np.zeros((5 * RATE, 1), np.float32))
    assert result.integrated is result.range is result.momentary is result.short_term is result.true_peak is None
    assert not result.is_too_short


def test_what_is_not_finite_is_measured_as_0():
    array = tones((-20, 4), channels=1)
    odd, clean = array.copy(), array.copy()
    odd[5000:5003, 0] = (np.nan, np.inf, -np.inf)
    clean[5000:5003] = 0
    assert measured(odd) == measured(clean)


def test_integers_are_measured_at_full_scale_1():
    array = tones((-20, 4), channels=1)
    integers = np.rint(array * 32768).astype(np.int16)
    assert measured(integers).integrated == pytest.approx(measured(array).integrated, abs=1e-3)


def test_levels_beyond_any_audio_are_no_error():
    result = measured(np.full((RATE, 6), 1e300))
    assert result.integrated is None
    assert result.true_peak > 5900


def test_a_cell_is_rounded_to_whole_frames():
    assert [cell_frames(rate) for rate in (44_100, 48_000, 11_025, 22_050, 8001, 1)] == [4410, 4800, 1103, 2205, 800, 1]


def test_it_is_said_in_plain_values():
    result = measured(tones((-20, 4)))
    assert result.to_json()["integrated_lufs"] == result.integrated
    assert result.to_json()["true_peaks_dbtp"] == [result.true_peak, result.true_peak]
    assert result.to_json()["seconds"] == 4
