"""denoise: noise falls, sound stays, the gain never jumps, and no cut changes a bit."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import denoising
from zaudio.ops.chain import Chain, Course
from zaudio.ops.contract import Kernel, arrays
from zaudio.ops.denoising import Denoise, NoisePower, SpectralGate
from zaudio.ops.graph import Graph
from zaudio.ops.levels import Scale
from zaudio.ops.spectra import hann
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

TONES = {220: 0.2, 1000: 0.1, 3333: 0.05}
SIZE = 512  # of a window at 8 kHz


@dataclass(frozen=True)
class Average(Kernel):
    """A filter with memory: the mean of a frame, the two before it and the one behind it."""

    def context(self, signal):
        return 2, 1

    def apply(self, samples, place, state):
        mean = (samples[:-3] + samples[1:-2] + samples[2:-1] + samples[3:]) / 4.0
        return mean[place.start - place.first - 2 :][: place.stop - place.start]


def signal_of(frames, samplerate=8000, channels=1, name="f64le"):
    return Signal(frames, channels, samplerate, sample_format(name))


def hiss(frames, channels=1, db=-40.0, seed=1):
    return np.random.default_rng(seed).standard_normal((frames, channels)) * 10 ** (db / 20)


def bursts(frames, samplerate):
    """Return tones that sound for a second, with a pause of a second behind each."""
    t = np.arange(frames) / samplerate
    soft = np.clip(np.minimum(t % 2, 1 - t % 2) * 50, 0, 1)  # 20 ms
    return (soft * sum(level * np.sin(2 * np.pi * hz * t) for hz, level in TONES.items()))[:, None]


def within(frames, samplerate, start, stop):
    """Return whether a frame is that far into a burst and its pause, in seconds."""
    t = np.arange(frames) / samplerate % 2
    return (t > start) & (t < stop)


def denoised(array, spec="denoise", samplerate=8000):
    return Chain(spec, signal_of(len(array), samplerate, array.shape[1]))(array)


def decibels(ratio):
    return 20 * math.log10(ratio)


# The sound


@pytest.mark.parametrize("samplerate", [8000, 16000, 44100])
@pytest.mark.parametrize(
    "spec", ["reduction_db=12", "reduction_db=20", "reduction_db=18,noise_start=1.2s,noise_length=600ms"]
)
def test_noise_falls_in_the_pauses_and_tones_stay(samplerate, spec):
    frames = 16 * samplerate
    noise = hiss(frames)
    array = bursts(frames, samplerate) + noise
    result = denoised(array, f"denoise:{spec}", samplerate)
    reduction = float(spec.split(",")[0].split("=")[1])
    pause = within(frames, samplerate, 1.25, 1.75)
    fall = decibels(np.std(noise[pause]) / np.std(result[pause]))
    assert reduction - 1 <= fall <= reduction + 0.01
    sounding = within(frames, samplerate, 0.2, 0.8)
    t = np.arange(frames)[sounding] / samplerate
    for hz, level in TONES.items():
        heard = 2 * abs(np.mean(result[sounding, 0] * np.exp(-2j * np.pi * hz * t)))
        assert abs(decibels(heard / level)) < 0.1


def test_the_onset_and_the_end_of_a_sound_are_kept():
    frames = 16 * 8000
    tones = bursts(frames, 8000)
    result = denoised(tones + hiss(frames, db=-60), "denoise:reduction_db=30")
    for start, stop in ((0, 0.03), (0.97, 1.0)):
        edge = within(frames, 8000, start, stop)
        assert np.std((result - tones)[edge]) < 0.03 * np.std(tones[edge])


def test_hum_without_a_pause_counts_as_noise():
    frames = 20 * 8000
    hum = 0.05 * np.sin(2 * np.pi * 100 * np.arange(frames) / 8000)[:, None]
    result = denoised(hum + hiss(frames, db=-70), "denoise:reduction_db=24")
    assert decibels(np.std(hum) / np.std(result[2000:-2000])) > 23


def test_each_channel_is_measured_and_gated_by_itself():
    frames = 16 * 8000
    array = np.concatenate([bursts(frames, 8000) + hiss(frames), hiss(frames, db=-60, seed=2)], axis=1)
    array = np.concatenate([array, np.zeros((frames, 1))], axis=1)
    together = denoised(array)
    for channel in range(3):
        alone = denoised(np.ascontiguousarray(array[:, channel : channel + 1]))
        assert np.array_equal(alone[:, 0], together[:, channel])


def test_no_reduction_gives_the_recording_back_up_to_both_ends():
    array = hiss(30_011, 2, db=-6)
    assert np.abs(denoised(array, "denoise:reduction_db=0") - array).max() < 1e-15


def test_a_recording_of_half_the_level_gives_half_the_result_bit_for_bit():
    array = bursts(60_000, 8000) + hiss(60_000)
    assert np.array_equal(denoised(array / 2), denoised(array) / 2)


@pytest.mark.parametrize("frames", [0, 1, SIZE // 4, SIZE - 1, SIZE, SIZE + 1, 997])
def test_a_recording_too_short_to_measure_stays_as_it_is(frames):
    array = hiss(frames, 2)
    chain = Chain("denoise", signal_of(frames, channels=2))
    result = chain(array)
    assert chain.sentences == ("denoise: no noise found",)
    assert result.shape == array.shape
    assert np.allclose(result, array, atol=1e-15, rtol=0)


@pytest.mark.parametrize("samplerate", [1, 7, 1600])
def test_a_samplerate_far_below_any_audio_is_no_error(samplerate):
    array = hiss(1000)
    assert Chain("denoise", signal_of(1000, samplerate))(array).shape == array.shape


def test_silence_stays_silent():
    result = denoised(np.zeros((50_000, 1)))
    assert not result.any()


def test_not_a_number_is_read_as_silence_and_counted():
    array = hiss(60_000)
    array[30_000] = np.nan
    chain = Chain("denoise", signal_of(60_000))
    assert np.isfinite(chain(array)).all()
    assert chain.counts.zeroed == 1


# The measurement


def measured(array, op, samplerate=8000):
    """Return the noise's power per bin that the op found, as a share of that of white noise at -40 dB."""
    signal = signal_of(len(array), samplerate, array.shape[1])
    course = Course([op], signal)
    graph = course.measuring.graph()
    course.take(graph(array, 0, 0, graph.output.frames))
    gate = course.main.ops[0]
    powers = gate.thresholds / 9 / 10 ** (op.threshold_db / 10)
    return powers.reshape(array.shape[1], -1)[:, 2:-2] / (gate.size / 2 * 1e-4)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
