"""Processing: ops over an array, into an array, on a farm or in this process. Nothing is written to a disk.

Rules: those of `zaudio.job.life`. There is no output folder and no journal, so nothing is resumed. The bits are those
of `Chain`, wherever they are computed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zaudio.audio.arrays import ArraySource, as_frames, format_of
from zaudio.errors import ChunkError, UsageError, ZaudioError
from zaudio.events import Event, StageBegan, Started, State, StateChanged
from zaudio.formats import MAX_SAMPLERATE, check_count
from zaudio.into import Into
from zaudio.job.classes import JobClass
from zaudio.job.cutting import cut
from zaudio.job.life import Life, takes_arguments_of
from zaudio.job.preparation import started_of
from zaudio.job.request import Request, parse_request
from zaudio.job.stages import ID_BYTES, Demand, Say, Shared, demand_of, import_named, main_stage, measure, opening
from zaudio.net.failure import parted, told
from zaudio.net.farm import Farm
from zaudio.net.wake import Waker
from zaudio.ops.chain import Chain, Course, make_ops
from zaudio.ops.spec import Requested
from zaudio.plan import Order
from zaudio.settings import Limits, Network, Security
from zaudio.signal import Signal

Array = npt.NDArray[Any]


class Processing(Life[Array]):
    """A row of ops over one array, on a farm. It gives an array with the bits of `Chain`.

    The outcome is a new array of the result's format and length, in the order of the recording: (frames, channels), or
    (frames,) when `x` is and the result has one channel.

    Args:
        x: Samples of float32, float64, int16 or int32: (frames, channels), or (frames,) for one channel. It is never
            written to.
        samplerate: Frames per second.
        ops: The operations. They and all arguments that are not listed here are as for `Coordinator`.
        security: Keys and audits.
        limits: Memory and timeouts. The array and the result are not counted: besides them there is a second copy of
            the array, in memory that local workers share.

    Raises:
        UsageError: The array, an op or a value cannot be used, or two values contradict each other.
    """

    def __init__(
        self,
        x: Array,
        samplerate: int,
        ops: Requested | Sequence[Requested],
        *,
        workers: int | None = None,
        bind: str | None = None,
        chunk: str | int | None = None,
        network: Network = Network(),
        security: Security = Security(),
        limits: Limits = Limits(),
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        array = as_frames(x)
        check_count("samplerate", samplerate, MAX_SAMPLERATE)
        request = parse_request(
            "",
            "",
            ops=ops,
            workers=workers,
            bind=bind,
            chunk=chunk,
            network=network,
            security=security,
            limits=limits,
        )
        super().__init__(request, on_event)
        self._ops = ops
        self._array = array
        self._flat = x.ndim == 1
        frames, channels = array.shape
        self._signal = Signal(frames, channels, samplerate, format_of(array))

    def compute(self) -> Array:
        """Compute everything in this process, without a farm.

        Raises:
            ChunkError: An op failed; its exception is the cause.
        """
        array = self._array.view()
        array.flags.writeable = False  # as workers get it
        chain = Chain(self._ops, self._signal)
        try:
            result = chain(array)
        except ZaudioError:
            raise
        except (Exception, SystemExit) as error:  # a user's op may raise anything
            raise ChunkError(0, 0, self._signal.frames, (parted(told(error))[0],)) from error
        if np.may_share_memory(result, self._array) or not result.flags.writeable:  # an op may return its input
            result = result.copy()
        return self._shaped(np.ascontiguousarray(result))

    def _course(self) -> Course:
        return Course(make_ops(self._request.specs, import_named(self._request.specs)), self._signal)

    def _shaped(self, result: Array) -> Array:
        return result.reshape(-1) if self._flat and result.shape[1] == 1 else result

    def _prepare(self, stack: ExitStack, waker: Waker) -> OpenProcessing:
        request, course = self._request, self._course()
        plan = cut(request, course.foreseen, Order.FORWARD)
        reads = request.workers > 0 and len(plan) > 0 and not request.network.sockets_only
        source = stack.enter_context(ArraySource(self._array, self._signal.samplerate, shared=reads))
        started = started_of(course.output, plan, job=os.urandom(ID_BYTES).hex())
        shared = Shared(request, source, JobClass(request.security.machines), waker.wake, self._stream.publish)
        return OpenProcessing(started, shared, course, demand_of(request, course, plan))

    def _outcome(self) -> Array:
        assert isinstance(self._work, OpenProcessing)
        assert self._work.outcome is not None, "it is done"
        return self._shaped(self._work.outcome)


@takes_arguments_of(Processing)
def process(*arguments: Any, workers: int | None = None, bind: str | None = None, **settings: Any) -> Array:  # noqa: ANN401  those of `Processing`
    """Apply ops to an array, in memory, and return the new one: the bits of `Chain`. The arguments are `Processing`'s.

    By default this process computes alone, as it does with `workers=0`: most ops take less time for a few minutes of
    audio than a farm takes to start, which is about half a second. Nothing protects this process from an op that ends
    or hangs it then, and there are no events. With `workers` or `bind` a farm computes.

    Raises:
        UsageError: The array, an op or a value cannot be used.
        JobError: An op failed; the sentence says how.
        ZaudioError: See `Processing`, and its `start` and `wait`.

    Example:
        >>> y = process(x, 48000, ["highpass:hz=80", "gain:db=-3"], workers=4)  # doctest: +SKIP
    """
    here = not workers and bind is None
    if here and settings.get("security", Security()) != Security():
        raise UsageError("keys and audits are for a farm, and this process computes alone; give workers, or bind")
    job = Processing(*arguments, workers=None if here and workers == 0 else workers, bind=bind, **settings)
    return job.compute() if here else job.run()


@dataclass(slots=True)
class OpenProcessing:
    """A row of ops over an array that is ready for a farm.

    Attributes:
        started: The facts of the job.
        shared: All that its stages share.
        course: The stages.
        demand: The needs from the farm.
        warnings: Sentences for the user: none.
        outcome: The result, (frames, channels), at the end.
    """

    started: Started
    shared: Shared
    course: Course
    demand: Demand
    warnings: tuple[str, ...] = ()
    outcome: Array | None = None

    @property
    def request(self) -> Request:
        """The wishes of the user."""
        return self.shared.request

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run the stages.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole job.
            on_open: Called once, when workers can take part.

        Raises:
            ZaudioError: A stage failed.
        """
        opened, shared, job = opening(say, on_open), self.shared, self.started.job
        measure(shared, self.course, farm, demand=self.demand, job=job, say=say, on_open=opened)
        main = self.course.main
        plan = cut(self.request, main, Order.FORWARD)
        into = Into(self.course.output)
        say(StageBegan, chunks=len(plan), chunk_frames=plan.chunk_frames, bytes=into.signal.bytes)
        stage = main_stage(shared, main, plan, into, job=bytes.fromhex(job), incarnation=1, resumed=0)
        farm.run(stage, on_open=opened)
        self.outcome = into.array
        say(StateChanged, state=State.DONE)
