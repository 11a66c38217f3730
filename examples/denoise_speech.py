"""Denoise speech by a model: the op `denoise` of speech.py beside this file, on two workers and in one process."""

import tempfile

import numpy as np
import speech

from zaudio import Chain, Coordinator, Raw, Signal, decrypt
from zaudio.formats import sample_format

RATE = 48000
FORMANTS = np.array([(730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (530, 1840, 2480), (300, 870, 2240)])

time = np.arange(40 * RATE) / RATE
syllable = (4 * time).astype(int)
pause = syllable % 9 >= 7
hz = 110 * (1 + 0.15 * np.sin(np.pi * time) - 0.1 * (4 * time % 1))
phase, vowel = 2 * np.pi * np.cumsum(hz) / RATE, FORMANTS[syllable * 7 % 5].T
levels = [sum(1 / (1 + ((k * hz - formant) / 80) ** 2) for formant in vowel) / k**0.5 for k in range(1, 40)]
voice = sum(level * np.sin(k * phase) for k, level in enumerate(levels, 1)) * np.sin(np.pi * (4 * time % 1)) * ~pause
hiss = 0.01 * np.random.default_rng(1).standard_normal(len(time))
noisy = (0.1 * voice / voice.std() + hiss).astype("<f4")

with tempfile.TemporaryDirectory() as folder:
    noisy.tofile(f"{folder}/noisy.raw")
    job = Coordinator(f"{folder}/noisy.raw", f"{folder}/out", ops=speech.denoise, raw=Raw(samplerate=RATE), workers=2)
    job.run()
    decrypt(f"{folder}/out", f"{folder}/clean.raw", forward=True)
    farmed = np.fromfile(f"{folder}/clean.raw", "<f4")

# Blocks of 30 s, each from 2 s in front of it: so the bits are those of one process.
whole = Chain(speech.denoise, Signal(len(noisy), 1, RATE, sample_format("f32le")))(noisy[:, np.newaxis])
assert farmed.tobytes() == whole.tobytes()
quieter = {
    name: 20 * np.log10(noisy[where].std() / farmed[where].std())
    for name, where in (("pauses", pause), ("speech", ~pause))
}
print(", ".join(f"{name}: {db:.0f} dB quieter" for name, db in quieter.items()))
