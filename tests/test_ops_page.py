"""The code in docs/ops.md runs, and does what the page says."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zaudio.cli.checked import sentences
from zaudio.formats import sample_format
from zaudio.ops import Chain, import_allowed, make_ops, parse_chain
from zaudio.ops.checking import check, enough_frames
from zaudio.signal import Signal

PAGE = (Path(__file__).parents[1] / "docs" / "ops.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE, re.M | re.S))
SPECS = sorted(set(re.findall(r"(?:--op |ops )(\w+:\w+(?::\S+)?)", PAGE)) - {'my_ops:f:mode="a,b"'})
SIGNAL = Signal(0, 2, 8000, sample_format("f32le"))


@pytest.fixture
def modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
    yield import_allowed([*MODULES])
    for name in MODULES:
        del sys.modules[name]


def test_page_has_the_three_kinds_of_ops():
    assert set(MODULES) == {"my_ops", "echoes", "filling"}
    assert {spec.partition(":")[0] for spec in SPECS} == set(MODULES)


@pytest.mark.parametrize("spec", SPECS)
def test_op_of_the_page_is_exact(modules, spec):
    ops = make_ops(parse_chain(spec), modules)
    found = check(ops, Signal(enough_frames(ops, SIGNAL), 2, 8000, SIGNAL.format))
    assert found.is_exact
    assert found.straight is None


def test_crush_quantises(modules):
    array = np.array([[0.3], [0.7]], "<f4")
    assert Chain("my_ops:crush:bits=2", Signal(2, 1, 8000, SIGNAL.format))(array).tolist() == [[0.5], [0.5]]


def test_echo_comes_after_its_time(modules):
    array = np.zeros((1000, 1), "<f4")
    array[3] = 1
    result = Chain("echoes:echo:ms=50,db=-20", Signal(1000, 1, 8000, SIGNAL.format))(array)
    assert np.flatnonzero(result).tolist() == [3, 403]
    assert result[403, 0] == np.float32(0.1)


def test_fill_makes_the_loudest_sample_so_loud(modules):
    array = (np.random.default_rng(1).uniform(-0.2, 0.2, (10000, 2))).astype("<f4")
    chain = Chain("filling:Fill:db=-3", Signal(10000, 2, 8000, SIGNAL.format))
    assert np.abs(chain(array)).max() == pytest.approx(10 ** (-3 / 20), rel=1e-6)
    assert chain.sentences == (f"the peak was {np.abs(array.astype(float)).max():g}",)
    assert Chain("filling:Fill", Signal(0, 2, 8000, SIGNAL.format))(array[:0]).shape == (0, 2)


def test_outcome_on_the_page_is_what_a_check_prints(modules):
    spec = "echoes:echo:ms=80"
    ops, signal = make_ops(parse_chain(spec), modules), Signal(0, 1, 44100, SIGNAL.format)
    found = check(ops, replace(signal, frames=enough_frames(ops, signal)))
    plain = " ".join(PAGE.split())
    assert f"$ zaudio ops {spec} --check " + " ".join(sentences(spec, ops[0], found, same=True)) in plain


@pytest.mark.parametrize("spec", ["my_ops:soften:drive=4", "my_ops:echo:ms=90"])
def test_op_of_the_examples_is_exact(monkeypatch, spec):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "my_ops", raising=False)
    ops = make_ops(parse_chain(spec), import_allowed(["my_ops"]))
    assert check(ops, Signal(enough_frames(ops, SIGNAL), 2, 8000, SIGNAL.format)).is_exact
    del sys.modules["my_ops"]
