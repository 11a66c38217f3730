"""Biquads: a cascade of second-order sections, with the warm-up that makes its memory finite. scipy computes it.

Rules:

- A block is computed from a start that is `warmup` frames before it, with zeros in the sections' memory. `warm_up` says
  how many frames are enough; the coordinator computes it, and it travels.
- Consecutive cascades become one, with one warm-up: four different ones need little more than the longest of them.
- A long warm-up is not filtered: the memory at its end follows from dot products with impulse responses.
- Blocks differ from one run over the whole recording by rounding noise, which such a run has as well. Of noise at full
  scale, that is 2e-13 behind a high-pass at 80 Hz, and 3e-12 behind a narrow notch at 50 Hz.
- scipy is imported by workers alone, in `setup`, and no more of it than the loop (see `zaudio.ops.sosfilt`).
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, Kernel, Op, Place, arrays
from zaudio.signal import Signal

Section = tuple[float, float, float, float, float, float]  # b0, b1, b2, 1, a1, a2

SILENT_BITS = 60  # an echo of 2**-60 is 1/128 of the rounding of a float64 at full scale
WARMUP_UNIT = 32  # frames; ops at control rate count in blocks of so many
WARMUP_MOST = 4_194_304  # frames, 32 MiB in float64: a worker holds a few of these
DOTS_ABOVE = 16_384  # frames of warm-up: from there on, dot products take a third of the time of filtering, or less


@dataclass(frozen=True)
class Biquads(Kernel):
    """A cascade of second-order sections.

    Attributes:
        sos: b0, b1, b2, 1, a1, a2 of each section, one behind the other.
        warmup: Frames in front of a block from which it is computed.
    """

    name: ClassVar[str] = "biquads"
    requires: ClassVar[tuple[str, ...]] = ("zaudio.ops.sosfilt",)
    sos: Array
    warmup: int

    def join(self, after: Op) -> Op | None:
        """Return the cascade of both, with one warm-up; None where that would be too long."""
        if not isinstance(after, Biquads):
            return None
        sections = (*_sections(self.sos), *_sections(after.sos))
        warmup = warm_up(sections)
        return None if warmup is None else Biquads(arrays(*sections), warmup)

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the warm-up."""
        return self.warmup, 0

    def setup(self, signal: Signal) -> object:
        """Import scipy; filter an impulse if the warm-up is long.

        Raises:
            UsageError: scipy is not installed.
        """
        require_scipy(self.name)
        from zaudio.ops.sosfilt import sosfilt

        sections = np.array(self.sos, np.float64).reshape(-1, 6)
        responses = _responses(sections, self.warmup, sosfilt) if self.warmup > DOTS_ABOVE else []
        return _Cascade(sections, responses, sosfilt)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the filtered frames."""
        # Each channel by itself: scipy is slower by half when it steps from frame to frame. No copy where they are so.
        channels = np.ascontiguousarray(samples.T)
        filtered: Array = state.filter(channels, place.start - place.first)
        return filtered[:, : place.stop - place.start].T


@dataclass(frozen=True, slots=True)
class _Cascade:
    """A cascade on a worker.

    Attributes:
        sections: (sections, 6).
        responses: The impulse response up to each section, last frame first; empty to filter the warm-up.
        sosfilt: That of `zaudio.ops.sosfilt`.
    """

    sections: Array
    responses: list[Array]
    sosfilt: Callable[..., None]

    def filter(self, samples: Array, warmup: int) -> Array:
        """Filter samples (channels, frames) in place; return them without the warm-up in front of them."""
        wanted = samples[:, warmup:]
        if not samples[:, :warmup].any():
            # Zeros in, zeros out: skipped. An echo that has decayed to denormal floats would make scipy slower.
            self.sosfilt(self.sections, wanted)
        elif not self.responses:
            self.sosfilt(self.sections, samples)
        else:
            self.sosfilt(self.sections, wanted, np.stack([self._memory(channel) for channel in samples[:, :warmup]]))
        return wanted

    def _memory(self, past: Array) -> Array:
        """Return the memory of each section behind the last frame of the past of one channel, (sections, 2).

        The last two outputs of each section are dot products of the past with its impulse response. By the transposed
        direct form II, they and the last two inputs are all that its memory consists of.
        """
        memory = np.empty((len(self.sections), 2))
        scratch = np.empty_like(past)
        in1, in2 = past[-1], past[-2]
        for number, response in enumerate(self.responses):
            _, b1, b2, _, a1, a2 = self.sections[number]
            # Sums in pairs, by numpy itself: those of BLAS differ between CPUs.
            out1 = np.add.reduce(np.multiply(response, past, out=scratch))
            out2 = np.add.reduce(np.multiply(response[1:], past[:-1], out=scratch[1:]))
            memory[number, 1] = b2 * in1 - a2 * out1
            memory[number, 0] = b1 * in1 - a1 * out1 + (b2 * in2 - a2 * out2)
            in1, in2 = out1, out2
        return memory


def biquads(op: str, sections: Sequence[Section], signal: Signal) -> Biquads:
    """Return a designed cascade.

    Args:
        op: The name of the op that is designed, for sentences.
        sections: Its sections, stable ones.
        signal: The input.

    Raises:
        UsageError: scipy is not installed, or the filter rings for too long.
    """
    require_scipy(op)
    warmup = warm_up(tuple(sections))
    if warmup is None:
        raise UsageError(
            f"op {op} would ring for more than {WARMUP_MOST / signal.samplerate:.0f} s at {signal.samplerate} Hz, "
            "which is too long; use a lower q, or an hz further from 0 and from half the samplerate"
        )
    return Biquads(arrays(*sections), warmup)


def require_scipy(op: str) -> None:
    """Pass if scipy is installed; it is not imported.

    Raises:
        UsageError: It is not.
    """
    if importlib.util.find_spec("scipy") is None:
        raise UsageError(f"op {op} needs scipy: pip install 'zaudio[dsp]'")


@functools.lru_cache(maxsize=256)  # ops are designed more than once, and each join begins with a known cascade
def warm_up(sections: tuple[Section, ...]) -> int | None:
    """Return the warm-up of a cascade in frames, None if it has more than `WARMUP_MOST`.

    It is the least n with sum |h[m]|, m >= n, at most 2^-60, h being the impulse response of the cascade, and of each
    of its beginnings; rounded up to a multiple of 32. The radius of the largest pole is not enough: equal poles add up.
    """
    before = warm_up(sections[:-1]) if len(sections) > 1 else 0
    if before is None:
        return None
    # From the radius, as a first guess: longer if that turns out too short.
    radius = max(_radius(section) for section in sections)
    if radius >= 1:
        return None  # by rounding: the pole is so near that it would ring for days
    length = 256 if radius == 0 else 256 + math.ceil(1.25 * SILENT_BITS * math.log(2) / -math.log(radius))
    while length < 2 * WARMUP_MOST:
        rest = np.cumsum(np.abs(impulse_response(sections, length))[::-1])[::-1]
        least = int(np.count_nonzero(rest > 2.0**-SILENT_BITS))  # it falls from frame to frame
        if least <= 0.9 * length:
            warmup = max(before, -(-least // WARMUP_UNIT) * WARMUP_UNIT)
            return warmup if warmup <= WARMUP_MOST else None
        length = length * 3 // 2
    return None


def impulse_response(sections: Sequence[Section], length: int) -> Array:
    """Return the first frames of a cascade's impulse response, without scipy and without a loop over frames.

    In state space h[0] = D and h[1 + n] = C A^n B. With n = i K + j that is (C A^j) times ((A^K)^i B): two short tables
    and their products.
    """
    matrix, inputs, outputs, direct = _state_space(sections)
    count = math.isqrt(length) + 1
    left, power = _powers(outputs[None, :], matrix, count)
    right, _ = _powers(inputs[None, :], power.T, count)
    response = np.zeros((count, count))
    for state in range(len(matrix)):
        response += np.multiply.outer(right[:, state], left[:, state])
    return np.concatenate(([direct], response.reshape(-1)))[:length]


def _state_space(sections: Sequence[Section]) -> tuple[Array, Array, Array, float]:
    """Return A, B, C and D of a cascade.

    Each section has the states of a turning and shrinking arrow. In those of a direct form, powers of A would cancel
    each other at low frequencies, until no digit is left.
    """
    size = 2 * len(sections)
    matrix, inputs, outputs, direct = np.zeros((size, size)), np.zeros(size), np.zeros(size), 1.0
    for number, (b0, b1, b2, _, a1, a2) in enumerate(sections):
        real, turn = -a1 / 2, a2 - a1 * a1 / 4  # poles at real +- sqrt(-turn)
        scale = max(math.sqrt(abs(turn)), 1 - abs(real))
        first, second = b1 - b0 * a1, b2 - b0 * a2  # of the numerator, when b0 is taken out
        one, two = 2 * number, 2 * number + 1
        matrix[one, [one, two]] = real, scale
        matrix[two] = outputs  # of the sections before
        matrix[two, [one, two]] = -turn / scale, real
        inputs[two] = direct
        outputs, direct = outputs * b0, direct * b0
        outputs[[one, two]] = (real * first + second) / scale, first
    return matrix, inputs, outputs, direct


def _powers(row: Array, matrix: Array, count: int) -> tuple[Array, Array]:
    """Return the rows row @ matrix^n for n below the count; and the matrix to the power of the count."""
    rows, power, result, left = row, matrix, np.eye(len(matrix)), count
    while left:
        if left % 2:
            result = _product(result, power)
        if len(rows) < count:
            rows = np.concatenate((rows, _product(rows, power)))
        power = _product(power, power)
        left //= 2
    return rows[:count], result


def _product(left: Array, right: Array) -> Array:
    product: Array = np.einsum("ij,jk->ik", left, right)  # without BLAS and its threads
    return product


def _radius(section: Section) -> float:
    """Return the radius of the larger pole."""
    *_, a1, a2 = section
    under = a1 * a1 / 4 - a2
    return math.sqrt(a2) if under < 0 else abs(a1) / 2 + math.sqrt(under)


def _responses(sections: Array, length: int, sosfilt: Callable[..., None]) -> list[Array]:
    """Return the impulse response of a cascade up to each section, last frame first."""
    responses = []
    for count in range(1, len(sections) + 1):
        impulse = np.zeros((1, length))
        impulse[0, 0] = 1.0
        sosfilt(sections[:count], impulse)
        responses.append(np.ascontiguousarray(impulse[0, ::-1]))
    return responses


def _sections(sos: Array) -> list[Section]:
    return [(b0, b1, b2, a0, a1, a2) for b0, b1, b2, a0, a1, a2 in sos.reshape(-1, 6).tolist()]


__all__ = ["DOTS_ABOVE", "WARMUP_MOST", "Biquads", "Section", "biquads", "impulse_response", "require_scipy", "warm_up"]
