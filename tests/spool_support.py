"""What the tests of decoded recordings and streams share: a spool in memory, and recordings in formats that lose."""

import numpy as np
import soundfile

LOSSY = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}


class MemorySpool:
    """A spool as `zaudio.audio.streams.Spool` says, in memory. `made` counts, so that a test can see what is open."""

    made: list = []

    def __init__(self, room=1 << 40):
        self.content = bytearray()
        self.size = 0
        self.room = room
        self.frozen = self.closed = False
        self.made.append(self)

    def reserve(self, size):
        if size > self.room:
            raise OverflowError(size)

    def write(self, piece):
        assert (self.frozen, self.closed) == (False, False)
        self.content += piece
        self.size = len(self.content)
        self.reserve(self.size)

    def freeze(self):
        self.frozen = True

    def read(self, offset, length):
        if self.closed:
            raise ValueError("the spool is closed")
        assert self.frozen
        return bytes(self.content[offset : offset + length])

    def close(self):
        self.closed = True


def noise(frames, channels=1, seed=1):
    return (np.random.default_rng(seed).standard_normal((frames, channels)) * 0.1).astype("f4")


def write_lossy(path, kind, frames, channels=1, samplerate=48000):
    """Write noise; return the samples that soundfile decodes from it in one go."""
    container, subtype = LOSSY[kind]
    soundfile.write(path, noise(frames, channels), samplerate, format=container, subtype=subtype)
    return decoded(path)


def decoded(path, dtype="float32"):
    return soundfile.read(path, dtype=dtype, always_2d=True)[0]


def samples(source):
    """All samples of a source as an array, read in pieces from the end to the beginning."""
    step = max(1, source.frames // 7)
    pieces = [bytes(source.read(at, min(at + step, source.frames))) for at in range(0, source.frames, step)[::-1]]
    return np.frombuffer(b"".join(pieces[::-1]), source.format.dtype).reshape(-1, source.channels)
