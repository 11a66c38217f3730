"""Where chunks end up: encrypted, tagged, published as one; verified and decrypted again.

    chunks -> ResultWriter (pipeline: encrypt, tag; journal) -> ResultFolder (lock, publication) -> four files
    four files -> OpenResult (fileset: opened as one) -> verify, decrypt

Rules: `cryptography` is imported by `primitives` alone. The format is written down in docs/result-format.md.
"""

from zaudio.result.decryption import decrypt
from zaudio.result.description import Description
from zaudio.result.folder import ResultFolder
from zaudio.result.journal import JobRecord
from zaudio.result.keystore import KeyStore, RawKey, WrappedKey, make_identity, parse_recipient, read_identity
from zaudio.result.publication import is_reserved
from zaudio.result.reader import OpenResult, verify
from zaudio.result.writer import ResultWriter

__all__ = [
    "Description",
    "JobRecord",
    "KeyStore",
    "OpenResult",
    "RawKey",
    "ResultFolder",
    "ResultWriter",
    "WrappedKey",
    "decrypt",
    "is_reserved",
    "make_identity",
    "parse_recipient",
    "read_identity",
    "verify",
]
