import pytest

from zaudio import events
from zaudio.events import MAIN, State
from zaudio.watching import metering
from zaudio.watching.limiting import Limit, Recent, Verdict, judge
from zaudio.watching.metering import Labour, Meter, Times

MEASURING = "measuring for loudnorm"


class Job:
    """A meter, a clock, and short words for events."""

    def __init__(self):
        self.meter = Meter()
        self.now = 100.0
        self.stage = MAIN

    def tell(self, kind, **fields):
        self.meter.apply(kind(at=self.now, job="ab", stage=self.stage, **fields))
        return self

    def start(self, chunks=100, *, resumed_chunks=0, workers=("a",), bytes=None):
        self.tell(
            events.Started,
            chunks=chunks,
            chunk_frames=1000,
            frames=1000 * chunks,
            channels=1,
            samplerate=44100,
            format="f32le",
            bytes=4000 * chunks if bytes is None else bytes,
            resumed_chunks=resumed_chunks,
        )
        return self.join(*workers)

    def join(self, *workers, session=""):
        for worker in workers:
            self.tell(events.Welcomed, worker=worker).tell(events.Joined, worker=worker, session=session)
        return self

    def after(self, seconds):
        self.now += seconds
        return self

    def grant(self, chunk, worker="a", chunks=1):
        return self.tell(events.Granted, worker=worker, chunk=chunk, chunks=chunks, attempt=1)

    def accept(self, chunk, worker="a", *, seconds, chunks=1):
        return self.tell(events.Accepted, worker=worker, chunk=chunk, chunks=chunks, seconds=seconds)

    def advance(self, chunks, **seconds):
        return self.tell(events.Advanced, chunks=chunks, bytes=4000 * chunks, **seconds)

    @property
    def times(self):
        return self.meter.times(self.now)

    @property
    def verdict(self):
        return judge(self.times)


@pytest.fixture
def job():
    return Job()


def computed(job, chunks, *, hold, seconds, idle=0.0, cipher=0.0, storing=0.0, reading=0.0):
    """Let one worker compute chunks, one after the other."""
    for chunk in range(chunks):
        job.after(idle).grant(chunk).after(hold).accept(chunk, seconds=seconds)
        done = chunk + 1
        job.advance(done, encrypting=cipher * done, storing=storing * done, reading=reading * done)
    return job


# Times


def test_nothing_is_known_before_a_worker_came(job):
    assert job.start(workers=()).after(5).times == Times(chunks=100, chunk_bytes=4000)
    assert job.verdict == Verdict(Limit.UNKNOWN)
    assert job.verdict.words == ""


def test_the_time_of_a_worker_is_split_into_op_transfer_and_waits(job):
    times = computed(job.start(), 10, hold=1.0, seconds=0.75, idle=0.5).times
    assert (times.seconds, times.ready, times.op, times.transfer, times.idle) == (15.0, 15.0, 7.5, 2.5, 5.0)
    assert (times.computed, times.done, times.absent) == (10, 10, 0.0)


def test_transfer_behind_another_chunk_that_is_computed_costs_nothing(job):
    job.start().grant(0).grant(1)
    job.after(1.5).accept(0, seconds=1.0).grant(2)
    job.after(1.0).accept(1, seconds=1.0)
    job.after(1.0).accept(2, seconds=1.0)
    assert (job.times.op, job.times.transfer, job.times.idle) == (3.0, 0.5, 0.0)


def test_a_grant_that_is_out_is_neither_op_nor_wait(job):
    job.start().grant(0).after(50)
    assert (job.times.ready, job.times.op, job.times.transfer, job.times.idle) == (50.0, 0.0, 0.0, 0.0)


def test_a_worker_is_not_believed_more_seconds_than_went_by_since_the_grant(job):
    assert job.start().grant(0).after(2).accept(0, seconds=1e9).times.op == 2.0


