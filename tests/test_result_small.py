"""Results from memory: the bytes of the large way, and all or nothing."""

import os
from pathlib import Path

import pytest
from result_support import NAMES, describe, pattern, payloads, sealed_writer

from zaudio.errors import OutputExistsError, StorageError, UsageError, VerificationError
from zaudio.result import ResultFolder, look_at, primitives, publish_small, verify

LENGTHS = [0, 1, 15, 16, 17, 5003, (1 << 18) + 3]


@pytest.fixture
def fixed(monkeypatch):
    """The same key and IV every time."""
    monkeypatch.setattr(primitives, "random_key", lambda: bytearray(range(32)))
    monkeypatch.setattr(primitives, "random_iv", lambda: bytes(range(16)))


def published(folder, recording, description, **options):
    samples = b"".join(payloads(recording, description))
    with ResultFolder(str(folder)) as open_folder:
        return publish_small(open_folder, description, samples, **options)


@pytest.mark.parametrize("frames", LENGTHS)
def test_a_small_result_has_the_bytes_of_the_large_way(tmp_path, fixed, frames):
    description = describe(frames, format="s16le")
    recording = pattern(frames, 2)
    tag = published(tmp_path / "small", recording, description)
    with ResultFolder(str(tmp_path / "large")) as folder:
        writer = sealed_writer(folder, recording, description)
        writer.publish()
        writer.abort()
    for name in NAMES:
        small, large = (tmp_path / way / name for way in ("small", "large"))
        assert small.read_bytes() == large.read_bytes(), name
        assert small.stat().st_mode == large.stat().st_mode, name
    assert sorted(os.listdir(tmp_path / "small")) == sorted(NAMES)
    assert look_at(str(tmp_path / "small")) == (description, tag)


def test_a_small_result_verifies(tmp_path):
    description = describe(1000)
    published(tmp_path, pattern(1000, 4), description)
    assert verify(tmp_path) == description


def test_every_small_result_has_a_key_of_its_own(tmp_path):
    for name in "ab":
        published(tmp_path / name, pattern(10, 4), describe(10))
    keys = {(tmp_path / name / "encryption_key.bin").read_bytes() for name in "ab"}
    assert len(keys) == 2


def test_samples_of_another_length_are_refused(tmp_path):
    with ResultFolder(str(tmp_path)) as folder:
        for length in (39, 41):
            with pytest.raises(UsageError, match="bytes"):
                publish_small(folder, describe(10), bytes(length))
    assert os.listdir(tmp_path) == []


def test_what_is_called_before_publication_sees_no_final_name_and_can_prevent_it(tmp_path):
    seen = []

    def before(tag):
        seen.append((tag, sorted(os.listdir(tmp_path))))
        raise StorageError("manifest", "no room")

    with pytest.raises(StorageError, match="no room"):
        published(tmp_path, pattern(10, 4), describe(10), before=before)
    [(tag, names)] = seen
    assert len(tag) == 32
    assert names == sorted(f"{name}.part" for name in NAMES)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fails_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    for number in range(4):
        calls = []
        sync = os.fsync

        def fail(fd, calls=calls, number=number, sync=sync):
            calls.append(fd)
            if len(calls) == number + 1:
                raise OSError(5, "Input/output error")
            sync(fd)

        folder = tmp_path / str(number)
        with ResultFolder(str(folder)) as open_folder, monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(StorageError, match="Input/output error"):
                publish_small(open_folder, describe(10), bytes(40))
        assert not folder.exists()


def test_an_older_result_stays_unless_it_is_to_be_replaced(tmp_path):
    published(tmp_path, pattern(10, 4), describe(10))
    old = (tmp_path / "result.raw").read_bytes()
    with pytest.raises(OutputExistsError):
        published(tmp_path, pattern(10, 4, seed=2), describe(10))
    assert (tmp_path / "result.raw").read_bytes() == old
    with ResultFolder(str(tmp_path), overwrite=True) as folder:
        publish_small(folder, describe(11), bytes(44))
    assert verify(tmp_path).frames == 11


@pytest.mark.parametrize("damage", ["nothing", "shorter", "no json", "text"])
def test_a_look_finds_a_missing_or_shorter_result(tmp_path, damage):
    folder = tmp_path / "out"
    if damage != "nothing":
        published(folder, pattern(10, 4), describe(10))
    if damage == "shorter":
        Path(folder / "result.raw").write_bytes(bytes(32))
    elif damage == "no json":
        os.unlink(folder / "result.json")
    elif damage == "text":
        Path(folder / "result.json").write_text("hello")
    with pytest.raises(VerificationError):
        look_at(str(folder))
