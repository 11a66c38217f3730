"""A key that lies elsewhere: from its first instant, in all lives of the job, and after any interruption."""

import os
import stat

import pytest
from net_support import wait_until
from result_support import contents, describe, job_record, pattern, rest, sealed_writer, start_writer, write_pattern
from test_result_publication import COMMIT_STEP, Killed, Killer

from zaudio import disk
from zaudio.errors import OutputExistsError, ResumeError, StorageError, UsageError, VerificationError
from zaudio.records import Schedule
from zaudio.result import KeyFile, ResultFolder, decrypt, verify

DESCRIPTION = describe(100)
RECORDING = pattern(100, 4)
KEYLESS = {"result.raw", "encryption_iv.bin", "result.json"}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def key(tmp_path):
    return tmp_path / "key"


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """A checkpoint after each write."""
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)


def open_folder(out, key=None, **options):
    key_file = KeyFile(str(key)) if key is not None else None
    return ResultFolder(str(out), job=job_record(DESCRIPTION), key_file=key_file, **options)


def leave(out, key, *, chunks=5):
    """Do a part of a job whose key lies elsewhere; return the bytes that were saved."""
    with open_folder(out, key) as folder:
        writer, _, resumed = start_writer(folder, DESCRIPTION)
        for payload in rest(RECORDING, DESCRIPTION, resumed)[:chunks]:
            writer.put(payload)
        wait_until(lambda: writer.saved == writer._plaintext._taken // 16 * 16, "all whole blocks are saved")
        writer.abort()
        return writer.saved


def finish(out, key, **options):
    with open_folder(out, key, **options) as folder:
        writer, bell, resumed = start_writer(folder, DESCRIPTION)
        for payload in rest(RECORDING, DESCRIPTION, resumed):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed or writer.error)
        assert writer.publish()["key"] == str(key)
        return resumed


def assert_result(out, key):
    assert set(contents(out)) == KEYLESS
    decrypt(out, out.parent / "forward.raw", forward=True, overwrite=True, key=key)
    assert (out.parent / "forward.raw").read_bytes() == RECORDING


def test_the_key_lies_there_alone_and_its_owner_alone_reads_it(out, key):
    before = os.umask(0)
    try:
        finish(out, key)
    finally:
        os.umask(before)
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert_result(out, key)
    verify(out, key=key)


def test_the_key_is_durable_before_the_journal_names_the_job(out, key, monkeypatch):
    def no_journal(self):
        assert len(key.read_bytes()) == 32
        assert not any(key.read_bytes() in content for content in contents(out).values())
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ResultFolder, "open_journal", no_journal)
    with open_folder(out, key) as folder, pytest.raises(StorageError, match="Input/output error"):
        start_writer(folder, DESCRIPTION)


@pytest.mark.parametrize("first", [{}, {"overwrite": True, "fresh": True}])
def test_a_start_that_is_killed_anywhere_is_started_again_by_the_same_command(tmp_path, monkeypatch, first):
    """No key of a dead start blocks the next one, though a key is never written over."""
    allowed, began, keys = 0, False, set()
    while not began:
        out, key = tmp_path / f"out{allowed}", tmp_path / f"key{allowed}"
        folder = None
        with monkeypatch.context() as patch:
            Killer(patch, allowed, names=("open", "write", "fchmod", "fsync", "rename", "unlink"))
            try:
                folder = open_folder(out, key, **first)
                writer, _, _ = start_writer(folder, DESCRIPTION)
                began = True
            except Killed:
                pass
        if began:
            writer.abort()
        if folder is not None:
            folder.close()
        keys.add(key.read_bytes()[:1] != b"" if key.exists() else None)
        assert finish(out, key, **first) == 0
        assert_result(out, key)
        assert key.name in os.listdir(tmp_path)
        allowed += 1
    assert keys == {None, False, True}  # it was killed before, amid and after making the key
    assert allowed > 20


