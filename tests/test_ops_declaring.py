import functools

import pytest

import zaudio
from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Op, OpSpec, Precision, parse_chain
from zaudio.ops.declaring import called, declaration_of, version_text
from zaudio.signal import Signal

SIGNAL = Signal(1000, 1, 8000, sample_format("f32le"))


def plain(samples, *, depth=2):
    return samples


@zaudio.op(context=("1ms", 3), grid="10ms", precision="float32", version="4")
def declared(samples, *, place, depth=2):
    """Do nothing."""
    return samples


def test_a_declared_function_stays_a_plain_function():
    assert declared([1], place=None) == [1]
    assert (declared.__name__, declared.__doc__) == ("declared", "Do nothing.")
    assert parse_chain(declared) == (OpSpec(f"{__name__}:declared"),)
    assert zaudio.op(declared, depth=3) == OpSpec(f"{__name__}:declared", (("depth", 3),))


def test_a_declaration_is_read_from_the_function():
    found = declaration_of(declared)
    assert found.context_of(SIGNAL, {}) == (8, 3)
    assert found.grid_of(SIGNAL, {}) == 80
    assert (found.precision, found.version) == (Precision.FLOAT32, "4")
    assert declaration_of(plain) is None


def test_a_declaration_without_brackets_is_told():
    def bare(samples):
        return samples

    bare.__qualname__ = "bare"  # as of a module's function that is not yet there
    with pytest.raises(UsageError, match=r"a declaration has brackets: @zaudio.op\(\)"):
        zaudio.op(bare)


@pytest.mark.parametrize("target", [type("Some", (), {}), functools.partial(plain), 3, len])
def test_a_decorator_takes_functions_alone(target):
    with pytest.raises(UsageError, match=r"zaudio.op declares a plain function of a module, not "):
        zaudio.op()(target)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"contxt": 1}, "expected context, grid, setup, precision, signal, needs, version, model, not contxt"),
        ({"context": -1}, "context is frames, a duration .*, or a pair of these, or a function of the signal, not -1"),
        ({"context": "long"}, "not 'long'"),
        ({"context": 0.5}, "not 0.5"),
        ({"context": True}, "not True"),
        ({"context": (1, 2, 3)}, r"not \(1, 2, 3\)"),
        ({"context": (1, "x")}, "not 'x'"),
        ({"grid": "1m"}, "grid is frames, a duration .*, or a function of the signal, not '1m'"),
        ({"grid": (1, 2)}, r"grid is .*not \(1, 2\)"),
        ({"precision": "double"}, "precision is stored, float32 or float64, not 'double'"),
        ({"setup": "model"}, "setup is a function, not 'model'"),
        ({"signal": 3}, "signal is a function, not 3"),
        ({"needs": 3}, "needs is a function, not 3"),
        ({"needs": max, "grid": 5}, "give context and grid, or needs in their place, not both"),
        ({"version": 2}, "version is a text of at most 64 characters, not 2"),
        ({"version": "a\nb"}, "version is a text"),
        ({"version": "x" * 65}, "version is a text"),
    ],
)
def test_a_declaration_of_another_kind_is_refused_where_it_stands(given, words):
    with pytest.raises(UsageError, match=f"^zaudio.op: .*{words}"):
        zaudio.op(**given)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: "none", "none"),
        (lambda signal: signal, "signal"),
        (lambda before: before, "signal"),
        (lambda depth: depth, 3),
        (lambda signal, depth: (signal, depth), ("signal", 3)),
        (lambda depth, signal: (signal, depth), ("signal", 3)),
        (lambda signal, *, depth: (signal, depth), ("signal", 3)),
        (lambda signal, **params: (signal, params), ("signal", {"depth": 3, "mode": "a"})),
        (lambda signal, depth, **params: (signal, depth, params), ("signal", 3, {"mode": "a"})),
        (lambda *values: values, ("signal",)),
        (lambda signal, other=5: (signal, other), ("signal", 5)),
    ],
)
def test_a_function_of_a_declaration_gets_the_signal_and_the_parameters_that_it_names(function, expected):
    assert called(function, ("signal",), {"depth": 3, "mode": "a"}) == expected


def test_a_version_without_a_model_is_the_text_alone(tmp_path):
    assert version_text("m:f", "2", "", "anywhere") == "2"
    (tmp_path / "model").write_bytes(b"")
    empty = "sha256:e3b0c44298fc1c14"
    assert version_text("m:f", "", "model", str(tmp_path / "m.py")) == empty
    assert version_text("m:f", "2", str(tmp_path / "model"), "/elsewhere/m.py") == f"2+{empty}"


def test_a_model_that_is_changed_gets_another_version(tmp_path):
    model = tmp_path / "model"
    model.write_bytes(b"a")
    first = version_text("m:f", "", str(model), "")
    model.write_bytes(b"bb")
    assert version_text("m:f", "", str(model), "") != first


def test_one_op_at_a_time():
    with pytest.raises(UsageError, match="expected one op and its parameters by name, not 2 ops"):
        zaudio.op("gain", "invert")
    with pytest.raises(UsageError, match="an op is a text"):
        zaudio.op(3)
    assert Op.version == "1"
