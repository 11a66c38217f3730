"""The committed bytes of the protocol, and messages for those who want any."""

import json
from pathlib import Path

from hypothesis import strategies as st

from zaudio.reference import Reference
from zaudio.steps import TABLE_TYPES, Step, Table
from zaudio.wire import messages
from zaudio.wire.codec import TO_COORDINATOR, TO_WORKER
from zaudio.wire.fields import HELD_MAX, NAME_MAX, TEXT_MAX
from zaudio.wire.messages import Channel

VECTORS = Path(__file__).parent / "vectors" / "wire"
EVERYTHING = frozenset().union(*TO_COORDINATOR.values(), *TO_WORKER.values())


def vectors():
    return json.loads((VECTORS / "messages.json").read_text(encoding="utf-8"))


def refused_vectors():
    return json.loads((VECTORS / "refused.json").read_text(encoding="utf-8"))


def vector_message(vector):
    """The dataclass that a vector describes."""
    given = {name: _value(name, value) for name, value in vector["fields"].items()}
    return getattr(messages, vector["message"])(**given)


def vector_parts(vector):
    return [bytes.fromhex(part) for part in vector["parts"]]


def accepted_there(vector):
    """What may arrive on the socket that a vector names."""
    row = {"coordinator": TO_COORDINATOR, "worker": TO_WORKER}[vector["to"]]
    return row[Channel(vector["channel"])]


def _value(name, value):
    if name == "source":
        return Reference(**value) if value is not None else None
    if name == "ops" and value and isinstance(value[0], list):
        return tuple(map(_step, value))
    return bytes.fromhex(value) if name in ("job", "session", "outbox") else _frozen(value)


def _step(value):
    name, params, tables, version = value
    tables = tuple(Table(key, type_, bytes.fromhex(numbers)) for key, type_, numbers in tables)
    return Step(name, _frozen(params), tables, version)


def payload_of(message, parts):
    """The payload to give to `encode` for these parts: the tables of a welcome are a part of the message."""
    return parts[1] if len(parts) > 1 and not isinstance(message, messages.Welcome) else None


def _frozen(value):
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


# Messages as hypothesis makes them, each with its payload or None


def _texts(limit):
    return st.text(st.characters(codec="utf-8"), max_size=limit // 4)


IDS = st.binary(min_size=16, max_size=16)
COUNTS = st.integers(0, 2**48)
ATTEMPTS = INCARNATIONS = st.integers(1, 2**31)
NAMES, WORDS = _texts(NAME_MAX), _texts(TEXT_MAX)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | NAMES
PARAMS = st.dictionaries(_texts(NAME_MAX // 2).map("p{}".format), SCALARS, max_size=3)


@st.composite
def _tables(draw):
    keys = draw(st.lists(_texts(NAME_MAX // 2).map("t{}".format), max_size=2, unique=True))
    tables = []
    for key in keys:
        type_, count = draw(st.sampled_from(TABLE_TYPES)), draw(st.integers(0, 3))
        size = count * int(type_[-1])
        tables.append(Table(key, type_, draw(st.binary(min_size=size, max_size=size))))
    return tuple(tables)


STEPS = st.builds(Step, NAMES, PARAMS.map(lambda params: tuple(params.items())), _tables(), NAMES)
HASHES = st.integers(0, 2**64 - 1)
SLOTS = st.integers(0, HELD_MAX - 1)
REFERENCES = st.builds(
    Reference,
    path=_texts(1024),
    offset=COUNTS,
    size=COUNTS,
    mtime_ns=HASHES,
    device=HASHES,
    inode=HASHES,
    sample=HASHES,
)
LEASE = {"job": IDS, "incarnation": INCARNATIONS, "session": IDS}


def _few(values, limit=3):
    return st.lists(values, max_size=limit).map(tuple)


@st.composite
def _chunks(draw):
    payload = draw(st.none() | st.binary(max_size=20))
    places = [*sorted(draw(st.tuples(COUNTS, COUNTS))), *sorted(draw(st.tuples(COUNTS, COUNTS)))]
    ranges = dict(zip(("start", "stop", "input_start", "input_stop"), places, strict=True))
    length = st.just(len(payload)) if payload is not None else COUNTS
    return draw(
        st.builds(messages.Chunk, length=length, checksum=HASHES, **LEASE, **CHUNK, **map_just(ranges))
    ), payload


def map_just(fields):
    return {name: st.just(value) for name, value in fields.items()}


@st.composite
def _with_payload(draw, cls, **fields):
    payload = draw(st.binary(max_size=20))
    return draw(st.builds(cls, length=st.just(len(payload)), checksum=HASHES, **LEASE, **fields)), payload


def _alone(cls, **fields):
    return st.tuples(st.builds(cls, **fields), st.none())


CHUNK = {"attempt": ATTEMPTS, "slot": SLOTS | st.just(-1), "sequence": COUNTS, "index": COUNTS}
RESULT = {"clipped": COUNTS, "zeroed": COUNTS, "index": COUNTS, "attempt": ATTEMPTS, "seconds": st.floats(0, 1e9)}

MESSAGES = st.one_of(
    _alone(
        messages.Hello,
        version=st.integers(0, 2**16),
        session=IDS,
        name=NAMES,
        pid=st.integers(0, 2**31),
        host=NAMES,
        software=NAMES,
        ops=_few(NAMES, 6),
        reads=_few(NAMES, 2),
        outbox=IDS | st.just(b""),
    ),
    _alone(
        messages.Welcome,
        **LEASE,
        sinks=_few(NAMES, 2),
        heartbeat=st.floats(0.001, 3600),
        liveness=st.integers(2, 1000),
        credit=st.integers(1, HELD_MAX),
        frames=COUNTS,
        channels=st.integers(1, 1024),
        samplerate=st.integers(1, 2**31 - 1),
        format=NAMES,
        grid=COUNTS,
        chunk_frames=st.integers(1, 2**48),
        order=st.sampled_from(["reversed", "forward"]),
        ops=st.lists(STEPS, min_size=1, max_size=2).map(tuple),
        source=st.none() | REFERENCES,
    ),
    _alone(messages.Refused, reason=WORDS),
    _alone(messages.Again),
    _chunks(),
    _alone(messages.Sent, **LEASE, sequence=COUNTS),
    _alone(messages.Heartbeat, **LEASE),
    _alone(
        messages.Ready,
        **LEASE,
        received=COUNTS,
        held=_few(st.tuples(COUNTS, ATTEMPTS), HELD_MAX),
        reads=st.booleans(),
        numbers=_few(HASHES, 64),
    ),
    _with_payload(messages.Result, slot=st.just(-1), **RESULT),
    _alone(messages.Result, slot=SLOTS, length=COUNTS, checksum=HASHES, **LEASE, **RESULT),
    _alone(messages.Failed, **LEASE, index=COUNTS, attempt=ATTEMPTS, start=COUNTS, stop=COUNTS, error=WORDS),
    _alone(messages.Goodbye, **LEASE, reason=WORDS),
)