@pytest.mark.parametrize("content", [b"precious", bytes(32)])
def test_a_claim_is_on_one_key_alone(out, key, monkeypatch, content):
    with open_folder(out, key) as folder, monkeypatch.context() as patch:
        patch.setattr("zaudio.result.opening.primitives.random_iv", lambda: bytes(16))
        patch.setattr(ResultFolder, "remove_claim", lambda self: None)
        patch.setattr(ResultFolder, "open_journal", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            start_writer(folder, DESCRIPTION)
    assert "encryption_key.claim.part" in contents(out)
    key.write_bytes(content)
    with pytest.raises(UsageError, match="a key is never written over"):
        open_folder(out, key)
    assert key.read_bytes() == content


def test_a_job_that_has_done_nothing_leaves_no_key(out, key):
    with open_folder(out, key) as folder:
        writer, _, _ = start_writer(folder, DESCRIPTION)
        assert key.exists()
        writer.abort()
    assert not key.exists()
    assert not out.exists()


def test_a_resume_needs_the_key_and_takes_it_from_where_it_lies_now(out, key):
    saved = leave(out, key)
    assert saved > 0
    with pytest.raises(ResumeError, match=r"its key is not in the folder; pass --key-out FILE"):
        open_folder(out)
    with pytest.raises(ResumeError, match=f"its key is missing: there is no {key}2"):
        open_folder(out, f"{key}2")
    key.rename(f"{key}2")
    key.write_bytes(bytes(32))
    with pytest.raises(ResumeError, match=f"its journal is damaged, or {key} is not its key"):
        open_folder(out, key)
    assert finish(out, f"{key}2") == saved
    assert_result(out, f"{key}2")


def test_a_job_that_was_begun_without_is_not_resumed_with_a_key_elsewhere(out, key):
    with open_folder(out) as folder:
        writer, _, _ = start_writer(folder, DESCRIPTION)
        writer.put(rest(RECORDING, DESCRIPTION, 0)[0])
        writer.put(rest(RECORDING, DESCRIPTION, 0)[1])
        wait_until(lambda: writer.saved > 0, "something is saved")
        writer.abort()
    with pytest.raises(ResumeError, match="its key lies in the folder, since it was begun without --key-out"):
        open_folder(out, key)


def test_an_older_key_is_never_written_over(out, key):
    key.write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="a key is never written over"):
            open_folder(out, key, overwrite=overwrite)
    assert key.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["", "-", "keys/", "k" * 300, "file/key", "nul\0"])
def test_a_name_that_no_file_can_have_is_refused_by_that_name(out, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is no name of a file for the key") as caught:
        open_folder(out, name)
    assert name[:30] in str(caught.value) or name == "nul\0"
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_key_in_a_folder_that_was_deleted_is_refused_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match=r"^mine: the key cannot lie there: No such file"):
        KeyFile("mine")


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(out, key, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, *rest, **more: path != str(key.parent) and real(path, *rest, **more))
    with pytest.raises(UsageError, match=f"the folder {key.parent} cannot be written to"):
        open_folder(out, key)


def test_of_two_jobs_with_one_key_file_the_second_leaves_the_first_ones_key(out, key):
    with open_folder(out, key) as first, open_folder(out.with_name("out2"), key) as second:
        writer, bell, _ = start_writer(first, DESCRIPTION)
        stored = key.read_bytes()
        with pytest.raises(StorageError, match="another program has made this file since the job began"):
            start_writer(second, DESCRIPTION)
        second.remove_parts()
        assert key.read_bytes() == stored
        for payload in rest(RECORDING, DESCRIPTION, 0):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed or writer.error)
        writer.publish()
    assert not out.with_name("out2").exists()
    assert_result(out, key)


def test_a_key_that_could_not_be_written_whole_is_not_left(out, key, monkeypatch):
    real = disk.store

    def full(fd, content):
        if not key.exists():  # the claim
            return real(fd, content)
        os.write(fd, bytes(content)[:10])
        os.close(fd)
        raise OSError(28, "No space left on device")

    with open_folder(out, key) as folder, monkeypatch.context() as patch:
        patch.setattr("zaudio.disk.store", full)
        with pytest.raises(StorageError, match=f"{key}: No space left"):
            start_writer(folder, DESCRIPTION)
    assert not key.exists()
    finish(out, key)


def _link(key):
    key.rename(f"{key}2")
    key.symlink_to(f"{key}2")


def _pipe(key):
    key.unlink()
    os.mkfifo(key)


def _folder(key):
    key.unlink()
    key.mkdir()


