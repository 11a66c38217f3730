"""Desk: the coordinator's whole brain over one stage.

Inside are the Dispatcher for messages and time, the Assembler for results, and the state that they share: Leases,
Roster, Granting, Blame and Jury. The Register comes from the farm and outlives the stage.

Rules:

- The shell talks to the Desk alone. The farm is correct only if the brains inside hear of a result in one order, which
  stands in `_judge`.
- `receive` takes every message, a Result too, and its actions say all that has to be done. The caller keeps a result's
  payload if one of them is `Accepted`, gives it to the destination at `Released`, and forgets it at `Withdrawn`.
- Only a shell knows that a process died, a message could not be sent or the cipher has finished with a chunk. There is
  a method for each. The methods under "Facts" only read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zaudio.core.actions import Accepted, DeskAction, Grant, Impostor, Liar, Noted, Peer, Rejected, Withdrawn
from zaudio.core.admission import Admission
from zaudio.core.assembly import Assembler
from zaudio.core.blame import Blame
from zaudio.core.classes import StageClass
from zaudio.core.dispatch import Dispatcher
from zaudio.core.granting import Granting
from zaudio.core.job import Job, Ways
from zaudio.core.jury import Jury
from zaudio.core.leases import Leases
from zaudio.core.register import Register
from zaudio.core.roster import Roster
from zaudio.errors import ProtocolError
from zaudio.wire.messages import Message, Result

Actions = list[DeskAction]


class Desk:
    """The coordinator's brain over one stage.

    Args:
        job: The job.
        ways: The farm's sinks and outboxes.
        register: The identities and sessions that the farm knows; outlives this Desk.
        frame_bytes: Bytes per frame of a result.
        offers: Returns whether a worker that offers those ops has that one.
        now: The time at which the job begins.
    """

    def __init__(
        self,
        job: Job,
        *,
        ways: Ways,
        register: Register,
        frame_bytes: int,
        offers: Callable[[Sequence[str], str], bool],
        now: float,
    ) -> None:
        self.job = job
        self._register = register
        self._roster = Roster(job.credit, register)
        self._jury = Jury(job.audit, name=self._roster.name, chunk_of=job.chunk_of)
        self._leases = Leases(len(job.plan), job.first, answers=self._jury.answers)
        self._granting = Granting(job, self._leases, self._roster, shortage=self._jury.shortage, now=now)
        self._blame = Blame(job, self._leases, self._roster)
        self._machines = StageClass(
            job.ops, job.signal, register.classes, expected=job.machine_class, name=job.class_name
        )
        self._admission = Admission(job, register=register, roster=self._roster, machines=self._machines, offers=offers)
        self._dispatcher = Dispatcher(
            job,
            ways=ways,
            register=register,
            roster=self._roster,
            leases=self._leases,
            granting=self._granting,
            blame=self._blame,
            admission=self._admission,
            now=now,
        )
        self._assembler = Assembler(
            job.plan,
            job=job.id,
            incarnation=job.incarnation,
            frame_bytes=frame_bytes,
            grants=self._leases,
            jury=self._jury,
            name=self._roster.name,
            chunk_of=job.chunk_of,
            first=job.first,
        )

    # The verbs of a brain

    def receive(
        self, peer: Peer, message: Message, *, now: float, checksum: int | None = None, digest: bytes = b""
    ) -> Actions:
        """Take a message that `wire.decode` let pass.

        Args:
            peer: The connection that it came on.
            message: The message, from either socket.
            now: The time.
            checksum: Of a Result: the sum of the payload that came; None when no payload did.
            digest: Of a Result: an unforgeable digest of its payload, where `audits` asks for one.
        """
        if isinstance(message, Result):
            return self._judge(peer, message, checksum, digest, now)
        return [*self._dispatcher.receive(peer, message, now=now)]

    def tick(self, *, now: float) -> Actions:
        """Judge silence and deadlines, send heartbeats. Call it when both sockets are drained, if they can be."""
        return [*self._dispatcher.tick(now=now)]

    def next_deadline(self) -> float:
        """Return the time at which to call `tick` next."""
        return self._dispatcher.next_deadline()

    @property
    def finished(self) -> bool:
        """Whether every chunk was released."""
        return self._assembler.finished

    # Told by the shell

    def refuse(self, peer: Peer, error: ProtocolError) -> Actions:
        """Answer bytes that are no message of this version."""
        return [*self._dispatcher.refuse(peer, error)]

    def turned_away(self, address: str, reason: str, key: str) -> Actions:
        """Take note that the gate refused a peer: none of its messages comes here."""
        return [*self._admission.tell("", address, reason, key)]

    def progressed(self, *, ciphered: int, now: float) -> Actions:
        """Move the window: the cipher has finished with that many chunks, those of earlier lives included.

        Calling it when nothing has changed costs nothing and does nothing.
        """
        if not self._granting.move(released=self._assembler.released, ciphered=ciphered):
            return []
        return [*self._granting.grant(now)]

    def undelivered(self, grant: Grant, *, now: float) -> Actions:
        """Take back a grant that could not be sent."""
        return [*self._dispatcher.undelivered(grant, now=now)]

    def unreachable(self, session: bytes, *, now: float) -> Actions:
        """Take note that a message could not be sent to a worker: it may be dead, or come back on a new connection."""
        self._granting.doubt(session, now)
        return [*self._granting.grant(now)]

    def gone(self, session: bytes, reason: str, *, now: float) -> Actions:
        """Take note that a worker's process has died."""
        return [*self._dispatcher.gone(session, reason, blame=True, now=now)]

    def ended(self, identity: str, reason: str, *, blame: bool, now: float) -> Actions:
        """Take note that the process of that identity has ended.

        Args:
            identity: The identity.
            reason: Why it ended.
            blame: Whether the chunk that it computed may be why.
            now: The time.
        """
        sessions = [member.session for member in self._roster if member.identity == identity]
        sessions += self._register.expected(identity)  # it ended between two stages
        ends = (self._dispatcher.gone(session, reason, blame=blame, now=now) for session in sessions)
        return [action for actions in ends for action in actions]

    def admit(self, identities: frozenset[str], *, now: float) -> Actions:
        """Let these identities take part from now on, and no others."""
        return [*self._dispatcher.admit(identities, now=now)]

    def expect(self, *, awaited: bool, given_up: str) -> None:
        """Take note of workers to come, as the launchers of a job say.

        Args:
            awaited: Whether some wait in a queue: the time without a worker is not counted.
            given_up: Why none can come: without one here, the job fails at once. Empty as long as one could.
        """
        self._granting.expect(awaited=awaited, given_up=given_up)

    def farewell(self, reason: str) -> Actions:
        """Tell every worker that the job is over."""
        return [*self._dispatcher.farewell(reason)]

    # Facts

    def audits(self, index: int) -> bool:
        """Return whether a digest is needed of a result of that chunk."""
        return self._jury.audits(index)

    def outbox(self, session: bytes) -> bytes:
        """Return the token of that worker's outbox; empty when it has none, or is not known."""
        member = self._roster.get(session)
        return member.outbox if member is not None else b""

    def name(self, session: bytes) -> str:
        """Return that worker's name, or its session in short when it was never known, or long ago."""
        return self._roster.name(session)

    def key(self, session: bytes) -> str:
        """Return the name of that worker's key; empty when it has none of its own."""
        return self._register.key(session)

    def knows(self, session: bytes) -> bool:
        """Return whether that session is a living worker."""
        return self._roster.get(session) is not None

    @property
    def signs(self) -> Mapping[str, float]:
        """When each living worker was last heard of, by name, as of the last heartbeat; for any thread."""
        return self._dispatcher.signs

    @property
    def routes(self) -> tuple[Peer, ...]:
        """One connection of every living worker, so that the farm can tell all of them that another stage begins.

        One is enough: a second `Again`, behind the hello that answers the first, would take chunks back for nothing.
        """
        return tuple(member.route for member in self._roster)

    @property
    def machine_class(self) -> tuple[int, ...]:
        """The numbers of the ops on the machines that take part, 0 where none is known; for `Job.machine_class`."""
        return self._machines.numbers

    @property
    def class_name(self) -> str:
        """The name of the class of those machines; empty as long as it is open."""
        return self._machines.name

    @property
    def dropped(self) -> Mapping[bytes, int]:
        """Liars by session, each with the frames that were released on its word alone."""
        return self._jury.dropped

    def check(self) -> None:
        """Assert the invariants of everything inside."""
        self._register.check()
        self._roster.check()
        self._leases.check()
        self._granting.check()
        self._dispatcher.check()
        self._assembler.check()

    # A result

    def _judge(self, peer: Peer, result: Result, checksum: int | None, digest: bytes, now: float) -> Actions:
        actions: Actions = [*self._dispatcher.heard(result.session, peer, now=now)]
        if actions and isinstance(actions[-1], Impostor):
            return actions
        # Without a payload no sum can agree: the result is judged as one that was damaged on the way.
        checksum = checksum if checksum is not None else ~result.checksum
        accepted = noted = wrong = False
        for verdict in self._assembler.receive(result, checksum=checksum, digest=digest):
            actions.append(verdict)
            match verdict:
                case Accepted():
                    accepted = True
                case Noted():
                    noted = True
                case Rejected():
                    wrong = True
                case Liar():
                    actions += self._dispatcher.convict(verdict.session, verdict.index)
                case Withdrawn():
                    self._leases.reopen(verdict.index)
        if (result.job, result.incarnation) == (self.job.id, self.job.incarnation):
            # Last: whatever the verdict, the lease's credit is free, and more may be granted.
            actions += self._dispatcher.settled(result, accepted=accepted, noted=noted, wrong=wrong, now=now)
        return actions
