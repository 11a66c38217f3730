"""The works that `audio.py` measures, and the same by SoX and FFmpeg: one shell line each.

The shell lines read raw float32 at 44.1 kHz, mono, from INPUT, and pipe into SEAL, which is openssl. A rival
does the work in the recording's order, since none of them reverses a long recording without all of it in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

IN = "-f f32le -ar 44100 -ac 1 -i INPUT"
FFMPEG = f"ffmpeg -nostdin -hide_banner -loglevel error {IN}"
FFMPEG_SAYS = f"ffmpeg -nostdin -hide_banner {IN}"
SOX = "sox -V1 -t raw -e floating-point -b 32 -r 44100 -c 1 INPUT -t raw -e floating-point -b 32 -"
OUT = "-f f32le -"

FRONT = "highpass=f=80,equalizer=f=3000:t=q:w=1:g=3,acompressor=threshold=-20dB:ratio=4:attack=5:release=80:knee=6dB"
BIQUADS = "highpass=f=80,equalizer=f=3000:t=q:w=1:g=3,bass=g=4:f=200:t=q:w=0.707,treble=g=-4:f=8000:t=q:w=0.707"
# The first pass says the integrated loudness on standard error, the second one gives the gain.
MEASURED = f"I=$({FFMPEG_SAYS} -af '{FRONT},ebur128' -f null - 2>&1 | awk '/ I:/ {{i=$2}} END {{print i}}')"
GAIN = 'volume=$(awk "BEGIN {print -16 - $I}")dB'
TWO_PASSES = f'{MEASURED}; {FFMPEG} -af "{FRONT},{GAIN},alimiter=limit=0.891:level=0" {OUT} | SEAL'


@dataclass(frozen=True)
class Rival:
    """Another program's way to do a work.

    Attributes:
        name: Its name in the table.
        line: The shell line.
        goal: The time of zaudio's whole command over the time of this one, at most.
    """

    name: str
    line: str
    goal: float | None = None


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes:
        name: Its name.
        ops: The SPECs of zaudio's chain; none for a measurement.
        rivals: The others.
        scales: Whether two workers are to take at most 1 / 1.7 of the time of one.
    """

    name: str
    ops: tuple[str, ...]
    rivals: tuple[Rival, ...]
    scales: bool = True


CHAINS = (
    Work(
        "chain to -16 LUFS",
        (
            "highpass:hz=80",
            "eq:hz=3000,db=3,q=1",
            "compress:threshold_db=-20,ratio=4",
            "loudnorm:lufs=-16,ceiling_db=40",
            "limit:db=-1",
        ),
        (
            Rival("ffmpeg, two passes", TWO_PASSES, 0.5),
            Rival("ffmpeg loudnorm", f"{FFMPEG} -af '{FRONT},loudnorm=I=-16:TP=-1' -ar 44100 {OUT} | SEAL", 0.12),
        ),
    ),
    Work(
        "four biquads",
        ("highpass:hz=80", "eq:hz=3000,db=3,q=1", "lowshelf:hz=200,db=4", "highshelf:hz=8000,db=-4"),
        (
            Rival("sox", f"{SOX} highpass 80 equalizer 3000 1q 3 bass +4 200 0.707q treble -4 8000 0.707q | SEAL", 0.7),
            Rival("ffmpeg", f"{FFMPEG} -af '{BIQUADS}' {OUT} | SEAL", 0.9),
        ),
    ),
)

OTHERS = (
    Work(
        "44.1 to 48 kHz",
        ("resample:hz=48000",),
        (
            Rival("sox", f"{SOX} rate -v 48000 | SEAL", 0.6),
            Rival("ffmpeg", f"{FFMPEG} -ar 48000 {OUT} | SEAL", 1.3),
        ),
    ),
    Work(
        "loudness, true peak",
        (),
        (Rival("ffmpeg", f"{FFMPEG_SAYS} -af ebur128=peak=true -f null - 2>&1 | tail -n 20", 0.3),),
    ),
    Work("invert", ("invert",), (), scales=False),
)


def works(folder: Path) -> list[Work]:
    """Return all works; filter taps are written into the folder."""
    return [*CHAINS, _convolution(folder), *OTHERS]


def _convolution(folder: Path) -> Work:
    taps = _write_taps(folder)
    fir = f"-f f32le -ar 44100 -ac 1 -i {folder}/taps.f32 -filter_complex 'afir=gtype=none:wet=0.5'"
    return Work(
        "FIR of 511 taps",
        (f"fir:taps={taps}",),
        (
            Rival("sox", f"{SOX} fir {taps} | SEAL", 0.7),
            Rival("ffmpeg", f"{FFMPEG} {fir} {OUT} | SEAL", 0.9),
        ),
    )


def _write_taps(folder: Path) -> Path:
    """Write a low-pass of 511 taps, a Hann window: as text for SoX and zaudio, as samples for FFmpeg.

    One half is the other one mirrored, so that rounding leaves them the same backwards, as a linear phase needs.
    """
    cut, count = 0.25, 511
    half = []
    for place in range(count // 2 + 1):
        ideal = math.sin(math.pi * cut * place) / (math.pi * place) if place else cut
        half.append(ideal * (0.5 + 0.5 * math.cos(2 * math.pi * place / (count + 1))))
    taps = [*half[:0:-1], *half]
    path = folder / "taps.txt"
    path.write_text("".join(f"{tap!r}\n" for tap in taps))
    import numpy as np

    (folder / "taps.f32").write_bytes(np.array(taps, "<f4").tobytes())
    return path
