import asyncio
import signal
import sys
import threading
import traceback

import pytest

from zaudio.events import Event, Failed, Joined, Missed, Published, State, StateChanged
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream, Subscription

LONG = 60.0  # seconds; a test that waits so long has failed


def joined(number):
    return Joined(at=float(number), job="ab", worker=f"w{number}")


def numbers(events):
    """The numbers of joined workers, and what was missed between them as a negative count."""
    return [-event.count if isinstance(event, Missed) else int(event.at) for event in events]


@pytest.fixture
def stream():
    stream = Stream(Ledger())
    yield stream
    stream.close(LONG)


def publish(stream, *events):
    for event in events:
        stream.publish(joined(event) if isinstance(event, int) else event)


def held(subscription):
    """What a subscription holds, without waiting for more."""
    got = []
    while True:
        try:
            event = subscription.get(timeout=0)
        except TimeoutError:
            return got
        if event is None:
            return got
        got.append(event)


# Order and ends


def test_the_ledger_has_an_event_before_its_subscribers():
    ledger = Ledger()
    stream, seen = Stream(ledger), []
    stream.call(lambda event: seen.append(ledger.progress(0.0).workers))
    publish(stream, 1)
    stream.close(LONG)
    assert seen == [1]


def test_a_thread_that_publishes_waits_for_another_that_does():
    class Slow(Ledger):
        def apply(self, event):
            if event == joined(1):
                other.start()
                other.join(0.02)
                assert other.is_alive()
            applied.append(event)

    applied = []
    stream = Stream(Slow())
    other = threading.Thread(target=publish, args=(stream, 2))
    publish(stream, 1)
    other.join(LONG)
    assert applied == [joined(1), joined(2)]


def test_events_come_in_the_order_of_their_publication_to_every_subscriber(stream):
    one, two = stream.subscribe(), stream.subscribe()
    publish(stream, *range(100))
    stream.close()
    assert numbers(one) == numbers(two) == list(range(100))


def test_a_subscription_begins_when_it_is_made(stream):
    publish(stream, 1)
    late = stream.subscribe()
    publish(stream, 2)
    assert numbers(held(late)) == [2]


def test_an_iteration_ends_when_the_stream_is_closed_after_what_is_held(stream):
    subscription = stream.subscribe()
    publish(stream, 1, 2)
    stream.close()
    assert numbers(subscription) == [1, 2]
    assert subscription.get() is None


def test_nothing_comes_after_the_close(stream):
    subscription = stream.subscribe()
    stream.close()
    publish(stream, 1)
    assert list(subscription) == []


def test_a_subscription_to_a_closed_stream_has_ended(stream):
    stream.close()
    assert list(stream.subscribe()) == []


def test_a_stream_can_be_closed_twice(stream):
    subscription = stream.subscribe()
    publish(stream, 1)
    stream.close()
    stream.close()
    assert numbers(subscription) == [1]


