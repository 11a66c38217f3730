import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from result_support import NAMES, contents, describe, pattern, sealed_writer, start_writer, write_pattern

from zaudio.errors import FolderBusyError, OutputExistsError, StorageError, UsageError
from zaudio.result import ResultFolder, check_free, publication, verify
from zaudio.result.publication import COMMIT, JOURNAL

OUTPUTS = [*NAMES, *(f"{name}.part" for name in NAMES), "result.commit.part"]


def test_the_folder_is_made_with_those_above_it(tmp_path):
    path = tmp_path / "a" / "b" / "c"
    with ResultFolder(str(path)) as folder:
        assert path.is_dir()
        assert folder.paths == {
            "result": str(path / "result.raw"),
            "key": str(path / "encryption_key.bin"),
            "iv": str(path / "encryption_iv.bin"),
            "description": str(path / "result.json"),
        }


def test_a_folder_that_was_made_for_nothing_goes_with_those_that_were_made_above_it(tmp_path):
    (tmp_path / "a" / "old").mkdir(parents=True)
    ResultFolder(str(tmp_path / "a" / "b" / "c")).close()
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "old"]
    ResultFolder(str(tmp_path / "a" / "old")).close()
    with ResultFolder(str(tmp_path / "a" / "log")):
        (tmp_path / "a" / "log" / "events.jsonl").touch()
    with ResultFolder(str(tmp_path / "a" / "moved")):
        (tmp_path / "a" / "moved").rename(tmp_path / "a" / "aside")
        (tmp_path / "a" / "moved").mkdir()
    assert sorted(os.listdir(tmp_path / "a")) == ["aside", "log", "moved", "old"]


def test_a_folder_that_goes_while_another_job_opens_it_counts_as_busy(tmp_path, monkeypatch):
    first, lock = ResultFolder(str(tmp_path / "out")), publication.try_lock

    def late(fd, path):
        first.close()
        return lock(fd, path)

    monkeypatch.setattr(publication, "try_lock", late)
    with pytest.raises(FolderBusyError):
        ResultFolder(str(tmp_path / "out"))


def test_a_folder_may_be_reached_through_a_link_and_by_a_relative_name(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    write_pattern("link", 5)
    verify("real")


def test_a_second_job_is_refused_at_once_and_the_first_is_unharmed(tmp_path):
    with ResultFolder(str(tmp_path)) as first:
        writer = sealed_writer(first, pattern(20, 4), describe(20))
        for overwrite in (False, True):
            with pytest.raises(FolderBusyError):
                ResultFolder(str(tmp_path), overwrite=overwrite)
        writer.publish()
        writer.abort()
    verify(str(tmp_path))


def test_closing_releases_the_lock_twice_is_fine(tmp_path):
    folder = ResultFolder(str(tmp_path))
    folder.close()
    folder.close()
    assert folder.closed
    ResultFolder(str(tmp_path)).close()


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def flock(fd, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError, match=r"cannot lock this folder \(Function not implemented\)"):
        ResultFolder(str(tmp_path / "out"))


def test_too_little_room_is_said_before_anything_is_made(tmp_path, monkeypatch):
    free = SimpleNamespace(f_bavail=20, f_frsize=4, f_blocks=100)
    monkeypatch.setattr(os, "fstatvfs", lambda fd: free)
    with ResultFolder(str(tmp_path / "out")) as folder:
        with pytest.raises(StorageError, match="too little room on the disk: 96 bytes are needed, and 80 are free"):
            start_writer(folder, describe(20))
        assert contents(tmp_path / "out") == {}
    free.f_blocks = 0  # it does not know
    write_pattern(tmp_path / "out")


def test_the_lock_leaves_no_file_and_dies_with_its_process(tmp_path):
    code = (
        "import sys; from zaudio.result import ResultFolder\n"
        "folder = ResultFolder(sys.argv[1]); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"locked\n"
        assert contents(tmp_path) == {}
        with pytest.raises(FolderBusyError):
            ResultFolder(str(tmp_path))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    ResultFolder(str(tmp_path)).close()


def test_a_child_process_does_not_inherit_the_lock(tmp_path):
    folder = ResultFolder(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        folder.close()
        ResultFolder(str(tmp_path)).close()
        child.communicate(b"\n")


@pytest.mark.parametrize("name", NAMES)
def test_any_of_the_four_files_counts_as_a_result(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(OutputExistsError, match=name):
        ResultFolder(str(tmp_path))
    ResultFolder(str(tmp_path), overwrite=True).close()
    assert contents(tmp_path) == {name: b""}


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "take.wav").write_bytes(b"RIFF")
    (tmp_path / "take.part").write_bytes(b"half")
    write_pattern(tmp_path, 5)
    assert contents(tmp_path)["take.wav"] == b"RIFF"
    assert contents(tmp_path)["take.part"] == b"half"


def test_parts_of_a_dead_job_are_removed(tmp_path):
    for name in OUTPUTS[len(NAMES) :]:
        (tmp_path / name).write_bytes(b"stale")
    ResultFolder(str(tmp_path)).close()
    assert contents(tmp_path) == {}


def test_parts_stay_while_their_job_lives(tmp_path):
    with ResultFolder(str(tmp_path)) as folder:
        writer = sealed_writer(folder, pattern(20, 4), describe(20))
        before = contents(tmp_path)
        with pytest.raises(FolderBusyError):
            ResultFolder(str(tmp_path))
        assert contents(tmp_path) == before
        writer.abort()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "FIFO") for name in OUTPUTS),
        *((OUTPUTS[0], kind) for kind in ("symbolic link", "dangling", "folder", "socket")),
    ],
)
def test_only_files_are_replaced(tmp_path, name, kind, overwrite, monkeypatch):
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    path = tmp_path / "out"
    path.mkdir()
    monkeypatch.chdir(path)  # the name of a socket is short or refused
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "symbolic link":
                os.symlink(target, name)
            case "dangling":
                os.symlink("nowhere", name)
            case "FIFO":
                os.mkfifo(name)
            case "folder":
                os.mkdir(name)
            case "socket":
                listener.bind(name)
        with pytest.raises(UsageError, match="only a file may be replaced") as caught:
            ResultFolder(str(path), overwrite=overwrite)
    assert not isinstance(caught.value, OutputExistsError)
    assert kind.replace("dangling", "symbolic link") in str(caught.value)
    assert os.path.lexists(path / name)
    assert target.read_bytes() == b"precious"
    os.unlink(name) if kind != "folder" else os.rmdir(name)
    ResultFolder(str(path)).close()  # the refusal kept no lock


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "", "nul\0byte"])
def test_a_path_that_is_no_folder_is_refused(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError):
        ResultFolder(name)
    assert (tmp_path / "file").read_bytes() == b""


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write to any folder, whatever its mode")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="cannot be written to"):
            ResultFolder(str(tmp_path))
        with pytest.raises(UsageError):
            ResultFolder(str(tmp_path / "below"))
    finally:
        tmp_path.chmod(0o700)


