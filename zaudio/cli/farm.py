"""`zaudio farm` and `zaudio coordinator`: run a job, with or without local workers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from zaudio.cli import voice
from zaudio.cli.exit import Signals
from zaudio.cli.options import bind_options, grouped, job_options, path_option
from zaudio.errors import InputChangedError, StoppedError, StorageError, ZaudioError
from zaudio.machine import check_limits, usable_cores
from zaudio.needed import required

if TYPE_CHECKING:
    from zaudio import Progress
    from zaudio.cli.progress import Display
    from zaudio.net.starter import Starter

POLL = 0.1  # seconds between two looks at the progress: ten a second look fluent

Outcome = TypeVar("Outcome", covariant=True)


class Watched(Protocol[Outcome]):
    """A job or a survey that has started."""

    @property
    def progress(self) -> Progress:
        """Its progress."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""

    def stop(self) -> None:
        """End it."""

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for its end."""


@click.command(epilog="\b\nExample:\n  zaudio farm take.wav -o out -n 4 --op gain:db=-3 --op invert")
@click.argument("input", type=click.Path(), metavar="INPUT")
@click.option(
    "-n",
    "workers",
    metavar="WORKERS",
    type=click.IntRange(min=1),
    show_default="this machine's cores",
    help="Local worker processes.",
)
@click.option(
    "--sockets-only",
    is_flag=True,
    help="Reach local workers over sockets, like remote ones, in place of files and shared memory.",
)
@path_option
@bind_options(required=False)
@job_options
def farm(workers: int | None, **settings: Any) -> None:  # noqa: ANN401  the options of `run`, as click names them
    """Process INPUT with local workers.

    With --bind, workers on other machines share the job.
    """
    # numpy would start one thread per core for linear algebra, which this process does not do, just when the starter
    # needs the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from zaudio.net.starter import Starter

    check_limits(0, coordinates=True)
    # Its imports take as long as those of this process, so it is launched before them: the two run side by side.
    with Starter(preload=required(settings["ops"])) as starter:
        run(workers=workers if workers is not None else usable_cores(), starter=starter, **settings)


@click.command(
    epilog="\b\nExample:\n"
    "  zaudio coordinator take.wav --bind tcp://127.0.0.1:5555 -o out\n"
    "  zaudio worker tcp://127.0.0.1:5555"
)
@click.argument("input", type=click.Path(), metavar="INPUT")
@bind_options(required=True)
@job_options
def coordinator(**settings: Any) -> None:  # noqa: ANN401  the options of `run`, as click names them
    """Process INPUT with workers from elsewhere.

    `zaudio worker` starts one.
    """
    check_limits(0, coordinates=True)
    run(workers=0, starter=None, **settings)


def run(
    *,
    input: str,
    output: str,
    report: str | None,
    progress: str,
    starter: Starter | None,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Run one job: start it, show its progress, print and write its report.

    Args:
        input: The recording.
        output: The folder for the result.
        report: The file for the report as JSON, or None.
        progress: One of the display modes.
        starter: The process that starts local workers, launched already; None without local workers.
        settings: The other options, as click names them.
    """
    from zaudio.cli import report as reports
    from zaudio.cli.progress import display

    if report is not None:
        reports.check(report, input, output, settings["key_out"])
    from zaudio import Coordinator

    job = Coordinator(input, output, **grouped(settings))
    if starter is not None:
        job.use(starter)

    def leave() -> None:
        if not started:
            job.stop(wait=False)  # the start may be reading the result of an interrupted job

    started = False
    # A signal waits for the next look at the job. Raised at the end of the start, before the block has begun, it would
    # leave a job that runs on.
    signals = Signals(leave=leave)
    try:
        with signals:
            signals.raise_received()  # an early signal: a job that has not begun cannot be told to stop
            with job, display("none" if voice.is_quiet() else progress) as shown:
                if settings["bind"] is not None and job.endpoint is not None and not voice.is_quiet():
                    keys = " --keys DIR" if settings["keys"] is not None else ""
                    voice.err(f"workers connect with: zaudio worker {job.endpoint}{keys}")
                started = True
                done = watch(job, shown, signals)
            # The result is published: one signal no longer changes how this ends; a second one always does.
            if report is not None:
                reports.write(report, done)
            if not voice.is_quiet():
                say_published(reports.text(done, output, voice.command()), output)
    except StoppedError:
        signals.raise_received()
        raise
    except BaseException as error:
        if job.resumable and not isinstance(error, InputChangedError):
            error.add_note(f"what is done is kept in {output}, and {same_command(settings)} goes on from there")
        raise


def say_published(text: str, output: str) -> None:
    """Print what was published.

    Raises:
        StorageError: Standard output takes nothing; the sentence says that the result is there all the same.
    """
    try:
        voice.out(text)
    except StorageError as error:
        error.add_note(f"the result is published in {output}")
        raise


def same_command(settings: Mapping[str, Any]) -> str:
    """Return the command, in words, that resumes a job which was started with these settings."""
    changes = ["without --fresh"] if settings["fresh"] else []  # --fresh would discard the work
    if settings["recipient"] is not None and settings["identity"] is None:
        changes.append("with --identity FILE")
    return " ".join(["the same command", " and ".join(changes)]).rstrip()


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
