import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import FORMATS, sample_format
from zaudio.ops import BUILTIN, Chain, Step, import_allowed, parse_chain, prepare_chain

NOTHING = import_allowed([])
CHAIN = ["gain:db=3.3", "clip:low=-0.7,high=0.9", "invert"]
FOREIGN = ">" if sys.byteorder == "little" else "<"

USERS = """
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

def retyped(x):
    return x.view(f"=u{x.itemsize}")

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
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "zt_users.py").write_text(USERS)
    allowed = import_allowed(["zt_users"])
    yield allowed
    del sys.modules["zt_users"]


def build(ops, name="f32le", channels=1, allowed=NOTHING):
    format = sample_format(name)
    return Chain(prepare_chain(parse_chain(ops), format), format, channels, allowed)


def samples(name, values, channels):
    return np.array(values, sample_format(name).dtype).reshape(-1, channels)


# prepare_chain


def test_steps_carry_coefficients_of_built_in_ops_and_parameters_of_functions():
    specs = parse_chain(["gain:db=20", "clip:high=0.5", "invert", "mod:fn:x=1,y=two"])
    assert prepare_chain(specs, sample_format("s16le")) == (
        Step("gain", (("factor", 10.0),)),
        Step("clip", (("low", -32768), ("high", 16384))),
        Step("invert", ()),
        Step("mod:fn", (("x", 1), ("y", "two"))),
    )


def test_an_unknown_op_is_refused_on_the_coordinator():
    with pytest.raises(UsageError, match=r"no op 'gian', did you mean gain\?"):
        prepare_chain(parse_chain("gian:db=3"), sample_format("f32le"))


def test_a_parameter_without_its_key_is_told_from_a_function():
    with pytest.raises(UsageError, match=r"op 'gain:db': gain is a built-in op, .* as in gain:db=-3"):
        prepare_chain(parse_chain("gain:db"), sample_format("f32le"))


# building


def test_a_worker_refuses_what_it_does_not_have(users):
    f32 = sample_format("f32le")
    for step in (Step("nope"), Step(""), Step("zt_users:absent"), Step("os:system"), Step("zt_users:np.negative")):
        with pytest.raises(UsageError):
            Chain([Step("invert"), step], f32, 1, users)


@pytest.mark.parametrize(
    "step", [Step("gain"), Step("gain", (("factor", "1"),)), Step("invert", (("x", 1),)), Step("clip", (("low", 0),))]
)
def test_coefficients_of_another_version_are_refused_before_the_first_chunk(step):
    with pytest.raises(UsageError, match="expected the numbers"):
        Chain([step], sample_format("f32le"), 1, NOTHING)


@pytest.mark.parametrize("ops", ["add:amonut=2", "add:x=2", "needs", "takes_nothing"])
def test_a_function_that_cannot_be_called_so_is_refused_before_the_first_chunk(users, ops):
    with pytest.raises(UsageError, match=f"op zt_users:{ops.partition(':')[0]} cannot be called with an array and"):
        build(f"zt_users:{ops}", allowed=users)


@pytest.mark.parametrize("count", [0, 33])
def test_a_chain_of_none_or_too_many_steps_is_refused(count):
    with pytest.raises(UsageError, match=f"1 to 32 ops, not {count}"):
        Chain([Step("invert")] * count, sample_format("f32le"), 1, NOTHING)


# applying


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_chain_is_its_ops_one_after_the_other_in_any_byte_order(name, channels):
    for frames in (0, 1, 16, 17, 61):
        assert_is_its_ops(sample_format(name), channels, frames)


def assert_is_its_ops(format, channels, frames):
    stored = np.random.default_rng(5).integers(0, 256, frames * channels * format.itemsize, np.uint8)
    array = stored.view(format.dtype).reshape(-1, channels)
    # By bytes, since a conversion could change NaN.
    array = array if format.is_native else array.byteswap().view(format.native_dtype)
    for step in prepare_chain(parse_chain(CHAIN), format):
        array = BUILTIN[step.name].apply(array, **dict(step.params))
    expected = array if format.is_native else array.byteswap()
    result = build(CHAIN, format.name, channels)(stored.tobytes())
    assert result.dtype == np.dtype(format.dtype)
    assert result.dtype.byteorder == np.dtype(format.dtype).byteorder
    assert result.shape == (frames, channels)
    assert result.flags.carray or not format.is_native
    assert result.flags.c_contiguous
    assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["f32", "f64", "s16", "s32"])
def test_both_byte_orders_give_the_same_values(kind):
    values = [-1, 0, 1, 0.25, -0.75, 0.5] if kind[0] == "f" else [-32768, -1, 0, 1, 77, 32767]
    little, big = (build(CHAIN, kind + order, 2)(samples(kind + order, values, 2).tobytes()) for order in ("le", "be"))
    assert little.tolist() == big.tolist()
    assert little.tolist() != samples(kind + "le", values, 2).tolist()


@pytest.mark.parametrize("name", ["f32le", "f32be", "f64le", "f64be"])
def test_signalling_nan_comes_through_a_foreign_byte_order(name):
    format = sample_format(name)
    bits = {4: [0x7F800001, 0xFFBFFFFF, 0x7FC01234], 8: [0x7FF0000000000001, 0xFFF7FFFFFFFFFFFF, 0x7FF8000000001234]}
    stored = np.array(bits[format.itemsize], f"{format.dtype[0]}u{format.itemsize}")
    result = build("invert", name)(stored.tobytes()).view(stored.dtype)
    assert result[:, 0].tolist() == [value ^ 1 << (8 * format.itemsize - 1) for value in bits[format.itemsize]]


@given(
    content=st.binary(max_size=600),
    cuts=st.lists(st.integers(0, 600), max_size=6),
    name=st.sampled_from(sorted(FORMATS)),
    channels=st.sampled_from([1, 2, 3]),
)
def test_no_cut_changes_the_result(content, cuts, name, channels):
    frame = sample_format(name).itemsize * channels
    frames = len(content) // frame
    content = content[: frames * frame]
    chain = build(CHAIN, name, channels)
    edges = [0, *sorted(cut % (frames + 1) for cut in cuts), frames]
    parts = [chain(content[start * frame : stop * frame]).tobytes() for start, stop in itertools.pairwise(edges)]
    assert b"".join(parts) == chain(content).tobytes()


@pytest.mark.parametrize("name", ["f32le", "s16be"])
@pytest.mark.parametrize("op", ["invert", "gain:db=3", "clip", "zt_users:in_place", "zt_users:same"])
def test_a_payload_is_never_written_and_never_part_of_the_result(users, name, op):
    original = samples(name, [1, 2, 3, 4, 5, 6], 2).tobytes()
    buffer = bytearray(b"." + original)
    for payload in (bytes(original), bytearray(original), memoryview(original), memoryview(buffer)[1:]):
        result = build(op, name, 2, users)(payload)
        assert bytes(payload) == original
        assert not np.shares_memory(result, np.frombuffer(payload, np.uint8))
        assert result.flags.writeable


@pytest.mark.parametrize("size", [1, 7, 9, 15, 17])
def test_a_payload_of_a_part_of_a_frame_is_refused(size):
    with pytest.raises(ValueError, match=f"whole frames of 8 bytes, got {size} bytes"):
        build("invert", "f32le", 2)(bytes(size))


# users' functions


def test_parameters_reach_a_function_as_keywords(users):
    payload = samples("f32le", [1, 2, 3], 1).tobytes()
    assert build("zt_users:add:amount=2.5", allowed=users)(payload)[:, 0].tolist() == [3.5, 4.5, 5.5]
    assert build("zt_users:add", allowed=users)(payload)[:, 0].tolist() == [2, 3, 4]


@pytest.mark.parametrize("name", ["f32le", "f32be", "s16be"])
def test_a_function_may_write_to_what_it_gets_wherever_it_stands(users, name):
    calls = sys.modules["zt_users"].calls
    payload = memoryview(b"." + samples(name, [1, 2, 3, 4], 2).tobytes())[1:]
    for before in ([], ["invert", "invert"], ["zt_users:turned"], ["zt_users:read_only"]):
        result = build([*before, "zt_users:in_place", "zt_users:in_place"], name, 2, users)(payload)
        assert result.tolist() == [[3, 4], [5, 6]]
        assert result.flags.c_contiguous
    assert set(calls) == {(True, True, True, True)}


@pytest.mark.parametrize("name", ["f32le", "f32be"])
@pytest.mark.parametrize("last", ["turned", "read_only", "same"])
def test_a_result_is_contiguous_and_ours_whatever_a_function_returns(users, name, last):
    result = build(f"zt_users:{last}", name, 3, users)(samples(name, range(12), 3).tobytes())
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert result.tolist() == np.arange(12).reshape(4, 3).tolist()


def test_a_result_outlives_the_scratch_array_of_its_function(users):
    chain = build("zt_users:reused", channels=2, allowed=users)
    first = chain(samples("f32le", [0] * 6, 2).tobytes())
    chain(samples("f32le", [50] * 6, 2).tobytes())
    assert first.tolist() == [[1, 1]] * 3


def test_the_scratch_array_of_a_function_is_not_written_by_the_next(users):
    build(["zt_users:reused", "zt_users:in_place"], channels=2, allowed=users)(bytes(24))
    assert sys.modules["zt_users"].scratch.tolist() == [[1, 1]] * 3


@pytest.mark.parametrize(
    ("op", "error", "words"),
    [
        ("shorter", ValueError, r"expected an array of shape \(3, 2\) back, got \(2, 2\)"),
        ("flat", ValueError, r"expected an array of shape \(3, 2\) back, got \(6,\)"),
        ("doubled", TypeError, "expected an array of float32 back, got float64"),
        ("foreign", TypeError, f"expected an array of float32 back, got {FOREIGN}f4"),
        ("retyped", TypeError, "expected an array of float32 back, got uint32"),
        ("nothing", TypeError, "expected an array of float32 back, got NoneType"),
        ("listed", TypeError, "expected an array of float32 back, got list"),
    ],
)
def test_what_a_function_returns_is_checked_wherever_it_stands(users, op, error, words):
    for ops in ([f"zt_users:{op}"], ["invert", f"zt_users:{op}", "invert"]):
        with pytest.raises(error, match=rf"op zt_users:{op}: {words} \(.*zt_users\.py:\d+\)$"):
            build(ops, channels=2, allowed=users)(bytes(24))


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_a_shape_set_on_the_array_itself_is_noticed(users):
    with pytest.raises(ValueError, match=r"shape \(3, 2\) back, got \(6, 1\)"):
        build("zt_users:reshaped_in_place", channels=2, allowed=users)(bytes(24))


def test_what_a_function_raises_comes_through(users):
    with pytest.raises(RuntimeError, match="the op's own words"):
        build("zt_users:failing", allowed=users)(bytes(4))


def test_an_empty_payload_reaches_functions_too(users):
    assert build("zt_users:in_place", channels=2, allowed=users)(b"").shape == (0, 2)


# frames


@pytest.mark.parametrize(("name", "channels", "frame_bytes"), [("s16be", 1, 2), ("f32le", 3, 12), ("f64be", 2, 16)])
def test_frames_of_a_payload_are_seen_without_a_copy(name, channels, frame_bytes):
    chain = build("invert", name, channels)
    payload = bytearray(5 * frame_bytes)
    frames = chain.frames(payload)
    assert (chain.frame_bytes, frames.shape, frames.dtype) == (frame_bytes, (5, channels), sample_format(name).dtype)
    assert np.shares_memory(frames, np.frombuffer(payload, np.uint8))
    with pytest.raises(ValueError, match=f"whole frames of {frame_bytes} bytes, got 1 bytes"):
        chain.frames(b"x")


@pytest.mark.parametrize("name", ["f32le", "f32be"])
@pytest.mark.parametrize("op", ["invert", "zt_users:in_place", "zt_users:same"])
def test_frames_within_others_are_never_written_and_never_part_of_the_result(users, name, op):
    chain = build(op, name, 2, users)
    payload = bytearray(samples(name, range(10), 2).tobytes())
    original = bytes(payload)
    result = chain.apply(chain.frames(payload)[1:3])
    assert payload == original
    assert not np.shares_memory(result, np.frombuffer(payload, np.uint8))
    assert result.tobytes() == chain(original[8:24]).tobytes()


# what is imported


def test_ops_import_nothing_heavy():
    code = "import sys, zaudio.ops; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"zmq", "soundfile", "cryptography", "click", "rich", "msgpack", "scipy", "asyncio", "multiprocessing"}
    assert not heavy & set(run.stdout.split())


def test_clipped_samples_are_counted_without_the_context_until_they_are_taken():
    steps = prepare_chain(parse_chain(["gain:db=60", "invert", "gain:db=6"]), FORMATS["s16be"])
    chain = Chain(steps, FORMATS["s16be"], 1, import_allowed([]))
    frames = np.array([[30000], [1], [40], [-30000]], ">i2")
    chain.apply(frames, slice(1, 3))  # 1000 and 32767, which is 40 times 1000; then 2000 and 32767 again
    assert chain.take_clipped() == 2
    assert chain.take_clipped() == 0
    chain.apply(frames)
    assert chain.take_clipped() == 6
