"""Opener: opens the recordings of a batch ahead of the farm, in a thread: small ones in lots, others as jobs.

Rules:

- The first lot or job is opened by the caller of `first`; the thread goes on from there.
- A recording ends here when an earlier run has done it, or when it cannot be opened. A stream is not: no later run
  could tell whether it is done, and one without a writer would keep all others waiting.
- At most `AHEAD` lots and jobs wait to be farmed, besides the one that is being opened.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from queue import Empty, Full, Queue

from zaudio.audio.streams import is_stream
from zaudio.batching.alone import Alone, open_alone
from zaudio.batching.ends import Begun, Ends
from zaudio.batching.lots import LOT_SHARE, Packer, Small, open_small
from zaudio.batching.manifest import Named
from zaudio.batching.publishers import bare
from zaudio.batching.results import is_there
from zaudio.batching.weights import Weights
from zaudio.disk import identity
from zaudio.errors import DiskFullError, InputError, StoppedError, UsageError, ZaudioError
from zaudio.events import Event
from zaudio.job.outputs import check_output
from zaudio.job.preparation import open_recording
from zaudio.job.ready import OpenJob
from zaudio.job.request import Request
from zaudio.job.stages import signal_of
from zaudio.ops.contract import Op
from zaudio.result.publication import RESULT

AHEAD = 2
LOOK = 0.1  # s between two looks at whether the batch was stopped
NO_STREAM = "is a stream, and a batch reads files; `zaudio farm` and `zaudio render` take a stream each"

Opened = list[Small] | Alone


class Opener:
    """Opens recordings ahead.

    Args:
        request: The wishes of the user.
        recordings: The recordings.
        ops: The operations.
        ends: Takes those that end here.
        weights: Is told of those that are opened, and of those that end here.
        verify: Whether results of an earlier run are read as a whole before they are skipped.
        wake: Wakes the farm; from any thread.
        publish: Takes the events of the stages.
        raise_if_stopped: Raises when the batch was stopped.
    """

    def __init__(
        self,
        request: Request,
        recordings: Sequence[Named],
        ops: Sequence[Op],
        ends: Ends,
        weights: Weights,
        *,
        verify: bool,
        wake: Callable[[], None],
        publish: Callable[[Event], None],
        raise_if_stopped: Callable[[], None],
    ) -> None:
        self._request = request
        self._recordings = recordings
        self._ops = ops
        self._ends = ends
        self._weights = weights
        self._verify = verify
        self._wake, self._publish, self._raise_if_stopped = wake, publish, raise_if_stopped
        self._queue: Queue[Opened | BaseException | None] = Queue(AHEAD)
        self._closed = False
        self._identities: set[tuple[int, int]] | None = None  # of the recordings' files, once they are asked for
        self._items = self._open_all()
        self._first = next(self._items, None)
        self._thread = threading.Thread(target=self._run, name="zaudio-opener", daemon=True)

    @property
    def empty(self) -> bool:
        """Whether no recording is left for the farm; before the thread runs."""
        return self._first is None

    @property
    def own(self) -> tuple[str, ...]:
        """Users' ops that the stages of a first job of its own have; before the thread runs."""
        work = self._first.work if isinstance(self._first, Alone) else None
        return work.demand.own if isinstance(work, OpenJob) else ()

    def __iter__(self) -> Iterator[Opened]:
        """Start the thread, and yield lots and jobs; their taker closes them.

        Raises:
            ZaudioError: The thread could not go on.
        """
        first, self._first = self._first, None
        self._thread.start()
        if first is not None:
            yield first
        while True:
            try:
                opened = self._queue.get(timeout=LOOK)
            except Empty:
                self._raise_if_stopped()
                continue
            if isinstance(opened, BaseException):
                raise opened
            if opened is None:
                return
            yield opened

    def close(self) -> None:
        """End the thread, and close the recordings that nobody took. Idempotent."""
        self._closed = True
        self._drop()
        if self._thread.is_alive():
            self._thread.join()
        self._drop()
        self._items.close()

    def _drop(self) -> None:
        first, self._first = self._first, None
        _close(first)
        with suppress(Empty):
            while True:
                _close(self._queue.get_nowait())

    # In the thread

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for opened in self._items:
                if not self._offer(opened):
                    _close(opened)
                    return
        except BaseException as error:  # noqa: BLE001  the farm's thread raises it
            end = bare(error)
        self._offer(end)

    def _offer(self, opened: Opened | BaseException | None) -> bool:
        while not self._closed:
            with suppress(Full):
                self._queue.put(opened, timeout=LOOK)
                return True
        return False

    def _open_all(self) -> Generator[Opened]:
        packer = Packer(self._request.memory // LOT_SHARE)
        try:
            for named in self._recordings:
                self._raise_if_stopped()
                if self._closed:
                    return
                try:
                    opened = self._open(named)
                except DiskFullError:
                    yield from packer.rest()  # they came before, and may fit
                    raise
                if isinstance(opened, Small):
                    yield from packer.add(opened)
                elif opened is not None:
                    yield opened
                else:
                    self._weights.pass_by(named)
            yield from packer.rest()
        finally:
            for lot in packer.rest():
                _close(lot)

    def _open(self, named: Named) -> Small | Alone | None:
        """Open a recording; None when it ended here."""
        request = replace(self._request, input=named.path, output=self._ends.output_of(named))
        try:
            if is_stream(named.path):
                raise InputError(named.path, NO_STREAM)
            status = _status(named.path)
            if self._skip(named, request, status):
                return None
            self._check_other(request.output)
            check_output(request)
            begun = Begun(named, status, time.monotonic())
            with ExitStack() as stack:
                source = open_recording(request, stack, publish=self._publish, check_stop=self._raise_if_stopped)
                self._weights.open(named, signal_of(source).bytes)
                small = open_small(request, begun, source, self._ops)
                kept = stack.pop_all()
            if small is not None:
                return small  # its taker closes the recording
            return open_alone(
                request, begun, source, kept, wake=self._wake, publish=self._publish, check_stop=self._raise_if_stopped
            )
        except StoppedError:
            raise
        except (ZaudioError, OSError) as error:
            self._ends.failed(named, error)
            return None

    def _skip(self, named: Named, request: Request, status: os.stat_result) -> bool:
        """Skip a recording that an earlier run did by this job; return whether one did."""
        entry = self._ends.earlier(named, status)
        if entry is None or not is_there(request, entry, thorough=self._verify):
            return False
        self._ends.skipped(named, entry)
        return True

    def _check_other(self, output: str) -> None:
        """Make sure that a result does not take the place of a recording of this batch.

        Raises:
            UsageError: It would.
        """
        try:
            there = identity(os.stat(output))
        except (OSError, ValueError):
            return  # nothing is there
        if self._identities is None:
            self._identities = {identity(_stat(each.path)) for each in self._recordings}
        if there in self._identities:
            raise UsageError(
                f"{output} is a recording of this batch and would be replaced; choose another folder with -o"
            )


def _status(path: str) -> os.stat_result:
    """Return the state of a recording's file; of a sealed result that of its ciphertext.

    The folder of a sealed result changes with all that is put there, such as decrypted audio.
    """
    ciphertext = os.path.join(path, RESULT)
    return _stat(ciphertext if os.path.isfile(ciphertext) else path)


def _stat(path: str) -> os.stat_result:
    """Return the state of a file or folder; zeros for a missing one, since opening it will say so."""
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return os.stat_result((0,) * 10)


def _close(opened: Opened | BaseException | None) -> None:
    if isinstance(opened, Alone):
        opened.stack.close()
    elif isinstance(opened, list):
        for small in opened:
            small.source.close()
