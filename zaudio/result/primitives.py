"""All cryptography of a result: random key and IV, AES-256-CBC, HPKE, the tag, marks; and that of a spool.

Rules: nothing outside this module touches `cryptography` or `hmac`. Keys come in as bytearrays where their owner can
wipe them; none is stored, logged or shown in an error. docs/result-format.md says which bytes the tag covers; the
constants below are that format and never change within its version 1.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zaudio.steps import Buffer

KEY_BYTES = 32
IV_BYTES = 16
BLOCK_BYTES = 16
TAG_BYTES = 32
MARK_BYTES = 16
X25519_BYTES = 32  # of a private key, and of a public one
HPKE_OVERHEAD = 32 + 16  # the encapsulated key in front, the AEAD's tag behind

SALT = b"zaudio result 1"  # fixed: the key is 32 uniform bytes already; a salt only separates us from other HKDF users
INFO = b"tag HMAC-SHA256"
JOURNAL_INFO = b"journal HMAC-SHA256"
PAGE_TOKEN_INFO = b"page token"
PAGE_TOKEN_BYTES = 24  # nobody guesses 192 bits, and they fit into a line
DOMAIN = b"zaudio result 1: description, IV, ciphertext\n"
JOURNAL_DOMAIN = b"zaudio result 1: journal, IV\n"

# RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305; base mode
_HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def random_key() -> bytearray:
    """Return a new AES-256 key; its owner wipes it after use."""
    return bytearray(os.urandom(KEY_BYTES))


def random_iv() -> bytes:
    """Return a new IV. It is no secret, but every key must have a new one."""
    return os.urandom(IV_BYTES)


def wipe(secret: bytearray) -> None:
    """Overwrite a secret in place. Copies inside of libraries stay."""
    secret[:] = bytes(len(secret))


def cbc_encryptor(key: Buffer, iv: Buffer) -> Callable[[Buffer, bytearray], int]:
    """Start a CBC chain: return a function that encrypts the stream piece by piece.

    The function takes any number of bytes and a buffer with room for 15 more. It writes all blocks of 16 bytes that
    are complete and returns their length; the rest waits inside for the next piece. It releases the GIL.
    """
    return Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor().update_into


def cbc_decrypt_into(key: Buffer, iv: Buffer, ciphertext: Buffer, buffer: bytearray) -> int:
    """Decrypt whole 16-byte blocks; padding is left in place.

    Any stretch of a chain can be decrypted by itself: its IV is the ciphertext block in front of it.

    Returns:
        The number of bytes written: the length of the ciphertext. The buffer has room for 15 more.
    """
    return Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor().update_into(ciphertext, buffer)


class BlockCipher:
    """AES-256-GCM with a key that no one else has, for the numbered blocks of one file. Each is encrypted once."""

    OVERHEAD = 16  # bytes of the tag behind a block

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(bit_length=256))

    def encrypt(self, index: int, block: Buffer) -> bytes:
        """Return a block's ciphertext and tag. An index must not come twice: it is the nonce."""
        return self._cipher.encrypt(index.to_bytes(12, "big"), block, None)

    def decrypt(self, index: int, sealed: Buffer) -> bytes:
        """Return the block.

        Raises:
            ValueError: It is not the block of that index, or has changed.
        """
        try:
            return self._cipher.decrypt(index.to_bytes(12, "big"), sealed, None)
        except InvalidTag:
            raise ValueError("it does not open") from None


class BlockMarks:
    """AES-256-GMAC (NIST SP 800-38D) of the numbered blocks of one file: is a block still the one that was marked?

    The key is in this object alone, and no mark leaves the process, so nobody can choose a change that keeps a mark.
    GMAC takes a tenth of the time of SHA-256 where the processor helps with both.
    """

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(bit_length=256))

    def mark(self, index: int, block: Buffer) -> bytes:
        """Return a block's mark, of `MARK_BYTES`. Releases the GIL."""
        return self._cipher.encrypt(index.to_bytes(12, "big"), b"", block)  # nothing is encrypted: a tag alone

    def agrees(self, index: int, block: Buffer, mark: Buffer) -> bool:
        """Return whether the block is the one that has that mark."""
        return hmac.compare_digest(self.mark(index, block), mark)


def x25519_public(private: Buffer) -> bytes:
    """Return the public key of a private key of 32 bytes."""
    return X25519PrivateKey.from_private_bytes(bytes(private)).public_key().public_bytes_raw()


def hpke_seal(public: bytes, plaintext: Buffer, *, info: bytes) -> bytes:
    """Encrypt for the owner of a public key; return the encapsulated key, then the ciphertext.

    Raises:
        ValueError: Nothing can be encrypted for that key.
    """
    return _HPKE.encrypt(bytes(plaintext), X25519PublicKey.from_public_bytes(public), info=info)


