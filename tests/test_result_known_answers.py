"""The ciphers of a result against all that NIST and the IETF published for them, through our own functions."""

import json
import re
from pathlib import Path

import pytest

from zaudio.result import primitives

VECTORS = Path(__file__).parent / "vectors"
NIST = VECTORS / "nist"
ZERO_KEY, ZERO = bytes(32), bytes(16)
HMAC = json.loads((VECTORS / "rfc4231.json").read_text())


def records(name, section):
    """Key, IV, plaintext and ciphertext of each record in one of the two sections of a response file."""
    parts = re.split(r"^\[(ENCRYPT|DECRYPT)\]$", (NIST / name).read_text(), flags=re.MULTILINE)
    text = parts[parts.index(section) + 1]
    for block in text.split("COUNT = ")[1:]:
        fields = dict(re.findall(r"^(KEY|IV|PLAINTEXT|CIPHERTEXT) = ([0-9a-f]+)\s*$", block, re.MULTILINE))
        yield tuple(bytes.fromhex(fields[name]) for name in ("KEY", "IV", "PLAINTEXT", "CIPHERTEXT"))


def lines(name):
    return [bytes.fromhex(line) for line in (NIST / name).read_text().split()]


def ones(count, bits):
    """So many one bits, then zeros."""
    return (((1 << count) - 1) << (bits - count)).to_bytes(bits // 8, "big")


def encrypt(key, iv, plaintext, piece=None):
    step, out = primitives.cbc_encryptor(bytearray(key), iv), bytearray()
    for start in range(0, len(plaintext), piece or len(plaintext)):
        part = plaintext[start : start + (piece or len(plaintext))]
        buffer = bytearray(len(part) + 15)
        out += buffer[: step(part, buffer)]
    return bytes(out)


def decrypt(key, iv, ciphertext):
    buffer = bytearray(len(ciphertext) + 15)
    return bytes(buffer[: primitives.cbc_decrypt_into(bytearray(key), iv, ciphertext, buffer)])


@pytest.mark.parametrize(("name", "count"), [("CBCGFSbox256.rsp", 5), ("CBCKeySbox256.rsp", 16), ("CBCMMT256.rsp", 10)])
def test_the_known_answers_of_nist_in_both_directions(name, count):
    for section in ("ENCRYPT", "DECRYPT"):
        found = list(records(name, section))
        assert len(found) == count
        for key, iv, plaintext, ciphertext in found:
            assert encrypt(key, iv, plaintext) == ciphertext
            assert encrypt(key, iv, plaintext, piece=7) == ciphertext
            assert decrypt(key, iv, ciphertext) == plaintext


def test_every_bit_of_the_plaintext_counts_as_nist_says():
    ciphertexts = lines("CBCVarTxt256.txt")
    assert len(ciphertexts) == 128
    for count, ciphertext in enumerate(ciphertexts, 1):
        assert encrypt(ZERO_KEY, ZERO, ones(count, 128)) == ciphertext
        assert decrypt(ZERO_KEY, ZERO, ciphertext) == ones(count, 128)


def test_every_bit_of_the_key_counts_as_nist_says():
    ciphertexts = lines("CBCVarKey256.txt")
    assert len(ciphertexts) == 256
    for count, ciphertext in enumerate(ciphertexts, 1):
        assert encrypt(ones(count, 256), ZERO, ZERO) == ciphertext
        assert decrypt(ones(count, 256), ZERO, ciphertext) == ZERO


@pytest.mark.parametrize("case", HMAC, ids=lambda case: f"case {case['case']}")
def test_the_hmac_of_rfc_4231(case):
    key, message, expected = (bytes.fromhex(case[name]) for name in ("key", "message", "hmac_sha256"))
    for piece in (1, 5, len(message)):
        mac = primitives.hmac_sha256(key)
        for start in range(0, len(message), piece):
            mac.update(message[start : start + piece])
        assert mac.digest()[: len(expected)] == expected


def test_there_are_seven_cases_of_which_one_is_cut():
    assert [case["case"] for case in HMAC] == [1, 2, 3, 4, 5, 6, 7]
    assert [len(case["hmac_sha256"]) for case in HMAC] == [64, 64, 64, 64, 32, 64, 64]
