"""The command ``zaudio``: its subcommands, and its help."""

from __future__ import annotations

import click

from zaudio.cli.batch import batch
from zaudio.cli.exit import Commands
from zaudio.cli.farm import coordinator, farm, render, seal
from zaudio.cli.generate import generate
from zaudio.cli.identity import identity
from zaudio.cli.keys import keys
from zaudio.cli.log import log
from zaudio.cli.measuring import loudness, stats
from zaudio.cli.operations import ops
from zaudio.cli.results import decrypt, verify
from zaudio.cli.status import status
from zaudio.cli.template import template
from zaudio.cli.view import view
from zaudio.cli.worker import worker
from zaudio.version import VERSION

EPILOG = """\b
Example:
  zaudio generate
  zaudio farm generated_data/test.raw -n 4 --op highpass:hz=80 --op loudnorm:lufs=-16
  zaudio decrypt generated_data

\b
Exit codes:
  0   done
  1   the job failed, or an op is not exact
  2   usage; a result would be overwritten; folder or port in use; no keys, or keys that others can read
  3   the input cannot be read as audio, or changed
  5   verification failed
  69  no worker, or no coordinator
  77  this worker was refused, or does not trust the coordinator
  130, 143  interrupted, terminated
"""


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110},
)
@click.version_option(VERSION, message="%(prog)s %(version)s", help="Print the version and exit.")
def app() -> None:
    """Cut one recording into chunks, have workers process them, and encrypt the result, reversed in time."""


_JOBS = (generate, farm, batch, render, seal, coordinator, worker, status, log, keys, template)
_FILES = (decrypt, verify, identity, ops, stats, loudness, view)
for command in (*_JOBS, *_FILES):
    app.add_command(command)
