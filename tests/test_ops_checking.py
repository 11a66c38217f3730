import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from zaudio.formats import FORMATS, sample_format
from zaudio.ops import Op, Precision, import_allowed, make_ops, parse_chain
from zaudio.ops.checking import Checked, check, digest, enough_frames, noise
from zaudio.ops.declaring import PLAIN, Declaration
from zaudio.ops.own import FunctionOp
from zaudio.signal import Signal

SIGNAL = Signal(9001, 2, 8000, sample_format("f32le"))


def op(function, **declared):
    return FunctionOp("m:f", function, {}, Declaration(**declared) if declared else PLAIN)


def halve(x):
    return x * np.float32(0.5)


def echo(x):
    out = x.copy()
    out[100:] += x[:-100] * np.float32(0.5)
    return out


def running_mean(x):
    sums = np.cumsum(np.concatenate([np.zeros((32, x.shape[1])), x]), axis=0)
    return ((sums[32:] - sums[:-32]) / 32).astype(x.dtype)


def at_random(x):
    return x + np.random.default_rng().standard_normal(x.shape).astype(x.dtype)


def at_place(x, *, place):
    return x + np.arange(place.first, place.last, dtype=x.dtype)[:, np.newaxis]


class Counting:
    """A function that keeps something between its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x + np.float32(self.calls)


class Carrying:
    """A function that adds the last frame of the call before: right in order, wrong in any other."""

    def __init__(self):
        self.last = 0

    def __call__(self, x):
        out = x.copy()
        out[:1] += self.last
        self.last = x[-1:]
        return out


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_op_that_works_sample_by_sample_is_exact(name):
    ops = make_ops(parse_chain(["gain:db=-3", "invert", "clip:high=0.25"]), import_allowed([]))
    found = check(ops, replace(SIGNAL, format=sample_format(name)))
    assert found.is_exact
    assert (found.grid, found.straight) == (0, None)


def test_an_echo_that_declares_nothing_is_found_where_it_starts():
    found = check([op(echo)], SIGNAL)
    assert (found.is_exact, found.calls) == (False, None)
    assert found.cuts.frames > 100
    assert -40 < found.cuts.db < 0


def test_an_echo_that_declares_its_context_is_exact_with_blocks_and_without():
    signal = replace(SIGNAL, frames=200_001)
    found = check([op(echo, context=(100, 0))], signal)
    assert found.is_exact
    assert found.grid >= 65536
    assert found.straight is None


def test_an_echo_whose_context_is_too_short_is_exact_and_its_seams_are_told():
    found = check([op(echo, context=(60, 0))], replace(SIGNAL, frames=200_001))
    assert found.is_exact
    assert found.straight.frame in range(found.grid, found.grid + 40)
    assert found.straight.db > -60


def test_a_running_mean_has_rounding_noise_alone_between_blocks():
    found = check([op(running_mean)], SIGNAL)
    assert not found.is_exact
    found = check([op(running_mean, context=(31, 0), precision=Precision.FLOAT64)], replace(SIGNAL, frames=200_001))
    assert found.is_exact
    assert found.straight.db < -120


def test_random_numbers_are_found_by_a_second_call():
    found = check([op(at_random)], SIGNAL)
    assert not found.is_exact
    assert (found.calls.frame, found.calls.frames) == (0, SIGNAL.frames)


def test_a_count_of_calls_is_found_by_a_second_call():
    found = check([op(Counting())], SIGNAL)
    assert found.calls.db == pytest.approx(0, abs=1e-3)  # one more


def test_a_sum_that_is_carried_from_call_to_call_is_found():
    assert not check([op(Carrying())], SIGNAL).is_exact


def test_a_place_may_be_used():
    assert check([op(at_place, grid=1, context=0, version="1")], SIGNAL).is_exact


def test_what_setup_made_must_not_change():
    def kept(x, *, state):
        state.append(1)
        return x + np.float32(len(state))

    def nothing():
        return []

    assert not check([op(kept, setup=nothing)], SIGNAL).is_exact


@dataclass(frozen=True)
class Levelled(Op):
    """A class of ops with a grid: the mean of a block and its context is taken away."""

    def context(self, signal):
        return 3, 3

    def grid(self, signal):
        return 1000

    def apply(self, samples, place, state):
        return samples - samples.mean(axis=0)


def test_an_op_with_a_grid_is_exact_and_differs_from_a_go_without():
    found = check([Levelled()], replace(SIGNAL, frames=200_001))
    assert found.is_exact
    assert found.grid % 1000 == 0
    assert found.straight is not None


def test_an_op_that_takes_no_more_than_a_block_is_exact_all_the_same():
    def short(x):
        assert len(x) <= 500
        return x

    found = check([op(short, grid=500)], replace(SIGNAL, frames=200_001))
    assert found.is_exact
    assert found.straight is None
    assert found.failure.startswith("AssertionError")


def test_a_hash_is_that_of_the_check():
    found = check([op(halve)], SIGNAL)
    assert isinstance(found, Checked)
    assert digest([op(halve)], SIGNAL) == found.digest
    assert digest([op(echo)], SIGNAL) != found.digest


def test_enough_frames_are_a_second_or_some_blocks():
    assert enough_frames([op(halve)], SIGNAL) == 8001
    assert enough_frames([op(echo, context=(100, 0))], SIGNAL) > 2 * 65536
    assert enough_frames([op(echo, grid=100_000)], SIGNAL) > 200_000


def test_an_op_that_names_a_place_gets_noise_up_to_it():
    ops = make_ops(parse_chain("trim:start=2s,length=3s"), import_allowed([]))
    frames = enough_frames(ops, SIGNAL)
    assert 5 * 8000 <= frames < 10 * 8000
    assert check(ops, replace(SIGNAL, frames=frames)).is_exact


@pytest.mark.parametrize("name", ["f32le", "s16be", "f64be"])
def test_noise_has_loud_and_quiet_stretches_and_silence_and_is_the_same_always(name):
    signal = replace(SIGNAL, format=sample_format(name))
    samples = noise(signal)
    assert samples.dtype == np.dtype(signal.format.dtype)
    assert samples.tobytes() == noise(signal).tobytes()
    full = 1.0 if name[0] == "f" else 32768
    peaks = [np.abs(samples[start : start + 800].astype(float)).max() / full for start in range(40, 8000, 880)]
    assert min(peaks) == 0
    assert max(peaks) > 0.9
    assert any(0 < peak < 0.002 for peak in peaks)
    assert not math.isnan(sum(peaks))


def test_the_sign_of_a_zero_is_a_difference():
    def sign(x):
        return (
            x * np.float32(0) - np.float32(0) if len(x) == SIGNAL.frames else x * np.float32(-0.0) * 0 + np.float32(0)
        )

    found = check([op(sign)], SIGNAL)
    assert found.cuts.db == -math.inf
