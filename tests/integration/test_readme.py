"""The README is true: its commands run as they stand, in their order, in an empty folder."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from net_support import PATIENCE, free_port

import zaudio

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ELSEWHERE = {"make", "pip", "pipx", "uv"}  # they need a network, and a clone as the current folder
RESULTS = ["out", "locked", "sealed", "echoed", "farmed", "from_python"]


def blocks(text):
    """The indented blocks of a page that are to be typed, without their indent."""
    found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.MULTILINE)
    return [textwrap.dedent(block).strip() for block in found]


def typed():
    return [block for block in blocks(README.partition("## Eight things")[2]) if block.split()[0] not in ELSEWHERE]


def make_tools(folder):
    """Make the commands that a reader has, in that folder; return a PATH that begins with them."""
    tools = folder / "tools"
    tools.mkdir()
    for name, line in (("zaudio", f'"{sys.executable}" -m zaudio "$@"'), ("python", f'"{sys.executable}" "$@"')):
        (tools / name).write_text(f"#!/bin/sh\nexec {line}\n")
        (tools / name).chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


def test_the_readme_is_short():
    assert len(README.split()) <= 1010


def test_every_numbered_thing_has_its_commands():
    assert [int(number) for number in re.findall(r"^\*\*(\d+)\. ", README, re.MULTILINE)] == list(range(1, 9))
    assert len(typed()) == 8


def test_make_targets_that_the_readme_names_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", README, re.MULTILINE))
    assert "test" in named
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_the_first_command_gives_the_bits_of_one_process(tmp_path):
    command = blocks(README)[0].split()
    assert command[:3] == ["zaudio", "farm", "speech.flac"]
    hiss = 0.01 * np.random.default_rng(0).standard_normal(2 * 44100)
    speech = hiss + 0.2 * np.sin(np.arange(len(hiss)) / 20) * (np.arange(len(hiss)) % 20000 > 9000)
    soundfile.write(tmp_path / "speech.flac", speech, 44100)
    stored = soundfile.read(tmp_path / "speech.flac", dtype="int16", always_2d=True)[0]
    run = [sys.executable, "-m", "zaudio", *command[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    _, path = zaudio.decrypt(tmp_path / "generated_data", forward=True)
    ops = command[command.index("--op") + 1 :: 2]
    signal = zaudio.Signal(len(stored), 1, 44100, zaudio.sample_format("s16le"))
    assert Path(path).read_bytes() == zaudio.Chain(ops, signal)(stored).tobytes()


@pytest.mark.timeout(360)
def test_the_commands_run_in_their_order_in_an_empty_folder(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    path = make_tools(tmp_path)
    script = "\n".join(["set -eu", *typed(), "wait"]).replace("5555", str(free_port()))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", script], cwd=empty, env=environment, capture_output=True, text=True, timeout=5 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    recording = (empty / "take.raw").read_bytes()
    for name in ("reversed", "unlocked", "opened"):
        assert len((empty / f"{name}.raw").read_bytes()) == len(recording), name
    for name in ("processed", "clean"):
        assert soundfile.info(empty / f"{name}.wav").frames == 441000, name
    for name in RESULTS:
        secrets = {"locked": {"key": empty / "take.key"}, "sealed": {"identity": empty / "me.identity"}}
        assert zaudio.verify(empty / name, **secrets.get(name, {})).frames == 441000, name
    assert zaudio.verify(empty / "echoed").ops == ("my_ops:echo:level=0.3",)
    assert "my_ops:echo is exact" in done.stdout
    assert "denoise: " in done.stdout
    assert "LUFS" in done.stdout
    assert "441000 frames; loudnorm: -" in done.stdout
