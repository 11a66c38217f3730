import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_support import pattern, reverse

from zaudio.plan import Order
from zaudio.reverse import order_into, reverse_into


def turned(recording, frame_bytes):
    buffer = bytearray(b"\xee" * (len(recording) + 3))
    reverse_into(np.frombuffer(recording, np.uint8), buffer, frame_bytes)
    assert buffer[len(recording) :] == b"\xee" * 3, "it wrote behind the frames"
    return bytes(buffer[: len(recording)])


@pytest.mark.parametrize("frame_bytes", [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 18, 20, 24, 32, 40, 48, 56, 96, 1022])
def test_frames_are_reversed_and_their_bytes_are_not(frame_bytes):
    for frames in (1, 2, 3, 16, 17, 101):
        recording = pattern(frames, frame_bytes)
        assert turned(recording, frame_bytes) == reverse(recording, frame_bytes)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 40))
def test_any_bytes_come_back_after_two_turns(content, frame_bytes):
    recording = content * frame_bytes
    assert turned(turned(recording, frame_bytes), frame_bytes) == recording


def test_a_payload_at_an_odd_address_is_reversed_too():
    recording = np.frombuffer(b"x" + pattern(11, 8), np.uint8)[1:]
    buffer = bytearray(88)
    reverse_into(recording, buffer, 8)
    assert buffer == reverse(recording.tobytes(), 8)


@pytest.mark.parametrize("frames", [0, 1, 2, 17])
def test_the_order_of_the_output_is_reversed_or_that_of_the_recording(frames):
    recording, buffer = pattern(frames, 6), bytearray(6 * frames + 3)
    for order, expected in ((Order.REVERSED, reverse(recording, 6)), (Order.FORWARD, recording)):
        order_into(np.frombuffer(recording, np.uint8), buffer, 6, order)
        assert buffer == expected + bytes(3)
