"""Does it stay the same when everything grows? Recordings of 0.1 to 10 GB, and 10 to 1,000,000 chunks.

Recordings are sparse, so only results take room on the disk; they are removed after each run. Chunks have 1 KiB, so
that a recording of a million chunks still fits. Small chunks travel together, up to 256 KiB in a message, so a million
of them are some 4,000 messages. The tables have time and memory of both sides. `method.py` says how it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import method
import show
from method import Command, Measured, median

SIZES = (0.1, 1, 10)  # GB
CHUNKS = (10, 100, 1000, 10_000, 100_000, 1_000_000)
SMALL_CHUNK = 1024


def main() -> None:
    parser = method.make_parser(
        __doc__ or "", "python benchmarks/scale.py --sizes 0.01 0.1 --chunks 10 1000", recording=False
    )
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    parser.add_argument("--sizes", nargs="*", type=float, default=SIZES, metavar="GB", help="recordings")
    parser.add_argument("--chunks", nargs="*", type=int, default=CHUNKS, metavar="N", help="chunks a recording")
    arguments = parser.parse_args()
    turns = {"rounds": arguments.rounds, "touch_gib": arguments.touch, "workers": arguments.workers}
    sizes = grow([round(size * 1e9) // 4 * 4 for size in arguments.sizes], (), **turns)
    chunks = grow([count * SMALL_CHUNK for count in arguments.chunks], ("--chunk", f"{SMALL_CHUNK}"), **turns)

    how = f"{arguments.workers} workers, {arguments.rounds} rounds"
    tables = []
    if sizes:
        tables.append(
            show.Table(
                f"Recordings, {how}",
                ("GB", "whole command, s", "job alone, s", "s/GB, job", "coordinator, MiB", "worker, MiB"),
                [_size_row(size, each) for size, each in sizes.items()],
                [*_growth(sizes), "Target 7: ten times the recording takes at most 10.5 x as long."],
            )
        )
    if chunks:
        tables.append(
            show.Table(
                f"Chunks of {SMALL_CHUNK} bytes, {how}",
                ("chunks", "whole command, s", "job alone, s", "us a chunk, job", "coordinator, MiB", "worker, MiB"),
                [_chunk_row(size, each) for size, each in chunks.items()],
                ["Target 6: a million chunks at most 1.2 x as much a chunk as ten thousand."],
            )
        )
    facts = {
        "workers": arguments.workers,
        "small_chunk": SMALL_CHUNK,
        "sizes": {str(size): asdict(each) for size, each in sizes.items()},
        "chunks": {str(size // SMALL_CHUNK): asdict(each) for size, each in chunks.items()},
    }
    draw = partial(_draw, sizes=sizes, chunks=chunks)
    show.report("scale", tables, facts, markdown=arguments.markdown, draw=draw)


def grow(
    sizes: Sequence[int], options: Sequence[str], *, workers: int, rounds: int, touch_gib: float
) -> dict[int, Measured]:
    """Run a job on a recording of each of these sizes, in bytes."""
    with ExitStack() as stack:
        commands = {}
        for size in sizes:
            recording = stack.enter_context(method.sparse_recording(size, written=size))
            make = partial(_farm, recording, workers, tuple(options))
            commands[str(size)] = Command(make, recording=recording)
        measured = method.take_turns(commands, None, rounds=rounds, touch_gib=touch_gib, look=True)
    return {int(size): each for size, each in measured.items()}


def _farm(recording: Path, workers: int, options: tuple[str, ...], folder: Path) -> list[str]:
    return method.farm(recording, folder, workers, *options)


def _size_row(size: int, each: Measured) -> list[str]:
    rate = f"{median(each.jobs) / size * 1e9:.2f}"
    return [f"{size / 1e9:g}", show.spread(each.seconds), show.spread(each.jobs), rate, *_memory(each)]


def _chunk_row(size: int, each: Measured) -> list[str]:
    count = size // SMALL_CHUNK
    cost = f"{1e6 * median(each.jobs) / count:.2f}"
    return [f"{count:,}", show.spread(each.seconds), show.spread(each.jobs), cost, *_memory(each)]


def _memory(each: Measured) -> list[str]:
    return [show.mib(each.peaks.get(role)) for role in ("coordinator", "worker")]


def _growth(sizes: Mapping[int, Measured]) -> list[str]:
    """Return sentences: the time of each recording, as a multiple of the next smaller one's."""
    steps = []
    for less, more in pairwise(sorted(sizes)):
        times = median(sizes[more].jobs) / median(sizes[less].jobs)
        steps.append(f"{more / less:.3g} times {less / 1e9:g} GB takes {times:.2f} x as long.")
    return steps


def _draw(figure: Any, *, sizes: Mapping[int, Measured], chunks: Mapping[int, Measured]) -> None:
    above, below = figure.subplots(2, 1)
    _curve(above, {size / 1e9: each for size, each in sizes.items()}, "GB", "seconds a GB", 1.0)
    _curve(below, {size // SMALL_CHUNK: each for size, each in chunks.items()}, "chunks", "us a chunk", 1e6)
    if chunks:
        below.set_yscale("log")  # ten chunks cost the start of a job


def _curve(axes: Any, measured: Mapping[float, Measured], what: str, cost: str, unit: float) -> None:
    if not measured:
        return
    times = [method.summary([unit * seconds / amount for seconds in each.jobs]) for amount, each in measured.items()]
    errors = [[of["median"] - of["least"] for of in times], [of["most"] - of["median"] for of in times]]
    axes.errorbar(list(measured), [of["median"] for of in times], yerr=errors, fmt="o-", capsize=3)
    axes.set_xscale("log")
    axes.set_xlabel(what)
    axes.set_ylabel(f"{cost}, job alone")
    axes.set_ylim(bottom=0, auto=True)


if __name__ == "__main__":
    main()
