"""Samples as bytes of a file, by the slow and obvious way."""

import numpy as np
import pytest
from audio_support import samples_of, signal_of

from zaudio.formats import FORMATS, PACKED, sample_format
from zaudio.packing import pack, unpack, unpacked_bytes


@pytest.mark.parametrize("name", sorted(FORMATS | PACKED))
@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("frames", [0, 1, 257])
def test_samples_are_packed_in_either_byte_order(name, little, frames):
    signal = signal_of(frames, format=name)
    samples, format = samples_of(signal), signal.format
    packed = bytes(pack(samples.tobytes(), format, little=little))
    if format.is_packed:
        order = "little" if little else "big"
        values = (samples.astype("=i8").ravel() // 256).tolist()
        assert packed == b"".join(value.to_bytes(3, order, signed=True) for value in values)
    else:
        assert (
            packed
            == samples.astype(format.dtype.replace(">", "<") if little else format.dtype.replace("<", ">")).tobytes()
        )
    assert unpacked_bytes(len(packed), format) == samples.nbytes


def test_samples_that_lie_as_they_come_are_not_copied():
    content = np.zeros(8, "<i2").tobytes()
    assert pack(content, sample_format("s16le"), little=True) is content


@pytest.mark.parametrize("name", sorted(FORMATS | PACKED))
def test_what_is_packed_comes_back(name):
    signal = signal_of(7, channels=3, format=name)
    samples = samples_of(signal).tobytes()
    little = signal.format.dtype[0] == "<"
    assert bytes(unpack(bytes(pack(samples, signal.format, little=little)), signal.format)) == samples
