"""The codec against the committed bytes in both directions, at every limit, and against bytes that are no message."""

import dataclasses
import math
import random
import re

import msgpack
import pytest
from extended import examples
from hypothesis import example, given
from hypothesis import strategies as st
from wire_support import (
    EVERYTHING,
    MESSAGES,
    accepted_there,
    payload_of,
    refused_vectors,
    vector_message,
    vector_parts,
    vectors,
)

from zaudio.errors import ProtocolError
from zaudio.reference import Reference
from zaudio.steps import Step, Table
from zaudio.wire import codec, messages
from zaudio.wire import fields as limits
from zaudio.wire.codec import TO_COORDINATOR, TO_WORKER, cut, decode, encode
from zaudio.wire.fields import HEADER_MAX, TEXT_MAX
from zaudio.wire.messages import Chunk, Failed, Goodbye, Heartbeat, Hello, Ready, Refused, Result, Welcome

GOOD, BAD = vectors(), refused_vectors()
JOB, SESSION = bytes(range(16)), bytes(range(16, 32))
LEASE = (JOB, 1, SESSION)
SOURCE = Reference("/srv/take.raw", 44, 65580, 17, 2049, 1311, 5)


def named(vector):
    return vector["name"]


def refused(parts, accepted=EVERYTHING):
    """The sentence of the ProtocolError that these parts raise; any other error is a failure."""
    with pytest.raises(ProtocolError) as caught:
        decode(parts, accepted)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 200
    return sentence


def ready(held=(), received=0, numbers=()):
    return Ready(*LEASE, received, held, False, numbers)


def chunk(**changes):
    places = {"sequence": 1, "index": 0, "attempt": 1, "start": 0, "stop": 0, "input_start": 0, "input_stop": 0}
    fields = dict(zip(("job", "incarnation", "session"), LEASE, strict=True)) | places
    return Chunk(**fields | {"length": 8, "checksum": 0, "slot": -1} | changes)


def result(**changes):
    fields = dict(zip(("job", "incarnation", "session"), LEASE, strict=True)) | {"index": 0, "attempt": 1}
    return Result(**fields | {"length": 8, "checksum": 0, "seconds": 0.0, "slot": -1} | changes)


def welcome(**changes):
    fields = dict(zip(("job", "incarnation", "session"), LEASE, strict=True)) | {
        "sinks": ("tcp://:1",),
        "heartbeat": 1.0,
        "liveness": 5,
        "credit": 2,
        "frames": 2**20,
        "channels": 1,
        "samplerate": 44100,
        "format": "f32le",
        "grid": 0,
        "chunk_frames": 4096,
        "order": "reversed",
        "ops": (Step("invert"),),
        "source": None,
    }
    return Welcome(**fields | changes)


def hello(**changes):
    fields = {"version": 1, "session": SESSION, "name": "n", "pid": 1, "host": "h", "software": "s", "ops": ("invert",)}
    return Hello(**fields | {"reads": (), "outbox": b""} | changes)


# The committed bytes


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_a_message_encodes_to_its_committed_bytes(vector):
    parts, message = vector_parts(vector), vector_message(vector)
    assert encode(message, payload_of(message, parts)) == parts


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_committed_bytes_decode_to_their_message(vector):
    message, expected = decode(vector_parts(vector), accepted_there(vector)), vector_message(vector)
    assert message == expected
    # 1 == 1.0 == True, so equality alone would let a wrong type through.
    assert repr(message) == repr(expected)


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_every_prefix_of_committed_bytes_is_refused(vector):
    header = vector_parts(vector)[0]
    for length in range(len(header)):
        refused([header[:length]])


def test_the_committed_bytes_show_every_message_on_every_socket_that_it_may_arrive_on():
    shown = {(v["to"], v["channel"], v["message"]) for v in GOOD}
    allowed = {
        (to, channel.value, cls.__name__)
        for to, row in (("coordinator", TO_COORDINATOR), ("worker", TO_WORKER))
        for channel, classes in row.items()
        for cls in classes
    }
    assert shown == allowed


