"""Job: what a worker is told of it, and how the user's chunks are counted where they travel in runs."""

import pytest
from core_support import JOB_ID, SINKS, job, recording, session

from zaudio.core.job import Job
from zaudio.plan import Order, Plan


def cut(frames: int, chunk_frames: int, run: int, order: Order = Order.REVERSED) -> Job:
    """A job over that many frames, `run` of the user's chunks in each grant."""
    like = job()
    plan = Plan(frames, chunk_frames, order)
    return Job(
        id=JOB_ID,
        incarnation=1,
        plan=plan.in_bundles(run),
        chunk_frames=chunk_frames,
        ops=like.ops,
        signal=like.signal,
        grid=like.grid,
        credit=like.credit,
        window_most=like.window_most,
        timing=like.timing,
    )


@pytest.mark.parametrize("run", [1, 2, 3, 7])
@pytest.mark.parametrize("chunk_frames", [1, 2, 5])
@pytest.mark.parametrize("order", Order)
def test_a_start_is_that_of_the_users_chunk_with_that_index(order, chunk_frames, run):
    for frames in (1, 2, 4, 5, 6, 9, 10, 11, 37):
        whole = cut(frames, chunk_frames, run, order)
        plan = Plan(frames, chunk_frames, order)
        for index in range(len(plan)):
            assert whole.chunk_at(plan.span(index).start) == index
            assert whole.chunk_at(plan.span(index).stop - 1) == index, "and so is any frame in it"


@pytest.mark.parametrize("run", [1, 2, 3, 7])
@pytest.mark.parametrize("chunk_frames", [1, 2, 5])
@pytest.mark.parametrize("order", Order)
def test_grants_name_the_users_chunks_one_behind_the_other(order, chunk_frames, run):
    for frames in (1, 2, 4, 5, 6, 9, 10, 11, 37):
        whole, first = cut(frames, chunk_frames, run, order), 0
        for index in range(len(whole.plan)):
            chunk, chunks = whole.chunks_in(index)
            assert (chunk, whole.chunk_of(index), whole.chunks_before(index)) == (first, first, first)
            first += chunks
        assert first == whole.chunks == len(Plan(frames, chunk_frames, order))


@pytest.mark.parametrize("run", [1, 2, 3, 7])
def test_a_grant_is_of_as_many_chunks_as_its_longest_run(run):
    assert cut(100, 5, run).chunks_a_grant == run
    assert cut(100, 5, 0).chunks_a_grant == 1


@pytest.mark.parametrize("source", [None, recording()])
def test_a_welcome_says_what_the_job_is(source):
    whole = job(credit=3, run=2, source=recording())
    welcome = whole.welcome(session("a"), SINKS, source)
    assert (welcome.job, welcome.incarnation, welcome.session) == (JOB_ID, 1, session("a"))
    assert (welcome.sinks, welcome.credit, welcome.ops) == (SINKS, 3, whole.ops)
    assert (welcome.heartbeat, welcome.liveness) == (whole.timing.heartbeat, whole.timing.liveness)
    assert (welcome.frames, welcome.channels, welcome.samplerate, welcome.format) == (80, 1, 44100, "f32le")
    assert (welcome.grid, welcome.chunk_frames) == (0, 4)
    assert welcome.source == source
