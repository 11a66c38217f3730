"""How a running job is shown on standard error: a bar, plain lines, JSON lines, or nothing.

Rules: a display is handed each snapshot of the progress together with the time, and reads no clock. Rates and the
time left come from one pure function. A display that can no longer write falls silent: a job outlives its terminal.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from zaudio import Progress

PLAIN_SECONDS = 2.0  # a line every two seconds, or every tenth of the job, whichever comes first
PLAIN_SHARE = 0.1
JSON_SECONDS = 0.5  # often enough for a dashboard, few enough for a log


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a job goes.

    Attributes:
        share: What is done of it, 0.0 to 1.0.
        rate: Bytes a second so far; 0.0 before anything is known.
        eta: Seconds that it will still take, or None when that is unknown.
    """

    share: float
    rate: float
    eta: float | None


def pace(progress: Progress) -> Pace:
    """Rate, share and time left, from the bytes done and the seconds they took; what was resumed took none."""
    if progress.state == "done":
        share = 1.0
    elif progress.bytes > 0:
        share = progress.bytes_done / progress.bytes
    else:
        share = 0.0
    rate = (progress.bytes_done - progress.bytes_resumed) / progress.seconds if progress.seconds > 0 else 0.0
    left = progress.bytes - progress.bytes_done
    return Pace(share, rate, left / rate if rate > 0 else (0.0 if progress.state == "done" else None))


def clock(seconds: float | None) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``; dashes when they are unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def display(mode: str, stream: IO[str] | None = None) -> Display:
    """The display for a mode of ``--progress``.

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

    `start`, any number of `show` and `finish` each take a snapshot and the time in seconds. A context manager: leaving
    it gives the terminal back, whatever happened.
    """

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self, progress: Progress, *, now: float) -> None:
        """The job has started."""

    def show(self, progress: Progress, *, now: float) -> None:
        """The job goes on."""

    def finish(self, progress: Progress, *, now: float) -> None:
        """The job is done."""

    def close(self) -> None:
        """Write nothing any more."""


class _Lines(Display):
    """A line now and then; subclasses say when and what.

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
        except (OSError, ValueError):  # nobody reads it any more
            pass

    def _is_due(self, progress: Progress, now: float, last: Progress, then: float) -> bool:
        raise NotImplementedError

    def _line(self, progress: Progress) -> str:
        raise NotImplementedError


class Plain(_Lines):
    """Lines for a log: at the start, at each new state, every two seconds or tenth of the job, at the end."""

    def _is_due(self, progress: Progress, now: float, last: Progress, then: float) -> bool:
        if progress.state != last.state:
            return True
        if (progress.done, progress.workers, progress.requeued) == (last.done, last.workers, last.requeued):
            return False  # a line that says the same again says nothing
        return now - then >= PLAIN_SECONDS or pace(progress).share - pace(last).share >= PLAIN_SHARE

    def _line(self, progress: Progress) -> str:
        speed = pace(progress)
        words = [
            f"{progress.state}: {progress.done}/{progress.chunks} chunks ({speed.share:.0%})",
            f"{speed.rate / 1e6:.1f} MB/s",
            f"workers {progress.workers}",
            f"requeued {progress.requeued}",
        ]
        if progress.state != "done":
            words.append(f"ETA {clock(speed.eta)}")
        return ", ".join(words)


class JsonLines(_Lines):
    """One JSON object a line, for programs. Lines that do not start with a brace are messages for people."""

    def _is_due(self, progress: Progress, now: float, last: Progress, then: float) -> bool:
        return progress.state != last.state or (progress != last and now - then >= JSON_SECONDS)

    def _line(self, progress: Progress) -> str:
        speed = pace(progress)
        return json.dumps(
            {
                "state": progress.state,
                "chunks": progress.chunks,
                "done": progress.done,
                "bytes": progress.bytes,
                "bytes_done": progress.bytes_done,
                "bytes_resumed": progress.bytes_resumed,
                "workers": progress.workers,
                "requeued": progress.requeued,
                "seconds": round(progress.seconds, 3),
                "bytes_per_second": round(speed.rate, 1),
                "eta": None if speed.eta is None else round(speed.eta, 1),
            }
        )


class Bar(Display):
    """A bar on a terminal. It is drawn by whoever calls `show`: it has no thread of its own."""

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
            redirect_stdout=False,  # stays free for results; what is logged goes above the bar
        )
        self._task = self._bar.add_task("", total=1.0, figures="")

    def start(self, progress: Progress, *, now: float) -> None:
        """Draw the bar for the first time."""
        try:
            self._bar.start()
        except OSError:
            return
        self.show(progress, now=now)

    def show(self, progress: Progress, *, now: float) -> None:  # noqa: ARG002  drawn at each call
        """Draw the bar anew."""
        share, text = pace(progress).share, figures(progress)
        try:
            self._bar.update(self._task, completed=share, description=progress.state, figures=text, refresh=True)
        except OSError:  # the terminal is gone
            pass

    def finish(self, progress: Progress, *, now: float) -> None:
        """Draw the full bar, which stays on the screen."""
        self.show(progress, now=now)

    def close(self) -> None:
        """Give the cursor and standard error back."""
        try:
            self._bar.stop()
        except OSError:
            pass


def figures(progress: Progress) -> str:
    """What stands at the right of the bar."""
    speed = pace(progress)
    text = f"{progress.done}/{progress.chunks} chunks  {speed.rate / 1e6:.1f} MB/s  workers {progress.workers}"
    return text if progress.state == "done" else f"{text}  ETA {clock(speed.eta)}"


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    class Lasting(Console):
        """A console that falls silent on a broken pipe, where rich would end the program."""

        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Lasting(file=stream)
