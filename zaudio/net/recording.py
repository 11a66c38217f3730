"""The recording as a worker reads it itself, where the coordinator's file can be reached from here.

Rules: only files below the folders that the worker offered are opened; no message can change that. A file that is not
the one that the coordinator named counts as no file: chunks then come over the socket.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zaudio.audio.files import InputFile
from zaudio.errors import InputError, ZaudioError
from zaudio.reference import Reference

log = logging.getLogger("zaudio.worker")


class LocalRecording:
    """An open recording. One thread reads; another may close it at any time.

    Args:
        file: The file.
        offset: Bytes in front of frame 0.
    """

    def __init__(self, file: InputFile, offset: int) -> None:
        self._file: InputFile | None = file
        self._offset = offset
        self._buffer = bytearray()  # the reading thread's

    def read(self, start: int, stop: int, frame_bytes: int) -> memoryview:
        """Return the bytes of frames `start` to `stop`; they stay until the next call.

        Raises:
            InputError: The recording was closed, has changed or cannot be read.
        """
        file = self._file
        if file is None:
            raise InputError("the recording", "is not open here any more")
        length = (stop - start) * frame_bytes
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        payload = memoryview(self._buffer)[:length]
        file.read_into(self._offset + start * frame_bytes, payload)
        return payload.toreadonly()

    def close(self) -> None:
        """Close the file. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def open_recording(source: Reference | None, folders: Sequence[str], *, local: bool) -> LocalRecording | None:
    """Open the recording that the coordinator named; return None if it cannot be read here.

    Args:
        source: The file that the coordinator named; None for no file.
        folders: The folders below which files may be opened, by their real names.
        local: Whether the coordinator is on this machine, so that device and inode must be the same too.
    """
    if source is None or not any(source.path.startswith(f"{folder.rstrip('/')}/") for folder in folders):
        return None
    file: InputFile | None = None
    try:
        file = InputFile(source.path)
        if not file.matches(source, local=local):
            raise InputError(source.path, "is not the recording that is meant")
    except ZaudioError as error:
        log.info("chunks come over the socket: %s", error)
        if file is not None:
            file.close()
        return None
    return LocalRecording(file, source.offset)
