"""Life: the common part of all jobs, from `start` to the end: threads, events, stop and wait.

Rules: everything that can be refused is refused in `start`, in the caller's thread, before any output is touched or any
chunk is read. Then one thread runs the farm; `wait` raises the exception that ended it. Leaving the `with` block stops
the work. No signal handlers are installed here.
"""

from __future__ import annotations

import atexit
import inspect
import math
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

from zaudio.errors import StoppedError, UsageError
from zaudio.events import Absent, Event, Failed, State
from zaudio.facts import Progress
from zaudio.job.ready import DoneJob
from zaudio.job.request import Request
from zaudio.job.staffing import named_by, open_farm, open_fleet, warnings_of
from zaudio.job.stages import OpenWork
from zaudio.launching.fleet import Fleet
from zaudio.net.farm import Farm
from zaudio.net.keys import coordinator_keys
from zaudio.net.starter import Starter
from zaudio.net.wake import Waker
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream, Subscription

Outcome = TypeVar("Outcome")
Given = TypeVar("Given")
Arguments = ParamSpec("Arguments")

LOOK = 0.1  # seconds between two looks at a job whose start or end is waited for


def takes_arguments_of(
    kind: Callable[Arguments, object],
) -> Callable[[Callable[..., Given]], Callable[Arguments, Given]]:
    """Return a decorator for a function that makes an object of a class and runs it, as `zaudio.render` does.

    To type checkers and to `help` the function has the arguments of the class, which are written and documented there.
    The classes themselves write out the arguments that they share: behind ``**settings``, even of a `TypedDict`, `help`
    and notebooks would not show them, and a misspelt one would be the error of another function.
    """

    def decorate(function: Callable[..., Given]) -> Callable[Arguments, Given]:
        own = inspect.signature(function).return_annotation
        function.__signature__ = inspect.signature(kind).replace(return_annotation=own)  # type: ignore[attr-defined]  # `help` reads it
        return function

    return decorate


