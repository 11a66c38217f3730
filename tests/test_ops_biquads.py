import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Chain, biquads, graph
from zaudio.ops.biquads import DOTS_ABOVE, WARMUP_MOST, Biquads, impulse_response, warm_up
from zaudio.ops.catalogue import make_op
from zaudio.ops.chain import Course
from zaudio.ops.contract import arrays
from zaudio.ops.graph import Graph
from zaudio.ops.spec import parse_chain
from zaudio.ops.travel import kernel_of, kernel_step
from zaudio.signal import Signal

FOUR = ["highpass:hz=80", "eq:hz=3000,db=3,q=1", "lowshelf:hz=200,db=4", "highshelf:hz=8000,db=-4"]
SIMD = "X86_V3 X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX512_SPR AVX2 FMA3"  # by old names and new ones


def signal(frames, channels=1, format="f64le", samplerate=44100):
    return Signal(frames, channels, samplerate, sample_format(format))


def designed(specs, before):
    """Return the ops that travel of the only stage."""
    return Course([make_op(spec) for spec in parse_chain(specs)], before).main


def cascade(specs, samplerate=44100):
    """Return the one kernel of a chain of filters."""
    (kernel,) = designed(specs, signal(100, samplerate=samplerate)).ops
    return kernel


def sections(kernel):
    return kernel.sos.reshape(-1, 6).copy()  # scipy wants to write to it


def noise(frames, channels=1, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels))


def textbook(kernel, array):
    return sosfilt(sections(kernel), array, axis=0)


# The warm-up


def least_warm_up(sos):
    """Return the least n, by filtering an impulse for as long as it takes."""
    found = 0
    for count in range(1, len(sos) + 1):
        impulse = np.zeros(600_000)
        impulse[0] = 1
        rest = np.cumsum(np.abs(sosfilt(sos[:count], impulse))[::-1])[::-1]
        assert rest[-100_000] < 2.0**-70  # it has ended
        found = max(found, int(np.flatnonzero(rest > 2.0**-60)[-1]) + 1)
    return found


@pytest.mark.parametrize(
    "specs",
    [
        FOUR,
        ["highpass:hz=80"] * 4,  # equal poles: eight times the same
        ["notch:hz=50,q=30"],
        ["highpass:hz=10,q=0.1"],  # two real poles, far apart
        ["highpass:hz=100,q=0.5", "lowpass:hz=100,q=0.5"],  # real ones, all the same
        ["lowpass:hz=21900"],  # near the other end of the circle
        ["dcblock:hz=10"],
        ["eq:hz=100,q=4,db=6", "highpass:hz=100"],
        ["highshelf:hz=8000,db=60"],
    ],
    ids=lambda specs: "+".join(specs)[:40],
)
def test_warm_up_is_the_least_that_leaves_an_echo_of_60_bits(specs):
    kernel = cascade(specs)
    least = least_warm_up(sections(kernel))
    assert kernel.warmup % 32 == 0
    assert least <= kernel.warmup < least + 32


@pytest.mark.parametrize(
    ("spec", "frames"),
    [
        (["highpass:hz=80"], 5184),
        (["highpass:hz=20"], 20640),
        (["dcblock:hz=10"], 29216),
        (["notch:hz=50,q=30"], 352352),
        (FOUR, 5216),
    ],
)
def test_warm_ups_that_the_documentation_tells(spec, frames):
    assert cascade(spec).warmup == frames


@pytest.mark.parametrize("samplerate", [22050, 44100, 192000])
@pytest.mark.parametrize("spec", [FOUR, ["highpass:hz=20"] * 3, ["notch:hz=50"] * 2, ["bandpass:hz=3999,q=20"]])
def test_impulse_response_is_the_one_that_filtering_gives(spec, samplerate):
    kernel = cascade(spec, samplerate)
    impulse = np.zeros(20_011)
    impulse[0] = 1
    expected = sosfilt(sections(kernel), impulse)
    assert np.abs(impulse_response(sections(kernel).tolist(), len(impulse)) - expected).max() < 1e-11
    for length in (1, 2, 3, 4, 5, 97):
        assert np.allclose(impulse_response(sections(kernel).tolist(), length), expected[:length], rtol=0, atol=1e-12)


