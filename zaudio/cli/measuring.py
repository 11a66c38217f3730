"""`zaudio stats` and `zaudio loudness`: measure a recording, or what ops make of it. Nothing is written.

Rules: without --json the numbers stand in lines for people; a missing number is a dash. With --json they are those of
`to_json`, in one object, with null in place of a dash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from zaudio.cli import voice
from zaudio.cli.attending import attend
from zaudio.cli.options import bind_options, complete_ops, grouped, local_workers, measuring_options, path_option
from zaudio.machine import check_limits
from zaudio.needed import required

if TYPE_CHECKING:
    from zaudio.ops.contract import Op
    from zaudio.ops.loudness import Loudness, LoudnessSurvey
    from zaudio.ops.statistics import Stats, StatsSurvey
    from zaudio.signal import Signal
    from zaudio.surveying import Surveyed

Command = TypeVar("Command", bound=Callable[..., Any])
Measuring = TypeVar("Measuring", bound="Op")

NAMED_CHANNELS = 64  # lines; the JSON has all
COLUMN = 10  # characters: the count of all samples of two days still lines up
HEADINGS = ("channel", "peak dBFS", "RMS dBFS", "DC", "clipped", "not finite", "silent s", "leading s", "trailing s")


class Measurement(Protocol):
    """The outcome of a measurement."""

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""


def survey_options(command: Command) -> Command:
    """Add the argument and the options that commands which print numbers have."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")(command)
    return measured_options(command)


def measured_options(command: Command) -> Command:
    """Add the argument and the options that every command that measures has."""
    for decorate in reversed(
        [
            click.argument("input", type=click.Path(), metavar="INPUT"),
            click.option(
                "--op",
                "ops",
                metavar="SPEC",
                multiple=True,
                shell_complete=complete_ops,
                show_default="none",
                help="Operation before the measurement: name, name:key=value,key=value or "
                "module:function[:key=value]. Repeat it for a chain. `zaudio ops` lists the names.",
            ),
            click.option(
                "-n",
                "workers",
                metavar="WORKERS",
                type=click.IntRange(min=1),
                show_default="this machine's cores; none with --bind",
                help="Local worker processes.",
            ),
            click.option("--sockets-only", is_flag=True, help="Reach local workers over sockets, like remote ones."),
            path_option,
            bind_options(required=False),
            measuring_options,
        ]
    ):
        command = decorate(command)
    return command


@click.command(epilog="\b\nExample:\n  zaudio stats take.wav\n  zaudio stats take.wav --op highpass:hz=80 --json")
@survey_options
def stats(as_json: bool, **settings: Any) -> None:  # noqa: ANN401  the options of `measure`, as click names them
    """Measure levels: peak, RMS, DC, clipped samples and silence.

    Each channel of INPUT is measured by itself. Samples at or beyond full scale are clipped; of integers, those at
    either end of their range. Silence is where no sample in 10 ms is above -60 dBFS.
    """

    def survey() -> StatsSurvey:
        from zaudio.ops.statistics import StatsSurvey

        return StatsSurvey()

    what, (cells, signal) = measure(survey, preload=required(settings["ops"]), **settings)
    result = what.report(cells, signal)
    say(result, lambda: stats_text(result), as_json=as_json, input=settings["input"], ops=settings["ops"])


@click.command(epilog="\b\nExample:\n  zaudio loudness take.wav\n  zaudio loudness take.wav --op limit:db=-1 --json")
@survey_options
def loudness(as_json: bool, **settings: Any) -> None:  # noqa: ANN401  the options of `measure`, as click names them
    """Measure loudness by ITU-R BS.1770-4 and EBU R 128.

    Integrated loudness and loudness range of INPUT, the greatest momentary loudness (400 ms) and short-term loudness
    (3 s), and the true peak.
    """

    def survey() -> LoudnessSurvey:
        from zaudio.ops.loudness import LoudnessSurvey

        return LoudnessSurvey()

    preload = required(["loudnorm", *settings["ops"]])  # it measures what this does
    what, (cells, signal) = measure(survey, preload=preload, **settings)
    result = what.report(cells, signal)
    say(result, lambda: loudness_text(result, signal), as_json=as_json, input=settings["input"], ops=settings["ops"])


