"""`zaudio identity`: make a private key that results can be encrypted for."""

from __future__ import annotations

import click

from zaudio.cli import voice
from zaudio.cli.options import voice_options


@click.command(
    epilog="\b\nExample:\n"
    "  zaudio identity ~/zaudio.identity > zaudio.pub\n"
    "  zaudio farm take.wav -o out --recipient zaudio.pub\n"
    "  zaudio decrypt out --identity ~/zaudio.identity"
)
@click.argument("path", type=click.Path(), metavar="FILE")
@voice_options
def identity(path: str) -> None:
    """Write a new private key to FILE and print its public key.

    FILE must not exist; its owner alone can read it. With the public key, anybody can encrypt results for you, by
    `zaudio farm --recipient`; nothing in such a result proves its origin. Nobody decrypts one without FILE, of which
    you should keep a copy.
    """
    from zaudio import result

    recipient = result.make_identity(path)
    voice.out(str(recipient))
