"""`zaudio batch`: many recordings on one farm, a result each."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from zaudio import disk
from zaudio.cli import voice
from zaudio.cli.attending import PageOptions, attend, watch
from zaudio.cli.farm import STDOUT, check_log
from zaudio.cli.jobs import batch_options, other_folder, several
from zaudio.cli.options import bind_options, grouped, local_workers, path_option
from zaudio.cli.web import web_options
from zaudio.errors import InputError, JobError, StorageError, UsageError
from zaudio.machine import check_limits
from zaudio.needed import required
from zaudio.settings import Playable, Sealed

if TYPE_CHECKING:
    from zaudio import Batch, Progress
    from zaudio.cli.exit import Signals
    from zaudio.cli.progress import Display
    from zaudio.facts import BatchReport, RecordingReport
    from zaudio.net.starter import Starter

LIST_MARK = "@"


@click.command(
    epilog="\b\nExample:\n"
    "  zaudio batch takes/*.wav -o out -n 4 --op highpass:hz=80\n"
    "  find /archive -name '*.flac' | zaudio batch - -o out\n"
    "  zaudio batch talks/*.mp3 -o talks-wav --render wav --format s16le --dither"
)
@click.argument("inputs", type=click.Path(), metavar="FILE|@LIST|-...", nargs=-1, required=True)
@click.option(
    "-n",
    "workers",
    metavar="WORKERS",
    type=click.IntRange(min=0),
    show_default="this machine's cores; 0 takes --bind",
    help="Local worker processes.",
)
@click.option(
    "--max-fails",
    metavar="COUNT",
    type=click.IntRange(min=1),
    show_default="none",
    help="End the batch when so many recordings have failed.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Read the results of an earlier run as a whole before their recordings are skipped.",
)
@click.option(
    "--sockets-only",
    is_flag=True,
    help="Reach local workers over sockets, like remote ones, in place of files and shared memory.",
)
@path_option
@bind_options(required=False)
@batch_options
@web_options
def batch(inputs: tuple[str, ...], **settings: Any) -> None:  # noqa: ANN401  click's
    """Process many recordings on one farm, into a result each.

    A FILE is a recording. @LIST names a text file with a recording a line, or a NUL behind each, and - reads such a
    list from standard input; a file whose name begins with @ is written ./@NAME. The result of take.wav goes to
    DIR/take, and equal names get a number; with --render wav it is DIR/take.wav, a file that plays. DIR/manifest.jsonl
    says what became of each. Run again, the command does what is left.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in `farm`
    from zaudio.net.starter import Starter

    check_limits(0, coordinates=True)
    settings["workers"] = local_workers(settings["workers"], settings)
    starter = Starter(preload=required(settings["ops"])) if settings["workers"] else None
    try:
        run(listed(inputs), starter=starter, **settings)
    finally:
        if starter is not None:
            starter.close()


def listed(arguments: Sequence[str]) -> list[str]:
    """Return the files that arguments name: themselves, or by a list.

    Raises:
        InputError: A list cannot be read.
    """
    files: list[str] = []
    for argument in arguments:
        if argument == "-":
            files += _lines(sys.stdin.buffer.read())
        elif argument.startswith(LIST_MARK):
            try:
                with open(argument[1:], "rb") as file:
                    files += _lines(file.read())
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise InputError(argument[1:], f"this list of recordings cannot be read: {reason}") from error
        else:
            files.append(argument)
    return files


def run(
    inputs: Sequence[str],
    *,
    output: str,
    report: str | None,
    events: str | None,
    progress: str,
    web: str | None,
    web_linger: float,
    starter: Starter | None,
    **settings: Any,  # noqa: ANN401  the other options, as click names them
) -> None:
    """Run one batch: start it, show its progress, tell of failures, print the sums.

    Raises:
        JobError: A recording failed, or the batch.
    """
    if report is not None:
        check_report(report, inputs, output)
    if events is not None:
        check_log(events, inputs, output, None, report)
        check_own(events, output, option="--events")
    settings["ops"] = settings["ops"] or None
    settings["output"] = output
    store = several(settings)
    job = prepared(inputs, store, events, settings)
    if starter is not None:
        job.use(starter)

    def wait(shown: Display, signals: Signals) -> BatchReport:
        told = Told(job)
        done = watch(told, shown, signals)
        told.tell()
        return done

    def finish(done: BatchReport) -> str:
        if report is not None:
            write_report(report, done)
        text = summary(done, output, store.ending if isinstance(store, Playable) else "")
        if not voice.is_quiet():
            (voice.err if events == STDOUT else voice.out)(text)
        return text

    def kept(error: BaseException) -> str:
        if isinstance(error, UsageError):
            return other_folder(error, output)
        ended = job.progress
        done = ended.done - ended.failed  # each of them has its result, also of those that ended behind the error
        return (
            f"{done} of {voice.counted(ended.chunks, 'recording')} {'is' if done == 1 else 'are'} done and kept in "
            f"{output}, and the same command does the rest"
        )

    page = PageOptions(web, output, web_linger, os.path.basename(os.path.abspath(output)), job.listed)
    with reported(report, job):
        done = attend(job, settings, progress=progress, page=page, wait=wait, finish=finish, kept=kept)
    if done.failed:
        raise JobError(f"{voice.counted(done.failed, 'recording')} failed, as said above; the same command tries again")


