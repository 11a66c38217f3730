import os

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
@pytest.mark.parametrize("length", [0, 1, 127, 251, 300])
def test_read_at_gives_fewer_bytes_only_where_the_file_ends(file, offset, length):
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
