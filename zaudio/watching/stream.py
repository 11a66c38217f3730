"""Stream: hands events to the ledger and to subscribers, and never waits for any of them.

Rules:

- Threads publish one after the other. The ledger has an event before any subscriber does.
- A subscription is bounded. When it is full, further events are not queued but counted; as soon as there is room, one
  `Missed` with that count stands in their place, before the next event.
- Events of the job's state, publication and failure are never missed: they go in even when the subscription is full. A
  job has few of them, so the bound is exceeded by a handful.
- An exception of a subscriber's function is logged, and ends nothing.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from types import TracebackType

from zaudio.events import Event, Failed, Missed, Published, StateChanged
from zaudio.watching.ledger import Ledger

SIZE = 1024  # events; a tenth of a second of the fastest farm, and a few hundred KiB when it is full
LOOK = 0.1  # seconds between two looks of a main thread that waits
PATIENCE = 2.0  # seconds for functions to finish with their events; a program must end although one hangs

log = logging.getLogger("zaudio.coordinator")


class Subscription:
    """A bounded queue of events: an iterator that waits for the next one, and a context manager that closes it.

    `Stream.subscribe` makes it. Any thread may read or close it. ``async for`` reads it too, in one task at a time.
    """

    def __init__(self, size: int, leave: Callable[[Subscription], None]) -> None:
        self._size = size
        self._leave = leave
        self._queue: deque[Event] = deque()  # never longer than `size`, but for events that must not be missed
        self._missed = 0  # events that were not queued since the last that was
        self._last: Event | None = None  # the last of them
        self._ended = False  # there will be no more
        self._wake: Callable[[], object] | None = None  # wakes a task that waits for news
        self._over = threading.Event()  # set with it
        self._changed = threading.Condition()

    def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event, or None when there will be none any more.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Raises:
            TimeoutError: No event came in time.
        """
        with self._changed:
            if not self._wait(timeout):
                raise TimeoutError(f"no event came in {timeout:g} s")
            return self._next()

    def take(self, timeout: float | None = None) -> list[Event]:
        """Return all events that wait; wait for the first one. An empty list: the stream has ended.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Raises:
            TimeoutError: No event came in time.
        """
        with self._changed:
            if not self._wait(timeout):
                raise TimeoutError(f"no event came in {timeout:g} s")
            events = [*self._queue]
            self._queue.clear()
            if (missed := self._take_missed()) is not None:
                events.append(missed)
            return events

    def rest(self, seconds: float) -> None:
        """Sleep, while events gather; no longer than to the end of the stream. A reader that rests costs it little."""
        self._over.wait(seconds)

    def close(self) -> None:
        """End the subscription: a waiting reader gets None, and queued events are forgotten."""
        self._leave(self)
        with self._changed:
            self._queue.clear()
            self._missed = 0
            self._end()

    def __iter__(self) -> Iterator[Event]:
        """Return the events as they come, until the stream or the subscription is closed."""
        while (event := self.get()) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Return the events as they come, without blocking the loop, until the stream or the subscription is closed."""
        import asyncio  # a tenth of a second that only its users pay

        loop, news = asyncio.get_running_loop(), asyncio.Event()
        while True:
            with self._changed:
                ready = self._has_news()
                event = self._next() if ready else None
                self._wake = None if ready else lambda: loop.call_soon_threadsafe(news.set)
            if event is not None:
                yield event
            elif ready:
                return
            else:
                await news.wait()
                news.clear()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # What the stream does

    def offer(self, event: Event) -> None:
        """Queue an event if there is room, or count it."""
        with self._changed:
            if self._ended:
                return
            if len(self._queue) >= self._size and not isinstance(event, StateChanged | Published | Failed):
                self._missed += 1
                self._last = event
                return
            if (missed := self._take_missed()) is not None:
                self._queue.append(missed)
            self._queue.append(event)
            self._tell()

    def end(self) -> None:
        """Let readers have the queued events, and no later ones."""
        with self._changed:
            self._end()

    def _wait(self, timeout: float | None) -> bool:
        """Wait for news for so many seconds; return whether there is some.

        The main thread looks up now and then. A signal that the system gave to another thread does not wake it, and
        Python runs a handler in the main thread alone.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._changed.wait_for(self._has_news, timeout)
        deadline = time.monotonic() + timeout if timeout is not None else math.inf
        while not self._changed.wait_for(self._has_news, min(LOOK, max(0.0, deadline - time.monotonic()))):
            if not time.monotonic() < deadline:
                return False
        return True

    def _next(self) -> Event | None:
        """Return the next event when there is news; None at the end."""
        return self._queue.popleft() if self._queue else self._take_missed()

    def _end(self) -> None:
        self._ended = True
        self._over.set()
        self._tell()

    def _tell(self) -> None:
        """Wake those that wait."""
        self._changed.notify_all()
        wake, self._wake = self._wake, None
        if wake is not None:
            with suppress(RuntimeError):  # its loop was closed
                wake()

    def _has_news(self) -> bool:
        return bool(self._queue) or self._missed > 0 or self._ended

    def _take_missed(self) -> Missed | None:
        if not self._missed or self._last is None:
            return None
        missed, last, self._missed = self._missed, self._last, 0
        return Missed(at=last.at, job=last.job, stage=last.stage, count=missed)


