"""SIZE: bytes, seconds and frames, as users write them."""

import pytest

from zaudio.errors import UsageError
from zaudio.sizes import parse_bytes, parse_frames


def frames(size, *, frame_bytes=4, samplerate=44100):
    return parse_frames(size, what="chunk", frame_bytes=frame_bytes, samplerate=samplerate)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, 1),
        (4096, 4096),
        ("1", 1),
        ("1B", 1),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("1K", 1024),
        ("2MB", 2_000_000),
        ("2MiB", 2 * 2**20),
        ("2M", 2 * 2**20),
        ("3GB", 3 * 10**9),
        ("3GiB", 3 * 2**30),
        ("3g", 3 * 2**30),
        ("1.5MiB", 3 * 2**19),
        ("0.001kB", 1),
        (" 1 MiB ", 2**20),
        ("1.9", 1),
        ("9007199254740993", 2**53 + 1),  # no float on the way
        ("1.1GB", 1_100_000_000),
    ],
)
def test_bytes(size, expected):
    assert parse_bytes(size, what="memory") == expected


WRONG = [
    "",
    " ",
    "MiB",
    "1TB",
    "1 x",
    "-1",
    "+1",
    "1e3",
    "0x10",
    ".5",
    "1.",
    "1,5",
    "1 2",
    "1MiB2",
    "nan",
    "inf",
    "\u0661",
]


@pytest.mark.parametrize("size", [*WRONG, "1s", "1f", "0", "0.9", "0MiB", 0, -1, True, False, None, "9" * 31])
def test_what_is_no_number_of_bytes_is_a_usage_error_that_says_what_it_was_for(size):
    with pytest.raises(UsageError, match=r"^memory: ") as caught:
        parse_bytes(size, what="memory")
    assert repr(size) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("1s", 44100),
        ("1S", 44100),
        ("0.5s", 22050),
        ("0.1s", 4410),
        ("0.00003s", 1),
        ("1f", 1),
        ("44100f", 44100),
        ("1.9f", 1),
        (4, 1),
        (7, 1),
        (8, 2),
        ("1KiB", 256),
        ("1MiB", 2**18),
    ],
)
def test_frames(size, expected):
    assert frames(size) == expected


@pytest.mark.parametrize(("frame_bytes", "expected"), [(1, 7), (2, 3), (3, 2), (6, 1), (7, 1)])
def test_bytes_are_rounded_down_to_whole_frames(frame_bytes, expected):
    assert frames(7, frame_bytes=frame_bytes) == expected


def test_a_fraction_of_a_second_is_exact():
    assert frames("0.7s", samplerate=10) == 7
    assert frames("0.29s", samplerate=100) == 29  # as floats, 0.29 * 100 is below 29


@pytest.mark.parametrize("size", [*WRONG, True, None, "9" * 31 + "s"])
def test_what_is_no_size_is_a_usage_error_that_says_what_it_was_for(size):
    with pytest.raises(UsageError, match=r"^chunk: "):
        frames(size)


@pytest.mark.parametrize("size", ["0", "0s", "0f", "0.9f", "0.00001s", "3", 3, 0])
def test_less_than_a_frame_is_a_usage_error(size):
    with pytest.raises(UsageError, match="less than one frame of 4 bytes"):
        frames(size)
