"""The modules that take long to import: the command knows them before numpy is there, the starter before it forks."""

import subprocess
import sys

import pytest

from zaudio import needed
from zaudio.formats import sample_format
from zaudio.ops import BUILTIN, Course, OpSpec, import_allowed, make_ops, parse
from zaudio.ops.contract import BuiltIn
from zaudio.signal import Signal

SIGNAL = Signal(10_000_000, 2, 44100, sample_format("f32le"))


def required_by(op):
    """The modules that the kernels of an op import."""
    course = Course([op], SIGNAL)
    stage = course.measuring or course.main
    return {module for each in (*stage.ops, *course.foreseen.ops) for module in each.requires}


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_the_table_says_what_the_catalogue_says(name):
    (op,) = make_ops([parse(BUILTIN[name].example)], import_allowed([]))
    assert isinstance(op, BuiltIn)
    assert set(needed.REQUIRED.get(name, ())) == required_by(op)


def test_the_table_names_no_other_op_and_no_other_module_than_are_loaded():
    assert set(needed.REQUIRED) <= set(BUILTIN)
    assert {module for modules in needed.REQUIRED.values() for module in modules} <= {"zaudio.ops.sosfilt"}


def test_specs_are_looked_up_by_their_names_alone():
    assert needed.required(["invert", "my_ops:highpass", str(OpSpec("gain"))]) == ()
    assert needed.required(["highpass:hz=80", "notch:hz=50,q=3"]) == ("zaudio.ops.sosfilt",)


@pytest.mark.parametrize(
    ("modules", "loaded"), [(("zaudio.ops.sosfilt", "os.path"), True), (("antigravity",), False), ((), False)]
)
def test_only_known_modules_are_loaded(modules, loaded):
    code = (
        f"import sys; from zaudio.net import starting; starting.load({modules!r}); "
        "print('scipy' in sys.modules, *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("zaudio.ops.sosfilt" in run.stdout.split()) == loaded
    assert run.stdout.startswith(str(loaded))
    assert "antigravity" not in run.stdout
