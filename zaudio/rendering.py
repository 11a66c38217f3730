"""Rendering: one job, from a recording to a file that plays. A Coordinator without reversal and encryption.

Rules: those of `zaudio.job.life`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from zaudio.errors import UsageError
from zaudio.events import Event
from zaudio.facts import Report
from zaudio.job.life import Life
from zaudio.job.preparation import DoneJob, OpenJob, open_job
from zaudio.job.request import parse_request
from zaudio.job.stages import Work
from zaudio.net.wake import Waker
from zaudio.ops.spec import Requested
from zaudio.settings import Limits, Network, Playable, Raw, Security
from zaudio.timing import Timing


def render(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | Playable,
    *,
    ops: Requested | Sequence[Requested] = (),
    workers: int | None = None,
    bind: str | None = None,
    chunk: str | int | None = None,
    overwrite: bool = False,
    fresh: bool = False,
    raw: Raw = Raw(),
    network: Network = Network(),
    security: Security = Security(),
    limits: Limits = Limits(),
    timing: Timing | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Report:
    """Make a file that plays, as `Rendering` does, and wait for its end.

    Raises:
        ZaudioError: See `Rendering`, and its `start` and `wait`.

    Example:
        >>> render("take.wav", "louder.flac", ops="gain:db=3", workers=4)  # doctest: +SKIP
    """
    return Rendering(
        input,
        output,
        ops=ops,
        workers=workers,
        bind=bind,
        chunk=chunk,
        overwrite=overwrite,
        fresh=fresh,
        raw=raw,
        network=network,
        security=security,
        limits=limits,
        timing=timing,
        on_event=on_event,
    ).run()


class Rendering(Life[Report]):
    """One job: a recording, what to do with it, and the file that is made of it.

    Args:
        input: The recording, as for `Coordinator`.
        output: The file. Its suffix says the kind: WAV, FLAC or raw samples. `zaudio.Playable` says its format, too.
        ops: The operations on the samples; by default none.
        workers: As for `Coordinator`, and so are the others.
        bind: The endpoint where workers from elsewhere connect.
        chunk: Chunk size.
        overwrite: Replace an older file, at the instant of publication.
        fresh: Discard an interrupted job. By default it is resumed, if it is this very job.
        raw: How raw samples lie in their file.
        network: How workers reach the farm.
        security: Keys and audits. The settings of an encryption key belong to a sealed result.
        limits: Memory and timeouts.
        timing: All durations.
        on_event: Called with every event.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.

    Example:
        >>> report = Rendering("take.wav", "louder.flac", ops="gain:db=3", workers=4).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        input: str | os.PathLike[str],
        output: str | os.PathLike[str] | Playable,
        *,
        ops: Requested | Sequence[Requested] = (),
        workers: int | None = None,
        bind: str | None = None,
        chunk: str | int | None = None,
        overwrite: bool = False,
        fresh: bool = False,
        raw: Raw = Raw(),
        network: Network = Network(),
        security: Security = Security(),
        limits: Limits = Limits(),
        timing: Timing | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        request = parse_request(
            os.fspath(input),
            output if isinstance(output, Playable) else Playable(output),
            ops=ops,
            workers=workers,
            bind=bind,
            chunk=chunk,
            overwrite=overwrite,
            fresh=fresh,
            raw=raw,
            network=network,
            security=security,
            limits=limits,
            timing=timing,
        )
        if isinstance(output, Playable) and output.suffix is not None:
            raise UsageError("suffix is of a batch; of a single file the path says it, so leave it out")
        super().__init__(request, on_event)

    @property
    def resumable(self) -> bool:
        """Whether the job has ended, or would end now, with something done that the same job can go on from."""
        done = self.done() and self._failure is None
        return not done and isinstance(self._work, OpenJob) and self._work.writer.kept

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the job's page, of this life of the job; after `start`.

        Empty when the job was done already.
        """
        return self._work.writer.page_token if isinstance(self._work, OpenJob) else ""

    def _prepare(self, stack: ExitStack, waker: Waker) -> Work | DoneJob:
        return open_job(self._request, stack, notify=waker.wake, publish=self._stream.publish, pause=self._go_on)

    def _outcome(self) -> Report:
        return self._ledger.report()
