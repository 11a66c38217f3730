"""Request: everything that a user asked for, parsed and checked as far as is possible without a recording.

Rules: nothing is opened here but the file of an identity. Two values that contradict each other are an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zaudio.endpoints import check_endpoint
from zaudio.errors import UsageError
from zaudio.launching.places import LOOPBACK, Place, parse_place, share
from zaudio.machine import usable_cores
from zaudio.ops.spec import OpSpec, Requested, parse_chain
from zaudio.plan import Order
from zaudio.result import parse_recipient, read_identity
from zaudio.result.keystore import Identity, Recipient
from zaudio.settings import Limits, Network, Playable, Raw, Sealed, Security, check_reach
from zaudio.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A job as it was asked for.

    Attributes:
        input: The recording: a file, ``-`` for standard input, a FIFO, or the folder of a sealed result.
        output: The folder of the result, or the file.
        store: The kind of output.
        specs: The operations.
        workers: Local workers, 0 or more.
        bind: The endpoint for workers from elsewhere, if any.
        names_bind: Whether the user named it: workers may come there that the job does not start.
        places: Places where workers are started for the job, each with its number unless it states that itself.
        chunk: The chunk size, as `sizes.parse_frames` takes it; None for the default.
        overwrite: Whether an older result is replaced.
        fresh: Whether an interrupted job is discarded.
        raw: How raw samples lie in their file.
        network: How workers reach the farm.
        security: Keys and audits.
        recipient: The owner of the encryption key, if it is wrapped.
        identity: The private key of that recipient, for a resume.
        memory: Bytes of samples that may be held or in flight.
        timing: All durations.
        queues: Whether the job waits for the queue of a batch system or a cluster as long as that takes.
    """

    input: str
    output: str
    store: Sealed | Playable
    specs: tuple[OpSpec, ...]
    workers: int
    bind: str | None
    names_bind: bool
    places: tuple[Place, ...]
    chunk: str | int | None
    overwrite: bool
    fresh: bool
    raw: Raw
    network: Network
    security: Security
    recipient: Recipient | None
    identity: Identity | None
    memory: int
    timing: Timing
    queues: bool

    @property
    def order(self) -> Order:
        """The order of the result's frames."""
        forward = isinstance(self.store, Playable) or self.store.forward
        return Order.FORWARD if forward else Order.REVERSED


def parse_request(
    input: str,
    output: str | os.PathLike[str] | Sealed | Playable,
    *,
    ops: Requested | Sequence[Requested],
    workers: int | None,
    bind: str | None,
    chunk: str | int | None,
    overwrite: bool = False,
    fresh: bool = False,
    raw: Raw = Raw(),
    network: Network,
    security: Security,
    limits: Limits,
    timing: Timing | None = None,
) -> Request:
    """Return the request of a job's arguments: those of a `Coordinator`, whose documentation they share.

    The defaults are those of jobs that do not have the argument.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.
    """
    _check_groups({Raw: raw, Network: network, Security: security, Limits: limits})
    _check_types(workers, timing, overwrite=overwrite, fresh=fresh)
    names_bind = bind is not None
    if network.workers_on:
        workers, places = share([parse_place(each) for each in network.workers_on], workers)
        bind = bind if bind is not None else LOOPBACK
    else:
        places = ()
    if bind is not None:
        check_endpoint(bind)
    check_reach(bind, network, security)
    store = output if isinstance(output, Sealed | Playable) else Sealed(output)
    if isinstance(store, Playable):
        _check_unencrypted(security)
    recipient, identity = _owner(security)
    return Request(
        input=input,
        output=os.fspath(store.path),
        store=store,
        specs=parse_chain(ops),
        workers=_count_workers(workers, bind, security.audit),
        bind=bind,
        names_bind=names_bind,
        places=places,
        chunk=chunk,
        overwrite=overwrite,
        fresh=fresh,
        raw=raw,
        network=network,
        security=security,
        recipient=recipient,
        identity=identity,
        memory=limits.memory_bytes,
        timing=limits.durations(timing),
        # A number of the user's bounds that too, also one that is the default.
        queues=limits.worker_timeout is None and (timing or Timing()).worker_timeout == Timing().worker_timeout,
    )


def _check_unencrypted(security: Security) -> None:
    """Refuse settings of an encryption key for files that play."""
    for name in ("recipient", "identity", "key_out"):
        if getattr(security, name) is not None:
            raise UsageError(f"{name} is of an encryption key, and a file that plays is not encrypted; leave it out")


def _check_groups(groups: Mapping[type, object]) -> None:
    """Refuse a value that is not of its group."""
    for group, value in groups.items():
        if not isinstance(value, group):
            name = group.__name__
            raise UsageError(f"{name.lower()} is a zaudio.{name}(...), not {value!r:.80}")


def _check_types(workers: object, timing: object, *, overwrite: object, fresh: object) -> None:
    """Refuse a value of another type, which would fail in the middle of a job, or count as true."""
    if not isinstance(timing, Timing | None):
        raise UsageError(f"timing is a zaudio.Timing(...), not {timing!r:.80}")
    if not (workers is None or type(workers) is int):
        raise UsageError(f"workers is a whole number, not {workers!r:.80}")
    for name, flag in (("overwrite", overwrite), ("fresh", fresh)):
        if type(flag) is not bool:
            raise UsageError(f"{name} is True or False, not {flag!r:.80}")


def _count_workers(workers: int | None, bind: str | None, audit: float) -> int:
    if workers is None:
        workers = 0 if bind is not None else usable_cores()
    if audit > 0 and workers == 1 and bind is None:
        raise UsageError(
            "an audit takes two workers at least, and there is one: give more with -n (workers=), "
            "or an address for others with --bind (bind=)"
        )
    if workers < 0:
        raise UsageError(f"workers: expected 0 or more, got {workers}")
    if workers == 0 and bind is None:
        raise UsageError("no local workers and nowhere for others to connect: give workers, or bind")
    return workers


def _owner(security: Security) -> tuple[Recipient | None, Identity | None]:
    """Return the owner of the encryption key, and the private key of that owner: None for each that is not given.

    Raises:
        UsageError: An identity would be of no use: the key would be written raw, or wrapped for another owner.
    """
    recipient = parse_recipient(os.fspath(security.recipient)) if security.recipient is not None else None
    if security.identity is None:
        return recipient, None
    identity = read_identity(security.identity)
    own = str(identity.recipient)
    if recipient is None:
        raise UsageError(f"an identity goes with a recipient; pass --recipient {own} (recipient=) too, or neither")
    if str(recipient) != own:
        raise UsageError(f"the identity is that of {own}, and the recipient is another; pass that one's, or none")
    return recipient, identity
