import io
import json
import re
import sys
from dataclasses import replace

import pytest

from zaudio import Progress, State, events
from zaudio.cli.progress import Bar, Display, JsonLines, Plain, ReadingLine, clock, display, figures, percent, words

MB = 1_000_000


def snapshot(state=State.RUNNING, **fields):
    fixed = {"chunks": 100, "done": 0, "bytes": 100 * MB, "bytes_done": 0, "workers": 2, "requeued": 0, "repeated": 0}
    return Progress(state, **fixed | {"seconds": 0.0} | fields)


WAITING = snapshot(State.WAITING, workers=0)
HALF = snapshot(done=50, bytes_done=50 * MB, seconds=5.0)
DONE = snapshot(State.DONE, done=100, bytes_done=100 * MB, seconds=8.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Gone(Terminal):
    """A terminal that is gone, and counts what it did not take."""

    error = BrokenPipeError()
    refused = 0

    def write(self, text):
        self.refused += 1
        raise self.error

    def flush(self):
        raise self.error


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-:--"),
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599.9, "1:00:00"),
        (36061, "10:01:01"),
    ],
)
def test_a_clock_reads_like_one(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("mode", "stream", "kind"),
    [
        ("auto", Terminal(), Bar),
        ("auto", io.StringIO(), Plain),
        ("bar", io.StringIO(), Bar),
        ("plain", Terminal(), Plain),
        ("json", Terminal(), JsonLines),
        ("none", Terminal(), Display),
    ],
)
def test_the_mode_and_the_terminal_choose_the_display(monkeypatch, mode, stream, kind):
    monkeypatch.setenv("TERM", "xterm")
    assert type(display(mode, stream)) is kind


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert type(display("auto", Terminal())) is Plain


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="loud"):
        display("loud", io.StringIO())


def test_displays_write_to_standard_error_by_default(capsys):
    display("plain").start(WAITING, now=0.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("waiting for workers: 0/100 chunks")


def test_no_display_writes_nothing(capsys):
    with display("none") as shown:
        shown.start(WAITING, now=0.0)
        shown.show(HALF, now=1.0)
        shown.finish(DONE, now=2.0)
    assert capsys.readouterr() == ("", "")


def lines_of(kind, timetable):
    """What a display of that kind has written after start and each show, as the count of its lines."""
    stream = io.StringIO()
    shown = kind(stream)
    counts = []
    for step, (now, progress) in enumerate(timetable):
        (shown.show if step else shown.start)(progress, now=now)
        counts.append(stream.getvalue().count("\n"))
    return counts


def at(done, **fields):
    return snapshot(done=done, bytes_done=done * MB, seconds=1.0, **fields)


def test_plain_lines_come_at_the_start_after_two_seconds_and_after_a_tenth():
    timetable = [(0.0, at(0)), (0.1, at(1)), (1.9, at(2)), (2.0, at(3)), (2.1, at(12)), (2.2, at(13)), (2.3, at(22))]
    assert lines_of(Plain, timetable) == [1, 1, 1, 2, 2, 3, 3]


def test_plain_lines_do_not_repeat_what_is_known():
    assert lines_of(Plain, [(0.0, WAITING), (5.0, WAITING), (50.0, replace(WAITING, seconds=9.0))]) == [1, 1, 1]


def test_plain_lines_tell_each_new_state_at_once():
    assert lines_of(Plain, [(0.0, WAITING), (0.1, at(0)), (0.2, at(0, state=State.PUBLISHING))]) == [1, 2, 3]


def test_plain_lines_tell_a_lost_worker_within_two_seconds():
    assert lines_of(Plain, [(0.0, at(5)), (1.0, at(5, requeued=2)), (2.0, at(5, requeued=2))]) == [1, 1, 2]


def test_a_plain_line_has_chunks_speed_workers_and_the_time_left():
    stream = io.StringIO()
    Plain(stream).start(replace(HALF, requeued=3), now=0.0)
    assert stream.getvalue() == "running: 50/100 chunks (50%), 10.0 MB/s, workers 2, requeued 3, ETA 0:05\n"


@pytest.mark.parametrize("seen", [HALF, DONE])
def test_the_last_plain_line_is_written_once_whenever_the_end_is_seen(seen):
    stream = io.StringIO()
    shown = Plain(stream)
    shown.start(WAITING, now=0.0)
    shown.show(seen, now=0.0)
    shown.finish(DONE, now=0.0)
    last = "done: 100/100 chunks (100%), 12.5 MB/s, workers 2, requeued 0"
    assert stream.getvalue().splitlines()[-1] == last
    assert stream.getvalue().count(last) == 1


def test_json_lines_are_objects_with_the_whole_progress():
    stream = io.StringIO()
    JsonLines(stream).start(replace(HALF, requeued=3, repeated=2), now=0.0)
    assert json.loads(stream.getvalue()) == {
        "state": "running",
        "stage": "main",
        "chunks": 100,
        "done": 50,
        "bytes": 100 * MB,
        "bytes_done": 50 * MB,
        "bytes_resumed": 0,
        "workers": 2,
        "requeued": 3,
        "repeated": 2,
        "seconds": 5.0,
        "bytes_per_second": 10.0 * MB,
        "eta": 5.0,
    }


@pytest.mark.parametrize("state", list(State))
def test_json_has_the_state_as_it_is_and_people_read_what_is_waited_for(state):
    stream = io.StringIO()
    JsonLines(stream).start(snapshot(state), now=0.0)
    Plain(stream).start(snapshot(state), now=0.0)
    first, second = stream.getvalue().splitlines()
    assert json.loads(first)["state"] == state.value
    assert second.startswith(f"{words(snapshot(state))}: 0/100 chunks")
    assert (words(snapshot(state)) != state.value) == (state is State.WAITING)


def test_an_unknown_eta_is_null_in_json():
    stream = io.StringIO()
    JsonLines(stream).start(WAITING, now=0.0)
    assert json.loads(stream.getvalue())["eta"] is None


@pytest.mark.parametrize("kind", [Plain, JsonLines])
@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_a_job_that_ended_without_a_result_has_no_time_left(kind, state):
    stream = io.StringIO()
    kind(stream).start(replace(HALF, state=state), now=0.0)
    assert "ETA" not in stream.getvalue()
    assert '"eta": null' in stream.getvalue() or kind is Plain


def test_json_lines_come_twice_a_second_at_most_and_only_with_news():
    timetable = [(0.0, at(0)), (0.4, at(1)), (0.5, at(2)), (0.9, at(3)), (1.0, at(3)), (1.5, at(3)), (9.0, at(3))]
    assert lines_of(JsonLines, timetable) == [1, 1, 2, 2, 3, 3, 3]


def test_json_lines_tell_each_new_state_at_once():
    assert lines_of(JsonLines, [(0.0, WAITING), (0.1, at(0)), (0.2, DONE)]) == [1, 2, 3]


@pytest.mark.parametrize("kind", [Plain, JsonLines, Bar])
@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "Input/output error")])
def test_a_display_outlives_its_stream(monkeypatch, kind, error):
    monkeypatch.setenv("TERM", "xterm")
    stream = Gone()
    stream.error = error
    with kind(stream) as shown:
        shown.start(WAITING, now=0.0)
        shown.show(HALF, now=1.0)
        shown.finish(DONE, now=2.0)
    assert stream.refused


