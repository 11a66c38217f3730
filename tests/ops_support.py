"""What tests of ops share: arrays, and a chain over one of them, with the rules that hold for every op."""

import hashlib

import numpy as np

from zaudio.formats import FORMATS
from zaudio.ops import Chain, graph_of, import_allowed
from zaudio.ops.contract import fixed_vector
from zaudio.signal import Signal

# Lengths with a whole vector of any width and a rest: SIMD code treats the rest differently.
LENGTHS = (0, 1, 15, 16, 17, 61)


def format_of(array):
    """Return the format of an array; this machine's byte order is the little one where numpy says none."""
    return next(format for format in FORMATS.values() if np.dtype(format.dtype) == array.dtype)


def signal_of(array, samplerate=1000):
    return Signal(len(array), array.shape[1], samplerate, format_of(array))


def run(ops, array, samplerate=1000):
    """Return what a chain makes of an array, which is read-only meanwhile."""
    return run_counting(ops, array, samplerate)[0]


def run_counting(ops, array, samplerate=1000):
    before, array.flags.writeable = array.tobytes(), False
    chain = Chain(ops, signal_of(array, samplerate))
    result = chain(array)
    assert array.tobytes() == before
    assert result.dtype == chain.output.format.dtype
    assert result.shape == (chain.output.frames, chain.output.channels)
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert not np.may_share_memory(result, array)
    return result, chain.counts


def digests(stages):
    """Return a hash of what each stage, (steps, signal, grid), makes of the same noise in f64le."""
    graphs = [graph_of(steps, signal, grid, import_allowed([])) for steps, signal, grid in stages]
    made = (graph(fixed_vector(graph.input, graph.input.frames), 0, 0, graph.output.frames) for graph in graphs)
    return [hashlib.sha256(result).hexdigest() for result in made]


def column(values, dtype="<f8"):
    return np.array(values, dtype).reshape(-1, 1)


def noise(frames, channels=1, name="f64le", level=0.4, seed=1):
    """Return noise in a format; of integers, some samples are at the limits of their range."""
    format = FORMATS[name]
    floats = np.random.default_rng(seed).standard_normal((frames, channels)) * level
    if format.dtype[1] == "f":
        return floats.astype(format.dtype)
    full = 2.0 ** (8 * format.itemsize - 1)
    return np.rint(floats * full).clip(-full, full - 1).astype(format.dtype)


def special_bits(dtype):
    """Return every sign with: zero, denormals, one, the largest, infinity, signalling and quiet NaN with payloads."""
    size = np.dtype(dtype).itemsize
    mantissa, exponent = (23, 8) if size == 4 else (52, 11)
    full = ((1 << exponent) - 1) << mantissa
    quiet = 1 << (mantissa - 1)
    positive = [0, 1, (1 << mantissa) - 1, 1 << mantissa, ((1 << (exponent - 1)) - 1) << mantissa, full - 1, full]
    positive += [full | 1, full | (quiet - 1), full | quiet, full | quiet | 0x1234, full | ((1 << mantissa) - 1)]
    sign = 1 << (8 * size - 1)
    return np.array(positive + [bits | sign for bits in positive], f"{np.dtype(dtype).str[0]}u{size}").reshape(-1, 1)