def test_filters_of_a_chain_are_one_cascade_with_one_warm_up():
    alone = [cascade([spec]).warmup for spec in FOUR]
    assert cascade(FOUR).warmup < sum(alone)
    assert cascade(FOUR).warmup == max(*alone, 5216)
    assert sections(cascade(FOUR)).tolist() == [row for spec in FOUR for row in sections(cascade([spec])).tolist()]


def test_ops_between_filters_keep_them_apart():
    names = [op.name for op in designed([*FOUR[:2], "gain:db=-3", *FOUR[2:]], signal(100)).ops]
    assert names == ["biquads", "gain", "biquads"]
    assert cascade(FOUR[:1]).join(designed(["gain:db=1"], signal(9)).ops[0]) is None


def test_filters_that_ring_for_too_long_are_refused_or_not_joined():
    with pytest.raises(UsageError, match=r"op notch would ring for more than 95 s at 44100 Hz, .* use a lower q, or"):
        cascade(["notch:hz=20,q=1000"])
    with pytest.raises(UsageError, match=r"op highpass would ring .* further from 0"):
        cascade(["highpass:hz=0.1"], 96000)
    long = cascade(["notch:hz=50,q=330"])
    assert WARMUP_MOST * 0.9 < long.warmup <= WARMUP_MOST
    assert long.join(long) is None  # equal poles ring for longer


def test_warm_up_of_a_filter_that_is_only_a_factor_is_nothing():
    assert cascade(["eq:hz=1000,db=0"]).warmup <= 256
    assert warm_up(((0.5, 0.0, 0.0, 1.0, 0.0, 0.0),)) == 32


def test_a_pole_on_the_unit_circle_has_no_warm_up():
    on_the_circle = (1.0, 0.0, 0.0, 1.0, -2.0, 1.0)
    assert warm_up((on_the_circle,)) is None
    assert warm_up((on_the_circle, (0.5, 0.0, 0.0, 1.0, 0.0, 0.0))) is None


# scipy


