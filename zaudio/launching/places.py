"""Places: the texts of `--workers-on`, parsed: where workers are started, and how many.

Rules: pure. `ssh:FILE`, `dask:ADDRESS`, `ray:ADDRESS`, `slurm`; behind each, `,key=value` as often as needed. What a
kind of place takes stands in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zaudio.errors import UsageError

LOOPBACK = "tcp://127.0.0.1:0"  # where a farm binds for places of its own machine, when its user names no address
LIMIT = 100_000  # workers at one place: more is a slip of the finger

# Kind -> whether something stands behind its colon, and the keys that it takes besides.
KINDS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "ssh": (True, ()),
    "dask": (True, ("n", "resource", "path", "read")),
    "ray": (True, ("n", "cpus", "gpus", "path", "read")),
    "slurm": (False, ("n", "shared", "path", "read")),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place where workers are started.

    Attributes:
        text: It as the user wrote it.
        kind: ``ssh``, ``dask``, ``ray`` or ``slurm``.
        rest: What stands behind the colon: a file, or an address.
        count: The workers that it asks for; None when it states no number.
        options: Its other keys, as written.
    """

    text: str
    kind: str
    rest: str = ""
    count: int | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def states_count(self) -> bool:
        """Whether it says by itself how many workers it has: a file of hosts does."""
        return self.count is not None or self.kind == "ssh"


def parse_place(text: object) -> Place:
    """Return the place that a text names.

    Raises:
        UsageError: It names none, or a key is unknown.
    """
    if not isinstance(text, str):
        raise UsageError(f"workers_on: a place is text, such as 'ssh:hosts.txt', not {text!r:.80}")
    named, *pairs = text.split(",")
    kind, colon, rest = named.partition(":")
    if kind not in KINDS or bool(rest) is not KINDS[kind][0] or bool(colon) is not KINDS[kind][0]:
        forms = "ssh:FILE, dask:ADDRESS, ray:ADDRESS, ray:auto or slurm"
        raise UsageError(f"--workers-on (workers_on=): expected {forms}, got {text!r:.80}")
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in KINDS[kind][1] or not equals or not value or key in options:
            known = " and ".join(f"{each}=" for each in KINDS[kind][1]) or "none"
            raise UsageError(f"--workers-on {kind}: its keys are {known}, one of each; got {pair!r:.80}")
        options[key] = value
    count = options.pop("n", None)
    return Place(text, kind, rest, None if count is None else parse_count(count, text), options)


def share(places: Sequence[Place], workers: int | None) -> tuple[int, tuple[Place, ...]]:
    """Return the number of local workers, and the places with the number that each is asked for.

    Args:
        places: The places.
        workers: The user's number of workers: for places that state none, or else local ones; None without one.

    Raises:
        UsageError: A place states no number, and the user gave no number either.
    """
    unstated = [place for place in places if not place.states_count]
    if not unstated:
        return workers or 0, tuple(places)
    if not workers:
        text = unstated[0].text
        raise UsageError(f"--workers-on {text}: say how many workers by {text},n=WORKERS, or by -n (workers=)")
    return 0, tuple(place if place.states_count else replace(place, count=workers) for place in places)


def parse_count(text: str, where: str) -> int:
    """Return a number of workers.

    Raises:
        UsageError: The text is no such number.
    """
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= LIMIT):
        raise UsageError(f"{where}: n= is a number of workers, 1 to {LIMIT}, not {text!r:.40}")
    return int(text)
