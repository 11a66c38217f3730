"""`compute` and the Computer: every cut gives what the whole gives, chunks see their context, failures have places."""

import os
import sys

import numpy as np
import pytest
import xxhash
from net_support import wait_until

from zaudio.audio.files import InputFile
from zaudio.formats import sample_format
from zaudio.net.compute import ChunkFailed, Computer, Work, compute
from zaudio.net.failure import parted
from zaudio.net.outbox import Outbox, Outboxes
from zaudio.net.recording import open_recording
from zaudio.ops import Chain, import_allowed, parse_chain, prepare_chain
from zaudio.plan import Order, Plan, Span
from zaudio.wire.messages import Chunk

REVERSED, FORWARD = Order.REVERSED, Order.FORWARD

USERS = """
import threading
import numpy as np

seen = []
begun, free = threading.Event(), threading.Event()

def near(x):  # x[i - 2] + 3 x[i] + 5 x[i + 1], with nothing beyond the ends
    wide = np.pad(x, ((2, 1), (0, 0)))
    return wide[:-3] + 3 * x + 5 * wide[3:]

def mean(x):
    seen.append((float(x[0, 0]), len(x)) if len(x) else (None, 0))
    return np.full_like(x, x.mean()) if len(x) else x

def picky(x):
    if 13 in x:
        raise ValueError("no thirteen")
    return x

def leaving(x):
    raise SystemExit("bye")

def shorter(x):
    return x[:-1]

def waiting(x):
    begun.set()
    free.wait(20)
    return x
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "zt_compute.py").write_text(USERS)
    allowed = import_allowed(["zt_compute"])
    yield allowed
    del sys.modules["zt_compute"]


def build(ops, name="f32le", channels=1, allowed=None):
    format = sample_format(name)
    return Chain(prepare_chain(parse_chain(ops), format), format, channels, allowed or import_allowed([]))


def samples(name, values, channels=1):
    return np.array(values, sample_format(name).dtype).reshape(-1, channels)


def whole(array, *, start=0):
    """The span of an array that begins at that frame of the recording and has no context."""
    return Span(0, start, start + len(array), start, start + len(array))


def output(chain, array, plan, chunk_frames, *, before=0, after=0):
    """What a farm would make of the recording: every chunk of the plan, in output order."""
    results = []
    for span in map(plan.span, range(len(plan))):
        payload = array[span.input_start : span.input_stop].tobytes()
        context = {"before": before, "after": after}
        results.append(compute(chain, span, payload, chunk_frames=chunk_frames, order=plan.order, **context))
        assert results[-1].nbytes == span.frames * chain.frame_bytes
    return b"".join(results)


# Context


@pytest.mark.parametrize("chunk_frames", [1, 2, 3, 7, 12, 13, 14])
@pytest.mark.parametrize(
    ("order", "name", "channels"), [(REVERSED, "s32le", 2), (FORWARD, "s16be", 1), (REVERSED, "s16le", 3)]
)
def test_an_op_that_looks_at_its_neighbours_is_exact_for_any_chunk_size_bundled_or_not(
    users, chunk_frames, order, name, channels
):
    chain = build("zt_compute:near", name, channels, users)
    for frames in (0, 1, 2, 3, 4, 12, 13, 14):
        recording = samples(name, np.arange(1, channels * frames + 1) ** 2, channels)
        expected = chain(recording.tobytes())
        expected = expected[::-1] if order is REVERSED else expected
        for bundled in (1, 2, 3, 100):
            plan = Plan(frames, chunk_frames, order, before=2, after=1).in_bundles(bundled)
            assert output(chain, recording, plan, chunk_frames, before=2, after=1) == expected.tobytes()


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 1), (2, 0), (1, 0)])
def test_too_little_context_is_seen_in_the_result(users, before, after):
    """The one above would not notice an op without neighbours."""
    chain = build("zt_compute:near", "s32le", 1, users)
    recording = samples("s32le", np.arange(1, 14) ** 2)
    plan = Plan(13, 3, FORWARD, before=before, after=after)
    assert output(chain, recording, plan, 3, before=before, after=after) != chain(recording.tobytes()).tobytes()


@pytest.mark.parametrize("context", [(5, 0), (0, 5), (40, 40)])
def test_context_may_be_longer_than_chunks_and_than_the_recording(users, context):
    before, after = context
    chain = build("zt_compute:mean", "f64le", 1, users)
    recording = samples("f64le", range(7))
    plan = Plan(7, 2, FORWARD, before, after).in_bundles(2)
    got = np.frombuffer(output(chain, recording, plan, 2, before=before, after=after), "<f8")
    for start in range(0, 7, 2):
        stop = min(start + 2, 7)
        expected = recording[max(0, start - before) : min(7, stop + after)].mean()
        assert got[start:stop].tolist() == [expected] * (stop - start)


def test_an_op_sees_a_chunk_with_its_context_and_no_more(users):
    chain = build("zt_compute:mean", "f32le", 1, users)
    seen = sys.modules["zt_compute"].seen
    recording = samples("f32le", range(100))
    compute(chain, Span(0, 4, 8, 3, 9), recording[3:9].tobytes(), chunk_frames=4, order=REVERSED, before=1, after=1)
    assert seen == [(3.0, 6)], "once it was called with 4 frames and with 2"
    seen.clear()
    compute(chain, Span(0, 0, 9, 0, 10), recording[:10].tobytes(), chunk_frames=4, order=FORWARD, before=1, after=1)
    assert seen == [(0.0, 5), (3.0, 6), (7.0, 3)]
    seen.clear()
    # More than the chain needs is no reason to show it.
    compute(chain, Span(0, 4, 8, 0, 20), recording[:20].tobytes(), chunk_frames=4, order=FORWARD, before=1, after=2)
    assert seen == [(3.0, 7)]


# Cuts and order


@pytest.mark.parametrize("chunk_frames", [1, 2, 3, 6, 7, 8, 100])
@pytest.mark.parametrize(("name", "start"), [("f32le", 0), ("s16be", 700)])
def test_a_bundle_is_the_same_as_its_chunks_one_by_one(users, name, chunk_frames, start):
    start -= start % chunk_frames
    chain = build(["invert", "zt_compute:mean"], name, 2, users)
    array = samples(name, range(14), 2)
    chunks = [chain(array[first : first + chunk_frames].tobytes()) for first in range(0, 7, chunk_frames)]
    sys.modules["zt_compute"].seen.clear()
    result = compute(chain, whole(array, start=start), array.tobytes(), chunk_frames=chunk_frames, order=FORWARD)
    assert result.tobytes() == b"".join(chunk.tobytes() for chunk in chunks)
    assert len(sys.modules["zt_compute"].seen) == len(chunks), "each chunk is a call of its own"


def test_cuts_lie_on_the_grid_of_the_recording(users):
    chain = build("zt_compute:mean", "f32le", 1, users)
    array = samples("f32le", range(9))
    compute(chain, whole(array, start=10), array.tobytes(), chunk_frames=4, order=FORWARD)
    assert sys.modules["zt_compute"].seen == [(0.0, 2), (2.0, 4), (6.0, 3)]


def test_an_empty_chunk_is_a_call_too(users):
    assert compute(build("invert"), Span(0, 8, 8, 8, 8), b"", chunk_frames=4, order=REVERSED).nbytes == 0
    compute(build("zt_compute:mean", allowed=users), Span(0, 0, 0, 0, 0), b"", chunk_frames=4, order=FORWARD)
    assert sys.modules["zt_compute"].seen == [(None, 0)]


@pytest.mark.parametrize("name", ["s16le", "f32be", "f64le"])
@pytest.mark.parametrize(("channels", "chunk_frames"), [(1, 7), (2, 100), (3, 7)])
def test_order_turns_frames_and_leaves_channels(name, channels, chunk_frames):
    chain = build("invert", name, channels)
    for frames in (1, 2, 61):
        array = samples(name, np.random.default_rng(2).integers(-99, 99, frames * channels), channels)
        for order, expected in ((FORWARD, -array), (REVERSED, -array[::-1])):
            result = compute(chain, whole(array), array.tobytes(), chunk_frames=chunk_frames, order=order)
            assert result.tobytes() == expected.astype(array.dtype).tobytes()


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("chunk_frames", [2, 100])
def test_a_result_is_written_where_it_is_to_go(order, chunk_frames):
    array = samples("f32le", range(5))
    memory = bytearray(b"." * 28)
    into = memoryview(memory)[4:24]
    chain = build("invert")
    result = compute(chain, whole(array), array.tobytes(), chunk_frames=chunk_frames, order=order, into=into)
    assert result is into
    assert memory == b"...." + (-array[::-1] if order is REVERSED else -array).tobytes() + b"...."


@pytest.mark.parametrize("chunk_frames", [2, 100])
def test_the_payload_is_neither_written_to_nor_part_of_the_result(users, chunk_frames):
    array = samples("f32le", range(5))
    payload = bytearray(array.tobytes())
    chain = build("zt_compute:picky", allowed=users)
    result = compute(chain, whole(array), payload, chunk_frames=chunk_frames, order=FORWARD)
    assert payload == array.tobytes()
    payload[:] = bytes(20)
    assert result.tobytes() == array.tobytes()


# Failures


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize(
    ("bad", "chunk_frames", "place"),
    [(0, 4, (100, 104)), (5, 4, (104, 108)), (9, 4, (108, 110)), (9, 100, (100, 110)), (9, 10, (100, 110))],
)
def test_a_failure_says_on_which_frames_of_the_recording(users, bad, chunk_frames, place, order):
    array = samples("f32le", [13 if frame == bad else 0 for frame in range(10)])
    chain = build("zt_compute:picky", allowed=users)
    with pytest.raises(ChunkFailed) as caught:
        compute(chain, whole(array, start=100), array.tobytes(), chunk_frames=chunk_frames, order=order)
    assert (caught.value.start, caught.value.stop) == place
    assert type(caught.value.__cause__) is ValueError
    assert str(caught.value.__cause__) == "no thirteen"


@pytest.mark.parametrize(
    ("bad", "place"), [(98, (100, 104)), (99, (100, 104)), (104, (100, 104)), (107, (104, 108)), (110, (108, 110))]
)
def test_a_failure_in_the_context_is_that_of_the_first_chunk_that_sees_it(users, bad, place):
    array = samples("f32le", [13 if frame == bad else 0 for frame in range(98, 111)])
    chain = build("zt_compute:picky", allowed=users)
    bundle = Span(0, 100, 110, 98, 111)
    with pytest.raises(ChunkFailed) as caught:
        compute(chain, bundle, array.tobytes(), chunk_frames=4, order=REVERSED, before=2, after=1)
    assert (caught.value.start, caught.value.stop) == place


@pytest.mark.parametrize(("chunk_frames", "place"), [(2, (0, 2)), (100, (0, 5))])
@pytest.mark.parametrize(("op", "error"), [("shorter", ValueError), ("leaving", SystemExit)])
def test_whatever_an_op_does_is_a_failure_of_its_chunk(users, op, error, chunk_frames, place):
    array = samples("f32le", range(10), 2)
    chain = build(f"zt_compute:{op}", channels=2, allowed=users)
    with pytest.raises(ChunkFailed) as caught:
        compute(chain, whole(array), array.tobytes(), chunk_frames=chunk_frames, order=REVERSED)
    assert (caught.value.start, caught.value.stop) == place
    assert type(caught.value.__cause__) is error


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "expected 5 frames in the payload, got 0"),
        (32, "expected 5 frames in the payload, got 4"),
        (48, "expected 5 frames in the payload, got 6"),
        (39, "whole frames of 8 bytes, got 39 bytes"),
        (41, "whole frames of 8 bytes, got 41 bytes"),
    ],
)
def test_a_payload_of_another_length_is_refused(size, words):
    with pytest.raises(ValueError, match=words):
        compute(build("invert", channels=2), Span(0, 1, 4, 0, 5), bytes(size), chunk_frames=2, order=REVERSED)


@pytest.mark.parametrize("size", [0, 19, 21])
def test_room_of_another_length_is_refused(size):
    into = memoryview(bytearray(size))
    with pytest.raises(ValueError, match=f"expected 20 bytes of room for the result, got {size}"):
        compute(build("invert"), Span(0, 0, 5, 0, 5), bytes(20), chunk_frames=5, order=REVERSED, into=into)


# The thread


class Woken:
    """Counts how often it was woken."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1


