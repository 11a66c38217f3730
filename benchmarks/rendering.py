"""How fast is a file that plays made, beside SoX, FFmpeg and flac?

The recording is an hour of something like speech (`speech.py`), as a WAV of floats (mono) and of 16 bits (stereo).

- It is inverted into another WAV by `zaudio render` with one and two workers, by `sox -v -1` and by
  `ffmpeg -af volume=-1`.
- It is encoded as FLAC by zaudio and by `flac`, at the level that libsndfile uses.

All results are compared with the recording, sample by sample. Those of zaudio, FFmpeg and flac must be exact. SoX
computes in 32-bit integers and may differ by 1e-7 of full scale. zaudio's files are durable at the end, the others' are
not. `method.py` says how it is measured.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import method
import numpy as np
import show
from method import Command, Measured, median
from speech import write_speech

FOLDER = method.ROOT / "generated_data"
SAMPLERATE = 44100
ECHO = SAMPLERATE // 10  # frames by which the right channel is behind the left
BLOCK = 1 << 20  # frames written or compared at once
NEAR = 1e-7  # of full scale
LEVEL = "-5"  # of flac: libsndfile's default, too
TO_WAV, TO_FLAC = 0.8, 1.1  # goals: zaudio's time over that of the faster rival


@dataclass(frozen=True)
class Rival:
    """Another program's way to do a work: its words, IN and OUT among them, or a shell line."""

    name: str
    words: Sequence[str]
    near: float = 0.0


@dataclass(frozen=True)
class Work:
    """One recording, what becomes of it, and the programs that do it."""

    name: str
    recording: Path
    suffix: str
    factor: int  # that result and recording differ by
    options: Sequence[str]  # of zaudio
    rivals: Sequence[Rival]
    goal: float
    near: float = 0.0  # of zaudio: more than 0 where bits are dropped


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/rendering.py --rounds 3 --only FLAC", recording=False)
    parser.add_argument("--seconds", type=int, default=3600, help="of the recordings; an hour by default")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the works whose name has this in it")
    parser.add_argument("-n", "--workers", type=int, default=2, help="local workers; 2 by default, and 1 beside it")
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    facts: dict[str, object] = {"seconds": arguments.seconds}
    for work in works(arguments.seconds):
        if arguments.only in work.name:
            measured = _measure(work, arguments)
            rows += _rows(work, measured)
            facts[work.name] = {name: asdict(each) for name, each in measured.items()}
    table = show.Table(
        f"{arguments.seconds} s of 44.1 kHz, {arguments.rounds} rounds, whole commands",
        ("", "", "s", "processor s", "zaudio takes, x", "goal"),
        rows,
        ["The last columns compare zaudio's first row with the row's program, round by round."],
    )
    show.report("rendering", [table], facts, markdown=arguments.markdown)


def works(seconds: int) -> list[Work]:
    """Return all works; the recordings are made where they are missing."""
    floats, integers = _recordings(seconds)
    ffmpeg = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", "IN", "-af", "volume=-1", "-c:a"]
    sox = Rival("sox", ["sox", "-V1", "-v", "-1", "IN", "OUT"], NEAR)
    invert = ["--op", "invert"]
    encode = ["flac", "--silent", LEVEL, "IN", "-o", "OUT"]
    return [
        Work(
            "float WAV to WAV",
            floats,
            ".wav",
            -1,
            invert,
            [sox, Rival("ffmpeg", [*ffmpeg, "pcm_f32le", "OUT"])],
            TO_WAV,
        ),
        Work(
            "16-bit WAV to WAV",
            integers,
            ".wav",
            -1,
            invert,
            [sox, Rival("ffmpeg", [*ffmpeg, "pcm_s16le", "OUT"])],
            TO_WAV,
        ),
        Work("16-bit WAV to FLAC", integers, ".flac", 1, [], [Rival("flac", encode)], TO_FLAC),
        Work(
            "float WAV to FLAC of 16 bits",
            floats,
            ".flac",
            1,
            ["--format", "s16le"],
            [Rival("sox, flac", [f"sox -V1 -D IN -b 16 -t wav - | flac --silent {LEVEL} - -o OUT"], 2.0**-15)],
            TO_FLAC,
            2.0**-15,
        ),
    ]


