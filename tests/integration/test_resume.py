"""A coordinator that is killed, with SIGKILL, and started again with the same command."""

import json
import os
import re
import signal

import numpy as np
import pytest
from extended import extended
from farm_support import (
    NAMES,
    decrypted,
    finish,
    inverted,
    launch,
    launch_script,
    listing,
    noise,
    saved,
    write_raw,
)
from net_support import MS, PATIENCE, free_port, kill, wait_until

from zaudio import Coordinator, Raw
from zaudio.errors import OutputExistsError, ResumeError, StoppedError
from zaudio.result import ResultWriter

# The command line, with a checkpoint after every write: what is killed is then never far behind its last one.
EAGER = """
import sys
from zaudio.records import Schedule
Schedule.due = lambda self, written, *, now: written > 0
from zaudio.cli import main
main()
"""
CHUNK, CELLS = 20_011, 30  # frames: a prime; and long enough that no two travel together
CASES = {  # frame sizes of 2, 6 and 12 bytes
    2: {"channels": 1, "format": "s16le"},
    6: {"channels": 3, "format": "s16be"},
    12: {"channels": 3, "format": "f32le"},
}
MONO = {"channels": 1, "format": "f32le"}
DOWN_TO = "farm_ops:down_to:limit={}"


class Take:
    """A recording whose chunks say in their first sample which they are, and a job over it that can be held up.

    Chunks are done from the last on: those from `limit` on go through.
    """

    def __init__(self, folder, case, *, chunk=CHUNK, cells=CELLS, more=()):
        self.out, self.case, self.chunk, self.cells, self.more = folder / "out", case, chunk, cells, more
        self.samples = noise(cells * chunk - 7, **case)
        self.samples[::chunk, 0] = np.arange(cells)
        self.path = write_raw(folder / "take.raw", self.samples)
        self._limit = folder / "limit"
        self.limit(0)

    def limit(self, number):
        part = self._limit.with_suffix(".new")
        part.write_text(str(number))
        part.rename(self._limit)

    def line(self, *more):
        """The job's command."""
        options = [f"--{name}={value}" for name, value in self.case.items()]
        job = ("-o", self.out, f"--chunk={self.chunk}f", "--op", DOWN_TO.format(self._limit), *options)
        return (*(self.more or ("farm", "-n", "2")), self.path, *job, *more)

    def held(self, number, *more):
        """The job, running, with a checkpoint at all that is to be done before chunk `number` from the front."""
        self.limit(number)
        process = launch_script(EAGER, *self.line(*more))
        frame_bytes = self.samples[:1].nbytes
        done = (len(self.samples) - number * self.chunk) * frame_bytes // 16 * 16
        wait_until(lambda: saved(self.out) == done or process.poll() is not None, "all is saved")
        assert process.poll() is None, process.communicate()
        return process

    def killed(self, number, *more):
        """The job, killed in that state; the number of chunks that are done for certain."""
        process = self.held(number, *more)
        kill(process.pid)
        finish(process)
        assert process.returncode == -signal.SIGKILL
        self.limit(0)
        return self.cells - number - 1  # of the last one that was done, up to 15 bytes are missing

    def assert_done(self):
        assert decrypted(self.out) == np.negative(self.samples[::-1]).astype(self.samples.dtype).tobytes()
        assert listing(self.out) == NAMES


def resumed(err):
    """How many chunks a job says that it found done."""
    return int(re.search(r"resuming an interrupted job: (\d+) of", err)[1])


LANES = (), ("--sockets-only",)
KEPT = (6, 0.5, LANES[1])
# Bytes of a frame, share, and lane by its number: each of them with each of the others.
PAIRS = [(2, 0.1, 0), (2, 0.5, 1), (2, 0.9, 0), (6, 0.1, 1), (6, 0.9, 0), (12, 0.1, 0), (12, 0.5, 0), (12, 0.9, 1)]
KILLS = [KEPT, *(extended(size, share, LANES[lane]) for size, share, lane in PAIRS)]


