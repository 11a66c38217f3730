"""Makes an hour of something like speech: syllables of harmonics, hiss, pauses, 44.1 kHz mono float32, -24 dBFS or so.

    python benchmarks/speech.py speech.raw --seconds 3600

It is made by formula from a seed, so that everybody measures the same. Noise at full scale would not do: a compressor,
a gate and a limiter work where levels change, and a true peak is searched for where a sample is near the greatest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

SAMPLERATE = 44100
SYLLABLE = SAMPLERATE // 5  # frames; five a second
PAUSE_EVERY = 11  # syllables; a breath
HISS = 0.001  # -60 dBFS


def write_speech(path: Path, seconds: int) -> None:
    """Write so many seconds."""
    random = np.random.default_rng(7)
    time = np.arange(SYLLABLE) / SAMPLERATE
    hull = np.sin(np.pi * np.arange(SYLLABLE) / SYLLABLE) ** 2
    with path.open("wb") as file:
        for number in range(seconds * SAMPLERATE // SYLLABLE):
            frames = HISS * random.standard_normal(SYLLABLE)
            if number % PAUSE_EVERY:
                frames += _syllable(random, time, hull)
            file.write(frames.astype("<f4").tobytes())


def _syllable(random: np.random.Generator, time: np.ndarray, hull: np.ndarray) -> np.ndarray:
    pitch, formant = random.uniform(90, 220), random.uniform(400, 2500)
    level = 10 ** (random.uniform(-30, -6) / 20)
    voice = np.zeros_like(time)
    for harmonic in range(1, 24):
        weight = 1 / (1 + ((harmonic * pitch - formant) / 400) ** 2) + 0.1 / harmonic
        voice += weight * np.sin(2 * np.pi * harmonic * pitch * time + random.uniform(0, 6.28))
    return level * hull * voice / np.abs(voice).max()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=int, default=3600)
    arguments = parser.parse_args()
    write_speech(arguments.output, arguments.seconds)


if __name__ == "__main__":
    main()
