"""How many workers can one coordinator feed? 10 to 10,000 of them in virtual time, and 1,000 answering ones for real.

The real runs come first. Workers of `answerers.py` answer each chunk after `--op` seconds, over TCP on this machine.
They get the samples from the coordinator, or say that they read the recording by themselves, as `--read` lets them.
The processor time of the coordinator's thread in two runs of the first kind, with many chunks and with few, gives what
a chunk and a small message cost it. With these costs `virtual_farm.py` runs the shipped Desk, with a link, a cipher and
deaths.

Chunks of the real runs have 256 KiB, the least that travels in one message: workers, coordinator and cipher share the
cores here. In virtual time they have the usual 1 MiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import method
import show
import xxhash
from answerers import raise_descriptor_limit
from memory import Peaks
from profiling import look
from virtual_farm import run
from virtual_setting import Costs, Outcome, Setting

COUNTS = (10, 100, 1000, 10_000)
OPS = (1.0, 10.0)  # seconds a chunk
MANY = 1000
SECONDS = 60.0  # of an ideal run, in virtual time
# Seconds a chunk, seconds of an ideal run, and whether workers read the recording: many chunks, and few.
REAL = ((1.0, 20.0, False), (8.0, 24.0, False), (1.0, 20.0, True))
REAL_WORKERS = 1000
REAL_CHUNK = 256 * 1024
MIB, GIB = 1 << 20, 1 << 30
STAND_INS = "(stand-ins)"  # their processes, hellos included


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", nargs="+", type=int, default=COUNTS, metavar="N", help="in virtual time")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of an ideal run, in virtual time; 60")
    parser.add_argument("--real-workers", type=int, default=REAL_WORKERS, metavar="N", help="0 for no real run")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--rounds", help=argparse.SUPPRESS)  # for other benchmarks; here each run is one
    parser.add_argument("--touch", help=argparse.SUPPRESS)
    parser.add_argument("--inside", nargs=5, help=argparse.SUPPRESS)  # a real run, in its own process
    arguments = parser.parse_args()
    if arguments.inside:
        recording, folder, count, op, reads = arguments.inside
        coordinate(Path(recording), Path(folder), int(count), float(op), reads=reads == "True")
        return

    tables, facts, costs = [], {}, Costs()
    if arguments.real_workers:
        real = [measure(arguments.real_workers, op, seconds, reads=reads) for op, seconds, reads in REAL]
        costs = fit([each for each in real if not each["reads"]], arguments.real_workers)
        tables.append(_real_table(real, arguments.real_workers))
        facts["real"] = real
    settings = choose(arguments.workers, arguments.seconds, costs)
    outcomes = {name: [simulate(setting) for setting in of] for name, of in settings.items()}
    tables.append(_table(outcomes, costs))
    facts["virtual"] = {name: [asdict(outcome) for outcome in of] for name, of in outcomes.items()}
    draw = partial(_draw, outcomes=outcomes)
    show.report("many-workers", tables, facts, markdown=arguments.markdown, draw=draw)


# In virtual time


def choose(counts: Sequence[int], seconds: float, costs: Costs) -> dict[str, list[Setting]]:
    """Return the farms to run, by the name of their series."""
    series: dict[str, list[Setting]] = {}
    for op in OPS:
        series[f"op of {op:g} s"] = [_setting(count, op, seconds, costs) for count in counts]
    some = [each for each in series[f"op of {OPS[0]:g} s"] if 100 <= each.workers <= MANY]
    series["op of 1 s, a process dies each second"] = [replace(each, deaths=1.0) for each in some]
    series["op of 1 s, a machine vanishes each second"] = [replace(each, deaths=1.0, vanish=True) for each in some]
    series["op of 1 s, --memory 1GiB"] = [replace(each, memory=GIB) for each in some]
    return series


def _setting(count: int, op: float, seconds: float, costs: Costs) -> Setting:
    # As much memory as the window asks for: six chunks a worker, each way.
    setting = Setting(workers=count, op=op, costs=costs, memory=max(128 * MIB, 12 * count * MIB))
    # Ten thousand workers say 40,000 messages a second: less of it is enough. But in less time than four chunks take,
    # the start and the end are the most.
    seconds = seconds if count <= MANY else seconds / 3
    return replace(setting, chunks=round(setting.ideal * max(seconds, 4 * op)))


def simulate(setting: Setting) -> Outcome:
    show.say(f"in virtual time: {setting.workers:,} workers, op of {setting.op:g} s, {setting.deaths:g} deaths/s")
    return run(setting)


def _table(outcomes: Mapping[str, Sequence[Outcome]], costs: Costs) -> show.Table:
    rows = [[name, *_row(outcome)] for name, of in outcomes.items() for outcome in of]
    return show.Table(
        "The shipped Desk in virtual time: chunks of 1 MiB, a link of 25 Gbit/s and 0.5 ms, a cipher of 1.38 GB/s, "
        "`--memory` of 12 MiB a worker where the row says no other",
        (
            "",
            "workers",
            "ideal, chunks/s",
            "efficiency",
            "messages/s",
            "Gbit/s",
            "samples held, MiB",
            "Desk's memory, MiB",
            "Desk, us a chunk",
            "thread busy",
            "cipher busy",
            "done twice",
        ),
        rows,
        [
            f"Beside the Desk, a chunk costs the thread {1e6 * costs.chunk:.0f} us, "
            f"a small message {1e6 * costs.message:.0f} us."
        ],
    )


def _row(outcome: Outcome) -> list[str]:
    setting, seconds = outcome.setting, outcome.seconds
    return [
        f"{setting.workers:,}",
        f"{setting.ideal:,.0f}",
        f"{outcome.efficiency:.3f}",
        f"{(outcome.received + outcome.sent) / seconds:,.0f}",
        f"{8e-9 * outcome.bytes / seconds:.1f}",
        f"{outcome.held / 2**20:,.0f}",
        f"{outcome.brain / 2**20:.1f}",
        f"{1e6 * outcome.desk / setting.chunks:.0f}",
        f"{min(1.0, outcome.busy / seconds):.0%}",
        f"{outcome.ciphering / seconds:.0%}",
        f"{outcome.repeated:,}",
    ]


def _draw(figure: Any, *, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    above, below = figure.subplots(2, 1, sharex=True)
    for name, of in outcomes.items():
        counts = [outcome.setting.workers for outcome in of]
        above.plot(counts, [outcome.efficiency for outcome in of], "o-", label=name)
        below.plot(counts, [outcome.busy / outcome.seconds for outcome in of], "o-", label=name)
    above.axhline(0.95, color="grey", linewidth=0.8, linestyle=":")
    above.set_title("The shipped Desk in virtual time")
    above.set_ylabel("share of the ideal rate")
    above.set_ylim(0, 1.05)
    above.legend(fontsize="small", loc="lower left")
    below.set_ylabel("coordinator's thread busy")
    below.set_ylim(0, 1.05)
    below.set_xscale("log")
    below.set_xlabel("workers")


# For real


def measure(count: int, op: float, seconds: float, *, reads: bool) -> dict[str, Any]:
    """Run answering workers against a real coordinator; return its figures."""
    show.say(f"for real: {count:,} answering workers, op of {op:g} s{', who read by themselves' if reads else ''}")
    chunks = round(count / op * seconds)
    size = chunks * REAL_CHUNK
    with method.sparse_recording(size, written=size) as recording, method.scratch_folder() as folder:
        command = method.script("many_workers.py", "--inside", recording, folder, count, op, reads)
        with subprocess.Popen(command, cwd=method.ROOT) as process:
            peaks = Peaks(process.pid)
            code = process.wait()
            most = peaks.stop()
        if code:
            raise SystemExit(f"{' '.join(command)}: exit code {code}")
        said: dict[str, Any] = json.loads((folder / "report.json").read_text())
    # From the first grant, which is an op before the first result.
    whole = said["seconds"] + op
    return {
        **said,
        "op": op,
        "reads": reads,
        "peak": most.get("coordinator"),
        "efficiency": said["chunks"] * op / count / whole,
    }


def coordinate(recording: Path, folder: Path, count: int, op: float, *, reads: bool) -> None:
    """Run one job with answering workers, and write its figures to report.json."""
    from zaudio import Coordinator, Limits
    from zaudio.events import Accepted, Joined
    from zaudio.watching.stream import Subscription

    raise_descriptor_limit()
    accepted: list[float] = []
    threads: dict[int, tuple[str, float]] = {}
    before: list[dict[int, tuple[str, float]]] = []
    over = threading.Event()
    looker = threading.Thread(target=look, args=(threads, over), daemon=True)

    def hear(subscription: Subscription) -> None:
        while events := subscription.take():
            for event in events:
                if isinstance(event, Joined) and not before:
                    before.append(dict(threads))  # what went before is hellos
                if isinstance(event, Accepted):
                    accepted.append(event.at)
            subscription.rest(0.1)  # as the log and the page do

    limits = Limits(memory=12 * count * REAL_CHUNK)  # 6 chunks a worker, each way
    bind = "tcp://127.0.0.1:0"
    looker.start()
    job = Coordinator(recording, folder, bind=bind, chunk=REAL_CHUNK, limits=limits)
    job.follow(hear, 8192)
    with job:
        command = method.script("answerers.py", job.endpoint, "--sessions", count, "--processes", 2, "--op", op)
        command += ["--reads", str(recording.parent)] if reads else []
        with subprocess.Popen(command) as answerers:
            try:
                report = job.wait()
                answerers.wait(timeout=30)
            finally:
                answerers.kill()
    over.set()
    looker.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = {STAND_INS: used.ru_utime + used.ru_stime}
    for number, (name, seconds) in threads.items():
        earlier = before[0].get(number, ("", 0.0))[1] if before else 0.0
        spent[name] = spent.get(name, 0.0) + seconds - earlier
    said = {
        "seconds": accepted[-1] - accepted[0],
        "chunks": report.chunks,
        "lost": report.lost,
        "requeued": report.requeued,
        "threads": spent,
    }
    (folder / "report.json").write_text(json.dumps(said))


def fit(real: Sequence[Mapping[str, Any]], count: int) -> Costs:
    """Return what a chunk and what a small message cost the coordinator's thread beside the Desk.

    Two runs, two unknowns. A worker and its coordinator say four small messages a second. What the Desk takes of it is
    known from the same farms in virtual time.
    """
    rows = []
    for each in real:
        whole = each["seconds"] + each["op"]
        setting = Setting(workers=count, op=each["op"], chunks=each["chunks"], chunk_bytes=REAL_CHUNK)
        outcome = run(setting)
        desk = outcome.desk / outcome.seconds * whole
        rows.append((each["chunks"], 4 * count * whole, each["threads"]["zaudio-coordinator"] - desk))
    (a, b, first), (c, d, second) = rows
    message, chunk = (a * second - c * first) / (a * d - b * c), (d * first - b * second) / (a * d - b * c)
    return Costs(message=message, chunk=chunk + _summing(MIB - REAL_CHUNK))


def _summing(size: int) -> float:
    """Return the seconds that the checksum of that many bytes takes: chunks are longer in virtual time."""
    payload, least = bytes(size), float("inf")
    for _ in range(50):
        began = time.thread_time()
        xxhash.xxh3_64_intdigest(payload)
        least = min(least, time.thread_time() - began)
    return least


def _real_table(real: Sequence[Mapping[str, Any]], count: int) -> show.Table:
    names = sorted({name for each in real for name, spent in each["threads"].items() if spent >= 0.05})
    rows = []
    for each in real:
        chunks, spent = each["chunks"], each["threads"]
        shares = [f"{1e6 * spent.get(name, 0.0) / chunks:,.0f}" for name in names]
        rows.append(
            [
                f"{each['op']:g}",
                "workers" if each["reads"] else "coordinator",
                f"{chunks:,}",
                f"{each['efficiency']:.3f}",
                str(each["lost"]),
                str(each["requeued"]),
                show.mib(each["peak"]),
                *shares,
            ]
        )
    return show.Table(
        f"{count:,} answering workers and a real coordinator, TCP on one machine, chunks of 256 KiB",
        (
            "op, s",
            "reads",
            "chunks",
            "efficiency",
            "lost",
            "requeued",
            "coordinator, MiB",
            *(f"{name}, us a chunk" for name in names),
        ),
        rows,
    )


if __name__ == "__main__":
    main()
