"""Orders: each comes back as it was, and a line that is none is refused without being repeated."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from net_support import PATIENCE

from zaudio.errors import ProtocolError
from zaudio.net.orders import REPORTS, Died, GaveUp, Kill, Lines, Over, Shelf, Start, Unable, decode, encode

SECRET = b"s" * 40
START = Start(
    "ipc:///tmp/x/v", 3, "/tmp/x", ("a", "b:c"), 5, 6, Shelf(2, 1000, (b"\0" * 16, b"\xff" * 16)), None, ("m",)
)
WITH_KEYS = Start("ipc:///v", 1, "/x", (), 5, -1, None, (b"p" * 40, SECRET, b"c" * 40))

LINES = [
    (START, b'["Start", "ipc:///tmp/x/v", 3, "/tmp/x", ["a", "b:c"], 5, 6, '
            b'[2, 1000, ["00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff"]], null, ["m"]]\n'),
    (Kill(b"\1" * 16, "it is stuck"), b'["Kill", "01010101010101010101010101010101", "it is stuck"]\n'),
    (Died(b"\2\3", "local-1", "it died", "Trace\n"), b'["Died", "0203", "local-1", "it died", "Trace\\n"]\n'),
    (GaveUp("it died", ""), b'["GaveUp", "it died", ""]\n'),
    (Unable("no such \u00f6p"), b'["Unable", "no such \\u00f6p"]\n'),
    (Over(), b'["Over"]\n'),
]  # fmt: skip


@pytest.mark.parametrize(("order", "line"), LINES)
def test_each_order_is_one_line(order, line):
    assert encode(order) == line
    assert decode(line, (type(order),)) == order
    assert decode(line[:-1], (Start, Kill) if isinstance(order, Start | Kill) else REPORTS) == order


def test_keys_are_in_the_line_and_in_no_repr():
    assert decode(encode(WITH_KEYS), (Start, Kill)) == WITH_KEYS
    assert SECRET in encode(WITH_KEYS)
    assert SECRET.decode() not in repr(WITH_KEYS)


@given(st.text(), st.text(), st.binary(max_size=40))
def test_any_text_comes_back_from_one_line(one, other, octets):
    for order in (Died(octets, one, other, one), Unable(one)):
        line = encode(order)
        assert line.count(b"\n") == 1
        assert decode(line, REPORTS) == order


def test_names_of_files_that_are_no_text_come_back():
    name = b"/tmp/\xff\xfe".decode(errors="surrogateescape")
    assert decode(encode(Unable(name)), REPORTS) == Unable(name)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"nonsense",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"event": "GaveUp"}',
        b'["GaveUp"]',
        b'["GaveUp", "one"]',
        b'["GaveUp", "one", "two", "three"]',
        b'["GaveUp", "one", 2]',
        b'["GaveUp", "one", null]',
        b'["Gave", "one", "two"]',
        b'[["GaveUp"], "one", "two"]',
        b'["Died", "xy", "n", "c", "s"]',
        b'["Died", 7, "n", "c", "s"]',
        b'["Kill", "00", "a command, not a report"]',
        b"[" * 100_000,
        encode(Unable("x")) + b"{",
    ],
)
def test_a_line_that_is_no_report_is_refused(line):
    with pytest.raises(ProtocolError, match="expected a line of Died, GaveUp, Unable, Over, got"):
        decode(line, REPORTS)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, None), (2, "3"), (2, True), (2, 3.0), (4, "a"), (4, [1]), (5, None), (7, [2, 1000]), (7, [2, 1000, "00"]),
        (7, [2, 1000, ["xy"]]), (7, {}), (8, "keys"), (8, ["a", "b"]), (8, ["a", "b", 7]), (8, ["a", "b", "\ud800"]),
    ],
)  # fmt: skip
def test_a_start_with_a_wrong_field_is_refused(place, value):
    values = json.loads(encode(WITH_KEYS))
    values[place] = value
    with pytest.raises(ProtocolError) as caught:
        decode(json.dumps(values).encode(), (Start, Kill))
    assert SECRET.decode() not in str(caught.value)


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=6), st.data())
def test_lines_come_out_of_pieces_of_any_length(expected, data):
    stream = b"".join(line + b"\n" for line in expected)
    lines, found = Lines(), []
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        found += lines.feed(stream[:length])
        stream = stream[length:]
    assert found == expected
    assert lines.feed(b"") == []


def test_orders_import_nothing_heavy():
    code = "import sys, zaudio.net.orders; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert not {"numpy", "zmq", "msgpack", "xxhash", "cryptography", "asyncio"} & set(run.stdout.split())