def test_a_result_that_was_never_granted_here_costs_no_time(job):
    times = job.start().after(1).accept(7, seconds=5.0).times
    assert (times.op, times.idle, times.computed) == (0.0, 1.0, 1)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (events.Duplicate, {}),
        (events.Noted, {}),
        (events.Rejected, {"reason": "it was damaged on the way"}),
        (events.Requeued, {"reason": "it left", "attempt": 1}),
    ],
)
def test_time_for_a_result_that_is_not_used_is_unused(job, kind, more):
    job.start().grant(0).after(2).tell(kind, worker="a", chunk=0, chunks=1, **more).after(1)
    assert (job.times.unused, job.times.op, job.times.idle) == (2.0, 0.0, 1.0)


def test_chunks_that_a_log_left_out_were_computed_and_not_waited_for(job):
    job.start().after(10).tell(events.Sampled, count=40, workers={"a": (20, 8.0)})
    assert (job.times.op, job.times.computed, job.times.idle, job.times.transfer) == (8.0, 20, 2.0, 0.0)


def test_a_lost_worker_loses_the_time_of_its_grants_and_is_ready_no_more(job):
    job.start(workers=("a", "b")).grant(0).after(3).tell(events.Lost, worker="a", reason="it was killed").after(4)
    assert (job.times.ready, job.times.unused, job.times.idle, job.times.absent) == (3.0 + 7.0, 3.0, 7.0, 0.0)
    job.tell(events.Requeued, worker="a", chunk=0, chunks=1, attempt=1, reason="it was killed")
    assert job.times.unused == 3.0


def test_a_job_without_workers_counts_the_time_until_one_comes(job):
    job.start().tell(events.Lost, worker="a", reason="it left").after(8)
    assert job.times.absent == 8.0
    assert job.join("b").after(1).times.absent == 8.0


def test_two_workers_of_one_name_are_ready_until_both_are_gone(job):
    job.start(workers=()).join("a", session="1").join("a", session="2")
    job.after(1).tell(events.Lost, worker="a", session="1", reason="it left").after(1)
    assert (job.times.ready, job.times.absent) == (2.0, 0.0)
    job.tell(events.Lost, worker="a", session="2", reason="it left").after(1)
    assert (job.times.ready, job.times.absent) == (2.0, 1.0)


def test_a_stage_begins_with_no_times_and_those_before_it_are_kept(job):
    job.stage = MEASURING
    job.tell(events.StageBegan, chunks=10, chunk_frames=0, bytes=40, measures=True).join("a")
    computed(job, 10, hold=1.0, seconds=1.0)
    job.stage = MAIN
    job.after(1).tell(events.StageBegan, chunks=20, chunk_frames=5, bytes=80)
    assert job.times == Times(stage=MAIN, chunks=20, chunk_bytes=4)
    assert job.meter.ended[MEASURING].op == 10.0
    assert job.join("a").after(1).times.seconds == 1.0


def test_times_stand_still_once_the_result_is_published(job):
    computed(job.start(1), 1, hold=1.0, seconds=1.0, cipher=0.1).tell(events.StateChanged, state=State.PUBLISHING)
    before = job.times
    job.after(60).tell(events.Published, paths={})
    assert job.after(60).times == before


def test_the_time_behind_the_last_chunk_is_the_disks(job):
    computed(job.start(2), 2, hold=1.0, seconds=1.0, cipher=0.5).after(3)
    assert (job.times.storing, job.times.idle, job.times.seconds) == (3.0, 0.0, 5.0)


def test_the_time_between_two_instants_is_their_difference(job):
    computed(job.start(), 10, hold=1.0, seconds=1.0, cipher=0.1)
    earlier = job.times
    later = job.after(2).times
    assert ((later - earlier).seconds, (later - earlier).op, (later - earlier).idle) == (2.0, 0.0, 2.0)
    assert (later - Times(stage=MEASURING, op=50.0)) == later


# How many workers are of use


def test_workers_useful_is_op_seconds_a_chunk_over_cipher_seconds_a_chunk(job):
    assert computed(job.start(), 10, hold=1.0, seconds=0.75, cipher=0.125).times.workers_useful == 6


def test_bundles_and_resumed_chunks_count_as_the_chunks_that_they_are(job):
    job.start(1000, resumed_chunks=500).grant(500, chunks=10).after(1).accept(500, seconds=1.0, chunks=10)
    assert job.advance(510, encrypting=0.25).times.workers_useful == 4


