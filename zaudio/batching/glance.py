"""Glance: how far a batch is, read from its manifest by another process.

Rules: nothing is written, and no lock is taken: a batch that starts at this instant must not find its folder busy.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from zaudio import disk
from zaudio.batching.manifest import NAME
from zaudio.errors import UsageError


@dataclass(frozen=True, slots=True)
class BatchGlance:
    """The state of the folder of a batch.

    Attributes:
        state: ``running`` or ``ended``.
        done: Recordings that are done, in all runs.
        failed: Recordings that failed when they were last tried.
        quiet: Seconds since the manifest was last written to.
    """

    state: str
    done: int
    failed: int
    quiet: float


def glance_batch(folder: str, *, now: float) -> BatchGlance | None:
    """Return the state of the batch in a folder; None when no manifest lies there.

    Args:
        folder: The folder.
        now: The time of the day, as files have it.

    Raises:
        UsageError: The manifest cannot be read.
    """
    path = os.path.join(folder, NAME)
    if disk.lstat(path) is None:
        return None
    states: dict[str, str] = {}  # by output: of several lines about one the last counts
    try:
        with open(os.open(path, disk.READ), "rb") as file:
            running = disk.is_locked(file.fileno())
            modified = os.fstat(file.fileno()).st_mtime
            for line in file:
                if line.endswith(b"\n"):  # else it is being written
                    entry = json.loads(line)
                    states[entry["output"]] = entry["state"]
    except OSError as error:
        raise UsageError(f"{path}: {disk.reason(error)}") from error
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: it is no manifest of a batch") from None
    ends = list(states.values())
    return BatchGlance(
        "running" if running else "ended", ends.count("done"), ends.count("failed"), max(0.0, now - modified)
    )
