"""Notes: the records of a journal besides its job and its checkpoints. Pure.

    MeasuredOp   an op that a measuring stage made: a later life need not measure again
    Machines     the class of machines that computes the job, and the numbers by which it is known
    Settled      the description as it will stand in the result, once all of it is known

Rules: a note's body is one JSON object in ASCII with one field, which names its kind. Numbers are written so that the
same float is read again, bit for bit; tables of numbers are base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaudio.steps import Step, Table

FIRST_BYTE = b"{"  # of a note; a checkpoint begins with the high byte of an incarnation, which is never that large


@dataclass(frozen=True, slots=True)
class MeasuredOp:
    """An op that a measuring stage made, as it travels, and the sentence about it."""

    step: Step
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Machines:
    """The class of machines of a job.

    Attributes:
        name: Its name.
        numbers: What its machines compute of a fixed vector: a key for each op, and the number, both in hex.
    """

    name: str
    numbers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """The description of a result, when it is another one than that in the first record: its text."""

    description: str


Note = MeasuredOp | Machines | Settled


def encode_note(note: Note) -> bytes:
    """Return the body of a record."""
    fields: Mapping[str, object]
    match note:
        case MeasuredOp(step=step, sentence=sentence):
            fields = {"measured": _step_fields(step) | {"sentence": sentence}}
        case Machines(name=name, numbers=numbers):
            fields = {"class": {"name": name, "numbers": numbers}}
        case Settled(description=description):
            fields = {"description": description}
    return json.dumps(fields, allow_nan=False).encode("ascii")


def decode_note(body: bytes) -> Note:
    """Return the note that a body holds.

    Raises:
        ValueError: It holds none that this zaudio knows.
    """
    try:
        ((kind, fields),) = json.loads(body).items()
        match kind:
            case "measured":
                return MeasuredOp(_step_of(fields), str(fields["sentence"]))
            case "class":
                return Machines(str(fields["name"]), tuple((str(key), str(value)) for key, value in fields["numbers"]))
            case "description":
                return Settled(str(fields))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError("it holds a record that this zaudio does not know")


def _step_fields(step: Step) -> dict[str, object]:
    return {
        "name": step.name,
        "params": step.params,
        "tables": [(table.key, table.type, base64.b64encode(table.numbers).decode("ascii")) for table in step.tables],
        "version": step.version,
    }


def _step_of(fields: Mapping[str, Any]) -> Step:
    return Step(
        fields["name"],
        tuple((key, value) for key, value in fields["params"]),
        tuple(Table(key, type, base64.b64decode(numbers)) for key, type, numbers in fields["tables"]),
        fields["version"],
    )
