import json

import pytest

from zaudio import events
from zaudio.events import MAIN, State
from zaudio.watching.lines import line
from zaudio.watching.summary import SLOWEST, Digest, Share

MEASURING = "measuring for loudnorm"


class Log:
    """Lines of a log, a clock, and short words for events."""

    def __init__(self):
        self.lines = []
        self.now = 100.0
        self.job, self.incarnation, self.stage = "ab", 1, MAIN

    def tell(self, kind, **fields):
        event = kind(at=self.now, job=self.job, stage=self.stage, **fields)
        self.lines.append(line(event, offset=1e9, incarnation=self.incarnation))
        return self

    def after(self, seconds):
        self.now += seconds
        return self

    def start(self, chunks=4, **fields):
        sizes = {"chunk_frames": 10, "frames": 10 * chunks, "channels": 1, "samplerate": 44100, "format": "f32le"}
        return self.tell(events.Started, chunks=chunks, bytes=40 * chunks, **sizes, **fields)

    def run(self, *workers, chunks=4, **fields):
        """Start, open, and let workers come a second later."""
        self.start(chunks, **fields).after(0.5).tell(events.StateChanged, state=State.RUNNING)
        self.tell(events.StageBegan, chunks=chunks, chunk_frames=10, bytes=40 * chunks, **fields).after(1.0)
        for worker in workers:
            self.tell(events.Welcomed, worker=worker).tell(events.Joined, worker=worker, session=worker)
        return self

    def compute(self, worker, chunk, *, seconds, op):
        self.tell(events.Granted, worker=worker, chunk=chunk, chunks=1, attempt=1).after(seconds)
        return self.tell(events.Accepted, worker=worker, chunk=chunk, chunks=1, seconds=op)

    def advance(self, chunks, encrypting=0.0):
        return self.tell(events.Advanced, chunks=chunks, bytes=40 * chunks, encrypting=encrypting)

    def publish(self):
        self.tell(events.StateChanged, state=State.PUBLISHING).after(0.25)
        return self.tell(events.Published, paths={"result": "out/result.raw"})

    def digest(self):
        digest = Digest()
        for each in self.lines:
            digest.take(each)
        return digest

    @property
    def lives(self):
        return self.digest().lives()

    @property
    def facts(self):
        (facts,) = self.lives
        return facts


@pytest.fixture
def log():
    return Log()


def test_the_time_of_a_job_is_told_by_phase(log):
    facts = log.run("a").compute("a", 0, seconds=2.0, op=1.5).publish().facts
    assert facts.phases == {"opening": 0.5, "waiting for workers": 1.0, "main": 2.0, "publishing": 0.25}
    assert (facts.end, facts.seconds) == ("done", 3.75)


def test_a_measuring_stage_is_a_phase_and_has_a_sentence_and_a_limit_of_its_own(log):
    log.start(100).tell(events.StateChanged, state=State.RUNNING)
    log.stage = MEASURING
    log.tell(events.StageBegan, chunks=100, chunk_frames=0, bytes=400, measures=True)
    log.tell(events.Welcomed, worker="a").tell(events.Joined, worker="a")
    log.compute("a", 0, seconds=4.0, op=4.0).tell(events.Measured, sentence="loudnorm: -26.87 LUFS")
    log.stage = MAIN
    log.tell(events.StageBegan, chunks=100, chunk_frames=10, bytes=400)
    log.tell(events.Welcomed, worker="a").tell(events.Joined, worker="a")
    facts = log.compute("a", 0, seconds=3.0, op=0.5).advance(1, encrypting=2.5).publish().facts
    assert facts.phases == {"opening": 0.0, "waiting for workers": 0.0, MEASURING: 4.0, "main": 3.0, "publishing": 0.25}
    assert facts.measured == ["loudnorm: -26.87 LUFS"]
    assert facts.limits[MEASURING].startswith("the op limited it")
    assert facts.limits[MAIN].startswith("the cipher limited it")
    # Seconds of both stages, chunks of the result.
    assert facts.workers == {"a": Share(chunks=1, op=4.5, op_main=0.5, transfer=2.5, idle=0.25, ready=7.25)}


