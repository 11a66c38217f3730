"""Op: the declarations of an op, and the facts that it is given. Built-in ops and users' own are the same thing.

    @dataclass(frozen=True)
    class Smooth(Op):
        width: int = 32

        def context(self, signal):
            return self.width, self.width

        def apply(self, samples, place, state): ...

Rules:

- An op is a frozen dataclass. Its fields are numbers, texts, booleans and one-dimensional arrays: so it can travel.
- `design`, `measure` and `combine` run on the coordinator. Formulas with transcendental functions stand there alone,
  since numpy's and libm's differ between CPUs in the last bit. What they compute travels in the fields of an op.
- `setup` and `apply` run on workers. They use + - * / and the square root, rounding, comparisons, sums without BLAS and
  float64 FFTs, which do not differ between the CPUs that were tried.
- `needs` and `source_frame` never decrease from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from zaudio.signal import Signal

Array = npt.NDArray[Any]

VECTOR_FRAMES = 4096  # of the fixed vector by which classes of machines are told apart


class Precision(Enum):
    """The numbers in which an op wants its samples."""

    STORED = "stored"  # as the recording has them, in this machine's byte order
    FLOAT32 = "float32"  # full scale is 1.0
    FLOAT64 = "float64"  # full scale is 1.0
    ANY = "any"  # as the op before left them; they may be a message, so the op must not write to them


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an op's samples in its input.

    Attributes:
        first: The frame of its input that is the first of the samples; below 0 where zeros stand in front of it.
        last: The frame behind the last of the samples; more than the input has where zeros stand behind it.
        start: The first frame of its output that is wanted.
        stop: The frame behind the last one that is wanted.
        signal: The op's input as a whole: frames, channels, samplerate and format.
    """

    first: int
    last: int
    start: int
    stop: int
    signal: Signal

    @property
    def samplerate(self) -> int:
        """Frames of the input per second."""
        return self.signal.samplerate

    @property
    def at_start(self) -> bool:
        """Whether the samples begin where the input does."""
        return self.first <= 0

    @property
    def at_end(self) -> bool:
        """Whether the samples end where the input does."""
        return self.last >= self.signal.frames


@dataclass(frozen=True)
class Op:
    """An op: its fields are its parameters.

    A user's op overrides `apply`, and any other method that it needs. Frames are counted from the beginning of the
    op's own input or output.

    Attributes:
        precision: The numbers in which it wants its samples.
        version: Changes with its results: a job is not resumed with another version.
        model: The path of a file that its results depend on, relative to its module; empty for none. The file's hash is
            part of the version.
        whole: Whether `apply` takes all that `needs` says at once, with zeros where the input has no frames. False:
            it is called for each block of its grid, with the context that the input has.
        requires: The modules that `setup` imports and that take long: the starter imports them, once for all workers.
    """

    precision: ClassVar[Precision] = Precision.FLOAT64
    version: ClassVar[str] = "1"
    model: ClassVar[str] = ""
    whole: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()

    # On the coordinator

    def design(self, signal: Signal) -> Op:
        """Return the op that travels: everything is computed that can be computed once.

        Raises:
            UsageError: The parameters cannot be used with that signal.
        """
        return self

    def join(self, after: Op) -> Op | None:
        """Return one op in place of this designed op and the designed op behind it; None to keep both.

        Raises:
            UsageError: That op must not stand behind this one.
        """
        return None

    def measure(self, signal: Signal) -> Op | None:
        """Return the op whose output is measured before this one is designed; None when nothing is measured.

        Its output has a frame per cell of the grid, and a channel per measured number, all in float64.
        """
        return None

    def combine(self, cells: Array, signal: Signal) -> Combined:
        """Return the op that travels, made of the measured cells.

        Args:
            cells: The measured numbers of the whole input, (cells, numbers).
            signal: The input.
        """
        raise NotImplementedError

    # Geometry, on both sides

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal for that input."""
        return before

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames that are needed in front of a block and behind it."""
        return 0, 0

    def grid(self, signal: Signal) -> int:
        """Return the frames of the output per block, counted from its frame 0; 1 for no grid."""
        return 1

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames of the input, half-open, from which `start` to `stop` of the output are computed.

        They need not exist: below 0, and from the end of the input on, there are no frames.
        """
        before, after = self.context(signal)
        grid = self.grid(signal)
        return start // grid * grid - before, -(-stop // grid) * grid + after

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the frame of the input at the same instant as that frame of the output."""
        return frame

    def has_memory(self, signal: Signal) -> bool:
        """Return whether an output frame depends on more than the input frame at the same instant."""
        return self.grid(signal) > 1 or self.context(signal) != (0, 0)

    # On workers

    def setup(self, signal: Signal) -> object:
        """Make the state that every call needs, such as a model. Called once in each worker's process, after the fork.

        It must not depend on `signal.frames`: recordings of every length share it.
        """
        return None

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return frames `place.start` to `place.stop` of the output.

        Args:
            samples: (frames, channels), in the op's precision; it may be written to, but for `Precision.ANY`.
            place: The place of these samples.
            state: The return value of `setup`.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Kernel(Op):
    """A built-in op as it travels: it takes whole ranges, padded with zeros.

    Attributes:
        name: Its name on the wire.
    """

    name: ClassVar[str] = ""
    whole: ClassVar[bool] = True


class Exactness(Enum):
    """The reason why an op's result does not depend on cuts."""

    SAMPLE = "per sample"  # each frame follows from the input's frame at one place
    FINITE = "finite memory"  # exact in any cut: integers, or a fixed number of frames
    GRID = "grid"  # starts afresh at each block, from a warm-up in front of it
    WHOLE = "measured"  # a stage before measures the whole recording


@dataclass(frozen=True)
class BuiltIn(Op):
    """A built-in op as its user asks for it. Its fields are made by `zaudio.ops.parameters`.

    The docstring begins with its effect in one line, and gives formula, units and source. `zaudio ops NAME` prints it.

    Attributes:
        name: Its name in a SPEC.
        example: A SPEC that works.
        exactness: The reason why cuts do not change its result.
    """

    name: ClassVar[str] = ""
    example: ClassVar[str] = ""
    exactness: ClassVar[Exactness] = Exactness.SAMPLE


@dataclass(frozen=True, slots=True)
class Combined:
    """The outcome of a measuring stage.

    Attributes:
        op: The op that travels.
        sentence: The measured value, for the user; empty for none.
    """

    op: Op
    sentence: str = ""


def arrays(*columns: Sequence[float] | Array, type: str = "<f8") -> Array:
    """Return numbers as the table of an op: one-dimensional and read-only."""
    table = np.concatenate([np.asarray(column, dtype=type).reshape(-1) for column in columns])
    table.flags.writeable = False
    return table


def fixed_vector(signal: Signal, frames: int) -> Array:
    """Return noise in float64, the same on every machine: ops are computed on it to tell classes of machines apart."""
    raw = np.random.Philox(key=20).random_raw(frames * signal.channels)
    # 53 bits in steps of 2**-53, then exact scaling: no rounding, so no machine differs.
    noise: Array = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 0.5
    return noise.reshape(frames, signal.channels)


__all__ = [
    "VECTOR_FRAMES",
    "Array",
    "BuiltIn",
    "Combined",
    "Exactness",
    "Kernel",
    "Op",
    "Place",
    "Precision",
    "arrays",
    "fixed_vector",
]
