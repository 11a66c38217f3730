"""Chain: the ops of a job, from the SPECs of the user to the ops that workers apply.

    make_ops    SPECs               -> ops, their parameters checked
    Course      ops, a signal       -> the stages: a Pass for each measurement, then the main Pass
    Pass        one stage           -> Steps, which travel
    graph_of    Steps, on a worker  -> Graph

Rules:

- An op that measures is designed when its measurement is known: a stage of its own goes before, over the ops in front
  of it and the measuring op. Only then are the ops behind it designed.
- Designed ops that can be one op are joined.
- A Pass with an op that has memory has a grid: enough frames a block that the context of all its ops costs an eighth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from zaudio.errors import UsageError
from zaudio.ops.catalogue import BUILTIN, make_op
from zaudio.ops.contract import Array, BuiltIn, Exactness, Op
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.ops.graph import Counts, Graph
from zaudio.ops.own import make_own, own_op, own_step, own_version
from zaudio.ops.spec import OpSpec, Requested, parse_chain, split_function
from zaudio.ops.travel import is_kernel, kernel_of, kernel_step
from zaudio.signal import Signal
from zaudio.steps import Step

# Frames a block. CPU seconds for an hour of mono, with blocks of 32,768 to 524,288 frames: a FIR filter of 511 taps
# 1.05, 0.94, 0.94, 0.93, 0.96; four biquads 1.24, 1.08, 1.01, 0.97, 0.96. Below it, Python's share of a block shows.
GRID_LEAST = 65_536
GRID_MOST = 1_048_576  # frames a block, of one or two channels: 8 MiB in float64
SAMPLES_MOST = 2 * GRID_MOST  # in a block of more channels: a worker holds a few blocks at once
# A block is at least so many times the context of its ops. Compressor and limiter, 4 times, 8 and 16: 0.77, 0.68, 0.71;
# two biquads in front of them: 1.63, 1.59, 1.64. Longer blocks leave the cache.
CONTEXT_SHARE = 8
ENDLESS = 2**44  # frames of a recording so long that its ends are far away from a block


def make_ops(specs: Sequence[OpSpec], allowed: Allowed) -> tuple[Op, ...]:
    """Return the ops that a user asked for.

    Args:
        specs: The ops, first to last.
        allowed: The users' modules that these name, imported.

    Raises:
        UsageError: There is no such op, or its parameters cannot be used.
    """
    return tuple(_make(spec, allowed) for spec in specs)


@dataclass(frozen=True)
class Pass:
    """The ops of one stage, designed.

    Attributes:
        ops: The ops, first to last; of a measuring stage, the last one measures.
        signal: The input's signal.
        grid: Frames of the output per block, 0 for no grid.
    """

    ops: tuple[Op, ...]
    signal: Signal
    grid: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """The ops as they travel."""
        return tuple(map(to_step, self.ops))

    @property
    def needs(self) -> Callable[[int, int], tuple[int, int]] | None:
        """A function that returns the frames of the input for those of the output; None when they are the same."""
        graph = self.graph()
        return None if graph.is_plain else graph.needs

    @property
    def stretch(self) -> float:
        """Frames of the input per frame of the output, in the long run."""
        return _stretch(_endless(self.ops, self.signal))

    def graph(self) -> Graph:
        """Return the function that computes the output."""
        return Graph(self.ops, self.signal, self.grid)


class Course:
    """The stages of a chain over one recording, one after the other.

    Args:
        ops: The ops as asked for, first to last.
        signal: The recording's signal.

    Attributes:
        measured: The ops that measurements made so far, in order: a later life need not measure again.
        foreseen: The main stage as it will be if no measurement makes an op with memory.
        output: The signal of the result.
        versions: The version of each op as asked for, in order; empty for one that has none.

    Raises:
        UsageError: The parameters of an op cannot be used with that signal.
    """

    def __init__(self, ops: Sequence[Op], signal: Signal) -> None:
        self.measured: list[Op] = []
        self._input = signal
        self._waiting = list(ops)
        self._designed: list[Op] = []
        self._signal = signal  # behind the designed ops
        self._measuring: Op | None = None
        self._design()
        self.foreseen = self._foresee(ops)
        self.output = self.foreseen.graph().output
        self.versions = versions_of(ops)

    @property
    def measuring(self) -> Pass | None:
        """The measuring stage that is next; None when the main stage is."""
        if self._measuring is None:
            return None
        return _pass((*self._designed, self._measuring), self._input)

    @property
    def waiting(self) -> tuple[Op, ...]:
        """The ops that are not designed yet; the first of them is measured for."""
        return tuple(self._waiting)

    @property
    def signal(self) -> Signal:
        """The signal behind the designed ops."""
        return self._signal

    @property
    def main(self) -> Pass:
        """The main stage, when everything is measured."""
        assert self._measuring is None, "measurements come first"
        return _pass(tuple(self._designed), self._input)

    def take(self, cells: Array) -> str:
        """Take the measurement of a stage, (cells, numbers); return a sentence for the user, empty for none."""
        combined = self._waiting[0].combine(cells, self._signal)
        self.restore(combined.op)
        return combined.sentence

    def restore(self, op: Op) -> None:
        """Take the op that an earlier life's measurement made."""
        assert self._measuring is not None, "something is to be measured"
        self.measured.append(op)
        self._waiting.pop(0)
        self._append(op)
        self._design()

    def _design(self) -> None:
        """Design ops up to the next one that measures."""
        self._measuring = None
        while self._waiting:
            self._measuring = self._waiting[0].measure(self._signal)
            if self._measuring is not None:
                return
            self._append(self._waiting.pop(0).design(self._signal))

    def _append(self, op: Op) -> None:
        self._signal = op.signal(self._signal)
        _join(self._designed, op)

    def _foresee(self, ops: Sequence[Op]) -> Pass:
        """Return the main stage, with ops that measure as they were asked for."""
        signal, row = self._input, list[Op]()
        for op in ops:
            known = op if op.measure(signal) is not None else op.design(signal)
            signal = known.signal(signal)
            _join(row, known)
        return _pass(tuple(row), self._input)