def test_each_worker_has_its_chunks_and_where_its_time_went(log):
    log.run("a", "b").compute("a", 0, seconds=2.0, op=1.5).compute("b", 1, seconds=1.0, op=1.0)
    facts = log.advance(2).facts
    assert facts.workers == {
        "a": Share(chunks=1, op=1.5, op_main=1.5, transfer=0.5, idle=1.0, ready=3.0),
        "b": Share(chunks=1, op=1.0, op_main=1.0, transfer=0.0, idle=2.0, ready=3.0),
    }
    assert facts.done == 2


def test_the_slowest_chunks_come_first_and_no_more_than_ten(log):
    log.run("a", chunks=30)
    for chunk in range(30):
        log.compute("a", chunk, seconds=1.0 + (7 * chunk) % 30, op=0.5)
    slowest = log.facts.slowest
    assert [slow.seconds for slow in slowest] == [30.0 - number for number in range(SLOWEST)]
    assert (slowest[0].worker, slowest[0].op) == ("a", 0.5)


def test_losses_requeues_and_rejections_have_their_reasons(log):
    log.run("a", "b").after(2).tell(events.Lost, worker="a", reason="it was killed", session="a")
    for _ in range(2):
        log.tell(events.Requeued, worker="a", chunk=0, chunks=1, attempt=1, reason="it is gone")
    log.tell(events.Rejected, worker="b", chunk=0, chunks=1, reason="it was damaged on the way")
    log.tell(events.Rejected, worker="b", chunk=0, chunks=1, reason="it belongs to another job", late=True)
    log.tell(events.Dropped, worker="b", chunk=0, reason="a liar", unchecked=0)
    log.publish().tell(events.Lost, worker="b", reason="the job is over", session="b")
    facts = log.facts
    assert [(loss.seconds, loss.worker, loss.reason) for loss in facts.losses] == [(3.5, "a", "it was killed")]
    assert (facts.lost, facts.requeued, facts.rejected) == (1, {"it is gone": 2}, {"it was damaged on the way": 1})
    assert facts.dropped == {"b": "a liar"}


def test_refused_workers_are_told_with_their_reasons_and_all_of_them_counted(log):
    log.run("a").after(2).tell(events.Refused, worker="old", host="attic", reason="it speaks protocol version 9")
    log.tell(events.Refused, worker="", host="10.0.0.7", reason="its key is not admitted", key="k", more=12)
    (told,) = log.facts.refusals
    assert (told.seconds, told.worker, told.host) == (3.5, "old", "attic")
    assert log.facts.refused == 13


def test_workers_elsewhere_that_did_not_come_are_told(log):
    log.run("a").after(2).tell(events.Absent, place="attic", sentence="attic: its host key is not known here")
    (told,) = log.facts.absences
    assert (told.seconds, told.place, told.sentence) == (3.5, "attic", "attic: its host key is not known here")


def test_what_limited_the_job_is_a_sentence_and_workers_useful_a_number(log):
    log.run("a", chunks=100)
    for chunk in range(4):
        log.compute("a", chunk, seconds=1.0, op=0.9)
    facts = log.advance(4, encrypting=0.6).facts
    assert facts.useful == 6
    assert (
        facts.limits[MAIN]
        == "the op limited it: 1 worker computed 90% of the time, and 6 would have kept the cipher busy"
    )


@pytest.mark.parametrize(("error", "end"), [("JobError", "failed"), ("StoppedError", "stopped")])
def test_a_job_that_failed_says_why(log, error, end):
    facts = log.run("a").after(1).tell(events.Failed, error=error, sentence="it did not work").facts
    assert (facts.end, facts.sentence) == (end, "it did not work")


def test_the_lives_of_a_job_are_told_apart_and_one_that_was_killed_has_no_end(log):
    log.run("a").compute("a", 0, seconds=2.0, op=1.5).advance(1)
    log.lines[-1] = log.lines[-1][:-20]
    log.incarnation, log.now = 2, 5.0  # another process, perhaps another boot
    log.start(4, incarnation=2, resumed_chunks=1)
    log.tell(events.StageBegan, chunks=4, chunk_frames=10, bytes=160, resumed_chunks=1)
    log.after(1).publish()
    first, second = log.lives
    assert (first.incarnation, first.end, first.seconds) == (1, "cut off", 3.5)
    assert (second.incarnation, second.end, second.resumed_chunks, second.seconds) == (2, "done", 1, 1.25)
    assert log.digest().damaged == 1


