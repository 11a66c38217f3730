import errno
import io
import os
import stat

import pytest

from zaudio import disk
from zaudio.errors import DiskFullError, StorageError


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_private_file_is_0600_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        os.close(disk.create(str(tmp_path / "key"), mode=disk.PRIVATE))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_private_file_is_never_wider_than_0600_not_even_for_an_instant(tmp_path, monkeypatch):
    seen = []

    def fchmod(fd, mode):
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode))

    monkeypatch.setattr(os, "fchmod", fchmod)
    before = os.umask(0)
    try:
        os.close(disk.create(str(tmp_path / "key"), mode=disk.PRIVATE))
    finally:
        os.umask(before)
    assert seen == [0o600]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_file_is_created_only_where_nothing_is(tmp_path, kind):
    target = tmp_path / "target"
    if kind != "dangling":
        target.write_bytes(b"older")
    name = target if kind == "file" else tmp_path / "link"
    if kind != "file":
        name.symlink_to(target)
    with pytest.raises(FileExistsError):
        disk.create(str(name), mode=disk.PUBLIC)
    assert target.exists() == (kind != "dangling")


def test_short_writes_and_reads_go_on_where_they_stopped(tmp_path, monkeypatch):
    write, preadv = os.write, os.preadv
    monkeypatch.setattr(os, "write", lambda fd, piece: write(fd, bytes(piece)[:3]))
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: preadv(fd, [views[0][:3]], offset))
    disk.store(disk.create(str(tmp_path / "out"), mode=disk.PUBLIC), memoryview(b"0123456789"))
    assert (tmp_path / "out").read_bytes() == b"0123456789"
    fd = os.open(tmp_path / "out", disk.READ)
    buffer = bytearray(6)
    assert disk.read_into(fd, memoryview(buffer), 2) == 6
    assert buffer == b"234567"
    assert disk.read_into(fd, memoryview(buffer), 8) == 2
    assert disk.read_into(fd, memoryview(buffer), 10) == 0
    os.close(fd)


@pytest.mark.parametrize(("size", "read"), [(0, 0), (4, 4), (5, 5), (6, 6), (7, 6), (1000, 6)])
def test_of_a_file_that_is_too_long_one_byte_more_is_read(tmp_path, size, read):
    content = bytes(range(256)) * 4
    (tmp_path / "file").write_bytes(content[:size])
    fd = os.open(tmp_path / "file", disk.READ)
    assert disk.read_all(fd, 5) == content[:read]
    os.close(fd)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_file_that_cannot_be_stored_is_closed(tmp_path, monkeypatch, call):
    fd = disk.create(str(tmp_path / "out"), mode=disk.PUBLIC)

    def fails(*_):
        raise OSError(28, "the disk is full")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(OSError, match="full"):
        disk.store(fd, b"content")
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


def test_descriptors_do_not_reach_child_processes(tmp_path):
    fd = disk.create(str(tmp_path / "out"), mode=disk.PUBLIC)
    assert not os.get_inheritable(fd)
    os.close(fd)


# A whole file


@pytest.fixture
def write(tmp_path):
    """Write a whole file of that content."""

    def write(content=b"newer", **settings):
        with disk.whole_file(str(tmp_path / "file"), "file.part", mode=disk.PUBLIC, **settings) as fd:
            disk.write_all(fd, content)

    return write


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("older", [None, b"older"])
def test_a_whole_file_is_durable_before_its_name_and_its_name_at_the_end(tmp_path, monkeypatch, write, older):
    steps, rename, fsync = [], os.rename, os.fsync
    if older is not None:
        (tmp_path / "file").write_bytes(older)

    def noted_rename(*args, **kwargs):
        steps.append("rename")
        rename(*args, **kwargs)

    def noted_fsync(fd):
        steps.append("fsync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        fsync(fd)

    monkeypatch.setattr(os, "rename", noted_rename)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    write(check=lambda: steps.append("check"))
    assert steps == ["fsync file", "check", "rename", "fsync folder"]
    assert listing(tmp_path) == {"file": b"newer"}


@pytest.mark.parametrize("error", [OSError(28, "the disk is full"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "check"])
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch, write, call, error):
    (tmp_path / "file").write_bytes(b"older")
    descriptors = len(os.listdir("/dev/fd"))

    def fail(*_, **__):
        raise error

    if call != "check":
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        write(check=fail)
    assert listing(tmp_path) == {"file": b"older"}
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_name_that_may_not_last_is_told_apart_from_one_that_was_never_given(tmp_path, monkeypatch, write):
    fsync = os.fsync

    def fail_on_folders(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(5, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail_on_folders)
    with pytest.raises(OSError, match="Input/output error; the file is there, whole"):
        write()
    assert listing(tmp_path) == {"file": b"newer"}


def test_a_part_of_somebody_else_stays(tmp_path, write):
    (tmp_path / "file.part").write_bytes(b"of another")
    with pytest.raises(FileExistsError):
        write()
    assert listing(tmp_path) == {"file.part": b"of another"}


def test_a_folder_that_is_renamed_meanwhile_gets_the_file_all_the_same(tmp_path):
    (tmp_path / "before").mkdir()
    with disk.whole_file(str(tmp_path / "before" / "file"), "file.part", mode=disk.PRIVATE) as fd:
        disk.write_all(fd, b"content")
        (tmp_path / "before").rename(tmp_path / "after")
    assert listing(tmp_path / "after") == {"file": b"content"}


def test_removing_never_raises(tmp_path):
    (tmp_path / "file").touch()
    disk.remove(str(tmp_path / "file"))
    disk.remove(str(tmp_path / "file"))
    disk.remove(str(tmp_path))
    assert listing(tmp_path) == {}


def test_a_stream_that_is_silenced_swallows_what_follows(tmp_path):
    with open(tmp_path / "file", "w", encoding="ascii") as file:
        print("before", file=file, flush=True)
        disk.silence(file)
        print("after", file=file, flush=True)
    assert listing(tmp_path) == {"file": b"before\n"}
    disk.silence(file)  # it is closed: there is nothing left to say
    disk.silence(io.StringIO())


# Sentences


def test_an_oserror_becomes_the_storage_error_of_that_path():
    with pytest.raises(StorageError, match=r"^/x/y: Input/output error$"), disk.storage_errors("/x/y"):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart_with_its_remedy(number):
    with pytest.raises(DiskFullError, match=r"^/x/y: .*; make room on that disk$"), disk.storage_errors("/x/y"):
        raise OSError(number, os.strerror(number))


def test_things_that_are_no_files_have_names(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    assert disk.lstat(str(tmp_path / "missing")) is None
    assert disk.kind(disk.lstat(str(tmp_path / "link"))) == "a symbolic link"
    assert disk.kind(disk.lstat(str(tmp_path / "fifo"))) == "a FIFO"
    assert disk.kind(disk.lstat(str(tmp_path))) == "a folder"
    assert disk.kind(os.stat(os.devnull)) == "a device"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left"), "No space left"),
        (OSError("in words"), "in words"),
        (BlockingIOError(), "BlockingIOError"),
    ],
)
def test_an_error_has_a_reason(error, words):
    assert disk.reason(error) == words