def test_filters_are_designed_without_importing_scipy():
    code = (
        "import sys; from zaudio.ops import Chain; from zaudio.signal import Signal;"
        "from zaudio.formats import sample_format;"
        f"Chain({FOUR!r}, Signal(9, 1, 44100, sample_format('f32le'))); print('scipy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_without_scipy_the_sentence_says_the_package_to_install(monkeypatch):
    kernel = cascade(["highpass:hz=80"])
    monkeypatch.setattr(biquads.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"op highpass needs scipy: pip install 'zaudio\[dsp\]'"):
        cascade(["highpass:hz=80"])
    with pytest.raises(UsageError, match=r"op biquads needs scipy: pip install 'zaudio\[dsp\]'"):
        kernel.setup(signal(9))
    assert kernel.requires == ("zaudio.ops.sosfilt",)


# The same bits, in any cut and order


def on_workers(main, array, cuts, order):
    """Return the bytes of the result of workers: each range of blocks on its own, by Steps that travelled."""
    before = main.signal
    worker = Graph([kernel_of(kernel_step(op)) for op in main.ops], before, main.grid)
    pieces = {}
    edges = [min(cut * main.grid, worker.output.frames) for cut in cuts]
    ranges = list(itertools.pairwise(edges))
    for start, stop in (ranges[place] for place in order if place < len(ranges)):
        low, high = worker.needs(start, stop)
        pieces[start] = worker(array[low:high].copy(), low, start, stop)
    return b"".join(pieces[start].tobytes() for start in sorted(pieces))


@settings(max_examples=10, deadline=None)
@given(
    frames=st.integers(0, 5) | st.integers(65_530, 65_540) | st.integers(100_000, 200_000),
    channels=st.sampled_from([1, 2, 3, 6]),
    format=st.sampled_from(["s16le", "f32le", "f64le", "f32be"]),
    order=st.permutations(range(4)),
    steps=st.lists(st.integers(1, 3), min_size=4, max_size=4),
)
def test_any_cut_and_order_gives_the_bits_of_the_chain(frames, channels, format, order, steps):
    before = signal(frames, channels, format)
    raw = noise(frames, channels, seed=frames)
    array = (raw * 30000).astype(before.format.dtype) if format == "s16le" else raw.astype(before.format.dtype)
    main = designed(FOUR, before)
    expected = Chain(FOUR, before)(array)
    assert on_workers(main, array, list(itertools.accumulate([0, *steps])), order) == expected.tobytes()


def test_long_warm_ups_give_the_bits_of_the_chain_too():
    array = noise(400_000, 2)
    kernel = cascade(["notch:hz=50,q=30"])
    graph_ = Graph([kernel], signal(len(array), 2), 65_536)
    whole = graph_(array, 0, 0, len(array))
    for start in range(0, len(array), 2 * 65_536):
        stop = min(start + 2 * 65_536, len(array))
        low, high = graph_.needs(start, stop)
        assert graph_(array[low:high].copy(), low, start, stop).tobytes() == whole[start:stop].tobytes()


ELSEWHERE = """
import hashlib, sys
from zaudio.formats import sample_format
from zaudio.ops.biquads import Biquads
from zaudio.ops.contract import arrays, fixed_vector
from zaudio.ops.graph import Graph
from zaudio.signal import Signal

def digest(numbers, warmup):
    signal = Signal(150_000, 2, 44100, sample_format("f64le"))
    graph = Graph([Biquads(arrays(numbers), warmup)], signal, 50_000)
    return hashlib.sha256(graph(fixed_vector(signal, signal.frames), 0, 0, signal.frames)).hexdigest()

"""


@pytest.mark.extended
def test_another_processor_gives_the_same_bits_of_long_warm_ups():
    kernel, names = cascade(["notch:hz=50,q=30", "highpass:hz=80"]), {}
    exec(ELSEWHERE, names)
    expected = names["digest"](kernel.sos, kernel.warmup)
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{ELSEWHERE}print(digest({kernel.sos.tolist()}, {kernel.warmup}))"],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": SIMD},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [expected]


# As good as the textbook


@pytest.mark.parametrize(
    ("specs", "bound"),
    [
        (["highpass:hz=80"], 6e-14),
        (["highpass:hz=20"], 4.9e-13),
        (["dcblock:hz=10"], 1e-15),
        (FOUR, 1.3e-13),
        (["notch:hz=50,q=30"], 6.5e-13),
    ],
    ids=lambda value: "" if isinstance(value, float) else "+".join(value)[:30],
)
def test_blocks_differ_from_the_whole_by_rounding_only(specs, bound):
    array = 0.25 * noise(1_000_000, seed=3)  # as loud as speech
    kernel = cascade(specs)
    grid = 65_536 if kernel.warmup < DOTS_ABOVE else 262_144
    result = Graph([kernel], signal(len(array)), grid)(array, 0, 0, len(array))
    assert np.abs(result - textbook(kernel, array)).max() <= bound


def test_long_warm_ups_by_dot_products_agree_with_filtering_them():
    array = noise(300_000, 2, seed=5)
    specs = ["notch:hz=50,q=30", "highpass:hz=80", "eq:hz=1000,db=6"]
    kernel = cascade(specs)
    assert kernel.warmup > DOTS_ABOVE
    whole = Graph([kernel], signal(len(array), 2), 100_000)(array, 0, 0, len(array))
    assert np.abs(whole - textbook(kernel, array)).max() < 2e-12


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_each_channel_is_filtered_by_itself(channels):
    array = noise(70_000, channels)
    array[:, channels - 1] = 0
    result = Chain(FOUR, signal(70_000, channels))(array)
    for channel in range(channels):
        alone = Chain(FOUR, signal(70_000))(array[:, [channel]])
        assert np.array_equal(result[:, [channel]], alone)


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 31, 5183, 5184, 5185])
def test_a_recording_shorter_than_the_warm_up_is_the_textbook_in_every_bit(frames):
    array = noise(frames, 2)
    result = Chain(["highpass:hz=80"], signal(frames, 2))(array)
    assert result.shape == (frames, 2)
    expected = textbook(cascade(["highpass:hz=80"]), array) if frames else array
    assert result.tobytes() == expected.tobytes()


