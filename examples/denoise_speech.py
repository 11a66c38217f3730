"""Denoise speech by a model: the op `denoise` of speech.py beside this file, on two workers and in one process."""

import tempfile

import numpy as np
import speech

from zaudio import Chain, Coordinator, Raw, Signal, decrypt
from zaudio.formats import sample_format

RATE = 48000
time = np.arange(40 * RATE) / RATE
pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2.1 * time)) / RATE
voice = sum(np.sin(k * pitch) / k for k in range(1, 20)) * (np.sin(9 * time) > -0.2)  # vowels, more or less
noisy = (0.1 * voice + 0.02 * np.random.default_rng(1).standard_normal(len(time))).astype("<f4")

with tempfile.TemporaryDirectory() as folder:
    noisy.tofile(f"{folder}/noisy.raw")
    job = Coordinator(f"{folder}/noisy.raw", f"{folder}/out", ops=speech.denoise, raw=Raw(samplerate=RATE), workers=2)
    report = job.run()
    decrypt(f"{folder}/out", f"{folder}/clean.raw", forward=True)
    farmed = np.fromfile(f"{folder}/clean.raw", "<f4")

# Blocks of 30 s, each from 2 s in front of it: so the bits are those of one process.
whole = Chain(speech.denoise, Signal(len(noisy), 1, RATE, sample_format("f32le")))(noisy[:, np.newaxis])
assert farmed.tobytes() == whole.tobytes()
print(f"{report.chunks} chunks; {20 * np.log10(noisy.std() / farmed.std()):.1f} dB quieter without its noise")