@pytest.mark.parametrize("vector", BAD, ids=named)
def test_committed_bytes_that_are_no_message_are_refused(vector):
    refused(vector_parts(vector), accepted_there(vector))


def test_every_message_is_refused_on_every_socket_that_it_does_not_belong_to():
    for vector in GOOD:
        message = vector_message(vector)
        for row in (*TO_COORDINATOR.values(), *TO_WORKER.values()):
            if type(message) in row:
                assert decode(vector_parts(vector), row) == message
            else:
                assert "does not belong on this socket" in refused(vector_parts(vector), row)


def test_there_is_one_kind_a_message_from_1_to_11():
    kinds = {msgpack.unpackb(vector_parts(v)[0])[0]: v["message"] for v in GOOD}
    assert sorted(kinds) == list(range(1, 12))
    assert sorted(kinds.values()) == sorted(cls.__name__ for cls in messages.Message.__args__)


# What may differ in the bytes of one message


def test_a_header_may_be_any_buffer():
    parts = encode(Heartbeat(*LEASE))
    for kind in (bytes, bytearray, memoryview):
        assert decode([kind(parts[0])], EVERYTHING) == Heartbeat(*LEASE)


def test_a_payload_may_be_any_buffer_and_is_passed_on_as_it_is():
    for payload in (b"12345678", bytearray(8), memoryview(bytes(8)), memoryview(bytes(8)).cast("q")):
        parts = encode(result(), payload)
        assert parts[1] is payload
        assert decode(parts, EVERYTHING) == result()


def test_integers_need_not_be_in_their_shortest_form():
    header = (
        b"\x95\x06" + b"\xc4\x10" + JOB + b"\xcf" + (1).to_bytes(8, "big") + b"\xc4\x10" + SESSION + b"\xd3" + bytes(8)
    )
    assert decode([header], EVERYTHING) == messages.Sent(*LEASE, 0)


def test_an_integer_does_where_a_number_is_expected():
    header = msgpack.packb(
        [
            2,
            *LEASE,
            ["tcp://:1"],
            1,
            5,
            2,
            2**20,
            1,
            44100,
            "f32le",
            0,
            4096,
            "reversed",
            [["invert", [], [], ""]],
            None,
        ]
    )
    message = decode([header], EVERYTHING)
    assert message == welcome()
    assert type(message.heartbeat) is float


def test_whole_numbers_and_booleans_keep_their_types_as_parameters():
    ops = (Step("mine:do", (("a", 1), ("b", 1.0), ("c", True), ("d", "1"), ("e", -0.0))),)
    [step] = decode(encode(welcome(ops=ops)), EVERYTHING).ops
    params = step.params
    assert [type(value) for _, value in params] == [int, float, bool, str, float]
    assert math.copysign(1, params[-1][1]) == -1


# Limits, just inside and just outside

COUNT_FIELDS = {
    Chunk: ("sequence", "index"),
    Welcome: ("frames", "grid"),
    messages.Sent: ("sequence",),
    Ready: ("received",),
    Result: ("index", "clipped", "zeroed"),
    Failed: ("index", "start", "stop"),
}
LIMITS = [
    *((cls, name, 0, 2**48) for cls, names in COUNT_FIELDS.items() for name in names),
    *((cls, "attempt", 1, 2**31) for cls in (Chunk, Result, Failed)),
    *((cls, "checksum", 0, 2**64 - 1) for cls in (Chunk, Result)),
    (Chunk, "slot", -1, 255),
    *(
        (cls, "incarnation", 1, 2**31)
        for cls in (Welcome, Chunk, messages.Sent, Heartbeat, Ready, Result, Failed, Goodbye)
    ),
    (Hello, "version", 0, 2**16),
    (Hello, "pid", 0, 2**31),
    (Welcome, "liveness", 2, 1000),
    (Welcome, "credit", 1, 256),
    (Welcome, "channels", 1, 1024),
    (Welcome, "samplerate", 1, 2**31 - 1),
    (Welcome, "chunk_frames", 1, 2**48),
]
EXAMPLES = {v["message"]: v for v in GOOD if v["example"]}


