"""The options of commands that make a result: `farm`, `coordinator`, `seal`, `render` and `batch`.

Rules: an option has the name of its field in a group of settings, or of an argument of `zaudio.Coordinator`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from zaudio.cli.options import (
    INPUT_OPTIONS,
    PROGRESS_OPTION,
    RAW_FORMAT,
    RAW_OPTIONS,
    TIMEOUT_OPTIONS,
    bind_options,
    complete_ops,
    path_option,
    voice_options,
)
from zaudio.errors import FolderBusyError, UsageError
from zaudio.formats import FORMATS, PACKED
from zaudio.settings import INSIDES, MEMORY, Playable, Sealed

Command = TypeVar("Command", bound=Callable[..., Any])


def job_options(command: Command) -> Command:
    """Add the options that `farm` and `coordinator` have in common, in the order of the help."""
    return _add(
        command,
        [
            _FOLDER_OPTION,
            _ops_option("invert"),
            *_STORE_OPTIONS,
            *_WORK_OPTIONS,
            *RAW_OPTIONS,
            *INPUT_OPTIONS,
            *_SEALED_OPTIONS,
            *_END_OPTIONS,
        ],
    )


def batch_options(command: Command) -> Command:
    """Add the options of a job that a batch has too."""
    return _add(
        command,
        [
            _RESULTS_OPTION,
            _ops_option(shown="invert; none with --render"),
            _RENDER_OPTION,
            *_STORE_OPTIONS,
            *_WORK_OPTIONS,
            *(option for option in RAW_OPTIONS if option is not RAW_FORMAT),
            _EITHER_FORMAT,
            _INPUT_FORMAT,
            _DITHER_OPTION,
            *INPUT_OPTIONS,
            *(option for option in _SEALED_OPTIONS if option is not _KEY_OUT_OPTION),
            *_END_OPTIONS,
        ],
    )


def seal_options(command: Command) -> Command:
    """Add the options of `seal`."""
    return _add(
        command, [*_SEAL_OPTIONS, *_WORK_OPTIONS, *RAW_OPTIONS, *INPUT_OPTIONS, *_SEALED_OPTIONS, *_END_OPTIONS]
    )


def render_options(command: Command) -> Command:
    """Add the options of `render`."""
    raw = [option for option in RAW_OPTIONS if option is not RAW_FORMAT]
    return _add(
        command, [_ops_option(), *_FILE_OPTIONS, *_WORK_OPTIONS, *raw, _INPUT_FORMAT, *INPUT_OPTIONS, *_END_OPTIONS]
    )


def local_options(command: Command) -> Command:
    """Add the options of local workers, and those of workers from elsewhere."""
    command = path_option(bind_options(required=False)(command))
    for option in reversed(_LOCAL_OPTIONS):
        command = option(command)
    return command


def _add(command: Command, options: list[Callable[[Any], Any]]) -> Command:
    command = voice_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def stored(options: dict[str, Any]) -> Sealed:
    """Take the options of a sealed result's folder out; return the folder.

    Raises:
        UsageError: A value cannot be used.
    """
    return Sealed(options.pop("output"), forward=options.pop("forward"), inside=options.pop("inside"))


def played(options: dict[str, Any]) -> Playable:
    """Take the options of a file that plays out; return the file.

    Raises:
        UsageError: A value cannot be used.
    """
    file = Playable(options.pop("output"), format=options.pop("format"), dither=options.pop("dither"))
    options["format"] = options.pop("input_format")
    return file


def several(options: dict[str, Any]) -> Sealed | Playable:
    """Take the options of a batch's results out; return where they go, and how.

    Raises:
        UsageError: A value cannot be used, or options of the two kinds of result are mixed.
    """
    suffix, dither, input_format = (options.pop(name) for name in ("render", "dither", "input_format"))
    if suffix is None:
        for given, option in ((dither, "--dither"), (input_format is not None, "--input-format")):
            if given:
                raise UsageError(f"{option} goes with --render SUFFIX, for files that play; leave it out, or give both")
        return stored(options)
    output, forward, inside = (options.pop(name) for name in ("output", "forward", "inside"))
    sealed = {
        "--forward": forward,
        "--inside": inside != INSIDES[0],
        "--recipient": options["recipient"] is not None,
        "--identity": options["identity"] is not None,
    }
    for option in (option for option, given in sealed.items() if given):
        raise UsageError(f"{option} is of sealed results, and --render makes files that play; leave one of them out")
    file = Playable(output, format=options["format"], dither=dither, suffix=suffix)
    options["format"] = input_format
    return file


def other_folder(error: BaseException, place: str) -> str:
    """Return how the command that runs is told another output, when another job holds this one; else an empty text."""
    if not isinstance(error, FolderBusyError) or error.path != place:
        return ""
    output = next(each for each in click.get_current_context().command.params if each.name == "output")
    typed = f"with {output.opts[0]} DIR" if output.param_type_name == "option" else "as DIR"
    return f"or name another folder {typed}"


_INPUT_FORMAT: Callable[[Any], Any] = click.option(
    "--input-format",
    type=click.Choice(list(FORMATS | PACKED)),
    show_default="f32le for raw input; other files state their own",
    help="Sample format of a raw input.",
)

_FOLDER_OPTION: Callable[[Any], Any] = click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(),
    default="generated_data",
    help="Folder for result.raw, encryption_key.bin, encryption_iv.bin and result.json.",
)


_RESULTS_OPTION: Callable[[Any], Any] = click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(),
    required=True,
    help="Folder for the results, one folder or file each, and for manifest.jsonl.",
)

_RENDER_OPTION: Callable[[Any], Any] = click.option(
    "--render",
    metavar="SUFFIX",
    show_default="sealed results",
    help="Make files that play, DIR/NAME.SUFFIX, in place of sealed results: wav, flac, or raw for samples alone.",
)

_EITHER_FORMAT: Callable[[Any], Any] = click.option(
    "--format",
    type=click.Choice(list(FORMATS | PACKED)),
    show_default="as that of each recording",
    help="Sample format of the files of --render. Without it, that of raw inputs, by default f32le.",
)

_DITHER_OPTION: Callable[[Any], Any] = click.option(
    "--dither", is_flag=True, help="Add noise before samples are rounded, as the op dither does."
)

_KEY_OUT_OPTION: Callable[[Any], Any] = click.option(
    "--key-out",
    metavar="FILE",
    type=click.Path(),
    show_default="encryption_key.bin in DIR",
    help="New file elsewhere for the encryption key: it never lies beside the ciphertext. A resume needs it.",
)


def _ops_option(*default: str, shown: str = "none") -> Callable[[Any], Any]:
    return click.option(
        "--op",
        "ops",
        metavar="SPEC",
        multiple=True,
        shell_complete=complete_ops,
        default=default,
        show_default=" ".join(default) or shown,
        help="Operation: name, name:key=value,key=value or module:function[:key=value]. Repeat it for a chain, "
        "applied in order. `zaudio ops` lists the names.",
    )


_INSIDE = click.Choice(list(INSIDES))

_STORE_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--forward", is_flag=True, help="Store frames in the order of the recording, the first one first."),
    click.option(
        "--inside",
        type=_INSIDE,
        default="raw",
        help="With wav, the plaintext begins with a WAV's header and metadata: decrypted, it is a file that plays.",
    ),
]

_SEAL_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--forward/--reversed",
        default=True,
        show_default="forward",
        help="Store frames in the order of the recording, or the last one first.",
    ),
    click.option(
        "--inside",
        type=_INSIDE,
        default="wav",
        help="With wav, the plaintext begins with a WAV's header and metadata; with raw, it is samples alone.",
    ),
]

_FILE_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--format",
        type=click.Choice(list(FORMATS | PACKED)),
        show_default="that behind the ops; 24 bits stay 24 bits",
        help="Sample format of OUT.",
    ),
    _DITHER_OPTION,
]

_LOCAL_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "-n",
        "workers",
        metavar="WORKERS",
        type=click.IntRange(min=1),
        show_default="this machine's cores",
        help="Local worker processes; or the workers of each --workers-on that states no number.",
    ),
    click.option(
        "--sockets-only",
        is_flag=True,
        help="Reach local workers over sockets, like remote ones, in place of files and shared memory.",
    ),
]

_WORK_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--chunk",
        metavar="SIZE",
        show_default="chosen for throughput",
        help="Length of a chunk: bytes (1MiB), seconds (1s) or frames (44100f).",
    ),
    click.option(
        "--memory",
        metavar="SIZE",
        default=MEMORY,
        help="Audio that the coordinator may hold or have in flight, such as 64MiB.",
    ),
    click.option(
        "--overwrite", is_flag=True, help="Replace an older result, at the instant when the new one is complete."
    ),
    click.option(
        "--fresh",
        is_flag=True,
        help="Discard an interrupted job, in place of resuming it.",
    ),
    *TIMEOUT_OPTIONS,
]

_SEALED_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--recipient",
        metavar="PUBLICKEY",
        show_default="the key is written raw",
        help="Public key, or a file that holds it, of the person for whom the encryption key is wrapped; "
        "`zaudio identity` prints one.",
    ),
    click.option(
        "--identity",
        metavar="FILE",
        type=click.Path(),
        show_default="none",
        help="File with the recipient's private key; it is needed to resume a job with --recipient.",
    ),
    _KEY_OUT_OPTION,
]

_END_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--audit",
        metavar="PERCENT",
        type=click.FloatRange(0, 100),
        default=0.0,
        show_default="none",
        help="Percentage of chunks, chosen at random, that two workers compute. Such a chunk counts only when the two "
        "agree; a worker that two others contradict is dropped and named.",
    ),
    click.option(
        "--class",
        "machines",
        metavar="NAME",
        show_default="that of the first worker",
        help="Class of machines whose workers take part, as result.json or the refusal of a worker names it: on all "
        "of them the ops give the same bits.",
    ),
    click.option(
        "--report",
        metavar="FILE",
        type=click.Path(),
        show_default="none",
        help="Write a report as JSON to this file, in place of an older one.",
    ),
    click.option(
        "--events",
        metavar="FILE|-",
        type=click.Path(),
        show_default="none",
        help="Append a line of JSON for every event to this file; - is standard output, and the report then goes to "
        "standard error. `zaudio log` sums it up.",
    ),
    PROGRESS_OPTION,
]
