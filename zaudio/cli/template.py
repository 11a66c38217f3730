"""`zaudio template`: print the file that starts workers under Slurm or Kubernetes. It submits nothing.

Rules: a secret is printed with --with-secret alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zaudio.cli import voice
from zaudio.cli.options import complete_ops, connect_address, voice_options

if TYPE_CHECKING:
    from zaudio.launching.templates import WorkerLine

ADDRESS = "tcp://192.168.1.5:5555"


def _worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return voice_options(command)


_OPTIONS = (
    click.option("-n", "count", metavar="WORKERS", type=click.IntRange(min=1), default=4, help="Number of workers."),
    click.option(
        "--endpoint",
        metavar="ADDRESS",
        required=True,
        callback=connect_address,
        help="The coordinator's address, as workers reach it: tcp://HOST:PORT.",
    ),
    click.option(
        "--keys",
        metavar="DIR",
        type=click.Path(),
        show_default="none, for an address of this machine",
        help="The workers' folder of keys, which `zaudio keys worker` made.",
    ),
    click.option(
        "--op",
        "ops",
        metavar="SPEC",
        multiple=True,
        shell_complete=complete_ops,
        show_default="built-in operations only",
        help="Operation as the job has it; workers allow the functions of modules of your own. Repeatable.",
    ),
)


@click.group(
    epilog="\b\nExample:\n"
    "  zaudio keys worker cluster --keys farm-keys\n"
    f"  zaudio template slurm -n 64 --endpoint {ADDRESS} --keys farm-keys/handover/cluster\n"
    f"  zaudio template kubernetes -n 8 --endpoint {ADDRESS} --keys farm-keys/handover/cluster --image IMAGE"
)
def template() -> None:
    """Print a file that starts workers under a batch system. Nothing is submitted."""


@template.command()
@_worker_options
@click.option(
    "--template-args",
    metavar="ARGS",
    default="",
    show_default="none",
    help='Options of sbatch, as in a shell: "--partition=long --time=4:00:00".',
)
def slurm(count: int, endpoint: str, keys: str | None, ops: Sequence[str], template_args: str) -> None:
    """Print a batch script for Slurm's sbatch: a job array with one worker per task."""
    from zaudio.launching import templates

    line = _line(endpoint, os.path.abspath(keys) if keys else None, ops)
    voice.out(templates.slurm(line, count, arguments=templates.split(template_args)).rstrip("\n"))


@template.command()
@_worker_options
@click.option("--image", metavar="IMAGE", required=True, help="Container image that has zaudio and the ops' modules.")
@click.option("--with-secret", is_flag=True, help="Print the Secret too, with the worker's secret key in it.")
def kubernetes(count: int, endpoint: str, keys: str | None, ops: Sequence[str], image: str, with_secret: bool) -> None:
    """Print the manifest of a Kubernetes Job, with one worker per pod."""
    from zaudio.launching import templates
    from zaudio.net.keys import worker_keys

    name = f"zaudio-{_label(keys)}" if keys else "zaudio"
    said = [templates.kubernetes(_line(endpoint, keys, ops), count, image=image, secret_name=name)]
    if keys is None:
        if with_secret:
            raise click.UsageError("--with-secret: give the worker's keys by --keys DIR")
    elif with_secret:
        worker_keys(keys)  # so that no Job waits for keys that no worker could use
        said.insert(0, templates.secret(keys, secret_name=name))
    else:
        said.insert(0, f"# Its keys: {templates.kubectl_secret(keys, secret_name=name)}\n")
    voice.out(("---\n" if with_secret else "").join(said).rstrip("\n"))


def _line(endpoint: str, keys: str | None, ops: Sequence[str]) -> WorkerLine:
    from zaudio.endpoints import is_loopback
    from zaudio.launching.templates import WorkerLine
    from zaudio.ops import parse_chain

    if keys is None and not is_loopback(endpoint):
        raise click.UsageError(f"{endpoint} is beyond this machine: give keys, --keys DIR")
    own = dict.fromkeys(spec.name for spec in parse_chain(ops) if spec.is_function)
    return WorkerLine(endpoint, keys, tuple(own))


def _label(folder: str) -> str:
    """Return the name of a folder as Kubernetes takes names."""
    name = os.path.basename(os.path.abspath(folder)).lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:40].strip("-") or "worker"
