"""The encryption key in its file: raw, or wrapped for a recipient; and the identities that open a wrapped key.

    zaudio identity FILE    ->  FILE with a private key, and its public key to hand out
    --recipient PUBLICKEY   ->  encryption_key.bin that only that private key opens

Rules:

- The key of a job is made once and stored once, before any ciphertext exists. A resumed job reads it there.
- A store touches no file: its caller reads or writes the content. Keys are bytearrays, which their owner wipes.
- A wrapped key is a header, and the 32 bytes encrypted by HPKE (RFC 9180). HPKE's `info` binds the header, so no byte
  of the file can change unnoticed.
- A raw key is 32 bytes and a wrapped one `WRAPPED_BYTES`: neither is taken for the other.
- Public keys and identities are text with a check sum: no typing mistake locks a result away.

The layout is written down in docs/result-format.md.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Protocol

from zaudio import disk
from zaudio.errors import UsageError
from zaudio.result import primitives
from zaudio.result.primitives import KEY_BYTES, X25519_BYTES
from zaudio.steps import Buffer

MAGIC = b"zaudio wrapped key 1\n"
HEADER_BYTES = len(MAGIC) + X25519_BYTES
WRAPPED_BYTES = HEADER_BYTES + primitives.HPKE_OVERHEAD + KEY_BYTES

PUBLIC = "zaudio-x25519-"
SECRET = "zaudio-identity-"  # noqa: S105  the prefix of one
CHECK_BYTES = 4
FILE_MAX = 4096  # bytes of a file with a public key or an identity; ours have three lines

ANEW = "start it again like that, or pass --fresh to start over"

_LINE = re.compile(r"(zaudio-x25519-|zaudio-identity-)([0-9a-f]{72})")


class KeyStore(Protocol):
    """One way to store the encryption key.

    Attributes:
        content_max: The most bytes that the key's file has; a longer file holds no key.
    """

    content_max: int

    def encode(self, key: bytearray) -> Buffer:
        """Return the content of the key's file, which must be private. The caller still wipes the key."""
        ...

    def decode(self, content: bytearray, path: str) -> bytearray:
        """Return the key that such a file holds; its owner wipes it.

        Args:
            content: All of the file.
            path: The file, for the sentence.

        Raises:
            ValueError: It holds no key.
            UsageError: The key needs other options than those of this job; the sentence says which.
        """
        ...


class RawKey:
    """The key as it is: 32 raw bytes, in a file that its owner alone can read."""

    content_max = WRAPPED_BYTES  # so that a wrapped one is recognised

    def encode(self, key: bytearray) -> Buffer:
        """Return the key itself."""
        return key

    def decode(self, content: bytearray, path: str) -> bytearray:
        """Return a copy of the content, which is the key.

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
    """The key wrapped for a recipient, whose private key is needed to get it back.

    Args:
        recipient: The owner of the public key that it is wrapped for.
        identity: The private key, if it is here.
    """

    content_max = WRAPPED_BYTES

    def __init__(self, recipient: Recipient, identity: Identity | None) -> None:
        self._recipient = recipient
        self._identity = identity

    def encode(self, key: bytearray) -> Buffer:
        """Return the wrapped key: other bytes at each call."""
        return self._recipient.wrap(key)

    def decode(self, content: bytearray, path: str) -> bytearray:
        """Return the key, unwrapped.

        Raises:
            UsageError: It is raw, is wrapped for another recipient, or the identity is not here.
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
            raise UsageError(
                f"{path}: the key is wrapped for {whom}; give that one's private key with --identity FILE, or pass "
                "--fresh to start over"
            )
        if str(self._identity.recipient) != whom:
            raise UsageError(f"{path}: the key is wrapped for {whom}, and --identity is that of another")
        return self._identity.unwrap(content)


class Recipient:
    """The owner of a public key, for which keys are wrapped.

    Args:
        public: The public key, 32 bytes.

    Raises:
        ValueError: Nothing can be encrypted for that key.
    """

    def __init__(self, public: bytes) -> None:
        primitives.hpke_seal(public, b"", info=b"")  # a point of low order is found now, not after an hour's work
        self.public = public

    def __str__(self) -> str:
        return _text(PUBLIC, self.public)

    def wrap(self, key: bytes | bytearray) -> bytes:
        """Return the content of a key file that only this recipient's identity opens."""
        header = MAGIC + self.public
        return header + primitives.hpke_seal(self.public, key, info=header)


class Identity:
    """A private key, which opens the keys that were wrapped for its public one.

    Args:
        secret: The private key, 32 bytes.
    """

    def __init__(self, secret: bytes | bytearray) -> None:
        self._secret = bytearray(secret)
        self.recipient = Recipient(primitives.x25519_public(secret))

    def unwrap(self, content: bytes | bytearray) -> bytearray:
        """Return the key in the content of a wrapped key file; the caller wipes it.

        Raises:
            ValueError: It was wrapped for another, or has changed.
        """
        whom = recipient_of(content)
        if whom != str(self.recipient):
            raise ValueError(f"the key is wrapped for {whom}, and the identity is that of {self.recipient}")
        try:
            return primitives.hpke_open(self._secret, content[HEADER_BYTES:], info=bytes(content[:HEADER_BYTES]))
        except ValueError:
            raise ValueError("the wrapped key does not open: the file has changed") from None


