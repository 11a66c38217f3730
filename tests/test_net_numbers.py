"""The numbers by which classes of machines are told apart: of the bits that an op gives, and of nothing else."""

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from net_support import Near, own_graph

from zaudio.formats import sample_format
from zaudio.net.numbers import SAMPLES_MOST, numbers_of
from zaudio.net.setups import Setups
from zaudio.ops.chain import graph_of
from zaudio.ops.contract import VECTOR_FRAMES, Kernel
from zaudio.ops.functions import import_allowed
from zaudio.signal import Signal
from zaudio.steps import Step

FORMATS = ("f32le", "s16be", "f64be", "s32le")
NONE = import_allowed([])


def numbers(steps, name="f32le", channels=1, frames=100_000, *, allowed=NONE, grid=0):
    steps = [Step(step) if isinstance(step, str) else Step(*step) for step in steps]
    signal = Signal(frames, channels, 44100, sample_format(name))
    return Setups().set_up(graph_of(steps, signal, grid, allowed), steps)


def own_numbers(ops, **of_graph):
    return Setups().set_up(own_graph(ops, **of_graph), tuple(Step(f"op{number}") for number in range(len(ops))))


@dataclass(frozen=True)
class Almost(Kernel):
    """An op that gives the last bit of one sample otherwise."""

    name = "almost"
    at: int = -1

    def apply(self, samples, place, state):
        if self.at >= 0:
            samples[self.at] = np.nextafter(samples[self.at], 2.0)
        return samples


@dataclass(frozen=True)
class Long(Near):
    """An op with a long memory."""

    before: int = 10
    seen = []

    def context(self, signal):
        return self.before, 0

    def apply(self, samples, place, state):
        self.seen.append((place.last - place.first, place.stop - place.start))
        return samples[self.before :]


@pytest.mark.parametrize("name", FORMATS)
def test_a_number_is_that_of_the_bits_and_not_of_their_rounding_to_the_format(name):
    same, other = own_numbers([Almost(), Almost()], name=name, frames=100_000)
    assert same == other != 0
    for at in (0, 1, VECTOR_FRAMES - 1):
        [changed] = own_numbers([Almost(at)], name=name, frames=100_000)
        assert changed not in (0, same)


def test_numbers_are_the_same_each_time_and_in_another_process():
    steps = ["invert", ("gain", (("factor", 0.3),)), ("clip", (("low", -0.2), ("high", 0.2)))]
    found = numbers(steps, "s16le", 3)
    assert len(set(found)) == 3
    assert found == numbers(steps, "s16le", 3)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_net_numbers import numbers; print(numbers("
        f"{steps!r}, 's16le', 3))"
    )
    path = __file__.rpartition("/")[0]
    printed = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(found)


def test_an_op_in_the_middle_has_its_context_and_no_more_frames_than_are_few():
    Long.seen.clear()
    own_numbers([Long(before=1000)], frames=100_000)
    assert Long.seen == [(1000 + VECTOR_FRAMES, VECTOR_FRAMES)]
    Long.seen.clear()
    own_numbers([Long(before=SAMPLES_MOST - 100)], frames=2 * SAMPLES_MOST)
    [(came, wanted)] = Long.seen
    assert came <= SAMPLES_MOST
    assert 1 <= wanted < VECTOR_FRAMES


@pytest.mark.parametrize("frames", [1, 2, VECTOR_FRAMES - 1, VECTOR_FRAMES, 2 * VECTOR_FRAMES + 1])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_short_recordings_have_numbers_too(frames, channels):
    found = own_numbers([Near(), Almost()], channels=channels, frames=frames)
    assert all(found)


def test_no_output_has_no_number():
    assert numbers(["invert"], frames=0) == (0,)


USERS = """
import zaudio

called = []

@zaudio.op(grid="30s", context="20ms")
def declared(x):
    called.append(len(x))
    return x

def plain(x):
    called.append(len(x))
    return x
"""


def test_a_users_function_is_tried_if_it_declares_anything_and_is_not_called_otherwise(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "zt_numbers.py").write_text(USERS)
    allowed = import_allowed(["zt_numbers"])
    found = numbers(["zt_numbers:declared", "zt_numbers:plain"], frames=3_000_000, allowed=allowed)
    assert [*map(bool, found)] == [True, False]
    assert sys.modules.pop("zt_numbers").called == [882 + VECTOR_FRAMES + 882], "no whole block of 30 s"


@dataclass(frozen=True)
class Raises(Kernel):
    name = "raises"

    def apply(self, samples, place, state):
        raise SystemExit("no")


def test_an_op_that_raises_says_nothing(caplog):
    caplog.set_level("INFO", logger="zaudio.worker")
    assert own_numbers([Raises()]) == (0,)
    assert "op op0 raised on the vector that tells machines apart: SystemExit" in caplog.text


def test_ops_are_set_up_before_they_are_tried():
    @dataclass(frozen=True)
    class Loaded(Kernel):
        name = "loaded"

        def setup(self, signal):
            return 3.0

        def apply(self, samples, place, state):
            samples *= state
            return samples

    graph = own_graph([Loaded()])
    assert all(Setups().set_up(graph, (Step("loaded"),)))
    assert numbers_of(graph, (Step("loaded"),)) == Setups().set_up(own_graph([Loaded()]), (Step("loaded"),))
