"""Arrays on whole farms: the same bits as one process, and nothing left behind."""

import os
import signal
import sys
import threading
from dataclasses import replace

import memory_ops  # noqa: F401  its ops are built in then
import numpy as np
import pytest
from extended import extended, product
from farm_support import LANES, noise, on
from net_support import PATIENCE

import zaudio
from zaudio import Chain, Processing, Signal, Worker, sample_format
from zaudio.audio.arrays import ArraySource
from zaudio.errors import ChunkError
from zaudio.events import Advanced, Measured, Started, State, StateChanged
from zaudio.program import NoCoreDumps

MEASURING = ["memory_ops:same", "highpass:hz=80", "zt_normal:level=1", "gain:db=-3"]
KINDS = {"plain": "invert", "measuring": MEASURING}
TAKES = (1, 2, "f64le"), (2, 1, "s16le"), (3, 3, "f32le")  # workers, channels, format
FAILING = "farm_ops:raises_at"  # where a chunk begins with 0


def chained(x, ops, format):
    frames, channels = x.shape
    return Chain(ops, Signal(frames, channels, 48000, sample_format(format)))(x)


@pytest.fixture
def reads(monkeypatch):
    """The reads of the coordinator itself, which workers that share the array do not need."""
    found = []
    read = ArraySource.read
    monkeypatch.setattr(ArraySource, "read", lambda self, *span: found.append(span) or read(self, *span))
    return found


@pytest.mark.parametrize(
    ("sort", "recording", "lane"),
    product(KINDS, TAKES, LANES, keep=[("plain", TAKES[1], "shared memory"), ("measuring", TAKES[2], "sockets")]),
)
def test_a_farm_gives_the_bits_of_a_chain(sort, recording, lane, reads):
    ops = KINDS[sort]
    workers, channels, format = recording
    x = noise(200_003, channels=channels, format=format)
    kept = x.copy()
    y = zaudio.process(x, 48000, ops, workers=workers, chunk="70000f", **LANES[lane])
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.tobytes() == chained(x, ops, format).tobytes()
    assert (x == kept).all()
    if sys.platform == "linux":
        assert bool(reads) == (lane == "sockets")


@on("shared memory")
@pytest.mark.parametrize(
    ("frames", "ops"), [(1, MEASURING), *(extended(*case) for case in ((0, "invert"), (1, "invert"), (0, MEASURING)))]
)
def test_the_shortest_arrays_come_back(frames, ops, lane):
    x = noise(frames, channels=2, format="s16le")
    y = zaudio.process(x, 48000, ops, workers=2, **lane)
    assert (y.shape, y.tobytes()) == ((frames, 2), chained(x, ops, "s16le").tobytes())


@on("shared memory")
@pytest.mark.parametrize("chunk", [*map(extended, ("1000000f", "8MiB")), "997f"])
def test_a_chunk_may_be_longer_than_the_array_or_very_short(chunk, lane):
    x = noise(50_000)
    y = zaudio.process(x[:, 0], 48000, "gain:db=-3", workers=2, chunk=chunk, **lane)
    assert y.shape == (50_000,)
    assert y.tobytes() == chained(x, "gain:db=-3", "f32le").tobytes()


@on("shared memory")
def test_a_result_may_have_another_length_and_other_channels(lane):
    x = noise(100_000, channels=2)
    ops = ["remix:to=mono", "resample:hz=16000"]
    y = zaudio.process(x, 48000, ops, workers=2, **lane)
    expected = chained(x, ops, "f32le")
    assert (y.shape, y.tobytes()) == (expected.shape, expected.tobytes())


@pytest.mark.extended
def test_workers_get_samples_over_sockets_while_core_dumps_are_off(reads):
    x = noise(100_000)
    with NoCoreDumps():
        assert (zaudio.process(x, 48000, "invert", workers=1) == -x).all()
    assert reads or os.geteuid() == 0  # the system lets root in


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no anonymous memory here")
@pytest.mark.parametrize("path", ["/nowhere/fd/3", *map(extended, ("/proc/1/fd/0", "/dev/null"))])
def test_workers_that_cannot_open_the_shared_array_get_samples_over_sockets(reads, monkeypatch, path):
    make = ArraySource.__init__

    def make_elsewhere(self, *arguments, **settings):
        make(self, *arguments, **settings)
        self.reference = replace(self.reference, path=path)

    monkeypatch.setattr(ArraySource, "__init__", make_elsewhere)
    x = noise(100_000)
    assert (zaudio.process(x, 48000, "invert", workers=1) == -x).all()
    assert reads


def test_workers_from_elsewhere_take_part():
    x = noise(300_000)
    job = Processing(x, 48000, "invert", bind="tcp://127.0.0.1:0", chunk="10000f")
    with job:
        worker = Worker(job.endpoint, once=True)
        thread = threading.Thread(target=worker.run)
        thread.start()
        y = job.wait(PATIENCE)
    thread.join()
    assert (y == -x).all()
    assert (job.state, job.progress.fraction) == (State.DONE, 1.0)


@pytest.mark.extended
def test_events_tell_of_an_array_as_of_a_job():
    events = []
    x = noise(300_000)
    zaudio.process(x, 48000, "loudnorm", workers=2, on_event=events.append)
    assert isinstance(events[0], Started)
    assert (events[0].frames, events[0].format, events[0].order) == (300_000, "f32le", "forward")
    assert any(isinstance(event, Measured) for event in events)
    assert [event.state for event in events if isinstance(event, StateChanged)] == ["running", "done"]
    assert max(event.bytes for event in events if isinstance(event, Advanced)) == x.nbytes


@on("sockets")
def test_an_op_that_fails_ends_it_with_its_sentence(lane):
    with pytest.raises(ChunkError, match="there is a 0 on track one"):
        zaudio.process(np.zeros(1000), 48000, FAILING, workers=1, **lane)


def test_ctrl_c_ends_it_and_leaves_nothing():
    x, pressed = noise(100_000), threading.Event()

    def press(event):
        if isinstance(event, Advanced) and not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        zaudio.process(x, 48000, "farm_ops:slow:ms=20", workers=2, chunk="100f", on_event=press)
