"""Random faults for minutes on end: `make soak MINUTES=10`. Does memory grow, do descriptors, is anything left?

One process runs job after job (series.py). It has a local worker, two workers from elsewhere that live as long as it
does, and some that are killed and come back; all of those connect through a proxy. Beside it, the command line does a
job that is killed or interrupted and resumed, over and over. Every half second or so something happens at random:
workers, starters and coordinators are killed, stopped and continued, the network is cut, slowed down and mended.

Every result is checked (`harness.assert_promises`). At the end, straight lines are fitted to the memory and to the
descriptors of the processes that lived all the while, without the first quarter, in which they fill what they keep. A
line is flat when it rises by no more than `ALLOWED` over the whole time. Exits 1 when one is not, or when anything is
left. Samples go to a JSON file, from which soak_picture.py draws.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "integration")]

from farm_support import NAMES  # noqa: E402  they need the path above
from faults import go_on, kill, stop  # noqa: E402
from footprint import descriptors, memory  # noqa: E402
from harness import DURATIONS, Process, Scene, assert_promises, listing, opened, running  # noqa: E402
from net_support import MS, children, wait_until  # noqa: E402
from net_support import kill as send  # noqa: E402
from proxy import Proxy  # noqa: E402
from series import FOLDERS  # noqa: E402

MIB = 1 << 20
LOOK = 0.25  # seconds between two samples
WARM_UP = 0.25  # of the time: pools, arenas and caches are filled
ALLOWED = {"memory": 4 * MIB, "descriptors": 0.5}  # over the whole time; a descriptor a job would be hundreds
FRAMES, CHUNK = 400_000, 10_000  # 1.6 MB: a job takes about a second
OP = "farm_ops:slow:ms=20"
PAUSES = 0.1, 0.7  # seconds between two faults


class Soak:
    """All that runs, and what can happen to it."""

    def __init__(self, scene, seed):
        self.scene = scene
        self.random = random.Random(seed)
        self.proxy = scene.cleaning.enter_context(Proxy(scene.host))
        self.samples = {}  # name -> [(seconds, memory, descriptors)]
        self.counts = dict.fromkeys(self.faults(), 0) | dict.fromkeys(
            ("job of the series", "result of the series checked", "job", "job resumed"), 0
        )
        self.later = []  # (when, what): ends of faults that last
        self.asked = []  # the coordinator that was asked to end
        self.began = time.monotonic()
        self.series = self._start_series()
        self.endpoint = f"tcp://{scene.host}:6555"
        self.lasting = {f"worker {n}": scene.worker(self.endpoint, "--name", f"lasting-{n}") for n in (1, 2)}
        self.mortal = [scene.worker(self.endpoint) for _ in range(2)]
        self.victim = self._start_victim()

    def faults(self):
        """What may happen, by name."""
        return {
            "killed worker": self._kill_worker,
            "stopped worker": self._stop_worker,
            "killed local worker": self._kill_local_worker,
            "killed starter": self._kill_starter,
            "stopped coordinator": lambda: self._pause(self.series),
            "cut network": lambda: self._meanwhile(self.proxy.partition),
            "network cut one way": lambda: self._meanwhile(self.proxy.partition, self.random.choice(["up", "down"])),
            "slow network": lambda: self._meanwhile(self.proxy.throttle, 2e6),
            "killed coordinator": lambda: kill(self.victim),
            "interrupted coordinator": lambda: self._signal_victim(signal.SIGINT),
            "terminated coordinator": lambda: self._signal_victim(signal.SIGTERM),
        }

    def run(self, seconds):
        """Let things happen for so long, then let all come to its end."""
        faults = self.faults()
        due = 0.0
        while (now := time.monotonic() - self.began) < seconds:
            self._finish_what_is_over(now)
            self._sample(now)
            if now >= due:
                name = self.random.choice(list(faults))
                faults[name]()
                self.counts[name] += 1
                due = now + self.random.uniform(*PAUSES)
            time.sleep(LOOK / 5)
        self._finish_what_is_over(float("inf"))
        self._end()

    # Faults

    def _kill_worker(self):
        number = self.random.randrange(len(self.mortal))
        kill(self.mortal[number])
        self.mortal[number].finish()
        self.mortal[number].forget()
        self.mortal[number] = self.scene.worker(self.endpoint)

    def _stop_worker(self):
        self._pause(self.random.choice([*self.mortal, *self.lasting.values()]))

    def _kill_local_worker(self):
        workers = [pid for starter in children(self.series.pid) for pid in children(starter)]
        for pid in workers[:1]:
            send(pid)

    def _kill_starter(self):
        for pid in children(self.series.pid)[:1]:
            send(pid)

    def _signal_victim(self, number):
        # Before the first event, Python may not have come to the code that obeys; at a second signal nothing is said.
        if self.victim.events() and self.victim not in self.asked:
            self.asked = [self.victim]
            self.victim.signal(number)

    def _pause(self, process):
        stop(process)
        self._end_later(lambda: go_on(process))

    def _meanwhile(self, fault, *arguments):
        fault(*arguments)
        self._end_later(self.proxy.heal)

    def _end_later(self, what):
        self.later.append((time.monotonic() - self.began + self.random.uniform(0.2, 3.0), what))

    # Going on

    def _start_series(self):
        scene = self.scene
        settings = {
            "input": str(scene.path), "output": str(scene.folder / "series"), "ops": OP, "chunk": f"{CHUNK}f",
            "overwrite": True, "workers": 1, "bind": f"tcp://{scene.host}:5555",
            "network": {"advertise": f"{scene.host}:6555,6556"}, "durations": DURATIONS,
        }  # fmt: skip
        return Process(scene, [sys.executable, Path(__file__).with_name("series.py"), json.dumps(settings)])

    def _start_victim(self):
        return self.scene.farm("--overwrite", op=OP, chunk=CHUNK, workers=1, durations={"checkpoint": 0.1})

    def _finish_what_is_over(self, now):
        for when, what in [each for each in self.later if each[0] <= now]:
            self.later.remove((when, what))
            what()
        if self.victim.code is not None:
            assert_promises(self.victim)
            if self.victim.code == 0:
                report = self.victim.report or {"resumed_chunks": 0}  # it found that all was done
                self.counts["job"] += 1
                self.counts["job resumed"] += report["resumed_chunks"] > 0
            self.victim.forget()
            self.victim = self._start_victim()
        for name, process in [*self.lasting.items(), ("series", self.series)]:
            assert running(process), f"{name} ended: {process.said}"

    def _sample(self, now):
        for name, process in [*self.lasting.items(), ("coordinator", self.series)]:
            taken = self.samples.setdefault(name, [])
            if not taken or now >= taken[-1][0] + LOOK:
                with suppress(FileNotFoundError):
                    taken.append((now, memory(process.pid), descriptors(process.pid)))
        # Between two jobs it has said itself what it has then; a fresh job's own are not counted so.
        at_rest = self.samples.setdefault("coordinator at rest", [])
        said = [json.loads(line) for line in self.series.out.splitlines()]
        for number, job in list(enumerate(said))[len(at_rest) :]:
            if "chunks" in job and number + FOLDERS // 2 > len(said):
                self._check_result(number, job["folder"])
            at_rest.append((now, job["memory"], job["descriptors"]))
            self.counts["job of the series"] += 1
            if "error" in job:
                self.counts[job["error"]] = self.counts.get(job["error"], 0) + 1

    def _check_result(self, number, folder):
        """Open the result of that job of the series, unless a later job has come to its folder meanwhile."""
        try:
            same = opened(folder) == self.scene.reference
        except (AssertionError, FileNotFoundError):
            same = False
        if same or len(self.series.out.splitlines()) < number + FOLDERS:
            assert same, "the series: another result"
            self.counts["result of the series checked"] += 1

    def _end(self):
        """Let the last jobs come to their end, and ask everyone to leave."""
        self.victim.finish(within=120_000 * MS)
        assert_promises(self.victim)
        out = self.victim.output
        open_ends = [out / "result.commit", out / "result.journal"]  # beside an older result, too
        published = (out / "result.raw").exists() and not any(path.exists() for path in open_ends)
        if self.victim.code != 0 and not published:  # killed behind its publication, it is done all the same
            self.scene.resume(self.victim, "--overwrite", op=OP)  # there may be an older one
        done = len(self.series.out.splitlines())
        wait_until(lambda: len(self.series.out.splitlines()) > done + 1, "a job ends without a fault")
        self.series.signal(signal.SIGTERM)
        self.series.finish(code=0)
        for process in [*self.lasting.values(), *self.mortal]:
            process.signal(signal.SIGTERM)
            process.finish(within=30_000 * MS, code=0)


def verdicts(samples):
    """For each line: (process, what, mean, rise over the whole time, whether that is flat)."""
    for name, taken in samples.items():
        times, *columns = np.array(taken, float).T
        late = times >= times[-1] * WARM_UP
        for what, column in zip(ALLOWED, columns, strict=True):
            if name == "coordinator":  # in mid-job it has what the job needs: that is for the picture
                continue
            slope = np.polyfit(times[late], column[late], 1)[0] if late.sum() > 2 else 0.0
            rise = slope * times[-1]
            yield name, what, column[late].mean(), rise, rise <= ALLOWED[what]


def left_behind(scene):
    """What should not be there any more."""
    found = [str(path) for path in scene.temporary.iterdir()]
    for folder in (scene.output, *scene.folder.glob("series*")):
        found += [f"{folder.name}/{name}" for name in listing(folder) if name not in NAMES]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    parser.add_argument("--output", type=Path, default=Path("soak.json"), help="where the samples go")
    arguments = parser.parse_args()
    print(f"{arguments.minutes:g} minutes of random faults, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, Scene(folder) as scene:
        scene.record(FRAMES)
        soak = Soak(scene, arguments.seed)
        soak.run(60 * arguments.minutes)
        assert opened(scene.output) == scene.reference, "another result"
        scene.assert_nothing_left()
        left = left_behind(scene)
    for name, count in soak.counts.items():
        print(f"{count:6} x {name}")
    lines = list(verdicts(soak.samples))
    for name, what, mean, rise, flat in lines:
        unit, shown = (MIB, "MiB of memory") if what == "memory" else (1, what)
        verdict = "flat" if flat else "NOT FLAT"
        print(f"{name}: {mean / unit:.1f} {shown}, rises by {rise / unit:+.2f} in all: {verdict}")
    print("left behind: " + (", ".join(left) or "nothing"))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"samples": soak.samples, "counts": soak.counts, "warm_up": WARM_UP}))
    return 0 if all(flat for *_, flat in lines) and not left else 1


if __name__ == "__main__":
    sys.exit(main())