@pytest.mark.covers(
    "SIGKILL the coordinator at 10, 50, 90 %",
    number=22,
    note="50 %, frames of 6 bytes, sockets; each pair of a share, of 2, 6, 12 bytes and of both lanes: `make test-all`",
    bound="same result; redone is at most one checkpoint (2 s or 256 MB) and the chunk that holds byte C",
    measured=(
        "with a checkpoint after each write: 1 chunk at most of 30. With the ordinary ones, 606 chunks of 1 MiB at "
        "44 chunks/s on the busy two-core machine: 68, 42 and 23 chunks redone"
    ),
    removed=(
        "`result/writer.py`: `checkpoints.append(...)` (then `test_result_resume.py` fails); `net/payloads.py`: "
        "`[self._skip :]`; `job/stages.py`: `first=first`; `result/opening.py`: `held.last` as the chain's "
        "last block"
    ),
)
@pytest.mark.parametrize(("frame_bytes", "share", "lane"), KILLS)
def test_killed_coordinator_started_again_redoes_what_no_checkpoint_vouches_for(tmp_path, frame_bytes, share, lane):
    take = Take(tmp_path, CASES[frame_bytes])
    done = take.killed(CELLS - round(CELLS * share), *lane)
    assert set(listing(take.out)) >= {"result.journal", "result.raw.part"}
    report = tmp_path / "report.json"
    take.limit(CELLS)  # no chunk is done before the first line of progress is there
    process = launch(*take.line(*lane, "--progress", "json", "--report", report))
    said = b""  # from the descriptor itself: what a line of text leaves in its buffer is lost to `communicate`
    while b"{" not in said and (piece := os.read(process.stderr.fileno(), 1 << 16)):
        said += piece
    take.limit(0)
    code, _, err = finish(process)
    err = said.decode() + err
    assert code == 0, err
    take.assert_done()
    report = json.loads(report.read_text())
    assert done <= report["resumed_chunks"] <= done + 1
    assert report["chunks"] == CELLS
    assert sum(report["shares"].values()) == CELLS - report["resumed_chunks"], "nothing else was computed again"
    assert resumed(err) == report["resumed_chunks"]
    first = next(json.loads(line) for line in err.splitlines() if line.startswith("{"))
    assert first["done"] == report["resumed_chunks"], "the progress begins where it was"
    assert first["eta"] is None, "and promises nothing by the speed of an earlier life"


@pytest.mark.extended
@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), extended(signal.SIGTERM, "terminated")])
def test_interrupted_job_says_that_it_can_be_resumed_and_is(tmp_path, number, word):
    take = Take(tmp_path, MONO)
    process = take.held(20)
    os.kill(process.pid, number)
    code, _, err = finish(process, within=10_000 * MS)
    assert code == 128 + number
    assert err.splitlines()[-1] == (
        f"zaudio: {word}; what is done is kept in {take.out}, and the same command goes on from there"
    )
    take.limit(0)
    code, out, err = finish(launch(*take.line()))
    assert code == 0, err
    assert "done by an earlier start" in out
    assert 9 <= resumed(err) <= 10
    take.assert_done()


@pytest.mark.extended
def test_job_that_is_killed_again_and_again_gets_done(tmp_path):
    take = Take(tmp_path, CASES[6])
    assert [take.killed(number) for number in (25, 15, 5)] == [4, 14, 24]
    code, _, err = finish(launch(*take.line()))
    assert code == 0, err
    assert 24 <= resumed(err) <= 25
    take.assert_done()


@pytest.mark.extended
def test_runs_of_small_chunks_are_resumed(tmp_path):
    take = Take(tmp_path, CASES[6], chunk=101, cells=9901)  # in runs of 154
    run = 9901 // 64
    # A run begins at a chunk of whose number it is a multiple: those below the limit are not begun.
    done = take.killed(run * 40)
    code, _, err = finish(launch(*take.line()))
    assert code == 0, err
    assert done <= resumed(err) <= done + 1
    take.assert_done()


def test_worker_from_elsewhere_outlives_its_coordinator_and_works_for_the_next_life(tmp_path):
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    more = ("coordinator", "--bind", endpoint, "--sink-bind", "tcp://127.0.0.1:0")
    take = Take(tmp_path, MONO, more=more)
    worker = launch("worker", endpoint, "--allow", "farm_ops")
    try:
        done = take.killed(20)
        code, _, err = finish(launch(*take.line()))
        assert code == 0, err
        assert done <= resumed(err) <= done + 1
        assert worker.poll() is None
    finally:
        kill(worker.pid)
        finish(worker)
    take.assert_done()


