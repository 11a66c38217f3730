import sys
import types

import pytest
from click.testing import CliRunner

from zaudio.cli.app import app
from zaudio.errors import StorageError


@pytest.fixture
def calls(monkeypatch):
    calls = []

    def generate(path, *, seconds, samplerate, channels, seed):
        calls.append((path, seconds, samplerate, channels, seed))
        frames = round(seconds * samplerate)
        with open(path, "wb") as file:
            file.truncate(frames * channels * 4)
        return frames

    module = types.ModuleType("zaudio.audio.generate")
    module.generate = generate
    monkeypatch.setitem(sys.modules, "zaudio.audio.generate", module)
    return calls


def test_generate_writes_an_hour_to_the_documented_place_by_default(calls, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "generated_data").mkdir()
    done = CliRunner().invoke(app, ["generate"])
    assert done.exit_code == 0, done.output
    assert calls == [("generated_data/test.raw", 3600.0, 44100, 1, 0)]
    assert done.stdout == "generated generated_data/test.raw: 158760000 frames, 635040000 bytes\n"


def test_generate_passes_its_options_on(calls, tmp_path):
    path = str(tmp_path / "a.raw")
    arguments = ["generate", path, "--seconds", "0.5", "--samplerate", "8000", "--channels", "3", "--seed", "7"]
    done = CliRunner().invoke(app, arguments)
    assert calls == [(path, 0.5, 8000, 3, 7)]
    assert done.stdout == f"generated {path}: 4000 frames, 48000 bytes\n"


def test_quiet_generate_prints_nothing(calls, tmp_path):
    done = CliRunner().invoke(app, ["generate", str(tmp_path / "a.raw"), "--seconds", "0", "-q"])
    assert (done.exit_code, done.output) == (0, "")


def test_a_full_disk_is_one_line(monkeypatch):
    def generate(path, **_):
        raise StorageError(path, "No space left on device")

    module = types.ModuleType("zaudio.audio.generate")
    module.generate = generate
    monkeypatch.setitem(sys.modules, "zaudio.audio.generate", module)
    done = CliRunner().invoke(app, ["generate", "a.raw"])
    assert (done.exit_code, done.stderr) == (1, "zaudio: a.raw: No space left on device\n")
