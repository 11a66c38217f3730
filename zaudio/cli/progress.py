"""How a running job is shown on standard error: a bar, plain lines, JSON lines, or nothing.

Rules: the caller gives a display each snapshot of the progress together with the time; a display reads no clock. Speed
and time left come from the snapshot. A display that can no longer write falls silent: a job outlives its terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from abc import ABC, abstractmethod
from types import TracebackType
from typing import IO, TYPE_CHECKING

from zaudio.events import MAIN, State
from zaudio.watching.limiting import Recent
from zaudio.watching.metering import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from zaudio import Progress
    from zaudio.watching.stream import Subscription

PLAIN_SECONDS = 2.0  # a line every two seconds, or every tenth of the job, whichever comes first
PLAIN_SHARE = 0.1
READING_PATIENCE = 1.0  # seconds that nobody minds to wait without a word
TERMINAL_SECONDS = 0.1
ECHO_COLUMNS = 4  # ^C twice
BAR_COLUMNS = 6  # of the bar itself at least, and the spaces around it
EVENTS = 8192  # that wait for the bar to be drawn again: those of a second of the fastest farm
JSON_SECONDS = 0.5  # often enough for a dashboard, few enough for a log


def clock(seconds: float | None) -> str:
    """Return seconds as ``m:ss`` or ``h:mm:ss``; dashes when they are unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def words(progress: Progress) -> str:
    """Return the words for a state that people read: of a job that runs, the stage before the main one."""
    if progress.state is State.RUNNING and progress.stage != MAIN:
        return progress.stage
    return "waiting for workers" if progress.state is State.WAITING else progress.state.value


def display(mode: str, stream: IO[str] | None = None) -> Display:
    """Return the display for a mode of ``--progress``.

    Args:
        mode: ``auto``, ``bar``, ``plain``, ``json`` or ``none``.
        stream: Where it writes; standard error by default.
    """
    target = sys.stderr if stream is None else stream
    if mode == "auto":
        mode = "bar" if target.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") else "plain"
    match mode:
        case "bar":
            return Bar(target)
        case "plain":
            return Plain(target)
        case "json":
            return JsonLines(target)
        case "none":
            return Display()
    raise ValueError(f"no display is called {mode!r}")


class Display:
    """Shows nothing; the base of those that show something.

    Call `start` once, `show` any number of times, and `finish` when the job is done, each with a snapshot and the time
    in seconds. A display is a context manager: leaving it gives the terminal back, whatever happened.
    """

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def listen(self, subscribe: Callable[[int], Subscription]) -> None:
        """Take events too, from a subscription made before the job starts, if the display has a use for them."""

    def start(self, progress: Progress, *, now: float) -> None:
        """Show that the job has started."""

    def show(self, progress: Progress, *, now: float) -> None:
        """Show how far the job is."""

    def finish(self, progress: Progress, *, now: float) -> None:
        """Show that the job is done."""

    def close(self) -> None:
        """Write nothing more, and give the terminal back."""


