import os

import pytest
from result_support import NAMES, describe, pattern, sealed_writer, write_pattern

from zaudio.errors import VerificationError
from zaudio.result import ResultFolder, reader, verify


def read_set(path):
    fds = reader.open_set(str(path))
    try:
        return {name: os.pread(fd, 1 << 16, 0) for name, fd in fds.items()}
    finally:
        for fd in fds.values():
            os.close(fd)


class Interference:
    """Does something once, right before the n-th time that a file of a result is opened for reading."""

    def __init__(self, monkeypatch, before_open, action):
        self.opened, self.done = 0, False
        real = os.open

        def opening(name, flags, *args, **kwargs):
            if name in NAMES and not flags & os.O_CREAT and kwargs.get("dir_fd") is not None:
                if self.opened == before_open and not self.done:
                    self.done = True
                    action()
                self.opened += 1
            return real(name, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", opening)


def test_the_four_files_are_opened_for_reading_only(tmp_path):
    write_pattern(tmp_path, 10)
    assert read_set(tmp_path) == {name: (tmp_path / name).read_bytes() for name in NAMES}


@pytest.mark.parametrize("before_open", range(5))
def test_a_publication_between_two_opens_never_gives_a_mixed_set(tmp_path, monkeypatch, before_open):
    path = tmp_path / "out"
    write_pattern(path, 10, seed=1)
    interference = Interference(monkeypatch, before_open, lambda: write_pattern(path, 10, seed=2, overwrite=True))
    verify(str(path))
    assert interference.done == (before_open < 4)
    assert interference.opened == (8 if interference.done else 4)


def half_publish(path, monkeypatch, *, renames):
    """A publication that is killed after so many renames, the commit file's included."""
    with monkeypatch.context() as patch, ResultFolder(str(path), overwrite=True) as folder:
        writer = sealed_writer(folder, pattern(30, 4, 2), describe(30))
        rename, count = os.rename, []

        def counted(*args, **kwargs):
            count.append(args)
            if len(count) > renames:
                raise KeyboardInterrupt
            rename(*args, **kwargs)

        patch.setattr(os, "rename", counted)
        with pytest.raises(KeyboardInterrupt):
            writer.publish()


@pytest.mark.parametrize("renames", [1, 2, 3, 4])
@pytest.mark.parametrize("before_open", range(4))
def test_a_publisher_killed_between_two_opens_is_finished_by_the_reader(tmp_path, monkeypatch, before_open, renames):
    write_pattern(tmp_path, 10, seed=1)
    Interference(monkeypatch, before_open, lambda: half_publish(tmp_path, monkeypatch, renames=renames))
    assert verify(str(tmp_path)).frames == 30
    assert {entry.name for entry in tmp_path.iterdir()} == set(NAMES)


@pytest.mark.parametrize("renames", [1, 2, 3, 4])
def test_a_publisher_killed_before_the_first_look_is_finished_by_the_reader(tmp_path, monkeypatch, renames):
    write_pattern(tmp_path, 10, seed=1)
    real, done = reader._identities, []

    def look(folder):
        if not done:
            done.append(True)
            half_publish(tmp_path, monkeypatch, renames=renames)
        return real(folder)

    monkeypatch.setattr(reader, "_identities", look)
    assert verify(str(tmp_path)).frames == 30
    assert {entry.name for entry in tmp_path.iterdir()} == set(NAMES)


def test_a_first_publication_while_the_files_are_looked_for_is_found(tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.mkdir()
    real, done = reader._try_open, []

    def late(folder, where, fds):
        failure = real(folder, where, fds)
        if not done:
            done.append(failure)
            write_pattern(path, 10)
        return failure

    monkeypatch.setattr(reader, "_try_open", late)
    verify(str(path))
    assert done[0] is not None


def test_files_that_change_each_time_are_given_up(tmp_path, monkeypatch):
    write_pattern(tmp_path, 10)
    real = reader._try_open

    def replace(folder, path, fds):
        failure = real(folder, path, fds)
        (tmp_path / "copy").write_bytes(bytes(32))
        (tmp_path / "copy").rename(tmp_path / "encryption_key.bin")
        return failure

    monkeypatch.setattr(reader, "_try_open", replace)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(VerificationError, match="changed each time"):
        verify(str(tmp_path))
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["symbolic link", "FIFO", "folder"])
def test_what_is_no_file_is_not_opened_as_one(tmp_path, name, kind):
    path = tmp_path / "out"
    write_pattern(path, 10)
    (path / name).rename(tmp_path / "aside")
    match kind:
        case "symbolic link":
            (path / name).symlink_to(tmp_path / "aside")
        case "FIFO":
            os.mkfifo(path / name)
        case "folder":
            (path / name).mkdir()
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(VerificationError, match=f"{name}: it is a {kind} and not a file"):
        verify(str(path))
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("name", ["missing", "file", "nul\0byte", ""])
def test_what_is_no_folder_cannot_be_verified(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(VerificationError, match="no folder"):
        verify(name)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read any file, whatever its mode")
    write_pattern(tmp_path, 10)
    (tmp_path / "encryption_key.bin").chmod(0)
    with pytest.raises(VerificationError, match=r"encryption_key\.bin: it cannot be opened: Permission denied"):
        verify(str(tmp_path))
