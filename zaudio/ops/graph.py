"""Graph: the designed ops of one stage, evaluated block by block. Workers and the reference call the same function.

Rules:

- The output is computed in blocks of `grid` frames that are counted from its frame 0. Each op with memory starts afresh
  at every block, from the context in front of it. So the bits of a block depend on its place alone: not on chunks,
  workers or order.
- From the last op to the first, each says which range of its input a range of its output needs. The ops then run from
  the first to the last over those ranges, and no further.
- An input has no frames before its frame 0 or after its end: ops see zeros there, or the end, as they declare.
- Samples become floats once, in front of the first op that computes in floats, and are rounded once, at the end.
- An op with memory reads NaN and infinity as 0, since one of them would ruin all that follows. They are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zaudio.ops.contract import Array, Kernel, Op, Place, Precision
from zaudio.ops.precision import convert, float_type, is_float, store, to_floats
from zaudio.ops.results import checked_result, made_state
from zaudio.program import keep_freed_memory
from zaudio.signal import Signal

BLOCK_SAMPLES = 262_144  # of a block where no op has memory: 2 MiB in float64, which a core's cache holds

_FLOATS = (Precision.FLOAT32, Precision.FLOAT64)


@dataclass(slots=True)
class Counts:
    """Samples of the output that something happened to.

    Attributes:
        clipped: Limited to the range of their integers.
        zeroed: Not finite, and read as 0 by an op with memory; or NaN, where integers are stored.
    """

    clipped: int = 0
    zeroed: int = 0


class Graph:
    """Designed ops in a row.

    Args:
        ops: The ops, first to last. None at all copies the samples.
        signal: The input.
        grid: Frames of the output per block; 0 when no op has memory: a range is then one block.

    Attributes:
        ops: The ops.
        signals: The signal in front of each op, and behind the last one.
        input: The signal of the input.
        output: The signal of the output.
        grid: Frames of the output per block; 0 for no grid.
        is_plain: Whether each frame of the output is made of the input's frame of the same number, and no others.
        counts: What happened to samples so far.
    """

    def __init__(self, ops: Sequence[Op], signal: Signal, grid: int) -> None:
        self.input = signal
        self.ops = tuple(ops)
        self.signals = [signal]
        for op in self.ops:
            self.signals.append(op.signal(self.signals[-1]))
        self.output = self.signals[-1]
        self.grid = grid
        pairs = list(zip(self.ops, self.signals, strict=False))
        self._has_memory = [op.has_memory(signal) for op, signal in pairs]
        self.is_plain = all(_is_plain(op, signal) for op, signal in pairs)
        self._states: list[object] | None = None
        self.counts = Counts()

    def setup(self, states: Sequence[object] | None = None) -> None:
        """Let every op make its state, once in a process, after its fork. Later calls do nothing.

        Args:
            states: What the ops have made already, each for its signal; None to let them.
        """
        if self._states is None:
            keep_freed_memory()
            pairs = zip(self.ops, self.signals, strict=False)
            self._states = list(states) if states is not None else [made_state(op, signal) for op, signal in pairs]

    def over(self, frames: int) -> Graph:
        """Return the same ops over an input of that length, with the states that they have made."""
        other = Graph(self.ops, replace(self.input, frames=frames), self.grid)
        other._states = self._states
        return other

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the frames of the input, half-open, from which those of the output are computed; they exist.

        Both grow with `start` and `stop`, but for ranges that take nothing of the input.
        """
        if start >= stop or not self.grid:
            return self._ranges(start, stop)[0]
        # A block of nothing but padded silence takes no frames, and must not stand for its neighbours.
        low, _ = self._first_range(range(start, stop, self.grid), stop)
        _, high = self._first_range(range(start, stop, self.grid)[::-1], stop)
        return low, max(low, high)

    def _first_range(self, blocks: Sequence[int], stop: int) -> tuple[int, int]:
        """Return the input's range of the first of these blocks that takes any frames; else that of the last."""
        low = high = 0
        for block in blocks:
            low, high = self._ranges(block, min(block + self.grid, stop))[0]
            if low < high:
                break
        return low, high

    def __call__(self, samples: Array, first: int, start: int, stop: int, *, out: Array | None = None) -> Array:
        """Return frames `start` to `stop` of the output.

        Args:
            samples: Frames of the input from `first` on, (frames, channels) as stored, at least what `needs` says.
                Only read.
            first: The frame of the input that is the first of them.
            start: The first frame of the output that is wanted; a multiple of the grid.
            stop: The frame behind the last one; a multiple of the grid, or the end of the output.
            out: Where they go, C-contiguous (frames, channels) in the stored byte order of the output's format; None
                for a new array. After an exception it holds some of them.

        Returns:
            That array.

        Raises:
            ValueError: An op changed the shape.
            TypeError: An op returned no array, or one of another type.
            Exception: Any other that a user's op raises.
        """
        self.setup()
        step = self._step(stop - start)
        if stop - start <= step:
            array = self._evaluate(samples, first, start, stop)
            if out is None and self._is_stored(array, samples):
                return array
            into = out if out is not None else np.empty(array.shape, self.output.format.dtype)
            return self._store(array, into, self.output.format.bits)
        result = out if out is not None else np.empty((stop - start, self.output.channels), self.output.format.dtype)
        for low in range(start, stop, step):
            high = min(low + step, stop)
            self._store(
                self._evaluate(samples, first, low, high), result[low - start : high - start], self.output.format.bits
            )
        return result

    def try_op(self, number: int, samples: Array, first: int, start: int, stop: int) -> Array:
        """Return frames of the output of one op by itself, in its precision.

        An op that is called for blocks is told that its input ends with the samples.

        Args:
            number: The op's place in the row.
            samples: Frames of its input from `first` on, as floats with full scale at 1.0: those that it needs, as far
                as there are any.
            first: The frame of its input that is the first of them.
            start: The first frame of its output that is wanted.
            stop: The frame behind the last one.
        """
        op, signal = self.ops[number], self.signals[number]
        array, _ = convert(samples, op.precision, signal.format)
        given, wanted = (first, first + len(samples)), (start, stop)
        if op.whole:
            return self._apply(op, array, given, wanted, number)
        assert self._states is not None, "setup comes first"
        return _blockwise(op, array, given, wanted, replace(signal, frames=given[1]), self._states[number])

    def _step(self, frames: int) -> int:
        """Return the frames of the output that are computed at a time."""
        if self.grid:
            return self.grid
        if all(op.whole for op in self.ops) and any(op.precision in _FLOATS for op in self.ops):
            return max(1, BLOCK_SAMPLES // max(self.input.channels, self.output.channels))
        # A user's function that declares nothing gets all that there is; and bits are flipped in one pass.
        return max(1, frames)

    # One block

    def _ranges(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the range of each op's input, and that of the output behind them, as far as there are frames."""
        if self.is_plain and 0 <= start <= stop <= self.input.frames:
            return [(start, stop)] * len(self.signals)
        ranges = [(start, stop)]
        for op, signal in zip(reversed(self.ops), reversed(self.signals[:-1]), strict=True):
            if start < stop:
                start, stop = op.needs(start, stop, signal)
            else:  # nothing is wanted, of a place that lies near the output's
                start = stop = op.source_frame(start, signal)
            start, stop = max(0, min(start, signal.frames)), max(0, min(stop, signal.frames))
            ranges.append((start, stop))
        return ranges[::-1]

    def _evaluate(self, samples: Array, first: int, start: int, stop: int) -> Array:
        """Return a block of the output, in the last op's precision."""
        ranges = self._ranges(start, stop)
        low, high = ranges[0]
        if low < first or high > first + len(samples):
            raise ValueError(f"expected frames {low} to {high}, got {first} to {first + len(samples)}")
        array = samples[low - first : high - first]
        if self.ops and self.ops[0].precision not in _FLOATS and not self.input.format.is_native:
            # Bytes are swapped, floats never converted: a signalling NaN passes as it is.
            array = array.byteswap().view(self.input.format.native_dtype)
        cores = self._cores(start, stop)
        for number, op in enumerate(self.ops):
            signal, given, wanted = self.signals[number], ranges[number], ranges[number + 1]
            if wanted[0] == wanted[1]:
                array = self._nothing(op, array, number)
                continue
            low, high = (max(0, frame - given[0]) for frame in cores[number])
            array = self._private(self._converted(array, op.precision, signal, slice(low, high)), op, samples)
            if self._has_memory[number]:
                array = self._finite(array, slice(low, high))
            array = self._apply(op, array, given, wanted, number)
        return array

    def _nothing(self, op: Op, array: Array, number: int) -> Array:
        """Return no frames, of the type that the op would return: padding must not depend on the block."""
        after = self.signals[number + 1]
        match op.precision:
            case Precision.ANY:
                dtype = array.dtype.newbyteorder("=")
            case Precision.STORED:
                dtype = np.dtype(after.format.native_dtype)
            case _:
                dtype = float_type(op.precision)
        return np.empty((0, after.channels), dtype)

    def _converted(self, array: Array, precision: Precision, signal: Signal, core: slice) -> Array:
        """Return the array in that precision; count the samples that are limited in the core."""
        if precision is Precision.STORED and is_float(array) and signal.format.dtype[1] == "i":
            stored = np.empty(array.shape, signal.format.native_dtype)
            store(array[: core.start], stored[: core.start], signal.format.bits)
            self._store(array[core], stored[core], signal.format.bits)
            store(array[core.stop :], stored[core.stop :], signal.format.bits)
            return stored
        return convert(array, precision, signal.format)[0]

    @staticmethod
    def _private(array: Array, op: Op, samples: Array) -> Array:
        """Return the array, or a copy of it where it is a message, which the op must not write to."""
        if op.precision is Precision.ANY or not np.may_share_memory(array, samples):
            return array
        return to_floats(array, op.precision) if op.precision in _FLOATS else array.copy(order="C")

    def _cores(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the range of each op's input that stands for this block and no other: where things are counted."""
        if self.is_plain:
            return [(start, stop)] * len(self.ops)
        cores = []
        for op, signal in zip(reversed(self.ops), reversed(self.signals[:-1]), strict=True):
            end = signal.frames if stop >= op.signal(signal).frames else op.source_frame(stop, signal)
            start, stop = (op.source_frame(start, signal) if start > 0 else 0), end
            cores.append((start, stop))
        return cores[::-1]

    def _apply(self, op: Op, array: Array, given: tuple[int, int], wanted: tuple[int, int], number: int) -> Array:
        """Return the wanted range of an op's output."""
        assert self._states is not None, "setup comes first"
        signal, state = self.signals[number], self._states[number]
        if not op.whole:
            return _blockwise(op, array, given, wanted, signal, state)
        low, high = wanted if self.is_plain else op.needs(*wanted, signal)
        with np.errstate(all="ignore"):
            padded = _padded(array, given[0] - low, high - given[1])
            result = op.apply(padded, Place(low, high, *wanted, signal), state)
        if isinstance(op, Kernel):
            return result
        return checked_result(op, result, padded, (wanted[1] - wanted[0],), signal)

    def _finite(self, array: Array, core: slice) -> Array:
        """Return the array with 0 for NaN and infinity; count those of the core."""
        if not is_float(array):
            return array
        finite = np.isfinite(array)
        if finite.all():
            return array
        np.logical_not(finite, out=finite)
        self.counts.zeroed += int(np.count_nonzero(finite[core]))
        array = array.copy(order="K")
        array[finite] = 0
        return array

    def _is_stored(self, array: Array, samples: Array) -> bool:
        """Return whether the array is a result as it stands."""
        if self.output.format.is_packed:
            return False  # an op on integers may have set the bits that stay zero
        is_own = array.flags.c_contiguous and array.flags.writeable and not np.may_share_memory(array, samples)
        return is_own and array.dtype == self.output.format.dtype

    def _store(self, array: Array, into: Array, bits: int) -> Array:
        """Write samples into an array of stored numbers, and return it; count those that are limited."""
        clipped, lost = store(array, into, bits)
        self.counts.clipped += clipped
        self.counts.zeroed += lost
        return into


def _is_plain(op: Op, signal: Signal) -> bool:
    """Return whether an output frame of an op is made of the input frame of the same number, and no others."""
    kind, own = type(op), (Op.needs, Op.source_frame)
    return (
        (kind.needs, kind.source_frame) == own
        and not op.has_memory(signal)
        and op.signal(signal).frames == signal.frames
    )


def _blockwise(
    op: Op, array: Array, given: tuple[int, int], wanted: tuple[int, int], signal: Signal, state: object
) -> Array:
    """Return the wanted range of an op that is called for each block of its own grid, with the context that exists."""
    grid = op.grid(signal)
    before, after = op.context(signal)
    start, stop = wanted
    blocks = [(start, stop)]
    if grid > 1:
        lows = range(start // grid * grid, stop, grid)
        blocks = [(low, min(low + grid, signal.frames)) for low in lows]
    pieces = []
    for low, high in blocks:
        first, last = max(low - before, given[0]), min(high + after, given[1])
        samples = array[first - given[0] : last - given[0]]
        if len(blocks) > 1 and (before or after):
            samples = samples.copy(order="K")  # the op may write to it, and the next block's context reads it
        piece = op.apply(samples, Place(first, last, low, high, signal), state)
        piece = checked_result(op, piece, samples, (high - low, last - first), signal)
        if len(piece) == last - first:  # with its context
            piece = piece[low - first : high - first]
        pieces.append(piece[max(0, start - low) : stop - low])
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _padded(array: Array, before: int, after: int) -> Array:
    """Return an array with frames of zeros in front of it and behind it."""
    if before <= 0 and after <= 0:
        return array
    padded = np.zeros((before + len(array) + after, array.shape[1]), array.dtype, order="F")
    padded[before : before + len(array)] = array
    return padded
