"""The cost of keys: the processor time of coordinator and workers over TCP on this machine, with keys and without.

Workers read nothing by themselves, so each chunk and each result go through a socket, and with keys through CURVE. The
same bytes go through a bare pair of sockets too, there and back, in parts of the same size: what CURVE takes there, no
farm can save. Start-up is measured with a recording of one chunk, and taken off. `method.py` says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import method
import show
import zmq
from method import Command, Measured, median

WAYS = ("without keys", "with keys")
SIDES = ("coordinator", "workers")
PART = 1 << 20  # bytes, as of a chunk
UNDER_WAY = 4  # parts at a time, as many as two workers hold


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/keys.py take.raw --rounds 3")
    parser.add_argument("-n", "--workers", type=int, default=2, help="worker processes; 2 by default")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)  # a job in its own process
    parser.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)  # a pair of sockets in its own process
    arguments = parser.parse_args()
    if arguments.inside:
        recording, folder, way = arguments.inside
        farm(Path(recording), Path(folder), arguments.workers, keys=way == WAYS[1])
        return
    if arguments.bare:
        size, folder, way = arguments.bare
        pair(int(size), Path(folder), keys=way == WAYS[1])
        return

    recording = method.existing(arguments.input)
    size = recording.stat().st_size
    with method.sparse_recording(PART, written=PART) as small:
        commands = {}
        for way in WAYS:
            commands[f"farm, {way}"] = Command(partial(_farm, recording, way, arguments.workers), recording=recording)
            commands[f"start-up, {way}"] = Command(partial(_farm, small, way, arguments.workers), recording=small)
            commands[f"bare sockets, {way}"] = Command(partial(_bare, size, way), checked=False)
        measured = method.take_turns(commands, None, rounds=arguments.rounds, touch_gib=arguments.touch)
    rows = [_row(f"{what}, {way}", measured, way) for what in ("farm", "bare sockets") for way in WAYS]
    table = show.Table(
        f"Processor seconds for {size / 1e6:,.0f} MB there and back, {arguments.workers} workers, "
        f"{arguments.rounds} rounds",
        ("", "coordinator, s", "workers, s", "both, s", "job alone, s"),
        rows,
        [f"CURVE by {_library()} in libzmq {zmq.zmq_version()}."],
    )
    facts = {"bytes": size, "runs": {name: asdict(each) for name, each in measured.items()}}
    shown = {row[0]: {"processor seconds": _both(measured[row[0]])} for row in rows}
    draw = partial(show.bars, title="What keys cost", unit="processor seconds, both sides", values=shown)
    show.report("keys", [table], facts, markdown=arguments.markdown, draw=draw)


def farm(recording: Path, folder: Path, workers: int, *, keys: bool) -> None:
    """Run a coordinator and workers from elsewhere; write the processor time of both to report.json."""
    ours, theirs = [], []
    if keys:
        made = folder / "keys"
        for command in (["init", made], ["worker", "w", "--keys", made]):
            subprocess.run(_zaudio("keys", *command), check=True, stdout=subprocess.DEVNULL)
        ours, theirs = ["--keys", made], ["--keys", made / "handover" / "w"]
    quiet = ["--quiet", "--progress", "none", "--report", folder / "report.json"]
    where = "tcp://127.0.0.1:5731"
    coordinator = subprocess.Popen(_zaudio("coordinator", recording, "-o", folder, "--bind", where, *quiet, *ours))
    joining = _zaudio("worker", where, "-n", workers, "--once", *theirs)
    crowd = subprocess.Popen(joining, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spent = {"coordinator": _spent(coordinator), "workers": _spent(crowd)}
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({"seconds": report["seconds"], **spent}))


def pair(size: int, folder: Path, *, keys: bool) -> None:
    """Send that many bytes to another process and back; write the processor time of both to report.json."""
    public, secret = zmq.curve_keypair()
    count, part = size // PART, bytes(PART)
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        if keys:
            socket.curve_server, socket.curve_secretkey, socket.curve_publickey = True, secret, public
        socket.bind("tcp://127.0.0.1:*")
        key = public.decode() if keys else ""
        where = socket.last_endpoint.decode()
        other = subprocess.Popen([sys.executable, "-c", _ECHO, where, str(count), key])
        began, used = time.perf_counter(), time.process_time()
        for number in range(count + UNDER_WAY):
            if number < count:
                socket.send(part, copy=False)
            if number >= UNDER_WAY:
                socket.recv(copy=False)
        seconds, used = time.perf_counter() - began, time.process_time() - used
    said = {"seconds": seconds, "coordinator": used, "workers": _spent(other)}
    (folder / "report.json").write_text(json.dumps(said))


def _spent(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; return the processor seconds of it and its children. End the program if it failed."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _zaudio(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "zaudio", *map(str, arguments)]


def _farm(recording: Path, way: str, workers: int, folder: Path) -> list[str]:
    return method.script("keys.py", "-n", workers, "--inside", recording, folder, way)


def _bare(size: int, way: str, folder: Path) -> list[str]:
    return method.script("keys.py", "--bare", size, folder, way)


def _row(name: str, measured: Mapping[str, Measured], way: str) -> list[str]:
    of, start = measured[name], measured[f"start-up, {way}"]
    less = {side: _median(start, side) if name.startswith("farm") else 0.0 for side in SIDES}
    spent = [f"{_median(of, side) - less[side]:.2f}" for side in SIDES]
    return [name, *spent, f"{sum(_median(of, side) - less[side] for side in SIDES):.2f}", show.spread(of.jobs)]


def _median(each: Measured, side: str) -> float:
    return median([report[side] for report in each.reports])


def _both(each: Measured) -> list[float]:
    return [sum(report[side] for side in SIDES) for report in each.reports]


def _library() -> str:
    """Return the name of the library that libzmq encrypts by."""
    libraries = [path.name for path in Path(zmq.__file__).parents[1].glob("pyzmq.libs/libsodium*")]
    return libraries[0] if libraries else "a library that this cannot tell"


_ECHO = """
import sys, zmq
where, count, key = sys.argv[1:]
with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
    if key:
        public, secret = zmq.curve_keypair()
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = key.encode(), public, secret
    socket.connect(where)
    for _ in range(int(count)):
        socket.send(socket.recv(copy=False), copy=False)
"""


if __name__ == "__main__":
    main()
