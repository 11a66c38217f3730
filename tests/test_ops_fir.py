import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Chain, import_allowed, make_ops
from zaudio.ops.catalogue import describe_op, make_op
from zaudio.ops.chain import Course, versions_of
from zaudio.ops.contract import Exactness, arrays
from zaudio.ops.fir import DIRECT_MOST, TAPS_MOST, Fir, Taps, block_sizes, design_taps, read_taps
from zaudio.ops.graph import Graph
from zaudio.ops.spec import parse_chain
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

RATE = 48000


def signal(frames, channels=1, format="f64le"):
    return Signal(frames, channels, RATE, sample_format(format))


def designed(spec, before):
    return Course([make_op(parsed) for parsed in parse_chain(spec)], before).main


def kernel(spec):
    (only,) = designed(spec, signal(100)).ops
    return only


def noise(frames, channels=1, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels))


def filtered(op, array, grid=65_536):
    return Graph([op], signal(*array.shape), grid)(array, 0, 0, len(array))


def textbook(taps, array, delay=0):
    """Return the convolution, as long as the array, moved to the left by the delay."""
    return np.stack([np.convolve(channel, taps)[delay:][: len(array)] for channel in array.T], axis=1)


def gain_db(taps, hz):
    gain = abs(np.sum(taps * np.exp(-2j * np.pi * hz / RATE * np.arange(len(taps)))))
    return 20 * math.log10(max(gain, 1e-30))


# The computation


