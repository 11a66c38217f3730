"""Register: the identities, sessions and classes of machines that the farm knows, from stage to stage.

Rules:

- One farm has one register, and each stage's Desk is given it. A worker that was found to lie stays out of all stages.
- A session belongs to the identity that said hello with it first, also after its worker was lost.
- Until identities are admitted, no worker is asked for one: a worker is then no more than its session.
- A liar's identity is refused under any session, unless many workers share it.
- The number of sessions that are remembered is bounded: the oldest is forgotten first.
- Two living workers have two names: the second ``attic`` is called ``attic (2)``.
- A worker of one stage is expected at the next. If it does not come, it is lost, though no stage had it then.
- A connection may send a fixed number of hellos a second. Further ones are ignored until that second is over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain, count

from zaudio.core.actions import Lost, Peer
from zaudio.core.classes import Classes
from zaudio.core.refusals import Refusals

HELLOS = 16  # a second on one connection; a worker says one, and one more at each stage
SESSIONS_KEPT = 4096  # of those that came, and of those that were sent away: results of them may still come
REVOKED = "its key is not admitted any more"


class Register:
    """The identities and the sessions that one farm knows.

    Args:
        shared: The identity of workers that are no more than their sessions, if there are such: the coordinator's own.
            One of them that lies takes no other with it.

    Attributes:
        classes: What ops give on the machines that the farm has.
        refusals: The workers that it refused.
    """

    def __init__(self, *, shared: str | None = None) -> None:
        self.classes = Classes()
        self.refusals = Refusals()
        self._shared = shared
        self._admitted: frozenset[str] | None = None  # identities that may take part; None to ask for none
        self._keys: dict[str, str] = {}  # identity -> the name of its key; also of those that were admitted once
        self._liars: dict[str, str] = {}  # identity -> the reason that it is told; all of them were admitted once
        self._banned: dict[bytes, str] = {}  # session -> the reason that it is told, newest last
        self._known: dict[bytes, tuple[str, str]] = {}  # session -> name and identity, newest last
        self._taken: dict[str, bytes] = {}  # name -> the living session that goes by it
        self._expected: dict[bytes, float] = {}  # session that takes part in no stage -> since when; each has a name
        self._hellos: dict[bytes, int] = {}  # route -> hellos since that time; never more than HELLOS + 1
        self._hellos_since = -math.inf

    # Entries

    def admit(self, identities: frozenset[str]) -> list[Lost]:
        """Let these identities take part from now on, and no others. Return the losses of those that are expected."""
        self._admitted = identities
        revoked = [session for session in self._expected if (self.identity(session) or "") not in identities]
        return [loss for session in revoked for loss in self.miss(session, REVOKED)]

    def call(self, names: Mapping[str, str]) -> None:
        """Remember the names of identities' keys."""
        self._keys.update(names)

    def enter(self, session: bytes, name: str, identity: str) -> None:
        """Remember a session, as the newest."""
        self._known.pop(session, None)
        self._known[session] = (name, identity)
        if len(self._known) > SESSIONS_KEPT:
            oldest = next(iter(self._known))
            self.leave(oldest)
            del self._known[oldest]

    def call_apart(self, session: bytes, name: str) -> str:
        """Return the name that a session goes by from now on: one that no other living session has.

        Args:
            session: The session. It keeps its name from stage to stage.
            name: What its worker calls itself.
        """
        earlier = self.name(session)
        names = chain([name if earlier is None else earlier, name], (f"{name} ({number})" for number in count(2)))
        found = next(each for each in names if self._taken.get(each, session) == session)
        self._taken[found] = session
        self._expected.pop(session, None)
        return found

    def expect(self, *, now: float) -> None:
        """Expect all living workers: a stage begins, and none of them has come to it."""
        for session in self._taken.values():
            self._expected.setdefault(session, now)  # a stage may be too short to miss anybody

    def excuse(self, late: float, *, now: float) -> None:
        """Expect them for that much longer: this side slept."""
        self._expected = {session: min(now, since + late) for session, since in self._expected.items()}

    def missing(self, *, now: float, after: float) -> list[Lost]:
        """Return the losses of those that were expected for longer than that, in seconds; each is told once."""
        late = [session for session, since in self._expected.items() if now - since > after]
        return [loss for session in late for loss in self.miss(session, "it did not come to the next stage")]

    def expected(self, identity: str) -> list[bytes]:
        """Return the sessions of that identity that are expected."""
        return [session for session in self._expected if self.identity(session) == identity]

    def miss(self, session: bytes, reason: str) -> list[Lost]:
        """Expect a session no longer: it is gone. Return its loss, if it was expected."""
        if session not in self._expected:
            return []
        name = self.name(session) or session.hex()[:8]
        self.leave(session)
        return [Lost(session, name, reason)]

    def leave(self, session: bytes) -> None:
        """Let another worker go by the name of that session, which is gone."""
        name = self.name(session)
        self._expected.pop(session, None)
        if name is not None and self._taken.get(name) == session:
            del self._taken[name]

    def ban(self, session: bytes, reason: str) -> None:
        """Refuse that session for good."""
        self._banned[session] = reason
        if len(self._banned) > SESSIONS_KEPT:  # a worker makes as many sessions as it likes
            del self._banned[next(iter(self._banned))]

    def ban_identity(self, identity: str, reason: str) -> bool:
        """Refuse every session of that identity for good; return False when it is not one worker's alone."""
        if self._admitted is None or identity == self._shared:
            return False
        self._liars[identity] = reason
        return True

    def greet(self, peer: Peer, *, now: float) -> bool:
        """Count a hello; return False when that connection has said enough of them within this second."""
        if not 0 <= now - self._hellos_since < 1:
            self._hellos.clear()  # of all at once: there are no more of them than connections
            self._hellos_since = now
        said = self._hellos.get(peer.route, 0)
        self._hellos[peer.route] = min(HELLOS, said) + 1
        return said < HELLOS

    def deaf(self, peer: Peer, *, now: float) -> bool:
        """Return whether that connection has said too many hellos within this second: nothing of it need be read."""
        return self._hellos.get(peer.route, 0) > HELLOS and 0 <= now - self._hellos_since < 1

    # Facts

    def bar(self, peer: Peer, owner: str | None) -> str:
        """Return why nothing of a session may come from that peer; empty when it may.

        Args:
            peer: The connection.
            owner: The identity to which the session belongs; None when it is not known.
        """
        if self._admitted is None:
            return ""
        if peer.identity not in self._admitted:
            return REVOKED
        if peer.identity in self._liars:
            return self._liars[peer.identity]
        return "" if owner is None or owner == peer.identity else "that session belongs to another key"

    def admits(self, identity: str) -> bool:
        """Return whether that identity may take part."""
        return self._admitted is None or (identity in self._admitted and identity not in self._liars)

    def banned(self, session: bytes) -> str:
        """Return why that session is refused for good; empty when it is not."""
        return self._banned.get(session, "")

    def name(self, session: bytes) -> str | None:
        """Return the name of that session's worker; None when it was never known, or long ago."""
        known = self._known.get(session)
        return known[0] if known is not None else None

    def identity(self, session: bytes) -> str | None:
        """Return the identity that the session belongs to; None when it was never known, or long ago."""
        known = self._known.get(session)
        return known[1] if known is not None else None

    def key(self, session: bytes) -> str:
        """Return the name of the key by which that session was admitted; empty when it has none of its own."""
        return self._keys.get(self.identity(session) or "", "")

    def key_of(self, identity: str) -> str:
        """Return the name of that key; the key itself if it has none, and nothing for the one that many share."""
        return self._keys.get(identity) or ("" if identity == self._shared else identity)

    @property
    def asks(self) -> bool:
        """Whether a worker needs an identity."""
        return self._admitted is not None

    def check(self) -> None:
        """Assert the invariants."""
        self.classes.check()
        self.refusals.check()
        assert len(self._known) <= SESSIONS_KEPT, "sessions are bounded"
        assert all(1 <= said <= HELLOS + 1 for said in self._hellos.values()), "hellos beyond are not counted"
        assert all(self.name(session) == name for name, session in self._taken.items()), "a name is its session's"
        assert set(self._expected) <= set(self._taken.values()), "who is expected has a name"
        assert len(self._banned) <= SESSIONS_KEPT, "banned sessions are bounded"
        assert self._shared not in self._liars, "an identity that many share is nobody's alone"
