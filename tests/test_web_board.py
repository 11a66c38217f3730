import json

import pytest

from zaudio import events
from zaudio.errors import UsageError
from zaudio.facts import BatchProgress, Listed, Progress, Row
from zaudio.web.address import parse_address
from zaudio.web.board import BUCKETS, NEWS_KEPT, Board, kind_of
from zaudio.web.cells import MOST, Cells
from zaudio.web.metrics import metrics
from zaudio.web.news import BAD, TEXT_MAX
from zaudio.web.series import POINTS, Series
from zaudio.web.staff import KEPT, SHOWN, Staff


def cells_of(text):
    """The letters of a map, a run at a time."""
    found, number = "", ""
    for character in text:
        if character.isdigit():
            number += character
        else:
            found, number = found + character * int(number), ""
    return found


# The map


def test_a_map_has_a_letter_for_each_chunk():
    cells = Cells(8)
    cells.grant(2, 2, repeated=False)
    cells.grant(4, 1, repeated=True)
    cells.accept(5, 1)
    cells.grant(6, 1, repeated=False)
    cells.fail(6, 1)
    cells.seal(2)
    assert cells_of(cells.text()) == "ssggrcf."
    assert cells.counts() == {"waiting": 1, "granted": 2, "computed": 1, "sealed": 2, "repeated": 1, "failed": 1}


def test_a_sealed_chunk_remembers_that_it_was_repeated():
    cells = Cells(3)
    cells.grant(1, 1, repeated=True)
    cells.accept(1, 1)
    cells.seal(3)
    assert cells_of(cells.text()) == "sSs"


def test_a_grant_that_fails_leaves_the_result_of_another_worker():
    cells = Cells(2)
    cells.grant(0, 1, repeated=False)
    cells.grant(0, 1, repeated=True)
    cells.fail(0, 1)
    assert cells_of(cells.text()) == "r."


@pytest.mark.parametrize("chunks", [0, 1, MOST - 1, MOST, MOST + 1, 10_007, 1_000_003])
def test_a_map_of_any_length_has_at_most_so_many_cells(chunks):
    cells = Cells(chunks)
    cells.grant(chunks - 1, 1, repeated=False) if chunks else None
    assert len(cells_of(cells.text())) == min(chunks, MOST)
    cells.seal(chunks)
    assert cells_of(cells.text()) == "s" * min(chunks, MOST)


def test_a_cell_of_several_chunks_is_sealed_when_all_of_them_are():
    cells = Cells(2 * MOST)
    cells.seal(3)
    assert cells_of(cells.text())[:3] == "s.."


def test_a_cell_shows_the_chunk_that_a_user_should_look_at():
    cells = Cells(2 * MOST)
    cells.grant(0, 1, repeated=False)
    cells.fail(0, 1)
    cells.accept(1, 1)
    assert cells_of(cells.text())[0] == "f"


def test_a_map_forgets_what_is_sealed():
    cells = Cells(10**6)
    for chunk in range(10_000):
        cells.grant(chunk, 1, repeated=False)
        cells.accept(chunk, 1)
        cells.seal(chunk + 1)
    cells.prune()
    assert cells._flight == {}


# Throughput


def test_each_second_becomes_a_point():
    series = Series()
    for second in range(5):
        series.add(second * 100, now=float(second))
    assert series.values == [100.0] * 4


def test_a_long_job_has_coarser_points():
    series = Series()
    for second in range(10 * POINTS):
        series.add(second * 100, now=float(second))
    assert len(series.values) <= POINTS
    assert series.step == 16.0
    assert set(series.values) == {100.0}


# Workers


def row(staff, name, now=0.0):
    (found,) = (each for each in staff.rows(now) if each["name"] == name)
    return found


def test_a_worker_is_busy_idle_lost_and_back():
    staff = Staff()
    staff.join("a", "1", at=0.0)
    assert row(staff, "a")["state"] == "idle"
    staff.grant("a", 0, at=1.0)
    assert row(staff, "a")["state"] == "busy"
    staff.delay("a", at=2.0)
    assert row(staff, "a")["state"] == "late"
    staff.leave("a", "1", "no sign of life for 5.0 s", at=3.0)
    assert (row(staff, "a")["state"], row(staff, "a")["end"]) == ("lost", "no sign of life for 5.0 s")
    staff.join("a", "2", at=4.0)
    assert (row(staff, "a")["state"], row(staff, "a")["end"], row(staff, "a")["held"]) == ("idle", "", 0)


def test_a_dropped_worker_stays_dropped():
    staff = Staff()
    staff.join("a", "1", at=0.0)
    staff.drop("a", "it lied", at=1.0)
    staff.leave("a", "1", "sent away", at=2.0)
    assert staff.counts()["dropped"] == 1


