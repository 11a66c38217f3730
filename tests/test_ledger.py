import json
import threading

import pytest

from zaudio import events
from zaudio.errors import UsageError
from zaudio.events import State
from zaudio.facts import Loss, Progress, Report
from zaudio.watching.ledger import LOSSES_KEPT, Ledger

MB = 1_000_000
PATHS = {"result": "out/result.raw", "key": "out/key.bin"}


class Book:
    """A ledger, a clock, and short words for events."""

    def __init__(self):
        self.ledger = Ledger()
        self.now = 100.0

    def at(self, now):
        self.now = now
        return self

    def tell(self, kind, **fields):
        self.ledger.apply(kind(at=self.now, job="ab", **fields))
        return self

    def start(self, *, resumed_chunks=0, resumed_bytes=0):
        return self.tell(
            events.Started,
            chunks=10,
            chunk_frames=250_000,
            frames=2_500_000,
            channels=1,
            samplerate=44100,
            format="f32le",
            bytes=10 * MB,
            resumed_chunks=resumed_chunks,
            resumed_bytes=resumed_bytes,
        )

    def run(self):
        return self.start().state(State.RUNNING)

    def state(self, state):
        return self.tell(events.StateChanged, state=state)

    def join(self, *workers, session=""):
        for worker in workers:
            self.tell(events.Joined, worker=worker, session=session)
        return self

    def lose(self, worker, reason="it left", session=""):
        return self.tell(events.Lost, worker=worker, reason=reason, session=session)

    def grant(self, worker="a", **fields):
        return self.tell(events.Granted, worker=worker, chunk=3, chunks=2, attempt=1, **fields)

    def accept(self, worker, chunks=1, **fields):
        return self.tell(events.Accepted, worker=worker, chunk=3, chunks=chunks, **fields)

    def publish(self, **fields):
        return self.tell(events.Published, paths=PATHS, **fields)

    @property
    def progress(self):
        return self.ledger.progress(self.now)

    @property
    def report(self):
        return self.publish().ledger.report()


@pytest.fixture
def book():
    return Book()


# The state


def test_a_ledger_begins_with_nothing(book):
    assert book.progress == Progress(State.STARTING, 0, 0, 0, 0, 0, 0, 0, 0.0, 0)
    assert book.ledger.state is State.STARTING


def test_a_started_job_is_still_starting_until_its_state_is_told(book):
    assert book.start().join("a").ledger.state is State.STARTING
    assert book.state(State.RUNNING).ledger.state is State.RUNNING


def test_waiting_and_running_follow_from_the_workers_that_are_ready(book):
    book.run()
    seen = [book.ledger.state]
    seen += [book.join("a").ledger.state, book.join("b").ledger.state, book.lose("a").ledger.state]
    seen += [book.lose("b").ledger.state, book.join("c").ledger.state]
    assert seen == ["waiting", "running", "running", "running", "waiting", "running"]


def test_a_told_waiting_counts_as_running(book):
    book.start().state(State.WAITING)
    assert book.ledger.state is State.WAITING
    assert book.join("a").ledger.state is State.RUNNING


def test_nobody_is_waited_for_while_a_result_is_published(book):
    book.run().join("a").state(State.PUBLISHING).lose("a")
    assert book.ledger.state is State.PUBLISHING
    assert book.progress.workers == 0


@pytest.mark.parametrize("late", [State.STARTING, State.RUNNING, State.WAITING])
def test_a_state_never_goes_back(book, late):
    assert book.run().state(State.PUBLISHING).state(late).ledger.state is State.PUBLISHING


@pytest.mark.parametrize("end", [State.DONE, State.FAILED, State.STOPPED])
@pytest.mark.parametrize("late", list(State))
def test_the_first_end_stands(book, end, late):
    assert book.run().state(end).state(late).ledger.state is end


def test_publication_ends_a_job(book):
    assert book.run().publish().ledger.state is State.DONE


@pytest.mark.parametrize(
    ("error", "state"), [("JobError", State.FAILED), ("StoppedError", State.STOPPED), ("KeyError", State.FAILED)]
)
def test_an_error_ends_a_job_and_a_stop_is_no_failure(book, error, state):
    assert book.run().tell(events.Failed, error=error, sentence="no").ledger.state is state


