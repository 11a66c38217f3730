"""Plan and Span: the integer geometry of an output that is cut into chunks.

Rules:

- Pure arithmetic: no arrays, no table. A plan of a million chunks is a few integers.
- All ranges are half-open. Cuts lie on a grid that starts at frame 0 of the output.
- Frames of the output are counted in the recording's direction. `Order` decides in which order they are written, and
  chunks are numbered in that order. Reversed in time, chunk 0 holds the output's last frames, because a CBC chain is
  encrypted from its first byte.
- A chunk's input range is in frames of the recording, and may lie elsewhere than its output range: ops may need
  context, or change the length.
- Small chunks are granted in bundles. To the farm, a bundle is one chunk of a coarser plan (`Plan.in_bundles`); only
  the worker sees the cuts inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from zaudio.errors import UsageError


class Order(Enum):
    """The order of frames in the output."""

    REVERSED = "reversed"  # the last frame comes first
    FORWARD = "forward"


Needs = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk: the frames that its result covers, and those that are read for it.

    Attributes:
        index: The chunk's place in output order, from 0.
        start: First frame of the output range.
        stop: The frame after the last of the output range.
        input_start: First frame of the input range.
        input_stop: The frame after the last of the input range, at least `input_start`.
        recording: The number of the recording, where a stage goes over several.
    """

    index: int
    start: int
    stop: int
    input_start: int
    input_stop: int
    recording: int = 0

    @property
    def frames(self) -> int:
        """Frames of the result."""
        return self.stop - self.start

    @property
    def input_frames(self) -> int:
        """Frames that are read."""
        return self.input_stop - self.input_start


@dataclass(frozen=True, slots=True)
class Plan:
    """The cutting of an output of `frames` frames into chunks of `chunk_frames`.

    The last chunk is the odd one: chunk 0 when the order is reversed.

    Attributes:
        frames: Frames of the output, 0 or more.
        chunk_frames: Frames per chunk, 1 or more.
        order: The order in which they are written.
        needs: Returns the input range, half-open, of an output range that is not empty; None for the same frames.
    """

    frames: int
    chunk_frames: int
    order: Order = Order.REVERSED
    needs: Needs | None = None

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise UsageError(f"an output has 0 frames or more, not {self.frames}")
        if self.chunk_frames < 1:
            raise UsageError(f"a chunk has at least 1 frame, not {self.chunk_frames}")

    def __len__(self) -> int:
        """Return the number of chunks; 0 for an empty output."""
        return -(-self.frames // self.chunk_frames)

    @property
    def longest(self) -> int:
        """Frames of the longest chunk."""
        return min(self.chunk_frames, self.frames)

    def of(self, index: int) -> Plan:  # noqa: ARG002  as in a LotPlan
        """Return the plan of the recording that a chunk is of."""
        return self

    def in_bundles(self, chunks: int) -> Plan:
        """Return the coarser plan whose chunks are bundles of that many chunks of this one."""
        if chunks <= 1:
            return self
        return Plan(self.frames, self.chunk_frames * chunks, self.order, self.needs)

    def span(self, index: int) -> Span:
        """Return the chunk with that place in output order.

        Raises:
            IndexError: There is no such chunk.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        start = self._turn(index) * self.chunk_frames
        stop = min(start + self.chunk_frames, self.frames)
        return Span(index, start, stop, *(self.needs(start, stop) if self.needs is not None else (start, stop)))

    def index_at(self, frame: int) -> int:
        """Return the index of the chunk whose output range holds that frame."""
        return self._turn(frame // self.chunk_frames)

    def output_before(self, index: int) -> int:
        """Return how many frames are written before that chunk; all frames for the index after the last."""
        if index <= 0:
            return 0
        last = self.span(index - 1)
        return self.frames - last.start if self.order is Order.REVERSED else last.stop

    def at_output(self, frame: int) -> tuple[int, int]:
        """Return where the output continues behind that many frames.

        Returns:
            The index of the chunk that the next frame belongs to, and how many frames of that chunk come before it. The
            number of chunks, and 0, when there is no next frame.

        Raises:
            IndexError: There are not so many frames.
        """
        if not 0 <= frame <= self.frames:
            raise IndexError(f"{frame} of {self.frames} frames")
        if frame == self.frames:
            return len(self), 0
        next_frame = self.frames - 1 - frame if self.order is Order.REVERSED else frame
        index = self.index_at(next_frame)
        return index, frame - self.output_before(index)

    def _turn(self, number: int) -> int:
        """Turn a chunk's place on the grid into its index, or an index into the place: the same either way."""
        return len(self) - 1 - number if self.order is Order.REVERSED else number
