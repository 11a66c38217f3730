import itertools
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from zaudio import Raw
from zaudio.audio import open_source
from zaudio.errors import InputChangedError, InputError, UsageError
from zaudio.formats import FORMATS

LENGTHS = (0, 1, 2, 997)


@pytest.fixture
def take(tmp_path):
    path = tmp_path / "take.raw"
    path.write_bytes(bytes(range(256)) * 4)
    return path


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_raw_samples_are_the_bytes_of_the_file(tmp_path, name):
    for channels, frames in itertools.product((1, 3), LENGTHS):
        check_raw(tmp_path, name, channels, frames)


def check_raw(tmp_path, name, channels, frames):
    frame_bytes = FORMATS[name].itemsize * channels
    content = np.random.default_rng(frames).bytes(frames * frame_bytes)
    path = tmp_path / "take.raw"
    path.write_bytes(content)
    with open_source(path, Raw(format=name, channels=channels, samplerate=8000)) as source:
        assert (source.frames, source.channels, source.samplerate) == (frames, channels, 8000)
        assert (source.format, source.frame_bytes, source.container) == (FORMATS[name], frame_bytes, "raw")
        assert source.warnings == () or name.startswith("f")  # noise of bytes does not look like floats
        assert source.path == str(path)
        for start, stop in {(0, frames), (0, 0), (frames, frames), (frames // 3, frames - frames // 5)}:
            assert source.read(start, stop) == content[start * frame_bytes : stop * frame_bytes]
        source.check()


def test_raw_samples_are_mono_float32_at_44100_hz_unless_named(take):
    with open_source(str(take)) as source:
        assert (source.samplerate, source.channels, source.format.name, source.frames) == (44100, 1, "f32le", 256)


@pytest.mark.parametrize("suffix", [".raw", ".pcm", ".f32", ".f64", ".s16", ".s32", ".bin", ".RAW"])
def test_a_raw_name_is_raw_without_parameters(tmp_path, suffix):
    path = tmp_path / f"take{suffix}"
    path.write_bytes(b"\0" * 8)
    with open_source(path) as source:
        assert source.container == "raw"


@pytest.mark.parametrize("named", [{"samplerate": 8000}, {"channels": 2}, {"format": "s16le"}])
def test_any_named_parameter_makes_a_file_raw(tmp_path, named):
    path = tmp_path / "take.dat"
    path.write_bytes(b"\1" * 16)
    with open_source(path, Raw(**named)) as source:
        assert source.container == "raw"
    with pytest.raises(InputError, match=r"is no WAV.*--channels and --format \(of a render --input-format\)"):
        open_source(path)


def test_parameters_for_a_container_are_refused(tmp_path):
    path = tmp_path / "take.wav"
    soundfile.write(path, np.zeros(5, np.int16), 8000)
    with pytest.raises(UsageError, match="is a WAV file: --samplerate, --channels and sample formats are for raw"):
        open_source(path, Raw(channels=1))


def test_a_raw_name_wins_over_a_container_and_warns(tmp_path):
    path = tmp_path / "take.raw"
    soundfile.write(path, np.zeros(5, np.int16), 8000, format="WAV", subtype="PCM_16")
    with open_source(path, Raw(format="s16le")) as source:
        assert (source.container, source.frames) == ("raw", 27)
        assert bytes(source.read(0, 2)) == b"RIFF"
        assert "a WAV file" in source.warnings[0]


def test_a_partial_frame_is_an_error_that_names_the_sizes(tmp_path):
    path = tmp_path / "take.raw"
    path.write_bytes(b"\0" * 1003)
    with pytest.raises(InputError, match=r"1003 bytes .* 83 frames of 12 bytes .*3 x f32le.* 7 bytes more.*--format"):
        open_source(path, Raw(channels=3))


@pytest.mark.parametrize(("path", "words"), [("", "is empty"), ("a\0b", "NUL"), (b"take.raw", "string")])
def test_a_name_that_is_none_is_a_usage_error(path, words):
    with pytest.raises(UsageError, match=words):
        open_source(path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket has room for 100 characters
    os.mkfifo(tmp_path / "fifo.raw")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.raw")
        for path, words in (
            (tmp_path, "is a folder, not a regular file"),
            (tmp_path / "fifo.raw", "is a FIFO"),
            (tmp_path / "socket.raw", "is a socket"),
            ("/dev/null", "is a device"),
            (tmp_path / "absent.raw", "no such file"),
            (tmp_path / "absent" / "take.raw", "no such file"),
            (tmp_path / ("x" * 300), "too long"),
        ):
            with pytest.raises(InputError, match=words) as caught:
                open_source(path)
            assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_an_input_error(take):
    take.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        open_source(take)


def test_an_empty_file_is_a_recording_only_if_it_is_raw(tmp_path):
    (tmp_path / "take.raw").touch()
    (tmp_path / "take.wav").touch()
    with open_source(tmp_path / "take.raw") as source:
        assert source.frames == 0
        assert source.read(0, 0) == b""
    with pytest.raises(InputError, match="0 bytes"):
        open_source(tmp_path / "take.wav")


def test_a_raw_file_beyond_4_gib_is_read_at_its_true_offsets(tmp_path):
    path = tmp_path / "take.raw"
    at = 5 * 2**30
    with path.open("wb") as file:
        file.seek(at)
        file.write(b"\1\2\3\4\5\6\7\x08")
    with open_source(path) as source:
        assert source.frames == at // 4 + 2
        assert source.read(at // 4 - 1, at // 4 + 2) == b"\0\0\0\0\1\2\3\4\5\6\7\x08"


def grow(path):
    with path.open("ab") as file:
        file.write(b"\0" * 4)


def shrink(path):
    os.truncate(path, path.stat().st_size - 4)


def rewrite(path):
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def copy_over(path):
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    copy.rename(path)


@pytest.fixture(params=["raw", "wav", "flac"])
def opened(request, tmp_path):
    path = tmp_path / f"take.{request.param}"
    if request.param == "raw":
        path.write_bytes(b"\7" * 4000)
    else:
        soundfile.write(path, np.arange(1000, dtype=np.int16), 8000)
    with open_source(path) as source:
        yield path, source


@pytest.mark.parametrize(
    ("change", "words"), [(grow, r"had \d+ bytes"), (shrink, r"had \d+ bytes"), (rewrite, "was written to")]
)
def test_a_changed_file_is_found_by_the_next_read_and_by_check(opened, change, words):
    path, source = opened
    source.read(0, 1)
    change(path)
    for act in (lambda: source.read(0, 1), lambda: source.read(990, 1000), source.check):
        with pytest.raises(InputChangedError, match=words):
            act()


def test_a_file_replaced_by_rename_is_found_by_check_and_still_read(opened):
    path, source = opened
    before = source.read(0, 1000)
    copy_over(path)
    assert source.read(0, 1000) == before
    with pytest.raises(InputChangedError, match="replaced"):
        source.check()


def test_a_deleted_file_is_found_by_check(opened):
    path, source = opened
    source.check()
    path.unlink()
    source.read(0, 1)
    with pytest.raises(InputChangedError, match="is gone"):
        source.check()


def test_check_survives_a_change_of_the_working_folder(take, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_source("take.raw") as source:
        monkeypatch.chdir("/")
        source.check()


def test_frames_that_are_not_there_are_an_index_error(opened):
    _, source = opened
    for start, stop in ((-1, 1), (2, 1), (0, 1001), (1001, 1001)):
        with pytest.raises(IndexError, match="of 1000"):
            source.read(start, stop)


def test_a_closed_source_reads_no_more_and_closes_again(opened):
    _, source = opened
    source.close()
    source.close()
    for act in (lambda: source.read(0, 1), lambda: source.read(0, 0), source.check):
        with pytest.raises(ValueError, match="closed"):
            act()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted in /proc")
def test_no_descriptor_is_left_open(tmp_path):
    (tmp_path / "junk.wav").write_bytes(b"RIFF\4\0\0\0WAVEfmt ")
    (tmp_path / "odd.raw").write_bytes(b"odd")
    soundfile.write(tmp_path / "good.wav", np.zeros(5), 8000)
    soundfile.write(tmp_path / "bad.flac", np.zeros(5), 8000)
    shrink(tmp_path / "bad.flac")
    before = set(os.listdir("/proc/self/fd"))
    for name in ("junk.wav", "odd.raw", "bad.flac"):
        with pytest.raises(InputError):
            open_source(tmp_path / name)
    with pytest.raises(UsageError):
        open_source(tmp_path / "good.wav", Raw(channels=1))
    open_source(tmp_path / "good.wav").close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_neither_the_package_nor_raw_samples_need_soundfile_or_numpy(take):
    code = (
        "import sys, zaudio.audio; zaudio.audio.open_source(sys.argv[1]).read(0, 9); "
        "print(sorted({'numpy', 'soundfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, take], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