# Progress


def test_progress_has_the_job_and_what_is_encrypted(book):
    book.run().join("a").tell(events.Welcomed, worker="a").at(105.0).tell(events.Advanced, chunks=5, bytes=5 * MB)
    assert book.progress == Progress(
        state=State.RUNNING,
        chunks=10,
        done=5,
        bytes=10 * MB,
        bytes_done=5 * MB,
        workers=1,
        requeued=0,
        repeated=0,
        seconds=5.0,
        bytes_resumed=0,
    )


def test_seconds_count_from_the_first_welcome(book):
    book.run().at(110.0)
    assert book.progress.seconds == 0.0
    book.tell(events.Welcomed, worker="a").at(112.0).tell(events.Welcomed, worker="b").at(113.5)
    assert book.progress.seconds == 3.5


@pytest.mark.parametrize("end", ["publish", "fail", "state"])
def test_seconds_stand_still_after_the_end(book, end):
    book.run().tell(events.Welcomed, worker="a").at(104.0)
    match end:
        case "publish":
            book.publish()
        case "fail":
            book.tell(events.Failed, error="JobError", sentence="no")
        case "state":
            book.state(State.STOPPED)
    assert book.at(999.0).progress.seconds == 4.0


def test_a_clock_that_was_read_before_the_welcome_gives_no_negative_seconds(book):
    book.run().tell(events.Welcomed, worker="a")
    assert book.ledger.progress(99.0).seconds == 0.0


def test_a_worker_that_joins_again_counts_once(book):
    book.run().join("a", "a", "b")
    assert book.progress.workers == 2
    assert book.lose("a").progress.workers == 1
    assert book.join("a").progress.workers == 2


def test_a_worker_that_never_joined_is_lost_and_not_counted_off(book):
    assert book.run().join("a").lose("b").progress.workers == 1


def test_two_workers_of_one_name_are_told_apart_by_their_sessions(book):
    book.run().join("a", session="01").join("a", session="02")
    assert book.progress.workers == 2
    assert book.lose("a", session="01").progress.workers == 1, "its successor came before the loss was noticed"
    assert book.ledger.state is State.RUNNING


def test_a_worker_that_does_not_come_back_to_the_next_stage_is_not_ready(book):
    book.run().join("a", "b")
    book.tell(events.Joined, worker="b", stage="second")
    assert book.progress.workers == 1
    book.tell(events.Lost, worker="b", reason="it left", stage="second")
    assert book.ledger.state is State.WAITING


def test_requeued_and_repeated_grants_are_counted_as_messages(book):
    book.run().grant().grant(repeated=True).grant(repeated=True)
    book.tell(events.Requeued, worker="a", chunk=3, chunks=2, attempt=1, reason="it left")
    assert (book.progress.requeued, book.progress.repeated) == (1, 2)


def test_the_progress_of_a_resumed_job_begins_where_it_was(book):
    book.start(resumed_chunks=4, resumed_bytes=4 * MB)
    assert (book.progress.done, book.progress.bytes_done, book.progress.bytes_resumed) == (4, 4 * MB, 4 * MB)
    book.tell(events.Advanced, chunks=6, bytes=6 * MB)
    assert (book.progress.done, book.progress.bytes_done, book.progress.bytes_resumed) == (6, 6 * MB, 4 * MB)


def test_no_more_counts_as_resumed_than_is_done(book):
    """An earlier start may have written a part of a bundle, which is computed again as a whole."""
    book.start(resumed_chunks=4, resumed_bytes=4 * MB).tell(events.Advanced, chunks=3, bytes=3 * MB)
    assert book.progress.bytes_resumed == 3 * MB


