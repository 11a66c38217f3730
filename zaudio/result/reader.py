"""Reading a result: its four files are opened as one set, verified, and decrypted piece by piece.

Rules:

- No plaintext is released before the whole result was authenticated. After that each block is compared with the mark
  that it had, so a file that changes in between is found.
- Memory is a few megabytes, and 32 bytes per megabyte of the result.
- While one block goes into the tag, a thread reads and marks the next one. It ends with `authenticate`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import lcm
from types import TracebackType
from typing import Self

import numpy as np

from zaudio import disk
from zaudio.errors import UsageError, VerificationError
from zaudio.plan import Order
from zaudio.result import primitives
from zaudio.result.description import FILE_BYTES_MAX, Description, decode_description, split_file
from zaudio.result.fileset import open_set
from zaudio.result.keyfile import read_key_file
from zaudio.result.keystore import WRAPPED_BYTES, Identity, identity_needed, is_wrapped, read_identity
from zaudio.result.primitives import BLOCK_BYTES, IV_BYTES, KEY_BYTES, MARK_BYTES, BlockMarks
from zaudio.result.publication import DESCRIPTION, IV, KEY, KEYLESS, NAMES, RESULT
from zaudio.reverse import reverse_into

OnProgress = Callable[[int, int], None]

READ_BYTES = 1 << 20  # read, checked and decrypted at a time; 32 bytes are kept of each


def verify(
    path: str | os.PathLike[str],
    *,
    key: str | os.PathLike[str] | None = None,
    identity: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Description:
    """Make sure that a result is complete, and that no bit of its four files has changed.

    An interrupted publication in that folder is finished first.

    Args:
        path: The result's folder.
        key: The file with the encryption key, if that is not in the folder.
        identity: The file with the private key that the encryption key is wrapped for, if it is.
        on_progress: Called now and then with the bytes that are done, and how many there are.

    Raises:
        UsageError: The file of `key` holds no key; or the encryption key is wrapped, and there is no identity; or that
            file holds none.
        VerificationError: It is missing, incomplete or damaged; the sentence says which file.
        FolderBusyError: Another job has been publishing into that folder for over two seconds.
    """
    with OpenResult(path, key=key, identity=identity, on_progress=on_progress) as result:
        result.authenticate()
        return result.description


class OpenResult:
    """One result, its four files opened as one set. A context manager.

    Args:
        path: The result's folder.
        key: The file with the encryption key, if that is not in the folder.
        identity: The file with the private key that the encryption key is wrapped for, if it is.
        passes: How often all of it will be read, for `on_progress`.
        on_progress: Called for each megabyte with the bytes that were read, and how many will be.

    Attributes:
        description: The description that the result carries; verified once `authenticate` has returned.

    Raises:
        UsageError, VerificationError, FolderBusyError: As `verify`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | os.PathLike[str] | None = None,
        identity: str | os.PathLike[str] | None = None,
        passes: int = 1,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._key_path = os.fspath(key) if key is not None else None
        self._on_progress = on_progress
        self._passes = passes
        self._read = 0  # bytes of the ciphertext so far, in all passes
        opener = read_identity(identity) if identity is not None else None
        self._key = bytearray()
        self._marker = BlockMarks()
        self._marks = bytearray()  # of each block, once the tag agrees
        self._ivs = bytearray()  # the 16 bytes of the chain in front of each block
        self._authentic = False
        self._held = -1  # the block that `read` decrypted last, in `_plain`
        self._plain = bytearray()
        with ExitStack() as stack:
            fds = open_set(self.path, NAMES if self._key_path is None else KEYLESS)
            for fd in fds.values():
                stack.callback(os.close, fd)
            self._absolute = os.path.abspath(self.path)  # `check` must survive a chdir
            self._fd = fds[RESULT]
            self._opened = {name: _state(os.fstat(fd)) for name, fd in fds.items()}
            self._key = self._read_key(fds, opener)
            self._iv = bytes(self._read_small(fds, IV, IV_BYTES, IV_BYTES))
            self._document = bytes(self._read_small(fds, DESCRIPTION, 0, FILE_BYTES_MAX))
            self._describe()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the files and wipe the key. Idempotent."""
        self._stack.close()
        primitives.wipe(self._key)
        primitives.wipe(self._plain)
        self._held = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def authenticate(self) -> None:
        """Check the tag over the description, the IV and the whole ciphertext, then the padding.

        Raises:
            VerificationError: One of them is wrong.
        """
        from concurrent.futures import ThreadPoolExecutor  # some ms, which a job without a sealed input need not wait

        tag = primitives.Tag(self._key, self._iv, self._encoded)
        marks, ivs = bytearray(), bytearray()
        end = self._iv  # the chain's last 32 bytes so far, the IV counted as its beginning
        spare = bytearray(len(self._buffer))
        with ThreadPoolExecutor(1, "zaudio-ahead") as ahead:
            coming = ahead.submit(self._read_and_mark, 0, self._buffer)
            for index in range(self._blocks):
                block, mark = coming.result()
                if index + 1 < self._blocks:
                    coming = ahead.submit(self._read_and_mark, index + 1, self._buffer if index % 2 else spare)
                self._tell()
                tag.update(block)
                marks += mark
                ivs += end[-BLOCK_BYTES:]
                end = (end + bytes(block[-2 * BLOCK_BYTES :]))[-2 * BLOCK_BYTES :]
        if not tag.agrees(self._tag):
            raise VerificationError(self.path, self._disagreement())
        self._check_padding(end)
        self._marks, self._ivs = marks, ivs
        self._authentic = True

    def plaintext(self) -> Iterator[memoryview]:
        """Give all of the plaintext, header included, piece by piece; each piece is valid until the next one.

        Raises:
            VerificationError: The ciphertext has changed since it was authenticated; the pieces before had not.
        """
        decrypted = bytearray(self._block_bytes + BLOCK_BYTES)
        for index in range(self._blocks):
            if size := self._decrypt(index, decrypted):  # else this block is nothing but padding
                yield memoryview(decrypted)[:size]

    def samples(self, *, forward: bool = False) -> Iterator[memoryview]:
        """Give the samples as they lie in a file, piece by piece; each piece is valid until the next one.

        Args:
            forward: Give the frames in the order of the recording. Otherwise as stored.

        Raises:
            VerificationError: The ciphertext has changed since it was authenticated; the pieces before had not.
        """
        described = self.description
        first, end = described.header_bytes, described.header_bytes + described.samples_bytes
        if not forward or described.order is Order.FORWARD:
            position = 0
            for piece in self.plaintext():
                yield piece[max(0, first - position) : max(0, end - position)]
                position += piece.nbytes
            return
        turned = bytearray(self._block_bytes)
        self.read(max(first, end - 1), end, told=True)  # so that each block is decrypted once: see `read`
        # The first piece begins with its block, or with the first frame in there; all others are as long as a block.
        stop, size = end, described.frame_bytes
        start = first + -(-max(0, (end - 1) // self._block_bytes * self._block_bytes - first) // size) * size
        while stop > first:
            stored = self.read(start, stop, told=True)
            reverse_into(np.frombuffer(stored, np.uint8), turned, size)
            yield memoryview(turned)[: len(stored)]
            stop, start = start, max(first, start - self._block_bytes)

    def read(self, start: int, stop: int, *, told: bool = False) -> bytes:
        """Return bytes `start` to `stop` of the plaintext. Only the blocks that hold them are decrypted.

        Args:
            start: The first byte.
            stop: The byte behind the last one.
            told: Whether `on_progress` hears of it.

        Raises:
            VerificationError: The ciphertext has changed since it was authenticated.
        """
        if start >= stop:
            return b""
        indices = range(start // self._block_bytes, (stop - 1) // self._block_bytes + 1)
        down = self._held >= indices[-1]  # reads that go down through the file decrypt each block once, too
        pieces = []
        for index in reversed(indices) if down else indices:
            if index != self._held:
                self._plain = self._plain or bytearray(self._block_bytes + BLOCK_BYTES)
                self._held = -1
                self._decrypt(index, self._plain, told=told)
                self._held = index
            first = index * self._block_bytes
            last = min(stop - first, self._block_bytes)
            pieces.append(bytes(memoryview(self._plain)[max(start - first, 0) : last]))
        return b"".join(reversed(pieces) if down else pieces)

    @property
    def tag(self) -> bytes:
        """The tag, which names the result; verified once `authenticate` has returned."""
        return self._tag

    @property
    def mtime_ns(self) -> int:
        """The time at which the ciphertext was last written to, in nanoseconds."""
        return self._opened[RESULT][-1]

    def check(self) -> None:
        """Make sure that the files are those that were opened, under their names, and were not written to.

        Raises:
            VerificationError: One is not.
        """
        for name, state in self._opened.items():
            path = os.path.join(self._absolute, name)
            try:
                now = _state(os.stat(path, follow_symlinks=False))
            except OSError as error:
                raise VerificationError(self._name(name), f"it is gone: {disk.reason(error)}") from None
            if now != state:
                raise VerificationError(self._name(name), "it was replaced or written to since it was opened")

    def _disagreement(self) -> str:
        if self._key_path is None:
            return f"the tag does not agree: one of {', '.join(NAMES)} has changed"
        files = ", ".join(KEYLESS)
        return f"the tag does not agree: one of {files} has changed, or {self._key_path} is the key of another result"

    def _describe(self) -> None:
        """Read the description and compare the sizes with it."""
        try:
            self._encoded, self._tag = split_file(self._document)
            self.description = decode_description(self._encoded)
        except ValueError as error:
            raise VerificationError(self._name(DESCRIPTION), str(error)) from None
        self._size = primitives.padded_bytes(self.description.plaintext_bytes)
        actual = os.fstat(self._fd).st_size
        if actual != self._size:
            raise VerificationError(self._name(RESULT), f"{self._size} bytes expected, {actual} found")
        # Blocks hold whole frames as well as whole cipher blocks, so each can be turned by itself. Even the longest
        # frame leaves room: 16 and 65535 x 8 bytes meet below 1 MiB.
        unit = lcm(BLOCK_BYTES, self.description.frame_bytes)
        self._block_bytes = READ_BYTES // unit * unit
        self._blocks = -(-self._size // self._block_bytes)
        self._buffer = bytearray(min(self._block_bytes, self._size))

    def _decrypt(self, index: int, buffer: bytearray, *, told: bool = True) -> int:
        """Decrypt a block into the buffer, unless it changed since it was authenticated; return its bytes of audio."""
        if not self._authentic:
            raise VerificationError(self.path, "it was not authenticated yet")
        block = self._read_block(index, self._buffer)
        if told:
            self._tell()
        if not self._marker.agrees(index, block, self._marks[index * MARK_BYTES : (index + 1) * MARK_BYTES]):
            raise VerificationError(self._name(RESULT), f"block {index} changed while it was read")
        iv = self._ivs[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
        primitives.cbc_decrypt_into(self._key, iv, block, buffer)
        return min(self._block_bytes, self.description.plaintext_bytes - index * self._block_bytes)

    def _read_and_mark(self, index: int, buffer: bytearray) -> tuple[memoryview, bytes]:
        block = self._read_block(index, buffer)
        return block, self._marker.mark(index, block)

    def _read_block(self, index: int, buffer: bytearray) -> memoryview:
        """Return that block of the ciphertext, which lies in the buffer."""
        start = index * self._block_bytes
        block = memoryview(buffer)[: min(self._block_bytes, self._size - start)]
        try:
            filled = disk.read_into(self._fd, block, start)
        except OSError as error:
            raise VerificationError(self._name(RESULT), f"it cannot be read: {disk.reason(error)}") from error
        if filled < len(block):
            raise VerificationError(self._name(RESULT), f"it ends at byte {start + filled} of {self._size}")
        self._read += filled
        return block

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._read, self._size * self._passes)

    def _check_padding(self, end: bytes) -> None:
        """Make sure that the last block ends in the padding, to the byte."""
        last = bytearray(2 * BLOCK_BYTES)
        primitives.cbc_decrypt_into(self._key, end[:BLOCK_BYTES], end[BLOCK_BYTES:], last)
        if not last[:BLOCK_BYTES].endswith(primitives.padding(self.description.plaintext_bytes)):
            raise VerificationError(self._name(RESULT), "the padding is not PKCS#7")

    def _read_key(self, fds: dict[str, int], identity: Identity | None) -> bytearray:
        """Read the key, and unwrap it if it is wrapped."""
        if self._key_path is not None:
            where, content = self._key_path, read_key_file(self._key_path, WRAPPED_BYTES)
            if len(content) != KEY_BYTES and not is_wrapped(content):
                found = len(content) if len(content) <= WRAPPED_BYTES else "more"
                raise UsageError(f"{where} is no key: {KEY_BYTES} bytes expected, {found} found")
        else:
            where, content = self._name(KEY), self._read_stored_key(fds)
        if len(content) == KEY_BYTES:
            return content
        if identity is None:
            raise identity_needed(content, where)
        try:
            return identity.unwrap(content)
        except ValueError as error:
            raise VerificationError(where, str(error)) from None

    def _read_stored_key(self, fds: dict[str, int]) -> bytearray:
        """Read the key of the folder: 32 bytes, or a wrapped key."""
        if os.fstat(fds[KEY]).st_size != WRAPPED_BYTES:
            return self._read_small(fds, KEY, KEY_BYTES, KEY_BYTES)
        content = self._read_small(fds, KEY, 0, WRAPPED_BYTES)
        if not is_wrapped(content):
            raise VerificationError(self._name(KEY), f"{KEY_BYTES} bytes expected, {len(content)} found")
        return content

    def _read_small(self, fds: dict[str, int], name: str, low: int, high: int) -> bytearray:
        """Read a whole small file of `low` to `high` bytes."""
        try:
            content = disk.read_all(fds[name], high)
        except OSError as error:
            raise VerificationError(self._name(name), f"it cannot be read: {disk.reason(error)}") from error
        if not low <= len(content) <= high:
            wanted = str(high) if low == high else f"at most {high}"
            raise VerificationError(self._name(name), f"{wanted} bytes expected, {os.fstat(fds[name]).st_size} found")
        return content

    def _name(self, name: str) -> str:
        return os.path.join(self.path, name)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return (*disk.identity(status), status.st_size, status.st_mtime_ns)