def test_the_rate_is_that_of_late():
    staff = Staff()
    staff.join("a", "1", at=0.0)
    for second in range(100):
        staff.end("a", second, at=float(second), chunks=2)
    assert row(staff, "a", 99.0)["rate"] == pytest.approx(2.0, rel=0.05)
    assert row(staff, "a", 300.0)["rate"] < 0.01


def test_a_worker_of_less_than_half_the_median_is_slow_once_that_can_be_told():
    staff = Staff()
    for name, every in (("a", 1), ("b", 1), ("c", 4)):
        staff.join(name, "1", at=0.0)
        for second in range(0, 24, every):
            staff.grant(name, second, at=float(second))
            staff.end(name, second, at=float(second), chunks=1)
        staff.grant(name, 99, at=23.0)
    assert [each["slow"] for each in staff.rows(24.0)] == [False, False, True]
    staff.join("d", "1", at=23.0)
    staff.grant("d", 1, at=23.0)
    assert not row(staff, "d", 24.0)["slow"], "it only came"


def test_a_table_names_some_and_counts_all():
    staff = Staff()
    for number in range(KEPT + 10):
        staff.join(f"w{number}", "1", at=0.0)
        staff.leave(f"w{number}", "1", "gone", at=1.0)
    assert len(staff.rows(2.0)) == SHOWN
    assert staff.more == KEPT + 10 - SHOWN
    assert staff.counts()["lost"] == KEPT + 10


def test_of_too_many_workers_those_are_named_that_are_gone_late_or_slow():
    staff = Staff()
    names = [f"w{number:03d}" for number in range(SHOWN + 50)]
    for name in names:
        staff.join(name, name, at=0.0)
        for chunk in range(1 if name == "w299" else 40):
            staff.grant(name, chunk, at=0.0)
            staff.end(name, chunk, at=10.0, chunks=1)
        staff.grant(name, 99, at=10.0)
    staff.leave("w297", "w297", "it died", at=11.0)
    staff.delay("w298", at=11.0)
    rows = staff.rows(12.0)
    assert [row["name"] for row in rows] == [*names[: SHOWN - 3], "w298", "w299", "w297"]
    assert [(row["state"], row["slow"]) for row in rows[-3:]] == [("late", False), ("busy", True), ("lost", False)]


# The board


JOB = {"job": "ab", "at": 0.0}


def started(chunks=4, **more):
    facts = {"chunk_frames": 10, "frames": 40, "channels": 1, "samplerate": 44100, "format": "f32le", "bytes": 160}
    return events.Started(**JOB, chunks=chunks, **facts, **more)


def batch_started(recordings):
    sizes = dict.fromkeys(("chunks", "chunk_frames", "frames", "channels", "samplerate", "bytes"), 0)
    return events.Started(**JOB, **sizes, format="", recordings=recordings)


def progress(done=0, chunks=4, state=events.State.RUNNING, stage="main"):
    return Progress(state, chunks, done, 160, 40 * done, 1, 0, 0, 1.0, stage=stage)


def board_of(*happened):
    board = Board("life")
    for event in happened:
        board.apply(event)
    board.tick(progress(), now=1.0)
    return board


def test_a_snapshot_is_json_and_ascii():
    name = "<script>\N{SPEAKER}"
    board = board_of(started(), events.Joined(**JOB, worker=name))
    text = json.dumps(board.snapshot(1.0))
    assert text.isascii()
    assert json.loads(text)["workers"][0]["name"] == name


def test_a_snapshot_goes_on_behind_the_news_that_a_reader_has():
    board = board_of(started(), *(events.Joined(**JOB, worker=str(number)) for number in range(3)))
    assert [item[0] for item in board.snapshot(1.0, after=2)["news"]] == [3, 4]
    assert board.snapshot(1.0, after=4)["news"] == []


def test_the_news_are_bounded_and_cut():
    board = board_of(*(events.Lost(**JOB, worker="a", reason="x" * 10_000) for _ in range(NEWS_KEPT + 5)))
    news = board.snapshot(1.0)["news"]
    assert len(news) == NEWS_KEPT
    assert max(len(item[3]) for item in news) == TEXT_MAX


def test_chunks_that_are_granted_twice_in_a_row_share_a_line():
    twice = [events.Granted(**JOB, worker="b", chunk=n, chunks=1, attempt=2, repeated=True) for n in range(3)]
    board = board_of(started(), *twice, events.Joined(**JOB, worker="a"), twice[0])
    news = board.snapshot(1.0)["news"]
    assert [(number, first) for number, _, _, _, first in news] == [(1, 1), (4, 2), (5, 5), (6, 6)]
    assert news[1][3] == "chunk 2 is granted to b too: everything waits for it; likewise 2 before it"
    assert board.snapshot(1.0, after=3)["news"][0] == news[1], "it replaces the line that a reader has"


