"""Stage: what the Desk decided is told before it is done."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from core_support import SINKS, job, route, session, sink

from zaudio import events
from zaudio.core.actions import Liar
from zaudio.core.desk import Desk
from zaudio.core.job import Ways
from zaudio.core.register import Register
from zaudio.errors import StorageError
from zaudio.net.stage import Stage
from zaudio.plan import Plan
from zaudio.wire.messages import VERSION, Chunk, Heartbeat, Hello, Ready


class Recording:
    """Frames of four bytes, as the job says."""

    def read(self, start, stop):
        return bytes(4 * (stop - start))

    def check(self):
        pass


class Destination:
    """Takes payloads, and is done with none of them."""

    finished, sealed, error = 0, False, None

    def put(self, payload):
        pass


class Bench:
    """A stage with its Desk, and ears for what it sends and tells."""

    def __init__(self, *, keys="", frame_bytes=1, plan=None, **of_job):
        self.told, self.sent = [], []
        self.reachable = True  # whether a chunk can be sent
        self.closed = set()  # sessions to which no heartbeat can be sent
        stage_job = job(4, **of_job)
        if plan is not None:
            stage_job = replace(stage_job, plan=plan)
        self.desk = Desk(
            stage_job,
            ways=Ways(SINKS),
            register=Register(),
            frame_bytes=frame_bytes,
            offers=lambda ops, name: True,
            now=0.0,
        )
        self.destination = Destination()
        self.stage = Stage(
            stage_job,
            sources=(Recording(),),
            destination=self.destination,
            frame_bytes=frame_bytes,
            notify=lambda: None,
            publish=self.told.append,
        )
        self.stage.open(self.desk, Ways(SINKS), self._send, None, keys=keys)

    def _send(self, peer, sent, payload):
        self.sent.append(sent)
        if isinstance(sent, Heartbeat):
            return sent.session not in self.closed
        return self.reachable or not isinstance(sent, Chunk)

    def join(self, name):
        """A worker comes that reads the recording itself."""
        hello = Hello(VERSION, session(name), name, 1, "host", "software", ("invert",), (), b"")
        self.stage.receive(route(name), hello, None, now=0.0)
        ready = Ready(self.stage.job.id, 1, session(name), 0, (), True)
        self.stage.receive(sink(name), ready, None, now=0.0)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.stage.close()


def test_a_grant_that_cannot_be_sent_is_told_before_it_is_taken_back(bench):
    bench.reachable = False
    bench.join("a")
    granted = [event for event in bench.told if isinstance(event, events.Granted | events.Requeued)]
    first = [event for event in granted if event.chunk == granted[0].chunk]
    assert [type(event) for event in first] == [events.Granted, events.Requeued]


def test_chunks_of_a_worker_whose_connections_are_closed_are_granted_to_the_next_that_is_free(bench):
    bench.join("a")
    bench.closed.add(session("a"))
    bench.stage.tick(now=0.2)  # heartbeats are due
    bench.sent.clear()
    bench.join("b")
    granted = [message for message in bench.sent if isinstance(message, Chunk)]
    assert [(chunk.index, chunk.attempt) for chunk in granted] == [(0, 2), (1, 2)]


def test_a_grant_names_the_bytes_of_its_input_and_awaits_those_of_its_output():
    """Twice as many frames come out as go in, of three bytes in place of four."""
    plan = Plan(32, 8, needs=lambda start, stop: (start // 2, stop // 2))
    bench = Bench(plan=plan, frame_bytes=3)
    bench.join("a")
    granted = [message for message in bench.sent if isinstance(message, Chunk)]
    assert [(chunk.start, chunk.stop, chunk.input_start, chunk.input_stop) for chunk in granted] == [
        (24, 32, 12, 16),
        (16, 24, 8, 12),
    ]
    assert {chunk.length for chunk in granted} == {16}
    assert bench.stage.result_max == 24
    bench.stage.close()


def test_a_stage_whose_destination_failed_seals_nothing():
    bench = Bench(first=4)  # all is done, so it would seal
    bench.destination.error = StorageError("out", "no space left")
    bench.destination.seal = lambda: pytest.fail("it was sealed")
    with pytest.raises(StorageError, match="no space left"):
        bench.stage.turn(0.0)
    bench.stage.close()


# Liars


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("studio-2", "; `zaudio keys revoke studio-2 --keys 'my keys'` keeps its key out of other jobs too"),
        ("", ""),
    ],
)
def test_a_dropped_worker_is_named_with_the_command_that_keeps_its_key_out(monkeypatch, caplog, key, remedy):
    bench = Bench(keys="my keys")
    bench.join("a")
    monkeypatch.setattr(bench.desk, "key", lambda _: key)
    monkeypatch.setattr(bench.stage, "_teller", SimpleNamespace(tell=lambda *_: None))
    bench.stage.do([Liar(session("a"), "a", 2)])
    bench.stage.close()
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == f"worker a was dropped: its result of chunk 2 is not that of two others{remedy}"
