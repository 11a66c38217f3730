"""Publication, interrupted after each of its steps."""

import os

import pytest
from result_support import NAMES, contents, describe, pattern, sealed_writer, write_pattern

from zaudio.errors import FolderBusyError, OutputExistsError, StorageError, UsageError, VerificationError
from zaudio.result import ResultFolder, decrypt, publication, verify

STEPS = 11  # renames, fsyncs and unlinks of a whole publication
COMMIT_STEP = 3  # the rename of result.commit.part


class Killed(BaseException):
    """What a SIGKILL is to a test: nothing behind it runs."""


class Killer:
    """Lets a number of steps pass and then kills; remembers what the steps were."""

    def __init__(self, monkeypatch, allowed, error=Killed, names=("rename", "fsync", "unlink")):
        self.steps = []
        for name in names:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name), allowed, error))

    def _wrap(self, name, real, allowed, error):
        def step(*args, **kwargs):
            if len(self.steps) >= allowed:
                raise error
            self.steps.append((name, args[0]))
            return real(*args, **kwargs)

        return step


def interrupted(path, monkeypatch, allowed, *, seed=2):
    """Replace the result at `path`, killed after that many steps of its publication."""
    description = describe(30)
    recording = pattern(30, 4, seed)
    folder = ResultFolder(str(path), overwrite=True)
    writer = sealed_writer(folder, recording, description)
    with monkeypatch.context() as patch:
        killer = Killer(patch, allowed)
        try:
            writer.publish()
        except Killed:
            pass
    folder.close()  # as the kernel does
    return recording, killer.steps


def forward(path):
    decrypt(str(path), str(path) + ".wanted", forward=True, overwrite=True)
    with open(str(path) + ".wanted", "rb") as file:
        return file.read()


def by_verify(path):
    verify(str(path))


def by_decrypt(path):
    decrypt(str(path), str(path) + ".other")


def by_next_start(path):
    ResultFolder(str(path), overwrite=True).close()


def by_refused_start(path):
    with pytest.raises(OutputExistsError):
        ResultFolder(str(path))


MENDERS = [by_verify, by_decrypt, by_next_start, by_refused_start]


def test_the_steps_are_the_documented_ones(tmp_path, monkeypatch):
    _, steps = interrupted(tmp_path, monkeypatch, 99)
    kinds = [kind for kind, _ in steps]
    assert kinds == ["fsync", "fsync", "rename", "fsync", *["rename"] * 4, "fsync", "unlink", "fsync"]
    assert len(kinds) == STEPS
    assert steps[COMMIT_STEP - 1] == ("rename", "result.commit.part")
    assert [name for kind, name in steps[COMMIT_STEP:] if kind == "rename"] == [f"{name}.part" for name in NAMES]
    assert steps[-2] == ("unlink", "result.commit")


@pytest.mark.parametrize("mend", MENDERS)
@pytest.mark.parametrize("allowed", range(STEPS + 1))
def test_a_kill_after_any_step_leaves_the_older_result_or_the_newer_one(tmp_path, monkeypatch, allowed, mend):
    path = tmp_path / "out"
    older, _ = write_pattern(path, 20, seed=1)
    before = contents(path)
    newer, _ = interrupted(path, monkeypatch, allowed)
    committed = allowed >= COMMIT_STEP
    if not committed:
        assert {name: contents(path)[name] for name in NAMES} == before
    mend(path)
    assert forward(path) == (newer if committed else older)
    assert committed or {name: contents(path)[name] for name in NAMES} == before
    if mend in (by_next_start, by_refused_start) and (committed or mend is by_next_start):
        assert set(contents(path)) == set(NAMES)


@pytest.mark.parametrize("allowed", range(STEPS + 1))
def test_a_first_result_killed_after_any_step_is_absent_or_whole(tmp_path, monkeypatch, allowed):
    path = tmp_path / "out"
    newer, _ = interrupted(path, monkeypatch, allowed)
    if allowed < COMMIT_STEP:
        with pytest.raises(VerificationError, match="missing"):
            verify(str(path))
        assert not set(contents(path)) & set(NAMES)
        ResultFolder(str(path)).close()
        assert contents(path) == {}
    else:
        assert forward(path) == newer
        assert set(contents(path)) == set(NAMES)


@pytest.mark.parametrize("first", range(COMMIT_STEP, STEPS))
def test_a_recovery_that_is_killed_itself_is_finished_by_the_next(tmp_path, monkeypatch, first):
    path = tmp_path / "out"
    write_pattern(path, 20, seed=1)
    newer, _ = interrupted(path, monkeypatch, first)
    for allowed in range(3):
        with monkeypatch.context() as patch:
            Killer(patch, allowed)
            try:
                verify(str(path))
            except Killed:
                pass
    assert forward(path) == newer


