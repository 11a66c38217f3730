"""Chains of any built-in ops, cut as a farm cuts them: the bits, and the counts, are those of `Chain`."""

import os
import pickle
import subprocess
import sys

import numpy as np
from extended import examples
from hypothesis import given, reject
from hypothesis import strategies as st
from ops_support import digests, signal_of

from zaudio.errors import UsageError
from zaudio.formats import FORMATS, sample_format
from zaudio.ops import BUILTIN, Chain, Course, graph_of, import_allowed, make_ops, parse_chain
from zaudio.ops.contract import fixed_vector
from zaudio.signal import Signal

NOTHING = import_allowed([])
BLOCK = 65_536  # frames: the least grid, where no rate changes
LENGTHS = (0, 1, 2, 31, 33, 997, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7919)
OPS = (
    *("invert", "gain:db=-7.3", "clip:low=-0.3,high=0.2", "dcshift:shift=0.01", "softclip:threshold=0.2"),
    *("trim:start=1f", "trim:start=30f,length=900f", "fade:in=1f", "fade:in=20f,out=11f,shape=smooth"),
    *("fade:in=997f,shape=power", "mute:start=0s,length=1f", "mute:start=0s,length=0f"),
    *("pad:before=70001f,after=5f", "pad:after=70000f"),
    *("remix:to=mono", "remix:to=-1/0.5*1/0", "remix:to=1/1", "delay:time=1f", "delay:time=3001f,level_db=3"),
    *("convert:format=s16be", "convert:format=f32le", "convert:format=f64be", "convert:format=s32le"),
    *("highpass:hz=80", "highpass:hz=900", "lowpass:hz=3000,q=3", "bandpass:hz=1000,q=2", "notch:hz=200,q=2"),
    *("eq:hz=1000,db=9", "lowshelf:hz=200,db=-6", "highshelf:hz=3000,db=4,slope=0.5", "dcblock:hz=20"),
    *("fir:hz=1000,length=3", "fir:hz=2000,length=511", "fir:type=highpass,hz=300,length=63,delay=kept"),
    *("compress:threshold_db=-40,ratio=4", "gate:threshold_db=-20", "limit:db=-12", "limit:db=-20,peak=sample"),
    *("resample:hz=16000", "resample:hz=11025", "speed:factor=1.25", "speed:factor=0.9"),
    *("denoise:reduction_db=12", "normalize:db=-6,peak=true", "normalize", "loudnorm:lufs=-20", "removedc"),
)
ENDS = ("dither", "dither:bits=8,seed=2")
SIMD = "X86_V3 X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX512_SPR AVX2 FMA3"  # by old names and new ones
ODD = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 5e-324, 1e30)


@st.composite
def sounds(draw):
    """Return noise, squares and silence in any format, with odd numbers among floats."""
    format = FORMATS[draw(st.sampled_from(sorted(FORMATS)))]
    frames, channels = draw(st.sampled_from(LENGTHS)), draw(st.sampled_from([1, 2, 3, 6]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    sound = random.standard_normal((frames, channels)) * 0.2
    for start in range(0, frames, 4001):
        piece = sound[start : start + 4001]
        piece *= random.choice([0.0, -0.0, 1e-7, 0.1, 1.0])
        if random.random() < 0.2:
            np.copysign(1.0, piece, out=piece)
    if format.dtype[1] == "i":
        full = 2.0 ** (8 * format.itemsize - 1)
        return np.rint(sound * full).clip(-full, full - 1).astype(format.dtype)
    with np.errstate(all="ignore"):
        stored = sound.astype(format.dtype)
        if frames:
            for number in draw(st.lists(st.sampled_from(ODD), max_size=5)):
                stored[random.integers(frames), random.integers(channels)] = number
    return stored


def in_chunks(stage, array, random):
    """Return a stage's output and counts: chunks of whole blocks, last first, by fresh graphs and by one that stays."""

    def fresh():
        return graph_of(stage.steps, stage.signal, stage.grid, NOTHING)

    kept, counts = fresh(), np.zeros(2, int)
    output, block = kept.output, stage.grid or max(1, kept.output.frames // 5)
    result = np.empty((output.frames, output.channels), output.format.dtype)
    stop = output.frames
    while stop:
        start = max(0, (-(-stop // block) - random.randint(1, 2)) * block)
        graph = kept if random.random() < 0.5 else fresh()
        before = np.array([graph.counts.clipped, graph.counts.zeroed])
        low, high = graph.needs(start, stop)
        result[start:stop] = graph(array[low:high].copy(), low, start, stop)
        counts += np.array([graph.counts.clipped, graph.counts.zeroed]) - before
        stop = start
    return result, counts.tolist()


@examples(150)
@given(
    array=sounds(),
    ops=st.lists(st.sampled_from(OPS), min_size=1, max_size=4),
    end=st.sampled_from([(), (), *((end,) for end in ENDS)]),
    random=st.randoms(use_true_random=False),
)
def test_a_farm_gives_the_bits_of_the_chain(array, ops, end, random):
    signal, ops = signal_of(array, 8000), [*ops, *end]
    try:
        chain = Chain(ops, signal)
    except UsageError:  # to trim or fade more than there is
        reject()
    expected = chain(array)
    course = Course(make_ops(parse_chain(ops), NOTHING), signal)
    while course.measuring is not None:
        course.take(in_chunks(course.measuring, array, random)[0])
    result, counts = in_chunks(course.main, array, random)
    assert result.tobytes() == expected.tobytes()
    assert counts == [chain.counts.clipped, chain.counts.zeroed]


def test_every_built_in_op_takes_part():
    # Other tests of the same process may have added ops of their own.
    ours = {name for name, op in BUILTIN.items() if op.__module__.startswith("zaudio.")}
    assert {spec.partition(":")[0] for spec in (*OPS, *ENDS)} == ours


def test_another_processor_gives_the_same_bits_of_every_op(tmp_path):
    signal = Signal(BLOCK + 4099, 1, 8000, sample_format("f64le"))
    array = fixed_vector(signal, signal.frames)
    (tmp_path / "taps.txt").write_text("\n".join(map(repr, array[:300, 0].tolist())))  # not the same backwards
    specs = [*OPS, *ENDS, f"fir:taps={tmp_path}/taps.txt"]
    stages = []
    for course in (Course(make_ops(parse_chain(spec), NOTHING), signal) for spec in specs):
        while (stage := course.measuring) is not None:
            stages.append((stage.steps, stage.signal, stage.grid))
            course.take(stage.graph()(array, 0, 0, stage.graph().output.frames))
        stages.append((course.main.steps, course.main.signal, course.main.grid))
    told = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            "import pickle, sys; from ops_support import digests; print(*digests(pickle.load(sys.stdin.buffer)))",
        ],
        input=pickle.dumps(stages),
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": SIMD, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert told.stdout.decode().split() == digests(stages)
