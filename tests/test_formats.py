"""The sample formats: their names and what follows from each."""

import sys

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.formats import FORMATS, PACKED, sample_format

NAMES = ["f32le", "f32be", "f64le", "f64be", "s16le", "s16be", "s32le", "s32be"]


def test_there_are_eight_formats():
    assert sorted(FORMATS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_says_what_numpy_says(name):
    format, dtype = sample_format(name), np.dtype(sample_format(name).dtype)
    assert format.name == name
    assert format.itemsize == dtype.itemsize == int(name[1:3]) // 8
    assert dtype.kind == {"f": "f", "s": "i"}[name[0]]
    assert format.dtype[0] == {"le": "<", "be": ">"}[name[3:]]
    assert np.dtype(format.native_dtype) == dtype.newbyteorder("=")
    assert np.dtype(format.native_dtype).isnative
    assert format.is_native == dtype.isnative


@pytest.mark.parametrize(
    ("name", "octets"), [("s16le", "0100"), ("s16be", "0001"), ("f32le", "0000803f"), ("f32be", "3f800000")]
)
def test_the_number_one_has_the_bytes_of_its_format(name, octets):
    assert np.array([1], sample_format(name).dtype).tobytes().hex() == octets


@pytest.mark.parametrize("order", ["little", "big"])
def test_native_is_whatever_this_machine_is(order, monkeypatch):
    monkeypatch.setattr(sys, "byteorder", order)
    assert [name for name in NAMES if sample_format(name).is_native] == [n for n in NAMES if n.endswith(order[0] + "e")]


@pytest.mark.parametrize("name", ["", "f32", "F32LE", "s24", "u8", "f32le ", "f16le"])
def test_any_other_name_is_a_usage_error_that_lists_those_there_are(name):
    with pytest.raises(UsageError) as caught:
        sample_format(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in (*NAMES, *PACKED))


@pytest.mark.parametrize("name", ["s24le", "s24be"])
def test_24_bits_take_four_bytes_in_memory_and_three_in_a_file(name):
    format = sample_format(name)
    assert (format.name, format.itemsize, format.stored_bytes, format.bits) == (name, 4, 3, 24)
    assert format.is_packed
    assert format.dtype == sample_format(name.replace("24", "32")).dtype


def test_all_other_formats_fill_their_bytes():
    assert not any(format.is_packed for format in FORMATS.values())
    assert all(format.stored_bytes == format.itemsize for format in FORMATS.values())


def test_a_format_does_not_change():
    with pytest.raises(AttributeError):
        sample_format("f32le").itemsize = 8
