"""The two threads, with a cipher that changes nothing: what comes out is what was put in."""

import threading
from types import SimpleNamespace

import pytest
from result_support import Bell, pattern

from zaudio.result import pipeline as subject
from zaudio.result.pipeline import Pipeline


def copy(piece, buffer):
    buffer[: len(piece)] = piece
    return len(piece)


class Run:
    """A pipeline whose output is kept."""

    def __init__(self, *, encrypt=copy, write=None, complete=None):
        self.bell = Bell()
        self.out = bytearray()
        self.completed = self.left = self.idle = 0
        self.errors = []
        self.pipeline = Pipeline(
            encrypt,
            write=write or self.out.extend,
            complete=complete or self._complete,
            fail=self._fail,
            notify=self.bell,
            idle=self._count_idle,
            leave=self._leave,
        )

    def _count_idle(self):
        self.idle += 1
        self.bell()

    def _leave(self):
        self.left += 1

    def _complete(self):
        self.completed += 1
        self.bell()

    def _fail(self, error):
        self.errors.append(error)
        self.bell()

    def __enter__(self):
        self.pipeline.start()
        return self

    def __exit__(self, *_):
        self.pipeline.stop()
        assert self.pipeline.join(60)

    def put(self, *payloads):
        for payload in payloads:
            self.pipeline.put(memoryview(payload))

    def end(self):
        self.pipeline.end(b"TAIL")
        self.bell.wait_for(lambda: self.completed or self.errors)


@pytest.fixture
def small_rounds(monkeypatch):
    monkeypatch.setattr(subject, "ROUND_BYTES", 64)


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [0, 1, 0], [5] * 40, [64], [65], [16, 16], [15, 17, 1], [300, 1, 2, 77, 1]]
)
def test_payloads_of_any_size_come_out_in_order(sizes):
    chunks = [pattern(size, 1, seed) for seed, size in enumerate(sizes)]
    with Run() as run:
        run.put(*chunks)
        run.end()
        assert run.pipeline.finished == len(chunks)
    assert not run.errors
    assert bytes(run.out) == b"".join(chunks) + b"TAIL"


def test_many_small_payloads_share_a_round():
    lengths = []

    def encrypt(piece, buffer):
        lengths.append(len(piece))
        return copy(piece, buffer)

    run = Run(encrypt=encrypt)
    run.put(*[bytes(4096)] * 1024)  # before the start, so that all of them wait
    with run:
        run.end()
    assert lengths == [1 << 20] * 4 + [4]
    assert run.bell.rings - run.idle == 4 + 1  # storage that waits long rings too


def test_a_large_payload_goes_through_the_same_buffers(monkeypatch):
    monkeypatch.setattr(subject, "ROUND_BYTES", 1000)
    buffers = set()

    def encrypt(piece, buffer):
        buffers.add((id(buffer), len(buffer)))
        return copy(piece, buffer)

    chunk = pattern(5000, 12)
    with Run(encrypt=encrypt) as run:
        run.put(chunk)
        run.end()
    assert bytes(run.out) == chunk + b"TAIL"
    assert len(buffers) <= subject.RING
    assert {size for _, size in buffers} == {1000 + 16}


def test_finished_payloads_are_let_go():
    chunks = [bytearray(pattern(100, 4)) for _ in range(3)]
    with Run() as run:
        run.put(*chunks)
        run.bell.wait_for(lambda: run.pipeline.finished == 3)
        for chunk in chunks:
            chunk.append(0)  # a BufferError while anything refers to it


def test_no_buffer_is_encrypted_into_before_it_was_written():
    in_flight, broken = {}, []

    def encrypt(piece, buffer):
        if id(buffer) in in_flight:
            broken.append(len(in_flight))
        in_flight[id(buffer)] = buffer
        return copy(piece, buffer)

    def write(piece):
        del in_flight[id(piece.obj)]
        out.extend(piece[:4])

    out = bytearray()
    with Run(encrypt=encrypt, write=write) as run:
        run.put(*[bytes([index]) * subject.ROUND_BYTES for index in range(4 * subject.RING)])
        run.end()
    assert not broken
    assert bytes(out) == b"".join(bytes([index] * 4) for index in range(4 * subject.RING)) + b"TAIL"


def test_the_cipher_runs_ahead_of_the_storage_by_the_ring_and_no_more():
    gate, encrypted, written = threading.Event(), [], []

    def encrypt(piece, buffer):
        encrypted.append(len(written))
        if len(encrypted) == subject.RING:
            gate.set()
        return copy(piece, buffer)

    def write(piece):
        assert gate.wait(60)
        written.append(len(encrypted))

    with Run(encrypt=encrypt, write=write) as run:
        run.put(*[bytes(subject.ROUND_BYTES)] * 10)
        run.end()
    assert not run.errors
    assert all(index - done <= subject.RING for index, done in enumerate(encrypted))


