"""Admission: whether a worker may take part in a stage, and its refusal if it cannot.

Rules:

- Pure but for the register's list of refusals. It reads the roster and changes no member.
- A refusal is told to its worker, always, and to users as `zaudio.core.refusals` says.
- Only a hello is a try to take part. Other messages from workers that cannot are answered without an event: their loss
  was told before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zaudio.core.actions import Peer, Send, TurnedAway
from zaudio.core.classes import Machine, StageClass
from zaudio.core.job import Job
from zaudio.core.register import Register
from zaudio.core.roster import Member, Roster
from zaudio.wire.codec import cut
from zaudio.wire.messages import VERSION, Hello, Message, Refused


class Admission:
    """The admission to one stage.

    Args:
        job: The job.
        register: The identities and sessions that the farm knows.
        roster: The stage's living workers.
        machines: Its class of machines.
        offers: Returns whether a worker that offers those ops has that one.
    """

    def __init__(
        self,
        job: Job,
        *,
        register: Register,
        roster: Roster,
        machines: StageClass,
        offers: Callable[[Sequence[str], str], bool],
    ) -> None:
        self._job = job
        self._register = register
        self._roster = roster
        self._machines = machines
        self._offers = offers

    def bar(self, peer: Peer, session: bytes) -> str:
        """Return why nothing of that session may come from that peer; empty when it may."""
        return self._register.bar(peer, self._roster.owner(session)) if self._register.asks else ""

    def objection(self, hello: Hello) -> str:
        """Return why the worker that says this hello cannot take part; empty when it can."""
        if banned := self._register.banned(hello.session):
            return banned
        if hello.version != VERSION:
            return f"it speaks protocol version {hello.version}, this coordinator speaks {VERSION}"
        return self._job.missing(hello.ops, self._offers)

    def judge(self, numbers: Sequence[int], machine: Machine) -> str:
        """Return why a machine with those numbers is of another class than the job; empty when it is not."""
        return self._machines.judge(numbers, machine)

    def refuse(self, peer: Peer, reason: str, message: Message | None = None) -> list[Send | TurnedAway]:
        """Refuse the sender of a message, or of bytes that were no message."""
        send = Send(peer, Refused(cut(reason)))
        if message is None:
            return [send, *self.tell("", "", reason, peer.identity)]
        if isinstance(message, Hello):
            return [send, *self.tell(message.name, message.host, reason, peer.identity)]
        return [send]

    def refuse_member(self, member: Member, reason: str) -> list[TurnedAway]:
        """Tell that a worker was refused that had been welcomed: its machine is of another class."""
        return self.tell(member.name, member.machine.host, reason, member.identity)

    def tell(self, name: str, host: str, reason: str, identity: str) -> list[TurnedAway]:
        """Take note of a refusal.

        Args:
            name: The name of the worker; empty when it is not known.
            host: Its machine or its address; empty when neither is known.
            reason: Why.
            identity: Its public key; empty when it has none.
        """
        return self._register.refusals.take(TurnedAway(name, host, cut(reason), self._register.key_of(identity)))