# What is not resumed


LEFT = noise(CELLS * CHUNK)  # as in a Take, but for its length
LEFT[::CHUNK, 0] = np.arange(CELLS)


@pytest.fixture
def left(tmp_path):
    """A folder in which a job was left unfinished; the job's arguments."""
    path, out, limit = write_raw(tmp_path / "take.raw", LEFT), tmp_path / "out", tmp_path / "limit"
    limit.write_text("20")  # so that it cannot end before it is stopped
    settings = {"ops": DOWN_TO.format(limit), "chunk": f"{CHUNK}f", "workers": 2}
    with Coordinator(path, out, **settings) as job:
        # Not only encrypted: what waits for the disk then is forgotten.
        wait_until(lambda: (out / "result.raw.part").stat().st_size >= 5 * 4 * CHUNK, "some of it is written")
        job.stop()
        assert job.resumable
    limit.write_text("0")
    assert "result.journal" in listing(out)
    return path, out, settings


CHANGES = {
    "ops": ({"ops": "invert"}, r"its ops were farm_ops:down_to:limit=.+ and not invert"),
    "chunk size": ({"chunk": "1000f"}, "its chunks had this many frames: 20011 and not 1000"),
    "channels": ({"raw": Raw(channels=2)}, "its number of channels was 1 and not 2"),
    "format": ({"raw": Raw(format="s32le")}, "its sample format was f32le and not s32le"),
    "samplerate": ({"raw": Raw(samplerate=8000)}, "its samplerate was 44100 and not 8000"),
}


@pytest.mark.covers(
    "input, ops or chunk size changed before a resume",
    number=24,
    note="ops; the others: `make test-all`",
    bound="exit 2 and a sentence before any work, every file unchanged",
    measured="as bound",
    removed=(
        "`result/folder.py`: `reason = job.difference(...)` (then the tag over the description refuses other ops, "
        "but not by their name)"
    ),
)
@pytest.mark.parametrize(
    ("change", "sentence"), [CHANGES["ops"], *(extended(*CHANGES[name]) for name in list(CHANGES)[1:])], ids=CHANGES
)
def test_changed_job_is_refused_before_any_work_and_loses_nothing(left, change, sentence):
    path, out, settings = left
    before = {name: (out / name).read_bytes() for name in listing(out)}
    with pytest.raises(ResumeError, match=sentence) as refusal:
        Coordinator(path, out, **settings | change).run()
    assert "--fresh" in str(refusal.value)
    assert {name: (out / name).read_bytes() for name in listing(out)} == before
    report = Coordinator(path, out, **settings).run()
    assert report.resumed_chunks >= 4


@pytest.mark.covers("input, ops or chunk size changed before a resume")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        extended("touch", "written to since"),
        extended("grow", "bytes and has"),
        ("rewrite", "written to since"),
        extended("move", "its input was"),
    ],
)
def test_changed_input_is_refused_before_any_work(left, tmp_path, change, sentence):
    path, out, settings = left
    before = {name: (out / name).read_bytes() for name in listing(out)}
    match change:
        case "touch":
            os.utime(path, ns=(1, 1))
        case "grow":
            with open(path, "ab") as file:
                file.write(bytes(4))
        case "rewrite":
            with open(path, "r+b") as file:
                file.write(b"other")
        case "move":
            path = os.fspath(os.rename(path, tmp_path / "other.raw") or tmp_path / "other.raw")
    with pytest.raises(ResumeError, match=sentence):
        Coordinator(path, out, **settings).run()
    assert {name: (out / name).read_bytes() for name in listing(out)} == before


@pytest.mark.covers("input, ops or chunk size changed before a resume")
def test_input_that_was_swapped_for_one_of_its_size_and_time_is_refused(left):
    path, out, settings = left
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ResumeError, match="its input holds other samples now"):
        Coordinator(path, out, **settings).run()


