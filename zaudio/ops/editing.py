"""Editing: ops that cut, lengthen or silence a recording, or fade its ends: `trim`, `pad`, `mute`, `fade`.

Rules: a position is counted from the first frame of the op's input. One beyond the end of it is an error, and so is a
result of no frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, BuiltIn, Kernel, Op, Place, Precision
from zaudio.ops.parameters import choice, duration, frames_of
from zaudio.signal import Signal

NOTHING = "0s"
REST = ""  # the length up to the end
LONGEST_PAD = 24 * 3600  # seconds: a typing error must not fill a disk


@dataclass(frozen=True)
class Trim(BuiltIn):
    """Keep one stretch of the recording.

    y[n] = x[start + n], for as many frames as `length` has, or up to the end. Samples stay as they are, bit for bit.
    """

    name: ClassVar[str] = "trim"
    example: ClassVar[str] = "trim:start=10s,length=60s"
    start: str = duration("first instant that is kept", default=NOTHING)
    length: str = duration("length that is kept; without it, the rest", default=REST)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The stretch goes beyond the recording, or nothing is left.
        """
        start, stop = _stretch(self.name, self.start, self.length, signal)
        if stop == start:
            raise UsageError(
                f"op trim: start={self.start}{_length(self.length)} leaves nothing of the recording {_of(signal)}"
            )
        return Cut(start, stop - start)


@dataclass(frozen=True)
class Cut(Kernel):
    """The stretch that is kept."""

    name: ClassVar[str] = "trim"
    precision: ClassVar[Precision] = Precision.ANY
    start: int
    frames: int

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal: as long as the stretch."""
        return replace(before, frames=self.frames)

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the same frames of the input."""
        return start + self.start, stop + self.start

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the same frame of the input."""
        return frame + self.start

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples as they are."""
        return samples


@dataclass(frozen=True)
class Pad(BuiltIn):
    """Put silence in front of the recording and behind it.

    y[n] = x[n - before], and 0 where x has no frames. The recording's own samples stay as they are, bit for bit.
    """

    name: ClassVar[str] = "pad"
    example: ClassVar[str] = "pad:before=500ms,after=2s"
    before: str = duration("length of the silence in front", default=NOTHING)
    after: str = duration("length of the silence behind", default=NOTHING)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The silence is longer than a day.
        """
        before, after = frames_of(self.before, signal.samplerate), frames_of(self.after, signal.samplerate)
        if max(before, after) > LONGEST_PAD * signal.samplerate:
            raise UsageError(f"op pad: expected at most 24 hours on each side, not {self.before} and {self.after}")
        return Silence(before, after)


@dataclass(frozen=True)
class Silence(Kernel):
    """Frames of silence around a recording."""

    name: ClassVar[str] = "pad"
    precision: ClassVar[Precision] = Precision.ANY
    before: int
    after: int

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal: longer."""
        return replace(before, frames=self.before + before.frames + self.after)

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the same frames of the input, where it has them."""
        return start - self.before, stop - self.before

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the same frame of the input."""
        return frame - self.before

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples as they are: zeros stand already where the input has no frames."""
        return samples


@dataclass(frozen=True)
class Mute(BuiltIn):
    """Replace one stretch of the recording by silence.

    y[n] = 0 from `start` on, for as many frames as `length` has, or up to the end; y[n] = x[n] elsewhere, bit for bit.
    """

    name: ClassVar[str] = "mute"
    example: ClassVar[str] = "mute:start=10s,length=500ms"
    start: str = duration("first instant that is silent")
    length: str = duration("length of the silence; without it, the rest", default=REST)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The stretch goes beyond the recording.
        """
        return Hole(*_stretch(self.name, self.start, self.length, signal))


@dataclass(frozen=True)
class Hole(Kernel):
    """The stretch that is silent, from `start` to `stop`."""

    name: ClassVar[str] = "mute"
    precision: ClassVar[Precision] = Precision.ANY
    start: int
    stop: int

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples with zeros in the stretch."""
        if place.last <= self.start or self.stop <= place.first:
            return samples
        silenced = samples.copy(order="K")  # they may be a message
        silenced[max(0, self.start - place.first) : self.stop - place.first] = 0
        return silenced


@dataclass(frozen=True)
class Fade(BuiltIn):
    """Fade the beginning in and the end out.

    Of L frames of a fade in, frame i is multiplied by g(i / L); a fade out is its mirror image, so the last frame is
    0 too. g(t) is t for `linear`, t^2 (3 - 2 t) for `smooth`, and the square root of t for `power`, with which two
    unlike recordings cross at equal power.
    """

    name: ClassVar[str] = "fade"
    example: ClassVar[str] = "fade:in=2s,out=5s"
    in_: str = duration("length of the fade in", default=NOTHING)
    out: str = duration("length of the fade out", default=NOTHING)
    shape: str = choice("curve of both", "linear", "smooth", "power", default="linear")

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: No fade is asked for, or both together are longer than the recording.
        """
        rise, fall = frames_of(self.in_, signal.samplerate), frames_of(self.out, signal.samplerate)
        if not rise and not fall:
            raise UsageError(f"op fade: expected a length for in, for out or for both, as in {self.example}")
        if rise + fall > signal.frames:
            raise UsageError(
                f"op fade: in={self.in_} and out={self.out} have {rise + fall} frames together, "
                f"more than the recording {_of(signal)}"
            )
        return Ramps(rise, fall, self.shape)


@dataclass(frozen=True)
class Ramps(Kernel):
    """The frames of a fade in and of a fade out."""

    name: ClassVar[str] = "fade"
    rise: int
    fall: int
    shape: str

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples, faded."""
        if place.first < self.rise:
            frames = np.arange(place.first, min(place.last, self.rise))
            samples[: len(frames)] *= self._gain(frames, self.rise)
        end = place.signal.frames
        if place.last > end - self.fall:
            frames = np.arange(max(place.first, end - self.fall), place.last)
            samples[len(samples) - len(frames) :] *= self._gain(end - 1 - frames, self.fall)
        return samples

    def _gain(self, frames: Array, length: int) -> Array:
        """Return the factor for each frame, counted from the silent end of its ramp, as a column."""
        t: Array = (frames / length)[:, np.newaxis]
        match self.shape:
            case "smooth":
                return t * t * (3.0 - 2.0 * t)
            case "power":
                return np.sqrt(t)
        return t


def _stretch(name: str, start: str, length: str, signal: Signal) -> tuple[int, int]:
    """Return the frames of a stretch, half-open.

    Raises:
        UsageError: It goes beyond the recording.
    """
    first = frames_of(start, signal.samplerate)
    stop = max(first, signal.frames) if length == REST else first + frames_of(length, signal.samplerate)
    if stop > signal.frames:
        raise UsageError(
            f"op {name}: start={start}{_length(length)} goes up to {_instant(stop, signal)}, "
            f"beyond the end of the recording {_of(signal)}"
        )
    return first, stop


def _length(length: str) -> str:
    return "" if length == REST else f", length={length}"


def _instant(frames: int, signal: Signal) -> str:
    return f"{frames / signal.samplerate:.3f} s (frame {frames})"


def _of(signal: Signal) -> str:
    frames = "1 frame" if signal.frames == 1 else f"{signal.frames} frames"
    return f"of {signal.frames / signal.samplerate:.3f} s ({frames})"