def test_the_systems_no_to_writing_is_heard_for_root_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args, **kwargs: False)
    with pytest.raises(UsageError, match="cannot be written to"):
        ResultFolder(str(tmp_path))


def test_a_result_that_came_while_the_job_ran_is_not_overwritten(tmp_path):
    with ResultFolder(str(tmp_path)) as folder:
        writer = sealed_writer(folder, pattern(20, 4), describe(20))
        (tmp_path / "encryption_key.bin").write_bytes(b"somebody's")
        with pytest.raises(OutputExistsError):
            writer.publish()
        writer.abort()
    assert contents(tmp_path) == {"encryption_key.bin": b"somebody's"}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_is_gone_is_found_before_the_commit(tmp_path, name, replace):
    write_pattern(tmp_path, 10, seed=1)
    before = contents(tmp_path)
    with ResultFolder(str(tmp_path), overwrite=True) as folder:
        writer = sealed_writer(folder, pattern(20, 4), describe(20))
        part = tmp_path / f"{name}.part"
        part.rename(tmp_path / "aside")
        if replace:
            part.write_bytes(b"other")
        with pytest.raises(StorageError, match="removed or replaced"):
            writer.publish()
        writer.abort()
    (tmp_path / "aside").unlink()
    assert contents(tmp_path) == before


def test_a_folder_renamed_under_the_job_takes_the_result_with_it(tmp_path):
    with ResultFolder(str(tmp_path / "before")) as folder:
        writer = sealed_writer(folder, pattern(20, 4), describe(20))
        (tmp_path / "before").rename(tmp_path / "after")
        writer.publish()
        writer.abort()
    verify(str(tmp_path / "after"))


def test_opening_and_refusing_leaks_no_descriptor(tmp_path):
    write_pattern(tmp_path, 5)
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        with pytest.raises(OutputExistsError):
            ResultFolder(str(tmp_path))
        ResultFolder(str(tmp_path), overwrite=True).close()
    assert len(os.listdir("/dev/fd")) == before


def test_a_finished_result_is_found_before_the_folder_is_opened(tmp_path):
    path = tmp_path / "out"
    check_free(str(path))
    write_pattern(path)
    with pytest.raises(OutputExistsError, match=r"result\.raw exists already"):
        check_free(str(path))
    for name in (JOURNAL, COMMIT):  # a job of which more must be known
        (path / name).touch()
        check_free(str(path))
        (path / name).unlink()
