"""libsndfile, as this room uses it: on a descriptor of ours, or on bytes that come from elsewhere.

Rules: an exception of libsndfile or soundfile leaves this room as an InputError. A decoder belongs to one thread at a
time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import soundfile

from zaudio.audio.files import InputFile
from zaudio.audio.streams import SpooledFile
from zaudio.errors import InputError

UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's answer for a FLAC that was written into a pipe

_DTYPES = {"s16": "int16", "s32": "int32", "f32": "float32"}  # numpy's names of the kinds of sample formats


class Decoder(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile on a file of ours from some byte on."""

    def __init__(self, file: InputFile, start: int) -> None:
        direct = not start and not isinstance(file, SpooledFile)
        self._window = None if direct else Window(file, start)
        if direct:
            os.lseek(file.fd, 0, os.SEEK_SET)  # libsndfile begins where the descriptor stands
        try:
            super().__init__(file.fd if direct else self._window, closefd=False)
        except soundfile.SoundFileError:
            self._raise()
            raise

    def seekable(self) -> bool:
        """Say no, so that soundfile does not seek behind each read: that fails where a FLAC was cut off."""
        return False

    def decode_into(self, buffer: bytearray, kind: str) -> int:
        """Fill the buffer with samples of a kind such as ``s16``; return the frames, fewer where the file ends."""
        try:
            return int(self.buffer_read_into(buffer, _DTYPES[kind]))
        finally:
            self._raise()

    def _raise(self) -> None:
        """Raise the error of reading the file, which libsndfile took for its end."""
        if self._window is not None and self._window.error is not None:
            raise self._window.error


def open_decoder(file: InputFile, start: int, otherwise: str) -> Decoder:
    """Return a decoder of a file from byte `start` on; the file stays open with it.

    Raises:
        InputError: libsndfile does not open it; `otherwise` says so.
    """
    with one_line(file.path, otherwise):
        return Decoder(file, start)


def decoder_version() -> str:
    """Return name and version of the decoder: another one may give other samples."""
    return f"libsndfile {soundfile.__libsndfile_version__}"


@contextmanager
def one_line(path: str, what: str) -> Iterator[None]:
    """Turn an error of libsndfile into an InputError that names the attempt, `what`."""
    try:
        yield
    except (soundfile.SoundFileError, OSError) as error:
        words = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
        # libsndfile speaks of its own internals when the file is at fault.
        raise InputError(path, what if not words or "nternal" in words else f"{what}: {words}") from None


class Window:
    """A file from some byte on, as soundfile reads it. libsndfile knows some tags in front of a FLAC, not all."""

    def __init__(self, file: InputFile, start: int) -> None:
        self._file = file
        self._start = start
        self._position = 0
        self.error: Exception | None = None  # nothing can be raised through libsndfile

    def read(self, length: int = -1) -> bytes:
        """Return the next bytes."""
        try:
            content = self._file.read_at(self._start + self._position, self._file.size if length < 0 else length)
        except Exception as error:  # noqa: BLE001  the Decoder raises it
            self.error = error
            return b""
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte, counted from the beginning, from here or from the end; return its place."""
        base = (0, self._position, self._file.size - self._start)[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._position
