"""Does it cost a farm anything to be looked at?

Runs the same job without a page, with a page that nobody opens, with 50 readers that follow it, and with a log of
events and no page, in turn. Takes the processor time of the command with its workers, and the time of the job alone.
The readers are one other process, whose time does not count; it takes what the machine has, all the same. `method.py`
says how jobs are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import method
import show
from method import Command, Measured, median

READERS = 50
ROUNDS = 9
TARGET = 1.02
OP = "highpass:hz=80"
PATIENCE = 30.0  # s for the page to be there
WITHOUT, NOBODY, LOGGED = "no page, no log", "a page, no reader", "a log of events"
LOG = "events.jsonl"


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/pages.py --readers 64")
    parser.set_defaults(rounds=ROUNDS)
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    parser.add_argument("--readers", type=int, default=READERS, help=f"open pages; {READERS} by default")
    parser.add_argument("--op", default=OP, help=f"as of zaudio farm; {OP} by default")
    parser.add_argument("--chunk", default="256KiB", help="as of zaudio farm; small ones make more events")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)  # one timed job
    parser.add_argument("--follow", nargs=2, help=argparse.SUPPRESS)  # the readers of one job
    arguments = parser.parse_args()
    if arguments.follow:
        follow(Path(arguments.follow[0]), int(arguments.follow[1]))
        return
    if arguments.inside:
        folder, readers, *command = arguments.inside
        run(Path(folder), int(readers), command)
        return
    recording = method.existing(arguments.input)

    watched = f"a page, {arguments.readers} readers"
    kinds = (WITHOUT, NOBODY, watched, LOGGED)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    logs: list[tuple[int, int]] = []  # lines and bytes

    def command(name: str, folder: Path) -> list[str]:
        more = ["--web", "0", "--web-linger", "0"] if name in (NOBODY, watched) else []
        more += ["--events", str(folder / LOG)] if name == LOGGED else []
        job = method.farm(recording, folder, arguments.workers, "--op", arguments.op, "--chunk", arguments.chunk, *more)
        return method.script("pages.py", "--inside", folder, arguments.readers if name == watched else 0, *job)

    def taker(name: str) -> Command:
        def verify(folder: Path) -> None:
            times[name].append(float((folder / "cpu.txt").read_text()))
            if name == LOGGED:
                content = (folder / LOG).read_bytes()
                logs.append((content.count(b"\n"), len(content)))

        return Command(lambda folder: command(name, folder), verify=verify)

    commands = {name: taker(name) for name in kinds}
    measured = method.take_turns(commands, recording, rounds=arguments.rounds, touch_gib=arguments.touch)
    table = show.Table(
        f"Being looked at: {arguments.op}, chunks of {arguments.chunk}, {arguments.workers} workers, "
        f"{arguments.rounds} rounds",
        ("", "job, s", "x without", "processor, s", "x without"),
        [_row(name, measured, times) for name in kinds],
        [
            f"Target: at most {TARGET} x with {READERS} readers, both.",
            f"The log: {logs[-1][0]} lines, {logs[-1][1] / 1e6:.2f} MB.",
            f"Load of the machine: {os.getloadavg()[0]:.1f}.",
        ],
    )
    facts = {"runs": {name: asdict(each) for name, each in measured.items()}, "processor": times, "logs": logs}
    show.report("pages", [table], facts, markdown=arguments.markdown)


def _row(name: str, measured: dict[str, Measured], times: dict[str, list[float]]) -> list[str]:
    jobs, cpu = measured[name].jobs, times[name]
    return [
        name,
        show.spread(jobs, digits=2),
        f"{median(jobs) / median(measured[WITHOUT].jobs):.3f}",
        show.spread(cpu, digits=2),
        f"{median(cpu) / median(times[WITHOUT]):.3f}",
    ]


def run(folder: Path, readers: int, command: list[str]) -> None:
    """Run one job, followed by so many readers; leave the processor time of it and its workers in a file."""
    following = None
    if readers:
        following = subprocess.Popen(method.script("pages.py", "--follow", folder, readers))
    job = subprocess.Popen(command)
    _, status, used = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    if following is not None:
        following.wait()
    if job.returncode:
        raise SystemExit(job.returncode)
    (folder / "cpu.txt").write_text(str(used.ru_utime + used.ru_stime))


def follow(folder: Path, readers: int) -> None:
    """Follow the page of the job in that folder until it ends; say if a reader saw nothing."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / "result.web").exists():
        if time.monotonic() > deadline:
            raise SystemExit("no page came")
        time.sleep(0.02)
    page = json.loads((folder / "result.web").read_text())
    address = urlsplit(page["address"])
    request = f"GET /stream HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {page['token']}\r\n\r\n"
    taken: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(readers):
            connection = socket.create_connection((str(address.hostname), address.port))
            connection.sendall(request.encode())
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                piece = connection.recv(1 << 16)
                taken[key.fd] = taken.get(key.fd, 0) + len(piece)
                if not piece:
                    selector.unregister(connection)
                    connection.close()
    if min(taken.values()) < 1000:
        print("a reader saw nothing", file=sys.stderr)


if __name__ == "__main__":
    main()
