"""Batch: many recordings on one farm, a result each. The farm's workers stay warm between them.

Rules: those of `zaudio.job.life`. A recording that fails is reported, and fails nothing else. Run again, a batch does
what is left: see `zaudio.batching.manifest`.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Any

from zaudio.audio.container import container_of
from zaudio.batching.ends import Ends
from zaudio.batching.manifest import Manifest, name_all
from zaudio.batching.opener import Opener
from zaudio.batching.roll import Roll
from zaudio.batching.secret import page_token
from zaudio.batching.weights import Weights
from zaudio.batching.work import OpenBatch, job_of
from zaudio.errors import UsageError
from zaudio.events import Event, State, StateChanged
from zaudio.facts import BatchProgress, BatchReport, Listed, Progress, RecordingReport
from zaudio.job.life import Life, takes_arguments_of
from zaudio.job.ready import DoneJob
from zaudio.job.request import parse_request
from zaudio.job.stages import OpenWork, Say, import_named
from zaudio.net.wake import Waker
from zaudio.ops.chain import make_ops
from zaudio.ops.spec import Requested
from zaudio.result.publication import RESULT
from zaudio.settings import Limits, Network, Playable, Raw, Sealed, Security

LOOK = 0.1  # s between two looks at whether a batch has ended


def _ending(output: object) -> str:
    """Return the suffix of the files that a batch makes; empty for sealed results.

    Raises:
        UsageError: It is missing, or names no kind of file.
    """
    if not isinstance(output, Playable):
        return ""
    if not output.ending:
        raise UsageError("a batch makes a file for each recording: give its kind, as in Playable(folder, suffix='wav')")
    container_of(f"NAME{output.ending}")
    return output.ending


def _without_own(paths: Sequence[str], manifest: Manifest, folder: str) -> tuple[list[str], list[str]]:
    """Return the files that are no results of this folder, and a sentence about those that are left out, if some are.

    Otherwise ``batch takes/* -o takes`` would work on its own results when it is run again.

    Raises:
        UsageError: All of them are results.
    """
    own = [path for path in paths if manifest.is_own(path)]
    if not own:
        return list(paths), []
    more = f" and {len(own) - 1} more" if len(own) > 1 else ""
    sentence = f"{own[0]}{more}: left out, as what batches have made in {folder}"
    remedy = "to work on that, choose another folder with -o"
    if len(own) == len(paths):
        raise UsageError(f"{sentence}, and no recording is left; {remedy}")
    left = set(own)
    return [path for path in paths if path not in left], [f"{sentence}; {remedy}"]


def _size_of(path: str) -> int:
    """Return the bytes of a recording's file, or of the ciphertext of a sealed result; 0 when the file is missing."""
    for file in (os.path.join(path, RESULT), path):
        with suppress(OSError, ValueError):
            return os.stat(file).st_size
    return 0


@dataclasses.dataclass(frozen=True, slots=True)
class _DoneBatch(DoneJob):
    """A batch with nothing left to farm."""

    ends: Ends

    def tell(self, say: Say) -> None:
        """Say how its recordings ended, and that it is done."""
        self.ends.tell(say)
        say(StateChanged, state=State.DONE)


class Batch(Life[BatchReport]):
    """Many recordings on one farm, a result each at ``output/NAME``, or a file that plays at ``output/NAME.wav``.

    Args:
        inputs: The recordings. A file that is named twice counts once.
        output: The folder of the results and of `manifest.jsonl`; or a `Sealed` with it, which says how each is
            stored; or a `Playable` with it and a suffix, which makes files that play. A result has the name of its
            recording, without the suffix; equal names are told apart by a number: ``take``, ``take-2``.
        ops: The operations. They and all arguments that are not listed here are as for `Coordinator`. By default
            ``invert``, and none for files that play.
        max_fails: The number of recordings that fail, 1 or more, at which the batch ends.
        overwrite: Replace older results that are not those of this batch.
        security: Keys and audits. There is a key for each result, so it cannot go to one file elsewhere.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.
    """

    def __init__(
        self,
        inputs: Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str] | Sealed | Playable,
        *,
        ops: Requested | Sequence[Requested] | None = None,
        workers: int | None = None,
        bind: str | None = None,
        chunk: str | int | None = None,
        max_fails: int | None = None,
        overwrite: bool = False,
        fresh: bool = False,
        raw: Raw = Raw(),
        network: Network = Network(),
        security: Security = Security(),
        limits: Limits = Limits(),
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if isinstance(inputs, str | bytes | os.PathLike):
            raise UsageError(f"inputs is a list of files, not {inputs!r:.80}")
        ending = _ending(output)
        request = parse_request(
            "",
            output,
            ops=ops if ops is not None else () if ending else "invert",
            workers=workers,
            bind=bind,
            chunk=chunk,
            overwrite=overwrite,
            fresh=fresh,
            raw=raw,
            network=network,
            security=security,
            limits=limits,
        )
        if security.key_out is not None:
            raise UsageError("key_out: a batch has a key for each result; leave it out, or give a recipient")
        if not (max_fails is None or (type(max_fails) is int and max_fails > 0)):
            raise UsageError(f"max_fails: expected 1 or more, got {max_fails!r:.80}")
        super().__init__(request, on_event)
        self._ending = ending
        self._inputs = [os.fspath(path) for path in inputs]
        self._weights = Weights()
        self._max_fails = max_fails
        self._verify = False
        self._batch: OpenBatch | None = None
        self._ends: Ends | None = None
        self._roll = Roll(())
        self._reports: SimpleQueue[RecordingReport] = SimpleQueue()

    def verify_skipped(self) -> None:
        """Verify results of an earlier run as a whole before their recordings are skipped. Call it before the start.

        Otherwise the manifest is compared with the tag of a sealed result, or with size and time of a file that plays;
        and in either case with size and time of the recording.
        """
        self._verify = True

    def reports(self) -> Iterator[RecordingReport]:
        """Yield the report of each recording as it ends, once; then wait for the end of the batch.

        Raises:
            ZaudioError: See `wait`.
        """
        while True:
            over = self.done()  # first: what ended before that is in the queue
            try:
                yield self._reports.get(timeout=0 if over else LOOK)
            except Empty:
                if over:
                    break
        self.wait()

    def take(self) -> list[RecordingReport]:
        """Return the reports of the recordings that have ended since the last call; never wait."""
        taken = []
        with suppress(Empty):
            while True:
                taken.append(self._reports.get_nowait())
        return taken

    def sums(self) -> BatchReport:
        """Return the sums of a batch that has ended, also by an error or by `stop`.

        Raises:
            UsageError: It goes on, or was refused before it began.
        """
        if not self.done() or self._ends is None:
            raise UsageError("there are no sums: the batch has not begun, or has not ended")
        counts, failure = self._ends.counts, self._failure
        return BatchReport(
            recordings=len(self._inputs),
            done=counts["done"],
            failed=counts["failed"],
            skipped=counts["skipped"],
            bytes=self._ends.bytes,
            seconds=self.progress.seconds,
            workers=self._ledger.workers,
            warnings=self.warnings,
            sentence=str(failure or ""),
            error=type(failure).__name__ if failure is not None else "",
        )

    @property
    def progress(self) -> BatchProgress:
        """How far the batch has come."""
        own, done, passed = self._stage(), 0, 0
        if self._batch is not None:
            own, done, passed = self._batch.done_bytes(self._stage)
        facts = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
        # A copy: recordings end meanwhile.
        counts = dict(self._ends.counts) if self._ends is not None else {"done": 0, "failed": 0, "skipped": 0}
        return BatchProgress(
            **facts | {"chunks": len(self._inputs), "done": sum(counts.values())},
            skipped=counts["skipped"],
            failed=counts["failed"],
            input_bytes=self._weights.total,
            input_bytes_done=done,
            input_bytes_passed=passed,
        )

    def _stage(self) -> Progress:
        """Return how far the stage is that runs."""
        return self._ledger.progress(time.monotonic())

    def listed(self) -> Listed:
        """Return where the recordings stand, at most 200 of them: those that run and those that failed come first."""
        own = self._stage()
        return self._roll.listed(own.fraction if own.bytes else 0.0)

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the batch's page, the same in all runs with this folder; after `start`.

        It is derived from a secret beside the manifest, since each result has a key of its own. Empty when all
        recordings had ended already.

        Raises:
            StorageError: The secret cannot be written.
        """
        return page_token(self._request.output) if isinstance(self._work, OpenBatch) else ""

    @property
    def named(self) -> tuple[str, ...]:
        """The paths of files and folders that the user named."""
        return (*super().named, *self._inputs)

    def _prepare(self, stack: ExitStack, waker: Waker) -> OpenWork | DoneJob:
        request = self._request
        ops = make_ops(request.specs, import_named(request.specs))
        manifest = stack.enter_context(Manifest(request.output))
        inputs, own = _without_own(self._inputs, manifest, request.output)
        known = manifest.names(self._ending)
        named, twice = name_all(inputs, known, self._ending, others=manifest.outputs)
        named = [each._replace(size=_size_of(each.path)) for each in named]
        self._inputs = [each.path for each in named]
        self._weights = weights = Weights(named)
        self._roll = Roll(self._inputs)
        self._ends = ends = Ends(
            request.output,
            self._ending,
            manifest,
            job_of(request, ops),
            self._max_fails,
            self._reports.put,
            self._roll,
        )
        opener = Opener(
            request,
            named,
            ops,
            ends,
            weights,
            verify=self._verify,
            wake=waker.wake,
            publish=self._pass_on,
            raise_if_stopped=self._raise_if_stopped,
        )
        stack.callback(opener.close)
        self._batch = work = OpenBatch(
            request,
            len(named),
            opener,
            weights,
            ends,
            self._roll,
            ops,
            notify=waker.wake,
            publish=self._stream.publish,
            warnings=(*own, *(f"{path} is named twice; it counts once" for path in twice)),
        )
        if opener.empty:
            ends.check()
            return _DoneBatch(request, work.started, {}, work.warnings, ends)
        return work

    def _pass_on(self, event: Event) -> None:
        """Publish an event of a job as one of the batch."""
        self._stream.publish(dataclasses.replace(event, job=self._id))

    def _outcome(self) -> BatchReport:
        return self.sums()


@takes_arguments_of(Batch)
def batch(*arguments: Any, **settings: Any) -> Iterator[RecordingReport]:  # noqa: ANN401  those of `Batch`
    """Process many recordings on one farm, as `Batch` does, and yield a report of each as it ends.

    A recording that fails is reported, and the others go on. Leaving the loop early stops the batch; the same call
    does what is left.

    Raises:
        ZaudioError: See `Batch`, and its `start` and `wait`.

    Example:
        >>> for report in batch(["a.wav", "b.wav"], "out", ops="highpass:hz=80"):  # doctest: +SKIP
        ...     print(report.input, report.state, report.sentence)
    """
    job = Batch(*arguments, **settings)

    def reports() -> Iterator[RecordingReport]:
        with job:
            yield from job.reports()

    return reports()  # values that cannot be used are refused by the call, not by the first step
