"""An op of one's own: the function `soften` of fade.py beside this file. Run it with `python own_op.py`."""

import tempfile

import fade
import numpy as np

from zaudio import Coordinator, decrypt, generate

with tempfile.TemporaryDirectory() as folder:
    recording = f"{folder}/take.raw"
    generate(recording, seconds=5)

    # Local workers import the module by themselves; no code travels. On the command line the same is
    # `--op fade:soften:drive=4`, and a worker on another machine allows it with `zaudio worker ... --allow fade`.
    report = Coordinator(recording, f"{folder}/out", ops="fade:soften:drive=4", chunk="0.5s").run()

    # The farm's bits are those of one call over the whole recording.
    decrypt(f"{folder}/out", f"{folder}/back.raw", forward=True)
    farmed = np.fromfile(f"{folder}/back.raw", dtype="<f4")
    whole = fade.soften(np.fromfile(recording, dtype="<f4"), drive=4)
    assert farmed.tobytes() == whole.tobytes()
    print(f"{report.chunks} chunks, and the same {len(whole)} samples as in one go")
