import numpy as np
import pytest
from ops_support import column, noise, run, signal_of, special_bits

from zaudio.errors import UsageError
from zaudio.formats import FORMATS
from zaudio.ops import Chain

KEPT = sorted(FORMATS)


def assert_refused(spec, array, words):
    with pytest.raises(UsageError, match=words):
        Chain(spec, signal_of(array))


# trim


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("channels", [1, 3])
def test_trim_keeps_a_stretch_bit_for_bit(name, channels):
    array = noise(50, channels, name)
    assert run("trim:start=10ms,length=30ms", array).tobytes() == array[10:40].tobytes()
    assert run("trim:start=10ms", array).tobytes() == array[10:].tobytes()
    assert run("trim:length=1f", array).tobytes() == array[:1].tobytes()
    assert run(["trim:start=10f", "trim:start=5f,length=2f"], array).tobytes() == array[15:17].tobytes()


def test_trim_up_to_the_very_end_is_allowed():
    array = noise(50)
    assert run("trim:start=49f,length=1f", array).tobytes() == array[49:].tobytes()


@pytest.mark.parametrize("spec", ["trim:start=50f", "trim:length=0s", "trim:start=10f,length=0f"])
def test_trim_of_everything_is_refused(spec):
    assert_refused(spec, noise(50), "op trim: start=.* leaves nothing of the recording of 0.050 s .50 frames.")


def test_trim_beyond_the_end_names_both():
    words = r"start=10f, length=41f goes up to 0.051 s \(frame 51\), beyond the end of the recording of 0.050 s \(50"
    assert_refused("trim:start=10f,length=41f", noise(50), words)
    assert_refused("trim:start=1s", noise(50), r"op trim: start=1s goes up to 1.000 s \(frame 1000\), beyond the end")
    assert_refused("trim", noise(0), "leaves nothing")


# pad


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("frames", [0, 1, 50])
def test_pad_puts_zeros_around_and_keeps_the_rest_bit_for_bit(name, frames):
    array = noise(frames, 2, name)
    expected = bytes(30 * 2 * array.itemsize) + array.tobytes() + bytes(70 * 2 * array.itemsize)
    assert run("pad:before=30f,after=70f", array).tobytes() == expected
    assert run("pad", array).tobytes() == array.tobytes()


def test_pad_and_trim_undo_each_other():
    array = noise(50, 2, "s16be")
    assert run(["pad:before=7f,after=9f", "trim:start=7f,length=50f"], array).tobytes() == array.tobytes()


def test_pad_of_more_than_a_day_is_refused():
    assert_refused("pad:after=86401s", noise(1), "op pad: expected at most 24 hours on each side, not 0s and 86401s")
    assert Chain("pad:after=86400s", signal_of(noise(1))).output.frames == 86_400_001


# mute


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_mute_makes_zeros_of_a_stretch_and_keeps_every_bit_outside(dtype):
    array = special_bits(dtype).view(dtype)
    expected = array.copy()
    expected[3:7] = 0
    assert run("mute:start=3f,length=4f", array).tobytes() == expected.tobytes()
    expected[3:] = 0
    assert run("mute:start=3f", array).tobytes() == expected.tobytes()
    assert run("mute:start=3f,length=0f", array).tobytes() == array.tobytes()


def test_mute_behind_another_op_is_at_its_own_frames():
    assert run(["trim:start=2f", "mute:start=1f,length=1f"], column([1, 2, 3, 4, 5]))[:, 0].tolist() == [3, 0, 5]


def test_mute_beyond_the_end_is_refused():
    assert_refused("mute:start=0s,length=51f", noise(50), r"op mute: start=0s, length=51f goes up to .*frame 51")


# fade


@pytest.mark.parametrize(
    ("shape", "curve"),
    [("linear", lambda t: t), ("smooth", lambda t: t * t * (3 - 2 * t)), ("power", np.sqrt)],
)
def test_fade_multiplies_by_its_curve_and_mirrors_it(shape, curve):
    result = run(f"fade:in=10f,out=20f,shape={shape}", np.ones((50, 2)))
    expected = np.ones(50)
    expected[:10] = curve(np.arange(10) / 10)
    expected[30:] = curve(np.arange(20) / 20)[::-1]
    assert result[:, 0].tolist() == result[:, 1].tolist() == expected.tolist()
    assert result[0, 0] == result[-1, 0] == 0


def test_power_fades_that_overlap_keep_the_power():
    rise = run("fade:in=100f,shape=power", np.ones((101, 1)))[:, 0]
    fall = run("fade:out=100f,shape=power", np.ones((101, 1)))[:, 0]
    assert rise**2 + fall**2 == pytest.approx(np.ones(101))


def test_fades_of_the_whole_recording_meet():
    assert run("fade:in=2f,out=2f", np.ones((4, 1)))[:, 0].tolist() == [0, 0.5, 0.5, 0]
    assert run("fade:in=1f", np.ones((1, 1)))[:, 0].tolist() == [0]


def test_fades_longer_than_the_recording_are_refused():
    assert_refused("fade:in=2f,out=3f", noise(4), "op fade: in=2f and out=3f have 5 frames together, more than")
    assert_refused("fade:in=1f", noise(0), "more than the recording of 0.000 s")
    assert_refused("fade", noise(4), "op fade: expected a length for in, for out or for both, as in fade:in=2s,out=5s")
    assert_refused("fade:in=1f,shape=round", noise(4), "op fade: shape is one of linear, smooth, power, not 'round'")