def test_no_more_workers_are_useful_than_messages_to_share(job):
    assert computed(job.start(10), 10, hold=1.0, seconds=1.0, cipher=0.001).times.workers_useful == 10
    job.grant(0, chunks=4)
    assert job.times.workers_useful == 3


def test_one_worker_is_useful_even_to_a_cipher_that_is_slower_than_it(job):
    assert computed(job.start(), 10, hold=1.0, seconds=0.1, cipher=0.9).times.workers_useful == 1


def test_without_a_cipher_nobody_knows_how_many_workers_are_useful(job):
    assert computed(job.start(), 10, hold=1.0, seconds=0.75).times.workers_useful is None


# Verdicts


def test_a_cipher_that_works_most_of_the_time_is_the_limit(job):
    verdict = computed(job.start(), 10, hold=1.0, seconds=0.9, cipher=0.8).verdict
    assert (verdict.limit, verdict.words) == (Limit.CIPHER, "limited by cipher")
    assert verdict.sentence() == (
        "the cipher limited it: it worked 80% of the time, so more workers would not have helped"
    )


def test_a_cipher_that_waits_for_the_disk_is_limited_by_storage(job):
    verdict = computed(job.start(), 10, hold=1.0, seconds=0.9, cipher=0.1, storing=0.75).verdict
    assert (verdict.limit, verdict.words) == (Limit.STORAGE, "limited by storage")
    assert "the cipher waited for it 75% of the time" in verdict.sentence()


def test_a_file_that_plays_is_limited_by_its_writing_and_by_no_cipher(job):
    verdict = computed(job.start(), 10, hold=1.0, seconds=0.9, cipher=0.0, storing=0.85).verdict
    assert verdict.limit is Limit.STORAGE
    assert verdict.sentence() == "writing the file limited it: its encoder and the disk took 85% of the time"


def test_workers_that_compute_all_the_time_are_too_few(job):
    verdict = computed(job.start(), 10, hold=1.0, seconds=0.9, cipher=0.1).verdict
    assert (verdict.limit, verdict.words, verdict.useful) == (Limit.WORKERS, "too few workers", 9)
    assert verdict.sentence() == (
        "the op limited it: 1 worker computed 90% of the time, and 9 would have kept the cipher busy"
    )


def test_an_op_limits_a_job_whose_workers_are_as_many_as_its_chunks(job):
    verdict = computed(job.start(1), 1, hold=10.0, seconds=9.5, cipher=0.1).verdict
    assert (verdict.limit, verdict.words, verdict.useful) == (Limit.OP, "limited by op", 1)
    assert "more of them would not have helped" in verdict.sentence()


def test_a_measuring_stage_has_use_for_as_many_workers_as_chunks(job):
    assert computed(job.start(100), 10, hold=1.0, seconds=0.9).verdict.limit is Limit.WORKERS
    assert computed(Job().start(1), 1, hold=1.0, seconds=0.9).verdict.limit is Limit.OP


def test_workers_that_hold_chunks_and_do_not_compute_are_limited_by_transfer(job):
    verdict = computed(job.start(), 10, hold=1.0, seconds=0.2, cipher=0.1).verdict
    assert (verdict.limit, verdict.words) == (Limit.TRANSFER, "limited by transfer")
    assert verdict.sentence() == (
        "the network limited it: workers waited for chunks and results on their way 80% of the time"
    )


def test_local_workers_that_wait_for_small_chunks_are_told_what_helps(job):
    def verdict(name, chunk):
        job = Job().start(10, bytes=10 * chunk, workers=(name,))
        for number in range(10):
            job.grant(number, name).after(1.0).accept(number, name, seconds=0.2)
        return job.verdict

    small = verdict("local-1", 4000)
    assert (small.limit, small.words) == (Limit.TRANSFER, "chunks too small")
    assert small.sentence() == (
        "handing over chunks limited it: local workers waited for them and for results 80% of the time; "
        "larger ones (--chunk) would have helped"
    )
    large = verdict("local-1", 1 << 20)
    assert (large.words, "--chunk" in large.sentence()) == ("limited by transfer", False)
    assert "the network limited it" in verdict("attic", 4000).sentence()


