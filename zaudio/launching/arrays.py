"""Arrays: jobs of Slurm's that are arrays of tasks, and what its queue says of them. A worker is a task."""

from __future__ import annotations

import os
from dataclasses import dataclass

from zaudio.errors import RefusedError, UsageError
from zaudio.launching.launcher import Orders
from zaudio.net.obituary import cause_of_death, last_words

COLUMNS = "JobArrayID:|,State:|,exit_code:|,NodeList:|,Reason:|"  # of `squeue -O`
OUTPUT_TAIL = 8192  # bytes of a task's output that are looked at
COMPLETED = "COMPLETED"
ENDS = frozenset(
    {
        COMPLETED,
        "BOOT_FAIL",
        "CANCELLED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
DEATHS = frozenset({"FAILED", "OUT_OF_MEMORY"})  # of the worker's own; by all other ends Slurm takes its place away
WAITING = frozenset({"PENDING", "CONFIGURING"})  # a node may be starting


class Task:
    """One worker: a task of an array. A `Handle`."""

    def __init__(self, number: int, public: str) -> None:
        self.public = public
        self.admitted = False
        self.hopeless = False  # another in its place would end in the same way
        self.ended: str | None = None
        self.died = False
        self.waits = ""  # why Slurm does not start it yet
        self.number = number
        self.job = ""  # of the array; empty until it is submitted
        self.node = ""

    @property
    def name(self) -> str:
        """Where it runs: ``slurm 4711_3 n17``; ``slurm/3`` before Slurm has it."""
        task = f"slurm {self.job}_{self.number}" if self.job else f"slurm/{self.number}"
        return f"{task} {self.node}" if self.node else task

    def admit(self) -> None:
        """Let it connect: its key is admitted."""
        self.admitted = True


@dataclass(slots=True)
class Array:
    """Tasks that are submitted together.

    Attributes:
        orders: What its workers are told.
        tasks: They, by number.
        keys: The folder that has a folder of keys for each; None without keys.
        submitted: Whether it was submitted.
    """

    orders: Orders
    tasks: dict[int, Task]
    keys: str | None
    submitted: bool = False

    @property
    def left(self) -> list[Task]:
        """The tasks that have not ended."""
        return [task for task in self.tasks.values() if task.ended is None]

    @property
    def job(self) -> str:
        """The number of its job; empty until it has one."""
        return next(iter(self.tasks.values())).job


@dataclass(frozen=True, slots=True)
class Row:
    """A task as the queue shows it.

    Attributes:
        state: Slurm's word for its state.
        status: How it ended, as wait(2) has it.
        node: Where it runs or ran.
        reason: Slurm's reason for the state; empty when it gives none.
    """

    state: str
    status: int
    node: str
    reason: str

    @property
    def has_ended(self) -> bool:
        """Whether it does not run, and will not."""
        return self.state in ENDS

    @property
    def is_death(self) -> bool:
        """Whether its own process died."""
        return self.state in DEATHS

    @property
    def waits(self) -> str:
        """Why it does not run yet: Slurm's reason, or its state where it gives none. Empty when it runs or ended."""
        return self.reason or self.state.lower() if self.state in WAITING else ""

    @property
    def code(self) -> int:
        """Its exit code, or a signal as a negative number."""
        try:
            return os.waitstatus_to_exitcode(self.status)
        except ValueError:  # it was stopped: no end that wait(2) knows
            return 0

    @property
    def is_hopeless(self) -> bool:
        """Whether another worker would end likewise: its options cannot be used there, or it was refused."""
        return self.has_ended and self.code in (UsageError.exit_code, RefusedError.exit_code)

    @property
    def complaint(self) -> str:
        """The reason for which it ended; empty when it ended in order."""
        if self.state == COMPLETED:
            return ""
        words = [self.state, self.reason if self.reason != "NonZeroExitCode" else ""]
        return ", ".join(filter(None, [*words, cause_of_death(self.code) if self.code else ""]))


def queue(text: str) -> dict[tuple[str, int], Row]:
    """Return the rows that ``squeue -O`` printed, by the numbers of job and task. Other lines are left out."""
    rows = {}
    for line in text.splitlines():
        named, state, status, node, reason, *_ = [*(column.strip() for column in line.split("|")), *[""] * 5]
        job, _, task = named.partition("_")
        if task.isdecimal():
            known = reason if reason != "None" else ""
            rows[job, int(task)] = Row(state, int(status) if status.isdecimal() else 0, node, known)
    return rows


def last_line(path: str) -> str | None:
    """Return the last line of a task's output that is not Slurm's own; None when there is no such file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return last_words("\n".join(line for line in lines if not line.startswith("slurmstepd")))
