import pytest
from click.testing import CliRunner

from zaudio.cli.app import app
from zaudio.cli.operations import catalogue, page

GAIN = {
    "name": "gain",
    "summary": "make louder",
    "parameters": [
        {"name": "db", "type": "number", "default": None, "least": -6.0, "most": 6.0, "meaning": "gain in decibels"},
        {"name": "pan", "type": "number", "default": 0.5, "least": 0.0, "most": 1.0, "meaning": "place"},
    ],
    "example": "gain:db=-3",
}
INVERT = {"name": "invert", "summary": "flip the sign", "parameters": [], "example": "invert"}


def test_the_catalogue_has_a_line_for_each_and_tells_how_to_write_ones_own():
    text = catalogue([GAIN, INVERT])
    assert text.splitlines()[:2] == ["gain    make louder", "invert  flip the sign"]
    assert "module:function" in text
    assert "--allow" in text


def test_a_page_shows_parameters_and_example():
    assert page(GAIN).splitlines() == [
        "gain: make louder",
        "  db (number, -6 to 6, required): gain in decibels",
        "  pan (number, 0 to 1, default 0.5): place",
        "Example: zaudio farm take.wav --op gain:db=-3",
    ]
    assert page(INVERT).splitlines()[1] == "  no parameters"


def test_ops_lists_what_is_built_in():
    done = CliRunner().invoke(app, ["ops"])
    assert (done.exit_code, done.stderr) == (0, "")
    for name in ("invert", "gain", "clip"):
        assert f"\n{name} " in f"\n{done.stdout}"


@pytest.mark.parametrize("name", ["invert", "gain", "clip"])
def test_ops_shows_one_in_full(name):
    done = CliRunner().invoke(app, ["ops", name])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{name}: ")
    assert f"--op {name}" in done.stdout


def test_an_unknown_op_is_a_usage_error_with_a_close_match():
    done = CliRunner().invoke(app, ["ops", "gian"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "gain" in done.stderr
    assert done.stderr.count("\n") == 1
