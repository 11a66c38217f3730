import pytest

from zaudio.formats import FORMATS
from zaudio.signal import Signal


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 65535])
def test_bytes_follow_from_frames_channels_and_format(format, channels):
    signal = Signal(7, channels, 44100, format)
    assert signal.frame_bytes == channels * format.itemsize
    assert signal.bytes == 7 * channels * format.itemsize
    assert Signal(0, channels, 44100, format).bytes == 0


def test_a_signal_is_said_in_words():
    assert str(Signal(3, 2, 44100, FORMATS["f32le"])) == "3 frames of 2 channels at 44100 Hz in f32le"
    assert str(Signal(1, 1, 8000, FORMATS["s16be"])) == "1 frame of 1 channel at 8000 Hz in s16be"
