"""Farm: several stages one after another, with peers that speak the protocol by hand."""

import threading

import pytest
import xxhash
import zmq
from core_support import job, session
from net_support import PATIENCE, wait_until

from zaudio import events
from zaudio.errors import StoppedError
from zaudio.net.farm import Endpoints, Farm
from zaudio.net.stage import Stage
from zaudio.net.wake import Waker
from zaudio.wire.codec import TO_WORKER, decode, encode
from zaudio.wire.messages import VERSION, Again, Channel, Chunk, Goodbye, Hello, Ready, Result, Welcome

CHUNKS = 4


class Recording:
    """Frames of four bytes, as the job says."""

    def read(self, start, stop):
        return bytes(4 * (stop - start))

    def check(self):
        pass


class Destination:
    """Is done with a payload as soon as it has it."""

    spent = (0.0, 0.0)

    def __init__(self):
        self.finished, self.sealed, self.error = 0, False, None

    def put(self, payload):
        self.finished += 1

    def seal(self):
        self.sealed = True


class Hand(threading.Thread):
    """A worker that does what comes, but for what the test tells it to leave; and keeps all that it hears."""

    def __init__(self, farm, name, *, answers_again=True):
        super().__init__(daemon=True)
        self.name_, self.answers_again = name, answers_again
        self.endpoint, self.sink_endpoint = farm.endpoint, farm.sink_endpoint
        self.heard, self.results = [], []
        self.late = None  # a result that it sends once more, in front of its next ready
        self.over = threading.Event()

    def run(self):
        with zmq.Context() as context:
            self.ventilator, self.sink = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
            for socket, endpoint in ((self.ventilator, self.endpoint), (self.sink, self.sink_endpoint)):
                socket.linger = 0
                socket.connect(endpoint)
            self.hello()
            while not self.over.is_set():
                for socket, channel in ((self.ventilator, Channel.VENTILATOR), (self.sink, Channel.SINK)):
                    if socket.poll(2):
                        self.hear(decode(socket.recv_multipart(), TO_WORKER[channel]))
            self.ventilator.close()
            self.sink.close()

    def hello(self):
        hello = Hello(VERSION, session(self.name_), self.name_, 1, "host", "software", ("invert",), (), b"")
        self.ventilator.send_multipart(encode(hello))

    def hear(self, message):
        self.heard.append(message)
        match message:
            case Welcome():
                if self.late is not None:
                    self.sink.send_multipart(encode(self.late, bytes(self.late.length)))
                ready = Ready(message.job, message.incarnation, message.session, 0, (), False)
                self.sink.send_multipart(encode(ready))
            case Again() if self.answers_again:
                self.hello()
            case Chunk():
                length = message.stop - message.start
                names = (message.job, message.incarnation, message.session, message.index, message.attempt)
                result = Result(*names, length, xxhash.xxh3_64_intdigest(bytes(length)), 0.1, -1)
                self.results.append(result)
                self.sink.send_multipart(encode(result, bytes(length)))

    def end(self):
        self.over.set()
        self.join(PATIENCE)

    def has(self, kind):
        return [message for message in self.heard if isinstance(message, kind)]


@pytest.fixture
def told():
    return []


@pytest.fixture
def farm():
    waker = Waker()
    return Farm(Endpoints("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"), result_max=100, waker=waker)


def stage(publish, number):
    """A stage that is a job of its own."""
    return Stage(
        job(CHUNKS, job_id=bytes([number]) * 16),
        sources=(Recording(),),
        destination=Destination(),
        frame_bytes=1,
        notify=lambda: None,
        publish=publish,
        name=f"stage {number}",
    )


def test_a_late_result_of_an_earlier_stage_is_refused_and_its_worker_goes_on(farm, told):
    with farm:
        hand = Hand(farm, "a")
        hand.start()
        farm.run(stage(told.append, 1))
        hand.late = hand.results[-1]
        farm.run(stage(told.append, 2))
        hand.end()
    assert len(hand.has(Again)) >= 1
    refused = {(event.stage, event.reason) for event in told if isinstance(event, events.Rejected)}
    assert refused == {("stage 2", "it belongs to another job")}
    accepted = [event for event in told if isinstance(event, events.Accepted)]
    assert [event.stage for event in accepted] == CHUNKS * ["stage 1"] + CHUNKS * ["stage 2"]


def test_a_worker_that_missed_the_last_stage_is_told_goodbye_all_the_same(farm, told):
    with farm:
        slow, quick = Hand(farm, "slow", answers_again=False), Hand(farm, "quick")

        def tell(event):
            if isinstance(event, events.Welcomed) and event.worker == "slow":
                quick.start()  # not before: alone it could end the first stage

        slow.start()
        farm.run(stage(tell, 1))
        farm.run(stage(told.append, 2))
    for hand, number in ((slow, 1), (quick, 2)):
        goodbyes = wait_until(lambda hand=hand: hand.has(Goodbye), "it is told that the job is over")
        assert bytes([number]) * 16 in [goodbye.job for goodbye in goodbyes]
        hand.end()


def test_no_stage_begins_on_a_farm_that_was_stopped(farm, told):
    begun = []
    with farm:
        farm.stop()
        with pytest.raises(StoppedError):
            farm.run(stage(told.append, 1), on_open=lambda: begun.append(True))
    assert not begun