def is_wrapped(content: bytes | bytearray) -> bool:
    """Return whether the content of a key file is a wrapped key."""
    return len(content) == WRAPPED_BYTES and content.startswith(MAGIC)


def recipient_of(content: bytes | bytearray) -> str:
    """Return the public key that a wrapped key names."""
    return _text(PUBLIC, bytes(content[len(MAGIC) : HEADER_BYTES]))


def identity_needed(content: bytes | bytearray, path: str) -> UsageError:
    """Return the error of a wrapped key without an identity."""
    whom = recipient_of(content)
    return UsageError(
        f"{path}: the key is wrapped for {whom}; give that one's private key with --identity FILE, or that of an input "
        "with --input-identity FILE"
    )


def parse_recipient(text: str) -> Recipient:
    """Return the recipient whose public key that text is, or the file of that name holds.

    Raises:
        UsageError: It is neither.
    """
    kind, key = _parse(text) or _parse_file(text, "a public key")
    if kind != PUBLIC:
        raise UsageError(f"{_short(text)} is an identity, which is secret; a recipient is named by the public key")
    try:
        return Recipient(key)
    except ValueError:
        raise UsageError(f"{_short(text)}: nothing can be encrypted for that public key") from None


def read_identity(path: str | os.PathLike[str]) -> Identity:
    """Return the identity in a file that `make_identity` wrote.

    Raises:
        UsageError: The file holds none.
    """
    path = os.fspath(path)
    kind, key = _parse_file(path, "an identity")
    if kind != SECRET:
        raise UsageError(f"{path} holds a public key; the identity is the file that `zaudio identity` wrote")
    return Identity(key)


def make_identity(path: str | os.PathLike[str]) -> Recipient:
    """Write a new identity to a new file that its owner alone can read.

    Returns:
        Its public key.

    Raises:
        UsageError: Something has that name, or the file cannot be written there.
        StorageError: The system failed; no file is left.
    """
    path = os.fspath(path)
    secret = primitives.random_key()
    recipient = Identity(secret).recipient
    text = (
        "# A zaudio identity: whoever has this file can decrypt what was encrypted for its public key.\n"
        f"# public key: {recipient}\n{_text(SECRET, secret)}\n"
    )
    try:
        fd = disk.create(path, mode=disk.PRIVATE)
    except FileExistsError:
        raise UsageError(f"{path} exists already, and an identity is never overwritten; choose another name") from None
    except (OSError, ValueError) as error:
        reason = disk.reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path!r}: the identity cannot be written there: {reason}") from None
    try:
        disk.store(fd, text.encode("ascii"))
        disk.sync_folder(os.path.dirname(path))
    except OSError as error:
        os.unlink(path)
        raise disk.storage_error(path, error) from error
    return recipient


def _text(prefix: str, key: bytes | bytearray) -> str:
    return prefix + bytes(key).hex() + _check(prefix, key).hex()


def _check(prefix: str, key: bytes | bytearray) -> bytes:
    return hashlib.sha256(prefix.encode("ascii") + key).digest()[:CHECK_BYTES]


def _parse(text: str) -> tuple[str, bytes] | None:
    """Return prefix and key of a text that is a key; None when it does not look like one.

    Raises:
        UsageError: It looks like one and its check sum is wrong.
    """
    found = _LINE.fullmatch(text.strip())
    if found is None:
        return None
    prefix, key, check = found[1], bytes.fromhex(found[2][:64]), bytes.fromhex(found[2][64:])
    if check != _check(prefix, key):
        raise UsageError(f"{_short(text)}: the check sum is wrong, so there is a typing mistake in it")
    return prefix, key


def _parse_file(path: str, what: str) -> tuple[str, bytes]:
    try:
        # Unlike `disk.READ`, by a link too: the user named this file. NONBLOCK, as it may be a FIFO all the same.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            text = file.read(FILE_MAX + 1).decode("ascii", "replace")
    except (OSError, ValueError) as error:
        reason = disk.reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{_short(path)} is not {what}, and as a file it cannot be read: {reason}") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    parsed = _parse(lines[0]) if len(lines) == 1 and len(text) <= FILE_MAX else None
    if parsed is None:
        raise UsageError(f"{path} does not hold {what} and nothing else")
    return parsed


def _short(text: str) -> str:
    """Return a text for a sentence; of an identity, only its prefix."""
    return f"{SECRET}..." if text.strip().startswith(SECRET) else repr(text[:100])
