"""`zaudio ops SPEC --check`: the outcome of a check in words, and the second process that it needs."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import os
import subprocess
import sys
import traceback
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from zaudio.cli import voice
from zaudio.errors import JobError, ZaudioError
from zaudio.signal import Signal

if TYPE_CHECKING:
    from zaudio.ops import Op
    from zaudio.ops.checking import Checked, Difference

NOT_EXACT = 1  # the exit code
AUDIBLE_DB = -120.0  # a difference of a go without blocks that is worth a word; 24-bit audio spans 144 dB


def check_op(spec: str, op: Op, signal: Signal, seconds: float | None, *, digest: bool, as_json: bool) -> int:
    """Check an op on noise, and print the outcome.

    Args:
        spec: The op as the user wrote it.
        op: The op.
        signal: Channels, samplerate and format of the noise.
        seconds: The length of the noise; None to choose one.
        digest: Print the hash of the result alone: this is the second process.
        as_json: Print JSON.

    Returns:
        The exit code.

    Raises:
        UsageError: The op cannot be used with that signal.
        JobError: The op failed.
    """
    from zaudio.ops import checking

    frames = checking.enough_frames([op], signal) if seconds is None else int(seconds * signal.samplerate)
    signal = replace(signal, frames=frames)
    if digest:
        voice.out(checking.digest([op], signal))
        return 0
    try:
        found = checking.check([op], signal)
    except ZaudioError:
        raise
    except Exception as error:  # it runs a stranger's code
        raise JobError(f"{spec} failed on {signal}: {type(error).__name__}: {error}{_line(op, error)}") from error
    same = _digest_of_another(spec, signal) == found.digest
    exact = found.is_exact and same
    if as_json:
        voice.out(json.dumps(_as_json(spec, found, exact=exact, same=same)))
    else:
        voice.out("\n".join(sentences(spec, op, found, same=same)))
    return 0 if exact else NOT_EXACT


def sentences(spec: str, op: Op, found: Checked, *, same: bool) -> list[str]:
    """Return the outcome in words.

    Args:
        spec: The op as the user wrote it.
        op: The op.
        found: The outcome in this process.
        same: Whether another process gave the same samples.
    """
    if found.is_exact and same:
        lines = [
            f"{spec} is exact: {found.signal} gave the same bits in one piece, in chunks of random sizes in random "
            "order, and in another process."
        ]
        return lines + _of_blocks(op, found)
    lines = [f"{spec} is not exact."]
    if found.calls is not None:
        cause = (
            "it keeps something from call to call. What all calls need belongs into setup=, and no call changes it."
            if same
            else "it draws random numbers or reads a clock. Seed random numbers with place.first, the absolute frame."
        )
        lines.append(f"{_where(found.calls)} when it is computed a second time: {cause}")
    elif not same:
        lines.append(
            "Another process gave other samples: it depends on something outside of samples and parameters, such as "
            "a clock, a random number, or the order of a set."
        )
    elif found.cuts is not None:
        lines.append(f"{_where(found.cuts)} when the recording is cut at other places: {_remedy(op, found)}")
    return lines


def _of_blocks(op: Op, found: Checked) -> list[str]:
    if op.measure(found.signal) is not None:
        return ["It measures the whole recording first."]
    if not found.grid:
        return ["It works sample by sample: a farm may cut anywhere."]
    line = f"It is computed in blocks of {found.grid} frames, each from the context in front of it."
    if found.failure:
        return [line, f"A go without blocks failed, so that the two cannot be compared: {found.failure}"]
    if found.straight is None:
        return [line, "A go without blocks gave the same bits, too."]
    if found.straight.db <= AUDIBLE_DB:
        return [line, f"A go without blocks differs by at most {_level(found.straight)}: rounding noise."]
    return [
        line,
        f"A go without blocks differs by at most {_level(found.straight)}, first in frame {found.straight.frame}: "
        "at each block the op starts afresh. More context makes this smaller, if the op forgets.",
    ]


def _remedy(op: Op, found: Checked) -> str:
    from zaudio.ops import BuiltIn

    if isinstance(op, BuiltIn):
        return "this is a fault of zaudio's; please report it."
    if found.grid:
        return "it depends on the order of its calls. Keep nothing from call to call."
    return (
        "it depends on the frames around a sample. Declare them: @zaudio.op(context=...) for so many frames on either "
        "side, with grid=... if it must start at fixed places. An op that needs the whole recording measures it. If it "
        "draws random numbers, seed them with place.first, the absolute frame."
    )


def _line(op: Op, error: Exception) -> str:
    """Return the line of the op's module in which it failed, in brackets; empty when that is not known."""
    home = inspect.getmodule(getattr(op, "function", type(op)))
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _file(home)]
    return f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else ""


def _file(module: ModuleType | None) -> str | None:
    return getattr(module, "__file__", None)


def _where(difference: Difference) -> str:
    return f"Frame {difference.frame} differs, and {difference.frames} frames in all, by at most {_level(difference)},"


def _level(difference: Difference) -> str:
    if math.isfinite(difference.db):
        return f"{round(difference.db, 1) + 0.0:.1f} dB of full scale"
    return "no number" if difference.db > 0 else "the sign of zero"


def _as_json(spec: str, found: Checked, *, exact: bool, same: bool) -> dict[str, Any]:
    def told(difference: Difference | None) -> dict[str, Any] | None:
        if difference is None:
            return None
        return {**dataclasses.asdict(difference), "db": difference.db if math.isfinite(difference.db) else None}

    return {
        "op": spec,
        "exact": exact,
        "signal": str(found.signal),
        "grid": found.grid,
        "second_call": told(found.calls),
        "cuts": told(found.cuts),
        "other_process_agrees": same,
        "without_blocks": told(found.straight),
    }


def _digest_of_another(spec: str, signal: Signal) -> str:
    """Return the hash of the result in another process.

    Raises:
        click.ClickException: That process failed.
    """
    command = [sys.executable, "-m", "zaudio", "ops", spec, "--digest"]
    command += ["--samplerate", str(signal.samplerate), "--channels", str(signal.channels)]
    command += ["--format", signal.format.name, "--seconds", repr(signal.frames / signal.samplerate)]
    # The folders of --path and of PYTHONPATH, as they stand now, but not the current one: `python -m` looks there.
    path = os.pathsep.join(folder for folder in sys.path if folder)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "random"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise click.ClickException(f"{spec} failed in a process of its own: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
