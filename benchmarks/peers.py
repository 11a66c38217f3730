"""How does the farm compare with other engines, doing the same job?

Times ProcessPoolExecutor, joblib, Dask and Ray, each written as its documentation advises (`peers/`). All take the last
chunk first, as the farm does, so that engines are compared and not ideas. First they process one recording in chunks of
1 MiB, then 40 MB in chunks of 4 KiB. zaudio also tags, checks and fsyncs; the others do not. `method.py` says how it is
measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import method
import numpy as np
import show
from method import Command, Measured, median

ZAUDIO = "zaudio"
PEERS = {  # name -> program, what it needs, target 3: zaudio's whole command at most so many times this one's
    "ProcessPoolExecutor": ("process_pool.py", "concurrent.futures", 0.6),
    "joblib": ("with_joblib.py", "joblib", 0.6),
    "Dask": ("with_dask.py", "distributed", 0.35),
    "Ray": ("with_ray.py", "ray", 0.25),
}
CHUNK = 1 << 20
SMALL_CHUNK, SMALL_BYTES = 4096, 40_000_000
SEED = 20


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/peers.py take.raw --rounds 3 --only joblib")
    parser.add_argument("-n", "--workers", type=int, default=2, help="worker processes; 2 by default")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), help="peers to run")
    parser.add_argument("--small-bytes", type=int, default=SMALL_BYTES, help=f"cut into small chunks; {SMALL_BYTES}")
    arguments = parser.parse_args()
    recording = method.existing(arguments.input)
    peers = [name for name in arguments.only if _is_there(name)]
    turns = {"rounds": arguments.rounds, "touch_gib": arguments.touch}

    large = method.take_turns(make_commands(recording, peers, arguments.workers, CHUNK), recording, **turns)
    with method.scratch_folder() as folder:
        small = folder / "small.raw"
        count = arguments.small_bytes // 4
        np.random.default_rng(SEED).uniform(-1, 1, count).astype("<f4").tofile(small)
        tiny = method.take_turns(make_commands(small, peers, arguments.workers, SMALL_CHUNK), small, **turns)
    chunks = -(-4 * count // SMALL_CHUNK)

    megabytes = recording.stat().st_size / 1e6
    how = f"{arguments.workers} workers, {arguments.rounds} rounds"
    tables = [
        show.Table(
            f"{recording.name}, {megabytes:.1f} MB in chunks of 1 MiB, {how}",
            ("", "whole command, s", "zaudio takes", "at most", "job alone, s", "zaudio takes"),
            [_row(name, large) for name in large],
        ),
        show.Table(
            f"{chunks:,} chunks of 4 KiB, {how}",
            ("", "job alone, s", "chunks/s", "zaudio's rate is"),
            [_small_row(name, tiny, chunks) for name in tiny],
            ["Target 4: at least 1.2 x joblib's rate."],
        ),
    ]
    facts = {
        "bytes": recording.stat().st_size,
        "workers": arguments.workers,
        "large": {name: asdict(each) for name, each in large.items()},
        "small_chunks": chunks,
        "small": {name: asdict(each) for name, each in tiny.items()},
    }
    shown = {name: {"whole command": each.seconds, "job alone": each.jobs} for name, each in large.items()}
    draw = partial(show.bars, title=f"{megabytes:.0f} MB, {arguments.workers} workers", unit="seconds", values=shown)
    show.report("peers", tables, facts, markdown=arguments.markdown, draw=draw)


def make_commands(recording: Path, peers: Sequence[str], workers: int, chunk: int) -> dict[str, Command]:
    """Return the commands of the farm and its peers, on the same recording with the same chunks."""
    commands = {
        ZAUDIO: Command(lambda folder: method.farm(recording, folder, workers, "--chunk", f"{chunk // 1024}KiB"))
    }
    for name in peers:
        commands[name] = Command(partial(_peer, PEERS[name][0], recording, workers, chunk))
    return commands


def _peer(program: str, recording: Path, workers: int, chunk: int, folder: Path) -> list[str]:
    return method.script(f"peers/{program}", recording, folder, "-n", workers, "--chunk", chunk)


def _is_there(name: str) -> bool:
    _, module, _ = PEERS[name]
    if find_spec(module) is None:
        show.say(f"{name} is left out: {module} is not installed; `make bench-peers` installs it")
        return False
    return True


def _row(name: str, measured: Mapping[str, Measured]) -> list[str]:
    ours, theirs = measured[ZAUDIO], measured[name]
    most = f"{PEERS[name][2]} x" if name in PEERS else ""
    whole = [show.spread(theirs.seconds), _over(ours.seconds, theirs.seconds)]
    return [name, *whole, most, show.spread(theirs.jobs), _over(ours.jobs, theirs.jobs)]


def _small_row(name: str, measured: Mapping[str, Measured], chunks: int) -> list[str]:
    ours, theirs = measured[ZAUDIO], measured[name]
    rate = f"{chunks / median(theirs.jobs):,.0f}"
    return [name, show.spread(theirs.jobs), rate, _over(theirs.jobs, ours.jobs)]


def _over(these: list[float], those: list[float]) -> str:
    return f"{median(these) / median(those):.2f} x"


if __name__ == "__main__":
    main()
