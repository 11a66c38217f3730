"""Which chunk size is the best one, and how many workers are of use?

Runs whole jobs with chunks from 4 KiB to 16 MiB, then with 1 worker to as many as there are cores. Names the chunk size
that it would choose: the smallest whose job takes at most 3 % longer than the fastest. A smaller chunk costs less
memory and spreads more evenly. `method.py` says how it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import method
import show
from method import Command, Measured, median

from zaudio.job.cutting import CHUNK
from zaudio.machine import usable_cores
from zaudio.sizes import parse_bytes

DEFAULT = f"{CHUNK >> 20}MiB"
SIZES = ("4KiB", "16KiB", "64KiB", "256KiB", "1MiB", "4MiB", "16MiB")
AS_GOOD = 1.03  # of the fastest: two runs of the same command differ as much
LEAST_SECONDS = (
    1.0  # of the fastest job: in a shorter one, 3 % are less than what the system's scheduler does by chance
)
COLUMNS = ("chunks", "whole command, s", "job alone, s", "MB/s", "chunks/s", "coordinator, MiB", "worker, MiB")


def main() -> None:
    parser = method.make_parser(
        __doc__ or "", "python benchmarks/chunk_sizes.py take.wav --rounds 3 --sizes 256KiB 1MiB"
    )
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers while sizes are compared; 2")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="SIZE", help="chunk sizes to compare")
    arguments = parser.parse_args()
    recording = method.existing(arguments.input, raw=False)
    turns = {"rounds": arguments.rounds, "touch_gib": arguments.touch, "look": True}
    by_size = {size: Command(partial(_sized, recording, size, arguments.workers)) for size in arguments.sizes}
    sizes = method.take_turns(by_size, recording, **turns)
    by_count = {str(count): Command(partial(_staffed, recording, count)) for count in range(1, usable_cores() + 1)}
    counts = method.take_turns(by_count, recording, **turns)

    megabytes = next(iter(sizes.values())).report["bytes"] / 1e6
    what = f"{recording.name}, {megabytes:.1f} MB of samples, {arguments.rounds} rounds"
    chosen = choose(sizes)
    notes = [verdict(sizes, chosen)]
    tables = [
        show.Table(
            f"Chunk sizes, {arguments.workers} workers ({what})", ("chunk", *COLUMNS), _rows(sizes, megabytes), notes
        ),
        show.Table(f"Workers, chunks of {DEFAULT} ({what})", ("workers", *COLUMNS), _rows(counts, megabytes)),
    ]
    facts = {
        "bytes": recording.stat().st_size,
        "workers": arguments.workers,
        "sizes": {name: asdict(each) for name, each in sizes.items()},
        "counts": {name: asdict(each) for name, each in counts.items()},
        "chosen": chosen,
    }
    draw = partial(_draw, sizes=sizes, counts=counts, megabytes=megabytes)
    show.report("chunk_sizes", tables, facts, markdown=arguments.markdown, draw=draw)


def verdict(sizes: Mapping[str, Measured], chosen: str | None) -> str:
    """Return the sentence about the best chunk size."""
    best = min(sizes, key=lambda size: median(sizes[size].jobs))
    seconds = median(sizes[best].jobs)
    if chosen is None:
        return (
            f"Too short to choose a chunk size: the fastest job took {seconds:.2f} s, and {LEAST_SECONDS:g} s are the "
            f"least from which differences can be told. Name a longer recording with INPUT; the default is {DEFAULT}."
        )
    return f"Fastest: {best}. It would choose {chosen}; the default is {DEFAULT}."


def choose(sizes: Mapping[str, Measured]) -> str | None:
    """Return the smallest chunk size that is as good as the fastest; None when the jobs are too short to tell."""
    least = min(median(each.jobs) for each in sizes.values())
    if least < LEAST_SECONDS:
        return None
    good = [size for size, each in sizes.items() if median(each.jobs) <= AS_GOOD * least]
    return min(good, key=_bytes)


def _sized(recording: Path, size: str, workers: int, folder: Path) -> list[str]:
    return method.farm(recording, folder, workers, "--chunk", size)


def _staffed(recording: Path, workers: int, folder: Path) -> list[str]:
    return method.farm(recording, folder, workers)


def _rows(measured: Mapping[str, Measured], megabytes: float) -> list[list[str]]:
    rows = []
    for name, each in measured.items():
        chunks, job = each.report["chunks"], median(each.jobs)
        rate, throughput = (
            f"{chunks / job:,.0f}",
            f"{megabytes / job:.0f}",
        )  # of the job: Python's start is no matter here
        memory = [show.mib(each.peaks.get(role)) for role in ("coordinator", "worker")]
        rows.append([name, str(chunks), show.spread(each.seconds), show.spread(each.jobs), throughput, rate, *memory])
    return rows


def _draw(
    figure: Any,
    *,
    sizes: Mapping[str, Measured],
    counts: Mapping[str, Measured],
    megabytes: float,
) -> None:
    speed, memory, workers = figure.subplots(3, 1)
    places = [_bytes(size) for size in sizes]
    _curve(speed, places, sizes, megabytes)
    peaks = [each.peaks.get("coordinator", 0) / 2**20 for each in sizes.values()]
    memory.plot(places, peaks, "o-", label="coordinator")
    memory.plot(places, [each.peaks.get("worker", 0) / 2**20 for each in sizes.values()], "o-", label="a worker")
    memory.set_ylabel("private memory, MiB")
    memory.set_ylim(bottom=0)
    for axes in (speed, memory):
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, list(sizes))
        axes.axvline(CHUNK, linestyle="--", color="grey", label=f"the default, {DEFAULT}")
        axes.legend()
    memory.set_xlabel("chunk")
    _curve(workers, [int(count) for count in counts], counts, megabytes)
    workers.set_xticks([int(count) for count in counts])
    workers.set_xlabel("workers")


def _curve(axes: Any, places: list[int], measured: Mapping[str, Measured], megabytes: float) -> None:
    times = [method.summary(each.jobs) for each in measured.values()]
    middle = [megabytes / of["median"] for of in times]
    below = [middle[i] - megabytes / of["most"] for i, of in enumerate(times)]
    above = [megabytes / of["least"] - middle[i] for i, of in enumerate(times)]
    axes.errorbar(places, middle, yerr=[below, above], fmt="o-", capsize=3)
    axes.set_ylabel("MB/s, job alone")
    axes.set_ylim(bottom=0)


def _bytes(size: str) -> int:
    return int(parse_bytes(size, what="chunk"))


if __name__ == "__main__":
    main()
