"""Checking: whether a chain gives the same bits however a recording is cut, tried on noise. Pure.

Rules:

- The noise has loud and quiet stretches and silence, so that ops that listen to levels have something to do.
- The whole recording in one process is the measure: twice, so that an op that keeps something between its calls shows.
- Then it is cut as a farm cuts it, at random places, and the chunks are computed in random order by several workers.
- A chain with memory is also compared with one go over the recording without blocks: that is the cost of the grid.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.chain import Course, Pass
from zaudio.ops.contract import Array, Op, Place, fixed_vector
from zaudio.ops.graph import Graph
from zaudio.ops.precision import is_float, to_stored
from zaudio.signal import Signal

ROUNDS = 2  # of cutting, each at many places; a model takes its time
MOST_CUTS = 60  # in a round: Python's share of a chunk would show
WORKERS = 3  # graphs with a setup of their own
BLOCKS = 2.4  # of the grid, so that the last one is not whole
LEVELS_DB = (-6, -30, -3, -60, -math.inf, -12, -40, 0)  # of stretches of noise; 0 dB is full scale
MOST_SECONDS = 300  # of noise, for ops that name a place in the recording
STRETCH_SECONDS = 0.11  # a compressor's release has begun, and no multiple of a grid


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between two results.

    Attributes:
        frame: The first frame that differs.
        db: The greatest difference of a sample, 0 for full scale; infinite when it is no number.
        frames: The number of frames that differ.
    """

    frame: int
    db: float
    frames: int


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a check.

    Attributes:
        signal: The signal of the noise.
        grid: Frames of the output per block; 0 when no op has memory.
        digest: A hash of the result, to compare processes.
        calls: The difference of a second go in the same process.
        cuts: The difference of a go in chunks.
        straight: The difference of a go without blocks; None when there is no memory, or no difference.
        failure: The reason why a go without blocks failed; empty when it did not.
    """

    signal: Signal
    grid: int
    digest: str
    calls: Difference | None
    cuts: Difference | None
    straight: Difference | None
    failure: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether every go in this process, blocks aside, gave the same bits."""
        return self.calls is None and self.cuts is None


def check(ops: Sequence[Op], signal: Signal) -> Checked:
    """Return whether ops give the same bits however noise is cut.

    Args:
        ops: The ops, first to last.
        signal: The signal of the noise.

    Raises:
        UsageError: The ops cannot be used with that signal.
        Exception: Any that a user's op raises.
    """
    samples = noise(signal)
    grids: list[int] = []
    again: list[Difference | None] = []

    def whole(stage: Pass) -> Array:
        graph = stage.graph()
        grids.append(stage.grid)
        result = graph(samples, 0, 0, graph.output.frames)
        again.append(_difference(result, graph(samples, 0, 0, graph.output.frames)))
        return result

    def cut(seed: int) -> Callable[[Pass], Array]:
        random = Random(seed)  # noqa: S311  the same cuts in every check
        return lambda stage: _in_chunks(stage, samples, random)

    first, main = _stages(ops, signal, whole)
    calls = next(filter(None, again), None)
    rounds = [_difference(first, _stages(ops, signal, cut(seed))[0]) for seed in range(ROUNDS)]
    cuts = next(filter(None, rounds), None)
    straight, failure = None, ""
    if main.grid:
        try:
            straight = _difference(first, _straight(main)(samples, 0, 0, main.graph().output.frames))
        except Exception as error:  # noqa: BLE001  an op may refuse more than it declares
            failure = f"{type(error).__name__}: {error}"
    return Checked(signal, max(grids), hashlib.sha256(first.tobytes()).hexdigest(), calls, cuts, straight, failure)


def digest(ops: Sequence[Op], signal: Signal) -> str:
    """Return the hash of the result over the noise: another process must find the same."""
    samples = noise(signal)

    def whole(stage: Pass) -> Array:
        graph = stage.graph()
        return graph(samples, 0, 0, graph.output.frames)

    return hashlib.sha256(_stages(ops, signal, whole)[0].tobytes()).hexdigest()


