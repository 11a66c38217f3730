import os

import pytest
from result_support import NAMES, contents, describe, pattern, reverse, sealed_writer, write_pattern

from zaudio.errors import VerificationError
from zaudio.result import OpenResult, ResultFolder, decrypt, fileset, verify
from zaudio.result import reader as subject


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 96 bytes for frames of 2, 4, 6, 8, 12, 16, 24 and 32 bytes."""
    monkeypatch.setattr(subject, "READ_BYTES", 96)


def take_all(pieces, released):
    for piece in pieces:
        released += piece


def test_verify_returns_the_description(tmp_path):
    _, description = write_pattern(tmp_path, 20)
    assert verify(str(tmp_path)) == description


def test_every_flipped_bit_of_the_four_files_is_found(tmp_path):
    write_pattern(tmp_path, 9, chunk_frames=4)
    for name in NAMES:
        content = (tmp_path / name).read_bytes()
        with open(tmp_path / name, "r+b", buffering=0) as file:
            for bit in range(8 * len(content)):
                at = bit // 8
                os.pwrite(file.fileno(), bytes([content[at] ^ 1 << bit % 8]), at)
                with pytest.raises(VerificationError):
                    verify(str(tmp_path))
                os.pwrite(file.fileno(), content[at : at + 1], at)
    verify(str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_and_extension_is_found(tmp_path, name):
    write_pattern(tmp_path, 9)
    content = (tmp_path / name).read_bytes()
    changes = [content[:size] for size in range(len(content))]
    changes += [content + extra for extra in (b"\0", b"\n", b" ", bytes(16), content, content[-16:])]
    for changed in changes:
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(VerificationError):
            verify(str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_result_is_found(tmp_path, name):
    write_pattern(tmp_path / "one", 9, seed=1)
    write_pattern(tmp_path / "two", 9, seed=2)
    (tmp_path / "one" / name).write_bytes((tmp_path / "two" / name).read_bytes())
    with pytest.raises(VerificationError, match="the tag does not agree"):
        verify(str(tmp_path / "one"))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("channels", "format"), [(1, "s16le"), (3, "s16be"), (1, "f64le"), (3, "s32le"), (3, "f64be")])
def test_any_number_of_blocks_is_read_in_both_directions(tmp_path, channels, format):
    block = 96 // describe(0, channels=channels, format=format).frame_bytes
    for frames in (0, 1, block - 1, block, block + 1, 2 * block, 101):
        recording, description = write_pattern(tmp_path, frames, channels=channels, format=format, overwrite=True)
        with OpenResult(str(tmp_path)) as result:
            result.authenticate()
            assert b"".join(map(bytes, result.samples(forward=True))) == recording
            assert b"".join(map(bytes, result.samples())) == reverse(recording, description.frame_bytes)


def test_the_longest_frame_fits_into_a_block(tmp_path):
    recording, _ = write_pattern(tmp_path, 5, channels=65535, format="f64le")
    decrypt(str(tmp_path), None, forward=True)
    assert contents(tmp_path)["decrypted.raw"] == recording


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("position", [0, 95, 96, 191, 192, 399, 400, 415])
def test_a_block_that_changes_between_the_passes_is_not_released(tmp_path, position, forward):
    recording, _ = write_pattern(tmp_path, 100)
    wanted = recording if forward else reverse(recording, 4)
    with OpenResult(str(tmp_path)) as result:
        result.authenticate()
        with open(tmp_path / "result.raw", "r+b") as file:
            file.seek(position)
            byte = file.read(1)
            file.seek(position)
            file.write(bytes([byte[0] ^ 1]))
        released = bytearray()
        pieces = result.samples(forward=forward)
        with pytest.raises(VerificationError, match=f"block {position // 96} changed"):
            take_all(pieces, released)
    assert wanted.startswith(bytes(released))
    later_blocks = (4 - position // 96) * 96 - 80  # the last of the five holds 16 bytes of audio and the padding
    assert len(released) == (max(0, later_blocks) if forward else position // 96 * 96)


def test_a_file_cut_between_the_passes_is_found(tmp_path):
    write_pattern(tmp_path, 100)
    with OpenResult(str(tmp_path)) as result:
        result.authenticate()
        os.truncate(tmp_path / "result.raw", 100)
        with pytest.raises(VerificationError, match="it ends at byte 100 of 416"):
            list(result.samples())


def test_a_file_cut_while_it_is_checked_is_found(tmp_path):
    write_pattern(tmp_path, 100)
    with OpenResult(str(tmp_path)) as result:
        os.truncate(tmp_path / "result.raw", 100)
        with pytest.raises(VerificationError, match="it ends at byte 100 of 416"):
            result.authenticate()


def test_there_is_no_plaintext_before_the_tag_was_checked(tmp_path):
    write_pattern(tmp_path, 100)
    with OpenResult(str(tmp_path)) as result, pytest.raises(VerificationError, match="not authenticated"):
        next(result.samples())


def test_short_reads_go_on_where_they_stopped(tmp_path, monkeypatch):
    recording, _ = write_pattern(tmp_path, 100)
    with OpenResult(str(tmp_path)) as result:
        preadv = os.preadv
        monkeypatch.setattr(os, "preadv", lambda fd, views, offset: preadv(fd, [views[0][:7]], offset))
        result.authenticate()
        assert b"".join(map(bytes, result.samples(forward=True))) == recording


def test_an_io_error_is_a_verification_error(tmp_path, monkeypatch):
    write_pattern(tmp_path, 100)
    with OpenResult(str(tmp_path)) as result:

        def broken(*_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "preadv", broken)
        with pytest.raises(VerificationError, match=r"result\.raw: it cannot be read: Input/output error"):
            result.authenticate()
    with pytest.raises(VerificationError, match=r"encryption_key\.bin: it cannot be read: Input/output error"):
        verify(str(tmp_path))


def test_a_result_opened_before_it_was_replaced_is_still_read_whole(tmp_path):
    older, _ = write_pattern(tmp_path, 100, seed=1)
    with OpenResult(str(tmp_path)) as result:
        write_pattern(tmp_path, 50, seed=2, overwrite=True)
        result.authenticate()
        assert b"".join(map(bytes, result.samples(forward=True))) == older


def test_closing_wipes_the_key_and_leaks_no_descriptor(tmp_path):
    write_pattern(tmp_path, 10)
    before = len(os.listdir("/dev/fd"))
    result = OpenResult(str(tmp_path))
    key = result._key
    assert key == (tmp_path / "encryption_key.bin").read_bytes()
    result.close()
    result.close()
    assert key == bytes(32)
    (tmp_path / "result.json").write_bytes(b"{}")
    with pytest.raises(VerificationError):
        OpenResult(str(tmp_path))
    assert len(os.listdir("/dev/fd")) == before


def test_a_huge_result_json_is_not_read_whole(tmp_path):
    write_pattern(tmp_path, 10)
    os.truncate(tmp_path / "result.json", 1 << 40)
    with pytest.raises(VerificationError, match="at most 65536 bytes expected, 1099511627776 found"):
        verify(str(tmp_path))


# Four files as one set


def read_set(path):
    fds = fileset.open_set(str(path))
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
    real, done = fileset._identities, []

    def look(folder, names):
        if not done:
            done.append(True)
            half_publish(tmp_path, monkeypatch, renames=renames)
        return real(folder, names)

    monkeypatch.setattr(fileset, "_identities", look)
    assert verify(str(tmp_path)).frames == 30
    assert {entry.name for entry in tmp_path.iterdir()} == set(NAMES)


def test_a_first_publication_while_the_files_are_looked_for_is_found(tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.mkdir()
    real, done = fileset._try_open, []

    def late(folder, where, names, fds):
        failure = real(folder, where, names, fds)
        if not done:
            done.append(failure)
            write_pattern(path, 10)
        return failure

    monkeypatch.setattr(fileset, "_try_open", late)
    verify(str(path))
    assert done[0] is not None


def test_files_that_change_each_time_are_given_up(tmp_path, monkeypatch):
    write_pattern(tmp_path, 10)
    real = fileset._try_open

    def replace(folder, path, names, fds):
        failure = real(folder, path, names, fds)
        (tmp_path / "copy").write_bytes(bytes(32))
        (tmp_path / "copy").rename(tmp_path / "encryption_key.bin")
        return failure

    monkeypatch.setattr(fileset, "_try_open", replace)
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


def test_a_part_of_a_result_leads_to_its_folder(tmp_path):
    write_pattern(tmp_path, 10)
    with pytest.raises(VerificationError, match=f"it is a part of the result {tmp_path}, so name that"):
        verify(tmp_path / "result.raw")


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read any file, whatever its mode")
    write_pattern(tmp_path, 10)
    (tmp_path / "encryption_key.bin").chmod(0)
    with pytest.raises(VerificationError, match=r"encryption_key\.bin: it cannot be opened: Permission denied"):
        verify(str(tmp_path))