@pytest.mark.parametrize(
    ("replace", "sentence"),
    [
        (_link, "the key cannot be read: it is a link; name the file itself"),
        (_pipe, "is no key of a job: it is a FIFO, not a regular file"),
        (_folder, "is no key of a job: it is a folder, not a regular file"),
    ],
)
def test_a_resume_refuses_what_is_no_file_and_names_it(out, key, replace, sentence):
    """Of a link it would be found after all the work that the key was replaced."""
    leave(out, key)
    before = contents(out)
    replace(key)
    with pytest.raises(UsageError, match=f"{key}.*{sentence}"):
        open_folder(out, key)
    assert contents(out) == before


def test_fresh_discards_the_key_of_the_job_that_it_discards_and_no_other(out, key):
    leave(out, key)
    older = key.read_bytes()
    other = key.with_name("other")
    other.write_bytes(bytes(32))
    before = contents(out)
    with pytest.raises(UsageError, match="a key is never written over"):
        open_folder(out, other, fresh=True)
    assert other.exists()
    assert contents(out) == before  # nothing was discarded either
    leave(out.with_name("out2"), key.with_name("key2"))
    assert finish(out.with_name("out2"), key.with_name("key2"), fresh=True) == 0
    assert key.read_bytes() == older


def test_a_key_that_is_gone_is_found_before_the_commit(out, key):
    with open_folder(out, key) as folder:
        writer, bell, _ = start_writer(folder, DESCRIPTION)
        for payload in rest(RECORDING, DESCRIPTION, 0):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed or writer.error)
        key.rename(f"{key}2")
        with pytest.raises(StorageError, match="the key was removed or replaced while the job ran"):
            writer.publish()
        writer.abort()
    assert not (out / "result.raw").exists()


def test_an_older_result_is_replaced_as_one_and_its_key_goes_with_it(out, key, monkeypatch):
    write_pattern(out, 30)
    allowed, published = 0, False
    while not published:
        folder = ResultFolder(str(out), overwrite=True, key_file=KeyFile(f"{key}{allowed}"))
        writer = sealed_writer(folder, RECORDING, DESCRIPTION)
        with monkeypatch.context() as patch:
            Killer(patch, allowed)
            try:
                writer.publish()
                published = True
            except Killed:
                pass
        folder.close()
        if allowed < COMMIT_STEP:
            assert verify(out).frames == 30
        else:
            assert verify(out, key=f"{key}{allowed}").frames == 100
            assert set(contents(out)) == KEYLESS
            with pytest.raises(VerificationError, match=r"name it with --key FILE .*, or .* with --input-key FILE"):
                verify(out)
            with pytest.raises(OutputExistsError):
                open_folder(out, f"{key}-")
            for path in out.iterdir():
                path.unlink()
            write_pattern(out, 30)
        allowed += 1
    assert allowed > COMMIT_STEP + 3


def test_a_killed_publication_is_known_to_be_done(out, key, monkeypatch):
    leave(out, key)
    with open_folder(out, key) as folder:
        writer, bell, resumed = start_writer(folder, DESCRIPTION)
        for payload in rest(RECORDING, DESCRIPTION, resumed):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed or writer.error)
        with monkeypatch.context() as patch:
            Killer(patch, COMMIT_STEP + 1)
            with pytest.raises(Killed):
                writer.publish()
    with open_folder(out, key) as folder:
        assert folder.done
        folder.remove_parts()
    verify(out, key=key)


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33), bytes(1000)])
def test_what_is_no_key_is_refused(out, tmp_path, content):
    write_pattern(out)
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(UsageError, match="other is no key: 32 bytes expected"):
        verify(out, key=tmp_path / "other")
    with pytest.raises(UsageError, match="the key cannot be read: No such file"):
        verify(out, key=tmp_path / "nothing")


def test_the_key_of_another_result_is_named(out, tmp_path):
    write_pattern(out)
    (tmp_path / "other").write_bytes(bytes(32))
    with pytest.raises(VerificationError, match=r"or .*other is the key of another result"):
        verify(out, key=tmp_path / "other")


def test_a_key_comes_through_a_pipe(out):
    write_pattern(out)
    read, write = os.pipe()
    os.write(write, (out / "encryption_key.bin").read_bytes())
    os.close(write)
    try:
        verify(out, key=f"/dev/fd/{read}")
    finally:
        os.close(read)


def test_the_key_is_never_the_output(out, key):
    finish(out, key)
    with pytest.raises(UsageError, match="is the key, which other results may need"):
        decrypt(out, key, key=key, overwrite=True)
