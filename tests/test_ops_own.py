import sys
from dataclasses import replace

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops import Chain, Course, Graph, Step, import_allowed, make_ops, parse_chain
from zaudio.ops.chain import from_step
from zaudio.signal import Signal

FOREIGN = ">" if sys.byteorder == "little" else "<"

PLAIN = """
def right(x, place):
    return x

import numpy as np

calls = []
scratch = np.zeros((3, 2), "=f4")

def add(x, amount=1):
    return x + x.dtype.type(amount)

def in_place(x):
    calls.append((x.flags.writeable, x.flags.c_contiguous, x.flags.aligned, x.dtype.isnative))
    x += 1
    return x

def same(x):
    return x

def read_only(x):
    x.flags.writeable = False
    return x

def turned(x):
    return np.asfortranarray(x)

def reused(x):
    np.add(x, 1, out=scratch)
    return scratch

def shorter(x):
    return x[:-1]

def flat(x):
    return x.reshape(-1)

def reshaped_in_place(x):
    x.shape = (x.size, 1)
    return x

def doubled(x):
    return x.astype("=f8")

def foreign(x):
    return x.astype(x.dtype.newbyteorder("S"))

def nothing(x):
    x += 1

def listed(x):
    return x.tolist()

def failing(x):
    raise RuntimeError("the op's own words")

def needs(x, *, depth):
    return x

def takes_nothing():
    return None

def left(x, place="left"):
    return x + {"left": 1, "right": 2}[place]
"""

DECLARED = """
from dataclasses import dataclass, replace
import numpy as np
import zaudio
from zaudio.formats import sample_format

seen = []
setups = []

@zaudio.op(context=(3, 2))
def shown(x, *, place):
    seen.append((place.first, place.last, place.start, place.stop, place.at_start, place.at_end, len(x)))
    return x

@zaudio.op(context="1ms", grid="10ms")
def timed(x):
    return x

@zaudio.op(context=lambda signal, width: (width, 0), grid=lambda signal: signal.samplerate // 100)
def asked(x, *, width=5):
    return x

@zaudio.op(context=2)
def trimmed(x, *, place):
    return x[place.start - place.first : place.stop - place.first]

@zaudio.op(context=2)
def writes(x):
    before = x.copy()
    x[:] = 7
    return before

@zaudio.op(context=2)
def too_long(x, *, place):
    return np.concatenate([x, x])

@zaudio.op(setup=lambda signal, steps: setups.append(signal) or 2.0 ** steps, precision="float64")
def crush(x, *, state, steps=3):
    return np.rint(x * state) / state

@zaudio.op(setup=lambda: 1 / 0)
def broken(x, *, state):
    return x

@zaudio.op(precision="float32")
def single(x):
    assert x.dtype == np.float32
    return x * np.float32(0.5)

@zaudio.op(signal=lambda before: replace(before, channels=1))
def mono(x):
    return x[:, :1]

@zaudio.op(signal=lambda before: replace(before, format=sample_format("s16le")))
def short(x):
    return np.rint(x * 32767).astype(np.int16)

@zaudio.op(signal=lambda before, by: replace(before, frames=before.frames // by, samplerate=before.samplerate // by),
           needs=lambda start, stop, by: (start * by - 1, stop * by))
def every(x, *, by=4):
    return x[1::by] + x[:-1:by]

@zaudio.op(signal=lambda before: replace(before, frames=before.frames + 1))
def longer(x):
    return x

@zaudio.op(signal=lambda before: before.frames)
def no_signal(x):
    return x

@zaudio.op(needs=lambda start, stop: (stop, start))
def backwards(x):
    return x

@zaudio.op(context=lambda signal: signal.nothing)
def unknown(x):
    return x

@zaudio.op(context=lambda signal: 1.5)
def half(x):
    return x
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """Two modules of a user's."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = {"zt_plain": PLAIN, "zt_declared": DECLARED}
    for name, source in names.items():
        (tmp_path / f"{name}.py").write_text(source)
    yield import_allowed([*names])
    for name in names:
        del sys.modules[name]


def column(values, channels=1, name="f32le"):
    return np.array(values, sample_format(name).dtype).reshape(-1, channels)


