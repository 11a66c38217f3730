"""Jobs that measure before they make their result, on whole farms: the same bits as one process, also after a kill."""

import importlib
import json
import os
import re
import signal
import threading

import numpy as np
import pytest
from extended import extended
from farm_support import LANES, decrypted, finish, launch, launch_script, listing, noise, write_raw
from memory_ops import CELL, HELD, Normal, Sums
from net_support import PATIENCE, kill, wait_until

from zaudio import Coordinator, Raw, Security, Worker, verify
from zaudio.errors import ConflictError, ResumeError, StoppedError, UsageError
from zaudio.events import Accepted, Joined, Lost, Measured, StageBegan
from zaudio.formats import sample_format
from zaudio.net.farm import Farm
from zaudio.ops import Chain, Course, import_allowed, make_ops, parse_chain
from zaudio.ops.levels import Invert
from zaudio.result.journal import decode_journal
from zaudio.result.primitives import JournalSeal
from zaudio.signal import Signal
from zaudio.surveying import Survey, survey

FRAMES, CHANNELS = 300_007, 2  # five blocks of 65,536; a prime
OPS = [
    "memory_ops:same",
    "zt_sums:before=100",
    "zt_normal:level=1",
    "zt_ahead:frames=70",
    "gain:db=-3",
    "zt_normal:level=2",
    "zt_hold",
]
RAW = Raw(channels=CHANNELS)
F32 = sample_format("f32le")


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    """A recording, and its result by one process."""
    samples = noise(FRAMES, channels=CHANNELS, seed=4)
    path = write_raw(tmp_path_factory.mktemp("take") / "x.raw", samples)
    chain = Chain(OPS, Signal(FRAMES, CHANNELS, 44100, sample_format("f32le")))
    expected = np.ascontiguousarray(chain(samples)[::-1])
    assert abs(expected).max() > 1
    return path, expected.tobytes(), chain.sentences


WAYS = [
    extended(1, None, "shared memory"),
    extended(2, "1f", "sockets"),
    (2, "70000f", "shared memory"),
    extended(3, "1MiB", "sockets"),
]


@pytest.mark.parametrize(("workers", "chunk", "lane"), WAYS)
def test_a_farm_gives_the_bits_of_one_process_whatever_is_measured(tmp_path, take, workers, chunk, lane):
    path, expected, sentences = take
    job = Coordinator(path, tmp_path / "out", ops=OPS, workers=workers, chunk=chunk, raw=RAW, **LANES[lane])
    report = job.run()
    assert decrypted(tmp_path / "out") == expected
    assert report.measured == sentences
    assert (report.frames, sum(report.shares.values())) == (FRAMES, report.chunks)
    description = verify(tmp_path / "out")
    assert (description.grid, description.chunk_frames % description.grid) == (65536, 0)
    assert any("whole blocks of 65536" in sentence for sentence in job.warnings) == (chunk in ("1f", "70000f"))


def test_events_tell_stages_and_what_was_measured_in_one_job(tmp_path, take):
    path, _, sentences = take
    job = Coordinator(path, tmp_path / "out", ops=OPS, workers=2, raw=RAW)
    events = []
    subscription = job.subscribe(1 << 14)
    with job:
        job.wait()
    events = list(subscription)
    assert len({event.job for event in events}) == 1
    stages = [event for event in events if isinstance(event, StageBegan)]
    assert [(event.stage, event.measures) for event in stages] == [
        ("measuring for zt_normal", True),
        ("measuring for zt_normal", True),
        ("main", False),
    ]
    assert tuple(event.sentence for event in events if isinstance(event, Measured)) == sentences
    assert job.progress.stage == "main"


@pytest.mark.extended
def test_workers_from_elsewhere_measure_too(tmp_path, take):
    path, expected, _ = take
    job = Coordinator(path, tmp_path / "out", ops=OPS, bind="tcp://127.0.0.1:0", raw=RAW)
    with job:
        worker = Worker(job.endpoint, allow=("memory_ops",), once=True)
        thread = threading.Thread(target=worker.run)
        thread.start()
        job.wait(PATIENCE)
        thread.join(PATIENCE)
    assert decrypted(tmp_path / "out") == expected


