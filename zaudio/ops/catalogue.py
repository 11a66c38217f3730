"""The catalogue of built-in ops: by their names in a SPEC, and by their names on the wire."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from zaudio.errors import UsageError
from zaudio.ops import (
    biquads,
    channels,
    delaying,
    denoising,
    dynamics,
    editing,
    energies,
    filters,
    fir,
    levels,
    limiter,
    normalizing,
    picturing,
    resampling,
    sampling,
    statistics,
)
from zaudio.ops.contract import BuiltIn, Kernel
from zaudio.ops.parameters import checked, parameters_of
from zaudio.ops.spec import OpSpec
from zaudio.steps import Scalar

BUILTIN: Mapping[str, type[BuiltIn]] = MappingProxyType(
    {
        op.name: op
        for op in (
            *(levels.Invert, levels.Gain, levels.DcShift, levels.Clip, levels.SoftClip),
            *(editing.Trim, editing.Pad, editing.Mute, editing.Fade),
            *(channels.Remix, sampling.Convert, sampling.Dither, delaying.Delay),
            *(filters.HighPass, filters.LowPass, filters.BandPass, filters.Notch, filters.Equalizer),
            *(filters.LowShelf, filters.HighShelf, filters.DcBlock, fir.Fir),
            *(dynamics.Compress, dynamics.Gate, limiter.Limit),
            *(resampling.Resample, resampling.Speed, denoising.Denoise),
            *(normalizing.Normalize, normalizing.LoudNorm, normalizing.RemoveDC),
        )
    }
)

KERNELS: Mapping[str, type[Kernel]] = MappingProxyType(
    {
        kernel.name: kernel
        for kernel in (
            *(levels.Invert, levels.Scale, levels.Offset, levels.Bounds, levels.Bend),
            *(editing.Cut, editing.Silence, editing.Hole, editing.Ramps),
            *(channels.Pick, channels.Mix, sampling.Stored, sampling.Rounded, delaying.Echo),
            *(biquads.Biquads, fir.Taps),
            *(dynamics.Compressor, dynamics.Opener, limiter.Limiter),
            *(resampling.Rated, resampling.Kept, denoising.NoisePower, denoising.SpectralGate),
            *(normalizing.SamplePeaks, normalizing.TruePeaks, normalizing.Sums, normalizing.Offsets, energies.Energies),
            *(statistics.Tallies, picturing.Columns),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Described:
    """A built-in op, for a user.

    Attributes:
        name: Its name in a SPEC.
        summary: Its effect, in one line.
        text: Formula, units and source; several lines.
        parameters: Name, default (None: required), values allowed and meaning of each.
        example: A SPEC that works.
        exactness: The reason why cuts do not change its result.
    """

    name: str
    summary: str
    text: str
    parameters: tuple[tuple[str, Scalar | None, str, str], ...]
    example: str
    exactness: str


def find_op(name: str) -> type[BuiltIn]:
    """Return the built-in op of that name.

    Raises:
        UsageError: There is no such op; the sentence lists all ops.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    close = difflib.get_close_matches(name, BUILTIN, n=1)
    raise UsageError(
        f"there is no op {name!r}{f', did you mean {close[0]}? Built' if close else '; built'} in are "
        f"{', '.join(sorted(BUILTIN))} (see zaudio ops), and a function of your own is MODULE:FUNCTION"
    )


def make_op(spec: OpSpec) -> BuiltIn:
    """Return the built-in op that a SPEC asks for.

    Raises:
        UsageError: There is no such op, or a parameter is unknown, missing or out of range.
    """
    op = find_op(spec.name)
    return op(**checked(op, spec.name, dict(spec.params), op.example))


def describe_op(name: str) -> Described:
    """Return the description of one built-in op.

    Raises:
        UsageError: There is no such op.
    """
    op = find_op(name)
    summary, _, text = inspect.getdoc(op).partition("\n")  # type: ignore[union-attr]  # each has one; a test sees to it
    parameters = tuple(
        (key, default, parameter.span, parameter.meaning) for key, (parameter, default) in parameters_of(op).items()
    )
    return Described(op.name, summary, text.strip(), parameters, op.example, op.exactness.value)


def describe_ops() -> list[Described]:
    """Return the descriptions of all built-in ops, sorted by name."""
    return [describe_op(name) for name in sorted(BUILTIN)]