def test_a_chunk_s_time_is_counted_from_its_grant():
    board = board_of(
        started(),
        events.Joined(**JOB, worker="a"),
        events.Granted(**JOB, worker="a", chunk=0, chunks=2, attempt=1),
        events.Accepted(at=2.0, job="ab", worker="a", chunk=0, chunks=2),
    )
    assert sum(board.seconds) == 2
    assert board.seconds[BUCKETS.index(1.0)] == 2, "as Prometheus has it: a bound belongs to its bucket"
    assert board.seconds_sum == 2.0
    assert board.snapshot(2.0)["workers"][0]["chunks"] == 2


def test_a_withdrawn_chunk_counts_no_longer():
    board = board_of(
        started(),
        events.Granted(**JOB, worker="a", chunk=0, chunks=1, attempt=1),
        events.Accepted(**JOB, worker="a", chunk=0, chunks=1),
        events.Withdrawn(**JOB, worker="a", chunk=0, chunks=1),
    )
    assert board.snapshot(1.0)["workers"][0]["chunks"] == 0
    assert cells_of(board.snapshot(1.0)["map"]) == "f..."


def test_a_stage_begins_with_another_map():
    board = board_of(started(), events.StageBegan(**JOB, stage="measuring", chunks=7, chunk_frames=0, bytes=1))
    assert board.snapshot(1.0)["cells"] == 7


def test_missed_events_leave_the_progress_right():
    board = board_of(started(), events.Missed(**JOB, count=99))
    board.tick(progress(done=3), now=2.0)
    assert cells_of(board.snapshot(2.0)["map"]) == "sss."


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("no sign of life for 5.0 s", "silence"),
        ("no result after 60.0 s", "deadline"),
        ("ValueError: bad sample", "op"),
        ("its result of chunk 3 is not that of two others", "wrong"),
        ("it said goodbye", "gone"),
    ],
)
def test_a_reason_has_one_of_few_kinds(reason, kind):
    assert kind_of(reason) == kind


# Addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("8080", "127.0.0.1", 8080), ("0", "127.0.0.1", 0), ("box.local:80", "box.local", 80), ("[::1]:7", "::1", 7)],
)
def test_an_address_is_a_port_or_a_host_and_a_port(text, host, port):
    address = parse_address(text)
    assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize("text", ["", "x", "1:x", "99999", "a b:1", "-1", "host:", "http://a:1", "\u0661"])
def test_another_text_is_no_address(text):
    with pytest.raises(UsageError, match="expected PORT or HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:80", "127.0.0.1:1"])
def test_loopback_goes_by_its_own_names(host):
    assert parse_address("0").admits(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7", "", "localhost.evil", "[::2]", "[::1].evil:80"]
)
def test_loopback_goes_by_no_other_name(host):
    assert not parse_address("0").admits(host)


def test_an_open_address_goes_by_numbers_and_by_the_given_name():
    address = parse_address("box.local:80")
    assert address.admits("box.local:80")
    assert address.admits("192.168.0.7:80")
    assert not address.admits("evil.example")


def test_a_batch_lists_its_recordings():
    board = board_of(batch_started(100_000))
    rows = (Row("b.wav", "running", 0.5), Row("bad.wav", "failed", 0.0, "it is no WAV"))
    board.jobs = Listed(rows, 99_998, {"running": 1, "failed": 1, "waiting": 99_998})
    snapshot = board.snapshot(1.0)
    assert snapshot["jobs"] == [["b.wav", "running", 0.5, ""], ["bad.wav", "failed", 0.0, "it is no WAV"]]
    assert (snapshot["jobs_more"], snapshot["jobs_counts"]["waiting"]) == (99_998, 99_998)
    assert "recording" not in snapshot, "each has its own"
    assert 'zaudio_recordings{state="failed"} 1.0' in metrics(board, now=1.0)


def test_a_batch_adds_up_the_bytes_of_its_stages_and_maps_the_one_that_runs():
    sizes = {"chunk_frames": 10, "bytes": 160}
    board = board_of(
        batch_started(2),
        events.StageBegan(**JOB, chunks=4, recordings=("a.wav",), **sizes),
        events.Advanced(**JOB, chunks=4, bytes=160),
        events.StageBegan(**JOB, chunks=3, recordings=("b.wav",), **sizes),
        events.Advanced(**JOB, chunks=1, bytes=40),
    )
    board.tick(BatchProgress(events.State.RUNNING, 2, 1, 160, 40, 1, 0, 0, 2.0), now=2.0)
    snapshot = board.snapshot(2.0)
    assert cells_of(snapshot["map"]) == "s..", "recordings are no chunks"
    assert (snapshot["progress"]["unit"], snapshot["progress"]["bytes_per_second"]) == ("recordings", 100.0)
    assert "zaudio_bytes_sealed_total 200.0" in metrics(board, now=2.0)