class Life(ABC, Generic[Outcome]):
    """The life of a job on a farm. A subclass, such as `Coordinator`, prepares its work and returns its outcome.

    Args:
        request: The wishes of the user.
        on_event: Called with every event, in a thread of its own; None for nothing.

    Raises:
        UsageError: `on_event` cannot be called, or is an async function.
    """

    def __init__(self, request: Request, on_event: Callable[[Event], None] | None) -> None:
        self._request = request
        self._ledger = Ledger()
        self._stream = Stream(self._ledger)
        if not (on_event is None or callable(on_event)):
            raise UsageError(f"on_event is a function that takes an event, not {on_event!r:.80}")
        if inspect.iscoroutinefunction(on_event):
            raise UsageError("on_event is no async function; write `async for event in job.subscribe()` in a task")
        self._followers: list[Callable[[], None]] = [] if on_event is None else [partial(self._stream.call, on_event)]
        self._starter: Starter | None = None
        self._warnings: tuple[str, ...] = ()
        self._id = ""  # the job's, in hex, once it is known
        self._work: OpenWork | None = None
        self._farm: Farm | None = None
        self._fleet: Fleet | None = None
        self._thread: threading.Thread | None = None
        self._ownership = threading.Lock()  # taken once, by the thread that ends the job: its own, or the starting one
        self._stopping = False  # `stop` was called since the start began
        self._bound = threading.Event()
        self._over = threading.Event()
        self._failure: BaseException | None = None

    # For a subclass to define

    @abstractmethod
    def _prepare(self, stack: ExitStack, waker: Waker) -> OpenWork | DoneJob:
        """Open the work, in the caller's thread; the stack closes all that was opened."""

    @abstractmethod
    def _outcome(self) -> Outcome:
        """Return the outcome of `wait`, when the work is done."""

    # The life of a job

    def run(self) -> Outcome:
        """Do the whole job.

        Raises:
            ZaudioError: See `start` and `wait`.
        """
        with self:
            return self.wait()

    def use(self, starter: Starter) -> None:
        """Start local workers by this process, launched ahead of time; the job closes it, whether it needs it or not.

        Raises:
            UsageError: The job was started already.
        """
        if self._thread is not None or self.done():
            raise UsageError("this job was started already, with a starter of its own")
        self._starter = starter

    def start(self) -> None:
        """Open everything, bind, start local workers; the job then goes on in a thread of its own.

        Raises:
            UsageError: An op, a size, an endpoint, a folder of keys or the output folder cannot be used.
            InputError: The recording cannot be read as audio.
            StorageError: The output folder cannot be written to.
            StoppedError: `stop` was called meanwhile, by another thread or a signal handler.
        """
        if self._thread is not None or self.done():
            raise UsageError("this job was started already; make a new one to run it again")
        self._stopping = False  # a `stop` before the start does nothing
        resources = ExitStack()
        try:
            for begin in self._followers:
                begin()
            self._open(resources)
            self._wait_for(self._bound)
        except BaseException as error:
            if self._ownership.acquire(blocking=False):
                self._give_up(resources, error)
            else:  # Ctrl-C, before a `with` block could stop what has begun
                self.stop()
            raise
        if self._failure is not None:
            self.wait()

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the end of the job.

        Args:
            timeout: Seconds; None for as long as it takes.

        Raises:
            TimeoutError: The job goes on.
            InputChangedError: The recording changed while it was read.
            JobError: The job failed; nothing was published.
            NoWorkerError: Nobody could be given a chunk for `worker_timeout`, or no worker can come any more.
            StoppedError: `stop` was called.
        """
        if self._thread is None and not self.done():
            raise UsageError("this job was not started; call start() or use it in a with statement")
        try:
            ended = self._wait_for(self._over, timeout)
        except KeyboardInterrupt:
            self.stop()
            raise
        if not ended:
            raise TimeoutError(f"the job goes on after {timeout:g} s")
        self._join()
        atexit.unregister(self._end_of_program)
        if self._failure is not None:
            raise self._failure
        return self._outcome()

    def stop(self, *, wait: bool = True) -> None:
        """End the job, if it has not ended: workers are told, nothing is published. The same job can be resumed.

        Args:
            wait: Until it has ended. A signal handler must not: what it interrupts may hold what the job waits for.
        """
        self._stopping = True
        if self._farm is not None:
            self._farm.stop()
        if not wait:
            return
        atexit.unregister(self._end_of_program)
        if self._thread is not None and not self._stream.is_subscriber_thread:  # on_event may call this
            self._wait_for(self._over)  # before it is joined: one that another thread is about to start cannot be
            self._join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # What can be asked before, while and after it runs

    @property
    def state(self) -> State:
        """The state of the job."""
        return self.progress.state

    @property
    def progress(self) -> Progress:
        """How far the job has come."""
        return self._ledger.progress(time.monotonic())

    @property
    def signs(self) -> Mapping[str, float]:
        """When each worker that takes part gave its last sign of life, by name, in seconds of the monotonic clock.

        Any message is one. It is looked at once in each heartbeat.
        """
        return self._farm.signs if self._farm is not None else {}

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the page; empty for a job without a page."""
        return ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that a user should know; after `start`. There are more when workers elsewhere fail."""
        return (*self._warnings, *self._fleet.warnings) if self._fleet is not None else self._warnings

    @property
    def endpoint(self) -> str | None:
        """The endpoint where workers connect, with the real port when `bind` said any. None without `bind`."""
        return self._farm.endpoint if self._farm is not None else None

    @property
    def sink_endpoint(self) -> str | None:
        """The endpoint where results go. None without `bind`."""
        return self._farm.sink_endpoint if self._farm is not None else None

    def done(self) -> bool:
        """Return whether the job has ended: published, failed or stopped."""
        return self._over.is_set()

    def exception(self) -> BaseException | None:
        """Return the exception that ended the job; None when it was published, or has not ended."""
        if self.done():
            atexit.unregister(self._end_of_program)  # its caller knows now
        return self._failure if self.done() else None

    def subscribe(self, size: int = 1024) -> Subscription:
        """Return a subscription to the events from now on.

        Args:
            size: Events that wait in it at most. A slower reader misses some, and a `Missed` says how many.
        """
        return self._stream.subscribe(size)

    def follow(self, function: Callable[[Subscription], object], size: int = 1024) -> None:
        """Call a function with a subscription to all events, in a thread of its own; the end waits 2 s for it at most.

        Args:
            function: Reads events until there are no more. What it raises is logged, and the job goes on.
            size: As in `subscribe`.

        Raises:
            UsageError: The job was started already.
        """
        if self._thread is not None or self.done():
            raise UsageError("this job was started already; events are followed from the start")
        self._followers.append(partial(self._stream.follow, function, size))

    @property
    def named(self) -> tuple[str, ...]:
        """The paths of files and folders that the user named."""
        security = self._request.security
        more = (self._request.output, security.key_out, security.identity, security.keys)
        return (self._request.input, *(os.fspath(path) for path in more if path))

    # Inside

    def _open(self, stack: ExitStack) -> None:
        """Prepare the job and its farm, and start the thread that runs them."""
        starter, self._starter = self._starter, None
        if starter is not None:
            stack.callback(starter.close)
        folder = self._request.security.keys
        keys = coordinator_keys(os.fspath(folder)) if folder is not None else None
        self._fleet = fleet = open_fleet(
            self._request, keys, stack, subscribe=self._stream.subscribe, tell=self._say_absent
        )
        waker = Waker()
        stack.callback(waker.close)
        work = self._prepare(stack, waker)
        self._warnings = (*work.warnings, *warnings_of(self._request, keys))
        self._id = work.started.job
        self._stream.publish(work.started)
        if isinstance(work, DoneJob):
            work.tell(self._say)
            stack.close()  # the folder is free when the job is told to be over
            self._end(None)
            return
        self._farm = farm = open_farm(work, stack, waker=waker, starter=starter, keys=keys)
        self._raise_if_stopped()  # from here on `stop` finds the farm; before, it left word only
        self._work = work
        self._thread = threading.Thread(
            target=self._run, args=(stack, work, farm, fleet), name="zaudio-coordinator", daemon=True
        )
        self._thread.start()
        atexit.register(self._end_of_program, os.getpid())

    def _run(self, resources: ExitStack, work: OpenWork, farm: Farm, fleet: Fleet) -> None:
        """Run the job, in its own thread, unless its start was given up."""
        if not self._ownership.acquire(blocking=False):
            return
        failure: BaseException | None = None
        try:
            with resources, farm, fleet.serving(farm, named_by(work)):
                work.run(farm, say=self._say, on_open=self._bound.set)
        except BaseException as error:  # noqa: BLE001  `wait` raises it
            failure = error
        self._end(failure)

    def _give_up(self, resources: ExitStack, error: BaseException) -> None:
        """Undo a start that failed."""
        self._thread = None
        try:
            resources.close()
        finally:
            self._end(error)

    @staticmethod
    def _wait_for(event: threading.Event, timeout: float | None = None) -> bool:
        """Wait for an event of the job's thread for so many seconds; return whether it came.

        The main thread looks up now and then. A signal that the system gave to another thread does not wake it, and
        Python runs a handler in the main thread alone.
        """
        deadline = time.monotonic() + timeout if timeout is not None else math.inf
        while not event.wait(min(LOOK, max(0.0, deadline - time.monotonic()))):
            if not time.monotonic() < deadline:
                return False
        return True

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _end(self, failure: BaseException | None) -> None:
        """Say how the job ended, let subscribers have the rest, and let `wait` return."""
        self._failure = failure
        if failure is not None:
            kind = StoppedError if isinstance(failure, KeyboardInterrupt) else type(failure)
            self._say(Failed, error=kind.__name__, sentence=str(failure))
        try:
            self._stream.close()
        finally:  # Ctrl-C while a subscriber takes its time
            self._over.set()
            self._bound.set()

    def _end_of_program(self, pid: int) -> None:
        """Tell that nobody waited for this job, and let the program fail, unless the job is published."""
        if os.getpid() != pid:  # a process that the program forked
            return
        atexit.unregister(self._end_of_program)
        went_on = not self.done()
        self.stop()
        if self._failure is None:
            return
        cause = "was abandoned: the program ended, and nothing called wait()" if went_on else f"failed: {self._failure}"
        if sys.stderr is not None:
            sys.stderr.write(f"zaudio: the job {cause}\n")
        atexit._run_exitfuncs()  # those that come after this one; at an end by `_exit` Python would leave them out
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads
                stream.flush()
        os._exit(1)  # a function of `atexit` cannot change the exit code in another way

    def _say(self, kind: Callable[..., Event], **facts: object) -> None:
        """Publish an event of the whole job."""
        self._stream.publish(kind(at=time.monotonic(), job=self._id, **facts))

    def _say_absent(self, place: str, sentence: str) -> None:
        self._say(Absent, place=place, sentence=sentence)

    def _raise_if_stopped(self) -> None:
        if self._stopping:
            raise StoppedError("the job was stopped before its end")