class _Lines(Display, ABC):
    """Writes a line now and then; its subclasses decide on the time and the text.

    Attributes:
        _last: The snapshot of the last line, and when it was written; None before the first.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._last: tuple[Progress, float] | None = None

    def start(self, progress: Progress, *, now: float) -> None:
        self._write(progress, now)

    def show(self, progress: Progress, *, now: float) -> None:
        if self._last is None or self._is_due(progress, now, *self._last):
            self._write(progress, now)

    def finish(self, progress: Progress, *, now: float) -> None:
        if self._last is None or self._last[0].state != progress.state:  # the end may have been seen by `show` already
            self._write(progress, now)

    def _write(self, progress: Progress, now: float) -> None:
        self._last = progress, now
        try:
            print(self._line(progress), file=self._stream, flush=True)
        except (OSError, ValueError):  # a closed pipe or file: the job outlives it
            pass

    @abstractmethod
    def _is_due(self, progress: Progress, now: float, last: Progress, then: float) -> bool: ...

    @abstractmethod
    def _line(self, progress: Progress) -> str: ...


class Plain(_Lines):
    """Writes lines for a log: at the start, at each new state, every two seconds or tenth of the job, at the end."""

    def _is_due(self, progress: Progress, now: float, last: Progress, then: float) -> bool:
        if (progress.state, progress.stage) != (last.state, last.stage):
            return True
        if (progress.done, progress.workers, progress.requeued) == (last.done, last.workers, last.requeued):
            return False  # a line that says the same again says nothing
        return now - then >= PLAIN_SECONDS or progress.fraction - last.fraction >= PLAIN_SHARE

    def _line(self, progress: Progress) -> str:
        parts = [
            f"{words(progress)}: {progress.done}/{progress.chunks} {progress.unit} ({percent(progress.fraction)})",
            f"{progress.bytes_per_second / 1e6:.1f} MB/s",
            f"workers {progress.workers}",
            f"requeued {progress.requeued}",
        ]
        if not progress.state.ended:
            parts.append(f"ETA {clock(progress.eta)}")
        return ", ".join(parts)


class JsonLines(_Lines):
    """Writes one JSON object per line, for programs. Lines that do not start with a brace are messages for people."""

    def _is_due(self, progress: Progress, now: float, last: Progress, then: float) -> bool:
        changed = (progress.state, progress.stage) != (last.state, last.stage)
        return changed or (progress != last and now - then >= JSON_SECONDS)

    def _line(self, progress: Progress) -> str:
        return json.dumps(
            {
                "state": progress.state.value,
                "stage": progress.stage,
                "chunks": progress.chunks,
                "done": progress.done,
                "bytes": progress.bytes,
                "bytes_done": progress.bytes_done,
                "bytes_resumed": progress.bytes_resumed,
                "workers": progress.workers,
                "requeued": progress.requeued,
                "repeated": progress.repeated,
                "seconds": round(progress.seconds, 3),
                "bytes_per_second": round(progress.bytes_per_second, 1),
                "eta": None if progress.eta is None else round(progress.eta, 1),
            }
        )


class Bar(Display):
    """Draws a bar on a terminal at each call of `show`; it has no thread of its own."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            console=_console(stream),
            auto_refresh=False,
            expand=True,
            redirect_stdout=False,  # stays free for results; log lines go above the bar
        )
        self._task = self._bar.add_task("", total=1.0, figures="")
        self._events: Subscription | None = None
        self._meter = Meter()
        self._recent = Recent()

    def listen(self, subscribe: Callable[[int], Subscription]) -> None:
        """Show the limit of the job's speed, too."""
        self._events = subscribe(EVENTS)

    def start(self, progress: Progress, *, now: float) -> None:
        """Draw the bar for the first time."""
        try:
            self._bar.start()
        except OSError:
            return
        self.show(progress, now=now)

    def show(self, progress: Progress, *, now: float) -> None:
        """Draw the bar again."""
        state, limit = words(progress), self._limit(now)
        text = figures(progress, limit)
        if limit and len(state) + len(text) + BAR_COLUMNS > self._bar.console.width:
            text = figures(progress, limit, counts=False)  # the percentage says the same
        try:
            self._bar.update(self._task, completed=progress.fraction, description=state, figures=text, refresh=True)
        except OSError:  # the terminal is gone
            pass

    def finish(self, progress: Progress, *, now: float) -> None:
        """Draw the full bar; it stays on the screen."""
        self.show(progress, now=now)

    def _limit(self, now: float) -> str:
        if self._events is None:
            return ""
        with contextlib.suppress(TimeoutError):  # there are none
            for event in self._events.take(timeout=0):
                self._meter.apply(event)
        return self._recent.judge(self._meter.total(now)).words  # a stage of a batch may last some ms

    def close(self) -> None:
        """Give the cursor and standard error back."""
        try:
            self._bar.stop()
        except OSError:
            pass


class ReadingLine:
    """Shows how far a command has come that reads a result: one line on a terminal, a few lines elsewhere.

    It shows nothing at all before `READING_PATIENCE` seconds.

    Args:
        word: What the command does.
        stream: Where it writes.
        now: The time in seconds.
    """

    def __init__(self, word: str, stream: IO[str], *, now: float) -> None:
        self._word = word
        self._stream = stream
        self._terminal = stream.isatty()
        self._next = now + READING_PATIENCE
        self._shown = 0.0  # the share in the last line
        self._drawn = False

    def show(self, done: int, total: int, *, now: float) -> None:
        """Show the bytes done and the total, if it is time; a total of 0 is unknown."""
        share = done / total if total else 0.0
        if now < self._next or not (self._terminal or not total or share - self._shown >= PLAIN_SHARE):
            return
        self._next = now + (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS)
        self._shown, self._drawn = share, True
        text = f"{self._word}: " + (f"{share:.0%} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB")
        self._write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")

    def close(self) -> None:
        """Leave the terminal's line empty."""
        if self._terminal and self._drawn:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed pipe or file: the work outlives it
            self._stream.write(text)
            self._stream.flush()


def percent(share: float) -> str:
    """Return a share as a percentage: never 100 % before the end, since the last half percent may take long."""
    return "99%" if 0.99 < share < 1 else f"{share:.0%}"


def figures(progress: Progress, limit: str = "", *, counts: bool = True) -> str:
    """Return the text at the right of the bar.

    Args:
        progress: The snapshot.
        limit: The words for what limits the job.
        counts: Whether to say the chunks in numbers, too.
    """
    speed = progress.bytes_per_second / 1e6
    chunks = f"  {progress.done}/{progress.chunks}" if counts else ""
    text = f"{percent(progress.fraction)}{chunks}  {speed:.1f} MB/s  workers {progress.workers}"
    if progress.state.ended:
        return text
    return f"{text}  ETA {clock(progress.eta)}" + (f"  {limit}" if limit and progress.state is State.RUNNING else "")


def _console(stream: IO[str]) -> Console:
    from rich.console import Console, ConsoleDimensions

    class Lasting(Console):
        """A console that falls silent on a broken pipe, and leaves room for keys that the terminal echoes."""

        @property  # type: ignore[misc]  # its setter is not needed
        def size(self) -> ConsoleDimensions:
            # Ctrl-C prints ^C where the bar ends. In a full line it would go to the next, where the bar is drawn again.
            whole = super().size
            return ConsoleDimensions(max(1, whole.width - ECHO_COLUMNS), whole.height)

        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Lasting(file=stream)
