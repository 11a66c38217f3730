"""Options that several commands share, the checks of their values, and the groups of settings that they make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import click

from zaudio.cli import voice
from zaudio.endpoints import parse_tcp
from zaudio.formats import FORMATS, PACKED
from zaudio.machine import usable_cores
from zaudio.settings import Limits, Network, Raw, Security

Command = TypeVar("Command", bound=Callable[..., Any])

GROUPS = {"raw": Raw, "network": Network, "security": Security, "limits": Limits}  # arguments of the Coordinator
MODES = ("auto", "bar", "plain", "json", "none")


def connect_address(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return an address to connect to, as it was given.

    Raises:
        click.BadParameter: It is not an address, or its port is 0.
    """
    return _address(ctx, param, value, first_port=1)


def bind_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return an address to bind, as it was given; port 0 means any free one, and None that the option was left out.

    Raises:
        click.BadParameter: It is not an address.
    """
    return None if value is None else _address(ctx, param, value, first_port=0)


def complete_ops(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Return the SPECs that a shell may complete to: the built-in ops, and their parameters behind a colon."""
    from zaudio.ops import BUILTIN
    from zaudio.ops.parameters import parameters_of

    specs = [*BUILTIN]
    specs += [f"{name}:{parameter}=" for name, op in BUILTIN.items() for parameter in parameters_of(op)]
    return sorted(spec for spec in specs if spec.startswith(incomplete) and (":" in incomplete or ":" not in spec))


def voice_options(command: Command) -> Command:
    """Add -v and -q to a command."""
    command = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_voice,
        help="Print errors only: no warnings, no progress, no report.",
    )(command)
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_set_voice,
        help="Log what happens to standard error, with the time; show tracebacks. -vv logs every message too.",
    )(command)


def measuring_options(command: Command) -> Command:
    """Add the options of a job that a measurement has too."""
    command = voice_options(command)
    for option in reversed([*RAW_OPTIONS, *INPUT_OPTIONS, *TIMEOUT_OPTIONS, PROGRESS_OPTION]):
        command = option(command)
    return command


def bind_options(*, required: bool) -> Callable[[Command], Command]:
    """Return a decorator that adds --bind and the options that belong to it."""

    def decorate(command: Command) -> Command:
        for option in reversed(_bind_options(required=required)):
            command = option(command)
        return command

    return decorate


def local_workers(workers: int | None, settings: Mapping[str, Any]) -> int | None:
    """Return the number of -n; without one, a local worker per core, unless workers are started elsewhere."""
    return usable_cores() if workers is None and not settings["workers_on"] else workers


def grouped(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `zaudio.Coordinator` for these options. Most options belong to a group of settings.

    An option has the name of its field.

    Raises:
        UsageError: A value cannot be used, or two of one group contradict each other.
    """
    arguments = dict(options)
    for name, group in GROUPS.items():
        own = [field.name for field in fields(group) if field.name in options]
        arguments[name] = group(**{field: arguments.pop(field) for field in own})
    return arguments


def path_option(command: Command) -> Command:
    """Add --path, whose folders are put on Python's path behind all others."""
    return click.option(
        "--path",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False),
        multiple=True,
        expose_value=False,
        callback=_set_path,
        show_default="none",
        help="Folder in which ops find the modules that they import. In the current folder, only the module that is "
        "named is found. Repeatable.",
    )(command)


