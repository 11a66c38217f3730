"""Does the coordinator keep its rate with a thousand workers?

Runs the same job with 1 to 1,000 workers that only answer (`answerers.py`), all there from the start. Counts the chunks
per second, from the first accepted to the last, and the workers that were wrongly taken for dead. `method.py` says how
it is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import method
import show
from answerers import raise_descriptor_limit
from method import Command, Measured, median

COUNTS = (1, 10, 100, 1000)
CHUNK = 256 * 1024  # bytes; smaller chunks travel together up to this size, so there cannot be more messages
BYTES = 1_000_000_000
PROCESSES = 2


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/answering.py --bytes 100000000", recording=False)
    parser.add_argument("--workers", nargs="+", type=int, default=COUNTS, metavar="N", help="how many answer")
    parser.add_argument("--bytes", type=int, default=BYTES, help=f"of the (sparse) recording; {BYTES}")
    parser.add_argument("--memory", default="128MiB", help="as of zaudio farm")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)  # the timed job, in its own process
    arguments = parser.parse_args()
    if arguments.inside:
        recording, folder, count = arguments.inside
        coordinate(Path(recording), Path(folder), int(count), arguments.memory)
        return

    def make(count: int, folder: Path) -> list[str]:
        return method.script("answering.py", "--memory", arguments.memory, "--inside", recording, folder, count)

    with method.sparse_recording(arguments.bytes // 4 * 4, written=arguments.bytes) as recording:
        commands = {str(count): Command(partial(make, count)) for count in arguments.workers}
        turns = {"rounds": arguments.rounds, "touch_gib": arguments.touch, "look": True}
        measured = method.take_turns(commands, recording, **turns)
    lost = sum(_count(each, "lost") for each in measured.values())
    rate = {name: each.report["chunks"] / median(each.jobs) for name, each in measured.items()}
    notes = [f"Workers taken for dead in all rounds: {lost} (none may be)."]
    if "10" in rate and "1000" in rate:
        notes.append(f"Target 5: 1,000 workers at {rate['1000'] / rate['10']:.2f} x the rate of 10 (at least 0.7).")
    table = show.Table(
        f"Workers that only answer: {arguments.bytes / 1e6:,.0f} MB in chunks of 256 KiB, {arguments.rounds} rounds",
        ("workers", "seconds", "chunks/s", "lost", "requeued", "coordinator, MiB"),
        [_row(name, each, rate[name]) for name, each in measured.items()],
        notes,
    )
    facts = {"bytes": arguments.bytes, "chunk": CHUNK, "runs": {name: asdict(each) for name, each in measured.items()}}
    shown = {name: {"chunks/s": _rates(each)} for name, each in measured.items()}
    draw = partial(show.bars, title="Workers that only answer", unit="chunks a second", values=shown)
    show.report("answering", [table], facts, markdown=arguments.markdown, draw=draw)


def coordinate(recording: Path, folder: Path, count: int, memory: str) -> None:
    """Run one job with answerers, and write its figures to report.json."""
    from zaudio import Coordinator, Limits
    from zaudio.events import Accepted, Event

    raise_descriptor_limit()
    accepted: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Accepted):
            accepted.append(event.at)

    with tempfile.TemporaryDirectory(prefix="answer-") as short:  # the path of a socket must be short
        bind = f"ipc://{short}/v"
        with Coordinator(recording, folder, bind=bind, chunk=CHUNK, limits=Limits(memory=memory), on_event=hear) as job:
            command = method.script("answerers.py", bind, "--sessions", count, "--processes", min(count, PROCESSES))
            with subprocess.Popen(command) as answerers:
                try:
                    report = job.wait()
                    answerers.wait(timeout=10)
                finally:
                    answerers.kill()
    seconds = accepted[-1] - accepted[0]
    counts = {"joined": report.workers, "lost": report.lost, "requeued": report.requeued}
    said = {"seconds": seconds, "chunks": report.chunks, **counts}
    (folder / "report.json").write_text(json.dumps(said))


def _count(each: Measured, key: str) -> int:
    return sum(report[key] for report in each.reports)


def _rates(each: Measured) -> list[float]:
    return [each.report["chunks"] / seconds for seconds in each.jobs]


def _row(name: str, each: Measured, rate: float) -> list[str]:
    counts = [str(_count(each, key)) for key in ("lost", "requeued")]
    return [name, show.spread(each.jobs), f"{rate:,.0f}", *counts, show.mib(each.peaks.get("coordinator"))]


if __name__ == "__main__":
    main()