def test_several_jobs_in_a_file_are_told_apart_though_their_lines_are_mixed(log):
    other = Log()
    other.job = "cd"
    log.run("a").compute("a", 0, seconds=2.0, op=1.5)
    other.run("b").compute("b", 0, seconds=1.0, op=0.5)
    log.lines = [each for pair in zip(log.lines, other.lines, strict=True) for each in pair]
    assert [(life.job, list(life.workers)) for life in log.lives] == [("ab", ["a"]), ("cd", ["b"])]


def test_a_job_that_was_found_done_twice_is_two_lives(log):
    log.job, log.incarnation = "", 0
    log.start(incarnation=0).publish().start(incarnation=0).publish()
    assert [life.end for life in log.lives] == ["done", "done"]


def test_lines_that_cannot_be_read_are_counted_and_the_others_are_read(log):
    log.run("a").publish()
    newer = json.dumps({**json.loads(log.lines[0]), "v": 2})
    strange = json.dumps({**json.loads(log.lines[0]), "kind": "sung"})
    log.lines += ["", "no line\n", newer, strange, log.lines[0][:30]]
    digest = log.digest()
    assert (digest.damaged, digest.newer, len(digest.lives())) == (2, 1, 1)
    assert digest.lines == len(log.lines) - 1


def test_a_log_that_begins_in_the_middle_of_a_job_is_summed_up(log):
    log.run("a").compute("a", 0, seconds=2.0, op=1.5).publish()
    log.lines = log.lines[5:]
    assert log.facts.end == "done"


def test_chunks_that_the_log_left_out_are_counted_to_their_workers(log):
    log.run("a", chunks=100).after(8).tell(events.Sampled, count=40, workers={"a": (20, 6.0)})
    facts = log.tell(events.Missed, count=3).facts
    assert facts.workers == {"a": Share(chunks=20, op=6.0, op_main=6.0, idle=2.0, ready=8.0)}
    assert (facts.sampled, facts.missed) == (40, 3)


def test_a_summary_is_json(log):
    log.run("a").compute("a", 0, seconds=2.0, op=1.5).publish()
    made = json.loads(json.dumps(log.facts.to_json()))
    assert made["began"].startswith("2001-09-09T01:48:20")
    assert made["workers"]["a"]["op"] == 1.5


def test_the_time_in_which_a_recording_is_read_belongs_to_the_life_that_follows():
    log = Log()
    log.job = ""
    for read in (10, 20):
        log.tell(events.Reading, verb="decoding", bytes=read, total=20).after(2.0)
    log.job = "ab"
    [life] = log.run("a").publish().lives
    assert (life.job, life.phases["opening"]) == ("ab", 4.5)


def test_a_batch_is_one_life_with_its_recordings_and_all_their_chunks(log):
    log.start(0, recordings=3).tell(events.StateChanged, state=State.RUNNING)
    for chunks, names in ((2, ("a.wav", "b.wav")), (3, ("long.wav",))):
        log.tell(events.StageBegan, chunks=chunks, chunk_frames=10, bytes=40 * chunks, recordings=names)
        log.tell(events.Welcomed, worker="w").tell(events.Joined, worker="w", session="1")
        for chunk in range(chunks):
            log.compute("w", chunk, seconds=1.0, op=0.5)
        log.advance(chunks)
    for name, state, why in (("a.wav", "done", ""), ("b.wav", "failed", "it is no WAV"), ("long.wav", "done", "")):
        log.tell(events.RecordingEnded, input=name, output=f"out/{name}", state=state, sentence=why)
    facts = log.tell(events.StateChanged, state=State.DONE).facts
    assert (facts.end, facts.batch.recordings, facts.batch.ended) == ("done", 3, {"done": 2, "failed": 1})
    assert [(each.recording, each.sentence) for each in facts.batch.failures] == [("b.wav", "it is no WAV")]
    assert (facts.chunks, facts.done, facts.workers["w"].chunks, facts.workers["w"].op) == (5, 5, 5, 2.5)
    assert {slow.recording for slow in facts.slowest} == {"a.wav and 1 more", "long.wav"}
    assert list(facts.limits) == [MAIN]
