"""Plan and Chunk: the integer geometry of a recording that is cut into chunks.

Rules: pure arithmetic, no arrays, no table: a plan of a million chunks is four integers. All ranges are half-open and
in frames. Chunks are numbered in **output order**, and the output is reversed in time: chunk 0 holds the last frames
of the recording, because a CBC chain is encrypted from its first byte and the last frames are that first byte.
A chunk's input range may be longer than its output range, by context on either side that is trimmed from the result.
Small chunks are granted in runs: to the farm, a run is one chunk of a coarser plan (`Plan.in_runs`); only the worker
sees the cuts inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from zaudio.errors import UsageError


@dataclass(frozen=True, slots=True)
class Chunk:
    """One unit of work.

    Attributes:
        index: Its place in output order, from 0.
        start: First frame that its result covers.
        stop: The frame after the last that its result covers.
        before: Frames of context read in front of `start`.
        after: Frames of context read from `stop` on.
    """

    index: int
    start: int
    stop: int
    before: int = 0
    after: int = 0

    @property
    def frames(self) -> int:
        """Frames of the result."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Plan:
    """How a recording of `frames` frames is cut into chunks of `chunk_frames`.

    The cuts lie on a grid that starts at frame 0, so the odd chunk is the recording's last, which is chunk 0.

    Attributes:
        frames: Frames of the recording, 0 or more.
        chunk_frames: Frames a chunk, 1 or more.
        context: Frames that ops want on either side of a chunk; clipped at the recording's ends.
    """

    frames: int
    chunk_frames: int
    context: int = 0

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise UsageError(f"a recording has 0 frames or more, not {self.frames}")
        if self.chunk_frames < 1:
            raise UsageError(f"a chunk has at least 1 frame, not {self.chunk_frames}")
        if self.context < 0:
            raise UsageError(f"context is 0 frames or more, not {self.context}")

    def __len__(self) -> int:
        """How many chunks there are; 0 for an empty recording."""
        return -(-self.frames // self.chunk_frames)

    def in_runs(self, chunks: int) -> Plan:
        """The coarser plan whose chunks are runs of that many chunks of this one.

        Context would have to be cut anew inside a run, so with context a run is one chunk.
        """
        return self if self.context or chunks <= 1 else Plan(self.frames, self.chunk_frames * chunks)

    def chunk(self, index: int) -> Chunk:
        """The chunk with that place in output order.

        Raises:
            IndexError: There is no such chunk.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        start = (len(self) - 1 - index) * self.chunk_frames
        stop = min(start + self.chunk_frames, self.frames)
        return Chunk(index, start, stop, min(self.context, start), min(self.context, self.frames - stop))

    def at_output(self, frame: int) -> tuple[int, int]:
        """Where the output goes on after so many frames of it.

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
        index = len(self) - 1 - (self.frames - 1 - frame) // self.chunk_frames
        return index, frame - (self.frames - self.chunk(index).stop)
