"""How close is the farm to the cipher, which nothing can beat?

Times `zaudio farm` beside stream.py (the same job in one process, without tag and fsync), `openssl enc -aes-256-cbc`,
`cp`, and the bare cipher in memory. In the farm's second row, local workers use sockets, as remote ones do.
`method.py` says how it is measured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import method
import show
from method import Command, Measured, median

STREAM, FARM, SOCKETS = "stream.py", "zaudio farm", "zaudio farm --sockets-only"


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/limit.py take.raw --rounds 3")
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default")
    arguments = parser.parse_args()
    recording = method.existing(arguments.input)
    commands = make_commands(recording, arguments.workers)
    measured = method.take_turns(commands, recording, rounds=arguments.rounds, touch_gib=arguments.touch)

    size = recording.stat().st_size
    table = show.Table(
        f"{recording.name}, {size / 1e6:.1f} MB, {arguments.workers} workers, {arguments.rounds} rounds",
        ("", "whole command, s", f"x {STREAM}", "job alone, s", f"x {STREAM}"),
        [_row(name, each, measured[STREAM]) for name, each in measured.items()],
        _verdicts(measured),
    )
    facts = {"bytes": size, "workers": arguments.workers, "runs": {n: asdict(each) for n, each in measured.items()}}
    shown = {
        name: {"whole command": each.seconds} | ({"job alone": each.jobs} if each.jobs else {})
        for name, each in measured.items()
    }
    draw = partial(show.bars, title=f"{size / 1e6:.0f} MB", unit="seconds", values=shown)
    show.report("limit", [table], facts, markdown=arguments.markdown, draw=draw)


def make_commands(recording: Path, workers: int) -> dict[str, Command]:
    """Return the commands that take turns, by name."""
    size = recording.stat().st_size
    commands = {
        STREAM: Command(lambda folder: method.script("stream.py", recording, folder)),
        FARM: Command(lambda folder: method.farm(recording, folder, workers)),
        SOCKETS: Command(lambda folder: method.farm(recording, folder, workers, "--sockets-only")),
        "openssl enc": Command(partial(_openssl, recording), checked=False),
        "cp": Command(lambda folder: ["cp", str(recording), str(folder / "copy.raw")], checked=False),
        "bare cipher": Command(lambda _: method.script("bare_cipher.py", size), checked=False),
    }
    if shutil.which("openssl") is None:
        show.say("openssl is left out: it is not installed")
        del commands["openssl enc"]
    return commands


def _openssl(recording: Path, folder: Path) -> list[str]:
    key, iv = os.urandom(32).hex(), os.urandom(16).hex()
    out = str(folder / "result.raw")
    return ["openssl", "enc", "-aes-256-cbc", "-K", key, "-iv", iv, "-in", str(recording), "-out", out]


def _row(name: str, each: Measured, stream: Measured) -> list[str]:
    whole = [show.spread(each.seconds), show.spread(_ratios(each.seconds, stream.seconds))]
    job = [show.spread(each.jobs), show.spread(_ratios(each.jobs, stream.jobs))] if each.jobs else ["-", "-"]
    return [name, *whole, *job]


def _verdicts(measured: Mapping[str, Measured]) -> list[str]:
    stream = measured[STREAM]
    return [
        f"Target 1: {FARM}, job alone {_over(measured[FARM].jobs, stream.jobs)} x {STREAM} (at most 1.0), "
        f"whole command {_over(measured[FARM].seconds, stream.seconds)} x (at most 1.1).",
        f"Target 2: {SOCKETS}, job alone {_over(measured[SOCKETS].jobs, stream.jobs)} x {STREAM} (at most 1.5).",
    ]


def _over(these: list[float], those: list[float]) -> str:
    return f"{median(these) / median(those):.2f}"


def _ratios(these: list[float], those: list[float]) -> list[float]:
    """Return the ratios round by round: both times of a ratio are of the same minute."""
    return [this / that for this, that in zip(these, those, strict=True)]


if __name__ == "__main__":
    main()
