"""FlacFile: a FLAC that is encoded in order by libsndfile, with metadata of our own in front of its frames.

Rules: the encoder writes into memory up to its first frame, and behind that into the file. Its own block of comments is
left out: soundfile can set a few names in it only. The same samples and metadata give the same bytes with the same
libFLAC. An encoder's state cannot be stored, so a FLAC is written in one go. Source: RFC 9639, section 8.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

import numpy as np
import soundfile

from zaudio import disk
from zaudio.audio.tagging import Tags, comments
from zaudio.audio.wave import Piece, chunk
from zaudio.errors import StorageError
from zaudio.signal import Signal
from zaudio.steps import Buffer

BLOCK_MOST = 2**24 - 1  # bytes of a block of metadata

_MARK = b"fLaC"
_STREAMINFO, _APPLICATION, _COMMENTS = 0, 2, 4
_STREAMINFO_BYTES = 34
_LAST = 0x80
_SUBTYPES = {16: ("PCM_16", "int16"), 24: ("PCM_24", "int32")}
_ROUND = 1 << 20  # bytes of samples that the encoder gets at once


def flac_metadata(tags: Tags, chunks: Sequence[Piece]) -> tuple[bytes, tuple[str, ...]]:
    """Return the blocks of metadata behind the first one, and the names of chunks that are too long for a block.

    Chunks of a WAV have blocks of their own, as `flac --keep-foreign-metadata` writes them.
    """
    bodies = [(_COMMENTS, comments(tags))]
    bodies += [(_APPLICATION, b"riff" + chunk(name, body)) for name, body in chunks]
    long = tuple(body[4:8].decode("latin-1").strip() for kind, body in bodies if len(body) > BLOCK_MOST)
    bodies = [(kind, body) for kind, body in bodies if len(body) <= BLOCK_MOST]
    blocks = []
    for number, (kind, body) in enumerate(bodies, 1):
        last = _LAST if number == len(bodies) else 0
        blocks.append(struct.pack(">I", (kind | last) << 24 | len(body)) + body)
    return b"".join(blocks), long


class FlacFile:
    """An encoder into an open file.

    Args:
        fd: The file, empty and open for writing. The caller closes it.
        path: Its name, for sentences.
        signal: The samples; 16 or 24 bits.
        metadata: The blocks of metadata, as `flac_metadata` makes them.

    Raises:
        StorageError: The encoder or the system refused.
    """

    def __init__(self, fd: int, path: str, signal: Signal, metadata: bytes) -> None:
        subtype, self._dtype = _SUBTYPES[signal.format.bits]
        self._path = path
        self._signal = signal
        self._body = _Body(fd, metadata)
        try:
            self._sound = soundfile.SoundFile(
                self._body,
                "w",
                samplerate=signal.samplerate,
                channels=signal.channels,
                format="FLAC",
                subtype=subtype,
            )
        except soundfile.SoundFileError as error:
            raise self._failure(error) from None

    def write(self, samples: Buffer) -> None:
        """Encode whole frames.

        Raises:
            StorageError: The encoder or the system refused.
        """
        octets = memoryview(samples).cast("B")
        step = max(1, _ROUND // self._signal.frame_bytes) * self._signal.frame_bytes
        for start in range(0, octets.nbytes, step):
            native = _native(octets[start : start + step], self._signal)
            try:
                self._sound.buffer_write(native, self._dtype)
            except (soundfile.SoundFileError, AssertionError) as error:  # soundfile asserts that all was written
                raise self._failure(error) from None
            self._check()

    def finish(self) -> None:
        """Encode the samples that are left, and write the file's head.

        Raises:
            StorageError: The encoder or the system refused.
        """
        try:
            self._sound.close()
        except soundfile.SoundFileError as error:
            raise self._failure(error) from None
        self._check()
        try:
            self._body.finish()
        except OSError as error:
            raise disk.storage_error(self._path, error) from error

    def close(self) -> None:
        """Close the encoder; its last bytes go nowhere. Idempotent."""
        self._body.stop()
        self._sound.close()

    def _check(self) -> None:
        if self._body.error is not None:
            raise disk.storage_error(self._path, self._body.error)

    def _failure(self, error: Exception) -> StorageError:
        if self._body.error is not None:
            return disk.storage_error(self._path, self._body.error)
        words = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
        return StorageError(self._path, f"the FLAC encoder failed: {words}")


class _Body:
    """The file as the encoder sees it: its head in memory, its frames on the disk.

    Nothing is raised into libsndfile, which would print it: an error is kept, and the write is short. It is kept
    without its traceback, which would keep all frames on the way, and their samples, in a circle.
    """

    def __init__(self, fd: int, metadata: bytes) -> None:
        self.error: OSError | None = None
        self._fd = fd
        self._metadata = metadata
        self._head = bytearray()  # of the encoder, up to its first frame
        self._head_bytes = 0  # of that; 0 until the block that says it is the last one was written
        self._position = 0
        self._end = 0
        self._first = len(_MARK) + 4 + _STREAMINFO_BYTES + len(metadata)  # byte of the file where frames begin
        self._stopped = False

    def write(self, content: bytes) -> int:
        if self._stopped or self.error is not None:
            return 0 if self.error is not None else len(content)
        done = 0
        if not self._head_bytes or self._position < self._head_bytes:
            done = len(content) if not self._head_bytes else min(len(content), self._head_bytes - self._position)
            self._head[self._position : self._position + done] = content[:done]
            self._find_end()
            if self._head_bytes and len(self._head) > self._head_bytes:  # a frame came with the last block
                done -= len(self._head) - self._head_bytes
                del self._head[self._head_bytes :]
        try:
            rest, at = memoryview(content)[done:], self._first + self._position + done - self._head_bytes
            while rest.nbytes:
                count = os.pwrite(self._fd, rest, at)
                rest, at = rest[count:], at + count
        except OSError as error:
            self.error = error.with_traceback(None)
            return 0
        self._position += len(content)
        self._end = max(self._end, self._position)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = (0, self._position, self._end)[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, length: int = -1) -> bytes:  # noqa: ARG002  soundfile asks for it; an encoder never reads
        return b""

    def finish(self) -> None:
        """Write the file's head: the encoder's block of sizes and sum, and the metadata."""
        start = len(_MARK)
        body = bytes(self._head[start + 4 : start + 4 + _STREAMINFO_BYTES])
        last = _LAST if not self._metadata else 0
        head = _MARK + struct.pack(">I", (_STREAMINFO | last) << 24 | len(body)) + body + self._metadata
        view, at = memoryview(head), 0
        while view.nbytes:
            count = os.pwrite(self._fd, view, at)
            view, at = view[count:], at + count

    def stop(self) -> None:
        self._stopped = True

    def _find_end(self) -> None:
        """Look for the block of metadata that says it is the last one."""
        at = len(_MARK)
        while len(self._head) >= at + 4:
            head = self._head[at : at + 4]
            at += 4 + int.from_bytes(head[1:], "big")
            if head[0] & _LAST:
                self._head_bytes = at if len(self._head) >= at else 0
                return


def _native(samples: memoryview, signal: Signal) -> Buffer:
    """Return samples in this machine's byte order, 24 bits still in four bytes."""
    if signal.format.is_native:
        return samples

    return np.frombuffer(samples, signal.format.dtype).byteswap().tobytes()
