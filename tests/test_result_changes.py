"""A thousand changes to a result and more: each is found before a byte of plaintext is released."""

import random

import pytest
from extended import extended
from result_support import NAMES, contents, describe, pattern, write_result

from zaudio.errors import VerificationError
from zaudio.result import decrypt, verify

pytestmark = pytest.mark.covers(
    "1,000 single-bit flips, every bit of key and IV, truncations, extensions, swapped files and blocks, a "
    "chosen IV: verify fails, nothing is released",
    number=39,
    note="150 flips, and the rest, in `make test`; 1,000: `make test-all`",
    bound="every one found",
    measured="1,000 flips in 11 s, every one found",
    removed="`reader.py`: `if not tag.agrees(self._tag)`",
)

RESULT, KEY, IV, DESCRIPTION = NAMES


@pytest.fixture
def good(tmp_path):
    """A folder with a result, and its four files."""
    write_result(tmp_path / "out", pattern(700, 4), describe(700))
    return tmp_path / "out", contents(tmp_path / "out")


@pytest.fixture
def other(tmp_path):
    """The files of another result of the very same audio."""
    write_result(tmp_path / "other", pattern(700, 4), describe(700))
    return contents(tmp_path / "other")


def assert_found(folder, files, capfdbinary):
    """This set fails verification, and decrypting it gives no plaintext, to a file or to standard output."""
    put(folder, files)
    with pytest.raises(VerificationError):
        verify(folder)
    for output in (folder / "audio", "-"):
        with pytest.raises(VerificationError):
            decrypt(folder, output)
    assert contents(folder) == files, "no plaintext, whole or in part"
    assert capfdbinary.readouterr().out == b""


def put(folder, files):
    """Write these files in place: to truncate one first makes some file systems wait for the disk."""
    for name, content in files.items():
        with open(folder / name, "r+b") as file:
            file.write(content)
            file.truncate()


def flip(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("count", [150, extended(1000)])
def test_single_flipped_bits_are_found(good, count, capfdbinary):
    folder, files = good
    chance = random.Random(39)
    sizes = [8 * len(files[name]) for name in NAMES]
    for number in range(count):
        # Half of them in the small files, where each bit has a meaning of its own.
        name = RESULT if number % 2 else NAMES[1 + number // 2 % 3]
        bit = chance.randrange(sizes[NAMES.index(name)])
        assert_found(folder, files | {name: flip(files[name], bit)}, capfdbinary)
    put(folder, files)
    verify(folder)


@pytest.mark.parametrize("name", [extended(KEY), IV])
def test_every_bit_of_key_and_iv_counts(good, name, capfdbinary):
    folder, files = good
    for bit in range(8 * len(files[name])):
        assert_found(folder, files | {name: flip(files[name], bit)}, capfdbinary)


@pytest.mark.parametrize("name", NAMES)
def test_truncations_are_found(good, name, capfdbinary):
    folder, files = good
    size = len(files[name])
    for length in sorted({0, 1, 15, 16, 17, size // 2, size - 17, size - 16, size - 15, size - 2, size - 1}):
        if 0 <= length < size:
            assert_found(folder, files | {name: files[name][:length]}, capfdbinary)


@pytest.mark.parametrize("name", NAMES)
def test_extensions_are_found(good, name, capfdbinary):
    folder, files = good
    for more in (b"\0", b"\n", b"\x10" * 16, files[name][-16:], files[name], bytes(4096)):
        assert_found(folder, files | {name: files[name] + more}, capfdbinary)
        assert_found(folder, files | {name: more + files[name]}, capfdbinary)


@pytest.mark.parametrize(
    "names", [(IV,), (KEY,), (KEY, IV), (RESULT,), (DESCRIPTION,), (RESULT, IV), (RESULT, DESCRIPTION)]
)
def test_files_of_another_result_of_the_same_audio_are_found(good, other, names, capfdbinary):
    folder, files = good
    assert_found(folder, files | {name: other[name] for name in names}, capfdbinary)


def test_an_iv_that_makes_another_first_block_of_the_same_ciphertext_is_found(good, capfdbinary):
    """What CBC allows whoever knows the first block: choose it anew by the IV alone."""
    folder, files = good
    chosen = bytes(a ^ b for a, b in zip(files[IV], b"\xff" * 8 + bytes(8), strict=True))
    assert_found(folder, files | {IV: chosen}, capfdbinary)


def test_blocks_that_change_places_are_found(good, capfdbinary):
    folder, files = good
    content = files[RESULT]
    for at in (0, 16, len(content) - 48):
        swapped = content[:at] + content[at + 16 : at + 32] + content[at : at + 16] + content[at + 32 :]
        assert_found(folder, files | {RESULT: swapped}, capfdbinary)
