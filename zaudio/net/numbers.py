"""Numbers: a hash of each op's output for a fixed vector. They tell classes of machines apart.

Rules:

- The vector is the same on every machine. An op gets a stretch of it as if it lay in the middle of its input; one that
  is called for blocks is told that its input ends there. A model's block of 30 s would take it seconds.
- The output is hashed in the op's own precision: rounding to the recording's format would hide a difference.
- A user's function that declares nothing gets 0, as it is called for chunks alone: it may do more than compute. So
  does an op that raises, or that has no output.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.random  # now: numpy loads it late, and local workers are forked after this
import xxhash

from zaudio.ops.contract import VECTOR_FRAMES, fixed_vector
from zaudio.ops.declaring import PLAIN
from zaudio.ops.graph import Graph
from zaudio.ops.own import FunctionOp
from zaudio.steps import Step

SAMPLES_MOST = 2**21  # of an input: a block of an op with a long memory, and some 50 ms

log = logging.getLogger("zaudio.worker")


def numbers_of(graph: Graph, steps: Sequence[Step]) -> tuple[int, ...]:
    """Return the number of each op of a graph.

    Args:
        graph: The graph, set up.
        steps: Its ops as they travelled.
    """
    numbers = []
    for number, (op, step) in enumerate(zip(graph.ops, steps, strict=True)):
        is_plain = isinstance(op, FunctionOp) and op.declared is PLAIN
        numbers.append(0 if is_plain else _number(graph, number, step.name))
    return tuple(numbers)


def _number(graph: Graph, number: int, name: str) -> int:
    try:
        start, stop, low, high = _ranges(graph, number)
        if start >= stop:
            return 0
        vector = fixed_vector(graph.signals[number], high - low)
        output = np.ascontiguousarray(graph.try_op(number, vector, low, start, stop))
    except BaseException as error:  # noqa: BLE001  a user's op may raise anything; its chunks will tell
        log.info("op %s raised on the vector that tells machines apart: %s", name, type(error).__name__)
        return 0
    return xxhash.xxh3_64_intdigest(output.astype(output.dtype.newbyteorder("<"), copy=False).data.cast("B"))


def _ranges(graph: Graph, number: int) -> tuple[int, int, int, int]:
    """Return a range in the middle of an op's output, and the range of its input that this one needs."""
    op, signal = graph.ops[number], graph.signals[number]
    output = graph.signals[number + 1]
    unit = max(1, graph.grid if op.whole and number == len(graph.ops) - 1 else op.grid(signal))
    before, after = op.context(signal)
    start = output.frames // 2 // unit * unit
    most = max(1, SAMPLES_MOST // max(signal.channels, output.channels))
    frames = VECTOR_FRAMES
    while True:
        stop = min(start + frames, output.frames)
        low, high = op.needs(start, stop, signal) if op.whole else (start - before, stop + after)
        low, high = max(0, min(low, signal.frames)), max(0, min(high, signal.frames))
        if high - low <= most or frames == 1:
            return start, stop, low, high
        frames //= 2
