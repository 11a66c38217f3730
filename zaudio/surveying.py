"""Survey: measuring stages over a recording, and no result. `zaudio stats` and `zaudio loudness` are made of it.

Rules: those of `zaudio.job.life`. Nothing is written: there is no output folder and no journal, so nothing is resumed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy.typing as npt

from zaudio.errors import UsageError
from zaudio.events import Event, Started, State, StateChanged
from zaudio.job.classes import JobClass
from zaudio.job.cutting import cut
from zaudio.job.life import Life, takes_arguments_of
from zaudio.job.preparation import open_recording, started_of
from zaudio.job.request import Request, parse_request
from zaudio.job.stages import ID_BYTES, Demand, Say, Shared, demand_of_stage, import_named, measure, opening, signal_of
from zaudio.net.farm import Farm
from zaudio.net.wake import Waker
from zaudio.ops.chain import Course, make_ops
from zaudio.ops.contract import Op
from zaudio.ops.spec import Requested
from zaudio.plan import Order
from zaudio.settings import Limits, Network, Raw, Security
from zaudio.signal import Signal


class Surveyed(NamedTuple):
    """The outcome of a survey.

    Attributes:
        cells: The measured numbers of the whole recording, (cells, numbers), in float64.
        signal: The signal that was measured: behind the ops in front of the measurement.
    """

    cells: npt.NDArray[Any]
    signal: Signal


class Survey(Life[Surveyed]):
    """A measurement of one recording on a farm. Its outcome is a `Surveyed`: the cells, and the measured signal.

    Args:
        input: The recording. It and all arguments that are not listed here are as for `Coordinator`.
        what: The op whose `measure` gives the measuring op.
        ops: The operations in front of the measurement; by default none.
        security: Keys and audits.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.
    """

    def __init__(
        self,
        input: str | os.PathLike[str],
        what: Op,
        *,
        ops: Requested | Sequence[Requested] = (),
        workers: int | None = None,
        bind: str | None = None,
        chunk: str | int | None = None,
        raw: Raw = Raw(),
        network: Network = Network(),
        security: Security = Security(),
        limits: Limits = Limits(),
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if not isinstance(what, Op):
            raise UsageError(f"what is surveyed is an op that measures, not {what!r:.80}")
        request = parse_request(
            os.fspath(input),
            "",
            ops=ops,
            workers=workers,
            bind=bind,
            chunk=chunk,
            raw=raw,
            network=network,
            security=security,
            limits=limits,
        )
        super().__init__(request, on_event)
        self._what = what

    def _prepare(self, stack: ExitStack, waker: Waker) -> OpenSurvey:
        return open_survey(self._request, self._what, stack, waker=waker, publish=self._stream.publish)

    def _outcome(self) -> Surveyed:
        assert isinstance(self._work, OpenSurvey)
        assert self._work.outcome is not None, "it is done"
        return self._work.outcome


@takes_arguments_of(Survey)
def survey(*arguments: Any, **settings: Any) -> Surveyed:  # noqa: ANN401  those of `Survey`
    """Measure a recording on a farm, as `Survey` does, and wait for the outcome.

    Raises:
        ZaudioError: See `Survey`, and its `start` and `wait`.

    Example:
        >>> cells, signal = survey("take.wav", Loudness(), workers=4)  # doctest: +SKIP
    """
    return Survey(*arguments, **settings).run()


@dataclass(slots=True)
class OpenSurvey:
    """A survey that is ready for a farm.

    Attributes:
        started: The facts of the survey.
        shared: All that its stages share.
        course: The stages.
        demand: The needs from the farm.
        warnings: Sentences for the user.
        outcome: The outcome, at the end.
    """

    started: Started
    shared: Shared
    course: Course
    demand: Demand
    warnings: tuple[str, ...]
    outcome: Surveyed | None = None

    @property
    def request(self) -> Request:
        """The wishes of the user."""
        return self.shared.request

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run the stages.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole survey.
            on_open: Called once, when workers can take part.

        Raises:
            InputChangedError: The recording is not what it was.
            ZaudioError: A stage failed.
        """
        cells = measure(
            self.shared,
            self.course,
            farm,
            demand=self.demand,
            job=self.started.job,
            say=say,
            on_open=opening(say, on_open),
            last=1,
        )
        assert cells is not None, "the last op measures"
        self.shared.source.check()
        self.outcome = Surveyed(cells, self.course.signal)
        say(StateChanged, state=State.DONE)


def open_survey(
    request: Request, what: Op, stack: ExitStack, *, waker: Waker, publish: Callable[[Event], None]
) -> OpenSurvey:
    """Open the recording, and make the stages.

    Raises:
        UsageError: An op or a size cannot be used, or `what` measures nothing.
        InputError: The recording cannot be read as audio.
    """
    source = open_recording(request, stack, publish=publish)
    course = Course((*make_ops(request.specs, import_named(request.specs)), what), signal_of(source))
    first = course.measuring
    if first is None:
        raise UsageError(f"{type(what).__name__} measures nothing; a survey takes an op with `measure`")
    plan, signal = cut(request, first, Order.FORWARD), signal_of(source)
    started = started_of(signal, plan, job=os.urandom(ID_BYTES).hex(), warnings=source.warnings)
    shared = Shared(request, source, JobClass(request.security.machines), waker.wake, publish)
    return OpenSurvey(started, shared, course, demand_of_stage(plan, first), source.warnings)
