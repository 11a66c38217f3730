"""Actions: the decisions of the brains. Each names work for a shell to do, and carries no payload."""

from __future__ import annotations

from dataclasses import dataclass, field

from zaudio.errors import ZaudioError
from zaudio.plan import Order
from zaudio.reference import Reference
from zaudio.steps import Step
from zaudio.wire.messages import Channel, Chunk, Message, Result


@dataclass(frozen=True, slots=True)
class Peer:
    """One connection: the socket, the routing id that the socket gave it, and the identity that it proved.

    `identity` is opaque here, and empty where no identities are asked for.
    """

    channel: Channel
    route: bytes
    identity: str = ""


# Of the Dispatcher


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to that peer; if it cannot be sent, drop it."""

    peer: Peer
    message: Message


@dataclass(frozen=True, slots=True)
class Grant:
    """Read the chunk's frames and send them; if they cannot be sent, say so with `Desk.undelivered`."""

    peer: Peer
    session: bytes
    sequence: int
    index: int
    attempt: int
    slot: int = -1  # of the worker's outbox, for the result; -1 for none
    by_reference: bool = False  # the worker reads the frames itself
    repeated: bool = False  # another worker is at it: the cipher waits for the chunk, and this one was idle


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is ready for its first chunk. `host` is the machine that it says to be on."""

    session: bytes
    name: str
    host: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, for that reason."""

    session: bytes
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Requeued:
    """A grant came to nothing; the chunk is to be granted again."""

    index: int
    attempt: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """A worker is past the deadline of a chunk. A local one is killed and replaced."""

    session: bytes
    index: int


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A worker cannot take part, and is told so. Texts are empty where nothing is known.

    Attributes:
        name: Its name.
        host: Its machine, or its address.
        reason: Why.
        key: Its public key, or the name of its key if that is admitted.
        more: As in `zaudio.events.Refused`.
    """

    name: str
    host: str
    reason: str
    key: str = ""
    more: int = 0


@dataclass(frozen=True, slots=True)
class Impostor:
    """A result came from a peer that does not speak for the session that it names: it was not looked at."""

    peer: Peer
    session: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """The job cannot go on.

    Attributes:
        error: The error.
        index: The chunk that it is about; -1 for none.
    """

    error: ZaudioError
    index: int = -1


# Of the Assembler


@dataclass(frozen=True, slots=True)
class Accepted:
    """Keep the payload of this result until the chunk is released.

    `clipped`, `zeroed`: samples, and `seconds` in the op, as its worker says.
    """

    session: bytes
    index: int
    attempt: int
    clipped: int = 0
    zeroed: int = 0
    seconds: float = field(default=0.0, compare=False)  # a decision is the same however long the op took


@dataclass(frozen=True, slots=True)
class Released:
    """Give the chunk's payload to the cipher: every chunk before it was released."""

    index: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A result came for a chunk that has one."""

    session: bytes
    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A result could not be accepted, for that reason."""

    session: bytes
    index: int  # -1 for a chunk of another job
    attempt: int
    reason: str
    late: bool = False  # it belongs to a stage or a life before this one, whose worker had not heard of its end


@dataclass(frozen=True, slots=True)
class Noted:
    """Forget the payload of this result: its chunk is audited, and waits for another worker's result."""

    session: bytes
    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Liar:
    """A worker's result of a chunk differs from that of two others, which agree: the worker is out, for good."""

    session: bytes
    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Forget the payload of a chunk that was accepted on the word of a liar: it is computed again."""

    index: int
    name: str
    clipped: int = 0
    zeroed: int = 0


# Of the Session


@dataclass(frozen=True, slots=True)
class Connect:
    """Close both sockets and open a fresh one to the ventilator: a dead connection cannot be trusted."""


@dataclass(frozen=True, slots=True)
class ConnectSink:
    """Open the socket to the sink, at the first of these that the worker can reach."""

    sinks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Send this on that socket; if it cannot be sent, drop it."""

    channel: Channel
    message: Message


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send this result with its payload to the sink, and forget the payload."""

    result: Result


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the ops ready, then say `Session.prepared` or `Session.unable`."""

    ops: tuple[Step, ...]
    frames: int
    channels: int
    samplerate: int
    format: str
    grid: int
    chunk_frames: int
    order: Order
    source: Reference | None


@dataclass(frozen=True, slots=True)
class Compute:
    """Apply the ops to the chunk that just came, then say `Session.completed` or `Session.failed`."""

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget all chunks and results: their job is over."""


DispatcherAction = Send | Grant | Joined | Lost | Requeued | Stuck | TurnedAway | Impostor | Fail
AssemblerAction = Accepted | Released | Duplicate | Rejected | Noted | Liar | Withdrawn | Fail
DeskAction = DispatcherAction | AssemblerAction
SessionAction = Connect | ConnectSink | Say | Deliver | Prepare | Compute | Discard
