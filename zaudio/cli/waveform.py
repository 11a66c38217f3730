"""Waveform: the extremes of a recording as JSON, in the data format of the BBC's program audiowaveform, version 2.

Source: BBC, audiowaveform, doc/DataFormat.md, "JSON data format". Players such as peaks.js read it.

Rules: `data` lists the least and the greatest value of each channel, pixel by pixel. The last pixel may stand for fewer
frames. Values are rounded to the nearest, half to even, and limited to the range of their bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zaudio.ops.picturing import View

VERSION = 2
PIXELS = 65_536  # written at once


def pieces_of_json(view: View, bits: int) -> Iterator[bytes]:
    """Return the JSON in pieces.

    Args:
        view: The recording's extremes.
        bits: 8 or 16, of each value.
    """
    head = {
        "version": VERSION,
        "channels": view.signal.channels,
        "sample_rate": view.signal.samplerate,
        "samples_per_pixel": view.piece,
        "bits": bits,
        "length": len(view.least),
    }
    yield json.dumps(head)[:-1].encode() + b', "data": ['
    pairs = np.stack([view.least, view.greatest], axis=2)
    scale = 2.0 ** (bits - 1)
    for low in range(0, len(pairs), PIXELS):
        values = np.clip(np.rint(pairs[low : low + PIXELS] * scale), -scale, scale - 1)
        text = ",".join(map(str, values.astype(np.int64).reshape(-1).tolist()))
        yield (b"," if low else b"") + text.encode()
    yield b"]}\n"