def test_what_a_batch_measures_is_no_result_and_no_news():
    sizes = {"chunks": 1, "chunk_frames": 10, "recordings": ("a.wav",)}
    board = board_of(
        batch_started(1),
        events.StageBegan(**JOB | {"stage": "measuring for loudnorm"}, bytes=300, measures=True, **sizes),
        events.Advanced(**JOB, chunks=1, bytes=300),
        events.StageBegan(**JOB, bytes=160, **sizes),
        events.Advanced(**JOB, chunks=1, bytes=160),
    )
    board.tick(BatchProgress(events.State.RUNNING, 1, 0, 160, 160, 1, 0, 0, 2.0), now=2.0)
    assert "zaudio_bytes_sealed_total 160.0" in metrics(board, now=2.0)
    assert [item.sentence for item in board._news] == ["a batch of 1 recording begins"]


def test_a_worker_of_the_stage_before_is_no_news_and_a_recording_that_failed_is():
    joined = events.Joined(**JOB, worker="a", session="1")
    failed = events.RecordingEnded(**JOB, input="bad.wav", output="out/bad", state="failed", sentence="it is no WAV")
    done = events.RecordingEnded(**JOB, input="a.wav", output="out/a", state="done")
    board = board_of(batch_started(2), joined, joined, done, failed)
    assert [item.sentence for item in board._news] == [
        "a batch of 2 recordings begins",
        "a takes part",
        "bad.wav failed: it is no WAV",
    ]


def test_workers_hold_nothing_when_the_job_is_over():
    board = board_of(
        started(),
        events.Joined(**JOB, worker="a"),
        events.Granted(**JOB, worker="a", chunk=0, chunks=1, attempt=1),
        events.Published(**JOB, paths={}),
    )
    assert board.snapshot(1.0)["workers"][0]["state"] == "idle"


def test_a_result_for_an_earlier_life_makes_no_worker():
    late = events.Rejected(**JOB, worker="11630da4", chunk=-1, chunks=0, reason="another job", late=True)
    snapshot = board_of(started(), late).snapshot(1.0)
    assert snapshot["workers"] == []
    assert snapshot["outcomes"] == {"late": 1}


def test_a_refused_worker_has_a_row_with_the_reason_and_a_place_in_the_counts():
    refused = {**JOB, "worker": "old", "host": "attic", "reason": "it lacks gain"}
    board = board_of(
        started(),
        events.Joined(**JOB, worker="old", session="1", host="studio"),
        events.Refused(**refused),
        events.Refused(**refused, more=12),
    )
    assert [(each["name"], each["host"], each["state"], each["end"]) for each in board.staff.rows(1.0)] == [
        ("old", "studio", "idle", ""),
        ("old", "attic", "refused", "it lacks gain"),
    ]
    assert board.staff.counts()["refused"] == 1
    assert board.snapshot(1.0)["news"][-1][3] == "12 more refusals; the newest: old cannot take part: it lacks gain"
    text = metrics(board, now=1.0)
    assert 'zaudio_workers{state="refused"} 1.0' in text
    assert "zaudio_refused_total 13.0" in text


def test_workers_elsewhere_that_did_not_come_are_bad_news():
    board = board_of(started(), events.Absent(**JOB, place="attic", sentence="attic: it is out"))
    assert board.snapshot(1.0)["news"][-1][2:4] == [BAD, "attic: it is out"]


def test_a_worker_that_was_welcomed_and_then_refused_has_one_row_until_it_takes_part():
    staff = Staff()
    staff.leave("a", "1", "another class", at=1.0)
    staff.refuse("a", "studio", "another class", at=1.0)
    assert [each["state"] for each in staff.rows(2.0)] == ["refused"]
    staff.join("a", "2", at=3.0, host="studio")
    assert [each["state"] for each in staff.rows(4.0)] == ["idle"]


def test_the_last_sign_of_a_worker_is_any_message_and_never_goes_back():
    staff = Staff()
    staff.join("a", "1", at=10.0)
    staff.hear({"a": 14.0, "stranger": 14.0})
    assert [(each["name"], each["sign"]) for each in staff.rows(15.0)] == [("a", 1.0)]
    staff.hear({"a": 13.0})
    assert row(staff, "a", 15.0)["sign"] == 1.0