def progress(**fields):
    fixed = {"chunks": 100, "done": 0, "workers": 2, "requeued": 0, "repeated": 0}
    return Progress(**{"state": State.RUNNING, "bytes": 100 * MB, "bytes_done": 0, "seconds": 0.0} | fixed | fields)


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        (progress(), (0.0, 0.0, None)),
        (progress(state=State.WAITING), (0.0, 0.0, None)),
        (progress(bytes_done=50 * MB, seconds=5.0), (0.5, 10.0 * MB, 5.0)),
        (progress(bytes_done=25 * MB, seconds=1.0), (0.25, 25.0 * MB, 3.0)),
        (progress(bytes_done=50 * MB), (0.5, 0.0, None)),
        (progress(bytes_done=50 * MB, seconds=5.0, bytes_resumed=40 * MB), (0.5, 2.0 * MB, 25.0)),
        (progress(bytes_done=50 * MB, seconds=5.0, bytes_resumed=50 * MB), (0.5, 0.0, None)),
        (progress(state=State.DONE, bytes_done=100 * MB, seconds=8.0), (1.0, 12.5 * MB, 0.0)),
        (progress(state=State.FAILED, bytes_done=50 * MB, seconds=5.0), (0.5, 10.0 * MB, None)),
        (progress(bytes=0, chunks=0), (0.0, 0.0, None)),
        (progress(state=State.DONE, bytes=0, chunks=0), (1.0, 0.0, 0.0)),
        (progress(bytes=1, bytes_done=1, seconds=0.5), (1.0, 2.0, 0.0)),
    ],
)
def test_fraction_speed_and_time_left_follow_from_bytes_and_seconds(snapshot, expected):
    assert (snapshot.fraction, snapshot.bytes_per_second, snapshot.eta) == expected


def test_readers_in_other_threads_never_see_half_of_an_event(book):
    book.run()
    torn, over = [], threading.Event()

    def read():
        while not over.is_set():
            seen = book.ledger.progress(0.0)
            if seen.bytes_done != seen.done * MB:
                torn.append(seen)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(20_000):
        book.tell(events.Advanced, chunks=number, bytes=number * MB)
    over.set()
    for reader in readers:
        reader.join()
    assert torn == []


# The report


def test_there_is_no_report_before_the_publication(book):
    with pytest.raises(UsageError, match="the job is waiting, and its result is not published"):
        book.run().ledger.report()


def test_the_report_has_the_job_its_counts_and_the_paths(book):
    book.run().tell(events.Welcomed, worker="a").join("b", "a", "idle").at(104.0)
    book.grant(repeated=True).accept("b", 3).accept("a", 5).accept("b", 2)
    book.tell(events.Requeued, worker="a", chunk=3, chunks=2, attempt=1, reason="it left")
    book.tell(events.Duplicate, worker="a", chunk=3, chunks=2)
    book.tell(events.Rejected, worker="a", chunk=-1, chunks=0, reason="there are only 5 chunks")
    book.tell(events.Rejected, worker="a", chunk=-1, chunks=0, reason="it belongs to another job", late=True)
    book.lose("idle", "no sign of life for 5.0 s")
    assert book.report == Report(
        chunks=10,
        chunk_frames=250_000,
        frames=2_500_000,
        channels=1,
        samplerate=44100,
        format="f32le",
        bytes=10 * MB,
        seconds=4.0,
        workers=3,
        requeued=1,
        duplicates=1,
        rejected=1,
        paths=PATHS,
        shares={"a": 5, "b": 5},
        repeated=1,
        lost=1,
        losses=(Loss("idle", "no sign of life for 5.0 s"),),
    )


def test_a_withdrawn_chunk_is_taken_from_the_share(book):
    book.run().accept("a", 3).accept("b", 2)
    book.tell(events.Withdrawn, worker="a", chunk=1, chunks=1).tell(events.Withdrawn, worker="b", chunk=3, chunks=2)
    assert book.report.shares == {"a": 2}


def test_audited_chunks_and_the_unchecked_ones_of_each_dropped_worker_are_summed(book):
    book.run().accept("a", 3, audited=True).accept("a", 2).accept("b", 1, audited=True)
    for worker, unchecked, key in (("z", 4, "studio-2"), ("y", 0, ""), ("z", 1, "studio-2")):
        book.tell(events.Dropped, worker=worker, chunk=1, reason="it lied", unchecked=unchecked, key=key)
    assert book.report.audited == 4
    assert book.report.dropped == {"y": 0, "z": 5}
    assert list(book.report.dropped) == ["y", "z"]
    assert book.report.dropped_keys == {"z": "studio-2"}


def test_a_report_says_whom_the_key_is_wrapped_for(book):
    assert book.run().publish(recipient="zaudio-x25519-12").ledger.report().recipient == "zaudio-x25519-12"


