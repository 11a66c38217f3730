"""How long do the command line and local workers take to start?

Times `zaudio --help` beside `python -c pass`. Times eight local workers, from the coordinator's being ready to the last
worker's, beside `python -c "import numpy, zmq"`. `method.py` says how it is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import method
import show
from method import Command, Measured, median

NOTHING, HELP, IMPORTS = "python -c pass", "zaudio --help", 'python -c "import numpy, zmq"'
READY = "workers ready"
PATIENCE = 60.0  # s for the workers to come
CHUNK = 1 << 20


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/startup.py --rounds 20", recording=False)
    parser.add_argument("-n", "--workers", type=int, default=8, help="local workers; 8 by default")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # the timed start, in its own process
    arguments = parser.parse_args()
    if arguments.inside:
        print(f"{arguments.workers} workers ready in {start_workers(arguments.workers):.4f} s")
        return
    ready = method.script("startup.py", "--inside", "-n", arguments.workers)
    commands = {
        NOTHING: Command(lambda _: [sys.executable, "-c", "pass"], checked=False),
        HELP: Command(lambda _: [sys.executable, "-m", "zaudio", "--help"], checked=False),
        IMPORTS: Command(lambda _: [sys.executable, "-c", "import numpy, zmq"], checked=False),
        READY: Command(lambda _: ready, checked=False),
    }
    measured = method.take_turns(commands, None, rounds=arguments.rounds, touch_gib=arguments.touch)
    table = show.Table(
        f"Start-up, {arguments.workers} workers, {arguments.rounds} rounds; workers from when the coordinator is ready",
        ("", "ms", "x its yardstick"),
        [_row(name, measured) for name in measured],
        ["Target 8: zaudio --help at most 8 x python -c pass; 8 workers at most 3 x the imports."],
    )
    shown = {name: {"ms": [1000 * each for each in of.best_known]} for name, of in measured.items()}
    draw = partial(show.bars, title="Start-up", unit="ms", values=shown)
    facts = {"workers": arguments.workers, "runs": {name: asdict(each) for name, each in measured.items()}}
    show.report("startup", [table], facts, markdown=arguments.markdown, draw=draw)


def start_workers(count: int) -> float:
    """Start that many workers; return the seconds from the coordinator's being ready to the last worker's."""
    from zaudio import Coordinator
    from zaudio.events import Event, Joined

    names: set[str] = set()
    complete = threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, Joined):
            names.add(event.worker)
            if len(names) == count:
                complete.set()

    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "sparse.raw"
        # So long that the first worker cannot have done it before the last one comes; it is stopped then.
        with recording.open("wb") as file:
            file.truncate(count * 512 * CHUNK)
        with Coordinator(recording, Path(folder) / "out", workers=count, chunk=CHUNK, on_event=hear):
            begun = time.perf_counter()
            if not complete.wait(PATIENCE):
                raise SystemExit(f"{len(names)} of {count} workers came within {PATIENCE:g} s")
            return time.perf_counter() - begun


def _row(name: str, measured: dict[str, Measured]) -> list[str]:
    times = measured[name].best_known
    yardstick = measured[IMPORTS if name in (IMPORTS, READY) else NOTHING].best_known
    in_ms = show.spread([1000 * each for each in times], digits=0)
    return [name, in_ms, f"{median(times) / median(yardstick):.2f}"]


if __name__ == "__main__":
    main()
