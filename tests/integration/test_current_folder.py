"""The current folder, a folder of received recordings: nothing in it is imported but the modules that a user names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from extended import extended
from farm_support import decrypted, finish, inverted, noise, popen, write_raw
from net_support import PATIENCE

import zaudio

# Modules of the standard library and of others, that zaudio or one of its libraries imports now or would if it could.
NAMES = ["random", "platform", "typing", "json", "__future__", "numpy", "zmq", "cffi", "greenlet", "cython", "gevent"]
TRAP = "import os\nopen(os.path.join(os.path.dirname(os.path.abspath(__file__)), '{0}.sprung'), 'w')\nx = 1\n"
OWN = "import numpy as np\n\ndef negate(array):\n    return np.negative(array)\n"
SCRIPT = Path(sys.executable).parent / "zaudio"
WAYS = {
    "python -m": [sys.executable, "-m", "zaudio"],
    "script": [sys.executable, str(SCRIPT)],
    "python -c": [sys.executable, "-P", "-c", "from zaudio.cli import main; main()"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "received"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(TRAP.format(name))
    for name in ("scipy", "soundfile"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(TRAP.format(f"../{name}"))
    monkeypatch.chdir(folder)
    home = str(Path(zaudio.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", home)
    return folder


def run(way, *arguments):
    if way == "script" and not SCRIPT.exists():
        pytest.skip("zaudio is not installed as a script")
    return finish(popen([*WAYS[way], *map(str, arguments)]))


def sprung(folder):
    return sorted(path.name for path in folder.glob("*.sprung"))


@pytest.mark.parametrize("way", ["python -m", *map(extended, ("script", "python -c"))])
def test_nothing_in_the_current_folder_is_imported(tmp_path, folder, way):
    samples = noise(50_000)
    write_raw(tmp_path / "x.raw", samples)
    code, _, err = run(way, "farm", "../x.raw", "-o", tmp_path / "out", "-n", 2)
    assert (code, sprung(folder)) == (0, []), err
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@pytest.mark.extended
def test_an_empty_entry_of_pythonpath_is_not_the_current_folder(tmp_path, folder, monkeypatch):
    for name in ("typing", "random", "__future__"):  # these, Python itself would import by that path before zaudio
        (folder / f"{name}.py").unlink()
    monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"] + os.pathsep)
    write_raw(tmp_path / "x.raw", noise(50_000))
    code, _, err = run("python -c", "farm", "../x.raw", "-o", tmp_path / "out", "-n", 1)
    assert (code, sprung(folder)) == (0, []), err


def test_a_named_module_is_found_in_the_current_folder_and_what_lies_beside_it_is_not(tmp_path, folder):
    (folder / "own.py").write_text(OWN)
    samples = noise(50_000)
    write_raw(tmp_path / "x.raw", samples)
    code, _, err = run("python -m", "farm", "../x.raw", "-o", tmp_path / "out", "-n", 2, "--op", "own:negate")
    assert (code, sprung(folder)) == (0, []), err
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    (folder / "own.py").write_text("import sibling\n" + OWN)
    (folder / "sibling.py").write_text("")
    again = ["farm", "../x.raw", "-o", tmp_path / "out", "-n", 2, "--op", "own:negate", "--overwrite"]
    code, _, err = run("python -m", *again)
    assert (code, sprung(folder)) == (2, [])
    assert "cannot import own:negate: ModuleNotFoundError: No module named 'sibling'" in err
    assert "--path" in err


@pytest.mark.extended
def test_path_finds_what_a_named_module_imports(tmp_path, monkeypatch):
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "zt_sibling.py").write_text(OWN)
    (modules / "zt_own.py").write_text("import zt_sibling\n\ndef f(array):\n    return zt_sibling.negate(array)\n")
    samples = noise(50_000)
    write_raw(tmp_path / "x.raw", samples)
    monkeypatch.chdir(tmp_path)
    code, _, err = run("python -m", "farm", "x.raw", "-o", "out", "-n", 2, "--op", "zt_own:f", "--path", "modules")
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@pytest.mark.extended
@pytest.mark.parametrize("command", ["farm", "worker"])
def test_a_name_that_is_found_elsewhere_first_is_said(tmp_path, folder, command):
    (folder / "json.py").write_text(OWN)
    write_raw(tmp_path / "x.raw", noise(50_000))
    arguments = {
        "farm": ["farm", "../x.raw", "-o", tmp_path / "out", "-n", 1, "--op", "json:negate"],
        "worker": ["worker", "tcp://127.0.0.1:9", "--once", "--allow", "json"],
    }
    code, _, err = run("python -m", *arguments[command])
    assert (code, sprung(folder)) == (2, [])
    assert f"cannot import json from {folder}/json.py: another json is found first, in " in err
    assert "Traceback" not in err


@pytest.mark.extended
def test_a_script_finds_its_modules_where_it_lies(tmp_path, monkeypatch):
    samples = noise(50_000)
    write_raw(tmp_path / "x.raw", samples)
    (tmp_path / "zt_own.py").write_text(OWN)
    job = "import zaudio, zt_own\nzaudio.Coordinator('x.raw', 'out', ops=zt_own.negate, workers=2).run()\n"
    (tmp_path / "job.py").write_text(job)
    monkeypatch.chdir(tmp_path)
    for command in (["job.py"], ["-c", job.replace("'out'", "'out2'")]):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    assert decrypted(tmp_path / "out") == decrypted(tmp_path / "out2") == inverted(samples).tobytes()
