import json
import os

import pytest
from net_support import wait_until
from result_support import describe, job_record, pattern, payloads, start_writer, write_pattern

from zaudio.errors import UsageError
from zaudio.records import Schedule
from zaudio.result import ADDRESS, ResultFolder, glance, is_reserved, read_address
from zaudio.result.journal import MAGIC

DESCRIBED = describe(4096, chunk_frames=1024)
RECORDING = pattern(4096, 4)


@pytest.fixture
def half_done(tmp_path, monkeypatch):
    """A folder, open, in which half a job is written and covered by checkpoints."""
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)
    path = tmp_path / "out"
    with ResultFolder(str(path), job=job_record(DESCRIBED)) as folder:
        writer, _, _ = start_writer(folder, DESCRIBED)
        for payload in payloads(RECORDING, DESCRIBED)[:2]:
            writer.put(payload)
        wait_until(lambda: writer.saved, "a checkpoint is there")
        yield path, writer
        writer.abort()


def test_a_job_that_runs_is_seen_without_its_key_and_without_its_lock(half_done):
    seen = glance(str(half_done[0]), now=half_done[0].stat().st_mtime)
    assert (seen.state, seen.bytes, seen.incarnation) == ("running", 16384, 1)
    assert 0 < seen.written <= 8192
    assert seen.description == DESCRIBED


def test_a_job_that_was_left_is_interrupted(half_done):
    path, writer = half_done
    writer.abort()
    writer._folder.close()
    seen = glance(str(path), now=path.stat().st_mtime + 100)
    assert (seen.state, seen.bytes) == ("interrupted", 16384)
    assert seen.quiet == pytest.approx(100, abs=10)


def test_a_published_result_is_done(tmp_path):
    _, described = write_pattern(tmp_path / "out")
    seen = glance(str(tmp_path / "out"), now=0.0)
    assert (seen.state, seen.bytes, seen.written) == ("done", described.plaintext_bytes, described.plaintext_bytes)


def test_an_empty_folder_has_no_job(tmp_path):
    assert glance(str(tmp_path), now=0.0).state == "empty"


def test_a_folder_that_is_none_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no output folder can be read"):
        glance(str(tmp_path / "nowhere"), now=0.0)


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"zaudio result journal 1\n", MAGIC + b"\0\0\0\4null"])
def test_a_damaged_journal_tells_nothing_and_is_no_error(tmp_path, content):
    (tmp_path / "result.journal").write_bytes(content)
    seen = glance(str(tmp_path), now=0.0)
    assert (seen.state, seen.bytes, seen.description) == ("interrupted", 0, None)


def test_a_glance_writes_nothing(half_done):
    path, _ = half_done
    before = {entry.name: entry.stat().st_mtime_ns for entry in path.iterdir() if entry.suffix == ".journal"}
    glance(str(path), now=0.0)
    assert {entry.name: entry.stat().st_mtime_ns for entry in path.iterdir() if entry.suffix == ".journal"} == before


def test_an_address_is_read_from_the_folder(tmp_path):
    (tmp_path / ADDRESS).write_text(json.dumps({"address": "http://127.0.0.1:1/", "token": "ab"}))
    assert read_address(str(tmp_path)) == ("http://127.0.0.1:1/", "ab")
    assert is_reserved(str(tmp_path / ADDRESS), str(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"address": 1, "token": 2}', "null"])
def test_a_file_without_an_address_is_none(tmp_path, content):
    (tmp_path / ADDRESS).write_text(content)
    assert read_address(str(tmp_path)) is None


def test_no_link_is_followed_to_an_address(tmp_path):
    (tmp_path / "there").write_text(json.dumps({"address": "http://127.0.0.1:1/", "token": "ab"}))
    os.symlink("there", tmp_path / ADDRESS)
    assert read_address(str(tmp_path)) is None


def test_a_page_s_token_is_the_same_in_all_lives_and_tells_nothing_of_the_key(half_done):
    path, writer = half_done
    token, key = writer.page_token, (path / "encryption_key.bin.part").read_bytes()
    assert len(bytes.fromhex(token)) == 24
    assert bytes.fromhex(token) not in key
    writer.abort()
    writer._folder.close()
    with ResultFolder(str(path), job=job_record(DESCRIBED)) as folder:
        later, _, resumed = start_writer(folder, DESCRIBED)
        later.abort()
    assert resumed > 0
    assert later.page_token == token


def test_another_job_has_another_token(tmp_path):
    def token_of(name):
        with ResultFolder(str(tmp_path / name)) as folder:
            writer, _, _ = start_writer(folder, DESCRIBED)
            writer.abort()
        return writer.page_token

    assert token_of("a") != token_of("b")
