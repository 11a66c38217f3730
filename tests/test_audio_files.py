import contextlib
import os
import shutil

import pytest

from zaudio.audio.files import FileSource, InputFile
from zaudio.errors import InputChangedError, InputError
from zaudio.formats import FORMATS


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "take"
    path.write_bytes(bytes(range(251)))
    opened = InputFile(str(path))
    yield opened
    opened.close()


@pytest.mark.parametrize("offset", [0, 1, 250, 251, 252, 10**15])
def test_read_at_gives_fewer_bytes_only_where_the_file_ends(file, offset):
    for length in (0, 1, 127, 251, 300):
        assert file.read_at(offset, length) == bytes(range(251))[offset : offset + length]


def test_read_at_goes_on_when_the_system_gives_less_than_asked(file, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, 7), offset))
    assert file.read_at(3, 100) == bytes(range(3, 103))
    assert file.read_at(200, 100) == bytes(range(200, 251))


def test_an_error_of_the_system_is_an_input_error(file, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(InputError, match="input/output error"):
        file.read_at(0, 1)


def test_the_descriptor_is_not_inherited(file):
    assert not os.get_inheritable(file.fd)


class Broken(FileSource):
    def _samples(self, start, stop):
        raise InputError(self.path, "cannot be decoded")


def test_an_error_that_a_change_explains_is_reported_as_the_change(file):
    source = Broken(file, frames=1, channels=1, samplerate=1, format=FORMATS["s16le"], container="raw")
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        source.read(0, 1)
    assert type(caught.value) is InputError
    os.truncate(file.path, 3)
    with pytest.raises(InputChangedError, match="had 251 bytes when it was opened and has 3 now"):
        source.read(0, 1)


# References: what a worker needs to read the file itself


@pytest.fixture
def long(tmp_path):
    """Larger than the three blocks of a sample together, which are bytes 0, 450000 and 900000 on."""
    path = tmp_path / "long"
    path.write_bytes(bytes(965_536))
    opened = InputFile(str(path))
    yield opened
    opened.close()


def again(file):
    """The file as it is now, opened anew."""
    return InputFile(file.path)


def matches(file, reference, *, local):
    opened = again(file)
    try:
        return opened.matches(reference, local=local)
    finally:
        opened.close()


def test_a_reference_names_the_file_and_its_state(file):
    status = os.stat(file.path)
    reference = file.reference(44)
    assert (reference.path, reference.offset, reference.size) == (os.path.realpath(file.path), 44, 251)
    assert (reference.device, reference.inode) == (status.st_dev, status.st_ino)
    assert reference.mtime_ns == status.st_mtime_ns
    assert file.reference(45).sample == reference.sample


def test_a_reference_is_absolute_and_leads_through_no_link(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "take").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    opened = InputFile("link/take")
    monkeypatch.chdir("/")
    try:
        assert opened.reference(0).path == os.path.realpath(tmp_path / "real" / "take")
    finally:
        opened.close()


@pytest.mark.parametrize("local", [True, False])
def test_a_file_matches_its_own_reference(file, long, local):
    for one in (file, long):
        assert matches(one, one.reference(7), local=local)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_071, 196_609])
def test_a_file_of_any_length_matches_its_own_reference(tmp_path, size):
    path = tmp_path / "take"
    path.write_bytes(os.urandom(size))
    opened = InputFile(str(path))
    try:
        assert matches(opened, opened.reference(0), local=True)
    finally:
        opened.close()


@pytest.mark.parametrize("local", [True, False])
def test_a_file_that_was_written_to_matches_no_more(file, local):
    reference = file.reference(0)
    os.utime(file.path, ns=(1, 1))
    assert not matches(file, reference, local=local)


@pytest.mark.parametrize("place", [0, 65_535, 450_000, 515_535, 900_000, 965_535])
def test_another_take_of_the_same_size_and_time_is_told_by_its_samples(long, place):
    reference, stamp = long.reference(0), os.stat(long.path).st_mtime_ns
    with open(long.path, "r+b") as stream:
        stream.seek(place)
        stream.write(b"!")
    os.utime(long.path, ns=(stamp, stamp))
    assert not matches(long, reference, local=False)