def _measure(work: Work, arguments) -> dict[str, Measured]:
    commands = {}
    for count in dict.fromkeys((arguments.workers, 1)):
        words = [sys.executable, "-m", "zaudio", "render", "IN", "OUT", *work.options, "-n", str(count), "--quiet"]
        commands[f"zaudio, {count}"] = _command(work, [*words, "--progress", "none"], work.near)
    for rival in work.rivals:
        program = rival.words[0].split()[0]
        if shutil.which(program) is None:
            show.say(f"{rival.name} is left out: {program} is not installed")
            continue
        commands[rival.name] = _command(work, rival.words, rival.near)
    return method.take_turns(commands, work.recording, rounds=arguments.rounds, touch_gib=arguments.touch)


def _command(work: Work, words: Sequence[str], near: float) -> Command:
    def make(folder: Path) -> Sequence[str]:
        named = [
            word.replace("IN", str(work.recording)).replace("OUT", str(folder / f"out{work.suffix}")) for word in words
        ]
        return named if len(named) > 1 else ["bash", "-o", "pipefail", "-c", named[0]]

    return Command(make, checked=False, verify=partial(_verify, work, near))


def _verify(work: Work, near: float, folder: Path) -> None:
    """End the program unless the result is the recording times the factor."""
    import soundfile

    out = folder / f"out{work.suffix}"
    with soundfile.SoundFile(work.recording) as source, soundfile.SoundFile(out) as result:
        same = (source.frames, source.channels, source.samplerate) == (
            result.frames,
            result.channels,
            result.samplerate,
        )
        while same and len(expected := source.read(BLOCK, dtype="float64", always_2d=True)):
            expected *= work.factor
            expected -= result.read(BLOCK, dtype="float64", always_2d=True)
            same = bool(np.abs(expected, out=expected).max() <= near)
    if not same:
        raise SystemExit(f"{folder}: the result is not the recording times {work.factor}")


def _rows(work: Work, measured: Mapping[str, Measured]) -> list[list[str]]:
    ours = next(iter(measured.values()))
    rivals = [rival.name for rival in work.rivals if rival.name in measured]
    fastest = min(rivals, key=lambda name: median(measured[name].seconds), default="")
    rows = []
    for name, each in measured.items():
        ratios = [this / that for this, that in zip(ours.seconds, each.seconds, strict=True)]
        goal = f"{work.goal:g}" if name == fastest else ""
        rows.append(
            [work.name, name, show.spread(each.seconds), show.spread(each.processor), show.spread(ratios), goal]
        )
    return rows


def _recordings(seconds: int) -> tuple[Path, Path]:
    """Return a WAV of floats, mono, and one of 16 bits, stereo, of that length."""
    floats, integers = (FOLDER / f"speech-{seconds}-{kind}.wav" for kind in ("float", "16"))
    speech = FOLDER / ("speech.raw" if seconds == 3600 else f"speech-{seconds}.raw")
    if not speech.exists():
        show.say(f"making {speech.relative_to(method.ROOT)}")
        FOLDER.mkdir(exist_ok=True)
        write_speech(speech, seconds)
    left = np.memmap(speech, "<f4", "r")
    right = np.concatenate((np.zeros(ECHO, "<f4"), left[:-ECHO]))
    _write(floats, "FLOAT", len(left), lambda start, stop: left[start:stop])
    _write(integers, "PCM_16", len(left), lambda start, stop: np.stack((left[start:stop], right[start:stop]), axis=1))
    return floats, integers


def _write(path: Path, subtype: str, frames: int, samples: Callable[[int, int], np.ndarray]) -> None:
    """Write a WAV unless it is there."""
    import soundfile

    if path.exists():
        return
    channels = samples(0, 1).size
    part = path.with_suffix(".part")
    with soundfile.SoundFile(part, "w", SAMPLERATE, channels, subtype, format="WAV") as file:
        for start in range(0, frames, BLOCK):
            file.write(samples(start, min(start + BLOCK, frames)))
    part.rename(path)


if __name__ == "__main__":
    main()
