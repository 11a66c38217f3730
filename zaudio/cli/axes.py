"""Axes: where ticks stand and how they are named, and the range of decibels. Pure functions, for `zaudio view`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FLOOR_DB = -200.0  # in place of no power at all
RANGE_DB = 100.0  # between the ends of the colours, at most: 16 bits span 98 dB
RANGE_LEAST_DB = 30.0
STEP_DB = 10

_ROUND = (1, 2, 5)
_LIMITS = (1, 1.5, 2, 3, 5)  # closer: a waveform uses two thirds of its height at least
_SECONDS = (
    *(digit * 10.0**power for power in range(-6, 1) for digit in _ROUND),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0, 43_200.0),
)
_DAY = 86_400.0


def decibels(powers: Array) -> Array:
    """Return powers in decibels; `FLOOR_DB` for none."""
    floor = 10.0 ** (FLOOR_DB / 10.0)
    return np.asarray(10.0 * np.log10(np.maximum(powers, floor)))


def range_db(levels: Array) -> tuple[float, float]:
    """Return the ends of the colours, in decibels: the loudest level, and the floor of the recording if it is near.

    The floor is a level that a twentieth of the picture lies below: what is quieter differs in nothing to the eye.
    """
    heard = levels[levels > FLOOR_DB]
    if not heard.size:
        return -RANGE_DB, 0.0
    top = math.ceil(float(heard.max()) / STEP_DB) * STEP_DB
    floor = math.floor(float(np.percentile(heard, 5)) / STEP_DB) * STEP_DB
    return min(max(floor, top - RANGE_DB), top - RANGE_LEAST_DB), top


def level_ticks(bottom: float, top: float) -> list[float]:
    """Return two or three round levels within a range of decibels, away from its ends."""
    step = max(STEP_DB, math.ceil((top - bottom) / 3 / STEP_DB) * STEP_DB)
    first, last = math.ceil((bottom + step / 2) / step), math.floor((top - step / 2) / step)
    return [float(number * step) for number in range(first, last + 1)]


def time_ticks(first: float, last: float, most: int) -> tuple[list[float], float]:
    """Return round instants from `first` to `last`, in seconds, and their distance.

    Args:
        first: The first instant of the axis.
        last: The last one, later than the first.
        most: Ticks, at most.
    """
    length = last - first
    step = next((step for step in _SECONDS if length / step <= most), math.ceil(length / most / _DAY) * _DAY)
    slack = step * 1e-6  # a multiple of a tenth is no exact number
    numbers = range(math.ceil((first - slack) / step), math.floor((last + slack) / step) + 1)
    return [number * step for number in numbers], step


def time_label(seconds: float, step: float, last: float) -> str:
    """Return an instant as ``h:mm:ss``; with decimals where ticks are closer than a second, without hours below one.

    Args:
        seconds: The instant.
        step: The distance of the ticks.
        last: The end of the axis: all labels of an axis have the same form.
    """
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    ticks = round(seconds * 10**digits)
    whole, rest = divmod(ticks, 10**digits)
    decimals = f".{rest:0{digits}}" if digits else ""
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if last >= 3600:
        return f"{hours}:{minutes:02}:{whole:02}{decimals}"
    if last >= 60:
        return f"{minutes}:{whole:02}{decimals}"
    return f"{whole}{decimals} s"


def hertz_ticks(highest: float, *, even: bool) -> list[float]:
    """Return round frequencies up to the highest one.

    Args:
        highest: Half the samplerate.
        even: Whether they have one distance; else 1, 2 and 5 in each decade.
    """
    if even:
        step = next(
            digit * 10.0**power for power in range(-3, 9) for digit in _ROUND if highest / digit / 10.0**power <= 8
        )
        return [number * step for number in range(math.floor(highest / step * (1 + 1e-9)) + 1)]
    steps = [digit * 10.0**power for power in range(-1, 9) for digit in _ROUND]
    return [0.0, *(hertz for hertz in steps if hertz <= highest * (1 + 1e-9))]


def hertz_label(hertz: float) -> str:
    """Return a frequency with its unit: ``500 Hz``, ``2 kHz``."""
    return f"{hertz / 1000:g} kHz" if hertz >= 1000 else f"{hertz:g} Hz"


def spread(places: list[float], least: float) -> list[int]:
    """Return the numbers of those places that lie at least so far from the last one that was taken."""
    taken: list[int] = []
    for number, place in enumerate(places):
        if not taken or place - places[taken[-1]] >= least:
            taken.append(number)
    return taken


def full_scale(greatest: float) -> float:
    """Return the end of an axis of samples: 1, or less for a quiet recording, or more for one beyond full scale."""
    if not greatest > 0:
        return 1.0
    limits = [digit * 10.0**power for power in range(-6, 40) for digit in _LIMITS]
    return next((limit for limit in limits if greatest <= limit), limits[-1])
