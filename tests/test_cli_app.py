import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from zaudio.cli.app import app
from zaudio.version import VERSION

COMMANDS = sorted(app.commands)


def run_module(*arguments, options=()):
    command = [sys.executable, *options, "-m", "zaudio", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_the_commands_are_those_of_the_documentation():
    assert COMMANDS == ["coordinator", "decrypt", "farm", "generate", "ops", "verify", "worker"]


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
    heavy = {"numpy", "zmq", "rich", "cryptography", "soundfile", "msgpack", "xxhash", "asyncio"}
    assert {name.partition(".")[0] for name in imported} & heavy == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_its_help(name):
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    example = done.output.partition("Example:\n")[2]
    assert f"zaudio {name}" in example


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    command = app.commands[name]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
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
        ["farm", "a.raw", "--progress", "loud"],
        ["farm", "a.raw", "--bind", "5555"],
        ["farm", "a.raw", "-v", "-q"],
        ["coordinator", "a.raw"],
        ["worker"],
        ["worker", "127.0.0.1:5555"],
        ["worker", "tcp://127.0.0.1:5555", "-n", "0"],
        ["decrypt"],
        ["verify"],
        ["generate", "--seconds", "-1"],
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
