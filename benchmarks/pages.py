"""Does it cost a farm anything to be looked at?

Runs the same job without a page, with a page that nobody opens, with 50 readers that follow it, and with a log of
events and no page, in turn. Takes the processor time of the command with its workers, and the time of the job alone.
The readers are one other process. Its time does not count, but it takes cores from the job, unlike readers on other
machines. So it is forked before the job begins, and looks ten times a second. `method.py` says how jobs are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
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
LOOK = 0.1  # s between two looks of the readers; a line comes each second to each of 50
SEEN_LEAST = 1000  # bytes; a snapshot has more
WITHOUT, NOBODY, LOGGED = "no page, no log", "a page, no reader", "a log of events"
LOG = "events.jsonl"
FOLLOWED = "readers.txt"  # the readers' processor time


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/pages.py --readers 64")
    parser.set_defaults(rounds=ROUNDS)
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    parser.add_argument("--readers", type=int, default=READERS, help=f"open pages; {READERS} by default")
    parser.add_argument("--op", default=OP, help=f"as of zaudio farm; {OP} by default")
    parser.add_argument("--chunk", default="256KiB", help="as of zaudio farm; small ones make more events")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)  # one timed job
    arguments = parser.parse_args()
    if arguments.inside:
        folder, readers, *command = arguments.inside
        run(Path(folder), int(readers), command)
        return
    recording = method.existing(arguments.input)

    watched = f"a page, {arguments.readers} readers"
    kinds = (WITHOUT, NOBODY, watched, LOGGED)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    logs: list[tuple[int, int]] = []  # lines and bytes
    following: list[float] = []  # processor time of the readers

    def command(name: str, folder: Path) -> list[str]:
        more = ["--web", "0", "--web-linger", "0"] if name in (NOBODY, watched) else []
        more += ["--events", str(folder / LOG)] if name == LOGGED else []
        job = method.farm(recording, folder, arguments.workers, "--op", arguments.op, "--chunk", arguments.chunk, *more)
        return method.script("pages.py", "--inside", folder, arguments.readers if name == watched else 0, *job)

    def taker(name: str) -> Command:
        def verify(folder: Path) -> None:
            times[name].append(float((folder / "cpu.txt").read_text()))
            if name == watched:
                following.append(float((folder / FOLLOWED).read_text()))
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
            f"The readers took {median(following):.3f} s of processor time, which the table does not count.",
            f"The log: {logs[-1][0]} lines, {logs[-1][1] / 1e6:.2f} MB.",
            f"Load of the machine: {os.getloadavg()[0]:.1f}.",
        ],
    )
    runs = {name: asdict(each) for name, each in measured.items()}
    facts = {"runs": runs, "processor": times, "readers": following, "logs": logs}
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
    following = fork(lambda: follow(folder, readers)) if readers else None
    job = subprocess.Popen(command)
    _, status, used = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    if following is not None and os.waitpid(following, 0)[1]:
        raise SystemExit("the readers did not see the job")
    if job.returncode:
        raise SystemExit(job.returncode)
    (folder / "cpu.txt").write_text(str(used.ru_utime + used.ru_stime))


def fork(function: Callable[[], None]) -> int:
    """Call a function in a forked process, which has no imports to do while a job begins; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        function()
        code = 0
    except (OSError, ValueError, SystemExit) as error:
        print(repr(error), file=sys.stderr)
    finally:
        os._exit(code)


def follow(folder: Path, readers: int) -> None:
    """Follow the page of the job in that folder until it ends; leave the processor time of that in a file.

    Raises:
        SystemExit: No page came, or a reader saw nothing.
    """
    begun = _processor_seconds()
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
        for number in range(readers):
            connection = socket.create_connection((str(address.hostname), address.port))
            connection.sendall(request.encode())
            selector.register(connection, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                piece = connection.recv(1 << 16)
                taken[key.data] = taken.get(key.data, 0) + len(piece)
                if not piece:
                    selector.unregister(connection)
                    connection.close()
            time.sleep(LOOK)
    if min(taken.values()) < SEEN_LEAST:
        raise SystemExit("a reader saw nothing")
    (folder / FOLLOWED).write_text(str(_processor_seconds() - begun))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
