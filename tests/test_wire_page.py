"""docs/protocol.md against the codec: what the page says of kinds, fields, limits, sockets and bytes is so."""

import dataclasses
import random
import re
from pathlib import Path

import msgpack
import numpy as np
import pytest
import xxhash
from wire_support import EVERYTHING, vector_parts, vectors

from zaudio.audio import files
from zaudio.errors import ProtocolError
from zaudio.formats import FORMATS
from zaudio.net import sockets
from zaudio.ops.catalogue import KERNELS
from zaudio.ops.contract import fixed_vector
from zaudio.reference import Reference
from zaudio.signal import Signal
from zaudio.steps import TABLE_TYPES
from zaudio.wire import fields, messages
from zaudio.wire.codec import TO_COORDINATOR, TO_WORKER, decode

PAGE = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = {vector["message"]: vector for vector in vectors() if vector["example"]}
SECTIONS = dict(re.findall(r"^### \d+ (\w+)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))
KINDS = {name: int(kind) for kind, name in re.findall(r"^### (\d+) (\w+)$", PAGE, re.MULTILINE)}


def table(text, *head):
    """The cells of the table with that head, row by row."""
    rows = text.split("| " + " | ".join(head) + " |\n", 1)[1].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def field_rows(name):
    return table(SECTIONS[name], "field", "type", "meaning") if name != "Again" else []


def number(text):
    """What `2^48`, `2^64 - 1`, `-1`, `3600` or `0.001` stands for."""
    match = re.fullmatch(r"2\^(\d+)( - 1)?", text)
    return 2 ** int(match[1]) - bool(match[2]) if match else float(text) if "." in text else int(text)


FIELDS = [(name, field, kind) for name in EXAMPLES for field, kind, _ in field_rows(name)]


def with_field(name, field, value):
    header, *payload = vector_parts(EXAMPLES[name])
    values = msgpack.unpackb(header)
    names = [field.name for field in dataclasses.fields(getattr(messages, name))]
    values[1 + names.index(field)] = value
    return [msgpack.packb(values), *payload]


def objection(name, field, value):
    """What the codec has against that value in that field; nothing against one that another payload would fit."""
    try:
        decode(with_field(name, field, value), EVERYTHING)
    except ProtocolError as error:
        return "" if " came with " in str(error) or " has no payload" in str(error) else str(error)
    return ""


def in_and_out(kind):
    """Values just inside and just outside the limits that a cell of a table tells."""
    if match := re.fullmatch(r"(integer|number), (\S+) to (.+)", kind):
        low, high = number(match[2]), number(match[3])
        step = 1 if match[1] == "integer" else 1e-6
        inside, outside = [low, high], [low - step, high + step, True, "1", None]
        outside += [float(low)] if match[1] == "integer" else []
    elif match := re.fullmatch(r"bytes, (\d+)( or none)?", kind):
        size = int(match[1])
        inside, outside = [bytes(size)], [bytes(size - 1), bytes(size + 1), "x" * size, None]
        (inside if match[2] else outside).append(b"")
    elif match := re.fullmatch(r"text, at most (\d+) bytes", kind):
        size = int(match[1])
        inside, outside = ["", "x" * size], ["x" * (size + 1), b"x", 1]
    elif match := re.fullmatch(r"array of at most (\d+) texts of at most (\d+) bytes each", kind):
        count, size = map(int, match.groups())
        inside, outside = [[], ["x"] * count, ["x" * size]], [["x"] * (count + 1), ["x" * (size + 1)], "x", [1]]
    elif match := re.fullmatch(r"array of at most (\d+) pairs", kind):
        count = int(match[1])
        inside, outside = [[], [0, 1] * count], [[0, 1] * (count + 1), [0], [[0, 1]]]
    elif match := re.fullmatch(r"array of at most (\d+) hashes", kind):
        count = int(match[1])
        inside, outside = [[], [0, 2**64 - 1] * (count // 2)], [[0] * (count + 1), [-1], [True], [1.0], None, 1]
    elif kind == "`reversed` or `forward`":
        inside, outside = ["reversed", "forward"], ["", "Reversed", b"reversed", None, 1]
    elif kind == "boolean":
        inside, outside = [True, False], [0, 1, None, "true"]
    elif kind == "reference or nil":
        whole = ["", *[0] * 6]
        inside, outside = [None, whole], [whole[1:], [*whole, 0], [], "", 0, False]
    else:
        match = re.fullmatch(r"array of (\d+) to (\d+) ops", kind)
        least, most = map(int, match.groups())
        inside, outside = (
            [[["o", [], [], ""]] * least, [["o", [], [], ""]] * most],
            [[["o", [], [], ""]] * (most + 1), *([["o", [], [], ""]] * few for few in range(least)), [["o", [], []]]],
        )
    return inside, [value for value in outside if value != 2**64]  # which msgpack cannot say


# Kinds, fields, sockets


def test_every_message_has_a_section_with_its_kind():
    assert {name: msgpack.unpackb(vector_parts(vector)[0])[0] for name, vector in EXAMPLES.items()} == KINDS


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_section_lists_the_fields_in_their_order_on_the_wire(name):
    assert [row[0] for row in field_rows(name)] == [field.name for field in dataclasses.fields(getattr(messages, name))]


def test_the_page_says_which_message_travels_where():
    said = {
        (way, place, name)
        for _, name, way, places in table(PAGE, "kind", "message", "from, to", "on the socket of")
        for place in places.split(", ")
    }
    rows = (("worker to coordinator", TO_COORDINATOR), ("coordinator to worker", TO_WORKER))
    assert said == {
        (way, channel.value, cls.__name__) for way, row in rows for channel, all_ in row.items() for cls in all_
    }


def test_the_checksums_on_the_page_are_those_of_their_bytes():
    said = {int(decimal): int(hexadecimal, 16) for decimal, hexadecimal in re.findall(r"(\d{18,20}) \((0x\w+)\)", PAGE)}
    expected = [xxhash.xxh3_64_intdigest(content) for content in (b"", bytes(range(256)))]
    assert said == dict(zip(expected, expected, strict=True))


# Types and limits


@pytest.mark.parametrize(("name", "field", "kind"), FIELDS)
def test_the_type_and_the_limits_of_a_field_are_those_of_the_codec(name, field, kind):
    inside, outside = in_and_out(kind)
    for value in inside:
        assert objection(name, field, value) == ""
    for value in outside:
        assert objection(name, field, value), value


REFERENCE = table(SECTIONS["Welcome"], "of a reference", "type", "meaning")


def test_the_page_lists_the_fields_of_a_reference_in_their_order_on_the_wire():
    assert [row[0] for row in REFERENCE] == [field.name for field in dataclasses.fields(Reference)]


@pytest.mark.parametrize("place", range(7))
def test_the_type_and_the_limits_of_a_field_of_a_reference_are_those_of_the_codec(place):
    inside, outside = in_and_out(REFERENCE[place][1])
    for values, good in ((inside, True), (outside, False)):
        for value in values:
            source = ["/x", *[1] * 6]
            source[place] = value
            assert (objection("Welcome", "source", source) == "") == good, value


def test_the_table_of_limits_is_that_of_the_codec():
    limits = [int(row[1].split()[0]) for row in table(PAGE, "limit", "value")]
    names = ("HEADER_MAX", "TEXT_MAX", "NAME_MAX", "LIST_MAX", "TABLES_MAX", "HELD_MAX")
    assert limits == [getattr(fields, name) for name in names]
    assert f"at most {2 * fields.HELD_MAX} items" in PAGE


def test_the_limits_of_the_sockets_are_as_the_page_says():
    assert f"longer than {sockets.VENTILATOR_PART_MAX + sockets.CURVE_SLACK} bytes to the ventilator" in PAGE
    assert f"longest result + {sockets.sink_part_max(0) + sockets.CURVE_SLACK} bytes to the sink" in PAGE.replace(
        "\n", " "
    )


def test_the_page_is_of_this_version():
    assert f"# The protocol, version {messages.VERSION}\n" in PAGE
    assert f"the protocol version: {messages.VERSION} |" in PAGE


# Bytes


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_annotated_bytes_are_the_committed_ones(name):
    [block] = re.findall(r"^```text\n(.*?)^```$", SECTIONS[name], re.MULTILINE | re.DOTALL)
    parts = [
        re.findall(r"^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}.*)?$", part, re.MULTILINE)
        for part in block.split("part ")[1:]
    ]
    shown = [bytes.fromhex("".join(lines)) for lines in parts]
    assert shown == vector_parts(EXAMPLES[name])


def test_the_page_says_how_a_sample_is_taken():
    said = re.sub(r"\s+", " ", PAGE)
    assert f"three blocks of {files.SAMPLE_BYTES} bytes" in said
    assert f"max(0, floor(size / 2) - {files.SAMPLE_BYTES // 2})" in said
    assert f"max(0, size - {files.SAMPLE_BYTES})" in said


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131071, 196608, 196609, 300007])
def test_a_sample_taken_as_the_page_says_is_ours(tmp_path, size):
    rng = random.Random(size)
    whole = rng.randbytes(size)
    (tmp_path / "take.raw").write_bytes(whole)
    starts = (0, max(0, size // 2 - 32768), max(0, size - 65536))
    recording = files.InputFile(str(tmp_path / "take.raw"))
    reference = recording.reference(0)
    recording.close()
    blocks = b"".join(whole[start : start + 65536] for start in starts)
    assert reference.sample == xxhash.xxh3_64_intdigest(blocks)


@pytest.mark.parametrize("name", ["Chunk", "Result"])
def test_the_checksums_of_the_examples_are_those_of_their_payloads(name):
    message = decode(vector_parts(EXAMPLES[name]), EVERYTHING)
    payload = vector_parts(EXAMPLES[name])[1]
    assert message.checksum == xxhash.xxh3_64_intdigest(payload) == xxhash.xxh3_64_intdigest(payload, seed=0)


def test_the_checksum_of_nothing_is_as_the_page_says():
    assert f"Of no bytes it is {xxhash.xxh3_64_intdigest(b'')} ({xxhash.xxh3_64_intdigest(b''):#x})" in PAGE


def test_every_format_is_on_the_page():
    named = [name.strip("` ") for names, _ in table(PAGE, "format", "sample") for name in names.split(",")]
    assert sorted(named) == sorted(FORMATS)


def test_the_coefficients_of_ops_on_the_page_are_theirs():
    ops = dict(re.findall(r"^### `(\w+)`\n\n(.*)$", PAGE, re.MULTILINE))
    assert set(ops) == {"invert", "gain", "clip"} <= set(KERNELS)
    for name, first_line in ops.items():
        coefficients = {field.name for field in dataclasses.fields(KERNELS[name])}
        assert set(re.findall(r"`(\w+)`", first_line)) == coefficients


def test_the_types_of_tables_are_on_the_page():
    assert f"one of {', '.join(f'`{name}`' for name in TABLE_TYPES)}:" in PAGE.replace("\n", " ")


def test_noise_made_as_the_page_says_is_our_vector():
    signal = Signal(1000, 2, 44100, FORMATS["s16le"])
    assert "Philox4x64-10 with key 20 and counter 0, one word for each sample" in PAGE.replace("\n", " ")
    words = np.random.Generator(np.random.Philox(key=20, counter=0)).integers(0, 2**64, 2000, np.uint64)
    expected = [(int(word) >> 11) / 2**53 - 0.5 for word in words]
    assert fixed_vector(signal, 1000).reshape(-1).tolist() == expected