def enough_frames(ops: Sequence[Op], signal: Signal) -> int:
    """Return the frames of noise that a check takes: a second, a few blocks of the grid, or more if the ops need it.

    Raises:
        UsageError: The ops cannot be used with that signal.
    """
    course = Course(ops, replace(signal, frames=3600 * signal.samplerate))
    stage = course.measuring or course.main
    frames = max(signal.samplerate, int(BLOCKS * stage.grid * stage.stretch)) + 1
    while frames < MOST_SECONDS * signal.samplerate:
        try:
            Course(ops, replace(signal, frames=frames))
        except UsageError:  # such as a place behind the end
            frames *= 2
        else:
            break
    return frames


def noise(signal: Signal) -> Array:
    """Return noise as that signal stores it: stretches of several levels, the same on every machine."""
    stretch = max(1, int(STRETCH_SECONDS * signal.samplerate))
    samples = 2.0 * fixed_vector(signal, signal.frames)
    for number, start in enumerate(range(0, signal.frames, stretch)):
        samples[start : start + stretch] *= 10.0 ** (LEVELS_DB[number % len(LEVELS_DB)] / 20)
    stored, _ = to_stored(samples, signal.format)
    return stored if signal.format.is_native else stored.byteswap().view(signal.format.dtype)


def _stages(ops: Sequence[Op], signal: Signal, evaluate: Callable[[Pass], Array]) -> tuple[Array, Pass]:
    """Return the result of all stages, and the main one."""
    course = Course(ops, signal)
    while course.measuring is not None:
        course.take(evaluate(course.measuring))
    return evaluate(course.main), course.main


def _in_chunks(stage: Pass, samples: Array, random: Random) -> Array:
    """Return a stage's output, computed in chunks of random sizes, in random order, by several workers."""
    workers = [stage.graph() for _ in range(WORKERS)]
    output = workers[0].output
    edges = _edges(output.frames, stage.grid or 1, random)
    result = np.empty((output.frames, output.channels), output.format.dtype)
    for start, stop in random.sample(edges, len(edges)):
        worker = random.choice(workers)
        low, high = worker.needs(start, stop)
        result[start:stop] = worker(samples[low:high].copy(), low, start, stop)
    return result


def _edges(frames: int, grid: int, random: Random) -> list[tuple[int, int]]:
    blocks = -(-frames // grid)
    count = min(max(0, blocks - 1), random.randint(1, MOST_CUTS))
    places = sorted(random.sample(range(1, blocks), count)) if count else []
    return [*itertools.pairwise([0, *(place * grid for place in places), frames])]


def _straight(stage: Pass) -> Graph:
    """Return the graph of a stage without blocks."""
    return Graph([op if op.whole else _Straight(op) for op in stage.ops], stage.signal, 0)


@dataclass(frozen=True)
class _Straight(Op):
    """An op that is given all of its input at once."""

    op: Op

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self.op.precision)

    def signal(self, before: Signal) -> Signal:
        return self.op.signal(before)

    def has_memory(self, signal: Signal) -> bool:
        return self.op.has_memory(signal)

    def setup(self, signal: Signal) -> object:
        return self.op.setup(signal)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        return self.op.apply(samples, place, state)


def _difference(expected: Array, got: Array) -> Difference | None:
    """Return how two results differ in bits; None when they do not."""
    bits = np.dtype(f"u{expected.dtype.itemsize}")
    unlike = (expected.view(bits) != got.view(bits)).any(axis=1)
    if not unlike.any():
        return None
    scale = 1.0 if is_float(expected) else 2.0 ** (8 * expected.dtype.itemsize - 1)
    with np.errstate(all="ignore"):
        most = float(np.abs(expected[unlike].astype(np.float64) - got[unlike]).max() / scale)
    db = math.inf if not math.isfinite(most) else 20 * math.log10(most) if most else -math.inf
    return Difference(int(unlike.argmax()), db, int(np.count_nonzero(unlike)))
