"""An op of one's own lives in a module, so that every worker can import it under the same name."""

import numpy as np


def soften(samples, drive=2.0):
    """Bend loud samples towards 1, as tape does. `samples` is an array (frames, channels); so is the result.

    An op sees one chunk and must not depend on its place: so the number of workers and the chunk size change no bit.
    Division is the same on every processor; `np.tanh` would not be.
    """
    driven = samples * np.float32(drive)
    return driven / (np.float32(1) + np.abs(driven))