@pytest.mark.parametrize("frames", [extended(0), 1, extended(999)])
def test_a_recording_shorter_than_anything_is_measured_too(tmp_path, frames):
    samples = noise(frames, channels=2, seed=6)
    path = write_raw(tmp_path / "x.raw", samples)
    expected = Chain(OPS, Signal(frames, 2, 44100, sample_format("f32le")))(samples)[::-1]
    Coordinator(path, tmp_path / "out", ops=OPS, workers=2, raw=RAW).run()
    assert decrypted(tmp_path / "out") == np.ascontiguousarray(expected).tobytes()


@pytest.mark.extended
def test_a_job_takes_only_workers_of_the_class_that_it_asks_for(tmp_path, take):
    path, expected, _ = take
    other = Coordinator(path, tmp_path / "a", ops=OPS, workers=1, raw=RAW, security=Security(machines="other"))
    with other.subscribe() as told, other:
        while not isinstance(event := told.get(timeout=PATIENCE), Lost):
            assert event is not None
            assert not isinstance(event, Joined | Accepted)
        assert re.search(r"is of class [0-9a-f]+, and this job asks for class other$", event.reason)
    Coordinator(path, tmp_path / "b", ops=OPS, workers=1, raw=RAW).run()
    name = verify(tmp_path / "b").machines
    Coordinator(path, tmp_path / "c", ops=OPS, workers=1, raw=RAW, security=Security(machines=name)).run()
    assert decrypted(tmp_path / "c") == expected
    assert verify(tmp_path / "c").machines == name


# Killed

# A checkpoint after every write: what is killed is then never far behind its last one.
EAGER = """
import sys
from zaudio.records import Schedule
Schedule.due = lambda self, written, *, now: written > 0
from zaudio.cli import main
main()
"""


class Held:
    """A job whose stages can be held up."""

    def __init__(self, folder, path):
        self.out, self._file, self.waits = folder / "out", folder / "held", folder / "held.waits"
        self.line = ("farm", path, "-o", self.out, "-n", 2, "--channels=2", "--chunk=65536f", "--progress=json")
        self.line += tuple(word for op in OPS for word in ("--op", op))
        os.environ[HELD] = str(self._file)
        self.hold("")

    def hold(self, stage):
        part = self._file.with_suffix(".new")
        part.write_text(stage)
        part.rename(self._file)

    def journal(self):
        try:
            key, iv = ((self.out / f"encryption_{name}.bin.part").read_bytes() for name in ("key", "iv"))
            return decode_journal((self.out / "result.journal").read_bytes(), JournalSeal(key, iv))
        except (FileNotFoundError, ValueError):
            return None

    def killed(self, stage, ready):
        """Start the job, and kill it once its journal is `ready` and the stage is held up."""
        self.hold(stage)
        process = launch_script(EAGER, *self.line)
        wait_until(lambda: process.poll() is not None or ready(self.journal()), "it is held up")
        assert process.poll() is None, process.communicate()
        kill(process.pid)
        _, _, err = finish(process)
        assert process.returncode == -signal.SIGKILL
        self.hold("")
        return err


def two_chunks(journal):
    """Whether a checkpoint vouches for the odd chunk and another one."""
    return journal is not None and journal.checkpoints and journal.checkpoints[-1].length > 400_000


@pytest.fixture
def held(tmp_path, take, monkeypatch):
    monkeypatch.setenv(HELD, "")
    return Held(tmp_path, take[0])


def stages_of(err):
    """The stages that a job's progress told, in order."""
    told = [json.loads(line)["stage"] for line in err.splitlines() if line.startswith("{")]
    return [stage for number, stage in enumerate(told) if stage != (told[number - 1] if number else None)]


@pytest.mark.extended
def test_a_job_that_is_killed_while_it_measures_measures_again_and_says_so(held, take):
    held.killed("measuring", lambda journal: journal is not None and held.waits.exists())
    assert held.journal().measured == ()
    code, _, err = finish(launch(*held.line))
    assert code == 0, err
    assert "resuming an interrupted job: it had not finished measuring for zt_normal, which begins again" in err
    assert decrypted(held.out) == take[1]
    assert listing(held.out) == ["encryption_iv.bin", "encryption_key.bin", "result.json", "result.raw"]


def test_a_job_that_is_killed_behind_its_measurements_does_not_measure_again(held, take, tmp_path):
    held.killed("main", two_chunks)
    before = held.journal()
    assert len(before.measured) == 2
    assert before.machines.name
    assert len(before.machines.numbers) > 2
    report = tmp_path / "report.json"
    code, _, err = finish(launch(*held.line, "--report", report))
    assert code == 0, err
    assert stages_of(err) == ["main"]
    assert "chunks are done" in err
    assert decrypted(held.out) == take[1]
    told = json.loads(report.read_text())
    assert tuple(told["measured"]) == take[2]
    assert told["resumed_chunks"] > 0
    assert verify(held.out).machines == before.machines.name


