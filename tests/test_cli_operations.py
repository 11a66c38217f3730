import json
import sys

import pytest
from click.testing import CliRunner

from zaudio.cli.app import app
from zaudio.cli.operations import catalogue, page
from zaudio.ops import BUILTIN, Described

GAIN = Described(
    "gain",
    "Make louder.",
    "Each sample times 10^(db / 20).",
    (("db", None, "a number from -6 to 6", "gain in decibels"), ("pan", 0.5, "a number from 0 to 1", "place")),
    "gain:db=-3",
    "per sample",
)
INVERT = Described("invert", "Flip the sign.", "", (), "invert", "per sample")
LOW = Described("lowpass", "Keep what is low.", "", (), "lowpass:hz=80", "grid")

MODULE = """
import random, os
import numpy as np
import zaudio

count = [0]

def halve(x):
    '''Make quieter.'''
    return x / 2

def echo(x):
    out = x.copy()
    out[9:] += x[:-9]
    return out

def short(x):
    return x[1:]

def counting(x):
    count[0] += 1
    return x + count[0]

def drawing(x):
    return x + random.random()

def hashing(x):
    return x * (hash("a") % 1000)

@zaudio.op(context="10ms", grid=500, setup=lambda: 3, precision="float64", version="7")
def smooth(x, *, state, width=3):
    '''Smooth it.

    By nothing.
    '''
    return x - x.mean(axis=0)

@zaudio.op(context=lambda signal: 1 / 0)
def broken(x):
    return x

def failing(x):
    return {}["no"]

def seeded(x):
    return x + random.Random(0).random() * np.arange(len(x))[:, None].astype(x.dtype)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "zt_cli.py").write_text(MODULE)
    yield "zt_cli"
    sys.modules.pop("zt_cli", None)


def run(*arguments):
    return CliRunner().invoke(app, ["ops", *arguments])


# the list


def test_the_catalogue_is_grouped_and_tells_how_to_write_ones_own():
    lines = catalogue([GAIN, INVERT, LOW]).splitlines()
    assert lines[:3] == ["Each sample by itself:", "  gain     Make louder.", "  invert   Flip the sign."]
    assert lines[4].startswith("With a memory that fades")
    assert lines[5] == "  lowpass  Keep what is low."
    assert "module:function" in "\n".join(lines)
    assert "--allow" in "\n".join(lines)


def test_every_built_in_op_is_in_the_list():
    done = run()
    assert (done.exit_code, done.stderr) == (0, "")
    for name in BUILTIN:
        assert f"\n  {name} " in done.stdout
    assert [op["name"] for op in json.loads(run("--json").stdout)] == sorted(BUILTIN)


# one op


def test_a_page_shows_all_that_there_is():
    assert page(GAIN).splitlines() == [
        "gain: Make louder.",
        "  Each sample times 10^(db / 20).",
        "  db (a number from -6 to 6, required): gain in decibels",
        "  pan (a number from 0 to 1, default 0.5): place",
        "Exactness: per sample",
        "Example: zaudio farm take.wav --op gain:db=-3",
    ]
    assert page(INVERT).splitlines()[1] == "  no parameters"


def test_the_list_and_each_page_fit_into_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ([], *([name] for name in BUILTIN)):
        assert [line for line in run(*arguments).stdout.splitlines() if len(line) > 80] == []


def test_a_page_says_which_parameters_may_be_left_out():
    assert "default )" not in run("trim").stdout
    assert "frames), optional): length that is kept" in " ".join(run("trim").stdout.split())
    assert "default 0.707107)" in run("highpass").stdout


@pytest.mark.parametrize("name", BUILTIN)
def test_ops_shows_one_in_full(name):
    done = run(name)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{name}: ")
    assert f"--op {name}" in done.stdout
    assert json.loads(run(name, "--json").stdout)["name"] == name


def test_an_unknown_op_is_a_usage_error_with_a_close_match():
    done = run("gian")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "gain" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_op_of_ones_own_shows_its_declaration(module):
    assert run(f"{module}:smooth").stdout.splitlines() == [
        "zt_cli:smooth(x, *, state, width=3)",
        "  Smooth it.",
        "",
        "  By nothing.",
        "  context: 441 frames before, 441 behind, at 44100 Hz in f32le",
        "  grid: 500 frames",
        "  precision: float64",
        "  setup: once in each worker's process",
        "  version: 7",
        "Check it: zaudio ops zt_cli:smooth --check",
    ]
    assert "441" not in run(f"{module}:smooth", "--samplerate", "8000").stdout
    assert "context: none; it works sample by sample" in run(f"{module}:halve").stdout
    assert json.loads(run(f"{module}:smooth", "--json").stdout)["context"] == [441, 441]


def test_a_declaration_that_cannot_be_used_is_a_usage_error(module):
    done = run(f"{module}:broken")
    assert done.exit_code == 2
    assert "op zt_cli:broken: its context failed: ZeroDivisionError" in done.stderr


# --check


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("echo", "when the recording is cut at other places: it depends on the frames around a sample. Declare them"),
        ("counting", "when it is computed a second time: it keeps something from call to call"),
        ("drawing", "when it is computed a second time: it draws random numbers or reads a clock"),
        ("hashing", "Another process gave other samples"),
    ],
)
def test_an_op_that_is_not_exact_is_told_with_the_reason(module, name, words):
    done = run(f"{module}:{name}", "--check", "--seconds", "0.1")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"zt_cli:{name} is not exact.")
    assert words in done.stdout


def test_an_exact_op_is_told_with_its_signal(module):
    done = run(f"{module}:halve", "--check", "--seconds", "0.1", "--channels", "2", "--format", "f64be")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "zt_cli:halve is exact: 4410 frames of 2 channels at 44100 Hz in f64be gave the same bits in one piece, in "
        "chunks of random sizes in random order, and in another process.",
        "It works sample by sample: a farm may cut anywhere.",
    ]


def test_blocks_that_differ_from_one_go_are_told(module):
    done = run(f"{module}:smooth", "--check", "--samplerate", "8000")
    assert done.exit_code == 0
    assert "It is computed in blocks of 66000 frames" in done.stdout
    assert "A go without blocks differs by at most" in done.stdout
    told = json.loads(run("gain:db=3", "--check", "--json", "--seconds", "0.01").stdout)
    assert (told["exact"], told["cuts"], told["grid"]) == (True, None, 0)


def test_an_op_that_fails_is_told_with_its_signal_and_its_line(module):
    done = run(f"{module}:short", "--check", "--seconds", "0.1")
    assert done.exit_code == 1
    assert done.stderr.startswith(
        "zaudio: zt_cli:short failed on 4410 frames of 1 channel at 44100 Hz in f32le: ValueError"
    )
    assert "expected an array of shape (4410, 1) back, got (4409, 1)" in done.stderr
    assert "zt_cli.py:" in done.stderr


def test_a_check_needs_an_op():
    done = run("--check")
    assert done.exit_code == 2
    assert "--check needs a SPEC" in done.stderr


def test_an_op_that_fails_names_its_line(module, tmp_path):
    line = MODULE.splitlines().index('    return {}["no"]') + 1
    done = run(f"{module}:failing", "--check", "--seconds", "0.1")
    assert done.stderr.endswith(f"KeyError: 'no' ({tmp_path}/zt_cli.py:{line})\n")


def test_noise_from_a_seed_at_each_call_is_told_how_to_be_seeded(module):
    done = run(f"{module}:seeded", "--check", "--seconds", "0.1")
    assert "cut at other places" in done.stdout
    assert "seed them with place.first" in done.stdout
