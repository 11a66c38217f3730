"""The Graph: any cut into blocks gives the bits of the whole, and those of ops applied to the whole by hand."""

import ctypes
import itertools
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from extended import examples
from hypothesis import given
from hypothesis import strategies as st
from ops_support import column, noise, signal_of

from zaudio.formats import FORMATS
from zaudio.ops.channels import Mix, Pick
from zaudio.ops.contract import Kernel, Op, Place, Precision, arrays
from zaudio.ops.delaying import Echo
from zaudio.ops.editing import Cut, Hole, Ramps, Silence
from zaudio.ops.graph import BLOCK_SAMPLES, Graph
from zaudio.ops.levels import Bend, Bounds, Invert, Offset, Scale
from zaudio.ops.precision import convert, store
from zaudio.ops.sampling import Rounded, Stored
from zaudio.signal import Signal

# Kernels of the test's own


@dataclass(frozen=True)
class Near(Kernel):
    """Finite memory: it looks `before` frames back and `after` frames ahead, and writes to what it gets."""

    before: int
    after: int

    def context(self, signal):
        return self.before, self.after

    def apply(self, samples, place, state):
        frames = place.stop - place.start
        assert len(samples) == frames + self.before + self.after
        near = (
            samples[:frames] + 3 * samples[self.before : self.before + frames] + 5 * samples[self.before + self.after :]
        )
        samples[:] = np.nan
        return near


@dataclass(frozen=True)
class Running(Kernel):
    """A sum that depends on its start, as a recursive filter does: only a grid makes it repeatable."""

    warm: int

    def context(self, signal):
        return self.warm, 0

    def apply(self, samples, place, state):
        np.cumsum(samples, axis=0, out=samples)
        return samples[self.warm :] * 0.1


@dataclass(frozen=True)
class Gridded(Op):
    """A user's op with a grid and context of its own, called block by block: each block less its mean."""

    precision: ClassVar[Precision] = Precision.FLOAT32
    size: int
    around: int
    short: bool  # whether it returns the block without its context

    def context(self, signal):
        return self.around, self.around

    def grid(self, signal):
        return self.size

    def apply(self, samples, place, state):
        assert samples.dtype == np.float32
        assert place.last - place.first == len(samples)
        assert 0 <= place.first <= place.start < place.stop <= place.last <= place.signal.frames
        assert place.start % self.size == 0
        samples -= samples.mean(axis=0, dtype=np.float64).astype(np.float32)
        return samples[place.start - place.first : place.stop - place.first] if self.short else samples


@dataclass(frozen=True)
class Turned(Op):
    """A user's op on samples as they are stored: each block backwards, in place."""

    precision: ClassVar[Precision] = Precision.STORED
    size: int
    around: int

    def context(self, signal):
        return self.around, 0

    def grid(self, signal):
        return self.size

    def apply(self, samples, place, state):
        assert samples.dtype == np.dtype(place.signal.format.native_dtype)
        samples[:] = samples[::-1].copy()
        return samples


