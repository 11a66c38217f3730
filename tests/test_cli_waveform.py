import json

import numpy as np
import pytest
from ops_support import noise, signal_of

from zaudio.cli import waveform
from zaudio.cli.waveform import pieces_of_json
from zaudio.ops.chain import _pass
from zaudio.ops.picturing import PictureSurvey


def told(array, piece=4, bits=16):
    survey, signal = PictureSurvey(50, piece, ""), signal_of(array, 48_000)
    graph = _pass((survey.measure(signal),), signal).graph()
    view = survey.report(graph(array, 0, 0, graph.output.frames), signal)
    return json.loads(b"".join(pieces_of_json(view, bits)))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_fields_are_those_of_version_2_and_agree(bits, channels):
    found = told(noise(1001, channels, "f32le"), 4, bits)
    assert list(found) == ["version", "channels", "sample_rate", "samples_per_pixel", "bits", "length", "data"]
    assert (found["version"], found["channels"], found["sample_rate"]) == (2, channels, 48_000)
    assert (found["samples_per_pixel"], found["bits"], found["length"]) == (4, bits, 251)
    assert len(found["data"]) == 2 * channels * found["length"]
    assert all(type(value) is int and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) for value in found["data"])


def test_least_and_greatest_of_each_channel_take_turns():
    array = np.array([[-32_768, 100], [32_767, 300], [5, -7], [6, -8], [1, 2]], "<i2")
    assert told(array, 2)["data"] == [-32_768, 32_767, 100, 300, 5, 6, -8, -7, 1, 1, 2, 2]


def test_values_are_rounded_to_the_nearest_and_limited():
    array = np.array([[-1.5, 1.5], [0.0039, -0.0039], [0.5, -0.5]], "<f8")
    assert told(array, 1, 8)["data"] == [-128, -128, 127, 127, 0, 0, 0, 0, 64, 64, -64, -64]


def test_a_recording_of_no_frames_has_no_pixels():
    found = told(np.empty((0, 2), np.float32))
    assert (found["length"], found["data"], found["channels"]) == (0, [], 2)


def test_long_ones_are_written_in_pieces(monkeypatch):
    whole = told(noise(1001, 2))
    monkeypatch.setattr(waveform, "PIXELS", 10)
    assert told(noise(1001, 2)) == whole