def apply(ops, array, samplerate=1000, name="f32le"):
    return Chain(ops, Signal(len(array), array.shape[1], samplerate, sample_format(name)))(array)


def made(spec, allowed):
    return make_ops(parse_chain(spec), allowed)[0]


def one_hz(frames=1000, channels=1, samplerate=1000, name="f32le"):
    return Signal(frames, channels, samplerate, sample_format(name))


# functions that declare nothing


def test_parameters_reach_a_function_as_keywords(users):
    assert apply("zt_plain:add:amount=2.5", column([1, 2, 3]))[:, 0].tolist() == [3.5, 4.5, 5.5]
    assert apply("zt_plain:add", column([1, 2, 3]))[:, 0].tolist() == [2, 3, 4]


def test_a_function_that_wants_its_place_and_declares_nothing_is_told_how(users):
    with pytest.raises(UsageError, match=r"argument: 'place'; only a function with @zaudio.op\(\) .* its place$"):
        made("zt_plain:right", users)


def test_a_parameter_of_a_plain_function_may_be_called_place(users):
    assert apply("zt_plain:left", column([1]))[0, 0] == 2
    assert apply("zt_plain:left:place=right", column([1]))[0, 0] == 3


@pytest.mark.parametrize("ops", ["add:amonut=2", "add:x=2", "needs", "takes_nothing"])
def test_a_function_that_cannot_be_called_so_is_refused_before_the_first_chunk(users, ops):
    with pytest.raises(UsageError, match=f"op zt_plain:{ops.partition(':')[0]} cannot be called with an array and"):
        made(f"zt_plain:{ops}", users)


@pytest.mark.parametrize("name", ["f32le", "f32be", "s16be"])
def test_a_function_may_write_to_what_it_gets_wherever_it_stands(users, name):
    calls = sys.modules["zt_plain"].calls
    array = column([1, 2, 3, 4], 2, name)
    for before in ([], ["invert", "invert"], ["zt_plain:turned"], ["zt_plain:read_only"]):
        result = apply([*before, "zt_plain:in_place", "zt_plain:in_place"], array, name=name)
        assert result.tolist() == [[3, 4], [5, 6]]
        assert result.flags.c_contiguous
    assert set(calls) == {(True, True, True, True)}
    assert array.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("last", ["turned", "read_only", "same"])
def test_a_result_is_contiguous_and_ours_whatever_a_function_returns(users, last):
    array = column(range(12), 3)
    result = apply(f"zt_plain:{last}", array)
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert not np.shares_memory(result, array)
    assert result.tolist() == array.tolist()


def test_a_result_outlives_the_scratch_array_of_its_function(users):
    graph = Graph(make_ops(parse_chain("zt_plain:reused"), users), one_hz(3, 2), 0)
    first = graph(column([0] * 6, 2), 0, 0, 3)
    graph(column([50] * 6, 2), 0, 0, 3)
    assert first.tolist() == [[1, 1]] * 3


def test_the_scratch_array_of_a_function_is_not_written_by_the_next(users):
    apply(["zt_plain:reused", "zt_plain:in_place"], column([0] * 6, 2))
    assert sys.modules["zt_plain"].scratch.tolist() == [[1, 1]] * 3


@pytest.mark.parametrize(
    ("op", "error", "words"),
    [
        ("shorter", ValueError, r"expected an array of shape \(3, 2\) back, got \(2, 2\)"),
        ("flat", ValueError, r"expected an array of shape \(3, 2\) back, got \(6,\)"),
        ("doubled", TypeError, "expected an array of float32 back, got float64"),
        ("foreign", TypeError, f"expected an array of float32 back, got {FOREIGN}f4"),
        ("nothing", TypeError, "expected an array of float32 back, got NoneType"),
        ("listed", TypeError, "expected an array of float32 back, got list"),
    ],
)
def test_what_a_function_returns_is_checked_wherever_it_stands(users, op, error, words):
    for ops in ([f"zt_plain:{op}"], ["invert", f"zt_plain:{op}", "invert"]):
        with pytest.raises(error, match=rf"op zt_plain:{op}: {words} \(.*zt_plain\.py:\d+\)$"):
            apply(ops, column([0] * 6, 2))


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_a_shape_set_on_the_array_itself_is_noticed(users):
    with pytest.raises(ValueError, match=r"shape \(3, 2\) back, got \(6, 1\)"):
        apply("zt_plain:reshaped_in_place", column([0] * 6, 2))