@dataclass(frozen=True)
class Halved(Kernel):
    """A rate of a half: each frame is the sum of two; a recording of odd length loses its last frame."""

    def signal(self, before):
        return replace(before, frames=before.frames // 2, samplerate=before.samplerate // 2)

    def needs(self, start, stop, signal):
        return 2 * start, 2 * stop

    def source_frame(self, frame, signal):
        return 2 * frame

    def has_memory(self, signal):
        return True

    def apply(self, samples, place, state):
        return samples[::2] + samples[1::2]


# Random chains

FINITE = [
    "gain",
    "dcshift",
    "clip",
    "softclip",
    "invert",
    "cut",
    "pad",
    "mute",
    "fade",
    "mix",
    "pick",
    "convert",
    "echo",
    "near",
    "halved",
]


@st.composite
def kernels(draw, signal, kinds):
    n = signal.frames
    match draw(st.sampled_from(kinds)):
        case "gain":
            return Scale(draw(st.sampled_from([0.5, 1.7, 30.0])))
        case "dcshift":
            return Offset(0.1)
        case "clip":
            return Bounds(-0.5, 0.25)
        case "softclip":
            return Bend(0.25)
        case "invert":
            return Invert()
        case "cut":
            start = draw(st.integers(0, n))
            return Cut(start, draw(st.integers(0, n - start)))
        case "pad":
            return Silence(draw(st.integers(0, 60)), draw(st.integers(0, 60)))
        case "mute":
            start = draw(st.integers(0, n))
            return Hole(start, draw(st.integers(start, n)))
        case "fade":
            rise = draw(st.integers(0, n))
            return Ramps(rise, draw(st.integers(0, n - rise)), draw(st.sampled_from(["linear", "smooth", "power"])))
        case "mix":
            factors = draw(
                st.lists(st.sampled_from([0.0, 1.0, -0.5]), min_size=signal.channels, max_size=signal.channels)
            )
            return Mix(signal.channels, arrays(factors, factors[::-1]))
        case "pick":
            picked = draw(st.lists(st.integers(0, signal.channels - 1), min_size=1, max_size=3))
            return Pick(signal.channels, arrays(picked, type="<i4"))
        case "convert":
            return Stored(draw(st.sampled_from(sorted(FORMATS))))
        case "echo":
            return Echo(draw(st.integers(1, 60)), 0.5)
        case "near":
            return Near(draw(st.integers(0, 20)), draw(st.integers(0, 20)))
        case "halved":
            return Halved()
        case "running":
            return Running(draw(st.integers(1, 40)))
        case "turned":
            return Turned(draw(st.integers(2, 30)), draw(st.integers(0, 20)))
        case "gridded":
            return Gridded(draw(st.integers(2, 30)), draw(st.integers(0, 20)), draw(st.booleans()))


@st.composite
def chains(draw, kinds):
    """Return ops, an array and its signal."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    frames = draw(st.one_of(st.integers(0, 3), st.integers(0, 200)))
    array = noise(frames, draw(st.sampled_from([1, 2, 3, 6])), name, seed=draw(st.integers(0, 9)))
    if name[0] == "f" and frames and draw(st.booleans()):
        for value in (np.nan, np.inf, -np.inf):
            array[draw(st.integers(0, frames - 1)), 0] = value
    signal = signal_of(array)
    ops, signals = [], [signal]
    for _ in range(draw(st.integers(0, 5))):
        ops.append(draw(kernels(signals[-1], kinds)))
        signals.append(ops[-1].signal(signals[-1]))
    if draw(st.booleans()):
        ops.append(Rounded(draw(st.sampled_from([8, 16])), 5, signals[-1].format.name, False))
    array.flags.writeable = False
    return ops, array, signal


def has_memory(ops, signal):
    found = False
    for op in ops:
        found, signal = found or op.has_memory(signal), op.signal(signal)
    return found


def cut(graph, array, edges):
    """Return the output in the bytes of its parts, each computed from what it needs and no more."""
    parts, known = [], (0, 0)
    for start, stop in itertools.pairwise(edges):
        low, high = graph.needs(start, stop)
        assert 0 <= low <= high <= len(array)
        if low < high:
            assert low >= known[0]
            assert high >= known[1]
            known = low, high
        part = graph(array[low:high], low, start, stop)
        assert part.shape == (stop - start, graph.output.channels)
        assert part.dtype == np.dtype(graph.output.format.dtype)
        assert part.flags.c_contiguous
        assert part.flags.writeable
        assert not np.may_share_memory(part, array)
        parts.append(part.tobytes())
    return b"".join(parts)


def by_hand(ops, array, signal):
    """Return the output and its limited samples: each op over the whole, one after the other."""
    array = array.astype(array.dtype.newbyteorder("="), order="C") if not signal.format.is_native else array.copy()
    for op in ops:
        array = convert(array, op.precision, signal.format)[0].copy()
        if op.has_memory(signal):
            array[~np.isfinite(array)] = 0
        after = op.signal(signal)
        low, high = op.needs(0, after.frames, signal)
        place = Place(low, high, 0, after.frames, signal)
        around = (max(0, -low), max(0, high - max(low, signal.frames)))
        whole = np.pad(array[max(0, low) : max(0, high)], (around, (0, 0)))
        with np.errstate(all="ignore"):
            array = op.apply(whole, place, None) if after.frames else np.empty((0, after.channels), array.dtype)
        signal = after
    into = np.empty((signal.frames, signal.channels), signal.format.dtype)
    return into, store(array, into)


@given(data=st.data())
@examples(200)
def test_any_cut_of_a_chain_with_finite_memory_is_the_chain_by_hand(data):
    ops, array, signal = data.draw(chains(FINITE))
    expected, (clipped, _) = by_hand(ops, array, signal)
    grid = data.draw(st.integers(1, 70)) if has_memory(ops, signal) else 0
    graph = Graph(ops, signal, grid)
    assert graph.output.frames == len(expected)
    assert cut(graph, array, edges_of(data, graph.output.frames, grid or 1)) == expected.tobytes()
    assert graph.counts.clipped == clipped


@given(data=st.data())
@examples(200)
def test_any_cut_of_any_chain_is_the_whole(data):
    ops, array, signal = data.draw(chains([*FINITE, "running", "running", "gridded", "turned", "turned"]))
    grid = data.draw(st.integers(1, 70)) if has_memory(ops, signal) else 0
    whole, parts = Graph(ops, signal, grid), Graph(ops, signal, grid)
    expected = whole(array, 0, 0, whole.output.frames).tobytes()
    assert cut(parts, array, edges_of(data, whole.output.frames, grid or 1)) == expected
    assert parts.counts == whole.counts
    # In any order: nothing is kept from block to block.
    for start in range(grid * (whole.output.frames // grid) if grid else 0, -1, -(grid or 1)):
        stop = min(start + (grid or 1), whole.output.frames)
        frame = whole.output.frame_bytes
        low, high = parts.needs(start, stop)
        assert parts(array[low:high], low, start, stop).tobytes() == expected[start * frame : stop * frame]


def edges_of(data, frames, grid):
    blocks = -(-frames // grid)
    inner = data.draw(st.lists(st.integers(0, blocks), max_size=5))
    return [0, *sorted(min(block * grid, frames) for block in inner), frames]


# One by one


@pytest.mark.parametrize(
    "ops", [[], [Invert()], [Scale(2.0)], [Near(2, 3)], [Running(4)], [Gridded(4, 2, True)], [Cut(0, 0)]]
)
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_empty_recording_is_an_empty_result(ops, name):
    array = noise(0, 2, name)
    graph = Graph(ops, signal_of(array), 7)
    assert graph.needs(0, 0) == (0, 0)
    result = graph(array, 0, 0, 0)
    assert (result.shape, result.dtype) == ((0, 2), array.dtype)


def test_silence_before_an_empty_recording_is_computed_on():
    graph = Graph([Silence(5, 5), Offset(0.5), Near(1, 1)], signal_of(noise(0)), 4)
    assert graph(noise(0), 0, 0, 10)[:, 0].tolist() == [4.0, *[4.5] * 8, 2.0]


@pytest.mark.parametrize("name", ["f64le", "f64be", "f32le", "s16le"])
@pytest.mark.parametrize(
    "op", [Scale(2.0), Near(0, 0), Near(1, 1), Running(2), Gridded(4, 1, False), Hole(0, 4), Ramps(2, 2, "linear")]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_message_is_never_written_to(name, op, channels):
    array = noise(40, channels, name)
    original = array.tobytes()
    for ops in ([op], [Cut(0, 40), op], [Pick(channels, arrays(range(channels), type="<i4")), op], [op, op]):
        graph = Graph(ops, signal_of(array), 8)
        first = graph(array, 0, 0, 40)  # writeable: an op that wrote to it would not fail
        assert array.tobytes() == original
        assert not np.may_share_memory(first, array)
        assert graph(array, 0, 0, 40).tobytes() == first.tobytes()


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("ops", [[], [Cut(1, 5)], [Silence(0, 0)], [Stored("f32le"), Stored("s16le")]])
def test_a_result_is_never_a_part_of_the_message(name, ops):
    array = noise(8, 1, name)
    graph = Graph(ops, signal_of(array), 0)
    assert not np.may_share_memory(graph(array, 0, 0, graph.output.frames), array)


def test_floats_have_their_channels_one_behind_the_other():
    seen = []

    @dataclass(frozen=True)
    class Look(Kernel):
        def apply(self, samples, place, state):
            seen.append((samples.dtype.str, samples.strides[0]))
            return samples

    for name in sorted(FORMATS):
        array = noise(8, 3, name)
        Graph([Cut(1, 6), Look()], signal_of(array), 0)(array, 0, 0, 6)
    assert set(seen) == {("<f8", 8)}


def test_an_op_behind_silence_gets_this_machines_byte_order():
    array = noise(4, 1, "f32be")
    graph = Graph([Scale(1.0), Silence(2, 2), Invert()], signal_of(array), 1)
    assert b"".join(graph(array, 0, frame, frame + 1).tobytes() for frame in range(8)) == (
        np.array([-0.0, -0.0, *-array[:, 0], -0.0, -0.0], ">f4").tobytes()
    )


def test_an_op_with_a_grid_writes_to_no_other_block():
    array = noise(40)
    signal = signal_of(array)
    op = Gridded(8, 3, False)
    together = Graph([op], signal, 40)(array, 0, 0, 40)
    for start in range(0, 40, 8):
        low, high = Graph([op], signal, 8).needs(start, start + 8)
        alone = Graph([op], signal, 8)(array[low:high], low, start, start + 8)
        assert alone.tobytes() == together[start : start + 8].tobytes()


@pytest.mark.parametrize("grid", [1, 3, 8, 100])
def test_limited_and_unreadable_samples_are_counted_once(grid):
    array = column([np.nan, 0.9, np.inf, 0.1, 0.9, -0.9, 0.9, np.nan])
    graph = Graph([Echo(3, 0.0), Scale(2.0), Stored("s16le")], signal_of(array), grid)
    for start in range(0, 8, grid):
        graph(array, 0, start, min(start + grid, 8))
    assert (graph.counts.zeroed, graph.counts.clipped) == (3, 4)


def test_samples_limited_for_an_op_in_the_middle_are_counted_once():
    @dataclass(frozen=True)
    class Own(Op):
        precision: ClassVar[Precision] = Precision.STORED

        def context(self, signal):
            return 2, 2

        def apply(self, samples, place, state):
            return samples // 2

    array = column([30000, 1, 30000, -30000, 2, 30000, 3], "<i2")
    graph = Graph([Scale(2.0), Own()], signal_of(array), 2)
    result = graph(array, 0, 0, 7)
    assert result[:, 0].tolist() == [16383, 1, 16383, -16384, 2, 16383, 3]
    assert graph.counts.clipped == 4


def test_an_op_is_set_up_once():
    calls = []

    @dataclass(frozen=True)
    class Loaded(Kernel):
        def setup(self, signal):
            calls.append(signal)
            return 3.0

        def apply(self, samples, place, state):
            return samples * state

    array = noise(10)
    graph = Graph([Cut(2, 8), Loaded()], signal_of(array), 0)
    assert graph(array, 0, 0, 8).tolist() == (array[2:] * 3.0).tolist()
    graph(array, 0, 0, 8)
    graph.setup()
    assert [signal.frames for signal in calls] == [8]


MAPPED = """
import ctypes
import numpy as np
from zaudio.formats import FORMATS
from zaudio.ops.graph import Graph
from zaudio.signal import Signal

libc = ctypes.CDLL(None)
fields = [(f"f{n}", ctypes.c_size_t) for n in range(10)]
libc.mallinfo2.restype = type("Info", (ctypes.Structure,), {"_fields_": fields})
Graph([], Signal(0, 1, 1000, FORMATS["f32le"]), 0).setup()
before = libc.mallinfo2().f4  # bytes in mappings of their own
array = np.empty(16 * 2**20, np.uint8)
print(libc.mallinfo2().f4 - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="no glibc of 2.33 or newer")
def test_a_process_that_computes_keeps_the_memory_of_freed_arrays():
    done = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_too_few_frames_are_refused():
    array = noise(20)
    graph = Graph([Near(2, 3)], signal_of(array), 10)
    assert graph.needs(10, 20) == (8, 20)
    with pytest.raises(ValueError, match="expected frames 8 to 20, got 9 to 20"):
        graph(array[9:], 9, 10, 20)
    with pytest.raises(ValueError, match="expected frames 0 to 13, got 0 to 12"):
        graph(array[:12], 0, 0, 10)


def test_an_op_that_returns_another_length_is_refused():
    @dataclass(frozen=True)
    class Short(Op):
        def context(self, signal):
            return 1, 1

        def apply(self, samples, place, state):
            return samples[3:]

    array = noise(20)
    with pytest.raises(ValueError, match=r"expected an array of shape \(10, 1\) or \(11, 1\) back, got \(8, 1\)"):
        Graph([Short()], signal_of(array), 10)(array, 0, 0, 10)


def test_blocks_of_an_op_without_memory_are_small_and_change_nothing():
    array = noise(BLOCK_SAMPLES + 17, 1, "s16le")
    signal = signal_of(array)
    seen = []

    @dataclass(frozen=True)
    class Count(Kernel):
        def apply(self, samples, place, state):
            seen.append(len(samples))
            return samples * 0.5

    result = Graph([Count()], signal, 0)(array, 0, 0, len(array))
    assert seen == [BLOCK_SAMPLES, 17]
    assert result.tobytes() == Graph([Count()], signal, len(array))(array, 0, 0, len(array)).tobytes()


def test_a_function_that_declares_nothing_gets_all_there_is():
    seen = []

    @dataclass(frozen=True)
    class Own(Op):
        precision: ClassVar[Precision] = Precision.STORED

        def apply(self, samples, place, state):
            seen.append((len(samples), place.at_start, place.at_end, place.samplerate))
            return samples

    array = noise(BLOCK_SAMPLES + 17, 1, "s16le")
    Graph([Scale(1.0), Own()], signal_of(array), 0)(array, 0, 0, len(array))
    Graph([Own()], signal_of(array), 0)(array[5:10], 5, 5, 10)
    assert seen == [(BLOCK_SAMPLES + 17, True, True, 1000), (5, False, False, 1000)]


def test_a_recording_of_many_channels_goes_through():
    array = noise(5, 1024, "s16be")
    graph = Graph([Scale(0.5), Near(1, 0)], signal_of(array), 2)
    halves = np.rint(np.pad(array.astype("f8"), ((1, 0), (0, 0))) / 2 * 2) / 2
    expected = np.rint(halves[:-1] + 3 * halves[1:] + 5 * halves[1:]).clip(-32768, 32767)
    assert graph(array, 0, 0, 5).tolist() == expected.tolist()


def test_a_signal_of_2_to_the_44_frames_costs_nothing_to_ask():
    graph = Graph([Near(10, 10)], Signal(2**44, 1, 44100, FORMATS["s16le"]), 65536)
    assert graph.needs(2**43, 2**43 + 65536) == (2**43 - 10, 2**43 + 65546)