def changed(cls, name, value):
    """The parts of the example of that message, with one field changed to a value that the codec may not like."""
    vector = EXAMPLES[cls.__name__]
    header, *payload = vector_parts(vector)
    values = msgpack.unpackb(header)
    values[1 + [field.name for field in dataclasses.fields(cls)].index(name)] = value
    return [msgpack.packb(values), *payload]


@pytest.mark.parametrize(
    ("cls", "name", "low", "high"), LIMITS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_integer_is_accepted_up_to_both_of_its_limits_and_no_further(cls, name, low, high):
    for value in (low, high):
        assert getattr(decode(changed(cls, name, value), EVERYTHING), name) == value
    for value in (low - 1, high + 1):
        if value < 2**64:
            assert f"from {low} to {high}" in refused(changed(cls, name, value))
    for value in (True, False, float(low), str(low), None, [low], b"1"):
        refused(changed(cls, name, value))


def test_a_slot_of_a_result_is_accepted_up_to_both_of_its_limits_and_no_further():
    header, payload = changed(Result, "slot", -1)
    assert decode([header, payload], EVERYTHING).slot == -1
    for slot in (0, 1, 254, 255):
        [header, _] = changed(Result, "slot", slot)
        assert decode([header], EVERYTHING).slot == slot
    for slot in (-2, 256, -(2**63), 2**64 - 1, True, False, 0.0, "0", None, [0], b"0"):
        for parts in (changed(Result, "slot", slot), changed(Result, "slot", slot)[:1]):
            refused(parts)


@pytest.mark.parametrize(
    ("cls", "name", "low", "high"), [(Welcome, "heartbeat", 0.001, 3600.0), (Result, "seconds", 0.0, 1e9)]
)
def test_a_number_is_accepted_up_to_both_of_its_limits_and_no_further(cls, name, low, high):
    for value in (low, high):
        assert getattr(decode(changed(cls, name, value), EVERYTHING), name) == value
    outside = (math.nextafter(low, -math.inf), math.nextafter(high, math.inf), math.nan, math.inf, -math.inf, -1.0)
    for value in (*outside, True, False, "1", None, b"1", [1.0], 2**64 - 1, -(2**63)):
        refused(changed(cls, name, value))


TEXTS = [
    *((Hello, name, 256) for name in ("name", "host", "software")),
    (Welcome, "format", 256),
    (Refused, "reason", 2048),
    (Failed, "error", 2048),
    (Goodbye, "reason", 2048),
]


@pytest.mark.parametrize(("cls", "name", "limit"), TEXTS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_text_is_accepted_up_to_its_limit_in_bytes_and_no_further(cls, name, limit):
    for text in ("", "x" * limit, "é" * (limit // 2), "𝄞" * (limit // 4), "\0", "\n"):
        assert getattr(decode(changed(cls, name, text), EVERYTHING), name) == text
    for text in ("x" * (limit + 1), "é" * (limit // 2) + "x", "𝄞" * (limit // 4) + "x", b"x", 1, None, ["x"], True):
        refused(changed(cls, name, text))


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (cls, name)
        for cls in messages.Message.__args__
        for name in ("job", "session")
        if name in cls.__dataclass_fields__
    ],
)
def test_a_job_and_a_session_are_16_bytes(cls, name):
    for value in (bytes(16), b"\xff" * 16):
        assert getattr(decode(changed(cls, name, value), EVERYTHING), name) == value
    for value in (b"", bytes(15), bytes(17), "x" * 16, None, 0, [0] * 16):
        refused(changed(cls, name, value))


def test_lists_are_accepted_up_to_their_limits_and_no_further():
    assert decode(encode(hello(ops=("o",) * 64)), EVERYTHING).ops == ("o",) * 64
    assert decode(encode(welcome(sinks=("s",) * 64)), EVERYTHING).sinks == ("s",) * 64
    assert decode(encode(welcome(ops=(Step("o"),) * 64)), EVERYTHING).ops == (Step("o"),) * 64
    assert decode(encode(welcome(ops=())), EVERYTHING).ops == ()
    for message in (
        hello(ops=("o",) * 65),
        welcome(sinks=("s",) * 65),
        welcome(ops=(Step("o"),) * 65),
    ):
        refused(encode(message))


@pytest.mark.parametrize("name", ["ops", "reads"])
def test_what_a_hello_lists_is_accepted_up_to_its_limits_and_no_further(name):
    for value in ([], ["x"] * 64, ["x" * 256], ["é" * 128]):
        assert getattr(decode(changed(Hello, name, value), EVERYTHING), name) == tuple(value)
    for value in (["x"] * 65, ["x" * 257], ["é" * 128 + "x"], "x", None, [b"x"], [["x"]], {}, True):
        refused(changed(Hello, name, value))


def test_an_outbox_is_named_by_16_bytes_or_by_none():
    for value in (b"", bytes(16), b"\xff" * 16):
        assert decode(changed(Hello, "outbox", value), EVERYTHING).outbox == value
    for value in (b"x", bytes(15), bytes(17), "", "x" * 16, None, 0, False, []):
        refused(changed(Hello, "outbox", value))


def test_what_is_true_or_false_is_nothing_else():
    for value in (True, False):
        assert decode(changed(Ready, "reads", value), EVERYTHING).reads is value
    for value in (0, 1, None, "", "true", 1.0, [], [True], b""):
        refused(changed(Ready, "reads", value))


# References

FLAT = [getattr(SOURCE, field.name) for field in dataclasses.fields(SOURCE)]


def with_source(value):
    return changed(Welcome, "source", value)


def test_a_welcome_has_the_seven_fields_of_a_reference_or_nil():
    assert decode(with_source(None), EVERYTHING).source is None
    assert decode(with_source(FLAT), EVERYTHING).source == SOURCE
    for value in (FLAT[:6], [*FLAT, 0], [], [FLAT], [None] * 7, "x" * 7, False, 0, {}):
        refused(with_source(value))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Reference)])
def test_every_field_of_a_reference_is_accepted_up_to_its_limits_and_no_further(name):
    place = [field.name for field in dataclasses.fields(Reference)].index(name)
    inside = {"path": ["", "x" * 2048, "é" * 1024], "offset": [0, 2**48], "size": [0, 2**48]}
    outside = {"path": ["x" * 2049, "é" * 1024 + "x", b"x", 0], "offset": [-1, 2**48 + 1], "size": [-1, 2**48 + 1]}
    for value in inside.get(name, [0, 2**64 - 1]):
        decoded = decode(with_source([*FLAT[:place], value, *FLAT[place + 1 :]]), EVERYTHING)
        assert getattr(decoded.source, name) == value
    for value in [*outside.get(name, [-1]), None, True, 1.0, [1]]:
        refused(with_source([*FLAT[:place], value, *FLAT[place + 1 :]]))


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64])
def test_parameters_are_accepted_up_to_their_limit(count):
    ops = (Step("o", tuple((f"p{number}", number) for number in range(count))),)
    assert decode(encode(welcome(ops=ops)), EVERYTHING).ops == ops


