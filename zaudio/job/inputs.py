"""Inputs: from the name that a user wrote to a Source: a file, a stream, or the folder of a sealed result.

Rules: this is where the rooms of audio and of results meet. What must be decoded or read once, in order, goes to an
encrypted spool beside the output. Nothing of the output is touched.
"""

from __future__ import annotations

import os
import tempfile

from zaudio.audio import OnProgress, Source, open_source
from zaudio.audio.metadata import Carried, Metadata, carry
from zaudio.audio.reading import read_metadata
from zaudio.errors import InputError, UsageError
from zaudio.result import SealedSource, Spool, result_of
from zaudio.settings import Raw

Path = str | os.PathLike[str]

HEADER_MOST = 64 << 20  # bytes that are read; ours have less than 32 MiB, and a hostile one must not fill the memory


def open_input(
    path: Path,
    raw: Raw = Raw(),
    *,
    key: Path | None = None,
    identity: Path | None = None,
    spool_folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Source:
    """Open a recording, whatever it lies in.

    Args:
        path: A file, a FIFO, ``-`` for standard input, or the folder of a sealed result.
        raw: How raw samples lie in a file or a stream.
        key: The file with a sealed result's encryption key, if that is not in its folder.
        identity: The file with the private key that the encryption key is wrapped for, if it is.
        spool_folder: The folder beside which a spool may lie, which need not be there yet; by default the one for
            temporary files.
        on_progress: Called meanwhile with ``"reading"``, ``"decoding"`` or ``"verifying"``, the bytes done, and those
            in all, or 0. An exception of it ends that.

    Raises:
        UsageError: A value does not fit the input, or the key of a sealed result is missing.
        InputError: It cannot be read as audio.
        VerificationError: The sealed result is damaged, changed or incomplete.
        FolderBusyError: Another job has been publishing into the sealed result for over two seconds.
        StorageError: There is too little room for a spool.
    """
    name = os.fspath(path)
    folder = result_of(name) if isinstance(name, str) else None
    if folder is None:
        if key is not None or identity is not None:
            raise UsageError(f"{name} is no sealed result: a key or an identity of the input is for the folder of one")

        def make_spool() -> Spool:
            return Spool(_existing(os.fspath(spool_folder)) if spool_folder is not None else tempfile.gettempdir())

        return open_source(path, raw, make_spool=make_spool, on_progress=on_progress)
    if not os.path.isdir(name):
        raise InputError(name, f"is a part of a sealed result, which is encrypted; name its folder {folder} instead")
    if raw.given:
        raise UsageError(f"{name} is a sealed result: --samplerate, --channels and sample formats are for raw samples")

    def verifying(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress("verifying", done, total)

    return SealedRecording(name, key=key, identity=identity, on_progress=verifying)


class SealedRecording(SealedSource):
    """The recording in a sealed result, with the metadata that stands in front of its samples."""

    def metadata(self) -> Carried:
        """Return the metadata in its header, for the recording's order.

        Raises:
            InputChangedError: The result has changed since it was authenticated.
        """
        size, signal = self.description.header_bytes, self.description.signal
        if not size:
            return Carried(Metadata())
        if size > HEADER_MOST:
            return Carried(Metadata(), (f"the header inside has {size} bytes; its metadata is not carried over",))
        header = self.header()

        def read_at(offset: int, length: int) -> bytes:
            return header[offset : offset + length]

        found = read_metadata("WAV", read_at, self.description.plaintext_bytes, (len(header), 0)).metadata
        # What is mirrored there is mirrored back.
        return carry(found, signal, signal, self.description.order)


def is_part_of(path: Path, folder: Path) -> bool:
    """Return whether an input is the sealed result in that folder: no output must go there."""
    name = os.fspath(path)
    return result_of(name) is not None and os.path.realpath(name) == os.path.realpath(os.fspath(folder))


def _existing(folder: str) -> str:
    """Return the folder, or the nearest one above it that is there."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder
