"""Classes: machines are of one class for a job if each of its ops gives the same bits on them.

A worker computes each op on a fixed vector when it prepares, and sends a number for each: a hash of the output.

Rules:

- The first number that a worker sends for an op becomes the job's. A worker with another one is refused, and the
  sentence names the op and both machines.
- The number 0 is no evidence. A user's function that declares nothing has it, for example.
- The farm remembers the numbers from stage to stage. An op is known by its recording's signal, by itself and by those
  in front of it, since its input follows from them.
- A job may ask for a class: by numbers, which an earlier life established, or by the class's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from zaudio.signal import Signal
from zaudio.steps import Step

KNOWN = 4096  # ops that are remembered; the oldest are forgotten first
NAME_BYTES = 6  # of a class's name: enough to tell classes apart, and short enough to type


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker's machine, for sentences.

    Attributes:
        host: Its name.
        software: Its program, libraries and type, with versions.
    """

    host: str
    software: str

    def __str__(self) -> str:
        """Return it as sentences have it."""
        return f"host {self.host} ({self.software})"


UNKNOWN = Machine("(unknown)", "unknown software")


class Classes:
    """The numbers of ops that a farm knows, each with the machine that said it first."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, Machine]] = {}  # oldest first

    def get(self, key: bytes) -> tuple[int, Machine] | None:
        """Return the number of an op, and the machine; None when no worker said it."""
        return self._known.get(key)

    def learn(self, key: bytes, number: int, machine: Machine) -> None:
        """Remember the number of an op that has none."""
        if key in self._known:
            return
        self._known[key] = (number, machine)
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._known) <= KNOWN, "ops are bounded"
        assert all(number for number, _ in self._known.values()), "what says nothing is not remembered"


class StageClass:
    """The class of machines of one stage.

    Args:
        ops: The stage's ops.
        signal: The recording's signal.
        classes: The numbers that the farm knows.
        expected: The number that is asked for of each op, 0 for any; empty to ask for none.
        name: The name of the class that is asked for; empty to ask for none.
    """

    def __init__(
        self, ops: Sequence[Step], signal: Signal, classes: Classes, *, expected: Sequence[int] = (), name: str = ""
    ) -> None:
        self._ops = tuple(ops)
        self._keys = op_keys(ops, signal)
        self._classes = classes
        self._expected = tuple(expected) or (0,) * len(self._ops)
        self._name = name

    def judge(self, numbers: Sequence[int], machine: Machine) -> str:
        """Return why a worker with those numbers cannot take part; empty when it can.

        One that can makes numbers that were open the job's.

        Args:
            numbers: A number for each op, or none at all.
            machine: The worker's machine.
        """
        if numbers and len(numbers) != len(self._ops):
            return f"it says {len(numbers)} numbers of its class, and the job has {len(self._ops)} ops"
        own = class_name(self._ops, numbers)
        if self._name and own != self._name:
            return f"{machine} is of class {own or '(none)'}, and this job asks for class {self._name}"
        for step, key, expected, number in zip(self._ops, self._keys, self._expected, numbers, strict=False):
            known = self._classes.get(key)
            if number and expected and number != expected:
                return f"op {step.name} gives other bits on {machine} than in the class that this job asks for"
            if number and not expected and known is not None and number != known[0]:
                first = known[1]
                return (
                    f"op {step.name} gives other bits on {machine} than on {first}: a job has one class of machines; "
                    f"use those like {first.host}, or start it with --class {own} for those like {machine.host}"
                )
        for key, number in zip(self._keys, numbers, strict=False):
            if number:
                self._classes.learn(key, number, machine)
        return ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number of each op, 0 where none is known."""
        known = map(self._classes.get, self._keys)
        pairs = zip(self._expected, known, strict=True)
        return tuple(expected or (found[0] if found is not None else 0) for expected, found in pairs)

    @property
    def name(self) -> str:
        """The name of the class; empty as long as nothing is known of it."""
        return class_name(self._ops, self.numbers)


def class_name(ops: Sequence[Step], numbers: Sequence[int]) -> str:
    """Return the name of the class with those numbers; empty when they say nothing."""
    pairs = [(step.name, number) for step, number in zip(ops, numbers, strict=False) if number]
    return blake2b(repr(pairs).encode(), digest_size=NAME_BYTES).hexdigest() if pairs else ""


def op_keys(ops: Sequence[Step], signal: Signal) -> tuple[bytes, ...]:
    """Return a key for each op: it follows from the signal, the op and those in front of it."""
    hash_ = blake2b(str(signal).encode(), digest_size=16)
    keys = []
    for step in ops:
        heads = [(table.key, table.type, len(table.numbers)) for table in step.tables]
        hash_.update(repr((step.name, step.params, step.version, heads)).encode())
        for table in step.tables:
            hash_.update(table.numbers)
        keys.append(hash_.digest())
    return tuple(keys)