def test_job_that_is_stopped_while_it_reads_what_was_done_can_still_be_resumed(left, monkeypatch):
    path, out, settings = left
    before = {name: (out / name).read_bytes() for name in listing(out)}
    job = Coordinator(path, out, **settings)
    open_writer = ResultWriter.open

    def stop_and_open(writer, *args, **settings):
        job.stop(wait=False)  # as a signal handler would, in the midst of `start`
        return open_writer(writer, *args, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(ResultWriter, "open", stop_and_open)
        with pytest.raises(StoppedError):
            job.start()
    assert {name: (out / name).read_bytes() for name in listing(out)} == before
    assert Coordinator(path, out, **settings).run().resumed_chunks >= 4


@pytest.mark.extended
def test_fresh_job_begins_anew(left):
    path, out, settings = left
    report = Coordinator(path, out, **settings | {"ops": "invert"}, fresh=True).run()
    assert report.resumed_chunks == 0
    assert listing(out) == NAMES
    assert decrypted(out) == inverted(LEFT).tobytes()


@pytest.mark.extended
def test_job_that_was_published_by_its_dying_process_is_done(left, tmp_path):
    path, out, settings = left
    report = Coordinator(path, out, **settings).run()
    # As a process leaves it that dies between the last rename and the journal's removal.
    (tmp_path / "limit").write_text("20")
    with Coordinator(path, out, **settings, overwrite=True) as job:
        # Not only encrypted: the journal has its notes when the first ciphertext is written.
        wait_until(lambda: (out / "result.raw.part").stat().st_size >= 5 * 4 * CHUNK, "some of it is written")
        journal = (out / "result.journal").read_bytes()
        (tmp_path / "limit").write_text("0")
        job.wait(timeout=PATIENCE)
    (out / "result.journal").write_bytes(journal)
    again = Coordinator(path, out, **settings)
    with again:
        done = again.wait()
        assert again.progress.state == "done"
    assert again.warnings == ("this job was done already: its publication was interrupted, and is finished now",)
    assert (done.chunks, done.resumed_chunks, done.workers) == (report.chunks, report.chunks, 0)
    assert listing(out) == NAMES
    with pytest.raises(OutputExistsError):
        Coordinator(path, out, **settings).run()


@pytest.mark.extended
def test_op_that_fails_keeps_what_was_done_for_when_it_is_mended(tmp_path):
    # One worker: of two that try the chunk at a time, one could find the op mended while the other fails.
    take = Take(tmp_path, MONO, more=("farm", "-n", "1"))
    take.limit(10)
    # The second op comes after `down_to`, which negates.
    line = take.line("--op", f"farm_ops:raises_at:value=-5,times=3,tally={tmp_path}/tally")
    process = launch(*line)
    # The chunk at which it fails comes only when a checkpoint vouches for two: a worker that is slow to start might
    # hold the first chunk until then.
    wait_until(lambda: saved(take.out) >= 2 * 4 * CHUNK or process.poll() is not None, "two are done for good")
    take.limit(0)
    code, _, err = finish(process)
    assert code == 1
    assert err.splitlines()[-1].endswith("and the same command goes on from there")
    code, out, err = finish(launch(*line))
    assert code == 0, err
    assert "done by an earlier start" in out
    assert resumed(err) >= 1
    assert decrypted(take.out) == take.samples[::-1].tobytes(), "both ops negate"


@pytest.mark.extended
@pytest.mark.parametrize("frames", [0, 1])
def test_empty_or_tiny_recording_is_resumed(tmp_path, frames):
    path = write_raw(tmp_path / "take.raw", noise(frames))
    gate = tmp_path / "gate"
    script = EAGER.replace("main()\n", "").replace("import main", "import main\nimport os, zaudio.job.life as c") + (
        "c.Farm.run = lambda *_, **__: os.kill(os.getpid(), 9)\nmain()\n"
    )
    process = launch_script(script, "farm", path, "-o", tmp_path / "out", "--op", f"farm_ops:gated:gate={gate}")
    assert finish(process)[0] == -signal.SIGKILL
    assert "result.journal" in listing(tmp_path / "out")
    gate.touch()
    line = ("farm", path, "-o", tmp_path / "out", "-n", "1", "--op", f"farm_ops:gated:gate={gate}")
    code, _, err = finish(launch(*line))
    assert code == 0, err
    assert "resuming an interrupted job: 0 of" in err
    assert decrypted(tmp_path / "out") == np.negative(noise(frames)[::-1]).tobytes()
