"""Reader: the thread that reads the frames of granted chunks, so that a slow disk never stops the poll loop.

Rules: everything comes out in the order in which it went in. A `Sent` must not overtake the chunks that it speaks of,
so it goes this way too.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import xxhash

from zaudio.core.actions import Grant, Send
from zaudio.lot import LotPlan
from zaudio.plan import Plan, Span
from zaudio.program import keep_freed_memory
from zaudio.steps import Buffer

STOP_PATIENCE = 2.0  # s; only a read that the disk does not answer takes longer


class Frames(Protocol):
    """A recording, as the Reader uses it."""

    def read(self, start: int, stop: int) -> Buffer:
        """Return the bytes of those frames."""


@dataclass(frozen=True, slots=True)
class Read:
    """A granted chunk with its frames."""

    grant: Grant
    span: Span
    payload: Buffer
    checksum: int


class Reader:
    """Reads chunks in the order of the requests.

    Args:
        sources: The recording, or those of a lot.
        plan: Their cutting.
        notify: Called from the thread when there is something in `done`, or an error.
    """

    def __init__(self, sources: Sequence[Frames], plan: Plan | LotPlan, *, notify: Callable[[], None]) -> None:
        self.done: deque[Read | Send] = deque()
        self.error: Exception | None = None
        self.failed: Grant | None = None  # the grant that the error is about
        self.reading = 0.0  # seconds that the thread read and summed
        self._sources = sources
        self.plan = plan
        self._notify = notify
        self._asked: SimpleQueue[Grant | Send | None] = SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="zaudio-reader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self, action: Grant | Send) -> None:
        """Read the frames of a grant; pass anything else on behind those before it."""
        self._asked.put(action)

    def stop(self) -> None:
        """End the thread; requests that wait are forgotten."""
        self._stopped = True
        self._asked.put(None)
        if self._thread.is_alive():
            # Not without end: a file system that does not answer must not hold up the job's end.
            self._thread.join(STOP_PATIENCE)

    def _run(self) -> None:
        keep_freed_memory()  # of payloads that were sent
        while (action := self._asked.get()) is not None and not self._stopped:
            try:
                self.done.append(self._read(action) if isinstance(action, Grant) else action)
            except Exception as error:  # noqa: BLE001  a thread that ends in silence leaves the farm waiting
                self.failed = action if isinstance(action, Grant) else None
                self.error = error
            self._notify()
            if self.error is not None:
                return

    def _read(self, grant: Grant) -> Read:
        span = self.plan.span(grant.index)
        began = time.monotonic()
        payload = self._sources[span.recording].read(span.input_start, span.input_stop)
        checksum = xxhash.xxh3_64_intdigest(payload)
        self.reading += time.monotonic() - began
        return Read(grant, span, payload, checksum)
