"""Jobs in programs of asyncio: the loop goes on, and a cancelled job leaves nothing but what is resumed."""

import asyncio

import pytest
from extended import extended
from farm_support import listing, noise, numbered, write_raw

import zaudio
from zaudio import Coordinator, Processing
from zaudio.errors import ChunkError, StoppedError, UsageError
from zaudio.events import Advanced, Started, State, StateChanged

FAILING = "farm_ops:raises_at"  # where a chunk begins with 0


@pytest.fixture
def take(tmp_path):
    return write_raw(tmp_path / "x.raw", noise(400_000))


def test_a_job_runs_while_the_loop_goes_on(tmp_path, take):
    async def count(turns):
        while True:
            turns.append(None)
            await asyncio.sleep(0.001)

    async def main():
        turns = []
        counting = asyncio.create_task(count(turns))
        report = await zaudio.run_async(take, tmp_path / "out", workers=1)
        counting.cancel()
        return report, turns

    report, turns = asyncio.run(main())
    assert report.frames == 400_000
    assert len(turns) > 10
    assert zaudio.verify(tmp_path / "out").frames == 400_000


@pytest.mark.extended
def test_events_come_to_a_task_until_the_end(tmp_path, take):
    async def listen(subscription):
        return [event async for event in subscription]

    async def main():
        job = Coordinator(take, tmp_path / "out", workers=1)
        with job.subscribe() as subscription:
            listening = asyncio.create_task(listen(subscription))
            await zaudio.run_async(job)
            return await listening

    events = asyncio.run(main())
    states = [event.state for event in events if isinstance(event, StateChanged)]
    assert states == ["running", "publishing"]


def test_an_array_and_a_failure_come_out_of_a_task(take, tmp_path):
    x = noise(1000)

    async def main():
        y = await zaudio.run_async(Processing(x, 48000, "invert", workers=1))
        with pytest.raises(ChunkError):
            await zaudio.run_async(Processing(0 * x, 48000, FAILING, workers=1))
        with pytest.raises(UsageError, match="has its settings already"):
            await zaudio.run_async(Processing(x, 48000, "invert"), workers=1)
        job = Coordinator(take, tmp_path / "out", workers=1)
        await zaudio.run_async(job)
        with pytest.raises(UsageError, match="started already"):
            await zaudio.run_async(job)
        return y

    assert (asyncio.run(main()) == -x).all()


@pytest.mark.parametrize("instant", [*map(extended, ("at once", "in its start")), "in its midst"])
def test_cancelling_stops_the_job_and_leaves_nothing_but_what_is_resumed(tmp_path, instant):
    samples, limit = numbered(400_000), tmp_path / "limit"
    take, ops = write_raw(tmp_path / "x.raw", samples), f"farm_ops:down_to:limit={limit}"
    limit.write_text("200000")  # so that it cannot end before it is cancelled

    async def cancel():
        job = Coordinator(take, tmp_path / "out", ops=ops, workers=2, chunk="1000f")
        with job.subscribe() as subscription:
            running = asyncio.create_task(zaudio.run_async(job))
            await asyncio.sleep(0)
            if instant != "at once":
                async for event in subscription:
                    if isinstance(event, Started if instant == "in its start" else Advanced):
                        break
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert isinstance(job.exception(), StoppedError)
        return job

    job = asyncio.run(cancel())
    assert job.state is State.STOPPED
    assert "result.raw" not in listing(tmp_path / "out")
    limit.write_text("0")
    report = Coordinator(take, tmp_path / "out", ops=ops, workers=2, chunk="1000f").run()
    assert report.frames == 400_000


@pytest.mark.extended
def test_a_timeout_stops_the_job(tmp_path, take):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await zaudio.run_async(take, tmp_path / "out", ops="farm_ops:slow:ms=20", workers=1, chunk="1000f")

    asyncio.run(main())
    assert "result.raw" not in listing(tmp_path / "out")
