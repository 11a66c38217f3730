import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.formats import sample_format
from zaudio.ops.chain import _pass
from zaudio.ops.graph import Graph
from zaudio.ops.levels import Scale
from zaudio.ops.statistics import Stats, Tallies
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

NAMES = {"float32": "f32", "float64": "f64", "int16": "s16", "int32": "s32"}
RATE = 1000  # a piece is 10 frames, a cell 1000


def signal_of(array, samplerate=RATE):
    order = "be" if array.dtype.byteorder == ">" else "le"
    return Signal(len(array), array.shape[1], samplerate, sample_format(NAMES[array.dtype.name] + order))


def cells_of(array, samplerate=RATE, step=None):
    graph = Graph((kernel_of(kernel_step(Tallies())),), signal_of(array, samplerate), 0)
    pieces, frames = [], graph.output.frames
    for start in range(0, frames, step or frames or 1):
        stop = min(start + (step or frames), frames)
        low, high = graph.needs(start, stop)
        pieces.append(graph(array[low:high], low, start, stop))
    return np.concatenate(pieces) if pieces else np.empty((0, graph.output.channels))


def stats(array, samplerate=RATE):
    return Stats.of(cells_of(array, samplerate), signal_of(array, samplerate))


def column(values, type=np.float32):
    return np.array(values, type).reshape(-1, 1)


def test_levels_of_a_sine_are_those_of_its_formula():
    sine = 0.5 * np.sin(2 * np.pi * 10 / RATE * np.arange(5 * RATE)) + 0.25
    channel = stats(column(sine)).channels[0]
    assert channel.peak == pytest.approx(20 * math.log10(0.75))
    assert channel.rms == pytest.approx(10 * math.log10(0.125 + 0.0625))
    assert channel.dc == pytest.approx(0.25)
    assert (channel.least, channel.greatest) == (-0.25, 0.75)
    assert (channel.clipped, channel.not_finite, channel.silent) == (0, 0, 0)


@pytest.mark.parametrize("type", [np.int16, np.int32])
def test_integers_at_either_end_of_their_range_are_clipped(type):
    limits = np.iinfo(type)
    channel = stats(column([limits.min, limits.min + 1, 0, limits.max - 1, limits.max], type)).channels[0]
    assert channel.clipped == 2
    assert channel.peak == 0
    assert channel.greatest == limits.max / (limits.max + 1)


def test_floats_at_or_beyond_full_scale_are_clipped():
    channel = stats(column([-2, -1, -0.9999, 0.9999, 1, 1.5])).channels[0]
    assert channel.clipped == 4
    assert channel.peak == pytest.approx(6.0206, abs=1e-4)


def test_what_is_not_finite_is_counted_and_is_0_elsewhere():
    channel = stats(column([np.nan, np.inf, -np.inf, 0.5])).channels[0]
    assert channel.not_finite == 3
    assert channel.clipped == 0
    assert (channel.least, channel.greatest, channel.dc) == (0, 0.5, 0.125)


def test_levels_beyond_any_audio_are_no_error():
    result = stats(column([1e308, -1e308, 1e200, 1e308], np.float64))
    assert result.channels[0].clipped == 4
    assert json.dumps(result.to_json(), allow_nan=False)


def test_silence_is_measured_in_pieces_of_10_ms_at_either_end_and_within():
    levels = [(0.0009, 1500), (0.5, 300), (0.00099, 2000), (-0.5, 3), (0, 1234)]
    array = column(np.concatenate([np.full(frames, level) for level, frames in levels]))
    channel = stats(array).channels[0]
    assert channel.leading == pytest.approx(1.5)
    assert channel.trailing == pytest.approx(1.227)  # the loud piece has seven silent frames
    assert channel.silent == pytest.approx(1.5 + 2 + 1.227)


def test_a_recording_of_silence_is_silent_from_end_to_end():
    channel = stats(np.zeros((2345, 2), np.float32)).channels[1]
    assert (channel.leading, channel.trailing, channel.silent) == (2.345, 2.345, 2.345)
    assert channel.peak is channel.rms is None


def test_a_recording_of_no_frames_has_no_level():
    result = stats(np.empty((0, 2), np.float32))
    assert result.peak is None
    assert result.channels[0].silent == result.channels[0].clipped == result.channels[0].dc == 0


def test_channels_are_told_apart():
    result = stats(np.array([[0.1, -1, 0]] * 12, np.float32))
    assert [channel.clipped for channel in result.channels] == [0, 12, 0]
    assert [channel.silent for channel in result.channels] == [0, 0, 0.012]
    assert result.peak == 0


@pytest.mark.parametrize("type", ["<f4", ">f4", "<i2", ">i2", ">f8", ">i4"])
def test_the_byte_order_changes_nothing(type):
    array = (np.random.default_rng(3).standard_normal((2500, 2)) * (0.3 if "f" in type else 9000)).astype(type)
    assert stats(array).channels == stats(array.astype(array.dtype.newbyteorder("="))).channels


@given(frames=st.integers(0, 4500), step=st.integers(1, 6), channels=st.sampled_from([1, 2, 6]))
def test_no_cut_changes_a_cell(frames, step, channels):
    array = (np.random.default_rng(frames).standard_normal((frames, channels)) * 0.4).astype(np.float32)
    assert cells_of(array, step=step).tobytes() == cells_of(array).tobytes()


@pytest.mark.parametrize("samplerate", [1, 99, 100, 101, 44_100])
def test_any_samplerate_has_cells_of_about_a_second(samplerate):
    array = np.full((5000, 1), 0.5, np.float32)
    result = stats(array, samplerate)
    assert result.seconds == 5000 / samplerate
    assert result.channels[0].dc == 0.5
    assert stats(array * 0, samplerate).channels[0].leading == 5000 / samplerate


def test_samples_are_counted_as_the_result_would_store_them():
    array = column([20_000, 10_000], np.int16)
    stage = _pass((Scale(2.0), Tallies()), signal_of(array))
    graph = stage.graph()
    result = Stats.of(graph(array, 0, 0, graph.output.frames), signal_of(array))
    assert result.channels[0].clipped == 1
    assert result.channels[0].greatest == 32_767 / 32_768


def test_it_is_said_in_plain_values_with_their_units():
    result = json.loads(json.dumps(stats(np.zeros((10, 2), np.float32)).to_json(), allow_nan=False))
    assert result["frames"] == 10
    assert result["channels"][1]["peak_dbfs"] is None
    assert result["channels"][1]["leading_silence_seconds"] == 0.01