class Stream:
    """The events of one job.

    Args:
        ledger: Counts every event that is published.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._subscriptions: tuple[Subscription, ...] = ()  # replaced as a whole, so that `publish` needs no lock
        self._threads: tuple[threading.Thread, ...] = ()
        self._closed = False
        self._lock = threading.Lock()  # held while one of these three is replaced
        self._publishing = threading.Lock()

    # In any thread

    def publish(self, event: Event) -> None:
        """Count an event, and offer it to every subscriber. Never waits for a reader."""
        with self._publishing:
            self._ledger.apply(event)
            for subscription in self._subscriptions:
                subscription.offer(event)

    def subscribe(self, size: int = SIZE) -> Subscription:
        """Return a subscription to the events from now on. After `close`, it has ended already.

        Args:
            size: How many events it holds for a reader that is slow.
        """
        subscription = Subscription(size, self._leave)
        with self._lock:
            if not self._closed:
                self._subscriptions = (*self._subscriptions, subscription)
                return subscription
        subscription.end()
        return subscription

    def call(self, function: Callable[[Event], object], size: int = SIZE) -> None:
        """Call a function with every event from now on, in a thread of its own. Its exceptions are logged."""

        def listen(subscription: Subscription) -> None:
            for event in subscription:
                try:
                    function(event)
                except Exception:
                    log.exception("on_event raised; the job goes on")

        self.follow(listen, size, name="zaudio-events")

    def follow(
        self, function: Callable[[Subscription], object], size: int = SIZE, *, name: str = "zaudio-follower"
    ) -> None:
        """Call a function with a subscription to the events from now on, in a thread of its own.

        Args:
            function: Reads events until there are no more. What it raises is logged, and ends the subscription.
            size: Events that wait for it at most.
            name: The name of the thread.
        """
        subscription = self.subscribe(size)

        def run() -> None:
            with subscription:
                try:
                    function(subscription)
                except Exception:
                    log.exception("a function that follows the events raised; the job goes on without it")

        # A daemon: a function that never returns must not keep the program from ending.
        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads = (*self._threads, thread)
        thread.start()

    def close(self, patience: float = PATIENCE) -> None:
        """Refuse further subscribers. Subscriptions end after the events that they hold.

        Args:
            patience: Seconds to wait for the functions that were given to `call` and `follow`.
        """
        with self._lock:
            self._closed = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription.end()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            if thread is threading.current_thread() or thread.ident is None:
                continue  # a function that closes the stream does not wait for itself; or the thread could not start
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning(
                    "a function that takes events still runs %g s after the end of the job; it is left alone", patience
                )

    @property
    def is_subscriber_thread(self) -> bool:
        """Whether the calling thread runs a function that was given to `call` or `follow`."""
        return threading.current_thread() in self._threads

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)
