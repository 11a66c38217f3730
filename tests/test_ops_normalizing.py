import itertools
import math

import numpy as np
import pytest

from zaudio.formats import sample_format
from zaudio.ops.catalogue import make_op
from zaudio.ops.chain import Chain, Course, graph_of, make_ops
from zaudio.ops.energies import energies
from zaudio.ops.functions import import_allowed
from zaudio.ops.graph import Graph
from zaudio.ops.loudness import Loudness
from zaudio.ops.normalizing import CELL, SamplePeaks, Sums, TruePeaks
from zaudio.ops.spec import parse, parse_chain
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.ops.truepeak import HISTORY, true_peaks
from zaudio.signal import Signal

NAMES = {"float32": "f32le", "float64": "f64le", "int16": "s16le", "int32": "s32le"}


def signal_of(array, samplerate=44_100):
    return Signal(len(array), array.shape[1], samplerate, sample_format(NAMES[array.dtype.name]))


def chain(spec, array, samplerate=44_100):
    """Return the result and the sentence."""
    run = Chain(spec, signal_of(array, samplerate))
    result = run(array)
    return result, " ".join(run.sentences)


def noise(frames, channels=1, level=0.1, seed=1):
    return (np.random.default_rng(seed).standard_normal((frames, channels)) * level).astype(np.float32)


def integrated(array, samplerate=44_100):
    signal = signal_of(array, samplerate)
    op = energies(signal, peaks=True)
    graph = Graph((op,), signal, op.grid(signal))
    return Loudness.of(graph(array, 0, 0, graph.output.frames), signal, op)


# normalize


@pytest.mark.parametrize("type", ["float32", "float64", "int16", "int32"])
@pytest.mark.parametrize("db", [-1, -6.5, 0])
@pytest.mark.parametrize("sign", [1, -1])
def test_normalize_brings_the_peak_exactly_to_its_level(type, db, sign):
    array = np.clip(noise(CELL + 77, 2), -0.3, 0.3)
    array[1234, 1] = 0.4 * sign
    full = 1 if type.startswith("f") else np.iinfo(type).max + 1
    array = (array * full).astype(type)
    result, sentence = chain(f"normalize:db={db}", array)
    wanted = 10 ** (db / 20) * full
    if full > 1:
        wanted = min(round(wanted), full - 1)
    peak = np.abs(result.astype(np.float64)).max()
    assert peak == np.array(wanted, type) or (type == "float64" and abs(peak - wanted) <= np.spacing(wanted))
    assert sentence == f"normalize: the peak is -7.96 dBFS, the gain is {db + 7.9588:+.2f} dB"


def test_normalize_of_integers_at_full_scale_clips_nothing():
    array = np.array([[-32768], [32767], [5]], np.int16)
    run = Chain("normalize:db=0", signal_of(array))
    assert run(array)[:, 0].tolist() == [-32767, 32766, 5]
    assert run.counts.clipped == 0


def test_normalize_by_the_true_peak_leaves_room_between_the_samples():
    angles = np.pi / 2 * np.arange(20_000) + np.pi / 4
    array = (0.5 * np.hanning(20_000) * np.sin(angles))[:, None].astype(np.float32)
    result, sentence = chain("normalize:db=-3,peak=true", array)
    padded = np.concatenate((np.zeros((HISTORY, 1)), result.astype(np.float64), np.zeros((HISTORY, 1))))
    assert 20 * math.log10(true_peaks(padded, len(padded) - HISTORY)[0, 0]) == pytest.approx(-3, abs=1e-6)
    assert np.abs(result).max() < 10 ** (-3 / 20) * 0.75
    assert " dBTP, the gain is +" in sentence


@pytest.mark.parametrize("peak", ["sample", "true"])
def test_normalize_leaves_silence_as_it_is(peak):
    for frames, words in ((5, "the recording is silence"), (0, "there are no frames")):
        result, sentence = chain(f"normalize:peak={peak}", np.zeros((frames, 2), np.float32))
        assert not result.any()
        assert result.shape == (frames, 2)
        assert sentence == f"normalize: {words}, so there is no gain"