def drawn(*snapshots, width="120"):
    stream = Terminal()
    with Bar(stream) as shown:
        shown.start(snapshots[0], now=0.0)
        for snapshot in snapshots[1:-1]:
            shown.show(snapshot, now=1.0)
        shown.finish(snapshots[-1], now=2.0)
    return stream.getvalue()


def test_a_bar_shows_state_chunks_speed_workers_and_the_time_left(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn(WAITING, HALF, DONE))
    assert "waiting for workers" in text
    assert "50%  50/100  10.0 MB/s  workers 2  ETA 0:05" in text
    assert text.rstrip().endswith("100%  100/100  12.5 MB/s  workers 2")


@pytest.mark.parametrize("progress", [WAITING, HALF, replace(HALF, chunks=10**9, done=10**8, workers=10**5)])
def test_a_bar_of_80_columns_leaves_room_for_the_echo_of_ctrl_c(monkeypatch, progress):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn(progress, progress, progress)))
    assert max(map(len, lines)) <= 76
    assert "%" in max(lines, key=len)


class Measured:
    """The events of one worker that computes all the time, of a job whose cipher could do with nine."""

    def __init__(self):
        self.asked = []

    def subscribe(self, size):
        self.asked.append(size)
        return self

    def take(self, timeout):
        assert timeout == 0
        if len(self.asked) > 1:
            raise TimeoutError
        self.asked.append(timeout)
        about = {"job": "ab"}
        made = [events.StageBegan(**about, at=0.0, chunks=100, chunk_frames=1, bytes=400)]
        made += [events.Joined(**about, at=0.0, worker="a")]
        for chunk in range(5):
            made += [events.Granted(**about, at=float(chunk), worker="a", chunk=chunk, chunks=1, attempt=1)]
            made += [events.Accepted(**about, at=chunk + 1.0, worker="a", chunk=chunk, chunks=1, seconds=0.9)]
        return [*made, events.Advanced(**about, at=5.0, chunks=5, bytes=20, encrypting=0.5)]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (120, "50%  50/100  10.0 MB/s  workers 2  ETA 0:05  too few workers"),
        (80, "50%  50/100  10.0 MB/s  workers 2  ETA 0:05  too few workers"),
        (70, "50%  10.0 MB/s  workers 2  ETA 0:05  too few workers"),
    ],
)
def test_a_bar_says_in_three_words_what_limits_the_job(monkeypatch, columns, text):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream, measured = Terminal(), Measured()
    with Bar(stream) as shown:
        shown.listen(measured.subscribe)
        shown.start(HALF, now=5.0)
        shown.show(HALF, now=5.1)
        shown.finish(DONE, now=5.2)
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert text in drawn
    assert max(map(len, re.split(r"[\r\n]+", drawn))) <= columns - 4
    assert drawn.rstrip().endswith("100%  100/100  12.5 MB/s  workers 2")


