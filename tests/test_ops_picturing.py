import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_support import column, noise, signal_of

from zaudio.errors import UsageError
from zaudio.ops.chain import _pass
from zaudio.ops.picturing import (
    BANDS,
    CELL_BYTES,
    COLUMNS_MOST,
    PictureSurvey,
    band_edges,
    band_powers,
    bins_of,
    from_mel,
    mel,
)
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

RATE = 8000  # a window is 512 frames


def graph_of(array, survey, samplerate=RATE, before=()):
    signal = signal_of(array, samplerate)
    return _pass((*before, kernel_of(kernel_step(survey.measure(signal)))), signal).graph()


def cells_of(array, survey, step=None):
    graph = graph_of(array, survey)
    pieces, frames = [], graph.output.frames
    for start in range(0, frames, step or frames or 1):
        stop = min(start + (step or frames), frames)
        low, high = graph.needs(start, stop)
        pieces.append(graph(array[low:high], low, start, stop))
    return np.concatenate(pieces) if pieces else np.empty((0, graph.output.channels))


def view(array, columns=100, piece=0, scale="mel", samplerate=RATE):
    survey = PictureSurvey(columns, piece, scale)
    graph = graph_of(array, survey, samplerate)
    return survey.report(graph(array, 0, 0, graph.output.frames), signal_of(array, samplerate))


def sine(hz, frames=40_000, level=1.0):
    return column(level * np.sin(2 * np.pi * hz / RATE * np.arange(frames)))


def band_at(shown, hz):
    return int(np.searchsorted(shown.edges, hz, side="right")) - 1


@given(
    frames=st.integers(0, 3000),
    columns=st.integers(1, 60),
    piece=st.sampled_from([0, 2, 7, 400]),
    step=st.integers(1, 7),
    channels=st.sampled_from([1, 2, 3]),
)
def test_no_cut_changes_a_column(frames, columns, piece, step, channels):
    array, survey = noise(frames, channels, "f32le", seed=frames), PictureSurvey(columns, piece)
    graph = graph_of(array, survey)
    grid = max(1, graph.grid)
    assert cells_of(array, survey, step * grid).tobytes() == cells_of(array, survey).tobytes()


def test_a_column_is_the_same_alone_as_with_its_neighbours():
    array, survey = noise(30_011, 2, "s16le"), PictureSurvey(50)
    whole, kernel = cells_of(array, survey), survey.measure(signal_of(array, RATE))
    graph = graph_of(array, survey)
    graph.grid = 1
    for cell in (0, 1, 24, len(whole) - 1):
        low, high = graph.needs(cell, cell + 1)
        assert high - low <= kernel.cell + len(kernel.window)
        assert graph(array[low:high], low, cell, cell + 1).tobytes() == whole[cell].tobytes()


@pytest.mark.parametrize("name", ["s16le", "s16be", "s32le", "f32be", "f64le"])
def test_extremes_and_mean_squares_are_those_of_the_samples(name):
    array = noise(1003, 2, name)
    shown = view(array, columns=10)
    floats = array.astype(np.float64) * (2.0 ** (1 - 8 * array.itemsize) if array.dtype.kind == "i" else 1)
    assert (shown.cell, shown.piece, len(shown.least)) == (101, 101, 10)
    for number in range(10):
        stretch = floats[number * 101 : (number + 1) * 101]
        assert (shown.least[number] == stretch.min(axis=0)).all()
        assert (shown.greatest[number] == stretch.max(axis=0)).all()
        assert shown.squares[number] == pytest.approx((stretch**2).mean(axis=0))


@pytest.mark.parametrize(("piece", "pixels"), [(2, 502), (64, 16), (101, 10), (500, 3), (4000, 1)])
def test_pieces_of_any_length_have_extremes_of_their_own(piece, pixels):
    array = noise(1003, 2)
    shown = view(array, columns=10, piece=piece)
    assert (shown.piece, len(shown.least), shown.cell % piece) == (piece, pixels, 0)
    for number in range(pixels):
        assert (shown.greatest[number] == array[number * piece : (number + 1) * piece].max(axis=0)).all()


