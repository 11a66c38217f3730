"""One recording, processed by this machine's cores. Run it with `python one_recording.py`."""

import tempfile

from zaudio import Coordinator, generate

with tempfile.TemporaryDirectory() as folder:
    # Ten seconds of test audio; take any WAV, FLAC, AIFF or raw file of yours instead.
    recording = f"{folder}/take.raw"
    generate(recording, seconds=10)

    # Three decibels down, then inverted. The result is also reversed in time and encrypted.
    report = Coordinator(recording, f"{folder}/out", ops=["gain:db=-3", "invert"], chunk="1s").run()

    print(f"{report.frames} frames in {report.chunks} chunks took {report.seconds:.2f} s")
    for worker, chunks in report.shares.items():
        print(f"  {worker} did {chunks}")
    print("The result, its key and its IV:", *report.paths.values(), sep="\n  ")