def test_more_parameters_than_the_limit_are_refused():
    refused(encode(welcome(ops=(Step("o", tuple((f"p{number}", 0) for number in range(65))),))))


@pytest.mark.parametrize("count", [0, 1, 2, 251, 255, 256])
def test_held_pairs_are_accepted_up_to_their_limit(count):
    held = tuple((number, 1) for number in range(count))
    assert decode(encode(ready(held)), EVERYTHING).held == held


def test_more_held_pairs_than_the_limit_are_refused():
    refused(encode(ready(tuple((number, 1) for number in range(257)))))


@pytest.mark.parametrize("count", [0, 1, 2, 64])
def test_numbers_are_accepted_up_to_their_limits(count):
    for numbers in ((0,) * count, (2**64 - 1,) * count):
        assert decode(encode(ready(numbers=numbers)), EVERYTHING).numbers == numbers
    for value in ([0] * 65, [2**63, -1], [None], [0.0], [True], None, 0, "", [[0]]):
        refused(changed(Ready, "numbers", value))


def header_of(length):
    """A Hello whose header has exactly that many bytes."""
    ops = ("o" * 253,) * 31  # 255 bytes each with their own heads
    rest = length - len(encode(hello(ops=(*ops, "o" * 40)))[0]) + 40
    return hello(ops=(*ops, "o" * rest))


