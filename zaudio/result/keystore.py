"""KeyStore: how the encryption key stands in its file, and how a job that is resumed gets it back.

Rules: the key of a job is made once and stored once, before any ciphertext exists; what is stored is all that a resumed
job has of it. A store knows no file: whoever reads or writes one hands the content over. Keys are bytearrays, which
their owner wipes.
"""

from __future__ import annotations

from typing import Protocol

from zaudio.result.primitives import KEY_BYTES, Bytes


class KeyStore(Protocol):
    """What the result asks of it.

    Attributes:
        content_max: Bytes that the content of the key's file has at most; a longer file is none.
    """

    content_max: int

    def encode(self, key: bytearray) -> Bytes:
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

    content_max = KEY_BYTES

    def encode(self, key: bytearray) -> Bytes:
        """The key itself."""
        return key

    def decode(self, content: bytearray, path: str) -> bytearray:
        """The key itself.

        Raises:
            ValueError: It is not 32 bytes.
        """
        if len(content) != KEY_BYTES:
            raise ValueError(f"{path}: {KEY_BYTES} bytes of key expected, {len(content)} found")
        return bytearray(content)