def test_the_level_of_hiss_is_found_between_sounds(share):
    frames = 60 * 8000
    loud = np.repeat(np.random.default_rng(4).random(frames // 8000), 8000) < share  # for whole seconds
    array = hiss(frames) * np.where(loud, 30.0, 1.0)[:, None]
    found = measured(array, Denoise(noise_start="0s", noise_length="0s"))
    assert abs(10 * math.log10(found.mean())) < 1.5
    assert found.max() / found.min() < 4


def test_the_level_of_hiss_is_learned_from_a_stretch():
    frames = 40 * 8000
    array = hiss(frames)
    array[: 10 * 8000] *= 30
    array[35 * 8000 :] = 0.0
    found = measured(array, Denoise(noise_start="10s", noise_length="25s"))
    assert found.mean() == pytest.approx(1.0, abs=0.02)


def test_digital_silence_says_nothing_of_the_noise():
    frames = 40 * 8000
    array = hiss(frames)
    expected = measured(array, Denoise()).mean()
    array[: 15 * 8000] = 0.0
    array[20 * 8000 : 21 * 8000] = 0.0
    assert measured(array, Denoise()).mean() == pytest.approx(expected, rel=0.2)


def test_the_level_is_told():
    array = hiss(60 * 8000, db=-50)
    chain = Chain("denoise:noise_start=1s,noise_length=20s", signal_of(len(array)))
    chain(array)
    assert chain.sentences == ("denoise: noise of -50.0 dBFS (RMS)",)


@pytest.mark.parametrize("samplerate", [8000, 44100, 192000])
def test_a_measurement_is_small(samplerate):
    signal = signal_of(3600 * samplerate, samplerate, 2)
    output = Denoise().measure(signal).signal(signal)
    assert output.bytes < signal.bytes / 500


def test_only_the_stretch_of_noise_is_read():
    signal = signal_of(100 * 8000)
    op = Denoise(noise_start="50s", noise_length="3s").measure(signal)
    assert op.signal(signal).frames == 1
    assert op.needs(0, 1, signal) == (50 * 8000, 53 * 8000)


@pytest.mark.parametrize("start", [0, 777])
@pytest.mark.parametrize("name", ["least", "mean"])
def test_no_cut_changes_the_measurement(start, name):
    frames = 5 * 512 * SIZE // 2 + 4321
    array = bursts(frames, 8000) + hiss(frames)
    signal = signal_of(frames)
    op = NoisePower(SIZE, start, frames - start - 1000, name == "least", arrays(np.sqrt(hann(SIZE))))
    graph = Graph([Average(), op], signal, 2)
    whole = graph(array, 0, 0, graph.output.frames)
    assert len(whole) == 6
    assert whole.all()
    for first in (4, 0, 2):
        low, high = graph.needs(first, first + 2)
        assert np.array_equal(graph(array[low:high], low, first, first + 2), whole[first : first + 2])


# The gate


def gate(reduction_db=15.0, size=64):
    steps = [10 ** (-reduction_db / 20 * (1 - n / 15)) for n in range(16)]
    return SpectralGate(size, arrays(np.sqrt(hann(size))), arrays(np.full(size // 2 + 1, 9.0)), arrays(steps))


def test_a_gain_never_jumps():
    op = gate()
    powers = np.random.default_rng(7).exponential(size=(400, 33)) * 0.4
    db = 20 * np.log10(op._gains(powers, op.thresholds))
    assert db.min() == pytest.approx(-15)
    assert db.max() == 0
    assert np.abs(np.diff(db, axis=0)).max() <= 3 + 1e-9  # of 15 dB, from window to window
    assert np.abs(np.diff(db, axis=1)).max() <= 5 + 1e-9  # from bin to bin


def test_a_gain_is_open_before_a_sound_and_closes_after_it():
    op = gate()
    powers = np.zeros((60, 33))
    powers[30:33, 10] = 1000.0
    db = 20 * np.log10(op._gains(powers, op.thresholds))
    opened = np.flatnonzero(db[:, 10] > -1e-9) + denoising._BEFORE
    assert (opened[0], opened[-1]) == (29, 35)
    assert np.all(np.diff(np.sign(np.diff(db[:, 10]))[np.diff(db[:, 10]) != 0]) <= 0)  # up, then down
    assert np.flatnonzero(db.max(axis=0) > -15 + 1e-9).tolist() == [8, 9, 10, 11, 12]


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_no_cut_changes_a_bit(data):
    channels = data.draw(st.sampled_from([1, 2, 3, 6]))
    name = data.draw(st.sampled_from(["s16le", "f32le", "f64be"]))
    frames = data.draw(st.integers(0, 6000))
    signal = signal_of(frames, 8000, channels, name)
    array = np.repeat(bursts(frames, 8000), channels, axis=1) + hiss(frames, channels)
    if name == "s16le":
        array = np.rint(array * 32768)
    array = array.astype(signal.format.dtype)
    op = gate(size=data.draw(st.sampled_from([64, 256])))
    op = SpectralGate(op.size, op.window, np.tile(op.thresholds * op.size * 1e-5, channels), op.gains)
    ops = data.draw(st.permutations([op, Average(), Scale(0.7)]))
    step = data.draw(st.sampled_from([op.size // 4, op.size, 1000]))
    graph = Graph(ops, signal, step)
    whole = graph(array, 0, 0, frames)
    edges = data.draw(st.lists(st.integers(0, frames // step), max_size=4, unique=True))
    edges = sorted({0, frames, *(edge * step for edge in edges)})
    for start, stop in reversed(list(itertools.pairwise(edges))):
        low, high = graph.needs(start, stop)
        assert graph(array[low:high], low, start, stop).tobytes() == whole[start:stop].tobytes()
    # The gate itself is exact in any cut: its windows do not know of blocks.
    if ops[0] is op:
        assert np.array_equal(Graph(ops, signal, 0)(array, 0, 0, frames), whole)


def test_windows_that_are_transformed_together_do_not_change_a_bit(monkeypatch):
    array = bursts(60_000, 8000) + hiss(60_000)
    together = denoised(array)
    monkeypatch.setattr(denoising, "BATCH", 5)
    monkeypatch.setattr(denoising, "ROWS", 4)
    assert np.array_equal(denoised(array), together)


def test_a_chain_gives_the_bits_of_its_blocks_through_the_wire():
    signal = signal_of(300_001, 44100, 2, "f32le")
    array = (bursts(300_001, 44100) + hiss(300_001, 2)).astype("f4")
    chain = Chain(["gain:db=-3", "denoise", "resample:hz=16000"], signal)
    whole = chain(array)
    course = Course(chain._ops, signal)
    measuring = travelled(course.measuring)
    parts = []
    for cell in reversed(range(measuring.output.frames)):
        low, high = measuring.needs(cell, cell + 1)
        parts.insert(0, measuring(array[low:high], low, cell, cell + 1))
    course.take(np.concatenate(parts))
    graph, grid = travelled(course.main), course.main.grid
    for start in reversed(range(0, len(whole), grid)):
        stop = min(start + grid, len(whole))
        low, high = graph.needs(start, stop)
        assert np.array_equal(graph(array[low:high], low, start, stop), whole[start:stop])


def travelled(stage):
    return Graph([kernel_of(kernel_step(op)) for op in stage.ops], stage.signal, stage.grid)


# What cannot be used


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("noise_length=20ms", "noise_length must be 1024 frames or more at 8000 Hz, not 160"),
        ("noise_start=9s,noise_length=2s", "the noise is said to end at frame 88000, and the input ends at 80000"),
        ("reduction_db=-3", "reduction_db is a number from 0 to 60"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(spec, words):
    with pytest.raises(UsageError, match=words):
        Chain(f"denoise:{spec}", signal_of(80_000))
