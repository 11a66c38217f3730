"""Secret: the file from which the token of a batch's page is derived.

Rules:

- A job derives the token from its key. A batch has a key for each result, so it has a secret of its own, `page.secret`
  beside the manifest. It stays, so that the page of a batch that is run again has the same token.
- It is private and complete, or it is replaced by another one.
- Only a page makes it, while the batch has the manifest's lock.
"""

from __future__ import annotations

import os
import secrets

from zaudio import disk
from zaudio.batching.manifest import PAGE
from zaudio.result import derive_page_token

BYTES = 32


def page_token(folder: str) -> str:
    """Return the token of the page of the batch in that folder.

    Raises:
        StorageError: The secret cannot be written.
    """
    path = os.path.join(folder, PAGE)
    return derive_page_token(_read(path) or _make(path))


def _read(path: str) -> bytes | None:
    try:
        if os.lstat(path).st_mode & ~disk.PRIVATE & 0o777:
            return None  # others know it
        secret = bytes(disk.read_file(path, BYTES))
    except (OSError, ValueError):
        return None
    return secret if len(secret) == BYTES else None


def _make(path: str) -> bytes:
    secret = secrets.token_bytes(BYTES)
    with disk.storage_errors(path), disk.whole_file(path, f"{PAGE}.{os.getpid()}.part", mode=disk.PRIVATE) as fd:
        disk.write_all(fd, secret)
    return secret