class Chain:
    """A chain of ops in one process: the reference for every farm, which gives the same bits.

    Args:
        ops: A SPEC, a function, what `zaudio.op` returned, or a sequence of these.
        signal: The recording: frames, channels, samplerate and format.

    Attributes:
        signal: The signal of the recording.
        output: The signal of the result.
        sentences: What was measured, after a call.
        counts: The samples that were clipped or read as 0 in the last call.

    Raises:
        UsageError: An op cannot be used.

    Example:
        >>> signal = Signal(len(array), 1, 44100, sample_format("f32le"))  # doctest: +SKIP
        >>> louder = Chain(["highpass:hz=80", "gain:db=3"], signal)(array)  # doctest: +SKIP
    """

    def __init__(self, ops: Requested | Sequence[Requested], signal: Signal) -> None:
        specs = parse_chain(ops)
        modules = [spec.name for spec in specs if spec.is_function]
        self._ops = make_ops(specs, import_allowed(list(dict.fromkeys(modules))))
        self.signal = signal
        self.output = Course(self._ops, signal).output
        self.sentences: tuple[str, ...] = ()
        self.counts = Counts()

    def __call__(self, array: Array) -> Array:
        """Return the result of the whole recording.

        Args:
            array: (frames, channels), as many as the signal says, in its format.

        Raises:
            ValueError: The array has another shape.
            Exception: Any that a user's op raises.
        """
        expected = (self.signal.frames, self.signal.channels)
        if array.shape != expected or array.dtype.newbyteorder("=") != self.signal.format.native_dtype:
            raise ValueError(
                f"expected an array {expected} of {self.signal.format.name}, got {array.shape} {array.dtype}"
            )
        array = array.astype(self.signal.format.dtype, copy=False)
        course, sentences = Course(self._ops, self.signal), []
        while course.measuring is not None:
            graph = course.measuring.graph()
            sentences.append(course.take(graph(array, 0, 0, graph.output.frames)))
        graph = course.main.graph()
        result = graph(array, 0, 0, graph.output.frames)
        self.sentences, self.counts = tuple(filter(None, sentences)), graph.counts
        return result


