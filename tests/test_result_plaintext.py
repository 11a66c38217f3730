"""The plaintext of a result: the same bytes wherever an earlier life of the job ended."""

import pytest
from result_support import describe, pattern

from zaudio.errors import UsageError
from zaudio.packing import pack, unpack
from zaudio.plan import Order
from zaudio.result.plaintext import Plaintext
from zaudio.signal import Signal

CASES = [
    {"frames": 7, "channels": 1, "format": "s24le", "header": b"h" * 21},  # an odd number of bytes
    {"frames": 4, "channels": 3, "format": "s24be", "header": b""},
    {"frames": 5, "channels": 2, "format": "f32le", "header": b"h" * 44},
    {"frames": 0, "channels": 2, "format": "s16le", "header": b"h" * 44},
    {"frames": 9, "channels": 1, "format": "f64be", "header": b""},
]


def make(frames, channels, format, header):
    """A description with that header, and a recording as it lies in memory."""
    description = describe(
        frames, channels=channels, format=format, header_bytes=len(header), order=Order.FORWARD, ops=()
    )
    recording = bytes(unpack(pattern(frames, description.frame_bytes), description.signal.format))
    return description, recording


@pytest.mark.parametrize("case", CASES)
def test_plaintext_goes_on_at_any_byte(case):
    description, recording = make(**case)
    little = description.signal.format.dtype[0] == "<"
    samples = bytes(pack(recording, description.signal.format, little=little)) if recording else b""
    whole = case["header"] + samples + bytes(description.footer_bytes)
    assert len(whole) == description.plaintext_bytes
    for length in range(len(whole) + 1):
        plaintext = Plaintext(description, case["header"])
        taken = plaintext.begin(description.signal, length)
        pieces = [plaintext.take(recording[taken:])] if taken < len(recording) else []
        assert whole[:length] + b"".join(map(bytes, pieces)) + plaintext.end() == whole


def test_bytes_are_swapped_where_the_header_wants_the_other_order():
    description, recording = make(5, 2, "s16le", b"h" * 44)
    signal = Signal(5, 2, 44100, description.signal.format.__class__("s16be", ">i2", 2, 16))
    plaintext = Plaintext(description, b"h" * 44)
    plaintext.begin(signal, 0)
    assert bytes(plaintext.take(recording))[44:] == b"".join(recording[i : i + 2][::-1] for i in range(0, 20, 2))


@pytest.mark.parametrize("changes", [{"frames": 6}, {"channels": 1}, {"samplerate": 8000}])
def test_payloads_of_another_signal_are_refused(changes):
    description, _ = make(5, 2, "s16le", b"h" * 44)
    signal = description.signal
    fields = {"frames": 5, "channels": 2, "samplerate": 44100, **changes}
    with pytest.raises(UsageError, match="the description is of"):
        Plaintext(description, b"h" * 44).begin(Signal(**fields, format=signal.format), 0)


def test_a_header_of_another_length_is_refused():
    description, _ = make(5, 2, "s16le", b"h" * 44)
    with pytest.raises(UsageError, match="44 bytes of header, and it has 43"):
        Plaintext(description, b"h" * 43)