@pytest.mark.parametrize("scale", ["mel", "linear"])
@pytest.mark.parametrize("hz", [120, 437.5, 1000, 3900])
def test_a_sine_at_full_scale_has_no_decibels_in_its_band_and_little_elsewhere(scale, hz):
    shown = view(sine(hz), scale=scale)
    middle, band = shown.powers[50], band_at(shown, hz)
    assert abs(int(middle.argmax()) - band) <= (8 if hz < 1000 and scale == "mel" else 4)  # a bin is 15.6 Hz
    assert 10 * np.log10(middle.max()) == pytest.approx(0, abs=1.5)  # a Hann window loses so much between two bins
    apart = (shown.edges[:-1] > hz + 50) | (shown.edges[1:] < hz - 50)
    assert 10 * np.log10(middle[apart].max()) < -40


def test_a_click_is_in_its_column_in_all_bands():
    array = np.zeros((200_000, 1))
    array[130_500] = 1
    shown = view(array)
    assert shown.cell == 2000
    assert set(np.flatnonzero(shown.powers.max(axis=1))) == {65}
    assert (shown.powers[65] > 0).all()
    assert np.flatnonzero(shown.greatest[:, 0]).tolist() == [65]


def test_what_changes_is_seen_when_it_changes():
    array = np.concatenate([sine(500, 20_000), sine(3000, 20_000)])
    shown = view(array)
    loudest = shown.edges[shown.powers.argmax(axis=1)]
    assert loudest[:48] == pytest.approx(500, abs=16)
    assert loudest[52:] == pytest.approx(3000, abs=16)


def test_the_spectrogram_is_the_mean_of_the_channels_powers():
    tone = sine(1000, level=0.5)
    both, one = view(np.concatenate([tone, -tone], axis=1)), view(np.concatenate([tone, 0 * tone], axis=1))
    alone = view(tone)
    assert both.powers == pytest.approx(alone.powers)  # opposite phases do not cancel
    assert one.powers == pytest.approx(alone.powers / 2)


def test_the_end_of_a_recording_is_as_loud_as_its_middle():
    shown = view(sine(1000, 39_700 - 150))  # the last cell is not full
    levels = 10 * np.log10(shown.powers.max(axis=1))
    assert levels[-2] == pytest.approx(levels[50], abs=0.5)
    assert levels[-1] == pytest.approx(levels[50], abs=7)  # its windows reach beyond the end


def test_the_average_is_that_of_the_columns():
    shown = view(np.concatenate([sine(1000, 20_000), np.zeros((20_000, 1))]))
    assert 10 * np.log10(shown.average.max()) == pytest.approx(-3, abs=0.2)
    assert shown.edges[shown.average.argmax()] == pytest.approx(1000, abs=16)


@pytest.mark.parametrize("frames", [0, 1, 2, 63, 64, 65])
def test_recordings_of_a_few_frames_have_a_picture(frames):
    shown = view(np.full((frames, 2), 0.5), columns=1600)
    assert len(shown.least) == len(shown.powers) == frames
    assert shown.powers.shape[1] == BANDS
    assert (shown.greatest == 0.5).all()
    assert np.isfinite(shown.average).all()


def test_what_is_not_finite_is_silence():
    array = noise(4000, 2)
    array[1000:1100], array[1500], array[2000, 1] = np.nan, np.inf, -np.inf
    clean = np.where(np.isfinite(array), array, 0)
    assert cells_of(array, PictureSurvey(50)).tobytes() == cells_of(clean, PictureSurvey(50)).tobytes()


def test_levels_beyond_any_audio_are_no_error():
    shown = view(np.array([[1e308], [-1e308], [1e300]] * 300))
    assert np.isfinite(shown.powers).all()
    assert not np.isnan(shown.squares).any()


