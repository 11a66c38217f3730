import dataclasses
import fractions
import functools
import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.ops.declaring import op
from zaudio.ops.spec import OpSpec, offers, parse, parse_chain, split_function

identifiers = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
builtin_names = identifiers
function_names = st.builds(
    lambda modules, function: ".".join(modules) + ":" + function,
    st.lists(identifiers, min_size=1, max_size=3).filter(lambda modules: modules != ["__main__"]),
    identifiers,
)


words = st.one_of(
    st.text(st.characters().filter(str.isprintable), max_size=12),
    st.sampled_from(["", "1", "-2.5", "inf", "NaN", "true", "False", '"', '"a"', "a,b=c", "\\", '\\"', "::"]),
)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    words,
)
specs = st.builds(
    lambda name, params: OpSpec(name, tuple(params.items())),
    st.one_of(builtin_names, function_names),
    st.dictionaries(identifiers, scalars, max_size=4),
)


def typed(spec):
    # 1 == 1.0 == True, so equality alone would let types change.
    return spec.name, [(key, type(value), repr(value)) for key, value in spec.params]


@given(specs)
def test_a_spec_written_out_and_parsed_is_the_same_in_value_and_type(spec):
    assert typed(parse(str(spec))) == typed(spec)


@given(st.text(max_size=30))
def test_any_text_is_a_spec_or_a_usage_error_of_one_line(text):
    try:
        spec = parse(text)
    except UsageError as error:
        complaint = str(error)
    else:
        complaint = "none"
        assert typed(parse(str(spec))) == typed(spec)
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("invert", "invert", ()),
        ("gain:db=-3", "gain", (("db", -3),)),
        ("clip:low=-1,high=1", "clip", (("low", -1), ("high", 1))),
        ("mod:fn", "mod:fn", ()),
        ("a.b.c:fn", "a.b.c:fn", ()),
        ("a.b.c:fn:x=1,y=two", "a.b.c:fn", (("x", 1), ("y", "two"))),
        ("mod:fn:time=12:30", "mod:fn", (("time", "12:30"),)),
        ("gain:label=a:b", "gain", (("label", "a:b"),)),
        ("mod:fn:formula=a=b", "mod:fn", (("formula", "a=b"),)),
    ],
)
def test_the_three_forms(text, name, params):
    spec = parse(text)
    assert (spec.name, spec.params) == (name, params)
    assert spec.is_function == (":" in name)
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-3", -3),
        ("+7", 7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("-3.5", -3.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("-0.0", -0.0),
        ("true", True),
        ("False", False),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("hann", "hann"),
        ("infinite", "infinite"),
        ("-", "-"),
        ("٣", "٣"),
    ],
)
def test_a_value_is_an_integer_a_number_a_truth_or_a_string(text, value):
    parsed = dict(parse(f"f:x={text}").params)["x"]
    assert type(parsed) is type(value)
    assert repr(parsed) == repr(value)


