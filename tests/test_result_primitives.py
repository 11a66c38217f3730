"""The cryptography against published vectors."""

import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zaudio.result import primitives

# NIST SP 800-38A, F.2.5 and F.2.6
KEY = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
IV = "000102030405060708090a0b0c0d0e0f"
PLAINTEXT = (
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CIPHERTEXT = (
    "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
    "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
)
ZERO_IV = "00" * 16
CBC = {
    "SP 800-38A F.2.5": (KEY, IV, PLAINTEXT, CIPHERTEXT),
    "CAVP GFSbox256 0": (
        "00" * 32,
        ZERO_IV,
        "014730f80ac625fe84f026c60bfd547d",
        "5c9d844ed46f9885085e5d6a4f94c7d7",
    ),
    "CAVP KeySbox256 0": (
        "c47b0294dbbbee0fec4757f22ffeee3587ca4730c3d33b691df38bab076bc558",
        ZERO_IV,
        "00" * 16,
        "46f2fb342d6f0ab477476fc501242c5f",
    ),
    "CAVP VarTxt256 0": ("00" * 32, ZERO_IV, "80" + "00" * 15, "ddc6bf790c15760d8d9aeb6f9a75fd4e"),
}


def encrypt(key, iv, pieces):
    step, out = primitives.cbc_encryptor(key, iv), bytearray()
    for piece in pieces:
        buffer = bytearray(len(piece) + 15)
        out += buffer[: step(piece, buffer)]
    return bytes(out)


@pytest.mark.parametrize("vector", CBC.values(), ids=CBC)
def test_cbc_agrees_with_nist_in_both_directions(vector):
    key, iv, plaintext, ciphertext = map(bytes.fromhex, vector)
    assert encrypt(bytearray(key), iv, [plaintext]) == ciphertext
    buffer = bytearray(len(ciphertext) + 15)
    assert primitives.cbc_decrypt_into(bytearray(key), iv, ciphertext, buffer) == len(plaintext)
    assert buffer[: len(plaintext)] == plaintext


@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 31, 64])
def test_cbc_does_not_depend_on_how_the_stream_is_cut(size):
    key, iv, plaintext, ciphertext = map(bytes.fromhex, CBC["SP 800-38A F.2.5"])
    assert encrypt(key, iv, [plaintext[i : i + size] for i in range(0, 64, size)]) == ciphertext


def test_a_stretch_of_the_chain_decrypts_with_the_block_in_front_of_it():
    key, _, plaintext, ciphertext = map(bytes.fromhex, CBC["SP 800-38A F.2.5"])
    buffer = bytearray(32 + 15)
    primitives.cbc_decrypt_into(key, ciphertext[:16], ciphertext[16:48], buffer)
    assert buffer[:32] == plaintext[16:48]


@pytest.mark.parametrize(
    ("length", "count"), [(0, 16), (1, 15), (3, 13), (15, 1), (16, 16), (17, 15), (31, 1), (32, 16)]
)
def test_padding_is_one_to_sixteen_bytes_of_their_own_count(length, count):
    assert primitives.padding(length) == bytes([count] * count)
    assert primitives.padded_bytes(length) == length + count


def test_hkdf_agrees_with_rfc_5869_case_1():
    derived = HKDF(
        algorithm=hashes.SHA256(),
        length=42,
        salt=bytes.fromhex("000102030405060708090a0b0c"),
        info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
    ).derive(b"\x0b" * 22)
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def test_hmac_agrees_with_rfc_4231_cases_1_2_and_6():
    assert (
        hmac.new(b"\x0b" * 20, b"Hi There", "sha256").hexdigest()
        == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )
    assert (
        hmac.new(b"Jefe", b"what do ya want for nothing?", "sha256").hexdigest()
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert (
        hmac.new(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First", "sha256").hexdigest()
        == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    )


def test_the_tag_key_is_hkdf_written_out_by_hand():
    key = bytes(range(32))
    extracted = hmac.digest(b"zaudio result 1", key, "sha256")
    assert primitives.derive_tag_key(key) == hmac.digest(extracted, b"tag HMAC-SHA256\x01", "sha256")


def test_the_tag_covers_domain_lengths_description_iv_and_ciphertext():
    key, iv, description, ciphertext = bytes(range(32)), b"I" * 16, b"{}", b"C" * 32
    covered = b"".join(
        (
            b"zaudio result 1: description, IV, ciphertext\n",
            (2).to_bytes(8, "big"),
            description,
            iv,
            ciphertext,
            (32).to_bytes(8, "big"),
        )
    )
    tag = primitives.Tag(key, iv, description)
    tag.update(ciphertext[:5])
    tag.update(memoryview(ciphertext)[5:])
    assert tag.digest() == hmac.digest(primitives.derive_tag_key(key), covered, "sha256")
    assert tag.agrees(tag.digest())
    assert not tag.agrees(bytes(32))


def test_the_tag_tells_apart_where_the_description_ends():
    tags = set()
    for cut in range(4):
        tag = primitives.Tag(bytes(32), b"abcd" * 4, b"abcd"[:cut])
        tag.update(b"abcd"[cut:])
        tags.add(tag.digest())
    assert len(tags) == 4


def test_keys_and_ivs_are_fresh_and_of_the_right_length():
    keys = {bytes(primitives.random_key()) for _ in range(8)}
    ivs = {primitives.random_iv() for _ in range(8)}
    assert {len(key) for key in keys} == {32}
    assert {len(iv) for iv in ivs} == {16}
    assert len(keys) == len(ivs) == 8


def test_wiping_overwrites_in_place():
    secret = bytearray(b"secret")
    alias = memoryview(secret)
    primitives.wipe(secret)
    assert alias == bytes(6)


def test_a_mark_is_that_of_one_block_at_one_place_under_one_key():
    marks, block = primitives.BlockMarks(), bytes(range(256)) * 9 + b"odd"
    mark = marks.mark(7, block)
    assert len(mark) == primitives.MARK_BYTES
    assert marks.agrees(7, bytearray(block), mark)
    assert not marks.agrees(8, block, mark)
    assert not marks.agrees(7, block[:-1], mark)
    assert not marks.agrees(7, block + b"\0", mark)
    assert not primitives.BlockMarks().agrees(7, block, mark)
    for bit in range(0, 8 * len(block), 61):
        changed = bytearray(block)
        changed[bit // 8] ^= 1 << bit % 8
        assert not marks.agrees(7, changed, mark)