def graph_of(steps: Sequence[Step], signal: Signal, grid: int, allowed: Allowed) -> Graph:
    """Return the function that a worker applies to chunks.

    Args:
        steps: The ops of the stage, as they came.
        signal: The recording's signal.
        grid: Frames of the output per block, 0 for no grid.
        allowed: The users' functions that may be selected.

    Raises:
        UsageError: This worker cannot do one of the steps.
    """
    return Graph([from_step(step, allowed) for step in steps], signal, grid)


def versions_of(ops: Sequence[Op]) -> tuple[str, ...]:
    """Return the version of each op as asked for; empty for one that has none."""
    return tuple(map(_version, ops))


def to_step(op: Op) -> Step:
    """Return a designed op as it travels."""
    return kernel_step(op) if is_kernel(op) else own_step(op)


def from_step(step: Step, allowed: Allowed) -> Op:
    """Return the op that a Step names.

    Raises:
        UsageError: This worker cannot do it.
    """
    return own_op(step, allowed) if ":" in step.name else kernel_of(step)


def _make(spec: OpSpec, allowed: Allowed) -> Op:
    if not spec.is_function:
        return make_op(spec)
    module, _ = split_function(spec.name)
    if module in BUILTIN:
        raise UsageError(
            f"op {str(spec)!r}: {module} is a built-in op, and a parameter is written KEY=VALUE, "
            f"as in {BUILTIN[module].example}; a module of that name cannot be used"
        )
    return make_own(spec.name, dict(spec.params), allowed)


def _version(op: Op) -> str:
    """Return the version of an op as asked for; empty for none."""
    if not isinstance(op, BuiltIn):
        return own_version(op)
    return "" if op.exactness is Exactness.SAMPLE else op.version


def _join(row: list[Op], op: Op) -> None:
    """Put an op behind a row of designed ones, as one with the last of them where that can be."""
    joined = row[-1].join(op) if row else None
    if joined is not None:
        row[-1] = joined
    else:
        row.append(op)


def _pass(ops: tuple[Op, ...], signal: Signal) -> Pass:
    return Pass(ops, signal, _grid(ops, signal))


def _grid(ops: Sequence[Op], signal: Signal) -> int:
    """Return the frames of the output per block: a multiple of the grids of the last ops, if that can be."""
    graph = _endless(ops, signal)
    if not any(op.has_memory(before) for op, before in zip(ops, graph.signals, strict=False)):
        return 0
    stretch = _stretch(graph)
    most = max(GRID_LEAST, min(GRID_MOST, SAMPLES_MOST // max(signal.channels, graph.output.channels)))
    unit, size = _unit(ops, graph.signals), GRID_LEAST
    while True:
        grid = max(1, math.ceil(size / stretch / unit)) * unit
        middle = graph.output.frames // 2 // grid * grid
        low, high = graph.needs(middle, middle + grid)
        context = (high - low) - grid * stretch
        if context * CONTEXT_SHARE <= grid * stretch or size * 2 > most:
            return grid
        size *= 2


def _endless(ops: Sequence[Op], signal: Signal) -> Graph:
    """Return the ops over a recording whose ends are far away."""
    return Graph(ops, replace(signal, frames=ENDLESS), 0)


def _stretch(graph: Graph) -> float:
    """Return the frames of the input per frame of the output, by two places that are far apart.

    Not by the lengths: an op may leave most of its input out.
    """
    early, late = graph.output.frames // 4, graph.output.frames // 4 * 3
    moved = graph.needs(late, late + 1)[0] - graph.needs(early, early + 1)[0]
    return moved / (late - early) if moved > 0 else 1.0


def _unit(ops: Sequence[Op], signals: Sequence[Signal]) -> int:
    """Return a common multiple of the grids behind the last change of rate; the greatest one where that is large."""
    unit = 1
    for op, before in zip(reversed(ops), reversed(signals[:-1]), strict=True):
        own = op.grid(before)
        common = math.lcm(unit, own)
        # A model's grid may be long: blocks that are no multiple of it would compute its blocks again and again.
        unit = common if common <= max(GRID_LEAST, own, unit) else max(unit, own)
        if op.signal(before).samplerate != before.samplerate or op.signal(before).frames != before.frames:
            break
    return unit
