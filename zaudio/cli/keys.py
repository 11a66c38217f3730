"""`zaudio keys`: make, list and revoke the keys by which a coordinator and its workers know each other.

Rules: a secret is written to its file and never printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from zaudio.cli import voice
from zaudio.cli.options import voice_options


def _default_folder() -> str:
    from zaudio.net.keys import default_folder

    return default_folder()


def _keys_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--keys",
        "folder",
        metavar="DIR",
        type=click.Path(),
        default=_default_folder,
        show_default="zaudio/keys in the user's configuration",
        help="Folder of keys that `zaudio keys init` made.",
    )(command)


@click.group(
    epilog="\b\nExample:\n"
    "  zaudio keys init farm-keys\n"
    "  zaudio keys worker studio-2 --keys farm-keys\n"
    "  zaudio coordinator take.wav --bind tcp://0.0.0.0:5555 --keys farm-keys\n"
    "  zaudio worker tcp://192.168.1.5:5555 --keys studio-2     # that folder, moved to the worker's machine"
)
def keys() -> None:
    """Make, list and revoke the keys of a farm."""


@keys.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(), default=_default_folder)
@voice_options
def init(folder: str) -> None:
    """Make the coordinator's key, in the folder DIR.

    Without DIR, it is zaudio/keys in the user's configuration ($XDG_CONFIG_HOME or ~/.config).
    """
    from zaudio.net import keys as files

    files.init(folder)
    if not voice.is_quiet():
        voice.out(f"made a coordinator's key in {folder}; `zaudio keys worker NAME --keys {folder}` makes a worker's")


@keys.command()
@click.argument("name", metavar="NAME")
@_keys_option
@voice_options
def worker(name: str, folder: str) -> None:
    """Make a key for the worker NAME, and admit it.

    A worker with many processes needs one key. Coordinators that run already admit it too.
    """
    from zaudio.net import keys as files

    ours = files.add_worker(folder, name)
    if not voice.is_quiet():
        voice.out(
            f"{name} is admitted; move the folder {ours} to its machine, keep it secret, and start it there with "
            "zaudio worker ENDPOINT --keys FOLDER"
        )


@keys.command("list")
@_keys_option
@voice_options
def show(folder: str) -> None:
    """Print every public key, and which workers are admitted."""
    from zaudio.net import keys as files

    lines = [f"coordinator  {files.public_key(folder).decode()}"]
    lines += [f"{state:<11}  {key}  {name}" for name, state, key in files.listed(folder)]
    voice.out("\n".join(lines))


@keys.command()
@click.argument("name", metavar="NAME")
@_keys_option
@voice_options
def revoke(name: str, folder: str) -> None:
    """Revoke the key of the worker NAME.

    A running coordinator sends it away within a second. Results that it delivered before stay.
    """
    from zaudio.net import keys as files

    files.revoke(folder, name)
    if not voice.is_quiet():
        voice.out(f"{name} is no longer admitted; a coordinator that runs sends it away within a second")