def measure(
    make: Callable[[], Measuring],
    *,
    preload: tuple[str, ...],
    workers: int | None,
    bind: str | None,
    progress: str,
    **settings: Any,  # noqa: ANN401  the other options, as click names them
) -> tuple[Measuring, Surveyed]:
    """Measure a recording by local or remote workers, and show the progress.

    Args:
        make: Makes the op whose measuring op is wanted; called when the starter is launched, for it imports numpy.
        preload: The modules that workers need and that take long to import.
        workers: The number of local workers; None for one per core, or for none with `bind`.
        bind: The address where workers connect, or None.
        progress: One of the display modes.
        settings: The other options, as click names them.

    Returns:
        The op; and the cells, with the signal that they were measured of.

    Raises:
        ZaudioError: The measurement failed.
        KeyboardInterrupt: SIGINT came.
        Terminated: SIGTERM came.
    """
    if workers is None:
        workers = local_workers(None, settings) if bind is None else 0
    # numpy would start one thread per core for linear algebra, which this process does not do, just when workers need
    # the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    check_limits(0, coordinates=True)
    with ExitStack() as stack:
        starter = None
        if workers:
            from zaudio.net.starter import Starter

            # Its imports take as long as those below, so it is launched before them: the two run side by side.
            starter = stack.enter_context(Starter(preload=preload))
        from zaudio import Survey

        what = make()
        job = Survey(what=what, workers=workers, bind=bind, **grouped(settings))
        if starter is not None:
            job.use(starter)
        return what, attend(job, {"bind": bind, **settings}, progress=progress)


def say(result: Measurement, text: Callable[[], str], *, as_json: bool, input: str, ops: Sequence[str]) -> None:
    """Print a measurement, for people or as JSON."""
    if as_json:
        told = {"input": input, "ops": list(ops), **result.to_json()}
        voice.out(json.dumps(told, indent=2, allow_nan=False))
        return
    behind = f", behind {' '.join(ops)}" if ops else ""
    voice.out(f"{voice.printable(input + behind)}\n{text()}")


def stats_text(result: Stats) -> str:
    """Return lines about a recording's statistics: a line per channel."""
    rows = [
        (
            str(number),
            _db(channel.peak),
            _db(channel.rms),
            f"{channel.dc:+.6f}",
            str(channel.clipped),
            str(channel.not_finite),
            f"{channel.silent:.2f}",
            f"{channel.leading:.2f}",
            f"{channel.trailing:.2f}",
        )
        for number, channel in enumerate(result.channels[:NAMED_CHANNELS], start=1)
    ]
    lines = ["".join(f"  {cell:>{COLUMN}}" for cell in row) for row in (HEADINGS, *rows)]
    more = len(result.channels) - len(rows)
    rest = [f"  and {more} more channels; --json has all"] if more else []
    return "\n".join([_signal(result.signal), *lines, *rest])


def loudness_text(result: Loudness, signal: Signal) -> str:
    """Return lines about a recording's loudness."""
    lines = [
        f"  integrated           {_db(result.integrated):>7} LUFS",
        f"  range                {_db(result.range):>7} LU",
        f"  momentary maximum    {_db(result.momentary):>7} LUFS",
        f"  short-term maximum   {_db(result.short_term):>7} LUFS",
        f"  true peak            {_db(result.true_peak):>7} dBTP",
    ]
    if result.is_too_short:
        lines.append("  too short: a measurement of loudness needs 0.4 s")
    elif result.integrated is None:
        lines.append("  nothing is above -70 LUFS")
    return "\n".join([_signal(signal), *lines])


def _signal(signal: Signal) -> str:
    from zaudio.cli.progress import clock

    return f"  {signal}, {clock(signal.frames / signal.samplerate)}"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