def test_what_a_function_raises_comes_through(users):
    with pytest.raises(RuntimeError, match="the op's own words"):
        apply("zt_plain:failing", column([0]))


# declarations


def test_a_function_that_declares_nothing_takes_the_frames_of_its_own_place_alone(users):
    for spec, plain in (("zt_plain:add", True), ("zt_declared:crush", True), ("zt_declared:shown", False)):
        assert Graph(make_ops(parse_chain(spec), users), one_hz(), 0).is_plain is plain


def test_a_function_sees_its_place_and_the_context_that_exists(users):
    seen = sys.modules["zt_declared"].seen
    graph = Graph(make_ops(parse_chain("zt_declared:shown"), users), one_hz(20), 8)
    samples = column(range(20))
    assert graph(samples, 0, 0, 20)[:, 0].tolist() == [*range(20)]
    assert seen == [
        (0, 10, 0, 8, True, False, 10),
        (5, 18, 8, 16, False, False, 13),
        (13, 20, 16, 20, False, True, 7),
    ]
    seen.clear()
    assert graph(samples[5:18], 5, 8, 16)[:, 0].tolist() == [*range(8, 16)]
    assert seen == [(5, 18, 8, 16, False, False, 13)]


@pytest.mark.parametrize(
    ("spec", "context", "grid"),
    [("timed", (48, 48), 480), ("asked", (5, 0), 480), ("asked:width=9", (9, 0), 480), ("shown", (3, 2), 1)],
)
def test_context_and_grid_follow_from_durations_parameters_and_the_signal(users, spec, context, grid):
    op, signal = made(f"zt_declared:{spec}", users), one_hz(samplerate=48000)
    assert (op.context(signal), op.grid(signal), op.has_memory(signal)) == (context, grid, True)


def test_a_result_with_its_context_is_trimmed_and_one_without_is_not(users):
    samples = column(range(20))
    for op in ("trimmed", "shown"):
        graph = Graph(make_ops(parse_chain(f"zt_declared:{op}"), users), one_hz(20), 8)
        assert graph(samples, 0, 0, 20)[:, 0].tolist() == [*range(20)]


def test_an_op_that_writes_to_its_samples_does_not_change_the_context_of_the_next_block(users):
    graph = Graph(make_ops(parse_chain(["zt_declared:writes", "zt_declared:timed"]), users), one_hz(200), 50)
    assert graph(column(range(200)), 0, 0, 200)[:, 0].tolist() == [*range(200)]


def test_a_result_of_another_length_names_both_that_would_do(users):
    with pytest.raises(
        ValueError, match=r"op zt_declared:too_long: .* \(8, 1\) or \(10, 1\) back, got \(20, 1\) \(.*py"
    ):
        Graph(make_ops(parse_chain("zt_declared:too_long"), users), one_hz(20), 8)(column(range(20)), 0, 0, 20)


def test_setup_runs_once_in_a_graph_and_its_value_comes_with_each_call(users):
    graph = Graph(make_ops(parse_chain("zt_declared:crush:steps=1"), users), one_hz(4), 2)
    for _ in range(2):
        assert graph(column([0.1, 0.3, 0.7, 0.8]), 0, 0, 4)[:, 0].tolist() == [0, 0.5, 0.5, 1]
    assert sys.modules["zt_declared"].setups == [one_hz(4)]


def test_a_setup_that_fails_names_the_op_and_its_line(users):
    with pytest.raises(RuntimeError, match=r"op zt_declared:broken: its setup failed: ZeroDivisionError: .*py:\d+\)$"):
        apply("zt_declared:broken", column([1]))


