"""resample and speed: the textbook's result, everywhere in a recording, and the same bits in any cut."""

import itertools
import math
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import resampling
from zaudio.ops.chain import Chain, Course
from zaudio.ops.contract import Kernel
from zaudio.ops.graph import Graph
from zaudio.ops.levels import Scale
from zaudio.ops.resampling import Resample, Speed
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

PAIRS = [
    *((44100, 48000), (48000, 44100), (44100, 16000), (96000, 44100), (22050, 44100)),
    *((8000, 48000), (48000, 8000), (44100, 44000), (192000, 48000)),
]
ODD = [(44100, 44056), (192000, 8000), (8000, 192000), (44100, 44101)]


@dataclass(frozen=True)
class Average(Kernel):
    """A filter with memory: the mean of a frame, the two before it and the one behind it."""

    def context(self, signal):
        return 2, 1

    def apply(self, samples, place, state):
        return (samples[:-3] + samples[1:-2] + samples[2:-1] + samples[3:])[place.start - place.first - 2 :][
            : place.stop - place.start
        ] / 4.0


def signal_of(frames, samplerate=44100, channels=1, name="f64le"):
    return Signal(frames, channels, samplerate, sample_format(name))


def noise(signal, seed=1):
    floats = np.random.default_rng(seed).uniform(-0.5, 0.5, (signal.frames, signal.channels))
    dtype = np.dtype(signal.format.dtype)
    return (floats if dtype.kind == "f" else np.rint(floats * 2.0 ** (8 * dtype.itemsize - 1))).astype(dtype)


def resampled(array, before, after):
    signal = signal_of(len(array), before, array.shape[1])
    return Chain(f"resample:hz={after}", signal)(array)


def tone(hz, samplerate, frames):
    return np.sin(2 * np.pi * (hz * np.arange(frames) % samplerate) / samplerate)[:, None]


def hop_of(before, after):
    """Return the input frames of a hop, and the output frames."""
    op = Resample(after).design(signal_of(0, before))
    return op.groups * op.down, op.groups * op.up


def decibels(array):
    return 20 * math.log10(np.abs(array).max() + 1e-20)


