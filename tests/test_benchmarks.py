"""The benchmarks say no more than they measured."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
chunk_sizes = pytest.importorskip("chunk_sizes")


def jobs(**seconds):
    return {size: SimpleNamespace(jobs=[time]) for size, time in seconds.items()}


def test_jobs_too_short_choose_no_chunk_size():
    measured = jobs(**{"1MiB": 0.02, "4MiB": 0.03})
    assert chunk_sizes.choose(measured) is None
    assert chunk_sizes.verdict(measured, None).startswith(
        "Too short to choose a chunk size: the fastest job took 0.02 s"
    )


def test_longer_jobs_choose_the_smallest_size_that_is_as_good():
    measured = jobs(**{"64KiB": 4.0, "1MiB": 2.01, "4MiB": 2.0})
    assert chunk_sizes.choose(measured) == "1MiB"
    assert chunk_sizes.verdict(measured, "1MiB") == "Fastest: 4MiB. It would choose 1MiB; the default is 1MiB."
