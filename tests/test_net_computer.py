"""The Computer: work and chunks go in, outcomes come out in their order; ops are set up in its thread."""

import os
import sys
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import xxhash
from net_support import Near, graph, own_graph, wait_until

from zaudio.audio.files import InputFile
from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.net.computer import Computer, Prepared, Work
from zaudio.net.failure import parted
from zaudio.net.outbox import Outbox, Outboxes
from zaudio.net.recording import open_recording
from zaudio.ops.contract import Kernel
from zaudio.ops.functions import import_allowed
from zaudio.plan import Order, Span
from zaudio.steps import Step
from zaudio.wire.messages import Chunk

REVERSED, FORWARD = Order.REVERSED, Order.FORWARD

USERS = """
import threading

begun, free = threading.Event(), threading.Event()

def picky(x):
    if 13 in x:
        raise ValueError("no thirteen")
    return x

def waiting(x):
    begun.set()
    free.wait(60)
    return x
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "zt_computer.py").write_text(USERS)
    yield import_allowed(["zt_computer"])
    del sys.modules["zt_computer"]


def samples(name, values, channels=1):
    return np.array(values, sample_format(name).dtype).reshape(-1, channels)


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
        assert told(next_outcomes(computers[-1], 1)) == [Prepared(0, 1)]
        return computers[-1]

    yield start
    for computer in computers:
        computer.stop()
        wait_until(computer.join, "the thread ends")


def work(chain, *, order=REVERSED, recording=None, steps=None):
    steps = steps or tuple(Step(f"op{number}") for number in range(len(chain.ops)))
    return Work(chain, steps, 4, order, recording)


def grant(index, *, frames=4, slot=-1, item=4):
    start = 4 * index
    ranges = (start, start + frames, start, start + frames)
    return Chunk(b"j" * 16, 1, b"s" * 16, 1, index, 1, *ranges, item * frames, 0, slot)


def next_outcomes(computer, count):
    found = []
    wait_until(lambda: found.extend(computer.outcomes()) or len(found) >= count, f"{count} outcomes")
    assert len(found) == count
    return found


def told(outcomes):
    """The outcomes without the numbers of the ops."""
    return [replace(outcome, numbers=()) if isinstance(outcome, Prepared) else outcome for outcome in outcomes]


def test_outcomes_come_in_the_order_of_their_chunks_and_wake_the_loop(start):
    computer = start(work(graph("invert")))
    arrays = [samples("f32le", range(index, index + 4)) for index in range(5)]
    for index, array in enumerate(arrays):
        computer.ask(grant(index), array.tobytes())
    for index, outcome in enumerate(next_outcomes(computer, 5)):
        expected = (-arrays[index][::-1]).tobytes()
        assert (outcome.chunk.index, outcome.error, outcome.slot) == (index, "", -1)
        assert (bytes(outcome.payload), outcome.length) == (expected, 16)
        assert outcome.checksum == xxhash.xxh3_64_intdigest(expected)
        assert 0 <= outcome.seconds < 5
    wait_until(lambda: computer._wake.times == 6, "it was woken for each, and when the op was set up")


def test_failure_is_an_outcome_with_its_frames_and_the_next_chunk_is_computed(start, users):
    computer = start(work(graph("zt_computer:picky", allowed=users)))
    computer.ask(grant(25, frames=10), samples("f32le", [0, 0, 0, 0, 0, 13, 0, 0, 0, 0]).tobytes())
    computer.ask(grant(30), bytes(16))
    failed, done = next_outcomes(computer, 2)
    assert (parted(failed.error)[0].partition(" (")[0], failed.failed) == ("ValueError: no thirteen", (104, 108))
    assert (done.error, bytes(done.payload)) == ("", bytes(16))


def test_failure_before_the_op_is_that_of_the_whole_chunk(start):
    computer = start(work(graph("invert")))
    computer.ask(grant(25, frames=10), bytes(36))
    computer.ask(grant(25, frames=10), None)
    short, closed = next_outcomes(computer, 2)
    assert (short.error, short.failed) == ("ValueError: expected 10 frames in the payload, got 9", (100, 110))
    assert (closed.error, closed.failed) == ("the recording: is not open here any more", (100, 110))


def test_what_is_discarded_never_comes_out(start, users):
    computer = start(work(graph("zt_computer:waiting", allowed=users)))
    computer.ask(grant(0), bytes(16))
    computer.ask(grant(1), bytes(16))
    assert sys.modules["zt_computer"].begun.wait(60)
    computer.discard()
    sys.modules["zt_computer"].free.set()
    computer.prepare(work(graph("invert")))
    computer.ask(grant(2), bytes(16))
    prepared, done = told(next_outcomes(computer, 2))
    assert (prepared, done.chunk.index) == (Prepared(1, 2), 2)


def test_chunks_are_computed_as_was_agreed_when_they_came(start, users):
    computer = start(work(graph("zt_computer:waiting", allowed=users), order=FORWARD))
    array = samples("f32le", range(4))
    computer.ask(grant(0), array.tobytes())
    assert sys.modules["zt_computer"].begun.wait(60)
    computer.prepare(work(graph("invert")))
    sys.modules["zt_computer"].free.set()
    computer.ask(grant(1), array.tobytes())
    first, prepared, second = told(next_outcomes(computer, 3))
    assert prepared == Prepared(0, 2)
    assert (bytes(first.payload), bytes(second.payload)) == (array.tobytes(), (-array[::-1]).tobytes())


def test_thread_that_is_inside_an_op_is_not_waited_for(start, users):
    computer = start(work(graph("zt_computer:waiting", allowed=users)))
    computer.ask(grant(0), bytes(16))
    assert sys.modules["zt_computer"].begun.wait(60)
    computer.stop()
    assert not computer.join()
    sys.modules["zt_computer"].free.set()


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
    computer = start(work(graph("invert")), outbox=outbox)
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


def test_frames_are_read_from_the_recording_with_their_context(start, refer):
    array = samples("s32le", np.arange(40) ** 2)
    chain = own_graph([Near()], "s32le", 1, 40)
    computer = start(work(chain, order=FORWARD, recording=refer(array)()))
    assert computer.reads
    for span in (Span(0, 0, 12, 0, 13), Span(1, 12, 24, 10, 25), Span(2, 36, 40, 34, 40)):
        ranges = (span.start, span.stop, span.input_start, span.input_stop)
        chunk = Chunk(b"j" * 16, 1, b"s" * 16, 1, span.index, 1, *ranges, span.input_frames * 4, 0, -1)
        computer.ask(chunk, None)
    expected = own_graph([Near()], "s32le", 1, 40)(array, 0, 0, 40)
    found = [bytes(outcome.payload) for outcome in next_outcomes(computer, 3)]
    assert found == [expected[start:stop].tobytes() for start, stop in ((0, 12), (12, 24), (36, 40))]


def test_recording_is_closed_by_the_next_work_and_by_the_end(start, refer, tmp_path):
    reopen = refer(samples("f32le", range(16)))

    def is_open():
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return str(tmp_path / "take.bin") in [os.readlink(link) for link in links if os.path.lexists(link)]

    computer = start(work(graph("invert"), recording=reopen()))
    assert is_open()
    computer.prepare(work(graph("invert")))
    assert not is_open()
    assert not computer.reads
    computer.prepare(work(graph("invert"), recording=reopen()))
    computer.stop()
    wait_until(computer.join, "the thread ends")
    assert not is_open()


# Setups


@dataclass(frozen=True)
class Loaded(Kernel):
    """An op with a setup, which adds the value that it made."""

    name = "loaded"
    made: object = None  # a function of the signal

    def setup(self, signal):
        return self.made(signal)

    def apply(self, samples, place, state):
        samples += state
        return samples


def loaded(made, frames=100):
    return own_graph([Loaded(made)], "f32le", 1, frames)


def test_ops_are_set_up_in_the_thread_before_the_first_chunk_and_once(start):
    threads = []

    def made(signal):
        threads.append(threading.current_thread().name)
        return signal.frames

    computer = start(work(loaded(made)))
    for index in (0, 1):
        computer.ask(grant(index), bytes(16))
    first, second = next_outcomes(computer, 2)
    assert threads == ["zaudio-compute"]
    assert np.frombuffer(first.payload, "<f4").tolist() == np.frombuffer(second.payload, "<f4").tolist() == [100.0] * 4


def test_what_an_equal_op_made_for_an_equal_signal_is_used_again(start):
    calls = []

    def made(signal):
        calls.append(signal.frames)
        return len(calls)

    steps = (Step("loaded", (("model", "a"),)),)
    computer = start(work(loaded(made), steps=steps))
    others = (Step("loaded"),)
    for frames, other, expected in ((100, steps, 1), (101, steps, 1), (100, others, 2), (100, steps, 3)):
        computer.discard()
        computer.prepare(work(loaded(made, frames), steps=other))
        computer.ask(grant(0), bytes(16))
        prepared, done = next_outcomes(computer, 2)
        assert prepared.error == ""
        assert np.frombuffer(done.payload, "<f4").tolist() == [expected] * 4, "that of the last job alone is kept"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UsageError("op loaded needs scipy"), "op loaded needs scipy"),
        (OSError("no model"), "op mine:loaded: its setup failed: OSError: no model"),
        (SystemExit(3), "op mine:loaded: its setup failed: SystemExit: 3"),
    ],
)
def test_a_setup_that_raises_is_told_with_the_name_of_its_op(error, sentence):
    def made(signal):
        raise error

    computer = Computer(Woken())
    computer.prepare(work(loaded(made), steps=(Step("mine:loaded"),)))
    computer.start()
    [prepared] = next_outcomes(computer, 1)
    assert prepared.error.partition(" (")[0] == sentence
    computer.stop()
    wait_until(computer.join, "the thread ends")


def test_a_preparation_that_another_took_the_place_of_is_not_told(start):
    begun, free = threading.Event(), threading.Event()

    def slow(signal):
        begun.set()
        assert free.wait(60)

    computer = start(work(graph("invert")))
    computer.prepare(work(loaded(slow), steps=(Step("slow"),)))
    assert begun.wait(60)
    computer.prepare(work(graph("invert")))
    free.set()
    assert told(next_outcomes(computer, 1)) == [Prepared(0, 3)]


def test_counts_are_those_of_a_chunk_alone(start):
    computer = start(work(graph([("gain", (("factor", 4.0),))], "s16le")))
    array = samples("s16le", [20000] * 4)
    computer.ask(grant(0, item=2), array.tobytes())
    computer.ask(grant(1, item=2), array.tobytes())
    computer.ask(grant(2, item=2), bytes(8))
    assert [outcome.clipped for outcome in next_outcomes(computer, 3)] == [4, 4, 0]
