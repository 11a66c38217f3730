"""Channels: an op that mixes each output channel from those of the input, `remix`.

MAP  = OUT {"/" OUT}                          one OUT per output channel
OUT  = "0"  |  ["-"] TERM {("+" | "-") TERM}
TERM = [FACTOR "*"] CHANNEL                   channels count from 1
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from zaudio.errors import UsageError
from zaudio.formats import MAX_CHANNELS
from zaudio.ops.contract import Array, BuiltIn, Kernel, Op, Place, Precision, arrays
from zaudio.ops.parameters import number, text
from zaudio.signal import Signal

_TERM = re.compile(r"([+-]?)(?:(\d+(?:\.\d*)?|\.\d+)\*)?(\d{1,4})", re.ASCII)
_FACTOR_MOST = 1e6  # 120 dB

Rows = list[dict[int, float]]  # for each output channel: the factor of each input channel, which count from 0


@dataclass(frozen=True)
class Remix(BuiltIn):
    """Make each output channel a sum of the input's channels.

    `to` is `mono` (the mean of all channels), `stereo` (of one channel, or of two as they are), `swap` (the two
    channels exchanged), or a map: one sum per output channel, separated by `/`. `2/1` exchanges two channels, `1` keeps
    the first alone, `0.5*1+0.5*2` mixes two: y[n] = 0.5 x1[n] + 0.5 x2[n]. `1/1-2/0` has three. Channels count from 1,
    and 0 is silence.

    `pan` goes with `stereo` only: the left channel is multiplied by min(1, 1 - pan), the right by min(1, 1 + pan).
    """

    name: ClassVar[str] = "remix"
    example: ClassVar[str] = "remix:to=mono"
    to: str = text("mono, stereo, swap or a map such as 2/1 or 0.5*1+0.5*2", default="stereo")
    pan: float = number("place between left (-1) and right (1), for stereo", least=-1, most=1, default=0)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels: one that picks channels if nothing is multiplied or added.

        Raises:
            UsageError: The map cannot be read, or the input has no such channels.
        """
        if self.pan and self.to != "stereo":
            raise UsageError(f"op remix: pan goes with to=stereo, not with to={self.to}")
        rows = _rows(self.to, self.pan, signal.channels)
        if all(len(row) == 1 and set(row.values()) == {1.0} for row in rows):
            return Pick(signal.channels, arrays([next(iter(row)) for row in rows], type="<i4"))
        matrix = np.zeros((len(rows), signal.channels))
        for line, row in zip(matrix, rows, strict=True):
            line[list(row)] = list(row.values())
        return Mix(signal.channels, arrays(matrix))


@dataclass(frozen=True)
class Pick(Kernel):
    """Channels that are kept as they are: for each output channel, the input's; they count from 0."""

    name: ClassVar[str] = "remix-pick"
    precision: ClassVar[Precision] = Precision.ANY
    channels: int
    picked: Array

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal, with its channels."""
        return replace(before, channels=len(self.picked))

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the picked channels."""
        order: Literal["C", "F"] = "C" if samples.flags.c_contiguous else "F"
        picked = np.empty((len(samples), len(self.picked)), samples.dtype, order=order)
        for channel, source in enumerate(self.picked):
            picked[:, channel] = samples[:, source]
        return picked


@dataclass(frozen=True)
class Mix(Kernel):
    """A matrix of factors, row by row: a row per output channel, a column per input channel."""

    name: ClassVar[str] = "remix"
    channels: int
    matrix: Array

    def signal(self, before: Signal) -> Signal:
        """Return the output's signal, with its channels."""
        return replace(before, channels=len(self.matrix) // self.channels)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the sums; terms are added from the first channel to the last."""
        rows = self.matrix.reshape(-1, self.channels)
        mixed = np.zeros((len(samples), len(rows)), samples.dtype, order="F")
        for row, out in zip(rows, mixed.T, strict=True):
            first = True
            for channel in np.flatnonzero(row):
                # Not a product of matrices: the order of BLAS's sums differs from machine to machine.
                if first:
                    np.multiply(samples[:, channel], row[channel], out=out)
                else:
                    out += samples[:, channel] * row[channel]
                first = False
        return mixed


def _rows(to: str, pan: float, channels: int) -> Rows:
    """Return the sums that a text asks for, over an input with that many channels."""
    match to:
        case "mono":
            return [dict.fromkeys(range(channels), 1.0 / channels)]
        case "swap":
            _expect(channels, (2,), to)
            return [{1: 1.0}, {0: 1.0}]
        case "stereo":
            _expect(channels, (1, 2), to)
            return [{0: min(1.0, 1.0 - pan)}, {channels - 1: min(1.0, 1.0 + pan)}]
    rows = [_row(to, out, channels) for out in to.replace(" ", "").split("/")]
    if len(rows) > MAX_CHANNELS:
        raise UsageError(f"op remix: expected at most {MAX_CHANNELS} output channels, not {len(rows)}")
    return rows


def _row(to: str, out: str, channels: int) -> dict[int, float]:
    if out == "0":
        return {}
    row: dict[int, float] = {}
    place = 0
    while place < len(out) or not out:
        term = _TERM.match(out, place)
        if term is None or (place and not term[1]):
            raise UsageError(
                f"op remix: expected mono, stereo, swap or sums of channels with / between them, "
                f"such as 2/1 or 0.5*1+0.5*2; not {to!r:.80}"
            )
        factor, channel = float(term[2] or 1), int(term[3])
        if not 1 <= channel <= channels or factor > _FACTOR_MOST:
            raise UsageError(
                f"op remix: expected channels from 1 to {channels} and factors up to {_FACTOR_MOST:g}, "
                f"not {term[0]!r} in {to!r:.80}"
            )
        row[channel - 1] = row.get(channel - 1, 0.0) + (-factor if term[1] == "-" else factor)
        place = term.end()
    return row


def _expect(channels: int, allowed: tuple[int, ...], to: str) -> None:
    if channels not in allowed:
        expected = " or ".join(map(str, allowed))
        raise UsageError(
            f"op remix: to={to} takes {expected} channel{'s' if expected != '1' else ''}, and there are {channels}; "
            "give a map such as 1/2"
        )