def prepared(inputs: Sequence[str], store: Sealed | Playable, events: str | None, settings: dict[str, Any]) -> Batch:
    """Return the batch, not started, with its log of events."""
    from zaudio import Batch, write_events

    thorough = settings.pop("verify")
    job = Batch(inputs, store, **grouped(settings))
    if thorough:
        job.verify_skipped()
    if events is not None:
        write_events(job, events)
    return job


class Told:
    """A batch whose failures are told while it is waited for."""

    def __init__(self, job: Batch) -> None:
        self._job = job
        self._warned: list[str] = []

    @property
    def progress(self) -> Progress:
        """Its progress."""
        return self._job.progress

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user: its own, and those of recordings that ended."""
        return (*self._job.warnings, *self._warned)

    def stop(self) -> None:
        """End it."""
        self._job.stop()

    def wait(self, timeout: float | None = None) -> BatchReport:
        """Wait for its end."""
        try:
            return self._job.wait(timeout)
        finally:
            self.tell()

    def tell(self) -> None:
        """Tell of the recordings that failed since the last call."""
        for each in self._job.take():
            if each.state == "failed":
                voice.err(f"zaudio: {voice.printable(_failure(each))}")
            self._warned += [f"{each.input}: {warning}" for warning in each.warnings]


def summary(done: BatchReport, output: str, ending: str = "") -> str:
    """Return the lines about a batch that came to its end; `ending` is the suffix of files that play."""
    parts = [f"{done.done} done"]
    parts += [f"{done.failed} failed"] if done.failed else []
    parts += [f"{done.skipped} done by an earlier run"] if done.skipped else []
    place = voice.printable(os.path.join(output, f"NAME{ending}"))
    pace = f", {done.seconds / done.done * 1000:.1f} ms each" if done.done else ""
    return (
        f"{voice.counted(done.recordings, 'recording')}: {', '.join(parts)}\n"
        f"  {done.bytes / 1e6:.1f} MB in {done.seconds:.2f} s{pace}; {voice.counted(done.workers, 'worker')}\n"
        f"  results: {place}; {voice.printable('manifest.jsonl')} says which"
    )


def check_report(path: str, inputs: Sequence[str], output: str) -> None:
    """Make sure that a report can be written there.

    Raises:
        UsageError: It cannot; the sentence says why.
    """
    from zaudio.cli import report as reports

    reports.check(path, "", output)
    check_own(path, output, option="--report")
    target = os.path.realpath(path)
    if os.path.exists(target) and any(os.path.exists(each) and os.path.samefile(target, each) for each in inputs):
        raise UsageError(f"--report {path}: this is an input")


def check_own(path: str, output: str, *, option: str) -> None:
    """Make sure that a batch does not keep that file for itself.

    Raises:
        UsageError: It does.
    """
    from zaudio.batching.manifest import OWN

    if os.path.realpath(path) in {os.path.realpath(os.path.join(output, name)) for name in OWN}:
        raise UsageError(f"{option} {path}: the batch keeps {os.path.basename(path)} itself; choose another file")


def write_report(path: str, done: BatchReport) -> None:
    """Write the sums as JSON, whole or not at all.

    Raises:
        StorageError: It could not be written; the results are published all the same.
    """
    try:
        _store(path, done)
    except OSError as error:
        raise StorageError(path, f"the results are published, but not the report: {disk.reason(error)}") from error


@contextmanager
def reported(path: str | None, job: Batch) -> Iterator[None]:
    """Write the sums of a batch that had begun, if an error ends it in the block; note on that if they cannot be."""
    try:
        yield
    except BaseException as error:
        if path is not None and job.exception() is not None and not isinstance(error, UsageError):
            try:
                _store(path, job.sums())
            except UsageError:
                pass  # it had not
            except OSError as reason:  # the same disk may be full
                error.add_note(f"{path}: the report could not be written: {disk.reason(reason)}")
        raise


def _store(path: str, done: BatchReport) -> None:
    target = os.path.realpath(path)
    with disk.whole_file(target, f"{os.path.basename(target)}.{os.getpid()}.part", mode=disk.PUBLIC) as fd:
        disk.write_all(fd, (done.to_json() + "\n").encode())


def _failure(each: RecordingReport) -> str:
    sentence = each.sentence
    return sentence if each.input in sentence else f"{each.input}: {sentence}"


def _lines(content: bytes) -> list[str]:
    # `find -print0` ends a name with a NUL, since it may have a line end in it.
    lines = content.split(b"\0") if b"\0" in content else content.removeprefix(BOM_UTF8).splitlines()
    return [os.fsdecode(line) for line in lines if line]
