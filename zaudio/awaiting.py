"""Awaiting: a job in a program of asyncio, whose loop goes on meanwhile.

Rules: the job runs in threads of its own, as everywhere. `run_async` returns or raises only when nothing of the job is
left: no process, no thread, no lock. No signal handlers are installed here; `asyncio.run` turns Ctrl-C into a
cancellation.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from os import PathLike
from typing import Any, overload

from zaudio.coordinator import Coordinator
from zaudio.errors import UsageError
from zaudio.facts import Report
from zaudio.job.life import Life, Outcome

STOP_AGAIN = 0.05  # seconds; a `stop` in front of the job's start has no effect


@overload
async def run_async(job: Life[Outcome]) -> Outcome: ...


@overload
async def run_async(job: str | PathLike[str], *arguments: Any, **settings: Any) -> Report: ...  # noqa: ANN401  `Coordinator`'s


async def run_async(job: Life[Any] | str | PathLike[str], *arguments: Any, **settings: Any) -> Any:
    """Run a job to its end without blocking the loop.

    When the task is cancelled, the job is stopped, and the cancellation goes on when nothing of it is left: the output
    folder is as after `stop`, and the job can be resumed. A job that is being published already is published.

    Args:
        job: A job that was not started: a `Coordinator`, `Rendering`, `Survey` or `Processing`. Or a recording, and
            then all arguments are those of `Coordinator`.
        *arguments: Further arguments of `Coordinator`.
        **settings: And its settings.

    Returns:
        The outcome of the job's `wait`: the report of a `Coordinator`.

    Raises:
        UsageError: The job was started already, or a value cannot be used.
        ZaudioError: See `start` and `wait` of the job.

    Example:
        >>> report = await run_async("take.raw", "out", workers=4)  # doctest: +SKIP
    """
    if not isinstance(job, Life):
        job = Coordinator(job, *arguments, **settings)
    elif arguments or settings:
        raise UsageError("a job has its settings already; give run_async the job alone, or a Coordinator's arguments")
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()
    thread = threading.Thread(target=_run, args=(job, loop, ended), name="zaudio-run", daemon=True)
    thread.start()
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.wait([ended], timeout=STOP_AGAIN if cancelled is not None else None)
        except asyncio.CancelledError as error:
            cancelled = error
        if cancelled is not None:
            job.stop(wait=False)
    thread.join()  # it has nothing more to do
    outcome, failure = ended.result()
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure
    return outcome


def _run(job: Life[Any], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[Any]) -> None:
    """Run the job, and tell the loop how it ended."""
    outcome, failure = None, None
    try:
        outcome = job.run()
    except BaseException as error:  # noqa: BLE001  the task raises it
        failure = error

    def tell() -> None:
        if not ended.done():
            ended.set_result((outcome, failure))

    with suppress(RuntimeError):  # the loop was closed: nobody waits
        loop.call_soon_threadsafe(tell)