@pytest.fixture
def start():
    computers = []

    def start(work, **settings):
        computers.append(Computer(Woken(), **settings))
        computers[-1].prepare(work)
        computers[-1].start()
        return computers[-1]

    yield start
    for computer in computers:
        computer.stop()
        wait_until(computer.join, "the thread ends")


def work(chain, *, order=REVERSED, recording=None, before=0, after=0):
    return Work(chain, 4, before, after, order, recording)


def grant(index, *, frames=4, slot=-1):
    start = 4 * index
    return Chunk(
        b"j" * 16, 1, b"s" * 16, 1, index, 1, start, start + frames, start, start + frames, 4 * frames, 0, slot
    )


def next_outcomes(computer, count):
    found = []
    wait_until(lambda: found.extend(computer.outcomes()) or len(found) >= count, f"{count} outcomes")
    assert len(found) == count
    return found


def test_outcomes_come_in_the_order_of_their_chunks_and_wake_the_loop(start):
    computer = start(work(build("invert")))
    arrays = [samples("f32le", range(index, index + 4)) for index in range(5)]
    for index, array in enumerate(arrays):
        computer.ask(grant(index), array.tobytes())
    for index, outcome in enumerate(next_outcomes(computer, 5)):
        expected = (-arrays[index][::-1]).tobytes()
        assert (outcome.chunk.index, outcome.error, outcome.slot) == (index, "", -1)
        assert (bytes(outcome.payload), outcome.length) == (expected, 16)
        assert outcome.checksum == xxhash.xxh3_64_intdigest(expected)
        assert 0 <= outcome.seconds < 5
    wait_until(lambda: computer._wake.times == 5, "it was woken for each")


