import itertools

import numpy as np
import pytest
from ops_support import column, noise, run, run_counting, signal_of

from zaudio.errors import UsageError
from zaudio.ops import Chain, Graph
from zaudio.ops.delaying import Echo


def test_delay_adds_one_echo_and_keeps_the_length():
    impulse = column([1, 0, 0, 0, 0, 0])
    assert run("delay:time=2ms,level_db=0", impulse)[:, 0].tolist() == [1, 0, 1, 0, 0, 0]
    factor = 10 ** (-6 / 20)
    assert run("delay:time=5f", impulse)[:, 0].tolist() == [1, 0, 0, 0, 0, factor]
    assert run("delay:time=6f", impulse)[:, 0].tolist() == [1, 0, 0, 0, 0, 0]


def test_delay_behind_pad_keeps_the_end_of_the_echo():
    ops = ["pad:after=2f", "delay:time=2f,level_db=0"]
    assert run(ops, column([1, 2, 3]))[:, 0].tolist() == [1, 2, 4, 2, 3]


@pytest.mark.parametrize("name", ["s16be", "f32le", "f64le"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_cut_of_a_delay_gives_the_same_bits(name, channels):
    array = noise(97, channels, name)
    signal = signal_of(array)
    whole = Graph([Echo(13, 0.7)], signal, 97)(array, 0, 0, 97).tobytes()
    assert whole == run("delay:time=13f,level_db=-3.0980391997148637", array).tobytes()
    for grid in (1, 5, 13, 14, 96):
        graph = Graph([Echo(13, 0.7)], signal, grid)
        parts = []
        for start, stop in itertools.pairwise([0, grid, *range(3 * grid, 97, 2 * grid), 97]):
            low, high = graph.needs(start, stop)
            assert (low, high) == (max(0, start - 13), stop)
            parts.append(graph(array[low:high], low, start, stop).tobytes())
        assert b"".join(parts) == whole


def test_delay_reads_what_is_not_finite_as_silence():
    result, counts = run_counting("delay:time=1f,level_db=0", column([np.nan, 1, np.inf]))
    assert result[:, 0].tolist() == [0, 1, 1]
    assert counts.zeroed == 2


@pytest.mark.parametrize("time", ["0s", "0f", "0.4ms", "10001f", "11s"])
def test_a_time_of_no_frame_or_too_long_is_refused(time):
    with pytest.raises(UsageError, match=rf"op delay: time is from 1f \(one frame\) to 10s, not {time}"):
        Chain(f"delay:time={time}", signal_of(column([])))
