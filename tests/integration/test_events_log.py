"""A log of events over the lives of a job: a worker is killed, the coordinator is killed, and the log goes on."""

import json
import sys

import pytest
from farm_support import finish, launch, noise, popen, write_raw
from net_support import children, kill, wait_until
from test_resume import CELLS, MONO, Take

from zaudio import Coordinator, Network, Playable, Rendering, Survey, write_events
from zaudio.cli.log import text
from zaudio.ops.statistics import StatsSurvey
from zaudio.watching.summary import Digest


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def digest(path):
    found = Digest()
    for line in path.read_text().splitlines():
        found.take(line)
    return found


def kinds(lines):
    return [line["kind"] for line in lines]


def joined(path):
    """How many workers took part; one that is ready again on a new connection counts once."""
    if not path.exists():  # the log has a thread of its own
        return 0
    lines = (json.loads(line) for line in path.read_text().splitlines() if line.endswith("}"))
    return len({line["session"] for line in lines if line["kind"] == "joined"})


def test_a_killed_worker_and_a_killed_coordinator_are_in_one_log_that_the_resumed_job_goes_on_with(tmp_path):
    take, log = Take(tmp_path, MONO), tmp_path / "events.jsonl"
    process = take.held(20, "--events", log)
    # One worker may have done all that before the other one was ready, and one that is not ready never joined.
    wait_until(lambda: joined(log) == 2, "both workers take part")
    (starter,) = children(process.pid)
    kill(children(starter)[0])
    wait_until(lambda: log.read_text().count('"kind":"lost"') == 1, "the loss is in the log")
    wait_until(lambda: joined(log) == 3, "another worker has taken its place")
    kill(process.pid)
    finish(process)
    with log.open("a") as cut:
        cut.write('{"v":1,"time":"20')  # killed in the middle of a line
    take.limit(0)
    code, _, err = finish(launch(*take.line("--events", log)))
    assert code == 0, err
    take.assert_done()

    found = digest(log)
    first, second = found.lives()
    assert found.damaged == 1
    assert first.job == second.job
    assert (first.incarnation, first.end, second.incarnation, second.end) == (1, "cut off", 2, "done")
    assert first.done + second.done >= CELLS
    assert second.resumed_chunks == second.chunks - second.done <= first.done
    assert sum(share.chunks for share in second.workers.values()) == second.done
    assert [("signal 9" in loss.reason, loss.worker in first.workers) for loss in first.losses] == [(True, True)]
    assert (first.lost, second.lost) == (1, 0)
    assert "cut off" in text(found)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    assert kinds(lines).count("started") == 2
    assert kinds(lines)[-1] == "published"
    accepted = [line["chunk"] for line in lines if line["kind"] == "accepted" and line["incarnation"] == 2]
    assert sorted(accepted) == sorted(set(accepted)), "each chunk once"


def test_standard_output_has_the_events_and_nothing_else(tmp_path):
    path = write_raw(tmp_path / "take.raw", noise(10_000))
    code, out, err = finish(launch("farm", path, "-o", tmp_path / "out", "-n", "1", "--events", "-"))
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert kinds(lines)[0] == "started"
    assert kinds(lines)[-1] == "published"
    assert "published" in err
    assert not {line["job"] for line in lines} - {lines[0]["job"]}


@pytest.mark.extended
def test_a_full_disk_ends_the_log_with_one_warning_and_the_job_is_published(tmp_path):
    path = write_raw(tmp_path / "take.raw", noise(10_000))
    job = ["farm", path, "-o", tmp_path / "out", "-n", "1", "--events", "-"]
    code, _, err = finish(popen(["sh", "-c", 'exec "$0" -m zaudio "$@" >/dev/full', sys.executable, *map(str, job)]))
    assert code == 0, err
    assert err.count("the log of events ends here, the job goes on: standard output: No space left on device") == 1
    assert (tmp_path / "out" / "result.raw").exists()


@pytest.mark.extended
def test_a_log_is_written_from_python_for_jobs_and_for_measurements(tmp_path):
    path, log = write_raw(tmp_path / "take.raw", noise(10_000)), tmp_path / "events.jsonl"
    job = Coordinator(path, tmp_path / "out", workers=1)
    write_events(job, log)
    report = job.run()
    lines = read(log)
    assert lines[-1]["paths"] == dict(report.paths)
    measuring = Survey(path, StatsSurvey(), workers=1)
    write_events(measuring, log)
    measuring.run()
    assert [(life.end, life.lost) for life in digest(log).lives()] == [("done", 0), ("done", 0)]
    assert read(log)[: len(lines)] == lines


@pytest.mark.extended
def test_the_seconds_of_op_cipher_and_reading_are_told_and_are_no_longer_than_the_job(tmp_path):
    path, log = write_raw(tmp_path / "take.raw", noise(400_000)), tmp_path / "events.jsonl"
    job = Coordinator(path, tmp_path / "out", workers=1, chunk="64KiB", network=Network(sockets_only=True))
    write_events(job, log)
    seconds = job.run().seconds
    lines = read(log)
    ops = sum(line["seconds"] for line in lines if line["kind"] == "accepted")
    last = [line for line in lines if line["kind"] == "advanced"][-1]
    assert 0 < ops < seconds
    assert 0 < last["encrypting"] < seconds
    assert 0 < last["reading"] < seconds
    assert last["storing"] < seconds


@pytest.mark.extended
def test_a_rendering_has_a_log_and_at_each_start_another_token_for_its_page(tmp_path):
    path, log = write_raw(tmp_path / "take.raw", noise(400_000)), tmp_path / "events.jsonl"
    tokens = set()
    for name in ("a.flac", "b.flac"):
        file = Playable(tmp_path / name, format="s16le")
        job = Rendering(path, file, ops="gain:db=-20", workers=1, chunk="64KiB")
        write_events(job, log)
        with job:
            tokens.add(job.page_token)
            job.wait()
    assert [len(token) for token in tokens] == [48, 48]
    started = [(line["container"], line["order"]) for line in read(log) if line["kind"] == "started"]
    assert started == [("FLAC", "forward")] * 2
    assert [life.end for life in digest(log).lives()] == ["done", "done"]
    last = [line for line in read(log) if line["kind"] == "advanced"][-1]
    assert last["storing"] > 0 == last["encrypting"]
