"""The soak itself: it tells a line that rises from a flat one, and a short one leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest
from extended import extended
from net_support import MS
from soak import MIB, verdicts

HERE = Path(__file__).parent
SECONDS = range(600)


def line(memory=lambda second: 0, descriptors=lambda second: 0):
    """Samples of ten minutes that sway, around 50 MiB and 12 descriptors, and what is added."""
    return [
        (second, 50 * MIB + second % 7 * MIB + memory(second), 12 + second % 3 + descriptors(second))
        for second in SECONDS
    ]


@pytest.mark.parametrize(
    ("samples", "flat"),
    [
        (line(), [True, True]),
        (line(memory=lambda second: min(second, 100) * MIB), [True, True]),  # it warms up
        (line(memory=lambda second: second * MIB // 60), [False, True]),  # 10 MiB in ten minutes
        (line(descriptors=lambda second: second // 120), [True, False]),  # five in ten minutes
        (line(memory=lambda second: -second * MIB // 60, descriptors=lambda second: -second // 120), [True, True]),
    ],
)
def test_line_that_rises_is_told_from_a_flat_one(samples, flat):
    assert [each[-1] for each in verdicts({"worker": samples})] == flat


@pytest.mark.covers(
    "ten minutes of random faults: 1,285 of eleven kinds, 692 jobs in one process, 250 beside it by the "
    "command line, 95 of them resumed",
    number=43,
    note="`make test-all`",
    by="`make soak MINUTES=10`; 12 s of it",
    bound=(
        "fitted lines rise by at most 4 MiB and half a descriptor in all, after a quarter of warming up; nothing "
        "left behind"
    ),
    measured=(
        "workers: 22.8 MiB, +0.04 and +0.13 MiB, descriptors +0.01 and 0; coordinator between jobs: 27.8 MiB, +0.8 "
        "MiB (the allocator: Python's own objects did not grow by 4 kB in 100 jobs), 4 descriptors, 0; nothing left"
    ),
    removed="`job/life.py`: `stack.callback(waker.close)` (+62 descriptors in a minute: NOT FLAT)",
)
@pytest.mark.parametrize("minutes", [extended(0.2), pytest.param(1.0, marks=pytest.mark.chaos)])
def test_short_soak_checks_every_result_and_leaves_nothing_behind(tmp_path, minutes):
    command = [sys.executable, HERE / "soak.py", "--minutes", str(minutes), "--output", tmp_path / "soak.json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60 * minutes + 90_000 * MS)
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr  # so short, no line can be called flat or not
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "left behind: nothing" in ended.stdout
    assert (tmp_path / "soak.json").exists()
