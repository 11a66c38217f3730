"""Sealed results: chunks become four files, encrypted and tagged; the four files are verified and decrypted.

    floor  module         writes                                 reads
      7    writer         payloads to a published result
           small          samples in memory to the same
      6    opening        the files of a new or resumed job
      5    folder         lock, parts, publication
           decryption                                            a result to a file of samples
           sealed                                                a result as the recording of a job
      4    earlier                                               the files of an earlier life of a job
           glance                                                the state of a job, without the key
           reader                                                four files as one; verify
      3    journal        the job and its checkpoints            the same
           plaintext      header, samples, padding               the same
      2    description    result.json                            the same
           keystore       the encryption key, raw or wrapped     the same
           spool          decoded samples, encrypted             the same
           fileset                                               four files, opened as one set
      1    primitives     all cryptography                       the same
           publication    four files change their names as one   one that was interrupted
           pipeline       two threads: the cipher and the disk
           keyfile        an encryption key that lies elsewhere  the same
           notes          a journal's notes                      the same

Rules: a module imports only from floors below its own. `cryptography` is imported by `primitives` alone. The format is
written down in docs/result-format.md.
"""

from zaudio.result.decryption import check_output, decrypt, write_file
from zaudio.result.description import UNVERSIONED, Description
from zaudio.result.folder import ResultFolder, check_free
from zaudio.result.glance import Glance, glance, read_address
from zaudio.result.journal import JobRecord, Journal, difference
from zaudio.result.keyfile import KeyFile
from zaudio.result.keystore import KeyStore, RawKey, WrappedKey, make_identity, parse_recipient, read_identity
from zaudio.result.notes import Machines, MeasuredOp, decode_note, encode_note
from zaudio.result.primitives import derive_page_token
from zaudio.result.publication import ADDRESS, KEY, is_reserved, result_of
from zaudio.result.reader import OpenResult, verify
from zaudio.result.sealed import SealedSource
from zaudio.result.small import look_at, publish_small
from zaudio.result.spool import Spool
from zaudio.result.writer import ResultWriter, Settlement

__all__ = [
    "ADDRESS",
    "KEY",
    "Description",
    "Glance",
    "JobRecord",
    "Journal",
    "KeyFile",
    "KeyStore",
    "Machines",
    "MeasuredOp",
    "OpenResult",
    "RawKey",
    "ResultFolder",
    "ResultWriter",
    "SealedSource",
    "Settlement",
    "Spool",
    "UNVERSIONED",
    "WrappedKey",
    "check_free",
    "check_output",
    "decode_note",
    "decrypt",
    "derive_page_token",
    "difference",
    "encode_note",
    "glance",
    "is_reserved",
    "look_at",
    "make_identity",
    "parse_recipient",
    "publish_small",
    "read_address",
    "read_identity",
    "result_of",
    "verify",
    "write_file",
]
