import dataclasses

import pytest
from ops_support import noise, signal_of

from zaudio.errors import UsageError
from zaudio.formats import FORMATS
from zaudio.ops.catalogue import BUILTIN, KERNELS, describe_op, describe_ops, find_op, make_op
from zaudio.ops.contract import Exactness, Kernel
from zaudio.ops.levels import Gain
from zaudio.ops.spec import OpSpec, parse


def test_an_unknown_op_is_met_with_what_there_is():
    with pytest.raises(UsageError, match=r"no op 'inver', did you mean invert\?.*clip, .*gain, .*invert.*zaudio ops"):
        find_op("inver")
    with pytest.raises(UsageError, match=r"no op 'xyzzy'; built in are .*clip, .*and a function of your own is"):
        find_op("xyzzy")


def test_an_op_is_made_of_its_spec():
    assert make_op(parse("gain:db=-3")) == Gain(-3.0)
    with pytest.raises(UsageError, match=r"op gain needs db: gain in decibels.*for example gain:db=-3"):
        make_op(parse("gain"))
    with pytest.raises(UsageError, match="op invert has no parameter x; it has none"):
        make_op(OpSpec("invert", (("x", 1),)))


def test_the_tables_cannot_be_changed():
    for table, name in ((BUILTIN, "gain"), (KERNELS, "gain")):
        with pytest.raises(TypeError):
            table["mine"] = table[name]


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_op_describes_itself(name):
    described = describe_op(name)
    assert described.name == name
    assert described.summary[0].isupper()
    assert described.summary[-1] == "."
    assert described.exactness in [each.value for each in Exactness]
    assert parse(described.example).name == name
    for key, default, span, meaning in described.parameters:
        assert key.isidentifier() or key == "in"
        assert not key.endswith("_")
        assert default is None or isinstance(default, int | float | str)
        assert span
        assert meaning


def test_descriptions_are_sorted_and_complete():
    assert [op.name for op in describe_ops()] == sorted(BUILTIN)
    assert describe_op("gain").parameters[0][:3] == ("db", None, "a number from -200 to 200")
    assert [(key, default) for key, default, *_ in describe_op("clip").parameters] == [("low", -1), ("high", 1)]
    with pytest.raises(UsageError, match="no op"):
        describe_op("nothing")


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_the_example_of_every_op_is_designed_in_every_format(name):
    op = make_op(parse(BUILTIN[name].example))
    for format in FORMATS:
        signal = dataclasses.replace(signal_of(noise(1, 2, format)), frames=100_000_000, samplerate=44_100)
        if op.measure(signal) is None:
            designed = op.design(signal)
            assert isinstance(designed, Kernel)
            assert KERNELS[designed.name] is type(designed)


def test_every_kernel_travels_by_a_name_of_its_own():
    assert all(kernel.name == name and kernel.whole for name, kernel in KERNELS.items())
    declared = {str(item.type) for kernel in KERNELS.values() for item in dataclasses.fields(kernel)}
    assert declared <= {"float", "int", "bool", "str", "Array"}
