"""Stage: one go over the recording by the farm. The shell around one Desk: its reader, its payloads, its destination.

Rules:

- The Desk decides, the stage does. The farm hears and sends for it; a stage has no socket.
- A stage opens on a farm once. Its destination was opened before, and is published or aborted by its owner.
- Every action of the Desk that a user may know becomes a public event, here and nowhere else.
- A payload is summed before its sender is judged: the Desk compares sums, and never sees samples.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Protocol

import xxhash

from zaudio.core.actions import (
    Accepted,
    DeskAction,
    Fail,
    Grant,
    Impostor,
    Liar,
    Lost,
    Peer,
    Released,
    Send,
    Stuck,
    Withdrawn,
)
from zaudio.core.desk import Desk
from zaudio.core.job import Job, Ways
from zaudio.core.telling import Teller, said
from zaudio.errors import ProtocolError, UsageError, ZaudioError
from zaudio.events import Advanced, Event
from zaudio.net.destination import Destination
from zaudio.net.failure import log_failure
from zaudio.net.local import LocalWorkers
from zaudio.net.payloads import Payloads
from zaudio.net.reader import Frames, Reader
from zaudio.plan import Span
from zaudio.steps import Buffer
from zaudio.wire.codec import decode, encode
from zaudio.wire.messages import Chunk, Failed, Heartbeat, Message, Result, Sent, Welcome

log = logging.getLogger("zaudio.coordinator")

SendMessage = Callable[[Peer, Message, Buffer | None], bool]  # False: the peer is gone, or takes nothing more


class Stage:
    """One go over the recording.

    Args:
        job: The job, as workers see it.
        sources: The recording, or those of a lot, in their order.
        destination: An open destination.
        frame_bytes: Bytes per frame of a result.
        notify: Wakes the farm; from any thread.
        publish: Takes every public event.
        name: The name that events call this stage by.
        skip: Bytes of the first result that the destination has already.

    Attributes:
        failed: The number of the recording that a failure is about; None for all of them, or before there is one.
    """

    def __init__(
        self,
        job: Job,
        *,
        sources: Sequence[Source],
        destination: Destination,
        frame_bytes: int,
        notify: Callable[[], None],
        publish: Callable[[Event], None],
        name: str = "main",
        skip: int = 0,
    ) -> None:
        self.job = job
        self.frame_bytes = frame_bytes
        self.name = name
        self.failed: int | None = None
        self._sources = sources
        self._destination = destination
        self._reader = Reader(sources, job.plan, notify=notify)
        self._payloads = Payloads(destination, skip=skip)
        self._publish = publish
        self._advanced = job.first  # bundles that were last told to be done
        self._sealing = False
        self._shown = ""  # the failure that was logged last: the same one again would say nothing new
        self._failure: ZaudioError | None = None

    # The farm opens and closes it

    def open(self, desk: Desk, ways: Ways, send: SendMessage, local: LocalWorkers | None, *, keys: str = "") -> None:
        """Take a Desk, and the farm's means to reach workers; start to read. `keys` is the farm's folder of keys.

        Raises:
            UsageError: A worker could not be told of this job.
        """
        self._check_welcome(ways)
        self._desk = desk
        self._send, self._local = send, local
        self._keys = keys
        self._teller = Teller(desk, job=self.job.id.hex(), stage=self.name)
        self._reader.start()

    def close(self) -> None:
        """Stop reading, and free the memory. The destination belongs to its owner."""
        self._reader.stop()
        self._payloads.clear()

    @property
    def result_max(self) -> int:
        """Bytes of the longest result."""
        return self.job.plan.longest * self.frame_bytes

    @property
    def machine_class(self) -> tuple[int, ...]:
        """The numbers of the ops on the machines that take part, 0 where none is known; for `Job.machine_class`."""
        return self._desk.machine_class

    @property
    def class_name(self) -> str:
        """The name of the class of those machines, as `Job.class_name` asks for it; empty as long as it is open."""
        return self._desk.class_name

    @property
    def sealed(self) -> bool:
        """Whether everything lies at the destination, sealed."""
        return self._destination.sealed

    # Messages in

    def receive(self, peer: Peer, message: Message, payload: Buffer | None, *, now: float) -> None:
        """Take a message, and the payload that came behind its header."""
        if isinstance(message, Result):
            self._receive_result(peer, message, payload, now)
            return
        if isinstance(message, Failed):
            self._check_source(message.index)  # a recording that changed is to blame before any chunk is
            if self._desk.knows(message.session) and message.error != self._shown:
                log_failure(log, f"the op failed at worker {self._desk.name(message.session)}", message.error)
                self._shown = message.error
        self.do(self._desk.receive(peer, message, now=now))

    def _check_source(self, index: int) -> None:
        """Make sure that the recording of a chunk, which a worker named, has not changed."""
        if not 0 <= index < len(self.job.plan):
            return
        number = self.job.plan.span(index).recording
        try:
            self._sources[number].check()
        except ZaudioError:
            self.failed = number
            raise

    def _receive_result(self, peer: Peer, result: Result, payload: Buffer | None, now: float) -> None:
        if payload is None:
            payload = self._copy_from_outbox(result)
        checksum = xxhash.xxh3_64_intdigest(payload) if payload is not None else None
        audited = payload is not None and self._desk.audits(result.index)
        digest = sha256(payload).digest() if audited and payload is not None else b""
        actions = self._desk.receive(peer, result, now=now, checksum=checksum, digest=digest)
        if payload is not None and any(isinstance(action, Accepted) for action in actions):
            self._payloads.keep(result.index, payload)
        elif payload is not None:
            self._payloads.give_back(payload)
        self.do(actions)

    def _copy_from_outbox(self, result: Result) -> memoryview | None:
        """Return a copy of the slot that a result names; None when there is no such slot."""
        if self._local is None or not self._local.has_room(result.length):
            return None
        payload = self._payloads.take(result.length)
        if self._local.copy(self._desk.outbox(result.session), result.slot, payload):
            return payload
        self._payloads.give_back(payload)
        return None

    def refuse(self, peer: Peer, error: ProtocolError) -> None:
        """Answer bytes that are no message."""
        self.do(self._desk.refuse(peer, error))

    # Facts that the farm alone can know

    def gone(self, session: bytes, cause: str, *, now: float) -> None:
        """Take note that a local worker's process has died."""
        self.do(self._desk.gone(session, cause, now=now))

    def ended(self, identity: str, cause: str, *, blame: bool, now: float) -> None:
        """Take note that the process with that key has ended, and whether its chunk may be to blame."""
        self.do(self._desk.ended(identity, cause, blame=blame, now=now))

    def turned_away(self, address: str, reason: str, key: str) -> None:
        """Take note that the gate refused a peer."""
        self.do(self._desk.turned_away(address, reason, key))

    def admit(self, identities: frozenset[str], *, now: float) -> None:
        """Let these identities take part from now on, and no others."""
        self.do(self._desk.admit(identities, now=now))

    # Time

    def turn(self, now: float) -> None:
        """Send what was read, let the destination's progress move the window, seal at the end.

        Raises:
            ZaudioError: The stage failed.
        """
        self._send_what_was_read()
        self._raise_failure()  # first: a stage that failed seals nothing
        self._follow_destination(now)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is None and self._reader.error is not None and self._reader.failed is not None:
            self.failed = self.job.plan.span(self._reader.failed.index).recording
        for error in (self._failure, self._reader.error, self._destination.error):
            if error is not None:
                raise error

    def tick(self, *, now: float) -> None:
        """Let the Desk judge silence and deadlines."""
        actions = self._desk.tick(now=now)
        for action in actions:
            # Only here is a loss one by silence: a worker that says goodbye ends by itself, and has yet to say why.
            if isinstance(action, Lost):
                self._kill(action.session, f"it was killed: {action.reason}")
        self.do(actions)

    def _follow_destination(self, now: float) -> None:
        done = self.job.first + self._payloads.settle()
        if done != self._advanced:
            self._advanced = done
            self._publish(self._progress(done))
        self.do(self._desk.progressed(ciphered=done, now=now))
        if self._desk.finished and not self._sealing:
            self._sealing = True
            self._destination.seal()

    def _progress(self, done: int) -> Advanced:
        frames = self.job.plan.output_before(done)
        encrypting, storing = self._destination.spent
        return Advanced(
            at=time.monotonic(),
            job=self.job.id.hex(),
            stage=self.name,
            chunks=self.job.chunks_before(done),
            bytes=frames * self.frame_bytes,
            encrypting=encrypting,
            storing=storing,
            reading=self._reader.reading,
        )

    # Messages out

    def do(self, actions: Iterable[DeskAction]) -> None:
        """Publish the decisions of the Desk as events, and do them."""
        for action in actions:
            # Told first: an action that cannot be done makes others, and their events come behind its own.
            if (event := self._teller.tell(action, time.monotonic())) is not None:
                self._log(event)
                self._publish(event)
            match action:
                case Released():
                    self._payloads.release(action.index)
                case Grant(by_reference=True):
                    self._grant(action, self.job.plan.span(action.index), None, 0)
                case Grant() | Send(message=Sent()):
                    self._reader.ask(action)
                case Send():
                    self._tell(action)
                case Fail() if self._failure is None:
                    self._failure = action.error
                    self.failed = self.job.plan.span(action.index).recording if action.index >= 0 else None
                case Stuck():
                    self._kill(action.session, "it was killed, past the deadline of a chunk")
                case Liar():
                    log.warning(
                        "worker %s was dropped: its result of chunk %d is not that of two others%s",
                        action.name,
                        self.job.chunk_of(action.index),
                        self._remedy(self._desk.key(action.session)),
                    )
                    self._kill(action.session, "it was killed: its result was not that of two others")
                case Withdrawn():
                    self._payloads.withdraw(action.index)
                case Impostor():
                    log.warning("%s sent a result of a session that it does not speak for", action.peer.identity)

    def _log(self, event: Event) -> None:
        sentence = said(event)
        log.log(logging.INFO if sentence else logging.DEBUG, "%s", sentence or event)

    def _remedy(self, key: str) -> str:
        if not key:
            return ""
        command = f"zaudio keys revoke {key} --keys {shlex.quote(self._keys)}"
        return f"; `{command}` keeps its key out of other jobs too"

    def _kill(self, session: bytes, reason: str) -> None:
        if self._local is not None:
            self._local.kill(session, reason)

    def _send_what_was_read(self) -> None:
        while self._reader.done:
            read = self._reader.done.popleft()
            if isinstance(read, Send):
                self._tell(read)
            elif self._desk.knows(read.grant.session):
                self._grant(read.grant, read.span, read.payload, read.checksum)

    def _tell(self, action: Send) -> None:
        # A worker that dies is known by its closed connections long before its silence tells.
        if not self._send(action.peer, action.message, None) and isinstance(action.message, Heartbeat | Sent):
            self.do(self._desk.unreachable(action.message.session, now=time.monotonic()))

    def _grant(self, grant: Grant, span: Span, payload: Buffer | None, checksum: int) -> None:
        header = Chunk(
            job=self.job.id,
            incarnation=self.job.incarnation,
            session=grant.session,
            sequence=grant.sequence,
            index=grant.index,
            attempt=grant.attempt,
            start=span.start,
            stop=span.stop,
            input_start=span.input_start,
            input_stop=span.input_stop,
            length=span.input_frames * self.job.signal.frame_bytes,
            checksum=checksum,
            slot=grant.slot,
            frames=self.job.frames_of(span.recording),
        )
        if not self._send(grant.peer, header, payload):
            self.do(self._desk.undelivered(grant, now=time.monotonic()))

    def _check_welcome(self, ways: Ways) -> None:
        """Make sure that a welcome can carry the ops, before there is a worker."""
        try:
            decode(encode(self.job.welcome(bytes(16), ways.sinks, self.job.source)), frozenset({Welcome}))
        except ProtocolError as error:
            raise UsageError(f"workers cannot be told of this job: {error}") from None


class Source(Frames, Protocol):
    """The recording, as a stage needs it: see `zaudio.audio.Source`."""

    def check(self) -> None:
        """Make sure that the recording has not changed.

        Raises:
            InputChangedError: It changed.
        """
