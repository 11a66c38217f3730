import os
import stat

import pytest

from zaudio.errors import StorageError
from zaudio.result import files


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_private_file_is_0600_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        os.close(files.create(str(tmp_path / "key"), mode=files.PRIVATE))
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
        os.close(files.create(str(tmp_path / "key"), mode=files.PRIVATE))
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
        files.create(str(name), mode=files.PUBLIC)
    assert target.exists() == (kind != "dangling")


def test_short_writes_go_on_where_they_stopped(tmp_path, monkeypatch):
    write = os.write
    fd = files.create(str(tmp_path / "out"), mode=files.PUBLIC)
    monkeypatch.setattr(os, "write", lambda fd, piece: write(fd, bytes(piece)[:3]))
    files.write_all(fd, memoryview(b"0123456789"))
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"0123456789"


def test_descriptors_do_not_reach_child_processes(tmp_path):
    fd = files.create(str(tmp_path / "out"), mode=files.PUBLIC)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_an_oserror_becomes_the_storage_error_of_that_path():
    with pytest.raises(StorageError, match=r"^/x/y: No space left on device$"), files.storage_errors("/x/y"):
        raise OSError(28, "No space left on device")


def test_things_that_are_no_files_have_names(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    assert files.lstat(str(tmp_path / "missing")) is None
    assert files.kind(files.lstat(str(tmp_path / "link"))) == "a symbolic link"
    assert files.kind(files.lstat(str(tmp_path / "fifo"))) == "a FIFO"
    assert files.kind(files.lstat(str(tmp_path))) == "a folder"
    assert files.kind(os.stat(os.devnull)) == "a device"