def test_a_stream_whose_thread_could_not_start_is_closed_all_the_same(stream, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        stream.call(print)
    subscription = stream.subscribe()
    stream.close()
    assert list(subscription) == []


def test_the_ledger_counts_after_the_close_too():
    ledger = Ledger()
    stream = Stream(ledger)
    stream.close()
    publish(stream, 1)
    assert ledger.progress(0.0).workers == 1


# Waiting


def test_a_reader_waits_for_the_next_event(stream):
    subscription, got = stream.subscribe(), []
    reader = threading.Thread(target=lambda: got.append(subscription.get(LONG)))
    reader.start()
    publish(stream, 1)
    reader.join(LONG)
    assert numbers(got) == [1]


def test_a_reader_that_waits_in_vain_is_told(stream):
    with pytest.raises(TimeoutError, match="no event came in 0 s"):
        stream.subscribe().get(timeout=0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_close_from_another_thread_ends_the_wait(stream, whole):
    subscription, ended = stream.subscribe(), threading.Event()

    def read():
        assert list(subscription) == []
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    (stream if whole else subscription).close()
    assert ended.wait(LONG)
    reader.join(LONG)


@pytest.mark.parametrize("wait", [Subscription.get, Subscription.take])
def test_a_signal_that_the_system_gives_to_another_thread_ends_a_wait(stream, wait):
    subscription, main = stream.subscribe(), threading.get_ident()

    def waits():
        inner = sys._current_frames()[main]
        frames = [frame.f_code for frame, _ in traceback.walk_stack(inner)]
        return inner.f_code is threading.Condition.wait.__code__ and wait.__code__ in frames

    def interrupt():
        while not waits():
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        wait(subscription)
    other.join(LONG)


def test_a_closed_subscription_forgets_what_it_held(stream):
    with stream.subscribe(1) as subscription:
        publish(stream, 1, 2)
    publish(stream, 3)
    assert list(subscription) == []
    assert stream._subscriptions == (), "nothing is offered to it any more"


# A slow subscriber


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_slow_subscriber_misses_the_newest_and_is_told_how_many(stream, size):
    subscription = stream.subscribe(size)
    publish(stream, *range(size + 3))
    assert numbers(held(subscription)) == [*range(size), -3]


def test_what_was_missed_stands_before_the_next_event(stream):
    subscription = stream.subscribe(2)
    publish(stream, 1, 2, 3, 4)
    assert numbers([subscription.get()]) == [1]
    publish(stream, 5)
    assert numbers(held(subscription)) == [2, -2, 5]


def test_what_was_missed_is_told_once_and_counted_afresh(stream):
    subscription = stream.subscribe(1)
    publish(stream, 1, 2)
    assert numbers(held(subscription)) == [1, -1]
    publish(stream, 3, 4, 5)
    assert numbers(held(subscription)) == [3, -2]


def test_what_was_missed_at_the_end_is_told_at_the_end(stream):
    subscription = stream.subscribe(1)
    publish(stream, 1, 2, 3)
    stream.close()
    assert numbers(subscription) == [1, -2]


def test_a_count_of_missed_events_bears_the_place_of_the_last_of_them(stream):
    subscription = stream.subscribe(1)
    publish(stream, 1, 2, Joined(at=3.0, job="ab", stage="measuring", worker="w"))
    assert held(subscription)[-1] == Missed(at=3.0, job="ab", stage="measuring", count=2)


def test_states_publication_and_failure_are_never_missed(stream):
    subscription = stream.subscribe(1)
    states = [StateChanged(at=9.0, job="ab", state=state) for state in State]
    vital = [*states, Failed(at=9.0, job="ab", error="JobError", sentence="no")]
    publish(stream, 1, 2, *vital, 3)
    got = held(subscription)
    assert numbers(got[:2]) == [1, -1]
    assert got[2:-1] == vital
    assert numbers(got[-1:]) == [-1]


def test_a_publication_is_never_missed(stream):
    publish(stream, started())
    subscription = stream.subscribe(1)
    publish(stream, 1, 2, Published(at=9.0, job="ab", paths={}))
    assert isinstance(held(subscription)[-1], Published)


def started():
    from zaudio.events import Started

    sizes = {"chunks": 1, "chunk_frames": 1, "frames": 1, "channels": 1, "samplerate": 1, "bytes": 4}
    return Started(at=0.0, job="ab", format="f32le", **sizes)


def test_a_subscriber_that_never_reads_holds_no_more_than_its_size(stream):
    subscription = stream.subscribe(10)
    publish(stream, *range(1000))
    assert len(subscription._queue) == 10


def test_every_event_is_got_or_counted_however_readers_and_publisher_interleave(stream):
    subscription, got = stream.subscribe(3), []
    reader = threading.Thread(target=lambda: got.extend(subscription))
    reader.start()
    publish(stream, *range(20_000))
    stream.close()
    reader.join(LONG)
    number = 0
    for event in numbers(got):
        assert event < 0 or event == number, "what was missed is told where it belongs"
        number += -event if event < 0 else 1
    assert number == 20_000


# Functions


def test_a_function_is_called_with_every_event_in_another_thread(stream):
    got, threads = [], set()

    def hear(event):
        got.append(event)
        threads.add(threading.current_thread())

    stream.call(hear)
    publish(stream, *range(50))
    stream.close(LONG)
    assert numbers(got) == list(range(50))
    assert len(threads - {threading.current_thread()}) == 1


def test_what_a_function_raises_is_logged_and_ends_nothing(stream, caplog):
    got = []

    def fail(event):
        got.append(event)
        raise ValueError("no such thing")

    stream.call(fail)
    publish(stream, 1, 2)
    stream.close(LONG)
    assert numbers(got) == [1, 2]
    assert caplog.text.count("on_event raised; the job goes on") == 2
    assert "no such thing" in caplog.text


def test_a_function_that_never_returns_holds_nobody_up_for_long(stream, caplog):
    begun, let_go = threading.Event(), threading.Event()

    def hang(event):
        begun.set()
        let_go.wait(LONG)

    stream.call(hang)
    publish(stream, 1)
    assert begun.wait(LONG)
    stream.close(patience=0.0)
    assert "still runs 0 s after the end of the job" in caplog.text
    let_go.set()


def test_a_function_may_close_the_stream_and_knows_that_it_is_a_subscriber(stream, caplog):
    seen = []

    def end(event):
        seen.append(stream.is_subscriber_thread)
        stream.close(LONG)  # must not wait for its own thread

    stream.call(end)
    publish(stream, 1)
    for thread in stream._threads:
        thread.join(LONG)
    assert seen == [True]
    assert caplog.text == ""
    assert not stream.is_subscriber_thread


def test_publishing_without_subscribers_only_counts():
    class Counting(Ledger):
        applied: tuple[Event, ...] = ()

        def apply(self, event):
            self.applied = (*self.applied, event)

    ledger = Counting()
    publish(Stream(ledger), 1, 2)
    assert numbers(ledger.applied) == [1, 2]


# In a task of asyncio


def test_a_task_gets_what_is_held_and_what_comes_from_another_thread_up_to_the_end(stream):
    async def read():
        with stream.subscribe() as subscription:
            publish(stream, 1, 2)
            thread = threading.Timer(0.01, lambda: (publish(stream, 3), stream.close()))
            thread.start()
            got = [event async for event in subscription]
            thread.join()
            return got

    assert numbers(asyncio.run(read())) == [1, 2, 3]


def test_a_task_that_waits_is_told_what_it_missed_and_of_a_closed_subscription(stream):
    async def read():
        subscription = stream.subscribe(1)
        publish(stream, 1, 2, 3)
        got = []
        async for event in subscription:
            got.append(event)
            if isinstance(event, Missed):
                asyncio.get_running_loop().call_soon(subscription.close)
        return got

    assert numbers(asyncio.run(read())) == [1, -2]


def test_a_task_that_is_cancelled_while_it_waits_loses_no_event(stream):
    async def read():
        subscription = stream.subscribe()

        async def first():
            return await anext(aiter(subscription))

        waiting = asyncio.create_task(first())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        publish(stream, 7)
        return await first()

    assert asyncio.run(read()).at == 7


def test_publishing_goes_on_when_the_loop_of_a_reader_is_closed(stream):
    subscription = stream.subscribe()

    async def read():
        async for _ in subscription:
            pass

    async def leave():
        waiting = asyncio.create_task(read())
        await asyncio.sleep(0)
        assert not waiting.done()

    asyncio.run(leave())
    publish(stream, 1)
    assert numbers(held(subscription)) == [1]


# Many at a time


def test_all_events_that_are_there_are_taken_at_once_with_what_was_missed_behind_them(stream):
    subscription = stream.subscribe(size=3)
    publish(stream, *range(5))
    assert numbers(subscription.take()) == [0, 1, 2, -2]
    with pytest.raises(TimeoutError, match="no event came in 0 s"):
        subscription.take(timeout=0)


def test_nothing_is_taken_any_more_when_a_stream_has_ended(stream):
    subscription = stream.subscribe()
    publish(stream, 1)
    stream.close(LONG)
    assert (numbers(subscription.take()), subscription.take(), subscription.take()) == ([1], [], [])


def test_a_reader_that_rests_is_woken_by_the_end(stream):
    subscription, awake = stream.subscribe(), []
    thread = threading.Thread(target=lambda: awake.append(subscription.rest(LONG)))
    thread.start()
    publish(stream, 1)
    stream.close(LONG)
    thread.join(LONG)
    assert awake == [None]


def test_a_follower_has_its_subscription_and_the_end_waits_for_it(stream):
    got = []

    def follow(subscription):
        while events := subscription.take():
            got.extend(events)

    stream.follow(follow)
    publish(stream, *range(100))
    stream.close(LONG)
    assert numbers(got) == list(range(100))


def test_a_follower_that_raises_is_logged_and_followed_no_more(stream, caplog):
    left = threading.Event()

    def follow(subscription):
        subscription.take()
        left.set()
        raise ValueError("no such thing")

    stream.follow(follow)
    publish(stream, 1)
    assert left.wait(LONG)
    stream.close(LONG)
    assert "the job goes on without it" in caplog.text
