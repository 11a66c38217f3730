"""Ops of one's own live in a module, so that every worker can import them under the same name."""

import numpy as np

import zaudio


def soften(samples, drive=2.0):
    """Bend loud samples towards 1, as tape does. `samples` is an array (frames, channels); so is the result.

    It declares nothing, so it works sample by sample. Division is the same on every processor; `np.tanh` would not be.
    """
    driven = samples * np.float32(drive)
    return driven / (np.float32(1) + np.abs(driven))


def reach(signal, ms):
    return signal.samplerate * ms // 1000, 0  # frames before, frames behind


@zaudio.op(context=reach, precision="float64")
def echo(samples, *, place, ms=120):
    """Add the sound of so many milliseconds before, half as loud: it is given those frames, too."""
    delay = place.samplerate * ms // 1000
    earlier = np.zeros_like(samples)
    earlier[delay:] = samples[: max(0, len(samples) - delay)]
    return samples + 0.5 * earlier
