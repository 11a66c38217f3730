"""`zaudio ops`: list, describe and check the operations."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zaudio.cli import voice
from zaudio.cli.checked import check_op
from zaudio.cli.options import complete_ops, path_option, voice_options
from zaudio.formats import FORMATS, MAX_CHANNELS, MAX_SAMPLERATE, sample_format
from zaudio.signal import Signal

if TYPE_CHECKING:
    from zaudio.ops import Described, Op, Scalar

OWN = """\
An operation of your own is a function that takes an array (frames, channels) and returns one of the same shape
and dtype. Name it module:function[:key=value,...]. Workers that you start yourself need --allow module.
What it needs besides, such as frames on either side, @zaudio.op(...) declares; --check tells whether that is enough."""
WIDEST = 110  # columns, as those of --help
GROUPS = {
    "per sample": "Each sample by itself",
    "finite memory": "With a memory of so many frames: exact in any cut",
    "grid": "With a memory that fades: in blocks, each from the context in front of it",
    "measured": "After measuring the whole recording",
}


@click.command(epilog="\b\nExample:\n  zaudio ops gain\n  zaudio ops my_ops:echo:ms=120 --check")
@click.argument("spec", required=False, metavar="[SPEC]", shell_complete=complete_ops)
@click.option(
    "--check", is_flag=True, help="Try on noise whether the bits depend on cuts; the exit code is 1 if they do."
)
@click.option(
    "--samplerate",
    metavar="HZ",
    type=click.IntRange(1, MAX_SAMPLERATE),
    default=44100,
    help="Frames a second of the sound for which the operation is shown or checked.",
)
@click.option(
    "--channels",
    metavar="COUNT",
    type=click.IntRange(1, MAX_CHANNELS),
    default=1,
    help="Samples a frame of that sound.",
)
@click.option("--format", type=click.Choice(list(FORMATS)), default="f32le", help="Sample format of that sound.")
@click.option(
    "--seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    show_default="1, or a few blocks",
    help="Length of the noise for --check.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--digest", is_flag=True, hidden=True, help="Print a hash of the checked result; --check calls this.")
@path_option
@voice_options
@click.pass_context
def ops(
    ctx: click.Context,
    /,
    spec: str | None,
    *,
    check: bool,
    digest: bool,
    as_json: bool,
    **noise: Any,  # noqa: ANN401  options of --check
) -> None:
    """List the operations, show one in full, or check one.

    SPEC is written as for --op of `zaudio farm`; to show an operation, its name is enough.
    """
    from zaudio.ops import describe_op, describe_ops, parse

    if spec is None:
        if check or digest:
            raise click.UsageError("--check needs a SPEC", ctx)
        described = describe_ops()
        voice.out(json.dumps([dataclasses.asdict(op) for op in described]) if as_json else catalogue(described))
        return
    # A second of sound, by which durations become frames.
    signal = Signal(noise["samplerate"], noise["channels"], noise["samplerate"], sample_format(noise["format"]))
    if check or digest:
        ctx.exit(check_op(spec, own_or_built_in(spec), signal, noise["seconds"], digest=digest, as_json=as_json))
    elif parse(spec).is_function:
        about = about_own(own_or_built_in(spec), signal)
        voice.out(json.dumps(about) if as_json else page_of_own(about))
    else:
        op = describe_op(parse(spec).name)
        voice.out(json.dumps(dataclasses.asdict(op)) if as_json else page(op))


def own_or_built_in(spec: str) -> Op:
    """Return the op that a SPEC asks for; a module of the user's is imported.

    Raises:
        UsageError: It cannot be used.
    """
    from zaudio.ops import import_allowed, make_ops, parse
    from zaudio.ops.beside import find_beside

    parsed = parse(spec)
    names = [parsed.name] if parsed.is_function else []
    find_beside(names)
    return make_ops([parsed], import_allowed(names))[0]


def catalogue(described: Sequence[Described]) -> str:
    """Return one line per operation, in groups, and how to add an operation of one's own."""
    width = max((len(op.name) for op in described), default=0)
    lines = []
    for exactness, title in GROUPS.items():
        group = [op for op in described if op.exactness == exactness]
        lines += ["", f"{title}:"] * bool(group)
        lines += [_folded(f"  {op.name:<{width}}  {op.summary}", width + 4) for op in group]
    return "\n".join([*lines[1:], "", "`zaudio ops NAME` shows one in full.", _folded(OWN)])


