import inspect
import itertools
import math

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Chain
from zaudio.ops.catalogue import BUILTIN, describe_op, make_op
from zaudio.ops.contract import Exactness
from zaudio.ops.spec import parse_chain
from zaudio.signal import Signal

NAMES = ["highpass", "lowpass", "bandpass", "notch", "eq", "lowshelf", "highshelf", "dcblock"]
RATE = 48000
HALF_POWER = 10 * math.log10(0.5)


def signal(frames=100, samplerate=RATE, format="f64le"):
    return Signal(frames, 1, samplerate, sample_format(format))


def kernel(spec, samplerate=RATE):
    (parsed,) = parse_chain(spec)
    return make_op(parsed).design(signal(samplerate=samplerate))


def gain_db(spec, hz, samplerate=RATE):
    """Return the gain at a frequency, by the transfer function of the designed sections."""
    z = np.exp(-2j * np.pi * hz / samplerate)
    gain = 1.0
    for b0, b1, b2, a0, a1, a2 in kernel(spec, samplerate).sos.reshape(-1, 6):
        gain *= abs((b0 + b1 * z + b2 * z * z) / (a0 + a1 * z + a2 * z * z))
    return 20 * math.log10(gain) if gain else -math.inf


def approx(db):
    return pytest.approx(db, abs=1e-6)


# The laws


@pytest.mark.parametrize("samplerate", [8000, 44100, 192000])
@pytest.mark.parametrize("hz", [20, 80.5, 1000, 3900])
def test_corners_and_middles_are_exactly_at_hz(hz, samplerate):
    assert gain_db(f"highpass:hz={hz}", hz, samplerate) == approx(HALF_POWER)
    assert gain_db(f"lowpass:hz={hz}", hz, samplerate) == approx(HALF_POWER)
    assert gain_db(f"bandpass:hz={hz},q=3", hz, samplerate) == approx(0)
    assert gain_db(f"notch:hz={hz},q=3", hz, samplerate) < -180
    assert gain_db(f"eq:hz={hz},db=7.5", hz, samplerate) == approx(7.5)
    assert gain_db(f"lowshelf:hz={hz},db=-9", hz, samplerate) == approx(-4.5)
    assert gain_db(f"highshelf:hz={hz},db=5,slope=0.4", hz, samplerate) == approx(2.5)


def test_passes_are_open_on_one_side_and_fall_by_12_db_per_octave_on_the_other():
    assert gain_db("highpass:hz=1000", RATE / 2) == approx(0)
    assert gain_db("highpass:hz=1000", 0) < -250
    assert gain_db("highpass:hz=1000", 20) - gain_db("highpass:hz=1000", 10) == pytest.approx(12.04, abs=0.01)
    assert gain_db("lowpass:hz=100", 0) == approx(0)
    assert gain_db("lowpass:hz=100", RATE / 2) < -250
    assert gain_db("lowpass:hz=100", 1000) - gain_db("lowpass:hz=100", 2000) == pytest.approx(12.04, abs=0.1)


@pytest.mark.parametrize("op", ["highpass", "lowpass"])
@pytest.mark.parametrize("q", [0.2, 0.5, 1, 8])
def test_q_of_a_pass_is_its_gain_at_hz(op, q):
    assert gain_db(f"{op}:hz=1000,q={q}", 1000) == approx(20 * math.log10(q))


def test_two_passes_with_the_documented_q_are_a_butterworth_filter_of_fourth_order():
    for hz in (500, 900, 1000, 1100, 2000):
        ratio = math.tan(math.pi * 1000 / RATE) / math.tan(math.pi * hz / RATE)
        expected = -10 * math.log10(1 + ratio**8)
        pair = gain_db("highpass:hz=1000,q=0.541196", hz) + gain_db("highpass:hz=1000,q=1.306563", hz)
        assert pair == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("spec", "between"), [("bandpass:hz=100,q=5", -3.0103), ("notch:hz=100,q=5", -3.0103)])
def test_half_power_points_are_hz_divided_by_q_apart(spec, between):
    low = 100 * (math.sqrt(1 + 1 / 100) - 1 / 10)  # of the analogue model: far below half the samplerate it is the same
    assert gain_db(spec, low) == pytest.approx(between, abs=0.001)
    assert gain_db(spec, low + 20) == pytest.approx(between, abs=0.001)


@pytest.mark.parametrize("db", [-60, -3, 0, 4, 60])
@pytest.mark.parametrize("slope", [0.1, 1])
def test_shelves_are_flat_at_both_ends(db, slope):
    assert gain_db(f"lowshelf:hz=1000,db={db},slope={slope}", 0) == approx(db)
    assert gain_db(f"lowshelf:hz=1000,db={db},slope={slope}", RATE / 2) == approx(0)
    assert gain_db(f"highshelf:hz=1000,db={db},slope={slope}", 0) == approx(0)
    assert gain_db(f"highshelf:hz=1000,db={db},slope={slope}", RATE / 2) == approx(db)


