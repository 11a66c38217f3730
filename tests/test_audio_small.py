"""Small files that play: the bytes of an AudioFile, whole under their name or not there; and the marks of files."""

import hashlib
import os

import pytest
from audio_support import ORIGIN, Bell, samples_of, signal_of, write

from zaudio.audio.marks import FileMark, is_marked, read_mark, tidy
from zaudio.audio.metadata import Metadata
from zaudio.audio.rendering import AudioFile, file_layout
from zaudio.audio.small import write_small
from zaudio.errors import OutputExistsError, StorageError, UsageError

TAGS = Metadata(tags=(("TITLE", "a title"),))


def make(path, signal, *, overwrite=False, fresh=False, before=lambda mark: None):
    layout = file_layout(str(path), signal, TAGS)
    return write_small(str(path), signal, layout, samples_of(signal), overwrite=overwrite, fresh=fresh, before=before)


@pytest.mark.parametrize("format", ["s16le", "s24le"])
@pytest.mark.parametrize(("suffix", "frames"), [("wav", 0), ("wav", 1009), ("flac", 1), ("flac", 9001), ("raw", 1009)])
def test_a_small_file_has_the_bytes_of_any_other(tmp_path, suffix, frames, format):
    signal = signal_of(frames, format=format)
    told = []
    mark = make(tmp_path / f"small.{suffix}", signal, before=lambda mark: told.append((mark, os.listdir(tmp_path))))
    write(tmp_path / f"large.{suffix}", signal, samples_of(signal), metadata=TAGS)
    content = (tmp_path / f"small.{suffix}").read_bytes()
    assert content == (tmp_path / f"large.{suffix}").read_bytes()
    assert told == [(mark, [f"small.{suffix}.part"])]
    assert mark == read_mark(str(tmp_path / f"small.{suffix}"))
    assert mark[:2] == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_goes_by_its_mark(tmp_path):
    path = tmp_path / "a.wav"
    mark = make(path, signal_of(100))
    assert is_marked(str(path), mark, thorough=True)
    assert not is_marked(str(tmp_path / "b.wav"), mark, thorough=False)
    assert not is_marked(str(path), mark._replace(size=mark.size + 1), thorough=False)
    assert not is_marked(str(path), FileMark("", -1, -1), thorough=False)
    other = mark._replace(sha256="00" * 32)
    assert is_marked(str(path), other, thorough=False)  # by its time
    assert not is_marked(str(path), other, thorough=True)
    os.utime(path)
    assert is_marked(str(path), mark, thorough=False)
    assert not is_marked(str(path), other, thorough=False)
    (tmp_path / "b.wav").symlink_to(path)
    assert not is_marked(str(tmp_path / "b.wav"), mark, thorough=True)


def test_an_error_leaves_no_part_and_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    make(path, signal_of(100))
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputExistsError):
        make(path, signal_of(50))
    with pytest.raises(ValueError, match="no line"):
        make(path, signal_of(50), overwrite=True, before=lambda mark: (_ for _ in ()).throw(ValueError("no line")))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="No space left on device"):
            make(path, signal_of(50), overwrite=True)
    assert (os.listdir(tmp_path), path.read_bytes()) == (["a.wav"], before)


def test_an_interrupted_job_is_left_alone_unless_it_is_discarded(tmp_path):
    path, signal = tmp_path / "a.wav", signal_of(1000)
    file = AudioFile(str(path), signal, origin=ORIGIN)
    file.open(signal, file._order, notify=Bell())
    file.note(b"{}")
    file.abort()
    left = sorted(os.listdir(tmp_path))
    assert left == ["a.wav.part", "a.wav.part.journal"]
    tidy(str(path))
    with pytest.raises(UsageError, match="an interrupted job lies there"):
        make(path, signal)
    assert sorted(os.listdir(tmp_path)) == left
    make(path, signal, fresh=True)
    assert os.listdir(tmp_path) == ["a.wav"]
