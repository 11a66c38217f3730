"""The committed results, in both directions, against zaudio, stock openssl and the program in the documentation."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from result_support import NAMES, VECTORS, contents, write_result

from zaudio.errors import VerificationError
from zaudio.packing import unpack
from zaudio.result import OpenResult, decrypt, primitives, verify

GOOD = ["stereo", "empty", "aligned", "memory"]
STORED = ["forward", "wav"]  # in the order of the recording; reversed, with a header and 24 bits
DAMAGED = json.loads((VECTORS / "damaged.json").read_text())
DOCUMENT = Path(__file__).parents[1] / "docs" / "result-format.md"


@pytest.fixture(params=GOOD)
def vector(request):
    return VECTORS / request.param


@pytest.fixture
def result(vector, tmp_path):
    """A copy with nothing but the four files."""
    path = tmp_path / "out"
    path.mkdir()
    for name in NAMES:
        shutil.copy(vector / name, path)
    return path


def test_reading_a_vector_gives_its_plaintext(vector, result):
    description = verify(str(result))
    decrypt(str(result), str(result / "reversed"))
    decrypt(str(result), str(result / "forward"), forward=True)
    assert (result / "reversed").read_bytes() == (vector / "expected_reversed.raw").read_bytes()
    assert (result / "forward").read_bytes() == (vector / "expected_forward.raw").read_bytes()
    assert description.plaintext_bytes == (vector / "expected_reversed.raw").stat().st_size


def test_writing_with_a_vectors_key_and_iv_gives_its_bytes(vector, result, tmp_path, monkeypatch):
    expected = contents(result)
    monkeypatch.setattr(primitives, "random_key", lambda: bytearray(expected["encryption_key.bin"]))
    monkeypatch.setattr(primitives, "random_iv", lambda: expected["encryption_iv.bin"])
    write_result(tmp_path / "written", (vector / "expected_forward.raw").read_bytes(), verify(str(result)))
    assert contents(tmp_path / "written") == expected


@pytest.mark.parametrize("name", STORED)
def test_a_vector_that_is_stored_otherwise_is_read_and_written(name, tmp_path, monkeypatch):
    folder = VECTORS / name
    for file in NAMES:
        shutil.copy(folder / file, tmp_path)
    plaintext, samples = ((folder / file).read_bytes() for file in ("plaintext.bin", "expected_forward.raw"))
    with OpenResult(str(tmp_path)) as result:
        result.authenticate()
        description = result.description
        assert b"".join(map(bytes, result.plaintext())) == plaintext
        assert b"".join(map(bytes, result.samples(forward=True))) == samples
    expected = {file: content for file, content in contents(tmp_path).items() if file in NAMES}
    monkeypatch.setattr(primitives, "random_key", lambda: bytearray(expected["encryption_key.bin"]))
    monkeypatch.setattr(primitives, "random_iv", lambda: expected["encryption_iv.bin"])
    recording = bytes(unpack(samples, description.signal.format))
    header = plaintext[: description.header_bytes]
    write_result(tmp_path / "written", recording, description, header=header)
    assert contents(tmp_path / "written") == expected


@pytest.mark.parametrize("name", STORED)
def test_stock_openssl_gives_the_plaintext_of_a_vector_that_is_stored_otherwise(name):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command here")
    folder = VECTORS / name
    key, iv = ((folder / f"encryption_{part}.bin").read_bytes().hex() for part in ("key", "iv"))
    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-K", key, "-iv", iv, "-in", str(folder / "result.raw")]
    done = subprocess.run(command, check=True, capture_output=True)
    assert done.stdout == (folder / "plaintext.bin").read_bytes()


@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: case["name"])
def test_a_damaged_result_fails_as_documented_and_releases_nothing(case, tmp_path, capfdbinary):
    for name in NAMES:
        content = (VECTORS / "stereo" / name).read_bytes()
        if name in case["changes"]:
            change = case["changes"][name]
            if change is None:
                continue
            assert bytes.fromhex(change) != content or len(case["changes"]) > 1
            content = bytes.fromhex(change)
        (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(VerificationError, match=re.escape(case["failure"])):
        verify(str(tmp_path))
    for output in (None, "-"):
        with pytest.raises(VerificationError, match=re.escape(case["failure"])):
            decrypt(str(tmp_path), output)
    assert contents(tmp_path) == before
    assert capfdbinary.readouterr().out == b""


def block(language):
    found = re.search(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_documented_program_checks_a_result(result, tmp_path):
    program = tmp_path / "check.py"
    program.write_text(block("python"))
    assert subprocess.run([sys.executable, "-I", program, result], check=False).returncode == 0
    key = result / "encryption_key.bin"
    key.write_bytes(bytes(31) + b"\1")
    failed = subprocess.run([sys.executable, "-I", program, result], check=False, stderr=subprocess.PIPE)
    assert failed.returncode == 1
    assert failed.stderr == b"the tag does not agree\n"


def test_stock_openssl_decrypts_a_result(vector, result):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command")
    key, iv = ((result / name).read_bytes().hex() for name in NAMES[1:3])
    command = [openssl, "enc", "-d", "-aes-256-cbc", "-K", key, "-iv", iv, "-in", result / "result.raw"]
    plaintext = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert plaintext == (vector / "expected_reversed.raw").read_bytes()


def test_the_documented_openssl_line_decrypts_a_result(vector, result, tmp_path):
    for tool in ("openssl", "xxd"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} command")
    line = next(line.strip() for line in DOCUMENT.read_text().splitlines() if line.startswith("    openssl enc"))
    subprocess.run(["/bin/sh", "-c", line.replace("DIR", str(result))], check=True, cwd=tmp_path)
    assert (tmp_path / "audio.raw").read_bytes() == (vector / "expected_reversed.raw").read_bytes()


def test_the_document_and_the_code_agree_on_the_constants():
    text = DOCUMENT.read_text()
    for constant in (primitives.SALT, primitives.INFO, primitives.DOMAIN.rstrip(b"\n")):
        assert f"`{constant.decode()}`" in text
    assert (len(primitives.SALT), len(primitives.INFO), len(primitives.DOMAIN)) == (15, 15, 45)
