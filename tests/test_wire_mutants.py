"""80,000 messages that nobody meant, through the codec and the brains: a message or a ProtocolError, nothing else."""

from collections import Counter

import pytest
from core_support import JOB_ID, Desk, session, welcome
from mutants import mutants
from wire_support import EVERYTHING, payload_of

from zaudio.core.actions import Fail, Peer
from zaudio.core.session import Introduction, Session
from zaudio.errors import ProtocolError
from zaudio.wire.codec import TO_COORDINATOR, decode, encode
from zaudio.wire.messages import (
    Again,
    Channel,
    Chunk,
    Failed,
    Goodbye,
    Heartbeat,
    Hello,
    Ready,
    Refused,
    Result,
    Sent,
    Welcome,
)

pytestmark = pytest.mark.covers(
    "80,000 mutated messages through the codec, 20,000 more through the brains: a message that comes back as "
    "it was, or a ProtocolError",
    number=40,
    bound="no other exception, invariants hold",
    measured="2.7 s",
    removed="`codec.py`: `type(values) is not list or not values or ...`",
)

COUNT = 20_000  # a seed; four of them


def fate(parts, accepted=EVERYTHING):
    """What the codec makes of it: a message, or None."""
    try:
        return decode(parts, accepted)
    except ProtocolError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 1000, "what came is shown in short"
    return None


@pytest.mark.parametrize("seed", range(4))
def test_a_mutant_is_a_message_that_comes_back_as_it_is_or_a_protocol_error(seed):
    fates = Counter()
    for parts in mutants(COUNT, seed=seed):
        message = fate(parts)
        fates[type(message)] += 1
        if message is not None:
            assert decode(encode(message, payload_of(message, parts)), EVERYTHING) == message
    assert fates[type(None)] > COUNT / 2, "most of them are no messages"
    assert len(fates) > 10, f"and many kinds get through: {fates}"


def known_to_coordinator():
    """Good messages of a job that runs, so that mutants of them name its sessions."""
    lease = (JOB_ID, 1, session("a"))
    messages = [
        Hello(1, session("a"), "a", 1, "host", "software", ("invert",), ("/srv",), b""),
        Heartbeat(*lease),
        Ready(*lease, 2, ((0, 1), (1, 1)), False),
        Failed(*lease, 0, 1, 0, 8, "ValueError: no"),
        Goodbye(*lease, "it was told to stop"),
    ]
    result = encode(Result(*lease, 0, 1, 8, 1000, 0.1, -1), b"12345678")
    return [*map(encode, messages), result]


@pytest.mark.parametrize("audited", [False, True])
def test_the_coordinators_brains_take_whatever_the_codec_lets_pass(audited):
    class Half:
        def covers(self, index):
            return index % 2

    taken = Counter()
    desk = Desk(10, audit=Half() if audited else None)
    for number, parts in enumerate(mutants(10_000, seed=11, known=known_to_coordinator())):
        channel = (Channel.SINK, Channel.VENTILATOR)[number % 2]
        message = fate(parts, TO_COORDINATOR[channel])
        if message is None:
            desk.desk.refuse(Peer(channel, b"?"), ProtocolError("no message"))
            continue
        taken[type(message)] += 1
        if isinstance(message, Result):
            actions = desk.take(message)
        else:
            actions = desk.desk.receive(Peer(channel, b"%d" % (number % 7)), message, now=desk.now)
        desk.check()
        desk.later(0.01).tick()
        if number % 500 == 0 or any(isinstance(action, Fail) for action in actions):
            desk = Desk(10, audit=Half() if audited else None)
            desk.join("a")
    assert len(taken) == 6, f"every kind that may come did: {taken}"


def known_to_worker():
    lease = (JOB_ID, 1, session("a"))
    messages = [
        welcome(),
        Heartbeat(*lease),
        Sent(*lease, 3),
        Again(),
        Goodbye(*lease, "over"),
        Refused("no"),
    ]
    chunk = Chunk(*lease, 1, 0, 1, 0, 8, 0, 0, 32, 5, -1)
    # Nearly every change to a message without fields leaves no message: several of it, so that some get through.
    return [*map(encode, messages), encode(chunk, bytes(32)), *[encode(Again())] * 9]


def test_the_workers_brain_takes_whatever_the_codec_lets_pass():
    def begin():
        introduction = Introduction(session("a"), "a", 1, "host", "software", ("invert",))
        fresh = Session(introduction, "tcp://c:1")
        fresh.start(now=now)
        fresh.receive(decode(known_to_worker()[0], EVERYTHING), now=now)
        fresh.prepared(now=now)
        return fresh

    now, taken = 50.0, Counter()
    worker = begin()
    for parts in mutants(10_000, seed=12, known=known_to_worker()):
        now += 0.01
        message = fate(parts)
        if message is not None:
            taken[type(message)] += 1
            worker.receive(message, now=now, intact=bool(taken.total() % 3))
            worker.check()
        worker.tick(now=now)
        worker.check()
        assert worker.next_deadline() > now or worker.finished
        if worker.finished:
            worker = begin()
        for index, attempt in worker.held[:1]:
            worker.completed(index, attempt, length=32, checksum=1, seconds=0.1)
    assert {Welcome, Chunk, Sent, Again, Goodbye, Refused} <= set(taken)
