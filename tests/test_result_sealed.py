"""A sealed result is read as the recording that it holds, forward, and only after all of it was authenticated."""

import os
import resource

import pytest
from result_support import describe, pattern, write_pattern, write_result

from zaudio.errors import InputChangedError, UsageError, VerificationError
from zaudio.plan import Order
from zaudio.reference import Fingerprint
from zaudio.result import OpenResult, SealedSource, WrappedKey, make_identity
from zaudio.result import reader as reader_module

FRAMES = 1009


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 96 bytes, so that a small recording has many."""
    monkeypatch.setattr(reader_module, "READ_BYTES", 96)


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "sealed"
    recording, _ = write_pattern(path, FRAMES, channels=2, format="s16le")
    return str(path), recording


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 23, 24, 25, 1009])
@pytest.mark.parametrize(("channels", "format"), [(1, "f32le"), (3, "s16be"), (2, "f64le")])
def test_any_frames_are_those_of_the_recording(tmp_path, frames, channels, format):
    recording, description = write_pattern(tmp_path / "sealed", frames, channels=channels, format=format)
    size = description.frame_bytes
    with SealedSource(tmp_path / "sealed") as source:
        assert (source.frames, source.channels, source.samplerate) == (frames, channels, 44100)
        assert (source.format.name, source.frame_bytes, source.container) == (format, size, "sealed result")
        assert (source.reference, source.warnings, source.resumable) == (None, (), True)
        for start in range(0, frames + 1, max(1, frames // 5)):
            for stop in sorted({start, min(start + 1, frames), min(start + 29, frames), frames}):
                assert bytes(source.read(start, stop)) == recording[start * size : stop * size]


def test_only_the_blocks_that_are_needed_are_decrypted_and_a_row_of_reads_decrypts_each_once(sealed, monkeypatch):
    path, recording = sealed
    decrypted = []
    with SealedSource(path) as source:
        real = OpenResult._decrypt

        def noted(self, index, buffer, **more):
            decrypted.append(index)
            return real(self, index, buffer, **more)

        monkeypatch.setattr(OpenResult, "_decrypt", noted)
        assert bytes(source.read(0, 1)) == recording[:4]
        assert decrypted == [FRAMES * 4 // 96]  # the last one that is stored
        decrypted.clear()
        assert b"".join(bytes(source.read(at, min(at + 5, FRAMES))) for at in range(0, FRAMES, 5)) == recording
        assert decrypted == list(range(FRAMES * 4 // 96))[::-1]  # each once, the one above was held


@pytest.mark.parametrize("step", [5, 24, 25, 60])
def test_reads_as_long_as_blocks_decrypt_each_once_too(sealed, monkeypatch, step):
    path, recording = sealed
    with SealedSource(path) as source:
        real, decrypted = OpenResult._decrypt, []
        monkeypatch.setattr(
            OpenResult, "_decrypt", lambda self, index, *a, **k: decrypted.append(index) or real(self, index, *a, **k)
        )
        for places in (range(0, FRAMES, step), range(0, FRAMES, step)[::-1]):
            decrypted.clear()
            for at in places:
                assert bytes(source.read(at, min(at + step, FRAMES))) == recording[at * 4 : (at + step) * 4]
            assert len(decrypted) <= len(set(decrypted)) + 2


def test_a_result_that_is_stored_forward_is_read_as_it_is(tmp_path):
    recording, description = pattern(50, 4), describe(50, order=Order.FORWARD)
    write_result(tmp_path / "sealed", recording, description)
    with SealedSource(tmp_path / "sealed") as source:
        assert source.read(0, 50) == recording
        assert source.read(7, 31) == recording[28:124]


@pytest.mark.parametrize("name", ["result.raw", "encryption_iv.bin", "encryption_key.bin", "result.json"])
def test_no_frame_comes_from_a_result_that_is_damaged(sealed, name):
    path, _ = sealed
    target = os.path.join(path, name)
    with open(target, "r+b") as file:
        file.seek(10)
        byte = file.read(1)[0]
        file.seek(10)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(VerificationError):
        SealedSource(path)


def test_a_block_that_changes_later_is_never_read(sealed):
    path, recording = sealed
    with SealedSource(path) as source:
        with open(os.path.join(path, "result.raw"), "r+b") as file:
            file.write(b"x")  # of the last frames of the recording
        assert bytes(source.read(0, 100)) == recording[:400]
        with pytest.raises(InputChangedError, match="block 0 changed while it was read"):
            source.read(FRAMES - 1, FRAMES)
        with pytest.raises(InputChangedError, match="was replaced or written to"):
            source.check()


def test_check_finds_a_file_that_was_replaced_or_is_gone(sealed, monkeypatch, tmp_path):
    path, recording = sealed
    with SealedSource(path) as source:
        monkeypatch.chdir(tmp_path)
        source.check()
        write_pattern(path, 20, overwrite=True)
        with pytest.raises(InputChangedError, match="was replaced"):
            source.check()
        assert bytes(source.read(0, FRAMES)) == recording  # the files that were opened are still there
        os.unlink(os.path.join(path, "result.raw"))
        with pytest.raises(InputChangedError, match="is gone"):
            source.check()


def test_the_fingerprint_names_the_result_by_its_tag(sealed):
    path, _ = sealed
    with SealedSource(path) as source, open(os.path.join(path, "result.json"), "rb") as file:
        tag = file.read()[-68:-4].decode()
        mtime_ns = os.stat(os.path.join(path, "result.raw")).st_mtime_ns
        assert source.fingerprint() == Fingerprint(os.path.realpath(path), FRAMES * 4, mtime_ns, tag)


def test_progress_is_that_of_authentication_alone_and_an_exception_ends_it(sealed):
    path, _ = sealed
    told = []
    with SealedSource(path, on_progress=lambda *facts: told.append(facts)) as source:
        count = len(told)
        assert told[-1] == (FRAMES * 4 + 12, FRAMES * 4 + 12)
        source.read(0, FRAMES)
        assert len(told) == count > 10

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SealedSource(path, on_progress=stop)


def test_a_key_elsewhere_and_a_wrapped_key_open_it(sealed, tmp_path):
    path, recording = sealed
    os.rename(os.path.join(path, "encryption_key.bin"), tmp_path / "key")
    with pytest.raises(VerificationError, match="--key FILE"):
        SealedSource(path)
    with SealedSource(path, key=tmp_path / "key") as source:
        assert bytes(source.read(0, FRAMES)) == recording
        source.check()
    recipient = make_identity(str(tmp_path / "identity"))
    write_result(tmp_path / "wrapped", pattern(20, 4), describe(20), key_store=WrappedKey(recipient, None))
    with pytest.raises(UsageError):
        SealedSource(tmp_path / "wrapped")
    with SealedSource(tmp_path / "wrapped", identity=tmp_path / "identity") as source:
        assert bytes(source.read(0, 20)) == pattern(20, 4)


def test_a_closed_source_has_no_key_and_reads_no_more(sealed):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    source = SealedSource(sealed[0])
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0  # no core dump has the key
    with pytest.raises(IndexError):
        source.read(0, FRAMES + 1)
    source.read(0, 9)
    source.close()
    source.close()
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
    assert not any(source._result._key)
    assert not any(source._result._plain)
    for act in (lambda: source.read(0, 1), source.check):
        with pytest.raises(ValueError, match="closed"):
            act()


def test_what_is_no_result_leaves_core_dumps_as_they_were(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    with pytest.raises(VerificationError):
        SealedSource(tmp_path)
    assert resource.getrlimit(resource.RLIMIT_CORE) == before


def test_nothing_is_read_from_a_result_that_was_not_authenticated(sealed):
    with OpenResult(sealed[0]) as result, pytest.raises(VerificationError, match="not authenticated"):
        result.read(0, 1)
