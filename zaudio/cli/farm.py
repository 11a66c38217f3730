"""`zaudio farm`, `coordinator`, `seal` and `render`: run a job, with or without local workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from zaudio.cli import voice
from zaudio.cli.attending import PageOptions, attend
from zaudio.cli.jobs import job_options, local_options, other_folder, played, render_options, seal_options, stored
from zaudio.cli.options import bind_options, grouped, local_workers
from zaudio.cli.web import web_options
from zaudio.errors import InputChangedError, StorageError, UsageError
from zaudio.machine import check_limits
from zaudio.needed import required
from zaudio.settings import Playable, Sealed

if TYPE_CHECKING:
    from zaudio import Coordinator, Rendering, Report
    from zaudio.net.starter import Starter
    from zaudio.watching.stream import Subscription

STDOUT = "-"


@click.command(epilog="\b\nExample:\n  zaudio farm take.wav -o out -n 4 --op gain:db=-3 --op invert")
@click.argument("input", type=click.Path(allow_dash=True), metavar="INPUT")
@local_options
@job_options
@web_options
def farm(**settings: Any) -> None:  # noqa: ANN401  the options of `run`, as click names them
    """Process INPUT with local workers.

    INPUT is a file, - for standard input, or the folder of a sealed result. With --bind, workers on other machines
    share the job.
    """
    run_here(output=stored(settings), **settings)


@click.command(epilog="\b\nExample:\n  zaudio seal take.wav vault")
@click.argument("input", type=click.Path(allow_dash=True), metavar="INPUT")
@click.argument("output", type=click.Path(), metavar="DIR")
@local_options
@seal_options
@web_options
def seal(**settings: Any) -> None:  # noqa: ANN401  the options of `run`, as click names them
    """Encrypt INPUT as it is, without any operation.

    The result in DIR is stored forward, with the header of a WAV and the metadata of INPUT inside. Other commands take
    DIR as their input.
    """
    run_here(output=stored(settings), ops=(), **settings)


@click.command(epilog="\b\nExample:\n  zaudio render take.wav louder.flac --op gain:db=3 --format s16le --dither")
@click.argument("input", type=click.Path(allow_dash=True), metavar="INPUT")
@click.argument("output", type=click.Path(), metavar="OUT")
@local_options
@render_options
@web_options
def render(**settings: Any) -> None:  # noqa: ANN401  the options of `run`, as click names them
    """Process INPUT into a file that plays.

    OUT is neither reversed nor encrypted. Its suffix says the kind: .wav, .flac, or .raw for samples alone.
    """
    run_here(output=played(settings), **settings)


@click.command(
    epilog="\b\nExample:\n"
    "  zaudio coordinator take.wav --bind tcp://127.0.0.1:5555 -o out\n"
    "  zaudio worker tcp://127.0.0.1:5555"
)
@click.argument("input", type=click.Path(allow_dash=True), metavar="INPUT")
@bind_options(required=True)
@job_options
@web_options
def coordinator(**settings: Any) -> None:  # noqa: ANN401  the options of `run`, as click names them
    """Process INPUT with workers from elsewhere.

    `zaudio worker` starts one.
    """
    check_limits(0, coordinates=True)
    run(output=stored(settings), workers=0, starter=None, **settings)


def run_here(*, workers: int | None, **settings: Any) -> None:  # noqa: ANN401  the options of `run`
    """Run one job with local workers, by default one per core."""
    # numpy would start one thread per core for linear algebra, which this process does not do, just when the starter
    # needs the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from zaudio.net.starter import Starter

    check_limits(0, coordinates=True)
    # Its imports take as long as those of this process, so it is launched before them: the two run side by side.
    with Starter(preload=required(settings["ops"])) as starter:
        run(workers=local_workers(workers, settings), starter=starter, **settings)


def run(
    *,
    input: str,
    output: Sealed | Playable,
    report: str | None,
    events: str | None,
    progress: str,
    starter: Starter | None,
    web: str | None,
    web_linger: float,
    **settings: Any,  # noqa: ANN401  the other options, as click names them
) -> None:
    """Run one job: start it, show its progress, print and write its report.

    Args:
        input: The recording.
        output: The folder for a sealed result, or the file that plays.
        report: The file for the report as JSON, or None.
        events: The log of events, ``-`` for standard output, or None.
        progress: One of the display modes.
        starter: The process that starts local workers, launched already; None without local workers.
        web: Where the page of the job is served, or None.
        web_linger: Seconds that it stays after the end.
        settings: The other options, as click names them.
    """
    from zaudio.cli import report as reports

    place = os.fspath(output.path)
    if report is not None:
        reports.check(report, input, place, settings.get("key_out"))
    if events is not None:
        check_log(events, [input], place, settings.get("key_out"), report)
    job = prepared(input, output, events, settings)
    if starter is not None:
        job.use(starter)

    def finish(done: Report) -> str:
        if report is not None:
            reports.write(report, done)
        text = reports.text(done, place, voice.command())
        if not voice.is_quiet():
            say_published(text, place, beside=events == STDOUT)
        return text

    def kept(error: BaseException) -> str:
        if not job.resumable or isinstance(error, InputChangedError):
            return other_folder(error, place)
        return f"what is done is kept in {kept_in(output)}, and {same_command(settings)} goes on from there"

    page = PageOptions(web, place, web_linger, os.path.basename(input))
    attend(job, settings, progress=progress, page=page, finish=finish, kept=kept)


def prepared(
    input: str, output: Sealed | Playable, events: str | None, settings: dict[str, Any]
) -> Coordinator | Rendering:
    """Return the job, not started, with those that follow its events."""
    from zaudio import Coordinator, Rendering, write_events

    arguments = grouped(settings)
    job: Coordinator | Rendering
    if isinstance(output, Sealed):
        job = Coordinator(input, output, **arguments)
    else:
        job = Rendering(input, output, **arguments)
    if not voice.is_quiet():
        job.follow(show_reading)
    if events is not None:
        write_events(job, events)
    return job


def kept_in(output: Sealed | Playable) -> str:
    """Return the place where an interrupted job keeps its finished part."""
    place = os.fspath(output.path)
    return place if isinstance(output, Sealed) else f"{place}.part"


def show_reading(told: Subscription) -> None:
    """Show by its events how far a recording is read, until the job begins: from then on each event would wake this."""
    from zaudio import events
    from zaudio.cli.progress import ReadingLine

    shown = dict[str, ReadingLine]()
    for event in told:
        if isinstance(event, events.Started):
            break
        if isinstance(event, events.Reading):
            if event.verb not in shown:
                shown[event.verb] = ReadingLine(event.verb, sys.stderr, now=event.at)
            shown[event.verb].show(event.bytes, event.total, now=event.at)
    for line in shown.values():
        line.close()


def check_log(events: str, inputs: Sequence[str], output: str, key_out: str | None, report: str | None) -> None:
    """Make sure that a log of events can be written to that file.

    Raises:
        UsageError: It cannot.
    """
    from zaudio.cli import report as reports
    from zaudio.watching import eventlog

    if events == STDOUT:
        return
    if report is not None and os.path.realpath(report) == os.path.realpath(events):
        raise UsageError(f"--events {events}: the report goes to that file; choose another")
    reports.check(events, inputs[0] if inputs else "", output, key_out, option="--events")
    if os.path.exists(events) and any(os.path.exists(each) and os.path.samefile(events, each) for each in inputs):
        raise UsageError(f"--events {events}: this is an input; choose another file")
    eventlog.check(events)


def say_published(text: str, output: str, *, beside: bool = False) -> None:
    """Print the paths that were published.

    Args:
        text: The sentences.
        output: The folder of the result, or the file.
        beside: Whether to print to standard error: standard output has the lines of the events.

    Raises:
        StorageError: Standard output takes nothing; the sentence says that the result is there all the same.
    """
    if beside:
        voice.err(text)
        return
    try:
        voice.out(text)
    except StorageError as error:
        error.add_note(f"the result is published in {output}")
        raise


def same_command(settings: Mapping[str, Any]) -> str:
    """Return the command, in words, that resumes a job which was started with these settings."""
    changes = ["without --fresh"] if settings["fresh"] else []  # --fresh would discard the work
    if settings.get("recipient") is not None and settings.get("identity") is None:
        changes.append("with --identity FILE")
    return " ".join(["the same command", " and ".join(changes)]).rstrip()