@pytest.mark.extended
def test_a_job_goes_on_only_with_its_class_of_machines(held, take):
    held.killed("main", two_chunks)
    with pytest.raises(UsageError, match=r"begun by machines of class [0-9a-f]+, and goes on with those"):
        Coordinator(
            take[0], held.out, ops=OPS, workers=1, chunk="65536f", raw=RAW, security=Security(machines="other")
        ).run()


@pytest.mark.extended
def test_a_job_goes_on_only_with_the_same_versions_of_its_ops(held, take, monkeypatch):
    held.killed("main", two_chunks)
    monkeypatch.setattr(Sums, "version", "2")
    with pytest.raises(ResumeError, match="op zt_sums:before=100 was of version 1, and is of version 2 now"):
        Coordinator(take[0], held.out, ops=OPS, workers=2, chunk="65536f", raw=RAW).run()


def test_an_op_that_cannot_be_made_of_what_was_measured_ends_the_job(tmp_path, take, monkeypatch):
    def refuse(self, cells, signal):
        raise UsageError("op zt_normal: it is silent")

    monkeypatch.setattr(Normal, "combine", refuse)
    with pytest.raises(UsageError, match="it is silent"):
        Coordinator(take[0], tmp_path / "out", ops=OPS, workers=1, raw=RAW).run()
    assert listing(tmp_path / "out") == []


# Surveys


