"""How fast are ops with memory, beside SoX and FFmpeg?

Each work is done by `zaudio farm` with one and with two workers, and by SoX and FFmpeg, piped into `openssl enc
-aes-256-cbc` where the result is sealed (`rivals.py` has the lines). The recording is an hour of something like speech
(`speech.py`). Each result of zaudio is decrypted after its run, and must have the bits of `zaudio.Chain`, the same
chain in one process. `method.py` says how it is measured.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import method
import numpy as np
import show
from method import Command, Measured, median
from rivals import Rival, Work, works
from speech import write_speech

SPEECH = method.ROOT / "generated_data" / "speech.raw"
SAMPLERATE = 44100
RAW = ("--samplerate", str(SAMPLERATE), "--channels", "1", "--format", "f32le")


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/audio.py --rounds 3 --only biquads", recording=False)
    parser.add_argument("--seconds", type=int, default=3600, help="of the recording; an hour by default")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the works whose name has this in it")
    arguments = parser.parse_args()
    recording = SPEECH if arguments.seconds == 3600 else SPEECH.with_stem(f"speech-{arguments.seconds}")
    if not recording.exists():
        show.say(f"making {recording.relative_to(method.ROOT)}")
        recording.parent.mkdir(exist_ok=True)
        write_speech(recording, arguments.seconds)
    rows: list[list[str]] = []
    facts: dict[str, object] = {"seconds": arguments.seconds}
    with method.scratch_folder() as folder:
        for work in works(folder):
            if arguments.only in work.name:
                measured = _measure(work, recording, rounds=arguments.rounds, touch_gib=arguments.touch)
                rows += _rows(work, measured)
                facts[work.name] = {name: asdict(each) for name, each in measured.items()}
    table = show.Table(
        f"{arguments.seconds} s of 44.1 kHz mono float32, {arguments.rounds} rounds",
        ("", "", "whole command, s", "job alone, s", "2 workers take, x", "goal"),
        rows,
        ["The last two columns compare zaudio with 2 workers with the row's program, whole commands, round by round."],
    )
    show.report("audio", [table], facts, markdown=arguments.markdown)


def _measure(work: Work, recording: Path, *, rounds: int, touch_gib: float) -> dict[str, Measured]:
    commands = {f"zaudio, {count}": _zaudio(work, recording, count) for count in (2, 1)}
    for rival in work.rivals:
        program = rival.line.split()[0] if not rival.line.startswith("I=") else "ffmpeg"
        if shutil.which(program) is None:
            show.say(f"{rival.name} is left out: {program} is not installed")
            continue
        commands[rival.name] = Command(partial(_rival, rival, recording), checked=False)
    return method.take_turns(commands, recording, rounds=rounds, touch_gib=touch_gib, look=True)


def _zaudio(work: Work, recording: Path, workers: int) -> Command:
    if not work.ops:
        words = [sys.executable, "-m", "zaudio", "loudness", str(recording), *RAW, "-n", str(workers), "--json"]
        return Command(lambda _: words, checked=False)
    ops = [word for op in work.ops for word in ("--op", op)]
    expected = _reference(work.ops, recording)
    return Command(
        lambda folder: method.farm(recording, folder, workers, *RAW, *ops), verify=partial(_verify, expected)
    )


def _rival(rival: Rival, recording: Path, folder: Path) -> Sequence[str]:
    seal = f"openssl enc -aes-256-cbc -K {os.urandom(32).hex()} -iv {os.urandom(16).hex()} -out {folder}/result.raw"
    return ["bash", "-o", "pipefail", "-c", rival.line.replace("INPUT", str(recording)).replace("SEAL", seal)]


_known: dict[tuple[str, ...], bytes] = {}


def _reference(ops: tuple[str, ...], recording: Path) -> bytes:
    """Return the digest of what `zaudio.Chain` makes of the recording."""
    if ops not in _known:
        import zaudio

        samples = np.fromfile(recording, "<f4").reshape(-1, 1)
        signal = zaudio.Signal(len(samples), 1, SAMPLERATE, zaudio.sample_format("f32le"))
        _known[ops] = hashlib.sha256(zaudio.Chain(list(ops), signal)(samples).tobytes()).digest()
    return _known[ops]


def _verify(expected: bytes, folder: Path) -> None:
    """End the program unless the result has the expected bits."""
    import zaudio

    out = folder / "forward.raw"
    zaudio.decrypt(folder, out, forward=True)
    with out.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != expected:
            raise SystemExit(f"{folder}: the result has other bits than zaudio.Chain")


def _rows(work: Work, measured: Mapping[str, Measured]) -> list[list[str]]:
    goals = {rival.name: rival.goal for rival in work.rivals}
    two = measured["zaudio, 2"]
    rows = []
    for name, each in measured.items():
        job = show.spread(each.jobs) if each.jobs else "-"
        ratios = [this / that for this, that in zip(two.seconds, each.seconds, strict=True)]
        goal = goals.get(name)
        if name == "zaudio, 1" and work.scales and each.jobs:
            job += f", {median(each.jobs) / median(two.jobs):.2f} x that of 2 (1.7)"
        rows.append([work.name, name, show.spread(each.seconds), job, show.spread(ratios), f"{goal:g}" if goal else ""])
    return rows


if __name__ == "__main__":
    main()