@pytest.mark.parametrize("kind", ["symmetric", "any", "even"])
@pytest.mark.parametrize("length", [1, 2, 3, DIRECT_MOST - 1, DIRECT_MOST, DIRECT_MOST + 1, 511, 4095])
def test_result_is_the_convolution(length, kind):
    taps = np.random.default_rng(length).uniform(-1, 1, length + (kind == "even"))
    if kind != "any":
        taps = taps + taps[::-1]
    taps /= np.abs(taps).sum()
    for frames in (1, 2, 97, 20_011):
        array = noise(frames, 2)
        for delay in {0, len(taps) // 2}:
            result = filtered(Taps(arrays(taps), delay), array)
            assert np.abs(result - textbook(taps, array, delay)).max() < 2e-15


def test_long_filters_are_computed_in_larger_blocks():
    taps = np.random.default_rng(1).uniform(-1, 1, 30_000)
    taps /= np.abs(taps).sum()
    array = noise(70_000)
    pieces = np.fft.irfft(np.fft.rfft(array[:, 0], 2**17) * np.fft.rfft(taps, 2**17))[:70_000]
    assert np.abs(filtered(Taps(arrays(taps), 0), array)[:, 0] - pieces).max() < 1e-14


@given(frames=st.integers(1, 3_000_000), taps=st.integers(1, TAPS_MOST))
def test_blocks_cover_a_range_and_their_ffts_hold_them(frames, taps):
    count, hop, size = block_sizes(frames, taps)
    assert (count - 1) * hop < frames <= count * hop
    assert hop + taps - 1 <= size <= max(16, 1.25 * (hop + taps))
    rest = size
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1


def test_blocks_of_the_usual_grid_are_four_rows_that_waste_little():
    for frames in (65_536, 70_000, 262_144, 1_048_576):
        count, _, size = block_sizes(frames, 511)
        assert count % 2 == 0
        assert count * size < 1.2 * frames


@settings(max_examples=10, deadline=None)
@given(
    frames=st.integers(0, 5) | st.integers(65_530, 65_540) | st.integers(100_000, 200_000),
    channels=st.sampled_from([1, 2, 3, 6]),
    format=st.sampled_from(["s16le", "f32le", "f64le", "s32be"]),
    spec=st.sampled_from(["fir:hz=4000", "fir:hz=4000,delay=kept", "fir:type=highpass,hz=900,length=9"]),
    order=st.permutations(range(4)),
    steps=st.lists(st.integers(1, 3), min_size=4, max_size=4),
)
def test_any_cut_and_order_gives_the_bits_of_the_chain(frames, channels, format, spec, order, steps):
    before = signal(frames, channels, format)
    raw, dtype = noise(frames, channels, seed=frames), np.dtype(before.format.dtype)
    array = (raw * (np.iinfo(dtype).max if dtype.kind == "i" else 1)).astype(dtype)
    expected = Chain(spec, before)(array)
    main = designed(spec, before)
    worker = Graph([kernel_of(kernel_step(op)) for op in main.ops], before, main.grid)
    edges = [min(cut * main.grid, frames) for cut in itertools.accumulate([0, *steps])]
    pieces = {}
    for start, stop in (list(itertools.pairwise(edges))[place] for place in order):
        low, high = worker.needs(start, stop)
        pieces[start] = pieces.get(start, b"") + worker(array[low:high].copy(), low, start, stop).tobytes()
    assert b"".join(pieces[start] for start in sorted(pieces)) == expected.tobytes()


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_each_channel_is_filtered_by_itself(channels):
    array = noise(70_000, channels)
    result = Chain("fir:hz=4000", signal(70_000, channels))(array)
    for channel in range(channels):
        alone = Chain("fir:hz=4000", signal(70_000))(array[:, [channel]])
        assert result[:, [channel]].tobytes() == alone.tobytes()


def test_samples_that_are_not_finite_are_read_as_zero():
    array = noise(100_000)
    clean = array.copy()
    for place, odd in ((10, np.nan), (70_000, np.inf), (70_001, -np.inf)):
        array[place], clean[place] = odd, 0
    chain = Chain("fir:hz=4000", signal(100_000))
    assert chain(array).tobytes() == Chain("fir:hz=4000", signal(100_000))(clean).tobytes()
    assert chain.counts.zeroed == 3


def test_silence_denormals_and_full_scale_squares():
    array = np.zeros((70_000, 1))
    assert not Chain("fir:hz=4000", signal(70_000))(array).any()
    array[:] = 5e-324
    assert np.abs(Chain("fir:hz=4000", signal(70_000))(array)).max() < 1e-300
    array[:, 0] = np.where(np.arange(70_000) // 441 % 2, 1.0, -1.0)
    taps = kernel("fir:hz=4000").taps
    assert 1 < np.abs(Chain("fir:hz=4000", signal(70_000))(array)).max() <= np.abs(taps).sum()


# The delay


def test_an_impulse_stays_in_its_place_unless_the_delay_is_kept():
    impulse = np.zeros((2000, 1))
    impulse[700] = 1
    taps = kernel("fir:hz=4000").taps
    assert np.argmax(Chain("fir:hz=4000", signal(2000))(impulse)) == 700
    kept = Chain("fir:hz=4000,delay=kept", signal(2000))(impulse)
    assert np.argmax(kept) == 700 + 255
    assert np.abs(kept[700:1211, 0] - taps).max() < 1e-16
    assert kernel("fir:hz=4000").context(signal(9)) == (255, 255)
    assert kernel("fir:hz=4000,delay=kept").context(signal(9)) == (510, 0)


def test_the_delay_of_taps_that_are_not_the_same_backwards_is_theirs(tmp_path):
    for numbers, delay in (("1 2 1", 1), ("1 0 -1", 1), ("1 2 2 1", 0), ("1 2 3", 0), ("5", 0)):
        (tmp_path / "taps").write_text("\n".join(numbers.split()))
        assert kernel(f"fir:taps={tmp_path}/taps").delay == delay
        assert kernel(f"fir:taps={tmp_path}/taps,delay=kept").delay == 0


def test_a_single_tap_is_a_factor_and_has_no_memory(tmp_path):
    (tmp_path / "taps").write_text("-0.5\n")
    (main,) = designed(f"fir:taps={tmp_path}/taps", signal(9)).ops
    assert not main.has_memory(signal(9))
    array = noise(9, 2)
    assert Chain(f"fir:taps={tmp_path}/taps", signal(9, 2))(array).tobytes() == (array * -0.5).tobytes()


# Designs


@pytest.mark.parametrize("window", ["kaiser", "blackman", "hamming", "hann", "rectangular"])
@pytest.mark.parametrize("type", ["lowpass", "highpass", "bandpass", "bandstop"])
def test_designs_pass_and_stop_where_they_should(type, window):
    ripple, stop, width = {
        "kaiser": (0.001, -80, 480),
        "blackman": (0.003, -74, 600),
        "hamming": (0.02, -52, 400),
        "hann": (0.06, -43, 400),
        "rectangular": (0.9, -20, 120),
    }[window]
    taps = kernel(f"fir:type={type},hz=4000,high_hz={8000 * (type[:4] == 'band')},window={window}").taps
    assert taps.tolist() == taps[::-1].tolist()
    passes = {
        "lowpass": lambda hz: hz < 4000,
        "highpass": lambda hz: hz > 4000,
        "bandpass": lambda hz: 4000 < hz < 8000,
        "bandstop": lambda hz: not 4000 < hz < 8000,
    }[type]
    edges = [4000, 8000] if type[:4] == "band" else [4000]
    for edge in edges:
        assert gain_db(taps, edge) == pytest.approx(-6.02, abs=0.5)
    for hz in np.linspace(0, RATE / 2, 1201):
        if all(abs(hz - edge) > width / 2 for edge in edges):
            if passes(hz):
                assert abs(gain_db(taps, hz)) < ripple
            else:
                assert gain_db(taps, hz) < stop


@pytest.mark.parametrize("stop_db", [60, 100, 140])
def test_the_kaiser_window_keeps_its_attenuation_and_width(stop_db):
    taps = kernel(f"fir:hz=4000,stop_db={stop_db},length=1023").taps
    half = (stop_db - 7.95) / (14.36 * 1023) * RATE / 2
    assert (
        max(gain_db(taps, hz) for hz in np.arange(4000 + half, RATE / 2, 7)) < -stop_db + 5
    )  # Kaiser's formulas are fits
    assert (
        max(abs(gain_db(taps, hz)) for hz in np.arange(0, 4000 - half, 7))
        < 20 * math.log10(1 + 10 ** (-stop_db / 20)) * 1.2
    )


def test_designs_are_exact_at_0_hz():
    assert math.fsum(kernel("fir:hz=100").taps) == pytest.approx(1, abs=1e-15)
    assert math.fsum(kernel("fir:type=highpass,hz=100").taps) == pytest.approx(0, abs=1e-15)
    assert len(design_taps("lowpass", [0.1], 3, "hann", 80)) == 3


def test_a_sine_behind_a_lowpass_is_itself_or_gone():
    frames = np.arange(RATE)
    low, high = (np.sin(2 * np.pi * hz * frames / RATE)[:, None] for hz in (1000, 9000))
    result = Chain("fir:hz=4000", signal(RATE))(low + high)
    assert np.abs(result - low)[300:-300].max() < 2e-4


# Files and parameters


def test_a_file_has_one_number_per_line_with_comments(tmp_path):
    text = "# a filter\n\n 0.25 # first\n+5e-1\r\n.25"
    (tmp_path / "taps.txt").write_text(text)
    assert kernel(f"fir:taps={tmp_path}/taps.txt").taps.tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["1\n", "x = 2\n"], r"op fir: f, line 2: expected a number from -1e\+06 to 1e\+06, not 'x = 2'$"),
        (["# c\n", "nan\n"], "line 2: .* not 'nan'"),
        (["inf\n"], "line 1: .* not 'inf'"),
        (["1e7\n"], "line 1: .* not '1e7'"),
        (["1 2\n"], "line 1: .* not '1 2'"),
        (["1" * 1001], "f, line 1 has more than 1000 characters; expected one number per line"),
        ([], "f has no taps; expected one number per line"),
        (["# none\n", "\n"], "f has no taps"),
        (["1\n"] * (TAPS_MOST + 1), "f has more than 131072 taps"),
    ],
)
def test_errors_in_a_file_name_the_line(lines, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_taps(lines, "f")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "taps.txt").write_bytes(b"\xef\xbb\xbf0.5\n")
    assert kernel(f"fir:taps={tmp_path}/taps.txt").taps.tolist() == [0.5]