def test_a_survey_gives_what_was_measured_and_leaves_no_file(tmp_path, take, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = np.fromfile(take[0], "<f4").reshape(-1, CHANNELS)
    cells, signal = survey(take[0], Normal(1), workers=2, raw=RAW, ops="memory_ops:same", chunk="5000f")
    padded = np.zeros((-(-FRAMES // CELL) * CELL, CHANNELS))
    padded[:FRAMES] = samples
    assert cells[:, 0].tolist() == abs(padded).reshape(-1, CELL * CHANNELS).max(axis=1).tolist()
    assert signal == Signal(FRAMES, CHANNELS, 44100, sample_format("f32le"))
    assert listing(tmp_path) == []


@pytest.mark.parametrize("ops", [extended("memory_ops:same"), OPS])
def test_a_survey_measures_behind_any_ops_as_one_process_does(take, ops):
    samples = np.fromfile(take[0], "<f4").reshape(-1, CHANNELS)
    specs = parse_chain(ops)
    course = Course([*make_ops(specs, import_allowed(["memory_ops"])), Normal(1)], Signal(FRAMES, 2, 44100, F32))
    while len(course.waiting) > 1:
        graph = course.measuring.graph()
        course.take(graph(samples, 0, 0, graph.output.frames))
    graph = course.measuring.graph()
    expected = graph(samples, 0, 0, graph.output.frames)
    events = []
    job = Survey(take[0], Normal(1), ops=ops, workers=2, raw=RAW, on_event=events.append)
    with job:
        cells, _ = job.wait(PATIENCE)
    assert cells.tobytes() == expected.tobytes()
    assert (job.state, job.progress.fraction, job.progress.done) == ("done", 1.0, job.progress.chunks)
    assert (events[0].order, len({event.job for event in events})) == ("forward", 1)
    assert [event.stage for event in events if isinstance(event, StageBegan)] == ["measuring for zt_normal"] * len(
        graph_measures(ops)
    )


def graph_measures(ops):
    """The measuring stages of a survey behind these ops."""
    return [*(op for op in ops if isinstance(ops, list) and "normal" in op), "its own"]


@pytest.mark.extended
def test_a_survey_is_measured_by_workers_from_elsewhere(take):
    with Survey(take[0], Normal(1), ops="memory_ops:same", bind="tcp://127.0.0.1:0", raw=RAW) as job:
        worker = Worker(job.endpoint, allow=("memory_ops",), once=True)
        thread = threading.Thread(target=worker.run)
        thread.start()
        cells, _ = job.wait(PATIENCE)
        thread.join(PATIENCE)
    assert cells.tobytes() == survey(take[0], Normal(1), ops="memory_ops:same", workers=1, raw=RAW).cells.tobytes()


@pytest.mark.extended
def test_a_survey_can_be_stopped(tmp_path, take, monkeypatch):
    file = tmp_path / "held"
    file.write_text("measuring")
    monkeypatch.setenv(HELD, str(file))
    with Survey(take[0], Normal(1), ops="memory_ops:same", workers=1, raw=RAW) as job:
        wait_until(lambda: (tmp_path / "held.waits").exists(), "it measures")
        job.stop()
        with pytest.raises(StoppedError):
            job.wait()
    assert job.state == "stopped"


def test_an_op_that_measures_nothing_is_not_surveyed(take):
    with pytest.raises(UsageError, match="Invert measures nothing"):
        survey(take[0], Invert(), workers=1, raw=RAW)
    with pytest.raises(UsageError, match="an op that measures, not 'peak'"):
        survey(take[0], "peak", workers=1, raw=RAW)


def test_nothing_is_kept_of_a_job_whose_workers_disagree_on_a_measurement(tmp_path, take, monkeypatch):
    run, stages = Farm.run, []

    def disputed(self, stage, **more):
        stages.append(stage.name)
        if len(stages) == 2:
            raise ConflictError(0, "a", "b")
        run(self, stage, **more)

    monkeypatch.setattr(Farm, "run", disputed)
    job = Coordinator(take[0], tmp_path / "out", ops=OPS, workers=1, raw=RAW)
    with pytest.raises(ConflictError):
        job.run()
    assert stages == ["measuring for zt_normal"] * 2
    assert not job.resumable
    assert listing(tmp_path / "out") == []


@pytest.mark.extended
def test_a_job_that_is_stopped_behind_a_measurement_keeps_it(tmp_path, take, monkeypatch):
    file = tmp_path / "held"
    file.write_text("main")
    monkeypatch.setenv(HELD, str(file))
    job = Coordinator(take[0], tmp_path / "out", ops=[OPS[0], "zt_normal:level=1", "zt_hold"], workers=1, raw=RAW)
    with job:
        wait_until(lambda: (tmp_path / "held.waits").exists(), "it is in the main stage")
        job.stop()
    assert job.resumable
    file.write_text("")
    again = Coordinator(take[0], tmp_path / "out", ops=[OPS[0], "zt_normal:level=1", "zt_hold"], workers=1, raw=RAW)
    events = []
    with again, again.subscribe() as stream:
        report = again.wait()
        events = list(stream)
    assert [event.stage for event in events if isinstance(event, StageBegan)] in ([], ["main"])
    assert len(report.measured) == 1
    assert any("resuming an interrupted job" in sentence for sentence in again.warnings)


# Users' own ops


def test_a_users_own_ops_measure_and_have_memory_as_built_in_ones_do(tmp_path):
    samples = noise(200_003, channels=2, seed=9)
    path = write_raw(tmp_path / "x.raw", samples)
    ops = ["versioned_ops:smooth:strength=0.25", "versioned_ops:Loud:level=0.5"]
    chain = Chain(ops, Signal(len(samples), 2, 44100, F32))
    expected = np.ascontiguousarray(chain(samples)[::-1]).tobytes()
    for workers, chunk in ((1, None), (2, "10000f")):
        report = Coordinator(
            path, tmp_path / "out", ops=ops, workers=workers, chunk=chunk, raw=RAW, overwrite=True
        ).run()
        assert decrypted(tmp_path / "out") == expected
        assert report.measured == chain.sentences
        assert verify(tmp_path / "out").versions == ("7", "3")


OWN = """
from dataclasses import dataclass, replace
import numpy as np
import zaudio

CELL = 100

@dataclass(frozen=True)
class Greatest(zaudio.Op):
    def signal(self, before):
        return replace(before, frames=-(-before.frames // CELL), channels=1, format=zaudio.sample_format("f64le"))

    def needs(self, start, stop, signal):
        return start * CELL, stop * CELL

    whole = True

    def source_frame(self, frame, signal):
        return frame * CELL

    def apply(self, samples, place, state):
        return np.abs(samples).reshape(place.stop - place.start, -1).max(axis=1).reshape(-1, 1)

@dataclass(frozen=True)
class Level(zaudio.Op):
    def measure(self, signal):
        return Greatest()
"""


@pytest.mark.extended
def test_a_survey_takes_a_users_own_measure_without_naming_its_module(tmp_path, take, monkeypatch):
    (tmp_path / "zt_levels.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("zt_levels")
    samples = np.fromfile(take[0], "<f4").reshape(-1, CHANNELS)
    cells, _ = survey(take[0], own.Level(), workers=1, raw=RAW)
    assert cells.max() == abs(samples).max()