def test_local_workers_of_a_batch_are_not_told_to_take_larger_chunks(job):
    job.start(0, workers=())
    job.tell(events.StageBegan, chunks=10, chunk_frames=1000, bytes=40_000, recordings=("a", "b")).join("local-1")
    for number in range(10):
        job.grant(number, "local-1").after(1.0).accept(number, "local-1", seconds=0.2)
    assert job.verdict.near
    assert not job.verdict.small


def test_transfer_while_the_coordinator_reads_is_limited_by_reading(job):
    verdict = computed(job.start(), 10, hold=1.0, seconds=0.1, cipher=0.1, reading=0.8).verdict
    assert (verdict.limit, verdict.words) == (Limit.READING, "limited by reading")
    assert "the coordinator read 80% of the time" in verdict.sentence()


def test_workers_that_hold_nothing_are_limited_by_the_coordinator(job):
    verdict = computed(job.start(), 10, hold=0.1, seconds=0.1, idle=0.9, cipher=0.2).verdict
    assert (verdict.limit, verdict.words) == (Limit.COORDINATOR, "limited by coordinator")
    assert "waited for its grants 90% of the time" in verdict.sentence()


def test_a_job_that_nobody_works_at_has_too_few_workers(job):
    job.start().tell(events.Lost, worker="a", reason="it left").after(8)
    assert (job.verdict.limit, job.verdict.words) == (Limit.WORKERS, "too few workers")
    assert job.verdict.sentence() == "it had no workers 100% of the time"


def test_the_first_instants_give_no_verdict(job):
    assert computed(job.start(), 1, hold=0.125, seconds=0.125).verdict.limit is Limit.UNKNOWN
    assert "too little happened" in job.verdict.sentence()


def test_workers_whose_grants_are_all_out_give_no_verdict(job):
    assert job.start().grant(0).after(5).verdict.limit is Limit.UNKNOWN


@pytest.mark.parametrize("limit", [each for each in Limit if each is not Limit.UNKNOWN])
def test_every_limit_has_three_words_and_a_sentence(limit):
    verdict = Verdict(limit, workers=2.0, useful=3, share=0.5)
    assert len(verdict.words.split()) == 3
    assert "50% of the time" in verdict.sentence()


# The last seconds


def test_a_display_judges_the_last_ten_seconds_and_not_the_whole_stage(job):
    recent, seen = Recent(), []
    job.start(1000)
    for second in range(40):
        slow = second < 20
        job.grant(second).after(1.0).accept(second, seconds=0.9 if slow else 0.1)
        job.advance(second + 1, encrypting=0.0)
        seen.append(recent.judge(job.times).limit)
    assert seen[19] is Limit.WORKERS
    assert seen[-1] is Limit.TRANSFER
    assert judge(job.times).limit is Limit.WORKERS


def test_a_display_judges_the_whole_stage_when_nothing_came_back_lately(job):
    recent = Recent()
    computed(job.start(), 10, hold=1.0, seconds=0.9, cipher=0.1)
    job.grant(10)
    assert [recent.judge(job.after(5).times).limit for _ in range(10)] == [Limit.WORKERS] * 10


def test_a_display_forgets_the_stage_before(job):
    recent = Recent()
    recent.judge(computed(job.start(), 10, hold=1.0, seconds=0.9, cipher=0.1).times)
    job.stage = MEASURING
    job.tell(events.StageBegan, chunks=10, chunk_frames=0, bytes=40, measures=True).join("a")
    assert recent.judge(job.times).limit is Limit.UNKNOWN


def test_events_of_a_known_worker_make_no_other_one(monkeypatch):
    made = []
    monkeypatch.setattr(metering, "Labour", lambda: made.append(Labour()) or made[-1])
    Job().start().grant(0).accept(0, seconds=0.1).grant(1).accept(1, seconds=0.1)
    assert len(made) == 1, "at thousands of events a second each one counts"
