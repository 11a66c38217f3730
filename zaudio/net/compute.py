"""compute: a chunk's frames in, its result out. Pure.

Rules:

- A graph with a grid computes blocks of it, whatever the chunk. Without a grid, an op sees one of the user's chunks at
  a time and no more, even in a bundle. Cuts are multiples of the chunk, from frame 0 of the output on.
- A chunk must bring the input range that the graph needs, no more and no less: both sides agree on geometry.
- Ops see frames in the recording's direction. The order of the output is applied once, at the end, on the way into the
  outbox or into a fresh buffer. Forward, ops write there themselves.
- A failure names the user's chunk that failed, in frames of the output.
"""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np

from zaudio.ops.contract import Array
from zaudio.ops.graph import Graph
from zaudio.plan import Order
from zaudio.reverse import order_into
from zaudio.signal import Signal
from zaudio.steps import Buffer


class Ranges(Protocol):
    """The two ranges of a chunk or of a bundle: of the output, and of the recording."""

    @property
    def start(self) -> int:
        """The first frame of the output range."""

    @property
    def stop(self) -> int:
        """The frame after the last of the output range."""

    @property
    def input_start(self) -> int:
        """The first frame of the input range."""

    @property
    def input_stop(self) -> int:
        """The frame after the last of the input range."""


class ChunkFailed(Exception):  # noqa: N818  it says where; its cause is the error
    """An op failed on the user's chunk of frames `start` to `stop` of the output."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.start = start
        self.stop = stop


def compute(
    graph: Graph, chunk: Ranges, payload: Buffer, *, chunk_frames: int, order: Order, into: memoryview | None = None
) -> memoryview:
    """Evaluate a graph for a chunk, or for each chunk of a bundle.

    Args:
        graph: The graph.
        chunk: The ranges of the chunk or the bundle.
        payload: The frames of the input range, as stored; never written to.
        chunk_frames: Frames per chunk of the user's.
        order: The order of frames in the result.
        into: A buffer for the result, just as long; None for a fresh one.

    Returns:
        The buffer, with the frames of the output range as stored.

    Raises:
        ChunkFailed: An op failed on one of the user's chunks; the cause is the exception that it raised.
        ValueError: The output has no such range, or another input range belongs to it. Or the payload, or `into`, has
            another length.
    """
    frames = _frames(payload, graph.input)
    _check_ranges(graph, chunk, len(frames))
    length = (chunk.stop - chunk.start) * graph.output.frame_bytes
    if into is None:
        into = np.empty(length, np.uint8).data
    elif into.nbytes != length:
        raise ValueError(f"expected {length} bytes of room for the result, got {into.nbytes}")
    if order is Order.FORWARD:
        _evaluate(graph, chunk, frames, chunk_frames, _array(into, graph.output))
    else:
        array = _evaluate(graph, chunk, frames, chunk_frames)
        order_into(array.reshape(-1).view(np.uint8), into, graph.output.frame_bytes, order)
    return into


def _frames(payload: Buffer, signal: Signal) -> Array:
    """Return the frames of a payload as (frames, channels), read-only."""
    stored = np.frombuffer(payload, np.uint8)
    if stored.size % signal.frame_bytes:
        raise ValueError(f"expected whole frames of {signal.frame_bytes} bytes, got {stored.size} bytes")
    stored.flags.writeable = False
    return stored.view(signal.format.dtype).reshape(-1, signal.channels)


def _array(into: memoryview, signal: Signal) -> Array:
    """Return a buffer as (frames, channels), to write to."""
    return np.frombuffer(into, signal.format.dtype).reshape(-1, signal.channels)


def _check_ranges(graph: Graph, chunk: Ranges, frames: int) -> None:
    if chunk.stop > graph.output.frames:
        raise ValueError(f"expected frames of an output of {graph.output.frames}, got {chunk.start} to {chunk.stop}")
    if graph.grid and (chunk.start % graph.grid or (chunk.stop % graph.grid and chunk.stop != graph.output.frames)):
        raise ValueError(f"expected whole blocks of {graph.grid} frames, got {chunk.start} to {chunk.stop}")
    first, last = graph.needs(chunk.start, chunk.stop)
    if (chunk.input_start, chunk.input_stop) != (first, last):
        raise ValueError(
            f"frames {chunk.start} to {chunk.stop} need frames {first} to {last} of the recording, "
            f"got {chunk.input_start} to {chunk.input_stop}"
        )
    if frames != last - first:
        raise ValueError(f"expected {last - first} frames in the payload, got {frames}")


def _evaluate(graph: Graph, chunk: Ranges, frames: Array, chunk_frames: int, out: Array | None = None) -> Array:
    """Return the frames of the output range in the recording's direction; C-contiguous, and in `out` if it is given."""
    cuts = range(chunk.start - chunk.start % chunk_frames + chunk_frames, chunk.stop, chunk_frames)
    if not cuts or not _is_cut(graph):
        return _piece(graph, frames, chunk.input_start, chunk.start, chunk.stop, out)
    if out is None:
        out = np.empty((chunk.stop - chunk.start, graph.output.channels), graph.output.format.dtype)
    for start, stop in itertools.pairwise((chunk.start, *cuts, chunk.stop)):
        _piece(graph, frames, chunk.input_start, start, stop, out[start - chunk.start : stop - chunk.start])
    return out


def _is_cut(graph: Graph) -> bool:
    """Return whether ops see the user's chunks: on a grid they see its blocks, and built-in ones need not be cut."""
    return not graph.grid and not all(op.whole for op in graph.ops)


def _piece(graph: Graph, frames: Array, first: int, start: int, stop: int, out: Array | None) -> Array:
    try:
        return graph(frames, first, start, stop, out=out)
    except BaseException as error:  # SystemExit too: a user's function may raise anything
        raise ChunkFailed(start, stop) from error