def test_the_taps_of_a_file_are_part_of_the_version(tmp_path):
    def version(text):
        (tmp_path / "taps.txt").write_text(text)
        return versions_of(make_ops(parse_chain(f"fir:taps={tmp_path}/taps.txt"), import_allowed([])))[0]

    assert version("1\n0.5\n") == version("1.0  # the same\n.5") != version("1\n0.25\n")
    assert re.fullmatch(r"1\+sha256:[0-9a-f]{16}", version("1\n"))
    assert versions_of([Fir(hz=900)]) == ("1",)


def test_a_file_without_an_end_is_refused():
    with pytest.raises(UsageError, match=r"^op fir: /dev/zero, line 1 has more than 1000 characters"):
        kernel("fir:taps=/dev/zero")


def test_a_file_of_as_many_taps_as_there_may_be_is_taken():
    assert len(read_taps(["1\n"] * TAPS_MOST, "f")) == TAPS_MOST


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ("", "op fir needs hz, or taps=FILE; for example fir:type=lowpass"),
        ("taps=/nowhere/x", "op fir: cannot read the taps in /nowhere/x: .*No such file"),
        ("taps=/nowhere/x,hz=9", "give either taps=/nowhere/x or a design .* not both"),
        ("taps=/nowhere/x,length=63", "give either taps=/nowhere/x or a design .* not both"),
        ("hz=5e-324", "op fir: hz must be 0.1 Hz or more, not 4.94066e-324"),
        ("hz=24000", "op fir: hz must be below half the samplerate, 24000 Hz, not 24000"),
        ("type=bandpass,hz=9,high_hz=25000", "op fir: high_hz must be below half the samplerate, 24000 Hz, not 25000"),
        ("type=bandpass,hz=900", "op fir: high_hz must be above hz, 900, not 0"),
        ("type=bandstop,hz=900,high_hz=900", "op fir: high_hz must be above hz"),
        ("hz=900,high_hz=1000", "op fir: high_hz is for bandpass and bandstop, and type is lowpass"),
        ("hz=900,length=10", "op fir: length must be odd, so that there is a tap in the middle, not 10"),
        ("hz=900,length=1", "op fir: length is an integer from 3"),
        ("hz=900,window=bartlett", "op fir: window is one of kaiser"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(parameters, sentence):
    with pytest.raises(UsageError, match=sentence):
        kernel(f"fir:{parameters}" if parameters else "fir")


def test_fir_describes_itself():
    described = describe_op("fir")
    assert described.exactness == Exactness.GRID.value
    assert "Source: " in described.text
    assert kernel(described.example).delay == 255