# Odd samples


def test_samples_that_are_not_finite_are_read_as_zero_and_do_no_harm_behind():
    array = noise(200_000).astype("<f4")
    clean = array.copy()
    for place, odd in ((10, np.nan), (70_000, np.inf), (130_000, -np.inf)):
        array[place], clean[place] = odd, 0
    chain = Chain(FOUR, signal(len(array), format="f32le"))
    result = chain(array)
    assert chain.counts.zeroed == 3
    assert result.tobytes() == Chain(FOUR, signal(len(array), format="f32le"))(clean).tobytes()


def test_an_overflow_is_forgotten_at_the_next_block():
    array = noise(200_000)
    array[1000] = 1.7e308
    kernel = cascade(FOUR)
    with np.errstate(all="ignore"):
        result = Graph([kernel], signal(len(array)), 65_536)(array, 0, 0, len(array))
    calm = noise(200_000)
    calm[1000] = 0
    assert np.isfinite(result[65_536 + kernel.warmup :]).all()
    expected = Graph([kernel], signal(len(array)), 65_536)(calm, 0, 0, len(array))
    assert result[131_072:].tobytes() == expected[131_072:].tobytes()


def test_silence_behind_a_sound_becomes_exact_zero_at_the_next_block():
    array = noise(300_000)
    array[20_000:] = 0
    result = Chain(["highpass:hz=80"], signal(len(array)))(array)
    assert np.abs(result[25_184:65_536]).max() < 2.0**-58
    assert result[65_535] != 0  # an echo, far below everything
    assert not result[65_536:].any()


def test_a_silent_warm_up_is_not_filtered():
    kernel = cascade(["highpass:hz=80"])
    lengths = []

    def counted(sections, samples, **more):
        lengths.append(samples.shape[1])
        return sosfilt(sections, samples, **more)

    before = signal(131_072)
    ranges = graph.Graph([kernel], before, 65_536)
    ranges.setup()
    state = biquads._Cascade(sections(kernel), [], counted)
    ranges._states = [state]
    array = noise(131_072)
    array[:65_536] = 0
    ranges(array, 0, 0, 131_072)
    array[65_535] = 1
    ranges(array, 0, 65_536, 131_072)
    assert lengths == [65_536, 65_536, 65_536 + kernel.warmup]


def test_full_scale_squares_stay_below_what_the_impulse_response_allows():
    square = np.where(np.arange(100_000) // 441 % 2, 1.0, -1.0)[:, None]
    kernel = cascade(FOUR)
    most = np.abs(impulse_response(sections(kernel).tolist(), 6000)).sum()
    result = Chain(FOUR, signal(len(square)))(square)
    assert 1 < np.abs(result).max() <= most
    chain = Chain(FOUR, signal(len(square), format="s16le"))
    integers = chain((square * 32767).astype("<i2"))
    assert chain.counts.clipped == np.count_nonzero(np.abs(np.rint(result * 32767)) > 32767)
    assert integers.max() == 32767
    assert integers.min() == -32768


def test_a_table_from_the_wire_is_filtered_as_it_was_sent():
    kernel = Biquads(arrays([0.5, 0.25, 0, 1, 0, 0]), 32)
    array = noise(100)
    result = Graph([kernel_of(kernel_step(kernel))], signal(100), 64)(array, 0, 0, 100)
    expected = 0.5 * array + 0.25 * np.vstack((np.zeros((1, 1)), array[:-1]))
    assert np.allclose(result, expected, rtol=0, atol=1e-16)
    assert math.isclose(result[0, 0], array[0, 0] / 2)
