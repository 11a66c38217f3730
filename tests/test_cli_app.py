import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from extended import extended
from net_support import PATIENCE

from zaudio.cli.app import app
from zaudio.version import VERSION

COMMANDS = sorted(app.commands)


def run_module(*arguments, options=()):
    command = [sys.executable, *options, "-m", "zaudio", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def test_the_commands_are_those_of_the_documentation():
    results = ["batch", "coordinator", "decrypt", "farm", "verify", "worker"]
    rest = ["generate", "identity", "keys", "log", "loudness", "ops", "render", "seal", "stats", "status", "template"]
    assert sorted([*results, *rest, "view"]) == COMMANDS


def test_module_prints_the_help_with_every_command_and_exit_code():
    done = run_module("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for word in (*COMMANDS, "69", "77", "130", "143"):
        assert word in done.stdout


def test_module_prints_the_version():
    done = run_module("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"zaudio {VERSION}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["farm", "--help"], ["worker", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    done = run_module(*arguments, options=("-X", "importtime"))
    assert done.returncode == 0
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.count("|") == 2}
    assert "click" in imported  # the listing is read correctly
    heavy = {"numpy", "matplotlib", "zmq", "rich", "cryptography", "soundfile", "msgpack", "xxhash", "asyncio"}
    assert {name.partition(".")[0] for name in imported} & heavy == set()
    assert not any(name.startswith(("zaudio.events", "zaudio.watching")) for name in imported)  # 25 dataclasses


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_its_help(name):
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    example = done.output.partition("Example:\n")[2]
    assert f"zaudio {name}" in example


def parameters(name):
    command = app.commands[name]
    leaves = command.commands.values() if isinstance(command, click.Group) else [command]
    return [parameter for leaf in leaves for parameter in leaf.params]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    options = [parameter for parameter in parameters(name) if isinstance(parameter, click.Option)]
    assert options
    for option in options:
        assert option.help, option.name
        assert option.help[0].isupper(), option.name
        assert option.help.endswith("."), option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_a_value_shows_its_default(name):
    command = app.commands[name]
    help_text = CliRunner().invoke(app, [name, "--help"]).output
    valued = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_flag and parameter.multiple is False
    ]
    assert help_text.count("[default:") >= len([option for option in valued if not option.required])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_short_help_fits_its_line(name):
    line = next(line for line in CliRunner().invoke(app, ["--help"]).output.splitlines() if line.split()[:1] == [name])
    assert not line.endswith("...")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["farm"],
        ["farm", "a.raw", "b.raw"],
        ["farm", "a.raw", "-n", "0"],
        ["farm", "a.raw", "-n", "many"],
        ["farm", "a.raw", "--samplerate", "0"],
        ["farm", "a.raw", "--channels", "-1"],
        ["farm", "a.raw", "--format", "u8"],
        ["farm", "a.raw", "--worker-timeout", "0"],
        ["farm", "a.raw", "--chunk-timeout", "0"],
        ["coordinator", "a.raw", "--bind", "tcp://127.0.0.1:0", "--chunk-timeout", "soon"],
        ["farm", "a.raw", "--progress", "loud"],
        ["farm", "a.raw", "--bind", "5555"],
        ["farm", "a.raw", "-v", "-q"],
        ["coordinator", "a.raw"],
        ["worker"],
        ["worker", "127.0.0.1:5555"],
        ["worker", "tcp://127.0.0.1:5555", "-n", "0"],
        ["worker", "tcp://127.0.0.1:5555", "--lifetime", "0"],
        ["worker", "tcp://127.0.0.1:5555", "--idle-timeout", "-1"],
        ["decrypt"],
        ["verify"],
        ["generate", "--seconds", "-1"],
        ["view"],
        ["view", "a.wav", "-o", "a.png", "--size", "wide"],
        ["view", "a.wav", "-o", "a.png", "--start", "soon"],
        ["view", "a.wav", "--data", "a.json", "--bits", "12"],
    ],
)
def test_odd_arguments_are_a_usage_error(arguments):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "Usage: " in done.stderr
    assert done.stdout == ""


def test_module_generates_a_recording(tmp_path):
    path = tmp_path / "a.raw"
    done = run_module("generate", str(path), "--seconds", "0.01", "--channels", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"generated {path}: 441 frames, 5292 bytes\n"
    assert path.stat().st_size == 441 * 3 * 4


@pytest.mark.parametrize("command", ["verify", "decrypt"])
def test_module_says_in_one_line_that_there_is_no_result(tmp_path, command):
    done = run_module(command, str(tmp_path))
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("zaudio: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("missing.raw", 3), extended(".", 3), extended("", 2)])
def test_module_says_in_one_line_that_the_input_is_no_recording(tmp_path, name, code):
    output = tmp_path / "out"
    done = run_module("farm", os.path.join(tmp_path, name) if name else "", "-o", str(output), "-n", "1")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("zaudio: ")
    assert done.stderr.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    "option",
    [
        extended(["--chunk", "much"]),
        extended(["--memory", "-1"]),
        ["--op", "gian"],
        extended(["--op", "gain"]),
        extended(["--worker-timeout", "inf"]),
        extended(["--chunk-timeout", "0.5"]),
    ],
    ids="=".join,
)
def test_module_says_in_one_line_what_the_library_cannot_use(tmp_path, option):
    (tmp_path / "a.raw").write_bytes(bytes(400))
    done = run_module("farm", str(tmp_path / "a.raw"), "-o", str(tmp_path / "out"), "-n", "1", *option)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("zaudio: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.extended
def test_module_runs_a_farm_and_gives_its_audio_back(tmp_path):
    recording, output, report = tmp_path / "a.raw", tmp_path / "out", tmp_path / "report.json"
    frames = [bytes([number, 0, 0, 0]) for number in range(101)]
    recording.write_bytes(b"".join(frames))
    arguments = ["-o", str(output), "-n", "1", "--chunk", "10f", "--report", str(report), "--progress", "json"]
    done = run_module("farm", str(recording), *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"published {output}/result.raw\n")
    assert json.loads(done.stderr.splitlines()[-1])["state"] == "done"
    assert json.loads(report.read_text())["chunks"] == 11
    assert run_module("verify", str(output)).returncode == 0
    back = run_module("decrypt", str(output), "--forward", "-o", str(tmp_path / "back.raw"))
    assert (back.returncode, back.stderr) == (0, "")
    # The default op, invert, flips the sign bit of a little-endian float32.
    assert (tmp_path / "back.raw").read_bytes() == b"".join(frame[:3] + b"\x80" for frame in frames)
    again = run_module("farm", str(recording), *arguments)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
