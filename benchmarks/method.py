"""How the benchmarks measure.

- Two times are taken of each run. The *whole command*: from its start to its end, as a user waits for it. The *job
  alone*: without the start of interpreters, imports and workers. For the farm it runs from the first worker's welcome
  to publication, fsyncs included (`seconds` of its report). Any other command prints its own.
- Commands take turns, A B A B, so that a slow minute of the machine falls on all of them.
- Before each run, another process touches and frees 4 GiB of memory: on a virtual machine the first touch of memory is
  slow, and would slow down the first command alone.
- Before each run, the recording is read once, so that it lies in the page cache, and earlier writes are synced, so that
  no command pays for another's.
- After each run, outside the timing, the result is decrypted and compared with the recording.
- The median counts; the least and the most stand beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checking import check
from memory import Peaks

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
TEST_RAW = ROOT / "generated_data" / "test.raw"
ROUNDS = 5
TOUCHED_GIB = 4.0
_UNLIKE_A_USER = {"PYTHONDONTWRITEBYTECODE"}  # with it all modules are compiled again at each start: 0.2 s of processor

_TOUCH = """
import mmap, sys
size = int(sys.argv[1])
memoryview(mmap.mmap(-1, size))[:: mmap.PAGESIZE] = b"1" * -(-size // mmap.PAGESIZE)
"""
_SAID = re.compile(r" in ([0-9.]+) s\b")  # in the line that every command but the farm prints


@dataclass(frozen=True)
class Command:
    """A command to be timed.

    Attributes:
        make: Makes the command line for an empty folder, which is removed after the run.
        checked: Whether that folder then holds a result that is the inverted recording.
        recording: Its recording, when not all commands read the same.
        verify: Looks at that folder after a run, and ends the program if something is wrong in it.
    """

    make: Callable[[Path], Sequence[str]]
    checked: bool = True
    recording: Path | None = None
    verify: Callable[[Path], None] | None = None


@dataclass
class Measured:
    """The figures of all runs of one command, in the order of the rounds."""

    seconds: list[float] = field(default_factory=list)  # of the whole command
    jobs: list[float] = field(default_factory=list)  # of the job alone; empty where there is no such time
    processor: list[float] = field(default_factory=list)  # seconds of all its processes, user's and system's
    peaks: dict[str, int] = field(default_factory=dict)  # most private bytes over all rounds, by role
    reports: list[dict[str, Any]] = field(default_factory=list)  # of a farm

    @property
    def report(self) -> dict[str, Any]:
        """The last run's report, for figures that do not change from run to run."""
        return self.reports[-1]

    @property
    def best_known(self) -> list[float]:
        """The job alone where it is known, else the whole command."""
        return self.jobs or self.seconds


def take_turns(
    commands: Mapping[str, Command], recording: Path | None, *, rounds: int, touch_gib: float, look: bool = False
) -> dict[str, Measured]:
    """Run each command once per round; return the figures by name.

    Args:
        commands: The commands by name.
        recording: The recording that they read, unless a command names its own.
        rounds: The number of rounds.
        touch_gib: Memory to touch and free before each run.
        look: Whether to look at the memory of the command's processes.
    """
    measured = {name: Measured() for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            _tell(f"round {number + 1} of {rounds}: {name}")
            source = command.recording or recording
            with scratch_folder() as folder:
                _prepare(source, touch_gib)
                _run(command.make(folder), folder, measured[name], look=look)
                if command.verify is not None:
                    command.verify(folder)
                elif command.checked and source is not None:
                    check(source, folder)
    _tell("")
    return measured


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the least and the most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def farm(recording: Path, folder: Path, workers: int, *more: str) -> list[str]:
    """Return the command line of a farm that prints nothing and writes a report."""
    command = [sys.executable, "-m", "zaudio", "farm", str(recording), "-o", str(folder), "-n", str(workers)]
    return [*command, "--quiet", "--progress", "none", "--report", str(folder / "report.json"), *more]


def script(name: str, *arguments: object) -> list[str]:
    """Return the command line of a program of this folder."""
    return [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]


def make_parser(description: str, example: str, *, recording: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(
        description=description, epilog=f"example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if recording:
        parser.add_argument("input", nargs="?", type=Path, default=TEST_RAW, help="raw float32 samples, mono")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each command; {ROUNDS} by default")
    parser.add_argument(
        "--touch", type=float, default=TOUCHED_GIB, metavar="GIB", help=f"touched before each run; {TOUCHED_GIB:g}"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    return parser


def existing(recording: Path, *, raw: bool = True) -> Path:
    """Return the recording's path; end the program if it cannot be used."""
    path = recording.resolve()
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; `make {TEST_RAW.relative_to(ROOT)}` makes one")
    if raw and (path.suffix not in ("", ".raw") or path.stat().st_size % 4 or not path.stat().st_size):
        raise SystemExit(f"{path}: expected raw float32 samples, since others than zaudio have to read them too")
    return path


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder; remove it afterwards."""
    # Beside the recordings, not among the system's temporary files, which may be held in memory.
    parent = ROOT / "generated_data"
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sparse_recording(size: int, *, written: int) -> Iterator[Path]:
    """Yield a recording of that many bytes that takes no room; remove it afterwards.

    Args:
        size: Bytes of zeros.
        written: Bytes that a run will write at most; the program ends when there is no room for them.
    """
    with scratch_folder() as folder:
        free = shutil.disk_usage(folder).free
        if written > 0.9 * free:
            raise SystemExit(f"{folder.parent}: {written / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
        path = folder / "sparse.raw"
        with path.open("wb") as file:
            file.truncate(size)
        yield path


def _run(command: Sequence[str], folder: Path, measured: Measured, *, look: bool) -> None:
    """Run a command and note its figures; end this program if it fails."""
    said = folder / "stdout.txt"  # no pipe: a daemon that a command leaves behind would hold it open
    environment = {name: value for name, value in os.environ.items() if name not in _UNLIKE_A_USER}
    before = _processor_seconds()
    begun = time.perf_counter()
    with (
        said.open("wb") as out,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, env=environment) as process,
    ):
        peaks = Peaks(process.pid) if look else None
        code = process.wait()
        seconds = time.perf_counter() - begun
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}\n{said.read_text(errors='replace')}")
    measured.seconds.append(seconds)
    measured.processor.append(_processor_seconds() - before)
    for role, most in (peaks.stop() if peaks else {}).items():
        measured.peaks[role] = max(measured.peaks.get(role, 0), most)
    report = folder / "report.json"
    if report.exists():
        measured.reports.append(json.loads(report.read_text()))
        measured.jobs.append(measured.report["seconds"])
    elif found := _SAID.findall(said.read_text(errors="replace")):
        measured.jobs.append(float(found[-1]))


def _processor_seconds() -> float:
    """Return the processor time of all children so far that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tell(progress: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)


def _prepare(recording: Path | None, touch_gib: float) -> None:
    if touch_gib > 0:
        subprocess.run([sys.executable, "-c", _TOUCH, str(int(touch_gib * 2**30))], check=True)
    if recording is not None:
        with recording.open("rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            while file.readinto(buffer):
                pass
    os.sync()
