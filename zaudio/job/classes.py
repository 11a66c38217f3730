"""JobClass: the class of machines that computes a job, over its stages and its lives.

Rules:

- A job has one class: that of its first stage. Users ask for it by the name of that stage's class, and the result
  stores that name. Other stages have other ops, and so other names.
- The numbers that a stage learnt for its ops are required of the workers of later stages and later lives, for the same
  ops on the same recording.
"""

from __future__ import annotations

from collections.abc import Sequence

from zaudio.core.classes import op_keys
from zaudio.errors import UsageError
from zaudio.signal import Signal
from zaudio.steps import Step


class JobClass:
    """The class of machines of a job.

    Args:
        asked: The name of the class that the user asked for; None or empty for none.

    Attributes:
        name: The name of the class; empty as long as no worker was ready.
    """

    def __init__(self, asked: str | None = None) -> None:
        self._asked = asked or ""
        self._numbers: dict[str, int] = {}  # by the keys of ops, in hex
        self.name = ""

    @property
    def to_ask(self) -> str:
        """The name that the next stage asks for; empty when the numbers say it already."""
        return "" if self.name else self._asked

    def expected(self, ops: Sequence[Step], signal: Signal) -> tuple[int, ...]:
        """Return the number of each op that workers must have, 0 for any."""
        return tuple(self._numbers.get(key.hex(), 0) for key in op_keys(ops, signal))

    def learn(self, ops: Sequence[Step], signal: Signal, numbers: Sequence[int], name: str) -> None:
        """Keep the findings of a stage: the number of each op, 0 for no number, and the name of its class."""
        for key, number in zip(op_keys(ops, signal), numbers, strict=False):
            if number:
                self._numbers[key.hex()] = number
        self.name = self.name or name

    # In a journal

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        """The numbers by the keys of their ops, both in hex."""
        return tuple((key, f"{number:x}") for key, number in self._numbers.items())

    def restore(self, name: str, kept: Sequence[tuple[str, str]]) -> None:
        """Take over the findings of an earlier life.

        Raises:
            UsageError: The user asks for another class.
        """
        if self._asked and self._asked != name:
            raise UsageError(
                f"this job was begun by machines of class {name}, and goes on with those; leave --class out "
                "(Security(machines=)), or begin it again with --fresh (fresh=True)"
            )
        self.name = name
        self._numbers.update((key, int(number, 16)) for key, number in kept)
