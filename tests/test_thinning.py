from collections import Counter

import pytest

from zaudio import events
from zaudio.watching.thinning import CHUNKS_MOST, Thinner

ABOUT = {"job": "ab"}


def granted(chunk, at, **fields):
    return events.Granted(**ABOUT, at=at, worker="a", chunk=chunk, chunks=1, attempt=1, **fields)


def accepted(chunk, at, worker="a", seconds=0.5, chunks=1):
    return events.Accepted(**ABOUT, at=at, worker=worker, chunk=chunk, chunks=chunks, seconds=seconds)


def advanced(chunks, at):
    return events.Advanced(**ABOUT, at=at, chunks=chunks, bytes=chunks)


def joined(at):
    return events.Joined(**ABOUT, at=at, worker="a")


def thinned(*given):
    thinner = Thinner()
    return [line for event in given for line in thinner.take(event)] + thinner.end()


def a_second(rate, *, at=0.0, first=0):
    """Grant and accept that many chunks in a second."""
    for number in range(rate):
        when = at + number / rate
        yield granted(first + number, when)
        yield accepted(first + number, when)


def counts(lines):
    return Counter(type(each) for each in lines)


def test_every_event_of_a_chunk_has_a_line_up_to_a_thousand_chunks_a_second():
    given = [*a_second(CHUNKS_MOST), *a_second(CHUNKS_MOST, at=1.0, first=CHUNKS_MOST)]
    assert thinned(*given) == given


def test_a_faster_farm_gets_no_more_lines_a_second_and_a_line_says_how_many_are_missing():
    lines = thinned(*a_second(3 * CHUNKS_MOST))
    assert counts(lines) == {events.Granted: CHUNKS_MOST, events.Accepted: CHUNKS_MOST, events.Sampled: 1}
    assert lines[-1].count == 4 * CHUNKS_MOST
    assert lines[-1].workers == {"a": (2 * CHUNKS_MOST, 0.5 * 2 * CHUNKS_MOST)}


def test_in_a_fast_job_the_lines_are_of_the_same_chunks_all_over_a_second():
    lines = thinned(*a_second(4000), *a_second(4000, at=1.0, first=4000))
    second = [each for each in lines if each.at >= 1.0 and not isinstance(each, events.Sampled)]
    grants = {each.chunk for each in second if isinstance(each, events.Granted)}
    assert grants == {each.chunk for each in second if isinstance(each, events.Accepted)}
    assert 900 <= len(grants) <= CHUNKS_MOST
    assert max(grants) > 7900  # not only at its beginning


@pytest.mark.parametrize("step", [1, 2, 3, 4, 64, 1000])
def test_bundles_of_any_size_are_sampled_evenly(step):
    chunks = [number * step for number in range(4000)]
    given = [accepted(chunk, at + index / 4000) for at in (0.0, 1.0) for index, chunk in enumerate(chunks)]
    kept = [each for each in thinned(*given) if each.at >= 1.0 and isinstance(each, events.Accepted)]
    assert 800 <= len(kept) <= CHUNKS_MOST


def test_sums_by_worker_stay_right_when_chunks_are_left_out():
    given = [accepted(number, number / 5000, worker="ab"[number % 2], chunks=3) for number in range(10_000)]
    lines = thinned(*given)
    chunks, seconds = Counter(), Counter()
    for each in lines:
        if isinstance(each, events.Accepted):
            chunks[each.worker] += each.chunks
            seconds[each.worker] += each.seconds
        else:
            for name, (of_chunks, of_seconds) in each.workers.items():
                chunks[name] += of_chunks
                seconds[name] += of_seconds
    assert (chunks, seconds) == ({"a": 15_000, "b": 15_000}, {"a": 2500.0, "b": 2500.0})
    assert sum(each.count if isinstance(each, events.Sampled) else 1 for each in lines) == len(given)


def test_a_job_that_is_slow_again_has_a_line_for_every_event():
    slow = [granted(number, 10.0 + number) for number in range(5)]
    assert thinned(*a_second(5000), *slow)[-5:] == slow


def test_an_event_that_is_not_of_a_chunk_always_has_a_line_and_stands_behind_what_was_left_out():
    lines = thinned(*a_second(2000), joined(0.9995), *a_second(3, at=0.9996))
    position = lines.index(joined(0.9995))
    assert isinstance(lines[position - 1], events.Sampled)


def test_progress_is_told_ten_times_a_second_and_once_more_at_the_end():
    lines = thinned(*(advanced(number, number / 1000) for number in range(1001)))
    assert 10 <= len(lines) <= 12
    assert lines[-1] == advanced(1000, 1.0)


def test_progress_is_told_before_anything_else_is():
    assert thinned(advanced(1, 0.0), advanced(2, 0.01), joined(0.02)) == [
        advanced(1, 0.0),
        advanced(2, 0.01),
        joined(0.02),
    ]


def test_nothing_came_and_nothing_is_written():
    assert thinned() == []