@pytest.mark.parametrize("name", ["s16le", "s32be", "f32le", "f64be"])
def test_a_function_gets_the_precision_that_it_declares(users, name):
    full = 1 if name[0] == "f" else 2 ** (int(name[1:3]) - 1)
    result = apply("zt_declared:single", column([full // 2 if full > 1 else 0.5], name=name), name=name)
    assert result[0, 0] == (full // 4 if full > 1 else 0.25)


def test_an_op_may_change_channels_and_format(users):
    chain = Chain(["zt_declared:mono", "zt_declared:short"], one_hz(2, 2))
    assert (chain.output.channels, chain.output.format.name) == (1, "s16le")
    assert chain(column([1, 2, -0.5, 4], 2)).tolist() == [[32767], [-16384]]


def test_an_op_that_changes_the_length_says_which_frames_it_needs(users):
    samples = column(range(101))
    chain = Chain("zt_declared:every", one_hz(101))
    assert (chain.output.frames, chain.output.samplerate) == (25, 250)
    # Frame k is the sum of frames 4 k - 1, which is 0 in front of the recording, and 4 k.
    assert chain(samples)[:, 0].tolist() == [max(0, 4 * k - 1) + 4 * k for k in range(25)]
    graph = Graph(make_ops(parse_chain("zt_declared:every"), import_allowed(["zt_declared"])), one_hz(101), 5)
    low, high = graph.needs(10, 20)
    assert (low, high) == (39, 80)
    assert graph(samples[low:high], low, 10, 20).tolist() == chain(samples)[10:20].tolist()


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("longer", "its declaration takes needs=, too"),
        ("no_signal", "signal returns a Signal, not 1000"),
        ("backwards", "needs returns two frames for 0 to 1000, the greater one last, not"),
        ("unknown", "its context failed: AttributeError"),
        ("half", "context is frames, a duration .* or a function of the signal, not 1.5"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused_before_the_first_chunk(users, op, words):
    with pytest.raises(UsageError, match=f"op zt_declared:{op}: .*{words}"):
        Course(make_ops(parse_chain(f"zt_declared:{op}"), users), one_hz())


@pytest.mark.parametrize("parameter", ["place", "state"])
def test_a_declared_function_is_told_place_and_state_by_nobody_else(users, parameter):
    op = {"place": "shown", "state": "crush"}[parameter]
    with pytest.raises(UsageError, match=f"multiple values for keyword argument '{parameter}'"):
        made(f"zt_declared:{op}:{parameter}=1", users)


# versions


def versioned(folder, version="2", model=b"weights"):
    (folder / "zt_version.py").write_text(
        f"import zaudio\n@zaudio.op(version={version!r}, model='weights.bin')\ndef f(x):\n    return x\n"
    )
    (folder / "weights.bin").write_bytes(model)
    sys.modules.pop("zt_version", None)
    return import_allowed(["zt_version"])


def test_a_version_has_the_hash_of_the_model_and_another_one_is_refused(users, tmp_path):
    allowed = versioned(tmp_path)
    course = Course(
        make_ops(parse_chain(["invert", "zt_version:f", "zt_plain:same"]), joined(users, allowed)),
        one_hz(),
    )
    step = course.main.steps[1]
    # sha256sum of the seven bytes
    assert step.version == "2+sha256:9a129038d9a00aed"
    assert course.versions == ("", step.version, "")
    assert from_step(step, allowed).name == "zt_version:f"
    for version, model in (("3", b"weights"), ("2", b"weightz")):
        other = versioned(tmp_path, version, model)
        with pytest.raises(
            UsageError, match=rf"op zt_version:f: the job has version 2\+sha256:9a1.*has version {version}"
        ):
            from_step(step, other)
    del sys.modules["zt_version"]


def joined(*all_allowed):
    return replace(
        all_allowed[0],
        names=tuple(name for allowed in all_allowed for name in allowed.names),
        modules={name: module for allowed in all_allowed for name, module in allowed.modules.items()},
    )


def test_a_model_that_is_not_there_is_named(users, tmp_path):
    allowed = versioned(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UsageError, match=r"op zt_version:f: its model .*weights\.bin cannot be read: No such file"):
        made("zt_version:f", allowed)
    del sys.modules["zt_version"]


def test_an_op_without_a_version_here_is_another_one(users):
    with pytest.raises(UsageError, match=r"the job has version 7 of it, and this worker has version \(none\)"):
        from_step(Step("zt_plain:same", version="7"), users)