@pytest.mark.parametrize("length", [HEADER_MAX - 1, HEADER_MAX])
def test_a_header_of_the_longest_length_is_sent_and_accepted(length):
    [header] = encode(header_of(length))
    assert len(header) == length
    assert decode([header], EVERYTHING) == header_of(length)


def test_a_longer_header_is_neither_sent_nor_accepted():
    with pytest.raises(ProtocolError, match="8193 bytes is over the limit of 8192"):
        encode(header_of(HEADER_MAX + 1))
    assert "8193 bytes" in refused(
        [msgpack.packb([1, 1, SESSION, "n", 1, "h", "s", ["o" * 90] * 90 + ["o" * 130], [], b""])[:8193]]
    )


def test_a_header_over_the_limit_is_refused_before_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(codec.msgpack, "unpackb", lambda *_, **__: pytest.fail("it was unpacked"))
    refused([bytes(HEADER_MAX + 1)])
    refused([bytes(2**24)])


# Payloads


@pytest.mark.parametrize("make", [chunk, result])
@pytest.mark.parametrize("length", [0, 1, 7, 8191])
def test_a_payload_must_be_as_long_as_its_header_says(make, length):
    message = make(length=length)
    parts = encode(message, bytes(length))
    assert decode(parts, EVERYTHING) == message
    wrong = [[*parts, b""], [parts[0], bytes(length + 1)], [*parts, parts[1]]]
    wrong += [[parts[0], bytes(length - 1)], [parts[0], b""]] if length else []
    for other in wrong:
        refused(other)
    with pytest.raises(ProtocolError):
        encode(message, bytes(length + 1))


@pytest.mark.parametrize("length", [0, 1, 7, 2**48])
@pytest.mark.parametrize("slot", [-1, 0, 255])
def test_a_chunk_may_come_without_its_payload(slot, length):
    message = chunk(slot=slot, length=length)
    [header] = encode(message)
    assert decode([header], EVERYTHING) == message


@pytest.mark.parametrize("slot", [-1, 0, 255])
def test_a_chunk_with_its_payload_may_name_a_slot(slot):
    message = chunk(slot=slot)
    assert decode(encode(message, bytes(8)), EVERYTHING) == message


@pytest.mark.parametrize("length", [0, 1, 7, 2**48])
def test_a_result_that_names_no_slot_must_have_its_payload(length):
    [header, *_] = encode(result(length=length), bytes(length)) if length < 2**48 else changed(Result, "length", length)
    refused([header])
    with pytest.raises(ProtocolError):
        encode(result(length=length))


@pytest.mark.parametrize("length", [0, 1, 7, 2**48])
@pytest.mark.parametrize("slot", [0, 1, 255])
def test_a_result_that_names_a_slot_has_no_payload(slot, length):
    message = result(slot=slot, length=length)
    [header] = encode(message)
    assert decode([header], EVERYTHING) == message
    for payload in (b"", b"x", bytes(7)):
        assert "has no payload" in refused([header, payload])
        with pytest.raises(ProtocolError):
            encode(message, payload)


@pytest.mark.parametrize(
    "vector", [v for v in GOOD if v["message"] not in ("Chunk", "Result") and len(v["parts"]) == 1], ids=named
)
def test_no_other_message_has_a_payload(vector):
    [header] = vector_parts(vector)
    for payload in (b"", b"x"):
        refused([header, payload])
        with pytest.raises(ProtocolError):
            encode(vector_message(vector), payload)


# Tables


def table(key, size, type_="<i4"):
    return Table(key, type_, bytes(number % 251 for number in range(1, size + 1)))