def test_failure_is_an_outcome_with_its_frames_and_the_next_chunk_is_computed(start, users):
    computer = start(work(build("zt_compute:picky", allowed=users)))
    computer.ask(grant(25, frames=10), samples("f32le", [0, 0, 0, 0, 0, 13, 0, 0, 0, 0]).tobytes())
    computer.ask(grant(30), bytes(16))
    failed, done = next_outcomes(computer, 2)
    assert (parted(failed.error)[0].partition(" (")[0], failed.failed) == ("ValueError: no thirteen", (104, 108))
    assert (done.error, bytes(done.payload)) == ("", bytes(16))


def test_failure_before_the_op_is_that_of_the_whole_chunk(start):
    computer = start(work(build("invert")))
    computer.ask(grant(25, frames=10), bytes(36))
    computer.ask(grant(25, frames=10), None)
    short, closed = next_outcomes(computer, 2)
    assert (short.error, short.failed) == ("ValueError: expected 10 frames in the payload, got 9", (100, 110))
    assert (closed.error, closed.failed) == ("the recording: is not open here any more", (100, 110))


def test_what_is_discarded_never_comes_out(start, users):
    computer = start(work(build("zt_compute:waiting", allowed=users)))
    computer.ask(grant(0), bytes(16))
    computer.ask(grant(1), bytes(16))
    assert sys.modules["zt_compute"].begun.wait(10)
    computer.discard()
    sys.modules["zt_compute"].free.set()
    computer.prepare(work(build("invert")))
    computer.ask(grant(2), bytes(16))
    assert [outcome.chunk.index for outcome in next_outcomes(computer, 1)] == [2]


