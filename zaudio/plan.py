"""Plan and Span: the integer geometry of a recording that is cut into chunks.

Rules:

- Pure arithmetic: no arrays, no table. A plan of a million chunks is a few integers.
- All ranges are half-open and in frames of the recording. Cuts lie on a grid that starts at frame 0.
- Chunks are numbered in **output order**, which `Order` decides. Reversed in time, chunk 0 holds the recording's last
  frames, because a CBC chain is encrypted from its first byte.
- Where ops need context, a chunk's input range is longer than its output range. The context is trimmed from the result.
- Small chunks are granted in bundles. To the farm, a bundle is one chunk of a coarser plan (`Plan.in_bundles`); only
  the worker sees the cuts inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zaudio.errors import UsageError


class Order(Enum):
    """The order of frames in the output."""

    REVERSED = "reversed"  # the recording's last frame comes first
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk: the frames that its result covers, and those that are read for it.

    Attributes:
        index: The chunk's place in output order, from 0.
        start: First frame of the output range.
        stop: The frame after the last of the output range.
        input_start: First frame of the input range, at most `start`.
        input_stop: The frame after the last of the input range, at least `stop`.
    """

    index: int
    start: int
    stop: int
    input_start: int
    input_stop: int

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
    """The cutting of a recording of `frames` frames into chunks of `chunk_frames`.

    The recording's last chunk is the odd one: chunk 0 when the order is reversed.

    Attributes:
        frames: Frames of the recording, 0 or more.
        chunk_frames: Frames per chunk, 1 or more.
        order: The order of frames in the output.
        before: Frames of context that ops need in front of a chunk; clipped at the recording's start.
        after: Frames of context that ops need behind a chunk; clipped at the recording's end.
    """

    frames: int
    chunk_frames: int
    order: Order = Order.REVERSED
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise UsageError(f"a recording has 0 frames or more, not {self.frames}")
        if self.chunk_frames < 1:
            raise UsageError(f"a chunk has at least 1 frame, not {self.chunk_frames}")
        if self.before < 0 or self.after < 0:
            raise UsageError(f"context is 0 frames or more on each side, not {self.before} and {self.after}")

    def __len__(self) -> int:
        """Return the number of chunks; 0 for an empty recording."""
        return -(-self.frames // self.chunk_frames)

    def in_bundles(self, chunks: int) -> Plan:
        """Return the coarser plan whose chunks are bundles of that many chunks of this one."""
        if chunks <= 1:
            return self
        return Plan(self.frames, self.chunk_frames * chunks, self.order, self.before, self.after)

    def span(self, index: int) -> Span:
        """Return the chunk with that place in output order.

        Raises:
            IndexError: There is no such chunk.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        start = self._turn(index) * self.chunk_frames
        stop = min(start + self.chunk_frames, self.frames)
        return Span(index, start, stop, max(0, start - self.before), min(stop + self.after, self.frames))

    def index_at(self, frame: int) -> int:
        """Return the index of the chunk whose output range holds that frame of the recording."""
        return self._turn(frame // self.chunk_frames)

    def output_before(self, index: int) -> int:
        """Return how many frames of the output come before that chunk; all frames for the index after the last."""
        if index <= 0:
            return 0
        last = self.span(index - 1)
        return self.frames - last.start if self.order is Order.REVERSED else last.stop

    def at_output(self, frame: int) -> tuple[int, int]:
        """Return where the output goes on after so many frames of it.

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
        """Turn a chunk's place in the recording into its index, or an index into the place: the same either way."""
        return len(self) - 1 - number if self.order is Order.REVERSED else number