def test_normalize_does_not_measure_what_is_not_finite():
    array = np.array([[0.5], [np.nan], [np.inf], [-0.25]], np.float32)
    result, _ = chain("normalize:db=0", array)
    assert result[[0, 3], 0].tolist() == [1, -0.5]
    assert np.isnan(result[1, 0])
    assert np.isinf(result[2, 0])


def test_a_gain_above_60_db_is_limited_and_said():
    result, sentence = chain("normalize:db=0", np.full((3, 1), 1e-5, np.float32))
    assert result[:, 0].tolist() == pytest.approx([0.01] * 3)
    assert "+60.00 dB, the most that there is, in place of 100.00 dB" in sentence
    assert chain("normalize:db=0", np.full((3, 1), 5e-324, np.float64))[0].max() < 1e-300


# loudnorm


def test_loudnorm_brings_a_recording_to_its_loudness():
    array = noise(10 * 44_100, 2, 0.02)
    before = integrated(array)
    result, sentence = chain("loudnorm:lufs=-23", array)
    assert integrated(result).integrated == pytest.approx(-23, abs=1e-4)
    assert sentence == (
        f"loudnorm: {before.integrated:.2f} LUFS, true peak {before.true_peak:.2f} dBTP; "
        f"the gain is {-23 - before.integrated:+.2f} dB"
    )


def test_loudnorm_makes_quieter_too():
    assert integrated(chain("loudnorm:lufs=-40", noise(44_100, 1, 0.2))[0]).integrated == pytest.approx(-40, abs=1e-4)


def test_loudnorm_lowers_the_gain_to_the_ceiling_and_says_by_how_much():
    array = noise(5 * 44_100, 1, 0.02)
    array[99_999] = 0.5
    before = integrated(array)
    result, sentence = chain("loudnorm:lufs=-16,ceiling_db=-2", array)
    after = integrated(result)
    assert after.true_peak == pytest.approx(-2, abs=1e-5)
    lowered = (-16 - before.integrated) - (-2 - before.true_peak)
    assert lowered > 3
    assert f", {lowered:.2f} dB less than -16 LUFS needs, for the ceiling of -2 dBTP" in sentence
    assert f"the result has {after.integrated:.2f} LUFS" in sentence
    raised = float(sentence.rpartition("ceiling_db=")[2])
    assert "limit:db=-2 behind" in sentence
    again, words = chain(f"loudnorm:lufs=-16,ceiling_db={raised}", array)
    assert "less than" not in words
    assert integrated(again).integrated == pytest.approx(-16, abs=1e-4)
    assert "put a limit:db=0 behind" in chain("loudnorm:lufs=-16,ceiling_db=1", array)[1]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (0, "there are no frames"),
        (1, "its 0.000 s are too short: a measurement needs 0.4 s"),
        (17_639, "its 0.400 s are too short: a measurement needs 0.4 s"),
    ],
)
def test_loudnorm_leaves_a_short_recording_as_it_is(frames, words):
    array = noise(frames)
    result, sentence = chain("loudnorm", array)
    assert result.tobytes() == array.tobytes()
    assert sentence.startswith(f"loudnorm: {words}")
    assert sentence.endswith("so there is no gain")


@pytest.mark.parametrize("level", [0, 1e-5])
def test_loudnorm_leaves_silence_as_it_is(level):
    array = noise(44_100, 2, level)
    result, sentence = chain("loudnorm", array)
    assert result.tobytes() == array.tobytes()
    assert sentence == "loudnorm: nothing is above -70 LUFS, so there is no gain"


@pytest.mark.parametrize("spec", ["loudnorm", "normalize:peak=true", "removedc"])
def test_levels_beyond_any_audio_stay_as_they_are(spec):
    array = np.full((44_100, 1), 1.7e308)
    array[::2] *= -1
    result, sentence = chain(spec, array)
    assert result.tobytes() == array.tobytes()
    assert "beyond float64, so there is no gain" in sentence or "too great to be summed" in sentence


