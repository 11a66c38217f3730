import io
import os
import stat
import subprocess
import sys

import pytest
from extended import extended
from result_support import NAMES, contents, pattern, reverse, write_pattern

from zaudio.errors import OutputExistsError, StorageError, UsageError, VerificationError
from zaudio.result import OpenResult, decrypt
from zaudio.result import reader as reader_module

RESERVED = [*NAMES, *(f"{name}.part" for name in NAMES), "result.commit", "result.commit.part"]


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "out"
    write_pattern(path, 100)
    return path


RECORDING = pattern(100, 4)


def test_the_default_output_lies_in_the_folder(result):
    description, where = decrypt(str(result), None)
    assert where == str(result / "decrypted.raw")
    assert description.frames == 100
    assert set(contents(result)) == {*NAMES, "decrypted.raw"}
    assert contents(result)["decrypted.raw"] == reverse(RECORDING, 4)


def test_the_output_is_private_under_any_umask(result):
    before = os.umask(0)
    try:
        decrypt(str(result), None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((result / "decrypted.raw").stat().st_mode) == 0o600


def test_a_relative_output_lies_in_the_current_folder(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert decrypt("out", "take.raw", forward=True)[1] == "take.raw"
    assert (tmp_path / "take.raw").read_bytes() == RECORDING


def test_an_output_that_is_there_is_replaced_only_when_asked(result, tmp_path):
    output = tmp_path / "take.raw"
    output.write_bytes(b"older")
    with pytest.raises(OutputExistsError, match=r"take\.raw"):
        decrypt(str(result), str(output))
    assert output.read_bytes() == b"older"
    decrypt(str(result), str(output), forward=True, overwrite=True)
    assert output.read_bytes() == RECORDING


@pytest.mark.parametrize("spelling", ["{0}/out/{1}", "{0}/out/./{1}", "{0}/link/{1}", "{0}/out/../out/{1}"])
def test_no_file_of_the_result_can_be_the_output(result, tmp_path, spelling):
    (tmp_path / "link").symlink_to("out")
    before = contents(result)
    for name in RESERVED:
        with pytest.raises(UsageError, match="belongs to the result"):
            decrypt(str(result), spelling.format(tmp_path, name), overwrite=True)
    assert contents(result) == before


@pytest.mark.parametrize("name", ["link", "fifo", "folder", "folder/", "", "none/below", "file/below", "nul\0byte"])
def test_an_output_that_cannot_be_a_file_is_refused(result, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError) as caught:
        decrypt(str(result), name, overwrite=True)
    assert not isinstance(caught.value, OutputExistsError)
    assert (tmp_path / "file").read_bytes() == b"precious"
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", "file", "link", "folder", "fifo"}


def test_a_part_of_another_decrypt_is_neither_used_nor_removed(result):
    part = result / "decrypted.raw.part"
    part.write_bytes(b"other")
    with pytest.raises(UsageError, match=r"decrypted\.raw\.part is there already"):
        decrypt(str(result), None, overwrite=True)
    assert part.read_bytes() == b"other"


def test_an_output_that_came_in_the_meantime_is_not_overwritten(result, monkeypatch):
    authenticate = OpenResult.authenticate

    def late(self):
        authenticate(self)
        (result / "decrypted.raw").write_bytes(b"late")

    monkeypatch.setattr(OpenResult, "authenticate", late)
    with pytest.raises(OutputExistsError):
        decrypt(str(result), None)
    assert contents(result)["decrypted.raw"] == b"late"
    assert "decrypted.raw.part" not in contents(result)


def test_a_damaged_result_leaves_an_older_output_alone(result):
    (result / "decrypted.raw").write_bytes(b"older")
    os.truncate(result / "encryption_iv.bin", 0)
    with pytest.raises(VerificationError):
        decrypt(str(result), None, overwrite=True)
    assert contents(result)["decrypted.raw"] == b"older"


@pytest.mark.parametrize("forward", [False, True])
def test_a_change_between_the_passes_leaves_no_output(result, monkeypatch, forward):
    monkeypatch.setattr(reader_module, "READ_BYTES", 96)
    authenticate = OpenResult.authenticate

    def then_change(self):
        authenticate(self)
        with open(result / "result.raw", "r+b") as file:
            file.seek(200)
            file.write(bytes(8))

    monkeypatch.setattr(OpenResult, "authenticate", then_change)
    with pytest.raises(VerificationError, match="block 2 changed while it was read"):
        decrypt(str(result), None, forward=forward)
    assert set(contents(result)) == set(NAMES)


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_no_output_and_no_part(result, monkeypatch, call):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    before = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StorageError, match=r"decrypted\.raw: No space left on device"):
            decrypt(str(result), None)
    assert set(contents(result)) == set(NAMES)
    assert len(os.listdir("/dev/fd")) == before


def test_an_interruption_leaves_no_plaintext(result, monkeypatch):
    def interrupted(fd):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decrypt(str(result), None)
    assert set(contents(result)) == set(NAMES)


@pytest.mark.parametrize("forward", [False, True])
def test_standard_output_gets_the_audio_and_nothing_else(result, capfdbinary, forward):
    assert decrypt(str(result), "-", forward=forward)[1] == "-"
    captured = capfdbinary.readouterr()
    assert captured.out == (RECORDING if forward else reverse(RECORDING, 4))
    assert captured.err == b""
    assert set(contents(result)) == set(NAMES)


def test_an_unbuffered_stream_that_takes_little_gets_everything(result, monkeypatch):
    class Slow(io.BytesIO):
        def write(self, piece):
            return super().write(bytes(piece[:7]))

    class Stdout:
        buffer = Slow()

    monkeypatch.setattr(sys, "stdout", Stdout)
    decrypt(str(result), "-", forward=True)
    assert Stdout.buffer.getvalue() == RECORDING


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
PROGRAM = "import sys; from zaudio.result import decrypt; decrypt(sys.argv[1], '-'); sys.stderr.write('done')"


@pytest.mark.parametrize("unbuffered", [[], extended(["-u"])])
def test_a_reader_that_has_had_enough_is_no_error(tmp_path, unbuffered):
    write_pattern(tmp_path, 500_000, chunk_frames=100_000)
    command = [sys.executable, *unbuffered, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=BUFFERED) as process:
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b"done"
    assert process.returncode == 0


def test_a_full_disk_behind_standard_output_is_a_storage_error(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    write_pattern(tmp_path, 10)
    program = (
        "import sys; from zaudio.errors import StorageError; from zaudio.result import decrypt\n"
        "try: decrypt(sys.argv[1], '-')\n"
        "except StorageError as error: print(error, file=sys.stderr)"
    )
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-c", program, str(tmp_path)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, env=BUFFERED)
    assert done.stderr == b"standard output: No space left on device\n"
    assert done.returncode == 0


def test_a_small_result_for_a_reader_that_is_gone_is_no_error(tmp_path):
    write_pattern(tmp_path, 10)
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False, env=BUFFERED)
    os.close(theirs)
    assert done.stderr == b"done"
    assert done.returncode == 0


def test_the_outputs_name_is_durable_before_decrypt_returns(result, monkeypatch):
    steps, rename, fsync = [], os.rename, os.fsync

    def logged_rename(*args, **kwargs):
        steps.append("rename")
        rename(*args, **kwargs)

    def logged_fsync(fd):
        steps.append("fsync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        fsync(fd)

    monkeypatch.setattr(os, "rename", logged_rename)
    monkeypatch.setattr(os, "fsync", logged_fsync)
    decrypt(str(result), None)
    assert steps == ["fsync file", "rename", "fsync folder"]
