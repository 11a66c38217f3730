"""Ops of one's own: `soften` and `echo` of my_ops.py beside this file. Run it with `python own_op.py`."""

import tempfile

import my_ops
import numpy as np

from zaudio import Chain, Coordinator, Signal, decrypt, generate, op
from zaudio.formats import sample_format

# On the command line the same is `--op my_ops:soften:drive=4 --op my_ops:echo:ms=90`. Before a long job,
# `zaudio ops my_ops:echo --check` tries whether an op gives the same bits however the recording is cut.
ops = [op(my_ops.soften, drive=4), op(my_ops.echo, ms=90)]

with tempfile.TemporaryDirectory() as folder:
    recording = f"{folder}/take.raw"
    generate(recording, seconds=5)

    # Local workers import the module by themselves; no code travels. A worker on another machine allows it with
    # `zaudio worker ... --allow my_ops`.
    report = Coordinator(recording, f"{folder}/out", ops=ops, chunk="0.5s").run()

    # The farm's bits are those of one call over the whole recording.
    decrypt(f"{folder}/out", f"{folder}/back.raw", forward=True)
    farmed = np.fromfile(f"{folder}/back.raw", dtype="<f4")
    samples = np.fromfile(recording, dtype="<f4")[:, np.newaxis]
    whole = Chain(ops, Signal(len(samples), 1, 44100, sample_format("f32le")))(samples)
    assert farmed.tobytes() == whole.tobytes()
    print(f"{report.chunks} chunks, and the same {len(whole)} samples as in one go")