def page(op: Described) -> str:
    """Return the description of a built-in operation, with its parameters and an example."""
    lines = [_folded(f"{op.name}: {op.summary}", 2), *_paragraphs(op.text)]
    for name, default, span, meaning in op.parameters:
        lines.append(_folded(f"  {name} ({span}, {_default(default)}): {meaning}", 6))
    if not op.parameters:
        lines.append("  no parameters")
    return "\n".join([*lines, f"Exactness: {op.exactness}", f"Example: zaudio farm take.wav --op {op.example}"])


def about_own(op: Op, signal: Signal) -> dict[str, Any]:
    """Return a user's op in words and numbers, for a signal."""
    from zaudio.ops.own import FunctionOp, own_version
    from zaudio.ops.results import title_of

    source = op.function if isinstance(op, FunctionOp) else type(op)
    before, after = op.context(signal)
    return {
        "name": title_of(op),
        "text": _text(source),
        "signature": _signature(source),
        "precision": op.precision.value,
        "context": [before, after],
        "grid": op.grid(signal),
        "memory": op.has_memory(signal),
        "measures": op.measure(signal) is not None,
        "setup": op.declared.setup is not None if isinstance(op, FunctionOp) else type(op).setup is not _base().setup,
        "version": own_version(op),
        "signal": str(signal),
    }


def page_of_own(about: dict[str, Any]) -> str:
    """Return the description of a user's op."""
    lines = [f"{about['name']}{about['signature']}", *_indented(about["text"])]
    if about["measures"]:
        lines.append("  context: it measures the whole recording first")
    elif about["memory"]:
        before, after = about["context"]
        lines.append(f"  context: {before} frames before, {after} behind, at {about['signal'].split(' at ')[1]}")
        lines.append(f"  grid: {about['grid']} frames" if about["grid"] > 1 else "  grid: none of its own")
    else:
        lines.append("  context: none; it works sample by sample")
    lines.append(f"  precision: {about['precision']}")
    lines += ["  setup: once in each worker's process"] * about["setup"]
    lines += [f"  version: {about['version']}"] * bool(about["version"])
    return "\n".join([*lines, f"Check it: zaudio ops {about['name']} --check"])


def _base() -> type[Op]:
    from zaudio.ops import Op

    return Op


def _text(source: object) -> str:
    text = inspect.getdoc(source) or ""
    # A dataclass without a docstring gets its signature as one.
    return "" if isinstance(source, type) and text.startswith(f"{source.__name__}(") else text


def _signature(source: Callable[..., object]) -> str:
    try:
        return str(inspect.signature(source)).removesuffix(" -> None")
    except (TypeError, ValueError):  # compiled
        return ""


def _default(value: Scalar | None) -> str:
    """Return the words for the default of a parameter."""
    if value in (None, ""):
        return "required" if value is None else "optional"
    return f"default {value:g}" if isinstance(value, float) else f"default {value}"


def _folded(text: str, hanging: int = 0) -> str:
    """Return a paragraph in lines as wide as the terminal; all but the first are indented."""
    width, indent = min(WIDEST, shutil.get_terminal_size().columns), " " * hanging
    text = text.replace("\n", " ")
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _paragraphs(text: str) -> Iterable[str]:
    """Yield the lines of a built-in op's text, folded; formulas, which are indented, stay as they are."""
    for number, block in enumerate(text.split("\n\n") if text else ()):
        if number:
            yield ""
        if block.startswith(" "):
            yield from _indented(block)
        else:
            for paragraph in block.replace("\nSource", "\n\nSource").split("\n\n"):
                yield _folded(f"  {paragraph}", 2)


def _indented(text: str) -> Iterable[str]:
    return (f"  {line}".rstrip() for line in text.splitlines())