def test_the_tables_of_a_welcome_lie_one_behind_the_other_in_one_part():
    ops = (Step("a", (), (table("t", 8), table("u", 4))), Step("b"), Step("c", (), (table("t", 16, "<f8"),)))
    header, tables = encode(welcome(ops=ops))
    assert tables == bytes([*range(1, 9), *range(1, 5), *range(1, 17)])
    assert decode([header, tables], EVERYTHING) == welcome(ops=ops)


def test_tables_do_not_change_with_the_memory_that_they_came_in():
    ops = (Step("a", (), (table("t", 8),)),)
    header, tables = encode(welcome(ops=ops))
    buffer = bytearray(tables)
    message = decode([header, memoryview(buffer)], EVERYTHING)
    buffer[:] = bytes(len(buffer))
    assert message == welcome(ops=ops)


@pytest.mark.parametrize("sizes", [(0,), (0, 0), (4, 0), (0, 4)])
def test_a_welcome_has_a_payload_if_its_tables_have_numbers(sizes):
    ops = (Step("a", (), tuple(table(f"t{number}", size) for number, size in enumerate(sizes))),)
    parts = encode(welcome(ops=ops))
    assert len(parts) == (2 if sum(sizes) else 1)
    assert decode(parts, EVERYTHING).ops == ops


def test_tables_are_accepted_up_to_their_limits_and_no_further(monkeypatch):
    ops = (Step("a", (), tuple(table(f"t{number}", 4) for number in range(64))),)
    assert decode(encode(welcome(ops=ops)), EVERYTHING).ops == ops
    refused(encode(welcome(ops=(Step("a", (), tuple(table(f"t{number}", 4) for number in range(65))),))))
    for module in (codec, limits):
        monkeypatch.setattr(module, "TABLES_MAX", 4000)
    most = welcome(ops=(Step("a", (), (table("t", 2000),)), Step("b", (), (table("t", 2000),))))
    assert decode(encode(most), EVERYTHING) == most
    over = welcome(ops=(*most.ops, Step("c", (), (table("t", 4),))))
    with pytest.raises(ProtocolError, match="tables of 4004 bytes are over the limit of 4000"):
        encode(over)
    monkeypatch.setattr(codec, "TABLES_MAX", 5000)
    assert "tables of 4004 bytes" in refused(encode(over))


def test_a_chunk_may_need_frames_that_lie_elsewhere():
    names = ("start", "stop", "input_start", "input_stop")
    for ranges in ((0, 8, 100, 108), (100, 108, 0, 8), (5, 5, 7, 7), (0, 8, 3, 3)):
        moved = chunk(**dict(zip(names, ranges, strict=True)))
        assert decode(encode(moved, bytes(8)), EVERYTHING) == moved
    for ranges in ((9, 8, 0, 8), (0, 8, 9, 8)):
        assert "came with frames" in refused(encode(chunk(**dict(zip(names, ranges, strict=True)))))


def test_no_parts_are_no_message():
    refused([])


# Hostile bytes


@pytest.mark.parametrize("depth", [1, 2, 100, 511, 900, 990, 1000, 1010, 1020, 1023, 1024, 1025, 2000, 4095])
def test_nesting_is_refused_at_every_depth(depth):
    refused([b"\x91" * depth + b"\xc0"])
    refused([b"\x94\x07" + b"\x91" * min(depth, 4000) + b"\xc0\x01\xc4\x10" + SESSION])


