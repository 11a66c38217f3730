"""The cost of a recording in a batch.

Whole commands of `zaudio batch` are timed:

- many recordings of a second, into sealed results and into files that play
- an op that takes 50 ms, with one worker and with two
- the same over lines whose round trips are 50 and 100 ms (`line.py`)
- recordings of three minutes, beside a farm over one recording that is as long as all of them

The time of an fsync is measured too, since each sealed result needs ten of them, and a file four. `method.py` says how
it is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

import method
import numpy as np
import show
from method import Command, Measured, median

RATE = 44100
MINUTES = 3
OP_MS = 50
LINES_MS = (50, 100)  # round trips: a line of 50 ms may mean there and back, or each way
OP = f"benchmarks.costly:rest:ms={OP_MS}"
SHORT, PLAYABLE, ONE, TWO, LONG, WHOLE = (
    "recordings of a second",
    "the same, into files that play",
    f"an op of {OP_MS} ms, 1 worker",
    f"an op of {OP_MS} ms, 2 workers",
    "recordings of three minutes",
    "one recording as long as those",
)
FAR = {
    ms: tuple(f"an op of {OP_MS} ms, {who} at the end of {ms} ms" for who in ("1 worker", "2 workers"))
    for ms in LINES_MS
}


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/batch.py --rounds 3", recording=False)
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    parser.add_argument("--short", type=int, default=1000, help="recordings of a second; 1000 by default")
    parser.add_argument("--slow", type=int, default=200, help="recordings for the slow op; 200 by default")
    parser.add_argument("--long", type=int, default=20, help="recordings of three minutes; 20 by default")
    arguments = parser.parse_args()
    with method.scratch_folder() as folder:
        sync_ms = 1000 * median([sync(folder) for _ in range(50)])
        measured = measure(folder, arguments)
    slow = dict.fromkeys((ONE, TWO, *chain.from_iterable(FAR.values())), arguments.slow)
    counts = {**dict.fromkeys((SHORT, PLAYABLE), arguments.short), **slow, LONG: arguments.long, WHOLE: 1}
    table = show.Table(
        f"Batches, {arguments.workers} workers, {arguments.rounds} rounds, jobs alone; an fsync takes {sync_ms:.2f} ms",
        ("", "count", "s", "ms each", "least", "most"),
        [_row(name, counts[name], of.jobs) for name, of in measured.items()],
        [
            f"Target 20 ms: a recording of a second takes {1000 * _median(measured, SHORT) / arguments.short:.1f} ms.",
            f"Target 0.55: two workers take {_share(measured, ONE, TWO):.3f} x the time of one; "
            + "; ".join(f"over {ms} ms {_share(measured, *FAR[ms]):.3f} x" for ms in LINES_MS)
            + ".",
            f"Target 1.2: recordings of three minutes take {_median(measured, LONG) / _median(measured, WHOLE):.2f} x "
            "the time of one that is as long.",
        ],
    )
    shown = {name: {"ms each": [1000 * each / counts[name] for each in of.jobs]} for name, of in measured.items()}
    draw = partial(show.bars, title="Batches", unit="ms each", values=shown)
    facts = {"counts": counts, "fsync_ms": sync_ms, "runs": {name: asdict(each) for name, each in measured.items()}}
    show.report("batch", [table], facts, markdown=arguments.markdown, draw=draw)


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Measured]:
    """Make the recordings, and run the commands over them."""
    random = np.random.default_rng(1)
    second = [folder / f"second-{number}.raw" for number in range(max(arguments.short, arguments.slow))]
    for path in second:
        write(path, random, RATE)
    minutes = [folder / f"minutes-{number}.raw" for number in range(arguments.long)]
    for path in minutes:
        write(path, random, MINUTES * 60 * RATE)
    whole = folder / "whole.raw"
    with whole.open("wb") as file:
        for path in minutes:
            file.write(path.read_bytes())
    count = arguments.workers
    commands = {
        SHORT: Command(batch(folder, "short", second[: arguments.short], count), checked=False),
        PLAYABLE: Command(
            batch(folder, "playable", second[: arguments.short], count, "--op", "invert", "--render", "wav"),
            checked=False,
        ),
        ONE: Command(batch(folder, "slow", second[: arguments.slow], 1, "--op", OP), checked=False),
        TWO: Command(batch(folder, "slow", second[: arguments.slow], 2, "--op", OP), checked=False),
        **{
            name: Command(far_batch(folder, second[: arguments.slow], workers, ms), checked=False)
            for ms, names in FAR.items()
            for workers, name in enumerate(names, 1)
        },
        LONG: Command(batch(folder, "long", minutes, count), checked=False),
        WHOLE: Command(lambda out: method.farm(whole, out, count)),
    }
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(method.ROOT), os.environ.get("PYTHONPATH"))))
    return method.take_turns(commands, whole, rounds=arguments.rounds, touch_gib=arguments.touch)


def batch(folder: Path, name: str, paths: Sequence[Path], workers: int, *more: str):
    """Return what makes the command line of a batch whose paths stand in a list."""
    listed = folder / f"{name}.txt"
    listed.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    command = [sys.executable, "-m", "zaudio", "batch", f"@{listed}", "-n", str(workers), "--progress", "none", *more]
    return lambda out: [*command, "-o", str(out)]


def far_batch(folder: Path, paths: Sequence[Path], workers: int, ms: int):
    """Return what makes the command line of a batch whose workers are at the end of a line with that round trip."""
    listed = folder / "far.txt"
    listed.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return lambda out: method.script("line.py", listed, out, "--ms", ms / 2, "-n", workers, "--op", OP)


def write(path: Path, random: np.random.Generator, frames: int) -> None:
    """Write a raw recording of noise."""
    (random.standard_normal(frames, np.float32) * np.float32(0.1)).tofile(path)


def sync(folder: Path) -> float:
    """Return the seconds that the fsync of a new small file takes."""
    with (folder / "synced").open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        begun = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - begun


def _median(measured: dict[str, Measured], name: str) -> float:
    return median(measured[name].jobs)


def _share(measured: dict[str, Measured], one: str, two: str) -> float:
    """Return the time of the second as a share of that of the first."""
    return _median(measured, two) / _median(measured, one)


def _row(name: str, count: int, seconds: Sequence[float]) -> tuple[str, ...]:
    each = [1000 * value / count for value in seconds]
    return (
        name,
        str(count),
        f"{median(seconds):.2f}",
        f"{median(each):.1f}",
        f"{min(each):.1f}",
        f"{max(each):.1f}",
    )


if __name__ == "__main__":
    main()