@pytest.mark.parametrize("where", ["encrypt", "write", "complete"])
def test_a_failure_anywhere_ends_both_threads_and_is_told_once(where):
    error = OSError(28, "No space left on device")

    def fail(*_):
        raise error

    waiting = bytearray(subject.ROUND_BYTES)
    with Run(**{where: fail}) as run:
        run.put(*[waiting] * 20)
        run.pipeline.end(b"TAIL")
        run.bell.wait_for(lambda: run.errors)
        assert run.pipeline.join(60)
        run.put(waiting)
        assert run.errors == [error]
        assert run.completed == 0
        error.__traceback__ = None  # its frames refer to what was being written
        waiting.append(0)  # all of them were let go, the late one too


@pytest.mark.parametrize("payloads", [0, 1, 20])
def test_stopping_ends_both_threads_without_completion(payloads):
    gate = threading.Event()
    run = Run(write=lambda piece: gate.wait(60))
    with run:
        run.put(*[bytes(subject.ROUND_BYTES)] * payloads)
        run.pipeline.end(b"TAIL") if payloads else None
        run.pipeline.stop()
        run.pipeline.stop()
        gate.set()
        assert run.pipeline.join(60)
    assert run.completed == 0
    assert not run.errors


def test_a_thread_stuck_in_a_call_is_not_waited_for_for_ever():
    gate = threading.Event()
    with Run(write=lambda piece: gate.wait(60)) as run:
        run.put(bytes(4))
        run.pipeline.stop()
        stuck = not run.pipeline.join(0.01)
        gate.set()
    assert stuck or run.pipeline.join(60)


def test_a_pipeline_that_never_started_can_be_stopped():
    run = Run()
    run.pipeline.stop()
    assert run.pipeline.join(0)


def test_the_threads_carry_names():
    with Run():
        assert {"zaudio-cipher", "zaudio-storage"} <= {thread.name for thread in threading.enumerate()}
    assert not {"zaudio-cipher", "zaudio-storage"} & {thread.name for thread in threading.enumerate()}


def test_a_pipeline_that_is_stopped_leaves_once_and_does_not_complete():
    with Run() as run:
        run.put(bytes(100))
        run.bell.wait_for(lambda: run.pipeline.finished == 1)
    assert (run.left, run.completed) == (1, 0)


def test_a_pipeline_that_ends_completes_and_does_not_leave():
    with Run() as run:
        run.put(bytes(100))
        run.end()
    assert (run.left, run.completed) == (0, 1)


def test_a_pipeline_whose_storage_failed_does_not_leave():
    def full(_):
        raise OSError(28, "No space left on device")

    with Run(write=full) as run:
        run.put(bytes(100))
        run.bell.wait_for(lambda: run.errors)
    assert (run.left, run.completed) == (0, 0)


def test_a_pipeline_whose_cipher_failed_leaves_what_was_written():
    def broken(piece, buffer):
        raise RuntimeError("no such cipher")

    with Run(encrypt=broken) as run:
        run.put(bytes(100))
        run.bell.wait_for(lambda: run.errors)
    assert (run.left, run.completed) == (1, 0)


def test_storage_that_waits_is_told_now_and_then(monkeypatch):
    monkeypatch.setattr(subject, "IDLE", 0.01)
    with Run() as run:
        run.bell.wait_for(lambda: run.idle >= 2)


def test_the_seconds_of_the_cipher_are_apart_from_those_that_it_waited_for_the_disk(monkeypatch):
    now, looks = [0.0], []
    asks, disk_is_free = threading.Event(), threading.Event()

    def monotonic():
        looks.append(now[0])
        if len(looks) == 3 * subject.RING + 1:  # three looks a piece: this one is before the ring is waited for
            asks.set()
        return looks[-1]

    def encrypt(piece, buffer):
        now[0] += 1.0
        return copy(piece, buffer)

    monkeypatch.setattr(subject, "time", SimpleNamespace(monotonic=monotonic))
    with Run(encrypt=encrypt, write=lambda piece: disk_is_free.wait(60)) as run:
        for number in range(subject.RING + 1):
            run.bell.wait_for(lambda number=number: run.pipeline.finished == number)  # each a piece of its own
            run.put(b"x")
        assert asks.wait(60)
        now[0] += 5.0
        disk_is_free.set()
        run.bell.wait_for(lambda: run.pipeline.finished == subject.RING + 1)
        assert (run.pipeline.encrypting, run.pipeline.storing) == (subject.RING + 1.0, 5.0)


def test_a_complete_result_leaves_no_ring_behind():
    with Run() as run:
        run.put(b"some", b"more")
        run.end()
        assert run.pipeline._free.empty()
