"""Is a costly op twice as fast on two workers?

The op takes 50 ms of numpy per MiB (`costly.py`, calibrated at the start). It runs on 2 local workers, and in one
process that does the whole job as a stream, tag included (`stream.py --tag`). `method.py` says how it is measured.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import method
import show
from costly import passes_for
from method import Command, Measured, median

ONE, FARM = "one process", "zaudio farm"
SECONDS = 0.05  # per MiB
BYTES = 200 << 20


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/costly_op.py --bytes 20000000", recording=False)
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    parser.add_argument("--bytes", type=int, default=BYTES, help=f"of the (sparse) recording; {BYTES}")
    arguments = parser.parse_args()
    passes = passes_for(SECONDS)
    op = f"benchmarks.costly:work:passes={passes}"
    with method.sparse_recording(arguments.bytes // 4 * 4, written=arguments.bytes) as path:
        commands = {
            ONE: Command(lambda folder: method.script("stream.py", path, folder, "--passes", passes, "--tag")),
            FARM: Command(lambda folder: method.farm(path, folder, arguments.workers, "--op", op)),
        }
        turns = {"rounds": arguments.rounds, "touch_gib": arguments.touch, "look": True}
        measured = method.take_turns(commands, path, **turns)
    table = show.Table(
        f"An op of 50 ms a MiB: {arguments.bytes / 1e6:.0f} MB, {arguments.workers} workers, {arguments.rounds} rounds",
        ("", "whole command, s", "as fast", "job alone, s", "as fast", "coordinator, MiB", "worker, MiB"),
        [_row(name, each, measured[ONE]) for name, each in measured.items()],
        ["Target 5: 2 workers at least 1.8 x as fast as one process, job alone."],
    )
    facts = {
        "bytes": arguments.bytes,
        "passes": passes,
        "runs": {name: asdict(each) for name, each in measured.items()},
    }
    shown = {name: {"whole command": each.seconds, "job alone": each.jobs} for name, each in measured.items()}
    draw = partial(show.bars, title="An op of 50 ms a MiB", unit="seconds", values=shown)
    show.report("costly_op", [table], facts, markdown=arguments.markdown, draw=draw)


def _row(name: str, each: Measured, one: Measured) -> list[str]:
    whole = [show.spread(each.seconds), f"{median(one.seconds) / median(each.seconds):.2f} x"]
    job = [show.spread(each.jobs), f"{median(one.jobs) / median(each.jobs):.2f} x"]
    memory = [show.mib(each.peaks.get(role)) if name == FARM else "-" for role in ("coordinator", "worker")]
    return [name, *whole, *job, *memory]


if __name__ == "__main__":
    main()