def test_workers_in_the_report_are_names_that_joined_at_any_time(book):
    book.run().join("a").lose("a").join("a").join("b").lose("b").tell(events.Welcomed, worker="never ready")
    assert book.report.workers == 2


@pytest.mark.parametrize("losses", [LOSSES_KEPT - 1, LOSSES_KEPT, LOSSES_KEPT + 1])
def test_all_losses_are_counted_and_the_first_ones_kept(book, losses):
    book.run()
    for number in range(losses):
        book.join("a").lose("a", f"reason {number}")
    assert book.report.lost == losses
    assert len(book.report.losses) == min(losses, LOSSES_KEPT)
    assert book.report.losses[0] == Loss("a", "reason 0")


@pytest.mark.parametrize("state", [State.PUBLISHING, State.DONE, State.FAILED, State.STOPPED])
def test_a_worker_that_leaves_when_all_is_computed_is_no_loss(book, state):
    book.run().join("a", "b").lose("b").state(state).lose("a")
    assert book.report.lost == 1
    assert [loss.worker for loss in book.report.losses] == ["b"]


def test_the_report_of_a_job_that_was_done_before_it_began(book):
    book.start(resumed_chunks=10, resumed_bytes=10 * MB).publish()
    report = book.ledger.report()
    assert (report.resumed_chunks, report.seconds, report.workers, report.shares) == (10, 0.0, 0, {})
    now = book.progress
    assert (now.state, now.done, now.bytes_done, now.bytes_resumed) == (State.DONE, 10, 10 * MB, 10 * MB)
    assert (now.fraction, now.eta, now.seconds) == (1.0, 0.0, 0.0)


def test_the_report_stays_what_it_was(book):
    report = book.run().accept("a").report
    book.accept("a").lose("a").at(500.0)
    assert book.ledger.report() is report
    assert report.shares == {"a": 1}


def test_a_report_is_an_object_of_json(book):
    report = Report(3, 100, 250, 2, 44100, "f32le", 2000, 0.5, 1, 0, 0, 0, {"result": "out/result.raw"}, {"Zoë": 3})
    fields = json.loads(report.to_json())
    assert fields["chunks"] == 3
    assert fields["shares"] == {"Zoë": 3}
    assert fields["paths"] == {"result": "out/result.raw"}
    assert set(fields) == set(Report.__dataclass_fields__)


def test_losses_stand_in_the_json_with_their_reasons(book):
    read = json.loads(book.run().join("a").lose("a", "it left").report.to_json())
    assert read["losses"] == [{"worker": "a", "reason": "it left"}]
    assert (read["lost"], read["repeated"], read["requeued"]) == (1, 0, 0)


# What it costs


def test_a_ledger_does_not_grow_with_the_events(book):
    def held():
        counts = book.ledger
        return [len(kept) for kept in (counts._ready, counts._joined, counts._shares, counts._dropped, counts._losses)]

    def work(rounds):
        for number in range(rounds):
            book.join("a").grant().accept("a").tell(events.Advanced, chunks=number, bytes=number).lose("a")
            book.tell(events.Dropped, worker="a", chunk=number, reason="it lied", unchecked=1)

    book.run()
    work(LOSSES_KEPT)
    before = held()
    work(1000)
    assert held() == before


def test_oddities_of_the_recording_come_into_the_report():
    ledger = Ledger()
    sizes = {"chunks": 1, "chunk_frames": 1, "frames": 1, "channels": 1, "samplerate": 1, "format": "s16le", "bytes": 2}
    ledger.apply(events.Started(at=0.0, job="ab", warnings=("take.wav: a tag is left out",), **sizes))
    ledger.apply(events.Published(at=1.0, job="ab", paths={}, recipient=""))
    assert ledger.report().warnings == ("take.wav: a tag is left out",)


def test_clipped_samples_are_summed_without_those_that_were_withdrawn(book):
    book.run().tell(events.Accepted, worker="a", chunk=0, chunks=1, clipped=5)
    book.tell(events.Accepted, worker="a", chunk=1, chunks=1, clipped=7)
    book.tell(events.Withdrawn, worker="a", chunk=1, chunks=1, clipped=7)
    assert book.report.clipped == 5


