"""`zaudio batch`: what it passes on, and the lists that it reads."""

import errno
import json

import pytest
from click.testing import CliRunner
from test_cli_farm import FakeStarter

import zaudio
from zaudio import disk
from zaudio.batching.manifest import Manifest
from zaudio.cli.app import app
from zaudio.cli.batch import listed
from zaudio.errors import DiskFullError, JobError
from zaudio.machine import usable_cores
from zaudio.net import starter


@pytest.fixture
def made(monkeypatch):
    """The arguments of each batch that a command makes."""
    made = []

    def make(inputs, output, **settings):
        made.append(settings)
        raise JobError("made")

    monkeypatch.setattr(zaudio, "Batch", make, raising=False)
    monkeypatch.setattr(zaudio, "Coordinator", make, raising=False)
    monkeypatch.setattr(starter, "Starter", FakeStarter)
    return made


@pytest.mark.parametrize("command", ["batch", "farm"])
def test_workers_from_elsewhere_join_the_local_ones(made, command):
    line = [command, "a.wav", "-o", "out", "--bind", "tcp://127.0.0.1:0"]
    CliRunner().invoke(app, line)
    CliRunner().invoke(app, [*line, "-n", "3"])
    assert [(each["workers"], each["bind"]) for each in made] == [
        (usable_cores(), "tcp://127.0.0.1:0"),
        (3, "tcp://127.0.0.1:0"),
    ]


def test_a_batch_takes_workers_from_elsewhere_alone(made, monkeypatch):
    monkeypatch.setattr(starter, "Starter", None)  # none is called
    CliRunner().invoke(app, ["batch", "a.wav", "-o", "out", "--bind", "tcp://127.0.0.1:0", "-n", "0"])
    assert [(each["workers"], each["bind"]) for each in made] == [(0, "tcp://127.0.0.1:0")]


@pytest.mark.parametrize("content", [b"a.wav\n\nb c.wav\n", b"a.wav\r\n\r\nb c.wav", b"\xef\xbb\xbfa.wav\nb c.wav\n"])
def test_a_list_is_read_as_any_editor_writes_it(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    assert listed([f"@{tmp_path / 'list.txt'}", "d.wav"]) == ["a.wav", "b c.wav", "d.wav"]


def test_names_that_end_with_nul_may_have_line_ends(tmp_path):
    (tmp_path / "list").write_bytes(b"a.wav\0two\nlines.wav\0")
    assert listed([f"@{tmp_path / 'list'}"]) == ["a.wav", "two\nlines.wav"]


def test_a_file_that_is_taken_for_an_option_is_told_how_to_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.wav").touch()
    done = CliRunner().invoke(app, ["batch", "a.wav", "-dash.wav", "-o", "out"])
    assert (done.exit_code, "is written ./-dash.wav" in done.output) == (2, True)
    assert "is written" not in CliRunner().invoke(app, ["batch", "a.wav", "-dither", "-o", "out"]).output


def test_a_batch_that_a_full_disk_ends_reports_what_was_done_and_why_it_ended(tmp_path, monkeypatch):
    def full(fd, path, size):
        raise DiskFullError(path, "too little room")

    monkeypatch.setattr(disk, "check_room", full)
    for name in ("a", "b"):
        (tmp_path / f"{name}.raw").write_bytes(bytes(5 << 20))
    line = ["batch", *map(str, tmp_path.glob("*.raw")), "-o", str(tmp_path / "out"), "-n", "0"]
    line += ["--bind", "tcp://127.0.0.1:0", "--report", str(tmp_path / "report.json")]
    done = CliRunner().invoke(app, line)
    told = json.loads((tmp_path / "report.json").read_text())
    assert (done.exit_code, told["recordings"], told["done"], told["failed"]) == (1, 2, 0, 0)
    assert (told["error"], "too little room; make room on that disk" in told["sentence"]) == ("DiskFullError", True)

    def refuse(fd, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_all", refuse)
    done = CliRunner().invoke(app, line)
    assert "report.json: the report could not be written: No space left on device" in done.output
    assert json.loads((tmp_path / "report.json").read_text()) == told, "the older one stays"


def test_a_folder_of_another_batch_is_told_with_what_can_be_typed(tmp_path):
    with Manifest(str(tmp_path / "out")):
        line = ["batch", "a.wav", "-o", str(tmp_path / "out"), "-n", "0", "--bind", "tcp://127.0.0.1:0"]
        done = CliRunner().invoke(app, line)
    assert (done.exit_code, "; or name another folder with -o DIR" in done.output) == (2, True)