@pytest.mark.parametrize(
    "text", ["inf", "-inf", "+Infinity", "nan", "-NaN", "1e999", "-1e999", str(2**63), str(-(2**63) - 1), "9" * 5000]
)
def test_a_number_that_no_message_should_carry_is_refused(text):
    with pytest.raises(UsageError, match="expected a"):
        parse(f"f:x={text}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::",
        "gain:",
        "gain:3",
        "gain:db=",
        "gain:=3",
        "gain:db=3,",
        "gain:,db=3",
        "gain:db=3,invert",
        "gain:db=1,db=2",
        "gain:2db=1",
        "gain: db=1",
        "invert,gain:db=3",
        "invert gain",
        " invert",
        "in-vert",
        "a.b",
        "a.b:x=1",
        "mod:",
        "mod:fn:",
        "mod:fn:x",
        "mod:fn:x=",
        "mod:fn.attribute",
        "mod:fn:x=a\nb",
        "mod:fn:x=\udc80",
        ".mod:fn",
        "mod.:fn",
        "a..b:fn",
        "mod:2fn",
        "C:\\ops.py:fn",
        "./mod:fn",
    ],
)
def test_what_is_no_spec_is_a_usage_error_of_one_line(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("op ")
    assert "expected" in str(caught.value) or "given twice" in str(caught.value)


def test_a_function_of_main_is_refused_in_words_that_help():
    for text in ("__main__:f", "__main__:f:x=1"):
        with pytest.raises(UsageError, match=r"workers cannot import __main__.* put f in a module of its own"):
            parse(text)


def test_a_callable_of_main_is_refused_in_a_script():
    script = """
        from zaudio.ops.spec import parse_chain
        def f(x): return x
        try:
            parse_chain(f)
        except ValueError as error:
            print(error)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert "op __main__:f: workers cannot import __main__" in run.stdout


def module_level(x):
    return x


@functools.wraps(module_level)
def dressed_as_another(x):
    return x


class Holder:
    def method(self, x):
        return x


def test_a_module_level_function_becomes_its_name():
    assert parse_chain(module_level) == (OpSpec(f"{__name__}:module_level"),)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x,
        Holder,
        Holder.method,
        Holder().method,
        functools.partial(len),
        dressed_as_another,
        len,
        np.negative,
        type("Callable", (), {"__call__": lambda self, x: x})(),
    ],
    ids=lambda op: getattr(op, "__qualname__", type(op).__name__),
)
def test_a_callable_that_workers_cannot_find_by_name_is_refused(op):
    with pytest.raises(UsageError, match="an op is a"):
        parse_chain(op)


@dataclasses.dataclass(frozen=True)
class Smooth:
    width: int = 4
    kind: str = "mean"
    hz: float | None = None


def test_a_dataclass_becomes_its_name_and_its_fields():
    name = f"{__name__}:Smooth"
    assert parse_chain([Smooth, Smooth()]) == (OpSpec(name), OpSpec(name))
    assert parse_chain(Smooth(width=5, hz=2.5)) == (OpSpec(name, (("width", 5), ("hz", 2.5))),)
    assert op(Smooth, kind="a,b") == parse(f'{name}:kind="a,b"')
    assert op(Smooth(3), kind="max") == OpSpec(name, (("width", 3), ("kind", "max")))


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Smooth(width=[1]), "width is a number, a text, True or False, not"),
        (Smooth(hz=np.zeros(2)), "hz is a number"),
        (Smooth(hz=math.nan), "a finite number"),
        (dataclasses.make_dataclass("Made", ["x"])(3), "an op is a class that a worker finds in its module by name"),
    ],
)
def test_a_dataclass_whose_fields_cannot_be_written_is_refused(op, words):
    with pytest.raises(UsageError, match=words):
        parse_chain(op)


def test_a_dataclass_of_main_is_refused():
    made = dataclasses.make_dataclass("Made", ["x"], namespace={"__module__": "__main__"})
    made.__module__ = "__main__"
    with pytest.raises(UsageError, match="op __main__:Made: workers cannot import __main__"):
        parse_chain(made(3))


# Values from Python


def test_a_function_from_before_its_module_was_imported_again_is_told(monkeypatch):
    before = crush
    monkeypatch.setattr(sys.modules[__name__], "crush", lambda x: x)
    sys.modules[__name__].crush.__module__ = __name__
    with pytest.raises(UsageError, match="the module was imported again, so take crush from it again"):
        parse_chain(before)


def crush(x, *, bits=8, mode="round"):
    return x


def test_an_op_takes_values_that_are_no_text():
    assert op("gain", db=-3) == parse("gain:db=-3")
    assert typed(op("gain", db=-3.0)) == typed(parse("gain:db=-3.0"))
    assert op(crush, bits=6, mode="a,b") == OpSpec(f"{__name__}:crush", (("bits", 6), ("mode", "a,b")))
    assert op("m:f:x=1", name=2) == parse("m:f:x=1,name=2")
    assert parse_chain([op("invert"), "invert"]) == parse_chain(["invert", "invert"])


def test_numpys_scalars_travel_as_numbers():
    truth = op("m:f", a=np.bool_(True), b=np.zeros(1)[0] > 1).params
    assert [value for _, value in truth] == [True, False]
    assert all(type(value) is bool for _, value in truth)
    spec = op("m:f", a=np.float32(0.5), b=np.int16(-7), c=np.float64(2))
    assert typed(spec) == typed(parse("m:f:a=0.5,b=-7,c=2.0"))


def test_a_partial_is_an_op():
    assert parse_chain(functools.partial(crush, bits=6)) == (op(crush, bits=6),)
    assert parse_chain(functools.partial(functools.partial(crush, bits=6), bits=7)) == (op(crush, bits=7),)
    assert parse_chain([functools.partial(module_level)]) == parse_chain(module_level)


def test_a_partial_with_unnamed_values_is_refused():
    with pytest.raises(UsageError, match="a partial names all that it gives"):
        parse_chain(functools.partial(crush, 6))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "x is a number, a text, True or False, not None"),
        ([1], r"x is a number, a text, True or False, not \[1\]"),
        (b"a", "x is a number, a text, True or False, not b'a'"),
        (2j, "x is a number, a text, True or False, not 2j"),
        (2**63, "expected an integer of 64 bits"),
        (math.inf, "expected a finite number, not inf"),
        (np.float32("nan"), "expected a finite number, not nan"),
        (fractions.Fraction(10**400, 3), r"expected a finite number, not 1000+\.\.\."),
        (10**400, r"expected an integer of 64 bits, not 10+\.\.\.$"),
        ("a\nb", "expected a value of printable characters"),
        ("\udc80", "expected a value of printable characters"),
        ("ü" * 129, "expected a text of at most 256 bytes"),
    ],
    ids=repr,
)
def test_a_value_that_no_message_carries_is_refused(value, sentence):
    with pytest.raises(UsageError, match=f"op 'm:f': {sentence}"):
        op("m:f", x=value)


def test_an_integer_that_python_refuses_to_write_is_refused():
    with pytest.raises(UsageError, match="expected an integer of 64 bits, not one of thousands of digits"):
        op("m:f", x=10**5000)


def test_an_op_refuses_what_is_given_twice_or_is_no_op():
    with pytest.raises(UsageError, match="db is given twice"):
        op("gain:db=1", db=2)
    with pytest.raises(UsageError, match="expected the name of a parameter, not 'a b'"):
        op("m:f", **{"a b": 1})
    with pytest.raises(UsageError, match=r"an op is a text .* not 3"):
        op(3)
    with pytest.raises(UsageError, match="at most 64 parameters, not 65"):
        op("m:f", **{f"x{number}": number for number in range(65)})


def test_a_text_in_quotes_is_a_string_whatever_it_holds():
    assert parse('m:f:a="1",b="x,y=\\"z\\"",c="",d="') == op("m:f", a="1", b='x,y="z"', c="", d='"')
    with pytest.raises(UsageError, match="a text in quotes as JSON has it"):
        parse(r'm:f:a="\q"')


def test_a_nested_function_is_refused():
    def nested(x):
        return x

    with pytest.raises(UsageError, match="nested is not"):
        parse_chain([nested])


def test_a_chain_keeps_its_order_and_mixes_texts_with_functions():
    chain = parse_chain(["gain:db=-3", module_level, "gain:db=-3"])
    assert [str(spec) for spec in chain] == ["gain:db=-3", f"{__name__}:module_level", "gain:db=-3"]
    assert parse_chain(("invert",)) == parse_chain("invert") == (OpSpec("invert"),)


def test_a_chain_has_up_to_thirty_two_ops():
    for count in (0, 32):
        assert len(parse_chain(["invert"] * count)) == count
    with pytest.raises(UsageError, match="up to 32 ops, not 33"):
        parse_chain(["invert"] * 33)


@pytest.mark.parametrize("ops", [None, 3, b"invert", [["invert"]], [None], {"invert"}], ids=repr)
def test_what_is_neither_text_nor_function_is_refused(ops):
    with pytest.raises(UsageError, match="an op is a text"):
        parse_chain(ops)


def test_a_function_name_splits_at_its_colon():
    assert split_function("a.b:fn") == ("a.b", "fn")


@pytest.mark.parametrize(
    ("names", "step", "expected"),
    [
        ([], "invert", False),
        (["invert", "gain"], "gain", True),
        (["invert", "gain"], "clip", False),
        (["mod"], "mod:f", True),
        (["mod:f"], "mod:f", True),
        (["mod:g"], "mod:f", False),
        (["mod:f"], "mod", False),
        (["mo", "mod:", "od", "mod.f"], "mod:f", False),
        (["a"], "a.b:f", False),
        (["a.b"], "a.b:f", True),
    ],
)
def test_a_worker_has_what_it_offers_by_name_or_by_module(names, step, expected):
    assert offers(iter(names), step) is expected


def test_numbers_that_are_floats_stay_floats_in_the_canonical_text():
    assert str(OpSpec("f", (("x", 3.0), ("y", 1e-7), ("z", 1e16), ("t", True)))) == "f:x=3.0,y=1e-07,z=1e+16,t=true"
    assert math.copysign(1, dict(parse("f:x=-0.0").params)["x"]) == -1