def hpke_open(private: Buffer, sealed: Buffer, *, info: bytes) -> bytearray:
    """Decrypt the output of `hpke_seal`; the caller wipes the plaintext.

    Raises:
        ValueError: It was made for another key or another `info`, or has changed.
    """
    try:
        return bytearray(_HPKE.decrypt(bytes(sealed), X25519PrivateKey.from_private_bytes(bytes(private)), info=info))
    except InvalidTag:
        raise ValueError("it does not open") from None


def padding(length: int) -> bytes:
    """Return the padding of a plaintext of that length by PKCS#7 (RFC 5652, 6.3): 1 to 16 bytes, each their count."""
    count = BLOCK_BYTES - length % BLOCK_BYTES
    return bytes([count]) * count


def padded_bytes(length: int) -> int:
    """Return the length of the ciphertext of a plaintext of that length."""
    return length + BLOCK_BYTES - length % BLOCK_BYTES


def hmac_sha256(key: bytes | bytearray) -> hmac.HMAC:
    """Begin an HMAC-SHA256 (RFC 2104): `update` it, then ask for its `digest`."""
    return hmac.new(key, digestmod="sha256")


def derive_tag_key(key: Buffer) -> bytes:
    """Return the key of the tag: HKDF-SHA256 (RFC 5869) of the encryption key."""
    return _derive(key, INFO)


def derive_journal_key(key: Buffer) -> bytes:
    """Return the key of the journal's HMACs, made in the same way."""
    return _derive(key, JOURNAL_INFO)


def derive_page_token(key: Buffer) -> str:
    """Return the text that lets its bearer see the page of a job with that key, in all lives of the job."""
    return _derive(key, PAGE_TOKEN_INFO)[:PAGE_TOKEN_BYTES].hex()


def _derive(key: Buffer, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=TAG_BYTES, salt=SALT, info=info).derive(bytes(key))


class Tag:
    """HMAC-SHA256 over a domain string, the description, the IV and the ciphertext, with both lengths.

    The description's length stands in front of it and the ciphertext's behind it, as 8 bytes big-endian; the other two
    are of fixed length. So no two results give the same bytes to the HMAC.
    """

    def __init__(self, key: Buffer, iv: Buffer, description: bytes) -> None:
        self._hmac = hmac_sha256(derive_tag_key(key))
        self._begin(iv, description)

    @classmethod
    def later(cls, key: Buffer, iv: Buffer) -> Callable[[bytes], Tag]:
        """Return a function that makes the tag once the description is known. It does not hold the key."""
        seed = hmac_sha256(derive_tag_key(key))

        def begin(description: bytes) -> Tag:
            tag = object.__new__(cls)
            tag._hmac = seed.copy()
            tag._begin(iv, description)
            return tag

        return begin

    def _begin(self, iv: Buffer, description: bytes) -> None:
        self._hmac.update(DOMAIN + struct.pack(">Q", len(description)) + description + bytes(iv))
        self._length = 0

    def update(self, ciphertext: Buffer) -> None:
        """Take the next piece of the ciphertext. Releases the GIL."""
        self._hmac.update(ciphertext)
        self._length += len(ciphertext)

    def digest(self) -> bytes:
        """Return the tag of all bytes so far."""
        end = self._hmac.copy()
        end.update(struct.pack(">Q", self._length))
        return end.digest()

    def agrees(self, tag: bytes) -> bool:
        """Return whether that is the tag, in a time that does not tell how much of it agrees."""
        return hmac.compare_digest(self.digest(), tag)

    def running(self) -> bytes:
        """Return the running tag of all bytes so far, which a checkpoint keeps. It is never the tag of a result.

        A tag covers the ciphertext's length too, in 8 bytes. All else that two HMACs under this key and a description
        cover differs by whole blocks of 16 bytes, so no running tag is a tag.
        """
        return self._hmac.copy().digest()

    def runs_as(self, running: bytes) -> bool:
        """Return whether that is the running tag, in a time that does not tell how much of it agrees."""
        return hmac.compare_digest(self.running(), running)

    def copy(self) -> Tag:
        """Return a copy that has taken the same bytes and goes on by itself."""
        other = object.__new__(Tag)
        other._hmac = self._hmac.copy()
        other._length = self._length
        return other


class JournalSeal:
    """The chain of HMACs through a journal: each covers the one before it, the first one the IV."""

    def __init__(self, key: Buffer, iv: Buffer) -> None:
        self._key = derive_journal_key(key)
        self._last = JOURNAL_DOMAIN + bytes(iv)

    def next(self, record: Buffer) -> bytes:
        """Return the HMAC of the next record."""
        self._last = self._seal(record)
        return self._last

    def agrees(self, record: Buffer, seal: Buffer) -> bool:
        """Return whether that is the HMAC of the next record; if it is, go on behind that record."""
        expected = self._seal(record)
        if not hmac.compare_digest(expected, seal):
            return False
        self._last = expected
        return True

    def _seal(self, record: Buffer) -> bytes:
        return hmac.digest(self._key, self._last + record, "sha256")
