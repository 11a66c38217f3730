"""Where does the coordinator's time go?

Runs a job in a process of its own and asks the kernel for the processor time of each thread, in /proc/self/task, fifty
times a second. A thread that ends has the time of the last look. Then runs it again under py-spy, if that may look into
processes here, and lists each thread's most frequent functions. Some are waits that py-spy does not recognise. Threads
called `python` are those of libraries. `method.py` says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import method
import show
from method import Command, Measured, median

LOOKS = 50  # per second
SAMPLES = 500  # of py-spy, per second: the default of 100 sees a job of half a second fifty times
OURS = "(this benchmark)"  # the thread that looks
MOST = 4  # functions shown of a thread
_THREAD = re.compile(r"thread \(0x[0-9A-Fa-f]+\)(: )?|thread \([^)]*\)(: )?")


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/profiling.py take.raw --rounds 3")
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    parser.add_argument("--inside", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)  # in its own process
    arguments = parser.parse_args()
    recording = method.existing(arguments.input, raw=False)
    if arguments.inside:
        run_job(recording, arguments.inside, arguments.workers)
        return

    def make(folder: Path) -> list[str]:
        return method.script("profiling.py", recording, "-n", arguments.workers, "--inside", folder)

    turns = {"rounds": arguments.rounds, "touch_gib": arguments.touch}
    measured = method.take_turns({"job": Command(make)}, recording, **turns)["job"]
    tables = [_threads_table(recording, measured, arguments.rounds)]
    functions = sample(make)
    if functions:
        rows = [[thread, name, str(count)] for thread, of in functions.items() for name, count in of.most_common(MOST)]
        tables.append(
            show.Table(
                "py-spy: by thread, the functions at the top of its stack", ("thread", "function", "samples"), rows
            )
        )
    cpu = {name: [report["threads"].get(name, 0.0) for report in measured.reports] for name in _threads(measured)}
    facts = {"jobs": measured.jobs, "cpu_seconds": cpu, "functions": functions}
    shown = {name: {"processor seconds": values} for name, values in cpu.items()}
    draw = partial(show.bars, title="The coordinator's threads", unit="seconds", values=shown)
    show.report("profile", tables, facts, markdown=arguments.markdown, draw=draw)


def run_job(recording: Path, folder: Path, workers: int) -> None:
    """Run one job, and write the processor time of each thread to report.json."""
    from zaudio import Coordinator

    over = threading.Event()
    seconds: dict[int, tuple[str, float]] = {}
    looker = threading.Thread(target=look, args=(seconds, over), name=OURS, daemon=True)
    looker.start()
    imports = time.thread_time()  # no part of the job
    report = Coordinator(recording, folder, workers=workers).run()
    over.set()
    looker.join()
    by_name: defaultdict[str, float] = defaultdict(float)
    for name, taken in seconds.values():
        by_name[name] += taken
    by_name[threading.main_thread().name] -= imports
    said = {"seconds": report.seconds, "threads": by_name}
    (folder / "report.json").write_text(json.dumps(said))


def sample(make: Callable[[Path], list[str]]) -> dict[str, Counter[str]]:
    """Return thread -> function -> samples, by py-spy; print a sentence, and return none, where that does not work."""
    spy = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if spy is None:
        show.say("no functions: py-spy is not installed")
        return {}
    with method.scratch_folder() as folder:
        stacks = folder / "stacks.txt"
        command = [spy, "record", "--format", "raw", "--threads", "--rate", str(SAMPLES), "--output", str(stacks), "--"]
        done = subprocess.run([*command, *make(folder)], cwd=method.ROOT, capture_output=True, text=True, check=False)
        if not stacks.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            show.say(
                f"no functions: py-spy may not look into processes here ({said[-1] if said else 'it says nothing'})"
            )
            return {}
        return _fold(stacks.read_text())


def _fold(stacks: str) -> dict[str, Counter[str]]:
    """Count the topmost frames of each thread, busiest first, in lines of `thread;frame;frame count`; skip imports."""
    threads: dict[str, Counter[str]] = {}
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        thread, *rest = frames.split(";")
        if thread.endswith(OURS) or any("<frozen importlib" in frame for frame in rest):
            continue
        if rest and count.isdecimal():
            threads.setdefault(_THREAD.sub("", thread) or thread, Counter())[rest[-1]] += int(count)
    return dict(sorted(threads.items(), key=lambda item: -item[1].total()))


def look(seconds: dict[int, tuple[str, float]], over: threading.Event) -> None:
    """Note the processor time of each thread of this process, until told to stop."""
    while True:
        ended = over.wait(1 / LOOKS)
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        for task in Path("/proc/self/task").iterdir():
            try:
                nanoseconds = int((task / "schedstat").read_text().split()[0])
                name = names.get(int(task.name)) or (task / "comm").read_text().strip()
            except (OSError, ValueError):
                continue  # it has ended
            known = seconds.get(int(task.name))
            # A thread that has left Python's list, but not the kernel's, keeps its name.
            seconds[int(task.name)] = (known[0] if known and int(task.name) not in names else name, nanoseconds / 1e9)
        if ended:
            return


def _threads(measured: Measured) -> list[str]:
    """Return the names of all threads, busiest first."""
    total: Counter[str] = Counter()
    for report in measured.reports:
        total.update(report["threads"])
    return [name for name, _ in total.most_common()]


def _threads_table(recording: Path, measured: Measured, rounds: int) -> show.Table:
    rows = []
    medians = {
        name: median([report["threads"].get(name, 0.0) for report in measured.reports]) for name in _threads(measured)
    }
    job, whole = median(measured.jobs), sum(medians.values())
    for name, seconds in medians.items():
        rows.append([name, f"{seconds:.3f}", f"{100 * seconds / whole:.0f} %", f"{100 * seconds / job:.0f} %"])
    title = f"The coordinator's threads: {recording.name}, {rounds} rounds, job alone {show.spread(measured.jobs)} s"
    return show.Table(title, ("thread", "processor s", "share", "of the job's time"), rows)


if __name__ == "__main__":
    main()