def _set_voice(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if not value:
        return
    key = voice.VERBOSE if param.name == "verbose" else voice.QUIET
    ctx.meta[key] = True
    if ctx.meta.get(voice.VERBOSE) and ctx.meta.get(voice.QUIET):
        raise click.UsageError("-v and -q exclude each other", ctx)
    voice.log_level("ERROR" if key == voice.QUIET else "INFO" if value == 1 else "DEBUG")


def _set_path(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:  # noqa: ARG001  click's
    sys.path += [os.path.abspath(folder) for folder in value]


def _address(ctx: click.Context, param: click.Parameter, text: str, *, first_port: int) -> str:
    tcp = parse_tcp(text)
    is_path = text.startswith("ipc://") and text != "ipc://"
    if is_path or (tcp is not None and tcp[1] >= first_port):
        return text
    raise click.BadParameter(
        f"{text!r} is neither tcp://HOST:PORT nor ipc://PATH; write it like tcp://127.0.0.1:5555", ctx, param
    )


def _bind_options(*, required: bool) -> list[Callable[[Command], Command]]:
    return [
        click.option(
            "--bind",
            metavar="ENDPOINT",
            callback=bind_address,
            required=required,
            show_default=False if required else "local workers only",
            help="Address where workers connect, such as tcp://127.0.0.1:5555; port 0 takes any free one.",
        ),
        click.option(
            "--sink-bind",
            metavar="ENDPOINT",
            callback=bind_address,
            show_default="the port after --bind's; any free one when that is 0",
            help="Address where workers send results.",
        ),
        click.option(
            "--advertise",
            metavar="HOST[:PORT[,PORT]]",
            show_default="the addresses that are bound",
            help="Host and ports by which workers reach this machine through a firewall or NAT.",
        ),
        *PLACE_OPTIONS,
        click.option(
            "--keys",
            metavar="DIR",
            type=click.Path(),
            show_default="none; on loopback only",
            help="Folder of keys that `zaudio keys init` made: connections are encrypted, and only workers whose keys "
            "are on its list take part.",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            help="Bind beyond this machine without keys: every machine that reaches the address can read the recording "
            "and give wrong results.",
        ),
    ]


PLACE_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--workers-on",
        metavar="PLACE",
        multiple=True,
        show_default="nowhere",
        help="Start workers there for this job, and end them with it: ssh:FILE, a file with a line HOST[:PORT] [user=] "
        "[n=] [python=] for each host; slurm[,n=N][,shared=DIR], DIR being a folder that its nodes see too; "
        "dask:ADDRESS[,n=N][,resource=NAME], a scheduler's; or ray:ADDRESS|auto[,n=N][,cpus=C][,gpus=G]. Repeatable.",
    ),
    click.option(
        "--template-args",
        metavar="ARGS",
        default="",
        show_default="none",
        help='Options of sbatch for workers on slurm, as in a shell: "--partition=long --time=4:00:00".',
    ),
    click.option(
        "--trust-cluster",
        is_flag=True,
        help="Use Dask or Ray on other machines without TLS: every machine that reaches it can run code there and "
        "admit workers.",
    ),
    click.option(
        "--all",
        "all_workers",
        is_flag=True,
        help="Start all workers of --workers-on at once, in place of as many as are of use.",
    ),
]

RAW_FORMAT: Callable[[Any], Any] = click.option(
    "--format",
    type=click.Choice(list(FORMATS | PACKED)),
    show_default="f32le for raw input; other files state their own",
    help="Sample format of a raw input.",
)

RAW_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--samplerate",
        metavar="HZ",
        type=click.IntRange(min=1),
        show_default="44100 for raw input; other files state their own",
        help="Frames a second of a raw input.",
    ),
    click.option(
        "--channels",
        metavar="COUNT",
        type=click.IntRange(min=1),
        show_default="1 for raw input; other files state their own",
        help="Samples a frame of a raw input.",
    ),
    RAW_FORMAT,
    click.option(
        "--truncated",
        is_flag=True,
        help="Take the whole frames of a recording that is shorter than its header says, in place of refusing it.",
    ),
]

TIMEOUT_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--worker-timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        show_default="30",
        help="Seconds without a worker that could be given a chunk, after which the job ends with exit code 69.",
    ),
    click.option(
        "--chunk-timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        show_default="60 at first, then at least 30",
        help="Seconds that a chunk may take, transfer included, before another worker gets it; "
        "or ten times the median of the chunks so far, if that is longer.",
    ),
]

PROGRESS_OPTION: Callable[[Any], Any] = click.option(
    "--progress",
    type=click.Choice(MODES),
    default="auto",
    help="Progress on standard error; auto is a bar on a terminal and plain lines elsewhere.",
)

INPUT_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--input-key",
        metavar="FILE",
        type=click.Path(allow_dash=False),
        show_default="encryption_key.bin in the input's folder",
        help="The encryption key of a sealed result that is the input.",
    ),
    click.option(
        "--input-identity",
        metavar="FILE",
        type=click.Path(),
        show_default="none",
        help="The identity that the input's key is wrapped for.",
    ),
]