@pytest.mark.parametrize("spec", ["lowshelf:hz=1000,db=12", "highshelf:hz=1000,db=-12"])
def test_shelves_have_no_bump_with_the_steepest_slope(spec):
    gains = [gain_db(spec, hz) for hz in np.linspace(1, RATE / 2, 500)]
    assert all(before >= after - 1e-9 for before, after in itertools.pairwise(gains))


def test_an_eq_is_flat_far_away_and_undone_by_its_opposite():
    assert gain_db("eq:hz=1000,db=6", 0) == approx(0)
    assert gain_db("eq:hz=1000,db=6", RATE / 2) == approx(0)
    for hz in (10, 700, 1000, 1300, 20000):
        assert gain_db("eq:hz=1000,db=9,q=2", hz) == approx(-gain_db("eq:hz=1000,db=-9,q=2", hz))
    up = 1000 * (math.sqrt(1 + 1 / 16) + 1 / 4)
    assert gain_db("eq:hz=1000,db=6,q=2", up, 768_000) == pytest.approx(3, abs=0.01)


def test_dcblock_takes_out_the_constant_and_nothing_at_the_top():
    assert gain_db("dcblock", 0) == -math.inf
    assert gain_db("dcblock", RATE / 2) == approx(0)
    assert gain_db("dcblock:hz=20", 20) == pytest.approx(HALF_POWER, abs=0.02)
    assert gain_db("dcblock", 2) - gain_db("dcblock", 1) == pytest.approx(6.02, abs=0.2)


# Sines through a chain


@pytest.mark.parametrize(
    ("spec", "hz"),
    [
        ("highpass:hz=300", 100),
        ("highpass:hz=300", 300),
        ("lowpass:hz=3000", 5000),
        ("bandpass:hz=1000,q=2", 1500),
        ("notch:hz=1000,q=2", 1000),
        ("notch:hz=1000,q=2", 900),
        ("eq:hz=1000,db=6", 1000),
        ("lowshelf:hz=500,db=-10", 100),
        ("highshelf:hz=4000,db=8", 12000),
        ("dcblock:hz=100", 50),
    ],
)
def test_a_sine_comes_out_as_loud_as_the_law_says(spec, hz):
    frames = 2 * RATE
    sine = np.sin(2 * np.pi * hz * np.arange(frames) / RATE)[:, None]
    settled = Chain(spec, signal(frames))(sine)[RATE:]  # whole periods
    loudness = math.sqrt(2 * np.mean(settled**2))
    assert loudness == pytest.approx(10 ** (gain_db(spec, hz) / 20), abs=1e-9)


def test_a_constant_is_gone_behind_a_dcblock_and_the_rest_stays():
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE * 3) / RATE)[:, None]
    settled = Chain("dcblock:hz=10", signal(len(sine)))(0.25 * sine + 0.5)[2 * RATE :]
    assert abs(settled.mean()) < 1e-6
    assert np.abs(settled).max() == pytest.approx(0.25, abs=1e-3)


# What is refused, and what is told


@pytest.mark.parametrize("name", NAMES)
def test_hz_is_below_half_the_samplerate(name):
    more = ",db=3" if name in ("eq", "lowshelf", "highshelf") else ""
    for hz in (4000, 4000.5, 22050):
        with pytest.raises(UsageError, match=rf"op {name}: hz must be below half the samplerate, 4000 Hz, not {hz:g}$"):
            kernel(f"{name}:hz={hz}{more}", 8000)
    assert kernel(f"{name}:hz=3900{more}", 8000).warmup > 0


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("highpass", "op highpass needs hz: corner in Hz, .* for example highpass:hz=80"),
        ("eq:hz=100", "op eq needs db"),
        ("highpass:hz=0", "op highpass: hz is a number from 0.1"),
        ("highpass:hz=80,q=0", "op highpass: q is a number from 0.05 to 1000, not 0"),
        ("lowshelf:hz=80,db=3,slope=1.1", "op lowshelf: slope is a number from 0.01 to 1"),
        ("notch:hz=80,db=3", "op notch has no parameter db; it has hz, q"),
        ("eq:hz=80,db=61", "op eq: db is a number from -60 to 60"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(spec, sentence):
    with pytest.raises(UsageError, match=sentence):
        kernel(spec)


@pytest.mark.parametrize("name", NAMES)
def test_every_filter_tells_formula_source_and_an_example_that_works(name):
    op = BUILTIN[name]
    assert op.exactness is Exactness.GRID
    assert op.example.startswith(name)
    assert kernel(op.example).warmup > 0
    text = inspect.getdoc(op)
    assert "Source: " in text
    assert "H(s)" in text or "y[n]" in text
    assert describe_op(name).parameters[0][0] == "hz"
