"""Diary: the lines in which a worker says that it connects, works on a job and has finished it.

Rules: one line for each of these, by a logger of its own, so that `zaudio worker` shows them without -v. Peers' words
are a part of them; the log makes them printable.
"""

from __future__ import annotations

import logging

from zaudio.wire.messages import Chunk, Goodbye, Welcome

LOGGER = "zaudio.worker.diary"
JOB_DIGITS = 8  # of its id, in hex: enough to tell jobs apart

log = logging.getLogger(LOGGER)


class Diary:
    """The diary of one worker.

    Args:
        name: The worker's name.
        endpoint: Where it connects.
    """

    def __init__(self, name: str, endpoint: str) -> None:
        self._name = name
        self._endpoint = endpoint
        self._job: tuple[bytes, int] | None = None  # that it works on, and the incarnation
        self._chunk_frames = 1
        self._chunks = 0  # computed of that job
        self._seeking = False  # it was said that it connects

    def connects(self) -> None:
        """Say that it opens connections, once until it was welcomed."""
        if not self._seeking:
            again = " again: it hears nothing of the coordinator" if self._job is not None else ""
            log.info("worker %s connects to %s%s", self._name, self._endpoint, again)
        self._seeking = True

    def welcomed(self, welcome: Welcome) -> None:
        """Say that it works on a job, unless it did before."""
        self._seeking = False
        if (welcome.job, welcome.incarnation) == self._job:
            return
        self._over("another job begins")
        self._job = (welcome.job, welcome.incarnation)
        self._chunk_frames, self._chunks = max(1, welcome.chunk_frames), 0
        ops = ", ".join(step.name for step in welcome.ops)
        log.info("worker %s works on job %s: %s", self._name, _short(welcome.job), ops)

    def dismissed(self, goodbye: Goodbye) -> None:
        """Say that the coordinator has ended a job."""
        if (goodbye.job, goodbye.incarnation) == self._job:
            self._over(goodbye.reason)

    def computed(self, chunk: Chunk) -> None:
        """Count a chunk, or a bundle of them."""
        first, last = chunk.start // self._chunk_frames, -(-chunk.stop // self._chunk_frames)
        self._chunks += max(1, last - first)

    def leaves(self, reason: str) -> None:
        """Say that it goes before its job is over."""
        if self._job is not None:
            log.info("worker %s leaves: %s; it has computed %s", self._name, reason, self._count())

    def _over(self, reason: str) -> None:
        if self._job is not None:
            job = _short(self._job[0])
            log.info("worker %s has finished job %s with %s: %s", self._name, job, self._count(), reason)
        self._job = None

    def _count(self) -> str:
        return f"{self._chunks} chunk{'' if self._chunks == 1 else 's'}"


def _short(job: bytes) -> str:
    return job.hex()[:JOB_DIGITS]
