import errno
import json
import os
import sys
from collections import Counter

import pytest

from zaudio import disk, events
from zaudio.cli.log import text as summed_up
from zaudio.errors import UsageError
from zaudio.watching import eventlog
from zaudio.watching.eventlog import EventLog, write_events
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream
from zaudio.watching.summary import Digest

LONG = 60.0  # seconds; a test that waits so long has failed


def started(incarnation=1, job="ab"):
    sizes = {"chunks": 2, "chunk_frames": 10, "frames": 20, "channels": 1, "samplerate": 44100, "bytes": 80}
    return events.Started(at=1.0, job=job, format="f32le", incarnation=incarnation, **sizes)


def joined(worker="a"):
    return events.Joined(at=2.0, job="ab", worker=worker)


def failed(sentence):
    return events.Failed(at=3.0, job="ab", error="JobError", sentence=sentence)


class Job:
    """A job of which there is only the stream."""

    named = ("/data/take.wav", "out")

    def __init__(self):
        self.stream = Stream(Ledger())
        self.followers = 0

    def follow(self, function, size):
        assert size == eventlog.SIZE
        self.followers += 1
        self.stream.follow(function, size)

    def tell(self, *given):
        for event in given:
            self.stream.publish(event)
        self.stream.close(LONG)


def logged(path, *given):
    """Write those events as a job's, and return all lines of the file."""
    job = Job()
    write_events(job, path)
    job.tell(*given)
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def test_every_event_is_a_line_in_its_order(path):
    lines = logged(path, started(), joined("a"), joined("b"))
    assert [(each["kind"], each.get("worker")) for each in lines] == [
        ("started", None),
        ("joined", "a"),
        ("joined", "b"),
    ]
    assert path.read_bytes().endswith(b"}\n")


def test_a_log_of_more_than_a_thousand_chunks_a_second_leaves_some_out_says_so_and_has_the_right_sums(path):
    given = [started(), events.Joined(at=1.0, job="ab", worker="a")]
    for number in range(3000):
        at, of = 1.0 + number / 3000, {"job": "ab", "worker": "a", "chunk": number, "chunks": 1}
        given += [events.Granted(at=at, attempt=1, **of), events.Accepted(at=at + 0.0002, seconds=0.0002, **of)]
    kinds = Counter(each["kind"] for each in logged(path, *given))
    assert (kinds["granted"], kinds["accepted"], kinds["sampled"]) == (1000, 1000, 1)
    digest = Digest()
    for text in path.read_text().splitlines():
        digest.take(text)
    (life,) = digest.lives()
    assert life.workers["a"].chunks == 3000
    assert life.workers["a"].op == pytest.approx(0.6)
    assert "4000 events of chunks have no line of their own: times of workers are estimates" in summed_up(digest)


def test_all_lines_of_a_life_have_its_incarnation_and_a_resumed_job_goes_on_in_the_file(path):
    logged(path, started(1), joined())
    assert [each["incarnation"] for each in logged(path, started(2), joined())] == [1, 1, 2, 2]


def test_a_line_that_was_cut_off_is_ended_before_the_next(path):
    logged(path, started())
    whole = path.read_text()
    path.write_text(whole + '{"v":1,"ti')
    job = Job()
    write_events(job, path)
    job.tell(started(2))
    texts = path.read_text().splitlines()
    assert (texts[0], texts[1]) == (whole.rstrip(), '{"v":1,"ti')
    assert json.loads(texts[2])["incarnation"] == 2


def test_a_job_that_is_refused_leaves_no_file(path):
    assert logged(path) == []
    assert not path.exists()


def test_a_log_makes_the_folder_that_it_is_to_lie_in(tmp_path):
    assert logged(tmp_path / "new" / "events.jsonl", started())


def test_paths_that_the_user_named_stay_and_others_are_shortened(path):
    lines = logged(path, failed("/data/take.wav changed, see /home/bob/x.py"))
    assert lines[0]["sentence"] == "/data/take.wav changed, see …/x.py"


def test_a_reader_that_falls_behind_says_what_is_missing(path, monkeypatch):
    job = Job()
    subscription = job.stream.subscribe(2)
    for name in "abcde":
        job.stream.publish(joined(name))
    job.stream.close(LONG)
    EventLog(str(path)).write(subscription)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [(each["kind"], each.get("count")) for each in lines] == [("joined", None), ("joined", None), ("missed", 3)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_ends_the_log_with_one_warning_and_not_the_job(path, monkeypatch, caplog, number):
    calls = []

    def refuse(fd, content):
        calls.append(content)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk, "write_all", refuse)
    logged(path, started(), *map(joined, "abc"))
    assert len(calls) == 1
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warnings == [
        f"the log of events ends here, the job goes on: {path}: {disk.reason(OSError(number, os.strerror(number)))}"
    ]


def test_a_folder_that_cannot_be_made_ends_the_log_and_not_the_job(tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    logged(tmp_path / "file" / "events.jsonl", started())
    assert "the log of events ends here" in caplog.text


class Pipe:
    """Standard output as a pipe."""

    def __init__(self):
        self.out, self.into = os.pipe()
        os.set_blocking(self.out, False)

    def fileno(self):
        return self.into


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    os.close(pipe.into)


def test_standard_output_takes_lines_too(pipe, monkeypatch):
    monkeypatch.setattr(sys, "stdout", pipe)
    job = Job()
    write_events(job, "-")
    job.tell(started(), joined())
    lines = os.read(pipe.out, 10_000).decode().splitlines()
    os.close(pipe.out)
    assert [json.loads(text)["kind"] for text in lines] == ["started", "joined"]


def test_a_reader_of_standard_output_that_has_left_is_no_failure(pipe, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stdout", pipe)
    os.close(pipe.out)
    job = Job()
    write_events(job, "-")
    job.tell(started(), joined())
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "taken"), [(b"", True), (b'{"v":1}\n', True), (b"RIFF....WAVE", False), (b"\0" * 100, False)]
)
def test_lines_are_appended_to_a_log_and_to_no_other_file(path, content, taken):
    path.write_bytes(content)
    if taken:
        logged(path, started())
        assert path.read_bytes().startswith(content)
        return
    job = Job()
    with pytest.raises(UsageError, match="holds something else than a log of events"):
        write_events(job, path)
    assert job.followers == 0
    assert path.read_bytes() == content


def test_a_folder_or_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(UsageError, match="not a regular file"):
            write_events(Job(), tmp_path / name)


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path, caplog):
    path = tmp_path / "events.jsonl"
    job = Job()
    write_events(job, path)
    os.mkfifo(path)
    job.tell(started())
    assert "not a regular file" in caplog.text
