"""A chain as stages: what is measured, what is designed behind it, and how blocks are cut."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from zaudio.formats import sample_format
from zaudio.ops.chain import GRID_LEAST, Course
from zaudio.ops.contract import BuiltIn, Combined, Kernel, Op
from zaudio.ops.levels import Gain, Invert, Scale
from zaudio.signal import Signal

SIGNAL = Signal(1000, 2, 100, sample_format("f32le"))
F64 = sample_format("f64le")


@dataclass(frozen=True)
class Peaks(Kernel):
    """The greatest sample of every 10 frames."""

    name: ClassVar[str] = "peaks"

    def signal(self, before):
        return Signal(-(-before.frames // 10), 1, before.samplerate, F64)

    def needs(self, start, stop, signal):
        return start * 10, stop * 10

    def source_frame(self, frame, signal):
        return frame * 10

    def apply(self, samples, place, state):
        return np.abs(samples).reshape(-1, 10 * samples.shape[1]).max(axis=1).reshape(-1, 1)


@dataclass(frozen=True)
class Normalize(BuiltIn):
    """Make the greatest sample 1."""

    name: ClassVar[str] = "normal"

    def measure(self, signal):
        return Peaks()

    def combine(self, cells, signal):
        return Combined(Scale(1 / cells.max()), f"peak {cells.max():.2f}")


@dataclass(frozen=True)
class Trim(Op):
    """The frames from 5 on, 20 of them."""

    def signal(self, before):
        return Signal(20, before.channels, before.samplerate, before.format)

    def needs(self, start, stop, signal):
        return start + 5, stop + 5


@dataclass(frozen=True)
class Smooth(Op):
    """An op with context."""

    before: int = 1000

    def context(self, signal):
        return self.before, 0


def test_a_course_measures_before_it_designs_what_comes_behind():
    course = Course([Invert(), Normalize(), Gain(6.0), Normalize()], SIGNAL)
    assert course.measuring.ops == (Invert(), Peaks())
    assert (len(course.waiting), course.waiting[0], course.signal) == (3, Normalize(), SIGNAL)
    assert course.take(np.array([[0.5], [0.25]])) == "peak 0.50"
    assert course.measuring.ops == (Invert(), Scale(2.0), Scale(10 ** (6.0 / 20)), Peaks())
    assert len(course.waiting) == 1
    course.restore(Scale(4.0))
    assert course.measuring is None
    assert course.main.ops == (Invert(), Scale(2.0), Scale(10 ** (6.0 / 20)), Scale(4.0))
    assert course.measured == [Scale(2.0), Scale(4.0)]


def test_the_main_stage_is_foreseen_before_anything_is_measured():
    course = Course([Normalize(), Smooth(), Trim()], SIGNAL)
    assert course.foreseen.ops == (Normalize(), Smooth(), Trim())
    assert (course.foreseen.grid, course.output.frames) == (GRID_LEAST, 20)
    course.take(np.array([[0.5]]))
    assert (course.main.grid, course.main.graph().output) == (course.foreseen.grid, course.output)


@pytest.mark.parametrize(
    ("ops", "stretch"), [([Invert()], 1.0), ([Invert(), Peaks()], 10.0), ([Trim()], 1.0), ([Smooth()], 1.0)]
)
def test_a_pass_knows_how_many_frames_of_its_input_one_of_its_output_stands_for(ops, stretch):
    assert Course(ops, SIGNAL).main.stretch == pytest.approx(stretch)


def test_only_ops_that_look_elsewhere_need_a_range():
    assert Course([Invert(), Gain(1.0)], SIGNAL).main.needs is None
    assert Course([Trim()], SIGNAL).main.needs(0, 3) == (5, 8)
    assert Course([Smooth(7)], SIGNAL).main.needs(10, 20) == (3, 20)
    assert Course([Peaks()], SIGNAL).main.needs(3, 5) == (30, 50)


def test_a_block_of_a_short_piece_of_a_recording_is_no_smaller():
    assert Course([Smooth(), Trim()], SIGNAL).main.grid == GRID_LEAST