def test_a_bar_says_what_limits_a_batch_whose_stages_take_no_time(monkeypatch):
    class Batch(Measured):
        def take(self, timeout):
            return [*super().take(timeout), events.StageBegan(job="ab", at=5.0, chunks=1, chunk_frames=1, bytes=4)]

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with Bar(stream) as shown:
        shown.listen(Batch().subscribe)
        shown.start(HALF, now=5.001)
    assert "ETA 0:05  too few workers" in stream.getvalue()


@pytest.mark.parametrize("mode", ["plain", "json", "none"])
def test_a_display_without_a_bar_has_no_use_for_events(mode):
    measured = Measured()
    display(mode, io.StringIO()).listen(measured.subscribe)
    assert measured.asked == []


def test_a_bar_stays_and_gives_the_cursor_back(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = drawn(WAITING, DONE)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_bar_gives_the_cursor_back_when_the_job_fails(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    before = sys.stderr

    def fail():
        with Bar(stream) as shown:
            shown.start(HALF, now=0.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")
    assert sys.stderr is before


def test_a_bar_that_never_started_writes_nothing(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Bar(stream):
        pass
    assert stream.getvalue().strip() == ""


def test_the_figures_fit_beside_a_bar_on_eighty_columns():
    wide = snapshot(State.WAITING, chunks=100_000, done=99_999, bytes_done=99 * MB, workers=16, seconds=0.1)
    assert len(words(WAITING)) + len(figures(wide)) + 2 < 80


@pytest.mark.parametrize("chunks", [0, 1])
def test_every_display_survives_an_empty_recording(monkeypatch, chunks):
    monkeypatch.setenv("TERM", "xterm")
    empty = snapshot(chunks=chunks, bytes=0)
    for mode in ("bar", "plain", "json", "none"):
        stream = Terminal()
        with display(mode, stream) as shown:
            shown.start(empty, now=0.0)
            shown.show(empty, now=1.0)
            shown.finish(replace(empty, state=State.DONE), now=2.0)
        assert ("done" in stream.getvalue()) == (mode != "none")


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (0.555, "56%"), (0.98, "98%"), (0.995, "99%"), (0.99999, "99%"), (1.0, "100%")]
)
def test_nothing_is_whole_before_its_end(share, text):
    assert percent(share) == text


# Reading a result


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_short_reading_shows_nothing():
    for stream in (io.StringIO(), Screen()):
        shown = ReadingLine("verifying", stream, now=0.0)
        shown.show(50, 100, now=0.9)
        shown.close()
        assert stream.getvalue() == ""


def test_a_long_reading_shows_its_share_on_one_line_of_a_terminal():
    stream = Screen()
    shown = ReadingLine("verifying", stream, now=0.0)
    for done, now in ((10_000_000, 1.0), (10_500_000, 1.05), (11_000_000, 1.11)):
        shown.show(done, 200_000_000, now=now)
    assert stream.getvalue() == "\rverifying: 5% of 200 MB\x1b[K\rverifying: 6% of 200 MB\x1b[K"
    shown.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_long_reading_writes_a_line_for_each_tenth_elsewhere():
    stream = io.StringIO()
    shown = ReadingLine("decrypting", stream, now=0.0)
    for second in range(1, 101):
        shown.show(second * 1_000_000, 100_000_000, now=float(second))
    shown.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "decrypting: 10% of 100 MB"
    assert 9 <= len(lines) <= 10  # a tenth is no binary number


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("closed file")])
def test_a_reading_outlives_its_terminal(error):
    stream = Gone()
    stream.error = error
    shown = ReadingLine("verifying", stream, now=0.0)
    shown.show(1, 2, now=5.0)
    shown.close()
    assert stream.refused == 2


MEASURING = snapshot(stage="measuring for loudnorm", done=10, bytes_done=10 * MB, seconds=1.0)


def test_a_stage_before_the_main_one_is_shown_by_its_name():
    assert words(MEASURING) == "measuring for loudnorm"
    assert words(snapshot(State.WAITING, stage="measuring for loudnorm")) == "waiting for workers"
    assert words(snapshot(State.FAILED, stage="measuring for loudnorm")) == "failed"


@pytest.mark.parametrize("mode", ["plain", "json"])
def test_a_line_is_written_when_the_next_stage_begins(mode):
    stream = io.StringIO()
    shown = display(mode, stream)
    shown.start(MEASURING, now=1.0)
    shown.show(snapshot(done=0, seconds=1.1, seconds_before=1.1), now=1.1)
    first, second = stream.getvalue().splitlines()
    assert "measuring for loudnorm" in first
    assert "measuring" not in second
    assert "running: 0/100" in second or '"stage": "main"' in second