def test_the_size_of_a_picture_does_not_grow_with_the_recording():
    for frames in (10**4, 10**6, 10**8, 2 * 10**9):
        signal = Signal(frames, 1, 44_100, signal_of(noise(1, 1, "s16le")).format)
        kernel = PictureSurvey().measure(signal)
        assert COLUMNS_MOST / 2 < kernel.signal(signal).frames <= COLUMNS_MOST
        assert kernel.cell * signal.frame_bytes <= CELL_BYTES
        assert len(kernel.window) == min(2048, 1 << (frames // 16).bit_length() - 1)


def test_a_cell_of_many_channels_has_a_bound_and_its_columns_are_joined():
    signal = Signal(10**9, 64, 48_000, signal_of(noise(1, 1, "f32le")).format)
    kernel = PictureSurvey().measure(signal)
    assert kernel.cell * signal.frame_bytes <= CELL_BYTES
    shown = view(noise(1000), columns=100)
    fitted = shown.fitted(33)
    assert (len(fitted.powers), fitted.cell, fitted.piece) == (25, 40, 40)
    assert fitted.powers[3] == pytest.approx(shown.powers[12:16].mean(axis=0))
    assert fitted.squares[3] == pytest.approx(shown.squares[12:16].mean(axis=0))
    assert fitted.least[3] == shown.least[12:16].min(axis=0)
    assert fitted.greatest[3] == shown.greatest[12:16].max(axis=0)
    assert shown.fitted(100) is shown


def test_without_a_scale_there_is_no_spectrogram():
    array = noise(1000)
    shown = view(array, piece=4, scale="")
    assert shown.powers.shape == (84, 0)  # a cell is three pieces
    assert len(shown.least) == 250
    assert (shown.greatest[7] == array[28:32].max(axis=0)).all()


@pytest.mark.parametrize(("columns", "scale"), [(0, "mel"), (COLUMNS_MOST + 1, "mel"), (5, "bark")])
def test_what_cannot_be_measured_is_refused(columns, scale):
    with pytest.raises(UsageError):
        view(noise(100), columns=columns, scale=scale)


# Bands


def test_bands_go_from_nothing_to_half_the_samplerate():
    for scale in ("mel", "linear"):
        edges = band_edges(44_100, scale)
        assert len(edges) == BANDS + 1
        assert (edges[0], edges[-1]) == (0, pytest.approx(22_050))
        assert (np.diff(edges) > 0).all()
    assert mel(1000.0) == pytest.approx(1000, abs=0.1)
    assert from_mel(mel(np.array([50.0, 440, 9000]))) == pytest.approx([50, 440, 9000])


def test_a_wide_band_has_its_greatest_bin_and_a_narrow_one_lies_between_two():
    spectra = np.array([[0.0, 4, 2, 8, 1], [1, 1, 1, 1, 9]])
    bins = bins_of(np.array([0, 0.25, 0.75, 1.5, 3.5, 4]))
    assert band_powers(spectra, bins).tolist() == [[0, 2, 4, 8, 8 - 7 * 0.75], [1, 1, 1, 1, 7]]


@pytest.mark.parametrize("samplerate", [1, 8000, 44_100, 192_000, 2_147_483_647])
@pytest.mark.parametrize("frames", [1, 1000, 10**9])
def test_bands_of_any_samplerate_are_bins_that_there_are(samplerate, frames):
    signal = Signal(frames, 1, samplerate, signal_of(noise(1)).format)
    kernel = PictureSurvey().measure(signal)
    bins = bins_of(kernel.edges)
    most = len(kernel.window) // 2
    assert max(bins.lower, default=0) + 1 <= most
    assert max(bins.wide, default=0) <= most + 1
    assert len(bins.lower) + len(bins.wide) // 2 == BANDS
