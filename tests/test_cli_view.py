import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from decimal import Decimal

import click
import numpy as np
import pytest
from click.testing import CliRunner
from extended import extended
from net_support import PATIENCE
from test_cli_measuring import RATE, FakeStarter, FakeSurvey

import zaudio
from zaudio.cli.app import app
from zaudio.cli.view import cut_out, picture_size, time_of
from zaudio.net import starter as starters

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_matplotlib = pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")


@pytest.fixture
def survey(monkeypatch, tmp_path):
    class Fake(FakeSurvey):
        array = (np.random.default_rng(1).standard_normal((RATE, 2)) * 0.1).astype(np.float32)
        calls = []
        used = []

    monkeypatch.setattr(zaudio, "Survey", Fake, raising=False)
    monkeypatch.setattr(starters, "Starter", FakeStarter)
    monkeypatch.chdir(tmp_path)
    return Fake


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["view", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def of_folder():
    return sorted(os.listdir("."))


@needs_matplotlib
def test_a_picture_and_the_json_are_written_and_named(survey):
    output = run("take.wav", "-o", "take.png", "--data", "take.json", "--size", "500x400")
    assert output == "wrote take.png\nwrote take.json\n"
    assert of_folder() == ["take.json", "take.png"]
    with open("take.png", "rb") as file:
        header = file.read(24)
    assert (header[:4], int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (b"\x89PNG", 500, 400)
    assert survey.calls[0][:3] == ("take.wav", "PictureSurvey", ())
    with open("take.json") as file:
        told = json.load(file)
    assert (told["samples_per_pixel"], told["length"], told["bits"]) == (RATE // 500, 500, 16)


@needs_matplotlib
@pytest.mark.parametrize(("name", "mark"), [("a.svg", b"<?xml"), extended("b.PDF", b"%PDF")])
def test_the_suffix_is_the_format(survey, name, mark):
    run("take.wav", "-o", name, "--average", "--theme", "light", "--scale", "linear", "-q")
    with open(name, "rb") as file:
        assert file.read().startswith(mark)


def test_the_json_alone_needs_no_matplotlib(survey, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    run("take.wav", "--data", "take.json", "--samples-per-pixel", "256", "--bits", "8")
    with open("take.json") as file:
        told = json.load(file)
    assert (told["samples_per_pixel"], told["length"], told["channels"]) == (256, -(-RATE // 256), 2)
    assert survey.calls[0][1] == "PictureSurvey"


def test_without_matplotlib_a_picture_is_refused_with_the_remedy(survey, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'zaudio[plot]'" in run("take.wav", "-o", "take.png", code=2)
    assert survey.calls == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "-o FILE.png"),
        (["-o", "take.tiff"], "ends in .png, .svg, .pdf"),
        (["-o", "png"], "ends in .png"),
        (["-o", "there.png"], "--overwrite"),
        (["--data", "there.png"], "--overwrite"),
        (["--data", "gone/a.json"], "there is no folder gone"),
        (["--data", ""], "no name of a file"),
        (["--data", "folder", "--overwrite"], "is a folder"),
        (["--data", "take.wav", "--overwrite"], "is the recording"),
        (["--data", "link", "--overwrite"], "is a symbolic link"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_measured(survey, monkeypatch, arguments, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name in ("take.wav", "there.png"):
        with open(name, "w") as file:
            file.write("mine")
    os.mkdir("folder")
    os.symlink("take.wav", "link")
    assert words in run("take.wav", *arguments, code=2)
    assert survey.calls == []
    with open("there.png") as file:
        assert file.read() == "mine"


def test_the_picture_and_the_json_are_two_files(survey, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert "two files" in run("take.wav", "-o", "a.png", "--data", "./a.png", code=2)


def test_an_older_file_stays_when_the_measurement_fails_and_is_replaced_when_it_does_not(survey):
    with open("take.json", "w") as file:
        file.write("old")
    survey.failure = zaudio.NoWorkerError("no worker came")
    run("take.wav", "--data", "take.json", "--overwrite", code=69)
    with open("take.json") as file:
        assert file.read() == "old"
    survey.failure = None
    run("take.wav", "--data", "take.json", "--overwrite")
    with open("take.json") as file:
        assert json.load(file)["version"] == 2
    assert of_folder() == ["take.json"]


def test_a_file_that_comes_meanwhile_is_not_replaced(survey, monkeypatch):
    wait = survey.wait

    def wait_and_write(self, timeout):
        with open("take.json", "w") as file:
            file.write("another's")
        return wait(self, timeout)

    monkeypatch.setattr(survey, "wait", wait_and_write)
    assert "--overwrite" in run("take.wav", "--data", "take.json", code=2)
    with open("take.json") as file:
        assert file.read() == "another's"
    assert of_folder() == ["take.json"]


def test_start_and_length_come_before_the_ops(survey):
    run("take.wav", "--data", "a.json", "--start", "250ms", "--length", "0:00.5", "--op", "gain:db=3")
    assert survey.calls[0][2] == ("trim:start=0.25s,length=0.5s", "gain:db=3")
    with open("a.json") as file:
        assert json.load(file)["sample_rate"] == RATE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", "90"),
        ("1.5s", "1.5"),
        ("500ms", "0.5"),
        ("1:30", "90"),
        ("1:02:30.25", "3750.25"),
        ("100:00:00", "360000"),
    ],
)
def test_times_are_seconds_or_clocks(text, seconds):
    assert time_of(None, None, text) == Decimal(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:60", "1e3", "44100f", "1:2:3:4", "٣"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.BadParameter, match="write it like"):
        time_of(None, None, text)


def test_a_stretch_that_is_not_asked_for_is_no_op():
    assert cut_out(None, None) == ()
    assert cut_out(None, Decimal(3)) == ("trim:length=3s",)
    assert cut_out(Decimal("1E+2"), None) == ("trim:start=100s",)


def test_a_size_is_two_numbers_in_bounds():
    assert picture_size(None, None, "800x600") == (800, 600)
    for text in ("800", "800x", "x600", "0x0", "10x10", "100000x800", "800X600", "-800x600"):
        with pytest.raises(click.BadParameter):
            picture_size(None, None, text)


@pytest.mark.extended
def test_a_farm_gives_the_same_bytes_for_every_number_of_workers(tmp_path):
    array = (np.random.default_rng(1).standard_normal((20 * 8000, 2)) * 0.1).astype("<f4")
    (tmp_path / "take.raw").write_bytes(array.tobytes())
    digests = set()
    for workers in ("1", "2"):
        wanted = ["--data", f"{workers}.json", "--samples-per-pixel", "256"]
        wanted += ["-o", f"{workers}.png", "--size", "400x400"] if HAS_MATPLOTLIB else []
        line = ["take.raw", "-n", workers, "--channels", "2", "--samplerate", "8000", "-q", *wanted]
        done = subprocess.run(
            [sys.executable, "-m", "zaudio", "view", *line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        files = sorted(tmp_path.glob(f"{workers}.*"))
        digests.add(tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))
    assert len(digests) == 1
    told = json.loads((tmp_path / "1.json").read_text())
    assert told["length"] == 625
    assert told["data"][:2] == [round(float(value) * 32_768) for value in (array[:256, 0].min(), array[:256, 0].max())]


@pytest.mark.parametrize("frames", [extended(0), 1])
def test_a_farm_draws_recordings_of_no_frames_and_of_one(tmp_path, frames):
    (tmp_path / "take.raw").write_bytes(bytes(4 * frames))
    done = subprocess.run(
        [sys.executable, "-m", "zaudio", "view", "take.raw", "-n", "1", "-q", "--data", "a.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "a.json").read_text())["length"] == frames