def test_samples_read_as_zero_are_summed_likewise(book):
    book.run().tell(events.Accepted, worker="a", chunk=0, chunks=1, zeroed=5)
    book.tell(events.Accepted, worker="a", chunk=1, chunks=1, zeroed=7)
    book.tell(events.Withdrawn, worker="a", chunk=1, chunks=1, zeroed=7)
    assert (book.report.zeroed, book.report.clipped) == (5, 0)


# Stages


def measured(book, *, begin=20.0):
    """A job whose first stage measures: 4 chunks over 10 MB."""
    book.run().at(begin)
    return book.tell(events.StageBegan, stage="measuring for x", chunks=4, chunk_frames=0, bytes=10 * MB, measures=True)


def of_stage(book, kind, **fields):
    return book.tell(kind, stage="measuring for x", **fields)


def test_progress_is_that_of_the_stage_that_runs():
    book = Book()
    measured(book)
    of_stage(book.at(21), events.Welcomed, worker="a")
    of_stage(book, events.Joined, worker="a")
    of_stage(book.at(23), events.Advanced, chunks=1, bytes=48)
    progress = book.ledger.progress(23)
    assert (progress.stage, progress.chunks, progress.done) == ("measuring for x", 4, 1)
    assert (progress.bytes, progress.bytes_done, progress.fraction) == (10 * MB, 2.5 * MB, 0.25)
    assert (progress.seconds, progress.bytes_per_second, progress.eta) == (2.0, 1.25 * MB, 6.0)
    book.at(31).tell(events.StageBegan, chunks=10, chunk_frames=250_000, bytes=20 * MB)
    progress = book.ledger.progress(32)
    assert (progress.stage, progress.chunks, progress.done, progress.bytes) == ("main", 10, 0, 20 * MB)
    assert (progress.seconds, progress.seconds_before, progress.bytes_per_second) == (11.0, 11.0, 0.0)
    assert progress.workers == 1, "it is on its way to the new stage"
    book.at(33).tell(events.Welcomed, worker="a").join("a")
    book.at(35).tell(events.Advanced, chunks=5, bytes=10 * MB)
    progress = book.ledger.progress(35)
    assert (progress.seconds, progress.bytes_per_second, progress.eta) == (14.0, 5 * MB, 2.0)
    assert progress.workers == 1


def test_a_worker_that_does_not_come_to_the_next_stage_is_not_counted_in_it():
    book = Book()
    measured(book)
    for worker in ("a", "b"):
        of_stage(book, events.Joined, worker=worker)
    book.tell(events.StageBegan, chunks=10, chunk_frames=1, bytes=MB).join("b")
    assert book.ledger.progress(30).workers == 1


def test_a_report_has_what_was_measured_and_counts_the_main_stage_alone():
    book = Book()
    measured(book)
    of_stage(book, events.Joined, worker="a")
    of_stage(book, events.Accepted, worker="a", chunk=0, chunks=4, audited=True, clipped=3, zeroed=5)
    of_stage(book, events.Withdrawn, worker="a", chunk=0, chunks=1, clipped=1, zeroed=1)
    of_stage(book, events.Measured, sentence="it is 7 dB too quiet")
    of_stage(book, events.Measured, sentence="")
    book.tell(events.StageBegan, chunks=12, chunk_frames=99, bytes=20 * MB, resumed_chunks=2, resumed_bytes=MB)
    assert book.ledger.progress(30).bytes_resumed == MB
    book.tell(events.Accepted, worker="a", chunk=0, chunks=2, audited=True, clipped=7, zeroed=11)
    book.tell(events.Published, paths=PATHS)
    report = book.ledger.report()
    assert report.measured == ("it is 7 dB too quiet",)
    assert (report.chunks, report.chunk_frames, report.resumed_chunks, report.audited) == (12, 99, 2, 2)
    assert (report.shares, report.clipped, report.zeroed) == ({"a": 2}, 7, 11)
    assert json.loads(report.to_json())["measured"] == ["it is 7 dB too quiet"]


def test_a_job_without_a_result_is_done_when_its_state_says_so():
    book = Book().run().at(105)
    book.state(State.DONE)
    assert (book.ledger.state, book.ledger.progress(110).fraction) == (State.DONE, 1.0)