@pytest.mark.parametrize("allowed", range(STEPS))
def test_a_failing_step_is_a_storage_error_and_is_not_tried_again(tmp_path, monkeypatch, allowed):
    path = tmp_path / "out"
    older, _ = write_pattern(path, 20, seed=1)
    newer = pattern(30, 4, 2)
    with ResultFolder(str(path), overwrite=True) as folder:
        writer = sealed_writer(folder, newer, describe(30))
        with monkeypatch.context() as patch:
            killer = Killer(patch, allowed, error=OSError(5, "Input/output error"))
            with pytest.raises(StorageError, match="Input/output error"):
                writer.publish()
            assert len(killer.steps) == allowed
        writer.abort()
    committed = allowed >= COMMIT_STEP
    assert committed or set(contents(path)) == set(NAMES), "the parts were not removed"
    assert forward(path) == (newer if committed else older)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"zaudio result commit 1\n../../etc/passwd\n",
        publication.COMMIT_TEXTS[publication.NAMES][:-1],
        publication.COMMIT_TEXTS[publication.NAMES] + b"x",
        publication.COMMIT_TEXTS[publication.NAMES].replace(b"result.json", b"result.jsoN"),
        publication.COMMIT_TEXTS[publication.NAMES] * 1000,
    ],
)
def test_a_commit_file_that_names_anything_else_is_refused(tmp_path, text):
    write_pattern(tmp_path, 20)
    (tmp_path / "result.commit").write_bytes(text)
    (tmp_path / "result.raw.part").write_bytes(b"planted")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="does not name the files"):
        ResultFolder(str(tmp_path), overwrite=True)
    with pytest.raises(VerificationError, match="does not name the files"):
        verify(str(tmp_path))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_a_commit_file_that_is_no_file_is_refused(tmp_path, kind):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(publication.COMMIT_TEXTS[publication.NAMES])
    path = tmp_path / "out"
    write_pattern(path, 20)
    commit = path / "result.commit"
    {"link": lambda: commit.symlink_to(elsewhere), "folder": commit.mkdir, "fifo": lambda: os.mkfifo(commit)}[kind]()
    with pytest.raises(UsageError, match="does not name the files"):
        ResultFolder(str(path), overwrite=True)
    with pytest.raises(VerificationError, match="does not name the files"):
        verify(str(path))


def test_a_recovery_renames_nothing_over_a_folder(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, COMMIT_STEP)
    (tmp_path / "encryption_iv.bin").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        ResultFolder(str(tmp_path), overwrite=True)
    with pytest.raises(VerificationError, match="is a folder"):
        verify(str(tmp_path))
    assert (tmp_path / "result.raw.part").exists()


def test_a_reader_waits_for_a_publisher_only_for_so_long(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, COMMIT_STEP)
    monkeypatch.setattr(publication, "PATIENCE", 0.05)
    holder = os.open(tmp_path, os.O_RDONLY)
    assert publication.try_lock(holder, "out")
    try:
        with pytest.raises(FolderBusyError):
            verify(str(tmp_path))
    finally:
        os.close(holder)
    verify(str(tmp_path))


def test_a_reader_goes_on_once_the_publisher_is_done(tmp_path, monkeypatch):
    newer, _ = interrupted(tmp_path, monkeypatch, COMMIT_STEP)
    holder = os.open(tmp_path, os.O_RDONLY)
    assert publication.try_lock(holder, "out")
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        publication.finish(holder)

    monkeypatch.setattr(publication.time, "sleep", pause)
    verify(str(tmp_path))
    os.close(holder)
    assert len(pauses) == 1
    assert forward(tmp_path) == newer


def test_a_path_into_a_result_leads_to_its_folder_through_links_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("elsewhere")
    write_pattern(tmp_path / "out")
    os.symlink("out", "to_folder")
    os.symlink("../out/result.raw", "elsewhere/take.raw")
    assert publication.result_of("out") == "out"
    assert publication.result_of("out/result.raw") == "out"
    assert publication.result_of("to_folder/result.raw") == "to_folder"
    assert publication.result_of("elsewhere/take.raw") == str(tmp_path / "out")
    assert publication.result_of("elsewhere") is None
    os.link("out/result.raw", "elsewhere/result.raw")  # a name alone makes no result
    assert publication.result_of("elsewhere/result.raw") is None