def test_chunks_are_computed_as_was_agreed_when_they_came(start, users):
    computer = start(work(build("zt_compute:waiting", allowed=users), order=FORWARD))
    array = samples("f32le", range(4))
    computer.ask(grant(0), array.tobytes())
    assert sys.modules["zt_compute"].begun.wait(10)
    computer.prepare(work(build("invert")))
    sys.modules["zt_compute"].free.set()
    computer.ask(grant(1), array.tobytes())
    first, second = next_outcomes(computer, 2)
    assert (bytes(first.payload), bytes(second.payload)) == (array.tobytes(), (-array[::-1]).tobytes())


def test_thread_that_is_inside_an_op_is_not_waited_for(start, users):
    computer = start(work(build("zt_compute:waiting", allowed=users)))
    computer.ask(grant(0), bytes(16))
    assert sys.modules["zt_compute"].begun.wait(10)
    computer.stop()
    assert not computer.join()
    sys.modules["zt_compute"].free.set()


def test_thread_that_was_never_started_has_ended():
    assert Computer(Woken()).join()


@pytest.fixture
def outboxes():
    memory = os.memfd_create("test")
    outboxes = Outboxes(memory, 1, 2, 20)
    outboxes.memory = memory
    yield outboxes
    outboxes.close()
    os.close(memory)


