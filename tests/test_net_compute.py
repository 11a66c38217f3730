"""`compute`: every cut gives what the whole gives, an op sees its chunk or its block, failures have places."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
from net_support import Near, graph, own_graph

from zaudio.formats import sample_format
from zaudio.net.compute import ChunkFailed, compute
from zaudio.ops.contract import Kernel
from zaudio.ops.functions import import_allowed
from zaudio.plan import Order, Plan, Span

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
    free.wait(60)
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


def samples(name, values, channels=1):
    return np.array(values, sample_format(name).dtype).reshape(-1, channels)


def whole(array, *, start=0):
    """The span of an array that begins at that frame of the recording and has no context."""
    return Span(0, start, start + len(array), start, start + len(array))


def output(graph, array, chunk_frames, order=REVERSED, bundled=1):
    """What a farm would make of the recording: every chunk of the plan, in output order."""
    plan = Plan(graph.output.frames, chunk_frames, order, graph.needs).in_bundles(bundled)
    results = []
    for span in map(plan.span, range(len(plan))):
        payload = array[span.input_start : span.input_stop].tobytes()
        results.append(compute(graph, span, payload, chunk_frames=chunk_frames, order=order))
        assert results[-1].nbytes == span.frames * graph.output.frame_bytes
    return b"".join(results)


# Geometry


@dataclass(frozen=True)
class Sums(Kernel):
    """The sum of a block of five frames, at each of them: it starts afresh at every block."""

    name = "sums"

    def grid(self, signal):
        return 5

    def apply(self, samples, place, state):
        low = place.start // 5 * 5
        sums = np.add.reduceat(samples, range(0, len(samples), 5), axis=0)
        return np.repeat(sums, 5, axis=0)[place.start - low : place.stop - low]


@dataclass(frozen=True)
class Doubled(Kernel):
    """Each frame twice."""

    name = "doubled"

    def signal(self, before):
        return type(before)(2 * before.frames, before.channels, 2 * before.samplerate, before.format)

    def needs(self, start, stop, signal):
        return start // 2, -(-stop // 2)

    def source_frame(self, frame, signal):
        return frame // 2

    def apply(self, samples, place, state):
        first = 2 * (place.start // 2)
        return np.repeat(samples, 2, axis=0)[place.start - first : place.stop - first]


@pytest.mark.parametrize("chunk_frames", [1, 2, 3, 7, 12, 13, 14])
@pytest.mark.parametrize(
    ("order", "name", "channels"), [(REVERSED, "s32le", 2), (FORWARD, "s16be", 1), (REVERSED, "s16le", 3)]
)
@pytest.mark.parametrize("ops", [[Near()], [Doubled()], [Near(), Doubled(), Near()]])
def test_context_and_length_are_exact_for_any_chunk_size_bundled_or_not(ops, chunk_frames, order, name, channels):
    for frames in (0, 1, 2, 3, 4, 12, 13, 14):
        recording = samples(name, np.arange(1, channels * frames + 1), channels)
        whole = own_graph(ops, name, channels, frames)
        expected = whole(recording, 0, 0, whole.output.frames)
        expected = expected[::-1] if order is REVERSED else expected
        for bundled in (1, 2, 3, 100):
            found = output(own_graph(ops, name, channels, frames), recording, chunk_frames, order, bundled)
            assert found == expected.tobytes()


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("frames", [0, 1, 4, 5, 6, 19, 20, 21, 37])
def test_chunks_of_whole_blocks_are_exact_on_a_grid(frames, order):
    recording = samples("s32le", np.arange(1, frames + 1) ** 2)
    expected = np.repeat([recording[low : low + 5].sum() for low in range(0, frames, 5)], 5)[:frames].astype("<i4")
    expected = expected[::-1] if order is REVERSED else expected
    for blocks in (1, 2, 3, 100):
        assert (
            output(own_graph([Sums()], "s32le", 1, frames, grid=5), recording, 5 * blocks, order) == expected.tobytes()
        )


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 5), (3, 10), (5, 12), (10, 14)])
def test_part_of_a_block_is_refused(start, stop):
    on_grid = own_graph([Sums()], "s32le", 1, 13, grid=5)
    with pytest.raises(ValueError, match=f"expected (whole blocks of 5 frames, got {start}|frames of an output of 13)"):
        compute(on_grid, Span(0, start, stop, start, stop), bytes(52), chunk_frames=5, order=REVERSED)


@pytest.mark.parametrize("ranges", [(5, 10, 5, 10), (5, 10, 2, 11), (5, 10, 3, 12), (0, 5, 0, 5), (8, 13, 6, 14)])
def test_a_range_that_is_not_the_one_that_is_needed_is_refused(ranges):
    near = own_graph([Near()], "s32le", 1, 13)
    first, last = near.needs(*ranges[:2])
    with pytest.raises(ValueError, match=f"frames {ranges[0]} to {ranges[1]} need frames {first} to {last} of the rec"):
        compute(near, Span(0, *ranges), bytes(4 * (ranges[3] - ranges[2])), chunk_frames=5, order=REVERSED)


def test_frames_beyond_the_end_are_refused():
    with pytest.raises(ValueError, match="expected frames of an output of 13, got 10 to 14"):
        compute(graph("invert", frames=13), Span(0, 10, 14, 10, 14), bytes(16), chunk_frames=5, order=REVERSED)


def test_samples_that_something_happened_to_are_counted():
    loud = graph([("gain", (("factor", 4.0),))], "s16le", frames=4)
    array = samples("s16le", [1, 20000, -20000, 3])
    compute(loud, whole(array), array.tobytes(), chunk_frames=4, order=REVERSED)
    assert (loud.counts.clipped, loud.counts.zeroed) == (2, 0)
    near = own_graph([Near()], "f32le", 1, 4)
    array = samples("f32le", [1, np.nan, np.inf, 3])
    compute(near, whole(array), array.tobytes(), chunk_frames=4, order=REVERSED)
    assert (near.counts.clipped, near.counts.zeroed) == (0, 2)


# Cuts and order


@pytest.mark.parametrize("chunk_frames", [1, 2, 3, 6, 7, 8, 100])
@pytest.mark.parametrize(("name", "start"), [("f32le", 0), ("s16be", 700)])
def test_a_bundle_is_the_same_as_its_chunks_one_by_one(users, name, chunk_frames, start):
    start -= start % chunk_frames
    chain = graph(["invert", "zt_compute:mean"], name, 2, allowed=users)
    array = samples(name, range(14), 2)
    cuts = [(first, min(first + chunk_frames, 7)) for first in range(0, 7, chunk_frames)]
    chunks = [chain(array, start, start + first, start + last) for first, last in cuts]
    sys.modules["zt_compute"].seen.clear()
    result = compute(chain, whole(array, start=start), array.tobytes(), chunk_frames=chunk_frames, order=FORWARD)
    assert result.tobytes() == b"".join(chunk.tobytes() for chunk in chunks)
    assert len(sys.modules["zt_compute"].seen) == len(chunks), "each chunk is a call of its own"


def test_cuts_are_multiples_of_the_chunk(users):
    chain = graph("zt_compute:mean", allowed=users)
    array = samples("f32le", range(9))
    compute(chain, whole(array, start=10), array.tobytes(), chunk_frames=4, order=FORWARD)
    assert sys.modules["zt_compute"].seen == [(0.0, 2), (2.0, 4), (6.0, 3)]


def test_an_empty_chunk_has_an_empty_result(users):
    for chain in (graph("invert"), graph("zt_compute:mean", allowed=users), own_graph([Near()], "f32le", 1, 100)):
        assert compute(chain, Span(0, 8, 8, 8, 8), b"", chunk_frames=4, order=REVERSED).nbytes == 0


@pytest.mark.parametrize("name", ["s16le", "f32be", "f64le"])
@pytest.mark.parametrize(("channels", "chunk_frames"), [(1, 7), (2, 100), (3, 7)])
def test_order_turns_frames_and_leaves_channels(name, channels, chunk_frames):
    chain = graph("invert", name, channels)
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
    chain = graph("invert")
    result = compute(chain, whole(array), array.tobytes(), chunk_frames=chunk_frames, order=order, into=into)
    assert result is into
    assert memory == b"...." + (-array[::-1] if order is REVERSED else -array).tobytes() + b"...."


@pytest.mark.parametrize("chunk_frames", [2, 100])
def test_the_payload_is_neither_written_to_nor_part_of_the_result(users, chunk_frames):
    array = samples("f32le", range(5))
    payload = bytearray(array.tobytes())
    chain = graph("zt_compute:picky", allowed=users)
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
    chain = graph("zt_compute:picky", allowed=users)
    with pytest.raises(ChunkFailed) as caught:
        compute(chain, whole(array, start=100), array.tobytes(), chunk_frames=chunk_frames, order=order)
    assert (caught.value.start, caught.value.stop) == place
    assert type(caught.value.__cause__) is ValueError
    assert str(caught.value.__cause__) == "no thirteen"


@pytest.mark.parametrize(("chunk_frames", "place"), [(2, (0, 2)), (100, (0, 5))])
@pytest.mark.parametrize(("op", "error"), [("shorter", ValueError), ("leaving", SystemExit)])
def test_whatever_an_op_does_is_a_failure_of_its_chunk(users, op, error, chunk_frames, place):
    array = samples("f32le", range(10), 2)
    chain = graph(f"zt_compute:{op}", channels=2, allowed=users)
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
        compute(graph("invert", channels=2), Span(0, 0, 5, 0, 5), bytes(size), chunk_frames=2, order=REVERSED)


@pytest.mark.parametrize("size", [0, 19, 21])
def test_room_of_another_length_is_refused(size):
    into = memoryview(bytearray(size))
    with pytest.raises(ValueError, match=f"expected 20 bytes of room for the result, got {size}"):
        compute(graph("invert"), Span(0, 0, 5, 0, 5), bytes(20), chunk_frames=5, order=REVERSED, into=into)
