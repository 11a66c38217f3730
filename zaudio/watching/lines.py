"""Lines: events as lines of a log, and back. One table of types makes the line, the schema and the checks of both.

Rules:

- Pure. A line is one JSON object. It has the keys of `BASE` and the fields of its kind, and no other.
- `v` grows when a key changes its meaning or goes. New kinds and new keys come without that: a reader skips keys that
  it does not know, and lines with a newer `v`.
- Only what users may know stands in an event. Still, a worker's or the system's sentence may name a file: `private`
  removes the folders of files that the user did not name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from zaudio import events
from zaudio.events import Event, State

VERSION = 1
NUMBER_MAX = 1e15  # seconds: longer than any machine runs
INTEGER_MAX = (1 << 63) - 1  # frames and bytes; what is greater is no number of ours
LINE_MAX = 1 << 20  # characters; a line of ours has a few hundred, and with a thousand workers' names 100,000

KINDS: Mapping[str, type[Event]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kind in map(vars(events).get, events.__all__)
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}
_ENCODE = json.JSONEncoder(separators=(",", ":"), default=dict).encode  # made once: that costs as much as a line
_NAMES = {kind: name for name, kind in KINDS.items()}

BASE: Mapping[str, Mapping[str, object]] = {
    "v": {"const": VERSION, "description": "The version of the line."},
    "time": {
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
        "description": "When, by the wall clock, in UTC.",
    },
    "at": {"type": "number", "description": "When, in seconds of the machine's monotonic clock."},
    "job": {"type": "string", "pattern": "^[0-9a-f]*$", "description": "The job's id, in hex."},
    "incarnation": {"type": "integer", "minimum": 0, "description": "Which life of the job, from 1."},
    "stage": {"type": "string", "description": "The stage of the job: main, or a measuring one before it."},
    "kind": {"type": "string", "description": "The kind of the event; it decides on the other keys."},
}


class NewerError(ValueError):
    """A line was written by a newer zaudio."""


@dataclass(frozen=True, slots=True)
class Record:
    """A line of a log that was read.

    Attributes:
        wall: When, by the wall clock.
        incarnation: Which life of its job it belongs to.
        kind: The name of its kind.
        event: The event; None when its kind is not known here.
    """

    wall: datetime
    incarnation: int
    kind: str
    event: Event | None


@dataclass(frozen=True, slots=True)
class _Type:
    """A type of field: its schema, and how a value is checked and read back."""

    schema: Mapping[str, object]
    fits: Callable[[Any], bool]
    read: Callable[[Any], object] = lambda value: value


def _is_number(value: object) -> bool:
    # Python's JSON knows NaN, Infinity and 1e400: none of them can be counted with.
    return isinstance(value, int | float) and not isinstance(value, bool) and -NUMBER_MAX <= value <= NUMBER_MAX


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -INTEGER_MAX <= value <= INTEGER_MAX


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_integer(value[0]) and _is_number(value[1])


_STRING: Mapping[str, object] = {"type": "string"}
_PAIR = {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}], "minItems": 2, "maxItems": 2}

# By the annotation of the field.
_TYPES: Mapping[str, _Type] = {
    "int": _Type({"type": "integer"}, _is_integer),
    "float": _Type({"type": "number"}, _is_number, float),
    "str": _Type(_STRING, lambda value: isinstance(value, str)),
    "bool": _Type({"type": "boolean"}, lambda value: isinstance(value, bool)),
    "State": _Type({"enum": [str(state) for state in State]}, lambda value: value in list(State), State),
    "tuple[str, ...]": _Type(
        {"type": "array", "items": _STRING},
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        tuple,
    ),
    "Mapping[str, str]": _Type(
        {"type": "object", "additionalProperties": _STRING},
        lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
    ),
    "Mapping[str, tuple[int, float]]": _Type(
        {"type": "object", "additionalProperties": _PAIR},
        lambda value: isinstance(value, dict) and all(map(_is_pair, value.values())),
        lambda value: {name: (pair[0], float(pair[1])) for name, pair in value.items()},
    ),
}


def _own(kind: type[Event]) -> dict[str, _Type]:
    """Return the fields that a kind has besides those of every event."""
    return {each.name: _TYPES[str(each.type)] for each in fields(kind) if each.name not in ("at", "job", "stage")}


# Per kind, the fields in their order; `incarnation` of `Started` stands among the keys of every line.
_FIELDS = {kind: _own(kind) for kind in KINDS.values()}
_SHOWN = {kind: [name for name in own if name not in BASE] for kind, own in _FIELDS.items()}
_NEEDED = {
    kind: {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}
    for kind in KINDS.values()
}


def line(event: Event, *, offset: float, incarnation: int, private: Callable[[str], str] = str) -> str:
    """Return the line of an event, without its end.

    Args:
        event: The event.
        offset: Seconds that the wall clock is ahead of the monotonic one.
        incarnation: The life of the job.
        private: Takes what is nobody's business out of a sentence.
    """
    kind = type(event)
    record: dict[str, object] = {
        "v": VERSION,
        "time": datetime.fromtimestamp(event.at + offset, UTC).isoformat(timespec="microseconds")[:26] + "Z",
        "at": round(event.at, 6),
        "job": event.job,
        "incarnation": incarnation,
        "stage": event.stage,
        "kind": _NAMES[kind],
    }
    for name in _SHOWN[kind]:
        value = getattr(event, name)
        if name in ("reason", "sentence"):
            value = private(value)
        elif type(value) is float:
            value = round(value, 6)
        record[name] = value
    return _ENCODE(record)


def read(text: str) -> Record:
    """Read a line.

    Raises:
        NewerError: A newer zaudio wrote it.
        ValueError: It is no line of a log; the sentence says why.
    """
    if len(text) > LINE_MAX:
        raise ValueError(f"it has {len(text)} characters, and {LINE_MAX} are the most")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict) or not _is_integer(found.get("v")):
        raise ValueError("it is no JSON object with a version")
    if found["v"] > VERSION:
        raise NewerError(f"it is of version {found['v']}, and {VERSION} is known here")
    if not (isinstance(found.get("kind"), str) and _is_integer(found.get("incarnation"))):
        raise ValueError("it has no kind, or no incarnation")
    try:
        wall = datetime.fromisoformat(str(found.get("time")))
    except ValueError:
        raise ValueError(f"its time is {found.get('time')!r:.40}") from None
    if wall.tzinfo is None:
        raise ValueError("its time has no zone")
    kind = KINDS.get(found["kind"])
    event = _event(kind, found) if kind is not None else None
    return Record(wall, found["incarnation"], found["kind"], event)


def _event(kind: type[Event], found: Mapping[str, object]) -> Event:
    given: dict[str, Any] = {}
    common = {"at": _TYPES["float"], "job": _TYPES["str"], "stage": _TYPES["str"]}
    for name, each in {**common, **_FIELDS[kind]}.items():
        if name not in found:
            if name in _NEEDED[kind]:
                raise ValueError(f"{name} is missing")
            continue
        if not each.fits(found[name]):
            raise ValueError(f"{name} is {found[name]!r:.40}")
        given[name] = each.read(found[name])
    return kind(**given)


def privacy(named: Iterable[str]) -> Callable[[str], str]:
    """Return a function that takes the folders out of absolute paths in a sentence, but for those that the user named.

    Args:
        named: The paths that the user named; what lies in them is the user's too.
    """
    kept = {path.rstrip("/") for path in named if path.rstrip("/")}  # a batch has many

    def shorten(match: re.Match[str]) -> str:
        path = above = match.group()
        while above:
            if above in kept:
                return path
            above = above.rpartition("/")[0]
        return "…/" + path.rpartition("/")[2]

    return lambda sentence: _PATH.sub(shorten, sentence) if "/" in sentence else sentence


# A slash that stands alone or behind a word, as in tcp://, begins no path.
_PATH = re.compile(r"""(?<![\w./:…-])/(?:[^\s/'"<>|:;,()]+/)*[^\s/'"<>|:;,()]+""")


def schema() -> dict[str, object]:
    """Return the JSON schema of a line, made of the classes of the events."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a zaudio log of events",
        "type": "object",
        "properties": dict(BASE),
        "required": list(BASE),
        "oneOf": [_schema_of(name, kind) for name, kind in KINDS.items()],
    }


def _schema_of(name: str, kind: type[Event]) -> dict[str, object]:
    own = {field: _FIELDS[kind][field].schema for field in _SHOWN[kind]}
    return {
        "title": name,
        "description": (kind.__doc__ or "").partition("\n")[0],
        "properties": {"kind": {"const": name}, **own},
        "required": ["kind", *own],
    }
