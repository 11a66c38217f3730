"""Signal: frames, channels, samplerate and sample format of what an op or a destination gets.

Rules: pure. It describes samples and holds none.
"""

from __future__ import annotations

from dataclasses import dataclass

from zaudio.formats import SampleFormat


@dataclass(frozen=True, slots=True)
class Signal:
    """The shape of a stretch of audio.

    Attributes:
        frames: Its length in frames, 0 or more.
        channels: Samples per frame, 1 or more.
        samplerate: Frames per second.
        format: How one sample is stored.
    """

    frames: int
    channels: int
    samplerate: int
    format: SampleFormat

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame."""
        return self.channels * self.format.itemsize

    @property
    def bytes(self) -> int:
        """Bytes of all frames."""
        return self.frames * self.frame_bytes

    def __str__(self) -> str:
        """Return it for a sentence: ``3 frames of 2 channels at 44100 Hz in f32le``."""
        frames, channels = (_count(self.frames, "frame"), _count(self.channels, "channel"))
        return f"{frames} of {channels} at {self.samplerate} Hz in {self.format.name}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
