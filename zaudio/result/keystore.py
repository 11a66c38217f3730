"""KeyStore: how the encryption key stands in its file, and how a job that is resumed gets it back.

Rules: the key of a job is made once and stored once, before any ciphertext exists; what is stored is all that a resumed
job has of it. A store knows no file: whoever reads or writes one hands the content over. Keys are bytearrays, which
their owner wipes.
"""

from __future__ import annotations

from typing import Protocol

from zaudio.errors import UsageError
from zaudio.result.primitives import KEY_BYTES
from zaudio.result.recipient import WRAPPED_BYTES, Identity, Recipient, identity_needed, is_wrapped, recipient_of
from zaudio.steps import Buffer

ANEW = "start it again like that, or pass --fresh to begin anew"


class KeyStore(Protocol):
    """What the result asks of it.

    Attributes:
        content_max: Buffer that the content of the key's file has at most; a longer file is none.
    """

    content_max: int

    def encode(self, key: bytearray) -> Buffer:
        """What the key's file holds. The caller writes it to a private file; the key stays the caller's to wipe."""
        ...

    def decode(self, content: bytearray, path: str) -> bytearray:
        """The key that such a file holds; its owner wipes it.

        Args:
            content: All of the file.
            path: Where it lies, for the sentence.

        Raises:
            ValueError: It holds none.
            UsageError: It cannot be had without something else; the sentence says what to pass.
        """
        ...


class RawKey:
    """The key as it is: 32 raw bytes, in a file that its owner alone can read."""

    content_max = WRAPPED_BYTES  # so that a wrapped one is recognised

    def encode(self, key: bytearray) -> Buffer:
        """The key itself."""
        return key

    def decode(self, content: bytearray, path: str) -> bytearray:
        """The key itself.

        Raises:
            UsageError: It is wrapped.
            ValueError: It is not 32 bytes.
        """
        if is_wrapped(content):
            raise UsageError(f"{path}: this job was begun with --recipient {recipient_of(content)}; {ANEW}")
        if len(content) != KEY_BYTES:
            raise ValueError(f"{path}: {KEY_BYTES} bytes of key expected, {len(content)} found")
        return bytearray(content)


class WrappedKey:
    """The key wrapped for somebody, whose private key is needed to get it back.

    Args:
        recipient: Whom it is wrapped for.
        identity: The private key, if it is here.
    """

    content_max = WRAPPED_BYTES

    def __init__(self, recipient: Recipient, identity: Identity | None) -> None:
        self._recipient = recipient
        self._identity = identity

    def encode(self, key: bytearray) -> Buffer:
        """The wrapped key: another one each time."""
        return self._recipient.wrap(key)

    def decode(self, content: bytearray, path: str) -> bytearray:
        """The key, unwrapped.

        Raises:
            UsageError: It is raw, is wrapped for somebody else, or the identity is not here.
            ValueError: It is no key at all, or has changed.
        """
        if len(content) == KEY_BYTES:
            raise UsageError(f"{path}: this job was begun without --recipient; {ANEW}")
        if not is_wrapped(content):
            raise ValueError(f"{path}: {WRAPPED_BYTES} bytes of a wrapped key expected, {len(content)} found")
        whom = recipient_of(content)
        if whom != str(self._recipient):
            raise UsageError(f"{path}: this job was begun with --recipient {whom}; {ANEW}")
        if self._identity is None:
            raise UsageError(f"{identity_needed(content, path)}, or pass --fresh to begin anew")
        if str(self._identity.recipient) != whom:
            raise UsageError(f"{path}: the key is wrapped for {whom}, and --identity is that of another")
        return self._identity.unwrap(content)
