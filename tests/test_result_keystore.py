import pytest

from zaudio.result.keystore import RawKey


def test_raw_key_comes_back_as_it_was():
    key = bytearray(range(32))
    assert RawKey().decode(bytearray(RawKey().encode(key)), "k.bin") == key


def test_raw_key_that_was_got_back_can_be_wiped_by_itself():
    content = bytearray(range(32))
    key = RawKey().decode(content, "k.bin")
    key[:] = bytes(32)
    assert content == bytearray(range(32))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_raw_key_of_another_length_is_refused_by_name(size):
    with pytest.raises(ValueError, match=f"^out/k.bin: 32 bytes of key expected, {size} found$"):
        RawKey().decode(bytearray(size), "out/k.bin")
