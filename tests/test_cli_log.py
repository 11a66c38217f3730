import json
import os

import pytest
from click.testing import CliRunner
from test_summary import MEASURING, Log

from zaudio import events
from zaudio.cli.app import app
from zaudio.watching.lines import schema


def run(*arguments, **options):
    return CliRunner().invoke(app, ["log", *map(str, arguments)], **options)


@pytest.fixture
def log():
    log = Log()
    log.run("local-1", "<b>\x1b", chunks=100)
    for chunk in range(4):
        log.compute("local-1", chunk, seconds=1.0, op=0.9)
    log.compute("<b>\x1b", 4, seconds=2.0, op=0.5)
    log.tell(events.Measured, sentence="loudnorm: -26.87 LUFS")
    log.tell(events.Lost, worker="<b>\x1b", reason="it was killed:\nsignal 9", session="<b>\x1b")
    log.tell(events.Refused, worker="old\x1b", host="attic", reason="it lacks gain")
    log.tell(events.Refused, worker="old", host="attic", reason="it lacks gain", more=3)
    log.tell(events.Absent, place="attic", sentence="attic: it is \x1b out")
    log.tell(events.Requeued, worker="<b>\x1b", chunk=5, chunks=1, attempt=1, reason="it is gone")
    return log.advance(5, encrypting=0.6).publish()


@pytest.fixture
def path(tmp_path, log):
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(log.lines) + "\n")
    return path


def test_a_log_is_summed_up_in_a_screenful(path):
    done = run(path)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "job ab, 2001-09-09 01:48:20 UTC: done after 7.75 s",
        "  5 of 100 chunks written",
        "  opening 0.50 s, waiting for workers 1.00 s, main 6.00 s, publishing 0.25 s",
        "  loudnorm: -26.87 LUFS",
        "  worker    chunks         op   transfer      waits     unused   op/chunk",
        "  local-1        4     3.60 s     0.40 s     2.25 s     0.0 ms     0.90 s",
        r"  <b>\x1b        1     0.50 s     1.50 s     4.00 s     0.0 ms     0.50 s",
        r"  slowest chunks: 4 (<b>\x1b, 2.00 s, op 0.50 s), 3 (local-1, 1.00 s, op 0.90 s), "
        "2 (local-1, 1.00 s, op 0.90 s)",
        r"  lost <b>\x1b after 7.50 s: it was killed:\nsignal 9",
        r"  refused old\x1b on attic after 7.50 s: it lacks gain",
        "  and 3 refusals more",
        r"  after 7.50 s: attic: it is \x1b out",
        "  requeued 1: it is gone",
        "  main: the coordinator limited it: workers waited for its grants 50% of the time",
    ]


def test_chunks_that_travelled_together_are_named_together(tmp_path):
    log = Log().run("a", chunks=9)
    log.tell(events.Granted, worker="a", chunk=3, chunks=3, attempt=1).after(2.0)
    log.tell(events.Accepted, worker="a", chunk=3, chunks=3, seconds=1.5).compute("a", 6, seconds=1.0, op=0.5)
    (tmp_path / "events.jsonl").write_text("\n".join(log.lines))
    assert (
        "  slowest chunks: 3 to 5 (a, 2.00 s, op 1.50 s), 6 (a, 1.00 s, op 0.50 s)\n"
        in run(tmp_path / "events.jsonl").stdout
    )


def test_json_has_the_facts_of_every_life(path):
    found = json.loads(run(path, "--json").stdout)
    assert (found["damaged"], found["newer"], len(found["lives"])) == (0, 0, 1)
    assert found["lives"][0]["losses"] == [{"seconds": 7.5, "worker": "<b>\x1b", "reason": "it was killed:\nsignal 9"}]


def test_standard_input_is_read_as_a_file_is(path):
    assert run("-", input=path.read_bytes()).stdout == run(path).stdout


def test_a_truncated_last_line_and_a_newer_one_are_said(path, log):
    newer = json.dumps({**json.loads(log.lines[0]), "v": 2})
    path.write_text(path.read_text() + newer + "\n" + log.lines[0][:40])
    done = run(path)
    assert done.exit_code == 0
    assert done.stdout.endswith(
        "1 line could not be read, as the last one of a killed coordinator\n1 line of a newer zaudio left out\n"
    )


def test_a_log_with_lines_left_out_says_that_its_numbers_are_estimates(tmp_path):
    log = Log().run("a", chunks=100).after(8).tell(events.Sampled, count=40, workers={"a": (20, 6.0)})
    log.tell(events.Missed, count=3)
    (tmp_path / "x").write_text("\n".join(log.lines))
    done = run(tmp_path / "x")
    assert "cut off after 9.50 s" in done.stdout
    assert "the log was too slow for 3 events: these numbers are too small" in done.stdout
    assert "40 events of chunks have no line of their own: times of workers are estimates" in done.stdout


def test_a_life_after_the_first_says_so(tmp_path):
    log = Log()
    log.incarnation, log.stage = 2, MEASURING
    log.start(4, incarnation=2, resumed_chunks=3).after(1000).tell(events.Failed, error="JobError", sentence="no")
    (tmp_path / "x").write_text("\n".join(log.lines))
    assert run(tmp_path / "x").stdout.splitlines()[:2] == [
        "job ab (life 2), 2001-09-09 01:48:20 UTC: failed after 16:40 min: no",
        "  0 of 4 chunks written, 3 before",
    ]


def test_hundreds_of_workers_and_losses_are_a_screenful(tmp_path):
    names = [f"w{number}" for number in range(300)]
    log = Log().run(*names)
    for name in names:
        log.tell(events.Lost, worker=name, reason=f"reason {name}", session=name)
        log.tell(events.Requeued, worker=name, chunk=1, chunks=1, attempt=1, reason=f"reason {name}")
    (tmp_path / "x").write_text("\n".join(log.lines))
    done = run(tmp_path / "x").stdout
    assert len(done.splitlines()) < 50
    assert done.count("  and 284 workers more\n") == 2  # of those that worked, and of those that were lost
    assert "and 284 more reasons" in done


@pytest.mark.parametrize("content", [b"", b"RIFF\x00\xff" * 100, b"{}\n{}\n", b"x" * 3_000_000])
def test_a_file_that_is_no_log_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    done = run(tmp_path / "x")
    assert done.exit_code == 2
    assert "has no line of a log of events" in done.stderr


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path):
    for name in ("x", "."):
        done = run(tmp_path / name)
        assert (done.exit_code, done.stdout) == (2, "")
        assert os.fspath(tmp_path) in done.stderr


def test_a_file_is_needed():
    done = run()
    assert done.exit_code == 2
    assert "name the FILE that --events wrote" in done.stderr


def test_the_schema_is_printed():
    assert json.loads(run("--schema").stdout) == json.loads(json.dumps(schema()))


def test_a_batch_tells_its_recordings_and_why_they_failed(tmp_path):
    log = Log().start(0, recordings=2)
    log.tell(events.StageBegan, chunks=1, chunk_frames=10, bytes=40, recordings=("a.wav",))
    log.tell(events.RecordingEnded, input="a.wav", output="out/a", state="done")
    log.tell(events.RecordingEnded, input="b\x1b.wav", output="out/b", state="failed", sentence="it is no WAV")
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(log.lines) + "\n")
    lines = run(path).stdout.splitlines()
    assert lines[1:3] == ["  2 of 2 recordings ended: 1 done, 1 failed", r"  b\x1b.wav failed: it is no WAV"]
