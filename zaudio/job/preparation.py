"""Preparation: from a request to a job that is ready. Every refusal that is possible happens here.

    open_job         a request   -> OpenJob, or DoneJob when an earlier life has done it
    open_recording   a request   -> Source

Rules:

- It runs in the caller's thread. The recording is read first. No output is touched before everything that a user wrote
  was checked against it.
- What is opened is closed by the exit stack of the caller, in reverse order.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from zaudio.audio import Source
from zaudio.errors import ResumeError
from zaudio.events import Event, Reading, Started
from zaudio.job.classes import JobClass
from zaudio.job.cutting import cut, in_bundles, rounded
from zaudio.job.inputs import open_input
from zaudio.job.outputs import Claim, check_output, claim, settled, with_format
from zaudio.job.ready import DoneJob, OpenJob
from zaudio.job.request import Request
from zaudio.job.stages import Shared, demand_of, import_named, name_of, signal_of
from zaudio.ops.chain import Course, from_step, make_ops
from zaudio.ops.functions import Allowed
from zaudio.plan import Plan
from zaudio.result import difference
from zaudio.settings import Sealed
from zaudio.signal import Signal

TOLD_SECONDS = 0.1  # between two events about how far an input is read

log = logging.getLogger("zaudio.coordinator")


def open_job(
    request: Request,
    stack: ExitStack,
    *,
    notify: Callable[[], None],
    publish: Callable[[Event], None],
    check_stop: Callable[[], None],
    source: Source | None = None,
) -> OpenJob | DoneJob:
    """Open the recording and the output.

    Args:
        request: The job.
        stack: Closes what was opened.
        notify: Wakes the farm; from any thread.
        publish: Takes the events of the stages.
        check_stop: Called now and then while a recording or an interrupted job's output is read. An exception of it
            ends that.
        source: The recording, if it is open already; the stack closes it.

    Raises:
        UsageError: An op, a size or the output cannot be used.
        InputError: The recording cannot be read as audio.
        StorageError: The output cannot be written.
    """
    check_output(request)
    source = source if source is not None else open_recording(request, stack, publish=publish, check_stop=check_stop)
    allowed = import_named(request.specs)
    request, course = _course_of(request, source, allowed)
    plan = cut(request, course.foreseen)
    claimed = claim(request, source, course, plan, stack)
    if (output := claimed.output) is None:
        return _done(request, claimed, plan, source)
    shared = Shared(request, source, JobClass(request.security.machines), notify, publish)
    sentences = _restore(shared, course, claimed, allowed)
    resumed = output.open(course.output, plan.order, notify=notify, check_stop=check_stop)
    pass_, first = course.foreseen, 0
    if course.measuring is None:
        pass_, plan = course.main, cut(request, course.main)
        first = in_bundles(plan, pass_).at_output(resumed // claimed.described.signal.frame_bytes)[0]
    started = _started(claimed, plan, source, job=output.job_id, incarnation=output.incarnation, resumed=resumed)
    warnings = (*started.warnings, *_warnings(rounded(request, pass_, plan), source, course, started))
    demand = demand_of(request, course, plan, first=first)
    return OpenJob(started, shared, output, course, claimed.described, resumed, sentences, demand, warnings)


def open_recording(
    request: Request,
    stack: ExitStack,
    *,
    publish: Callable[[Event], None],
    check_stop: Callable[[], None] = lambda: None,
) -> Source:
    """Open the recording, whatever it lies in.

    Args:
        request: The job.
        stack: Closes it.
        publish: Takes the events about how far it is read.
        check_stop: Called now and then while it is read, decoded or authenticated once. An exception of it ends that.

    Raises:
        InputError: It cannot be read as audio.
        VerificationError: It is a sealed result that is damaged.
        StorageError: There is too little room for what is decoded.
    """
    told = 0.0

    def tell(verb: str, done: int, total: int) -> None:
        nonlocal told
        check_stop()
        now = time.monotonic()
        if now - told >= TOLD_SECONDS or done == total:
            told = now
            publish(Reading(at=now, job="", verb=verb, bytes=done, total=total))

    folder = request.output or None
    if folder is not None and not isinstance(request.store, Sealed):
        folder = os.path.dirname(folder) or os.curdir
    security = request.security
    return stack.enter_context(
        open_input(
            request.input,
            request.raw,
            key=security.input_key,
            identity=security.input_identity,
            spool_folder=folder,
            on_progress=tell,
        )
    )


def started_of(signal: Signal, plan: Plan, *, job: str, **more: Any) -> Started:  # noqa: ANN401  fields of it
    """Return the facts of a job with that output, and `more` of them by the names of their fields."""
    return Started(
        at=time.monotonic(),
        job=job,
        chunks=len(plan),
        chunk_frames=plan.chunk_frames,
        frames=signal.frames,
        channels=signal.channels,
        samplerate=signal.samplerate,
        format=signal.format.name,
        bytes=signal.bytes,
        order=plan.order.value,
        **more,
    )


def _course_of(request: Request, source: Source, allowed: Allowed) -> tuple[Request, Course]:
    """Return the course of a request's ops, and the request with those that its output's format needs behind them.

    Raises:
        UsageError: An op cannot be used.
    """
    course = Course(make_ops(request.specs, allowed), signal_of(source))
    whole = with_format(request, source, course.output)
    if whole is not request:
        course = Course(make_ops(whole.specs, allowed), signal_of(source))
    return whole, course


def _done(request: Request, claimed: Claim, plan: Plan, source: Source) -> DoneJob:
    started = _started(claimed, plan, source, resumed=claimed.described.signal.bytes)
    warning = "this job was done already: its publication was interrupted, and is finished now"
    return DoneJob(request, started, claimed.paths, (*source.warnings, warning))


def _restore(shared: Shared, course: Course, claimed: Claim, allowed: Allowed) -> tuple[str, ...]:
    """Give a course the measurements of an earlier life, if there was one; return the sentences about them.

    Raises:
        ResumeError: It fits neither the ops nor the result of today.
    """
    request, earlier = shared.request, claimed.earlier
    if earlier is None:
        return ()
    log.info("an interrupted job lies in %s: reading what it wrote", request.output)
    for kept in earlier.measured:
        if course.measuring is None:
            raise ResumeError(request.output, "it measured more ops than there are to measure now")
        course.restore(from_step(kept.step, allowed))
    if earlier.begun:
        if course.measuring is not None:
            raise ResumeError(request.output, "it has a result and no measurement before it")
        if earlier.described is not None:
            now = settled(claimed.described, course.main, cut(request, course.main))
            reason = difference(replace(now, machines=earlier.described.machines), earlier.described)
            if reason:
                raise ResumeError(request.output, reason)
    if earlier.machines is not None:
        shared.machines.restore(earlier.machines.name, earlier.machines.numbers)
    return tuple(kept.sentence for kept in earlier.measured if kept.sentence)


def _warnings(rounding: str, source: Source, course: Course, started: Started) -> Iterator[str]:
    """Yield sentences about a job that is new or resumed, besides those about its recording and its output."""
    if rounding:
        yield rounding
    if not source.resumable:
        yield f"{source.unresumable}, so this job cannot be resumed"
    if started.incarnation == 1:
        return
    if course.measuring is not None:
        name = name_of(course.waiting[0])
        yield f"resuming an interrupted job: it had not finished measuring for {name}, which begins again"
    else:
        yield f"resuming an interrupted job: {started.resumed_chunks} of {started.chunks} chunks are done"


def _started(
    claimed: Claim, plan: Plan, source: Source, *, resumed: int, job: bytes = b"", incarnation: int = 0
) -> Started:
    signal = claimed.described.signal
    return started_of(
        signal,
        plan,
        job=job.hex(),
        resumed_chunks=plan.at_output(resumed // signal.frame_bytes)[0],
        resumed_bytes=resumed,
        warnings=(*source.warnings, *claimed.sentences),
        container=claimed.container,
        incarnation=incarnation,
    )
