"""A small result, from memory to its four files. The bytes are those of `ResultWriter` with the same key and IV.

Rules:

- No thread and no journal: a small result is begun again. Parts without a journal are useless, and the next start
  removes them.
- All four parts are durable before the publication begins, which is the same code as for large results.
- No plaintext is ever written, and the key is wiped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from zaudio import disk
from zaudio.errors import VerificationError
from zaudio.result import primitives, publication
from zaudio.result.description import (
    FILE_BYTES_MAX,
    Description,
    decode_description,
    encode_description,
    join_file,
    split_file,
)
from zaudio.result.folder import ResultFolder
from zaudio.result.opening import store
from zaudio.result.plaintext import Plaintext
from zaudio.result.publication import DESCRIPTION, IV, KEY, RESULT
from zaudio.steps import Buffer


def publish_small(
    folder: ResultFolder,
    description: Description,
    samples: Buffer,
    *,
    header: bytes = b"",
    before: Callable[[bytes], None] = lambda _tag: None,
) -> bytes:
    """Encrypt and publish a result that is in memory; return its tag.

    Args:
        folder: The output folder, open. Nothing of an earlier life lies in it.
        description: The description.
        samples: All processed frames, as they lie in memory, in output order.
        header: The bytes in front of the samples, as many as the description says.
        before: Called with the tag when all is durable, before the instant of publication. An exception prevents that.

    Raises:
        UsageError: The samples are not those of the description, or a final name was taken.
        StorageError: The system refused; nothing is published.
    """
    plaintext = Plaintext(description, header)
    plaintext.begin(description.signal, 0)
    first = plaintext.take(samples)
    pieces = (first, plaintext.end() + primitives.padding(plaintext.size))
    folder.check_room(primitives.padded_bytes(plaintext.size))
    key, iv = primitives.random_key(), primitives.random_iv()
    try:
        try:
            store(folder, KEY, folder.key_store.encode(key), mode=disk.PRIVATE)
            ciphertext = _encrypt(key, iv, pieces, primitives.padded_bytes(plaintext.size))
            encoded = encode_description(description)
            tag = primitives.Tag(key, iv, encoded)
        finally:
            primitives.wipe(key)
        tag.update(ciphertext)
        store(folder, IV, iv, mode=disk.PRIVATE)
        store(folder, RESULT, ciphertext, mode=disk.PUBLIC)
        store(folder, DESCRIPTION, join_file(encoded, tag.digest()), mode=disk.PUBLIC)
        before(tag.digest())
        folder.publish()
    except BaseException:
        folder.remove_parts()
        raise
    return tag.digest()


def look_at(path: str) -> tuple[Description, bytes]:
    """Return description and tag of the result in a folder. That is a look and no verification.

    A publication that was interrupted is finished first.

    Raises:
        VerificationError: There is no result, or its ciphertext has another length than the description says.
        FolderBusyError: Another process publishes there.
    """
    try:
        folder = os.open(path, disk.FOLDER)
        try:
            publication.settle(folder, path)
            document = disk.read_file(DESCRIPTION, FILE_BYTES_MAX, dir_fd=folder)
            size = os.stat(RESULT, dir_fd=folder, follow_symlinks=False).st_size
        finally:
            os.close(folder)
        encoded, tag = split_file(bytes(document))
        description = decode_description(encoded)
    except OSError as error:
        raise VerificationError(path, f"there is no result: {disk.reason(error)}") from error
    except ValueError as error:
        raise VerificationError(os.path.join(path, DESCRIPTION), str(error)) from error
    if size != primitives.padded_bytes(description.plaintext_bytes):
        raise VerificationError(os.path.join(path, RESULT), "it is not as long as its description says")
    return description, tag


def _encrypt(key: bytearray, iv: bytes, pieces: Sequence[Buffer], size: int) -> memoryview:
    """Return the ciphertext of the pieces, the last of which ends with the padding."""
    encrypt = primitives.cbc_encryptor(key, iv)
    ciphertext, done = bytearray(size), 0
    for piece in pieces:
        room = bytearray(len(piece) + primitives.BLOCK_BYTES)  # an encryptor asks for more than it writes
        count = encrypt(piece, room)
        ciphertext[done : done + count] = memoryview(room)[:count]
        done += count
    return memoryview(ciphertext)[:done]