@pytest.mark.parametrize(
    "head", ["dc ffff", "dd ffffffff", "de ffff", "df ffffffff", "da ffff", "db ffffffff", "c6 ffffffff"]
)
def test_a_claimed_length_allocates_nothing(head):
    import tracemalloc

    header = bytes.fromhex(head)
    tracemalloc.start()
    try:
        refused([header])
        refused([b"\x93\x07" + header])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def mutated(rng, parts):
    """The parts after a few changes of the kind that accidents and attackers make."""
    header = bytearray(parts[0])
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(header) + 1)
        match rng.randrange(6):
            case 0:
                header[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                header[place:place] = rng.randbytes(rng.randint(1, 9))
            case 2:
                del header[place : place + rng.randint(1, 9)]
            case 3 if place < len(header):
                header[place] ^= 1 << rng.randrange(8)
            case 4:
                start = rng.randrange(len(header) + 1)
                header[place:place] = header[start : start + rng.randint(1, 20)]
            case _:
                header[place : place + 1] = bytes(
                    [rng.choice((0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC7, 0xCB, 0xCF, 0xD9, 0xDD))]
                )
    return [bytes(header), *parts[1:]]


def decode_or_refuse(parts, accepted):
    """Whether they are a message; whatever is, must encode again to one that is equal."""
    try:
        message = decode(parts, accepted)
    except ProtocolError as error:
        return not str(error)  # it always says something
    assert decode(encode(message, payload_of(message, parts)), accepted) == message
    return True


def fuzz(count, seed):
    rng = random.Random(seed)
    originals = [(vector_parts(v), accepted_there(v)) for v in GOOD if len(v["parts"][0]) < 1000]
    accepted = sum(decode_or_refuse(mutated(rng, parts), row) for parts, row in rng.choices(originals, k=count))
    # Some changes make another message of it; if none or most did, the changes would try nothing.
    assert 0 < accepted < count / 2


def test_mutated_messages_are_messages_or_protocol_errors():
    fuzz(5_000, seed=1)


@pytest.mark.extended
def test_a_hundred_thousand_mutated_messages_are_messages_or_protocol_errors():
    fuzz(100_000, seed=2)


def test_random_bytes_are_protocol_errors():
    rng = random.Random(3)
    for _ in range(5_000):
        # Half of them begin like a message: an array, and a kind that there is.
        head = bytes([0x90 | rng.randrange(16), rng.randint(1, 11)]) if rng.random() < 0.5 else b""
        decode_or_refuse([head + rng.randbytes(rng.randrange(80))], EVERYTHING)


# Any message


@examples(300)
@given(MESSAGES)
def test_any_message_comes_back_as_it_was(sent):
    message, payload = sent
    back = decode(encode(message, payload), EVERYTHING)
    assert back == message
    assert repr(back) == repr(message)


MSGPACK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@examples(150)
@given(st.lists(MSGPACK, max_size=13), st.none() | st.integers(1, 11))
def test_any_msgpack_is_a_message_or_a_protocol_error(values, kind):
    decode_or_refuse([msgpack.packb(values if kind is None else [kind, *values])], EVERYTHING)


@examples(200)
@given(MESSAGES, st.integers(0, 12), MSGPACK)
def test_a_message_with_any_one_value_changed_is_a_message_or_a_protocol_error(sent, place, value):
    message, payload = sent
    values = msgpack.unpackb(encode(message, payload)[0])
    values[place % len(values)] = value
    header = msgpack.packb(values)
    decode_or_refuse([header] if payload is None else [header, payload], EVERYTHING)


# Texts that are cut


@pytest.mark.parametrize("length", [0, 1, TEXT_MAX - 1, TEXT_MAX])
def test_text_within_the_limit_is_not_cut(length):
    assert cut("x" * length) == "x" * length


@given(st.text(st.characters(), max_size=80), st.integers(4, 90))
@example("é" * 20, 39)
@example("𝄞" * 10, 39)
@example("a\ud800b" * 20, 30)
def test_text_is_cut_to_whole_characters_within_the_limit(text, limit):
    shortened = cut(text, limit)
    assert len(shortened.encode("utf-8")) <= limit
    kept = shortened if shortened == text else shortened.removesuffix("...")
    assert re.sub("[\ud800-\udfff]", "?", text).startswith(kept)


def test_a_cut_text_shows_that_it_was_cut():
    assert cut("x" * (TEXT_MAX + 1)).endswith("x...")
    assert decode(encode(Failed(*LEASE, 0, 1, 0, 8, cut("é" * 5000))), EVERYTHING).error.endswith("é...")
