import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.formats import sample_format
from zaudio.ops import Chain
from zaudio.ops.contract import Place
from zaudio.ops.limiter import Limit
from zaudio.ops.truepeak import HISTORY, true_peaks
from zaudio.signal import Signal

RATE = 44_100
FORMATS = {"f32le": 1.0, "f64le": 1.0, "s16le": 2.0**15, "s32le": 2.0**31}  # and their full scales


def limited(array, name="f32le", **parameters):
    """Return the result in floats with full scale at 1."""
    signal = Signal(*array.shape, RATE, sample_format(name))
    full = FORMATS[name]
    stored = array if full == 1 else np.clip(np.rint(array * full), -full, full - 1)
    written = ",".join(f"{key}={value}" for key, value in parameters.items())
    return Chain(f"limit:{written}", signal)(stored.astype(signal.format.dtype)).astype(float) / full


def true_peak(array):
    """Return the greatest true peak, also behind the end."""
    padded = np.pad(array, ((HISTORY, HISTORY), (0, 0)))
    return true_peaks(padded, len(array) + HISTORY).max()


def bursts(random, frames):
    return (
        random.standard_normal((frames, 1))
        * np.repeat(10 ** (random.uniform(-60, 30, frames // 50 + 1) / 20), 50)[:frames, None]
    )


def clicks(random, frames):
    return random.standard_normal((frames, 1)) * (random.random((frames, 1)) < 0.02) * 5


def squares(random, frames):
    return np.sign(random.standard_normal((frames, 1))) * 10 ** (random.uniform(-5, 20) / 20)


def between_samples(random, frames):
    """Return a sine at a quarter of the rate. Its peaks lie between samples, 3 dB above them."""
    return np.sin(np.pi / 2 * np.arange(frames) + np.pi / 4)[:, None] * 10 ** (random.uniform(-6, 20) / 20)


def changing_tones(random, frames):
    tone = np.sin(2 * np.pi * random.uniform(0.15, 0.26) * np.arange(frames))
    return (tone * np.repeat(10 ** (random.uniform(-20, 25, frames // 80 + 1) / 20), 80)[:frames])[:, None]


SIGNALS = [bursts, clicks, squares, between_samples, changing_tones]


@given(
    seed=st.integers(0, 2**32),
    make=st.sampled_from(SIGNALS),
    frames=st.one_of(st.sampled_from([1, 31, 32, 33]), st.integers(1, 5000)),
    channels=st.sampled_from([1, 2, 3, 6]),
    db=st.floats(-30, 0),
    attack=st.sampled_from(["0s", "1ms", "5ms", "20ms"]),
    peak=st.sampled_from(["sample", "true"]),
    name=st.sampled_from(sorted(FORMATS)),
)
def test_limiter_never_passes_its_ceiling(seed, make, frames, channels, db, attack, peak, name):
    random = np.random.default_rng(seed)
    array = np.concatenate([make(random, frames) for _ in range(channels)], axis=1)
    ceiling = 10 ** (db / 20)
    result = limited(array, name, db=db, attack=attack, peak=peak)
    assert np.abs(result).max() <= ceiling
    if peak == "true":
        assert true_peak(result) <= ceiling


@pytest.mark.parametrize("peak", ["sample", "true"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_below_the_ceiling_passes_bit_for_bit(peak, name):
    random = np.random.default_rng(1)
    array = random.uniform(-1, 1, (50_000, 2))
    array *= 0.5 / max(np.abs(array).max(), true_peak(array))
    array[100] = -0.0
    kept = array.astype("<f4") if name == "f32le" else np.rint(array * FORMATS[name]) / FORMATS[name]
    if FORMATS[name] == 1.0:
        kept = array.astype(f"<{name[0]}{int(name[1:3]) // 8}")
    result = limited(array, name, db=-6, peak=peak)
    np.testing.assert_array_equal(result, kept)
    if FORMATS[name] == 1.0:
        np.testing.assert_array_equal(np.signbit(result), np.signbit(kept))


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_scale_square_is_lowered_to_the_ceiling_and_no_further(name):
    square = np.where(np.arange(20_000) % 100 < 50, 1.0, -1.0)[:, None]
    result = limited(square, name, db=-6, peak="sample")
    np.testing.assert_allclose(20 * np.log10(np.abs(result[2000:-2000])), -6, atol=0.001 if name != "s16le" else 0.002)


def test_integers_at_full_scale_are_not_clipped():
    square = np.where(np.arange(2000) % 100 < 50, 1.0, -1.0)[:, None]
    signal = Signal(2000, 1, RATE, sample_format("s16le"))
    chain = Chain("limit:db=0,peak=sample", signal)
    result = chain(np.clip(square * 32768, -32768, 32767).astype("<i2"))
    assert set(np.unique(result)) <= {-32767, -32766, 32766, 32767}
    assert chain.counts.clipped == 0


def test_true_peaks_cost_3_db_where_they_lie_between_samples():
    sine = np.sin(np.pi / 2 * np.arange(20_000) + np.pi / 4)[:, None]
    by_sample, by_true_peak = limited(sine, db=-6, peak="sample"), limited(sine, db=-6, peak="true")
    middle = slice(5000, 15_000)
    assert 20 * math.log10(np.abs(by_sample[middle]).max()) == pytest.approx(-6, abs=0.001)
    assert 20 * math.log10(np.abs(by_true_peak[middle]).max()) == pytest.approx(-6 - 3.01, abs=0.1)
    assert 20 * math.log10(true_peak(by_true_peak)) <= -6


def test_true_peak_is_the_default():
    sine = np.sin(np.pi / 2 * np.arange(5000) + np.pi / 4)[:, None]
    np.testing.assert_array_equal(limited(sine, db=-6), limited(sine, db=-6, peak="true"))


@pytest.mark.parametrize("peak", ["sample", "true"])
def test_a_steady_peak_is_no_further_below_the_ceiling_than_a_ten_thousandth_of_a_decibel(peak):
    array = np.full((20_000, 1), 0.0)
    array[::20] = 2.0
    result = limited(array, "f64le", db=-3, peak=peak)
    level = np.abs(result).max() if peak == "sample" else true_peak(result)
    assert -3 - 2e-4 <= 20 * math.log10(level) <= -3


def test_gain_falls_in_front_of_a_peak_and_rises_by_its_decibels_per_second():
    array = np.full((30_000, 1), 0.1)
    array[12_800] = 10 ** (10 / 20)
    gain = 20 * np.log10(limited(array, "f64le", db=-10, attack="320f", release_db_per_s=100, peak="sample") / array)
    assert (gain[: 12_800 - 320 + 1] == 0).all()
    np.testing.assert_allclose(gain[12_800 - 320 : 12_801 : 32, 0], np.linspace(0, -20, 11), atol=1e-3)
    assert gain[12_800] == pytest.approx(-20, abs=1e-3)
    done = 12_800 + round(0.2 * RATE)
    np.testing.assert_allclose(gain[12_800 + 1000] - gain[12_800 + 5410], -10, atol=0.02)  # 0.1 s
    assert gain[done - 320] < -0.001
    assert (gain[done + 320 + 32 :] == 0).all()


@pytest.mark.parametrize("peak", ["sample", "true"])
def test_peaks_beyond_the_range_of_the_limiter_are_clipped_and_still_held(peak):
    random = np.random.default_rng(3)
    array = random.standard_normal((5000, 2)) * 1e-3
    array[1000:1040] = random.standard_normal((40, 2)) * 1e30
    array[3000, 0] = 1e200
    result = limited(array, "f64le", db=-1, peak=peak)
    assert np.isfinite(result).all()
    assert np.abs(result).max() <= 10 ** (-1 / 20)
    if peak == "true":
        assert true_peak(result) <= 10 ** (-1 / 20)


def test_all_channels_have_the_gain_of_the_loudest():
    array = np.full((4000, 3), 0.25)
    array[2000:2100, 1] = 1.0
    result = limited(array, "f64le", db=-6)
    np.testing.assert_allclose(result[:, 0], result[:, 2], rtol=0)
    assert result[2050, 0] == pytest.approx(0.25 * result[2050, 1])


def test_memory_is_laid_out_as_channels_or_not():
    signal = Signal(3200, 3, RATE, sample_format("f64le"))
    kernel = Limit(-6.0).design(signal)
    low, high = kernel.needs(0, 3200, signal)
    array = np.zeros((high - low, 3))
    array[-low : 3200 - low] = np.random.default_rng(5).standard_normal((3200, 3))
    place = Place(low, high, 0, 3200, signal)
    rows, columns = (kernel.apply(array.copy(order=order), place, None) for order in "CF")
    np.testing.assert_array_equal(rows, columns)


def test_tables_are_small_enough_to_travel():
    kernel = Limit(-1.0).design(Signal(10, 1, RATE, sample_format("f32le")))
    assert kernel.curve.dtype == np.int32
    assert kernel.curve.nbytes + kernel.factors.nbytes < 40_000
