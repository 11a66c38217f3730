"""Coordinator: one job, from a recording to its result. It prepares the job, runs it on a farm, and publishes.

Rules: those of `zaudio.job.life`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from zaudio.events import Event
from zaudio.facts import Report
from zaudio.job.life import Life
from zaudio.job.preparation import open_job
from zaudio.job.ready import DoneJob, OpenJob
from zaudio.job.request import parse_request
from zaudio.job.stages import OpenWork
from zaudio.net.wake import Waker
from zaudio.ops.spec import Requested
from zaudio.settings import Limits, Network, Raw, Sealed, Security
from zaudio.timing import Timing


class OneResult(Life[Report]):
    """One job with one result that is published, whatever kind it is."""

    @property
    def resumable(self) -> bool:
        """Whether the job has ended, or would end now, with something done that the same job can go on from."""
        done = self.done() and self._failure is None
        return not done and isinstance(self._work, OpenJob) and self._work.writer.kept

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the job's page; after `start`. Empty when the job was done already.

        It is the same in all lives of a job with a sealed result: it is derived from the encryption key, which it does
        not tell. A file that plays has another one in each life.
        """
        return self._work.writer.page_token if isinstance(self._work, OpenJob) else ""

    def _prepare(self, stack: ExitStack, waker: Waker) -> OpenWork | DoneJob:
        return open_job(
            self._request, stack, notify=waker.wake, publish=self._stream.publish, check_stop=self._raise_if_stopped
        )

    def _outcome(self) -> Report:
        return self._ledger.report()


class Coordinator(OneResult):
    """One job: a recording, ops on its samples, and a folder for the sealed result.

    Args:
        input: The recording: raw samples, a file that says how its samples lie, such as WAV or FLAC, ``-`` for
            standard input, or the folder of a sealed result.
        output: The folder for the four files of the result. `zaudio.Sealed` says the order of frames, too, and whether
            a WAV is inside.
        ops: The operations on the samples, one or a sequence, applied in order; an empty one copies them. Each is a
            SPEC such as ``"gain:db=-3"``, the value of ``zaudio.op("gain", db=-3)``, a function of an importable
            module or a `functools.partial` of one, or an object of a class of yours that derives from `zaudio.Op`.
        workers: Number of local worker processes. By default one per core, or none when `bind` is given.
        bind: The endpoint where workers from elsewhere connect, ``tcp://HOST:PORT`` (port 0 for any free one). By
            default only local workers take part.
        chunk: Chunk size: bytes (``"1MiB"`` or an int), seconds (``"1s"``) or frames (``"44100f"``).
        overwrite: Replace an older result, at the instant of publication.
        fresh: Discard an interrupted job in that folder. By default it is resumed, if it is this very job.
        raw: How raw samples lie in their file: sample rate, channels, format; and whether a truncated file is taken.
        network: How workers reach the farm, besides `bind`.
        security: Keys, the recipient of the encryption key, audits.
        limits: Memory and timeouts.
        timing: All durations, in place of the timeouts of `limits`.
        on_event: Called with every event of `zaudio.events`, in a thread of its own. An exception of it is logged, and
            the job goes on. When it is slower than the events, some are left out, and a `Missed` has their number.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.

    Example:
        >>> report = Coordinator("take.raw", "out", ops="invert", workers=4).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        input: str | os.PathLike[str],
        output: str | os.PathLike[str] | Sealed = "generated_data",
        *,
        ops: Requested | Sequence[Requested] = "invert",
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
            output if isinstance(output, Sealed) else Sealed(output),
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
        super().__init__(request, on_event)
