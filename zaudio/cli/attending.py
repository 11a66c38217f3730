"""Attending: a job of a command, from its start to its end: signals, the page, the bar, warnings.

Rules: a signal waits for the next look at the job. Raised at the end of the start, before the block has begun, it would
leave a job that runs on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zaudio.cli import voice
from zaudio.cli.exit import Signals
from zaudio.cli.web import Job, showing
from zaudio.errors import StoppedError, ZaudioError

if TYPE_CHECKING:
    from zaudio import Progress
    from zaudio.cli.progress import Display
    from zaudio.facts import Listed

POLL = 0.1  # seconds between two looks at the progress: ten a second look fluent

Outcome = TypeVar("Outcome")
Told = TypeVar("Told", covariant=True)


class Watched(Protocol[Told]):
    """A job or a survey that has started."""

    @property
    def progress(self) -> Progress:
        """Its progress."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""

    def stop(self) -> None:
        """End it."""

    def wait(self, timeout: float | None = None) -> Told:
        """Wait for its end."""


class Attended(Watched[Told], Job, Protocol[Told]):
    """A job that has not started. Entered, it starts; left, it stops."""

    @property
    def endpoint(self) -> str | None:
        """The address where workers connect, if there is one."""

    def stop(self, *, wait: bool = True) -> None:
        """End it."""

    def __enter__(self) -> object:
        """Start it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it, if it goes on."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The options of a command's page.

    Attributes:
        text: The page's address, as the user wrote it; None for no page.
        place: The output, in or beside which the address is kept; None for none.
        linger: Seconds that it stays after the end.
        title: Its title.
        jobs: Returns the recordings of a batch; None for a job.
    """

    text: str | None = None
    place: str | None = None
    linger: float = 0.0
    title: str = ""
    jobs: Callable[[], Listed] | None = None


def attend(
    job: Attended[Outcome],
    settings: Mapping[str, Any],
    *,
    progress: str,
    page: PageOptions = PageOptions(),
    wait: Callable[[Display, Signals], Outcome] | None = None,
    finish: Callable[[Outcome], str] | None = None,
    kept: Callable[[BaseException], str] = lambda _: "",
) -> Outcome:
    """Run a job: start it, show it until its end, and let its command finish with the outcome.

    Args:
        job: The job, not started.
        settings: The command's options, as click names them; `workers`, `bind` and `keys` are looked at.
        progress: One of the display modes.
        page: Its page.
        wait: Waits for the outcome; None for `watch`.
        finish: Writes and prints the outcome, the command's last work; returns what the page shows. None: it goes on.
        kept: Returns where an interrupted job keeps what is done, and how it goes on; empty when nothing is kept.

    Raises:
        ZaudioError: The job failed.
        KeyboardInterrupt: SIGINT came.
        Terminated: SIGTERM came.
    """
    from zaudio.cli.progress import display

    started, ended = False, False

    def leave() -> None:
        if not started:
            job.stop(wait=False)  # the start may be reading the recording, or the result of an interrupted job

    signals = Signals(leave=leave)
    try:
        workers = settings.get("workers") or 0
        with signals, showing(page.text, page.place, linger=page.linger, workers=workers) as shown_page:
            signals.raise_received()  # an early signal: a job that has not begun cannot be told to stop
            shown_page.listen(job)
            shown = display("none" if voice.is_quiet() else progress)
            shown.listen(job.subscribe)
            with shown_page.until_failed(signals), job, shown:
                _invite(job, settings)
                shown_page.open(job, page.title, jobs=page.jobs)
                started = True
                outcome = wait(shown, signals) if wait is not None else watch(job, shown, signals)
            ended = True
            if finish is not None:
                signals.settle()  # one signal no longer changes how this ends; a second one always does
                shown_page.end(finish(outcome), signals)
            return outcome
    except StoppedError:
        signals.raise_received()
        raise
    except BaseException as error:
        note = kept(error) if not ended else ""
        if note:
            error.add_note(note)
        raise


def _invite(job: Attended[Any], settings: Mapping[str, Any]) -> None:
    """Say how workers connect."""
    if settings["bind"] is not None and job.endpoint is not None and not voice.is_quiet():
        keys = " --keys DIR" if settings["keys"] is not None else ""
        voice.err(f"workers connect with: zaudio worker {job.endpoint}{keys}")


def watch(job: Watched[Outcome], shown: Display, signals: Signals) -> Outcome:
    """Wait for the end of a job; show its progress and its warnings meanwhile.

    Returns:
        The job's report, or what was measured.

    Raises:
        ZaudioError: The job failed.
        KeyboardInterrupt: SIGINT came.
        Terminated: SIGTERM came.
    """
    warned = 0
    shown.start(job.progress, now=time.monotonic())
    while True:
        try:
            outcome = job.wait(timeout=POLL) if signals.received is None else stopped(job, signals)
        except TimeoutError:
            outcome = None
        finally:  # also in front of an error
            for sentence in job.warnings[warned:]:
                voice.warn(sentence)
                warned += 1
        if outcome is not None:
            shown.finish(job.progress, now=time.monotonic())
            return outcome
        shown.show(job.progress, now=time.monotonic())


def stopped(job: Watched[Outcome], signals: Signals) -> Outcome:
    """Stop a job because of a signal.

    Returns:
        The job's report, if it was being published, which cannot be called off.

    Raises:
        KeyboardInterrupt: SIGINT came, and nothing was published.
        Terminated: SIGTERM came, and nothing was published.
    """
    job.stop()
    try:
        return job.wait(timeout=0)
    except (ZaudioError, TimeoutError):
        signals.raise_received()
        raise
