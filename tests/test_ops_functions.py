import re
import sys

import pytest

from zaudio.errors import UsageError
from zaudio.ops.functions import import_allowed

OPS = """
import os
import zaudio
import zaudio.ops
from dataclasses import dataclass
from os import system
from functools import partial, wraps

def halve(x):
    return x / 2

def _hidden(x):
    return x

again = halve
half = partial(halve)
number = 3

class Op:
    def __call__(self, x):
        return x

instance = Op()

@dataclass(frozen=True)
class Smooth(zaudio.Op):
    width: int = 3

@dataclass(frozen=True)
class Cells(zaudio.Op):
    pass

class Bare(zaudio.Op):
    pass

@dataclass(frozen=True)
class Other:
    width: int = 3

Borrowed = zaudio.ops.levels.Scale
renamed = Smooth

@wraps(halve)
def wrapped(x):
    return x

def __getattr__(name):
    raise RuntimeError("a module's own __getattr__ was reached")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules that can be imported and are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("zt_"):
            del sys.modules[name]


@pytest.fixture
def ops(folder):
    (folder / "zt_ops.py").write_text(OPS)
    return folder


def test_a_module_allows_every_function_that_it_defines(ops):
    allowed = import_allowed(["zt_ops"])
    module = sys.modules["zt_ops"]
    assert allowed.names == ("zt_ops",)
    for name in ("halve", "_hidden", "again", "instance", "wrapped"):
        assert allowed.select(f"zt_ops:{name}") is vars(module)[name]


def test_a_function_allows_itself_and_no_other(ops):
    allowed = import_allowed(["zt_ops:halve"])
    assert allowed.names == ("zt_ops:halve",)
    assert allowed.select("zt_ops:halve")(6) == 3
    for other in ("zt_ops:_hidden", "zt_ops:again"):
        with pytest.raises(UsageError, match="this worker allows zt_ops:halve"):
            allowed.select(other)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("system", "it is defined in (posix|nt), not in zt_ops"),
        ("partial", "it is a class"),
        ("Op", "it is a class"),
        ("half", "it is defined in functools"),
        ("Bare", r"it is a class; put @dataclass\(frozen=True\) in front of it"),
        ("Other", "it is a class$"),
        ("Borrowed", "it is defined in zaudio.ops.levels, not in zt_ops"),
        ("dataclass", "it is defined in dataclasses"),
        ("number", "it is a int"),
        ("os", "it is a module"),
        ("absent", "module zt_ops has no absent"),
    ],
)
def test_what_a_module_does_not_define_as_a_function_is_refused(ops, name, why):
    with pytest.raises(UsageError, match=why):
        import_allowed(["zt_ops"]).select(f"zt_ops:{name}")
    with pytest.raises(UsageError, match=why):
        import_allowed([f"zt_ops:{name}"])


def test_a_module_allows_the_classes_of_ops_that_it_defines(ops):
    allowed = import_allowed(["zt_ops"])
    assert allowed.names == ("zt_ops",)
    for name in ("Smooth", "Cells", "renamed"):
        assert allowed.select(f"zt_ops:{name}") is vars(sys.modules["zt_ops"])[name]


def test_a_class_of_ops_allows_those_by_which_it_may_measure_and_no_function(ops):
    allowed = import_allowed(["zt_ops:Smooth"])
    assert allowed.names == ("zt_ops:Smooth", "zt_ops:Cells", "zt_ops:renamed")
    assert allowed.select("zt_ops:Cells").__name__ == "Cells"
    for other in ("halve", "Bare", "Other", "Borrowed"):
        with pytest.raises(UsageError):
            allowed.select(f"zt_ops:{other}")


def test_a_function_allows_no_class(ops):
    with pytest.raises(UsageError, match="this worker allows zt_ops:halve"):
        import_allowed(["zt_ops:halve"]).select("zt_ops:Smooth")


@pytest.mark.parametrize(
    "name", ["zt_ops", "zt_ops:", ":halve", "zt_ops:halve.x", "zt_ops:os.system", "zt_ops:halve:x=1", "os:system", ""]
)
def test_a_name_from_the_wire_that_is_malformed_or_not_allowed_is_refused(ops, name):
    with pytest.raises(UsageError):
        import_allowed(["zt_ops"]).select(name)


def test_the_wire_never_causes_an_import(ops):
    (ops / "zt_other.py").write_text("def f(x): return x")
    (ops / "zt_package").mkdir()
    (ops / "zt_package" / "__init__.py").write_text("def f(x): return x")
    (ops / "zt_package" / "inner.py").write_text("def f(x): return x")
    allowed = import_allowed(["zt_ops", "zt_package"])
    for name in ("zt_other:f", "zt_package.inner:f", "zt_package:inner"):
        with pytest.raises(UsageError):
            allowed.select(name)
    assert "zt_other" not in sys.modules
    assert "zt_package.inner" not in sys.modules


def test_a_module_in_a_package_is_allowed_by_its_full_name(folder):
    (folder / "zt_package").mkdir()
    (folder / "zt_package" / "__init__.py").write_text("")
    (folder / "zt_package" / "inner.py").write_text("def f(x): return x + 1")
    assert import_allowed(["zt_package.inner"]).select("zt_package.inner:f")(1) == 2


def test_nothing_allowed_allows_nothing():
    allowed = import_allowed([])
    assert allowed.names == ()
    with pytest.raises(UsageError, match="this worker allows no module; see --allow"):
        allowed.select("os:getcwd")


def test_entries_are_offered_once_and_in_order(ops):
    assert import_allowed(["zt_ops:halve", "zt_ops", "zt_ops:halve"]).names == ("zt_ops:halve", "zt_ops")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("import zt_missing_dependency", "ModuleNotFoundError: No module named 'zt_missing_dependency'"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit('enough')", "SystemExit: enough"),
        ("raise BaseExceptionGroup('several', [ValueError()])", "ExceptionGroup: several"),
    ],
)
def test_a_module_that_fails_to_import_is_one_line_that_names_entry_and_cause(folder, source, cause):
    (folder / "zt_bad.py").write_text(source)
    with pytest.raises(UsageError) as caught:
        import_allowed(["zt_bad:f"])
    assert str(caught.value).startswith("cannot import zt_bad:f: ")
    assert cause in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_interrupt_during_an_import_is_no_usage_error(folder):
    (folder / "zt_bad.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_allowed(["zt_bad"])


@pytest.mark.parametrize("entry", ["zt_nowhere", "zt_nowhere:f", "zt_nowhere.deep:f"])
def test_a_module_that_is_not_there_is_named(entry):
    with pytest.raises(UsageError, match=f"cannot import {entry}: ModuleNotFoundError"):
        import_allowed([entry])


@pytest.mark.parametrize("entry", ["", "zt_ops.py:f:g", "a b", "./zt_ops", ".zt_ops", "zt_ops:", "zt_ops:a.b", "a-b:c"])
def test_an_entry_that_names_no_module_is_refused(entry):
    with pytest.raises(UsageError, match=re.escape(f"cannot allow {entry!r}: expected MODULE or")):
        import_allowed([entry])


def test_main_is_refused():
    for entry in ("__main__", "__main__:f"):
        with pytest.raises(UsageError, match=f"cannot allow {entry}: workers cannot import __main__"):
            import_allowed([entry])


def test_a_module_with_the_name_of_a_built_in_op_is_refused(folder):
    (folder / "gain.py").write_text("def f(x): return x")
    with pytest.raises(
        UsageError, match="gain is a built-in op, as in gain:db=-3; a module of yours needs another name"
    ):
        import_allowed(["gain:f"])
    assert "gain" not in sys.modules
