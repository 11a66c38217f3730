import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.ops.truepeak import HISTORY, WIDEST, true_peaks

# ITU-R BS.1770-4, annex 2, phases 0 and 1 as the table prints them; phases 3 and 2 are their mirror images.
PRINTED = """
0.0017089843750 0.0109863281250 -0.0196533203125 0.0332031250000 -0.0594482421875 0.1373291015625
0.9721679687500 -0.1022949218750 0.0476074218750 -0.0266113281250 0.0148925781250 -0.0083007812500
-0.0291748046875 0.0292968750000 -0.0517578125000 0.0891113281250 -0.1665039062500 0.4650878906250
0.7797851562500 -0.2003173828125 0.1015625000000 -0.0582275390625 0.0330810546875 -0.0189208984375
"""
PHASES = np.array(PRINTED.split(), float).reshape(2, 12)
FILTERS = [*PHASES, *PHASES[:, ::-1]]


def oversampled(samples):
    """Return each frame's true peak, straight from the definition: no frame is passed over."""
    columns = []
    for column in samples.T:
        values = np.abs(column[HISTORY:])
        for taps in FILTERS:
            values = np.maximum(values, np.abs(np.convolve(column, taps, "valid")))
        columns.append(values)
    return np.stack(columns, axis=1)


def expected(samples, cell):
    frames = oversampled(samples)
    cells = len(frames) // cell
    return frames[: cells * cell].reshape(cells, cell, samples.shape[1]).max(axis=1)


def uneven(seed, frames, channels):
    """Return noise whose level changes wildly, so that many stretches are passed over."""
    random = np.random.default_rng(seed)
    return random.standard_normal((frames, channels)) * random.random((frames // 40 + 1, 1)).repeat(40, 0)[:frames] ** 6


@pytest.mark.parametrize("cell", [1, 2, 11, 31, 32, 33, 42, 43, 63, 64, 100, 441, 4410])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_no_peak_is_missed_by_passing_over_stretches(cell, channels):
    samples = uneven(cell + channels, HISTORY + 3 * max(cell, 200) // cell * cell, channels)
    np.testing.assert_allclose(true_peaks(samples, cell), expected(samples, cell), rtol=1e-14)


@given(seed=st.integers(0, 2**32), cell=st.integers(1, 150), cells=st.integers(1, 30), floor=st.floats(0, 1))
def test_peaks_above_the_floor_are_exact_and_others_are_bounded(seed, cell, cells, floor):
    samples = uneven(seed, HISTORY + cell * cells, 2)
    found, exact = true_peaks(samples, cell, floor=floor), expected(samples, cell)
    loud = exact > floor
    np.testing.assert_allclose(found[loud], exact[loud], rtol=1e-14)
    assert (found[~loud] <= np.maximum(exact[~loud] * (1 + 1e-14), 0)).all()
    sample_peaks = np.abs(samples[HISTORY:]).reshape(cells, cell, 2).max(axis=1)
    assert (found >= sample_peaks).all()


def test_a_sine_at_a_quarter_of_the_rate_peaks_3_db_above_its_samples():
    samples = np.sin(np.pi / 2 * np.arange(4096 + HISTORY) + np.pi / 4)[:, None]
    assert np.abs(samples).max() == pytest.approx(math.sqrt(0.5))
    assert true_peaks(samples[1000:], (len(samples) - 1000) - HISTORY).item() == pytest.approx(1.0, abs=0.01)


def test_history_counts_and_frames_behind_do_not():
    samples = np.zeros((HISTORY + 64, 1))
    samples[HISTORY - 1] = 1.0
    assert true_peaks(samples, 32)[0] == max(abs(tap) for taps in FILTERS for tap in taps[1:])
    assert true_peaks(samples, 32)[1] == 0
    samples[:] = 0
    samples[HISTORY + 32] = 1.0
    np.testing.assert_array_equal(true_peaks(samples, 32), [[0.0], [1.0]])


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 40))
def test_a_cells_bits_do_not_depend_on_the_cells_around_it(seed, cut):
    samples = uneven(seed, HISTORY + 40 * 32, 1)
    whole = true_peaks(samples, 32)
    apart = [true_peaks(samples[: HISTORY + cut * 32], 32), true_peaks(samples[cut * 32 :], 32)]
    np.testing.assert_array_equal(np.concatenate(apart), whole)


def test_the_memory_order_of_channels_does_not_matter():
    samples = uneven(5, HISTORY + 640, 3)
    np.testing.assert_array_equal(true_peaks(samples, 64), true_peaks(np.asfortranarray(samples), 64))


def test_the_bound_is_reached_and_never_passed():
    worst = max(FILTERS, key=lambda taps: sum(map(abs, taps)))
    samples = np.zeros((HISTORY + 32, 1))
    samples[HISTORY : HISTORY + 12, 0] = np.sign(worst[::-1])
    assert true_peaks(samples, 32).item() <= WIDEST
    assert true_peaks(samples, 32).item() == pytest.approx(WIDEST, rel=1e-9)


def test_nothing_gives_no_peaks():
    assert true_peaks(np.zeros((HISTORY, 2)), 32).shape == (0, 2)
    assert true_peaks(np.zeros((HISTORY + 64, 2)), 32).tolist() == [[0, 0], [0, 0]]