def test_a_copy_with_its_time_is_the_file_to_another_machine_and_another_one_to_this(file, tmp_path):
    reference = file.reference(0)
    shutil.copy2(file.path, tmp_path / "copy")
    os.replace(tmp_path / "copy", file.path)
    assert matches(file, reference, local=False)
    assert not matches(file, reference, local=True)


@pytest.mark.parametrize("name", [b"caf\xe9", b"d" * 200 + b"/" + b"e" * 200])
def test_a_path_that_cannot_be_told_has_no_reference(tmp_path, name):
    folder = os.fsencode(tmp_path)
    path = os.path.join(folder, name, *[b"f" * 200] * 3) if b"/" in name else os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(bytes(8))
    opened = InputFile(os.fsdecode(path))
    try:
        assert opened.reference(0) is None
    finally:
        opened.close()


def test_a_file_from_before_1970_has_no_reference(file):
    os.utime(file.path, (-5, -5))
    opened = again(file)
    try:
        assert opened.reference(0) is None
    finally:
        opened.close()


# Reading into memory that is there already


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 1), (0, 251), (1, 250), (250, 1), (100, 37)])
def test_read_into_fills_the_buffer_and_no_more(file, offset, length):
    memory = bytearray(b"." * (length + 2))
    with memoryview(memory) as view:
        file.read_into(offset, view[1 : length + 1])
    assert memory == b"." + bytes(range(251))[offset : offset + length] + b"."


def test_read_into_goes_on_when_the_system_gives_less_than_asked(file, monkeypatch):
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: preadv(fd, [views[0][:7]], offset))
    memory = bytearray(100)
    file.read_into(3, memoryview(memory))
    assert memory == bytes(range(3, 103))


def test_read_into_says_that_the_file_ends_too_early(file):
    with pytest.raises(InputChangedError, match="gave 1 bytes instead of 2: it shrank"):
        file.read_into(250, memoryview(bytearray(2)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: os.truncate(path, 3), "had 251 bytes when it was opened and has 3 now"),
        (lambda path: os.truncate(path, 300), "had 251 bytes when it was opened and has 300 now"),
        (lambda path: os.utime(path, ns=(1, 1)), "was written to since it was opened"),
    ],
)
def test_read_into_notices_a_change_whatever_it_read(file, change, words):
    change(file.path)
    with pytest.raises(InputChangedError, match=words):
        file.read_into(0, memoryview(bytearray(2)))


def test_an_error_of_the_system_is_an_input_error_of_read_into_too(file, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(InputError, match="input/output error") as caught:
        file.read_into(0, memoryview(bytearray(1)))
    assert type(caught.value) is InputError


def test_a_source_whose_samples_do_not_lie_as_they_are_has_no_reference(file):
    source = Broken(file, frames=1, channels=1, samplerate=1, format=FORMATS["s16le"], container="FLAC")
    assert source.reference is None


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
def test_a_fingerprint_tells_a_change_at_either_end_and_of_the_size(tmp_path, size):
    path = tmp_path / "take"

    def fingerprint(content):
        path.write_bytes(content)
        os.utime(path, ns=(5, 5))
        with contextlib.closing(InputFile(str(path))) as opened:
            return opened.fingerprint()

    content = bytes(size)
    first = fingerprint(content)
    assert first == fingerprint(content)
    assert (first.path, first.size, first.mtime_ns) == (os.path.realpath(path), size, 5)
    assert first != fingerprint(content + b"x")
    if size:
        assert first.sample != fingerprint(b"x" + content[1:]).sample
        assert first.sample != fingerprint(content[:-1] + b"x").sample


def test_a_fingerprint_reads_one_megabyte_of_a_large_file(tmp_path, monkeypatch):
    path = tmp_path / "take"
    path.write_bytes(b"")
    os.truncate(path, 10**12)
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: (read.append((at, length)), pread(fd, length, at))[1])
    with contextlib.closing(InputFile(str(path))) as opened:
        opened.fingerprint()
    assert len(read) == 16
    assert sum(length for _, length in read) == 16 * 65536
    assert read[0][0] == 0
    assert read[-1][0] == 10**12 - 65536


def test_a_fingerprint_follows_links_and_stays_when_the_folder_changes(tmp_path, monkeypatch):
    (tmp_path / "take").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("take")
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(InputFile("link")) as opened:
        monkeypatch.chdir("/")
        assert opened.fingerprint().path == os.path.realpath(tmp_path / "take")