def inner(array, share=4):
    return array[len(array) // share : -(len(array) // share)]


# The textbook


@pytest.mark.parametrize(("before", "after"), PAIRS + ODD[:2])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_tone_in_the_passband_is_the_same_tone_at_the_new_rate(before, after, share):
    hz = round(share * min(before, after) / 2)
    frames = 4 * hop_of(before, after)[0] + 17
    result = resampled(tone(hz, before, frames), before, after)
    assert decibels(inner(result - tone(hz, after, len(result)))) < -170


@pytest.mark.parametrize(("before", "after"), [(48000, 44100), (44100, 16000), (96000, 44100), (192000, 48000)])
@pytest.mark.parametrize("share", [1.001, 1.05, 1.9])
def test_a_tone_above_the_new_half_leaves_no_alias(before, after, share):
    hz = min(round(share * after / 2), before // 2 - 1)
    result = resampled(tone(hz, before, 4 * hop_of(before, after)[0]), before, after)
    assert decibels(inner(result)) < -165


def test_a_sweep_in_the_passband_is_the_same_sweep_at_the_new_rate():
    before, after, seconds = 44100, 48000, 1.0

    def sweep(samplerate):  # 20 Hz to 19.8 kHz; it begins and ends softly
        t = np.arange(int(seconds * samplerate)) / samplerate
        return (np.sin(np.pi * t / seconds) ** 4 * np.sin(2 * np.pi * (20 * t + 9890 * t * t)))[:, None]

    assert decibels(resampled(sweep(before), before, after) - sweep(after)) < -140


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_an_impulse_stays_at_its_instant(before, after):
    op = Resample(after).design(signal_of(0, before))
    into = hop_of(before, after)[0]
    for place in (0, op.down, into - op.down, into, 2 * into + 5 * op.down):
        array = np.zeros((4 * into, 1))
        array[place] = 1.0
        result = resampled(array, before, after)[:, 0]
        peak = place // op.down * op.up
        assert np.argmax(np.abs(result)) == peak
        both = min(peak, 500)
        assert np.allclose(result[peak - both : peak + 1], result[peak : peak + both + 1][::-1], atol=1e-9)


def test_a_constant_keeps_its_level_and_the_ends_are_silence_beyond():
    result = resampled(np.full((30000, 1), 0.25), 44100, 48000)
    assert np.abs(result[400:-400] - 0.25).max() < 1e-8
    # At the first frame, half of the filter sees silence: it is the middle tap and half of the others.
    assert result[0, 0] == pytest.approx(0.25 * (1 + 0.975) / 2, abs=1e-3)


def test_there_and_back_again_gives_the_recording_below_the_passband():
    frames = 44100
    array = sum(tone(hz, 44100, frames) for hz in (100, 997, 5003, 12007, 19001)) / 5
    there = resampled(array, 44100, 48000)
    back = resampled(there, 48000, 44100)
    assert len(back) == frames
    assert decibels(inner(back - array)) < -160


@pytest.mark.parametrize(("before", "after"), PAIRS + ODD)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_output_covers_the_input_and_no_more(before, after, more):
    hop = hop_of(before, after)[0]
    for frames in (0, 1, 2, 997, hop + more):
        output = Resample(after).signal(signal_of(frames, before, 3))
        assert output.frames == math.ceil(Fraction(frames * after, before))
        assert (output.samplerate, output.channels) == (after, 3)


@pytest.mark.parametrize("frames", [0, 1, 2, 997, 4703, 4704, 4705])
def test_every_length_gives_the_beginning_of_the_same_sound(frames):
    array = noise(signal_of(20000))
    array[frames:] = 0
    result = resampled(array[:frames], 44100, 48000)
    assert len(result) == -(-frames * 160 // 147)
    assert np.array_equal(result, resampled(array, 44100, 48000)[: len(result)])


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed")
@pytest.mark.parametrize(("before", "after"), [(44100, 48000), (48000, 44100), (44100, 16000)])
@pytest.mark.parametrize(("highest", "db"), [(0.4, -165), (0.9, -75)])  # from 0.6 on, SoX is 0.003 dB quieter
def test_it_agrees_with_sox_in_the_passband(tmp_path, before, after, highest, db):
    share = (0.003, 0.1, 0.2, highest)
    array = sum(tone(round(part * min(before, after) / 2), before, before) for part in share) / 5
    array.astype("<f8").tofile(tmp_path / "in.raw")
    raw = ["-t", "raw", "-e", "float", "-b", "64", "-L", "-c", "1"]
    subprocess.run(
        ["sox", *raw, "-r", str(before), "in.raw", *raw, "-r", str(after), "out.raw", "rate", "-v"],
        cwd=tmp_path,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    theirs = np.fromfile(tmp_path / "out.raw", "<f8")
    ours = resampled(array, before, after)[:, 0]
    shared = min(len(theirs), len(ours))
    assert abs(len(theirs) - len(ours)) <= 1
    assert decibels(inner(ours[:shared] - theirs[:shared])) < db


# Any cut


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_no_cut_changes_a_bit(data):
    before, after = data.draw(st.sampled_from([(44100, 48000), (48000, 44100), (44100, 16000), (16000, 48000)]))
    channels = data.draw(st.sampled_from([1, 2, 3, 6]))
    name = data.draw(st.sampled_from(["s16le", "f32le", "f64be"]))
    hop, out = hop_of(before, after)
    signal = signal_of(data.draw(st.integers(0, 4 * hop)), before, channels, name)
    op = Resample(after).design(signal)
    ops = data.draw(st.permutations([op, Average(), Scale(0.7)]))
    graph = Graph(ops, signal, data.draw(st.sampled_from([out, 2 * out, 4096])))
    assert_cuts(graph, noise(signal), data)


def assert_cuts(graph, array, data):
    step, frames = graph.grid, graph.output.frames
    whole = graph(array, 0, 0, frames)
    edges = data.draw(st.lists(st.integers(0, frames // step), max_size=4, unique=True))
    edges = sorted({0, frames, *(edge * step for edge in edges)})
    for start, stop in reversed(list(itertools.pairwise(edges))):
        low, high = graph.needs(start, stop)
        assert graph(array[low:high], low, start, stop).tobytes() == whole[start:stop].tobytes()


@pytest.mark.parametrize(("name", "channels"), [("s16le", 2), ("f32le", 6)])
def test_a_chain_gives_the_bits_of_its_blocks_through_the_wire(name, channels):
    signal = signal_of(200_003, 44100, channels, name)
    chain = Chain(["gain:db=-3", "resample:hz=48000", "speed:factor=0.8", "clip"], signal)
    array = noise(signal)
    whole = chain(array)
    main = Course(chain._ops, signal).main
    assert main.grid > 1
    graph = Graph([kernel_of(kernel_step(op)) for op in main.ops], signal, main.grid)
    for start in reversed(range(0, len(whole), main.grid)):
        stop = min(start + main.grid, len(whole))
        low, high = graph.needs(start, stop)
        assert np.array_equal(graph(array[low:high], low, start, stop), whole[start:stop])


def test_channels_do_not_hear_each_other():
    signal = signal_of(20000, 44100, 3)
    array = noise(signal)
    together = resampled(array, 44100, 48000)
    for channel in range(3):
        alone = resampled(np.ascontiguousarray(array[:, channel : channel + 1]), 44100, 48000)
        assert np.array_equal(alone[:, 0], together[:, channel])


def test_rows_that_are_transformed_together_do_not_change_a_bit(monkeypatch):
    array = noise(signal_of(60000))
    together = resampled(array, 44100, 48000)
    monkeypatch.setattr(resampling, "ROWS_FRAMES", 1)
    monkeypatch.setattr(resampling, "ROWS_LEAST", 1)
    assert np.array_equal(resampled(array, 44100, 48000), together)


@pytest.mark.parametrize(("before", "after"), [(44100, 48000), (48000, 44100)])
def test_bins_of_zero_are_those_that_numpy_adds(before, after):
    op = Resample(after).design(signal_of(10**6, samplerate=before))
    total = op.groups + 2 * op.margin
    hops = op.setup(signal_of(10**6))
    for rows in (3, 1, 2):  # arrays are used again
        stretches = np.random.default_rng(rows).standard_normal((rows, total * op.down))
        spectra = np.fft.rfft(stretches)[:, : len(hops._response) // 2] * hops._response[::2]
        assert hops(stretches).tobytes() == np.fft.irfft(spectra, total * op.up).tobytes()


def test_needs_and_instants_never_go_back():
    op = Resample(16000).design(signal_of(0))
    signal = signal_of(10**6)
    frames = range(0, 3 * op.grid(signal), 7)
    needs = [op.needs(frame, frame + 1, signal) for frame in frames]
    assert needs == sorted(needs)
    instants = [op.source_frame(frame, signal) for frame in frames]
    assert instants == [math.floor(Fraction(frame * 441, 160)) for frame in frames]


# Rates that are the same, and rates that are too far apart


@pytest.mark.parametrize("op", ["resample:hz=44100", "speed:factor=1"])
def test_the_same_rate_keeps_every_bit(op):
    array = noise(signal_of(1000, name="s16le"))
    assert np.array_equal(Chain(op, signal_of(1000, name="s16le"))(array), array)


@pytest.mark.parametrize(("before", "after"), PAIRS + ODD)
def test_transforms_are_bounded_and_longer_than_the_filter(before, after):
    op = Resample(after).design(signal_of(0, before))
    assert max(op.up, op.down) * (op.groups + 2 * op.margin) <= resampling.FFT_MOST
    assert op.margin * op.down >= 232 * max(1, before / after)
    assert op.taps.nbytes < 8000


@pytest.mark.parametrize(("before", "after"), [(44100, 999_983), (400_009, 44100), (1_000_000, 100)])
def test_rates_that_need_too_long_a_transform_are_refused(before, after):
    with pytest.raises(UsageError, match=rf"from {before} Hz to {after} Hz is .* FFT of more than 1048576 frames"):
        Chain(f"resample:hz={after}", signal_of(10, before))


# speed


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2 ** (1 / 12), 3])
def test_speed_raises_the_pitch_and_shortens_the_sound_by_the_factor(factor):
    op = Speed(factor).design(signal_of(0))
    array = tone(1000, 44100, 6 * op.groups * op.down)
    result = Chain(f"speed:factor={factor!r}", signal_of(len(array)))(array)
    assert len(result) == math.ceil(Fraction(len(array) * op.up, op.down))
    exact = Fraction(op.down, op.up)
    expected = np.sin(2 * np.pi * 1000 / 44100 * float(exact) * np.arange(len(result)))[:, None]
    assert decibels(inner(result - expected)) < -150


def test_speed_keeps_the_samplerate():
    output = Speed(2.0).signal(signal_of(1001))
    assert (output.samplerate, output.frames) == (44100, 501)


@given(st.floats(0.01, 100))
def test_speed_is_as_near_as_it_says_or_refuses_and_names_the_nearest(factor):
    try:
        op = Speed(factor).design(signal_of(0))
    except UsageError as error:
        nearest = float(str(error).split("the nearest factor that works is ")[1].split(",")[0])
        assert nearest == pytest.approx(factor, rel=5e-6)
        op, factor = Speed(nearest).design(signal_of(0)), nearest
    up, down = getattr(op, "up", 1), getattr(op, "down", 1)
    assert abs(Fraction(down, up) / Fraction(factor) - 1) < Fraction(11, 10**9)


def test_a_speed_beside_1_is_refused_with_the_nearest_that_works():
    with pytest.raises(UsageError, match=r"factor 1\.000001 is .* the nearest factor that works is 1\.0"):
        Speed(1.000001).design(signal_of(0))