# removedc


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_removedc_leaves_no_mean(channels):
    array = noise(3 * CELL + 17, channels).astype(np.float64) + np.arange(1, channels + 1) / 10
    result, sentence = chain("removedc", array)
    for channel in range(channels):
        assert abs(math.fsum(result[:, channel]) / len(result)) < 1e-12
        assert np.ptp(result[:, channel]) == pytest.approx(np.ptp(array[:, channel]))
    assert sentence.startswith(f"removedc: the mean is {math.fsum(array[:, 0]) / len(array):.3g}")


def test_removedc_of_integers_rounds_to_the_nearest():
    array = np.array([[100, 0], [101, 0], [102, 0]], np.int16)
    assert chain("removedc", array)[0].tolist() == [[-1, 0], [0, 0], [1, 0]]


def test_removedc_of_nothing_and_of_one_frame():
    assert chain("removedc", np.zeros((0, 2), np.float32))[0].shape == (0, 2)
    assert chain("removedc", np.full((1, 2), 0.3, np.float32))[0].tolist() == [[0, 0]]


def test_removedc_does_not_sum_what_is_not_finite():
    array = np.array([[1.0], [np.nan], [2.0], [-np.inf]], np.float64)
    assert chain("removedc", array)[0][[0, 2], 0].tolist() == [0.25, 1.25]


# cells


@pytest.mark.parametrize("op", [SamplePeaks(), TruePeaks(), Sums()])
@pytest.mark.parametrize("frames", [1, CELL - HISTORY, CELL - 1, CELL, CELL + 1, 3 * CELL + 17])
def test_no_cut_changes_a_cell(op, frames):
    array = noise(frames, 2)
    signal, op = signal_of(array), kernel_of(kernel_step(op))
    whole = Graph((op,), signal, 1)
    cells = whole(array, 0, 0, whole.output.frames)
    for step, grid in itertools.product((1, 2), (1, 2)):
        graph = Graph((op,), signal, grid)
        for start in range(0, len(cells), step * grid):
            stop = min(start + step * grid, len(cells))
            low, high = graph.needs(start, stop)
            assert graph(array[low:high], low, start, stop).tobytes() == cells[start:stop].tobytes()


def test_the_peak_of_a_recording_whose_end_is_that_of_a_cell_is_found():
    array = np.zeros((CELL, 1), np.float32)
    array[-2:] = 0.9
    signal = signal_of(array)
    graph = Graph((TruePeaks(),), signal, 1)
    assert graph(array, 0, 0, graph.output.frames).max() > 0.95


@pytest.mark.parametrize("name", ["normalize", "loudnorm", "removedc"])
def test_an_op_that_measures_travels_as_one_number_a_channel(name):
    array = noise(44_100, 2)
    signal = signal_of(array)
    op = make_op(parse(name))
    kernel = op.measure(signal)
    graph = Graph((kernel_of(kernel_step(kernel)),), signal, kernel.grid(signal))
    step = kernel_step(op.combine(graph(array, 0, 0, graph.output.frames), signal).op)
    assert len(step.params) + sum(len(table.numbers) // 16 for table in step.tables) == 1


@pytest.mark.parametrize("spec", ["loudnorm", "normalize", "normalize:peak=true", "removedc"])
def test_no_cut_changes_what_is_measured_behind_a_filter(spec):
    array = noise(8000 * 60 + 7, 2)
    ops = make_ops(parse_chain(["highpass:hz=200", spec]), import_allowed([]))
    stage = Course(ops, signal_of(array, 8000)).measuring
    whole = stage.graph()(array, 0, 0, stage.graph().output.frames)
    assert len(whole) > 3 * stage.grid
    for chunk in (stage.grid, 3 * stage.grid):
        graph = graph_of(stage.steps, stage.signal, stage.grid, import_allowed([]))
        for start in reversed(range(0, len(whole), chunk)):
            stop = min(start + chunk, len(whole))
            low, high = graph.needs(start, stop)
            assert graph(array[low:high], low, start, stop).tobytes() == whole[start:stop].tobytes()


def test_a_recording_measured_behind_other_ops_is_what_they_made_of_it():
    result, sentence = chain(["gain:db=-20", "normalize:db=-1"], np.full((10, 1), 0.5, np.float32))
    assert result[0, 0] == np.float32(10 ** (-1 / 20))
    assert sentence == "normalize: the peak is -26.02 dBFS, the gain is +25.02 dB"
