"""Draws what soak.py measured: `python soak_picture.py SAMPLES PICTURE`. Needs matplotlib and nothing of zaudio."""

import json
import sys
from pathlib import Path


def main(samples, picture):
    import matplotlib

    matplotlib.use("Agg")  # files only; no display is needed
    from matplotlib.figure import Figure

    measured = json.loads(Path(samples).read_text())
    figure = Figure(figsize=(11, 7), layout="constrained")
    memory, descriptors = figure.subplots(2, 1, sharex=True)
    for name, taken in measured["samples"].items():
        minutes = [when / 60 for when, *_ in taken]
        marks = {"marker": ".", "linestyle": "none"} if "at rest" in name else {"linewidth": 0.8}
        memory.plot(minutes, [bytes_ / (1 << 20) for _, bytes_, _ in taken], label=name, **marks)
        descriptors.plot(minutes, [count for *_, count in taken], **marks)
    memory.set(ylabel="MiB of memory", ylim=(0, None), title="Processes that live through random faults")
    descriptors.set(ylabel="descriptors", ylim=(0, None), xlabel="minutes")
    memory.legend(loc="lower right", ncols=4)
    figure.savefig(picture, dpi=110)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
