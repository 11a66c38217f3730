"""`zaudio ops`: list and describe the operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from zaudio.cli import voice
from zaudio.cli.options import complete_ops, voice_options

OWN = """\
An operation of your own is a function that takes an array (frames, channels) and returns one of the same shape
and dtype. Name it module:function[:key=value,...]. Workers that you start yourself need --allow module."""


@click.command(epilog="\b\nExample:\n  zaudio ops gain")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_ops)
@voice_options
def ops(name: str | None) -> None:
    """List the operations, or show one in full."""
    from zaudio.ops import describe_op, describe_ops

    voice.out(catalogue(describe_ops()) if name is None else page(describe_op(name)))


def catalogue(descriptions: Sequence[Mapping[str, Any]]) -> str:
    """Return one line per operation, and how to add an operation of one's own."""
    width = max((len(op["name"]) for op in descriptions), default=0)
    lines = [f"{op['name']:<{width}}  {op['summary']}" for op in descriptions]
    return "\n".join([*lines, "", "`zaudio ops NAME` shows one in full.", OWN])


def page(op: Mapping[str, Any]) -> str:
    """Return the description of an operation, with its parameters and an example."""
    lines = [f"{op['name']}: {op['summary']}"]
    for parameter in op["parameters"]:
        default = "required" if parameter["default"] is None else f"default {parameter['default']:g}"
        span = f"{parameter['least']:g} to {parameter['most']:g}"
        lines.append(f"  {parameter['name']} ({parameter['type']}, {span}, {default}): {parameter['meaning']}")
    if not op["parameters"]:
        lines.append("  no parameters")
    lines.append(f"Example: zaudio farm take.wav --op {op['example']}")
    return "\n".join(lines)