def test_result_lies_in_its_slot_if_it_fits_and_there_is_one(start, outboxes):
    outbox = Outbox(outboxes.memory, 0, 2, 20, outboxes.tokens[0])
    computer = start(work(build("invert")), outbox=outbox)
    array = samples("f32le", range(1, 7))
    for slot, frames in ((1, 5), (0, 4), (-1, 4), (0, 6), (255, 4)):
        computer.ask(grant(0, frames=frames, slot=slot), array[:frames].tobytes())
    outcomes = next_outcomes(computer, 5)
    assert [outcome.slot for outcome in outcomes[:4]] == [1, 0, -1, -1]
    assert [outcome.payload is None for outcome in outcomes[:4]] == [True, True, False, False]
    for slot, frames in ((1, 5), (0, 4)):
        found = memoryview(bytearray(4 * frames))
        assert outboxes.copy(outboxes.tokens[0], slot, found)
        assert bytes(found) == (-array[:frames][::-1]).tobytes()
    assert outcomes[4].error == "ValueError: expected 16 bytes of room for the result, got 0"


@pytest.fixture
def refer(tmp_path):
    """Writes samples behind a header to a file; opens it as a worker does."""

    def write(array):
        path = tmp_path / "take.bin"
        path.write_bytes(b"head" + array.tobytes())
        opened = InputFile(str(path))
        reference = opened.reference(4)
        opened.close()
        return lambda: open_recording(reference, [str(tmp_path)], local=True)

    return write


def test_frames_are_read_from_the_recording_with_their_context(start, users, refer):
    array = samples("s32le", np.arange(40) ** 2)
    chain = build("zt_compute:near", "s32le", 1, users)
    computer = start(work(chain, order=FORWARD, recording=refer(array)(), before=2, after=1))
    assert computer.reads
    for span in (Span(0, 0, 12, 0, 13), Span(1, 12, 24, 10, 25), Span(2, 36, 40, 34, 40)):
        ranges = (span.start, span.stop, span.input_start, span.input_stop)
        chunk = Chunk(b"j" * 16, 1, b"s" * 16, 1, span.index, 1, *ranges, span.input_frames * 4, 0, -1)
        computer.ask(chunk, None)
    expected = chain(array.tobytes())
    found = [bytes(outcome.payload) for outcome in next_outcomes(computer, 3)]
    assert found == [expected[start:stop].tobytes() for start, stop in ((0, 12), (12, 24), (36, 40))]


def test_recording_is_closed_by_the_next_work_and_by_the_end(start, refer, tmp_path):
    reopen = refer(samples("f32le", range(16)))

    def is_open():
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return str(tmp_path / "take.bin") in [os.readlink(link) for link in links if os.path.lexists(link)]

    computer = start(work(build("invert"), recording=reopen()))
    assert is_open()
    computer.prepare(work(build("invert")))
    assert not is_open()
    assert not computer.reads
    computer.prepare(work(build("invert"), recording=reopen()))
    computer.stop()
    wait_until(computer.join, "the thread ends")
    assert not is_open()
