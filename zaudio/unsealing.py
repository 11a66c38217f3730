"""Unsealing: from a sealed result to a file that people can use: WAV, FLAC, or samples alone.

Rules: this is where the rooms of audio and of results meet. Nothing is written before the whole result was
authenticated. A file appears under its name when it is whole, or not at all.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from zaudio import result
from zaudio.audio.container import Container, check_container, container_of
from zaudio.audio.metadata import carry
from zaudio.audio.rendering import AudioFile
from zaudio.errors import InputChangedError, UsageError, VerificationError
from zaudio.formats import HEADERED
from zaudio.job.inputs import SealedRecording
from zaudio.plan import Order
from zaudio.result import Description, OpenResult
from zaudio.reverse import order_into
from zaudio.signal import Signal
from zaudio.steps import Buffer

OnProgress = Callable[[int, int], None]

READ_BYTES = 1 << 20  # samples at a time
AHEAD = 4  # pieces that wait for the disk
LOOK = 0.1  # seconds between two looks: a signal that the system gave to another thread does not wake the main one


def decrypt(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    forward: bool = False,
    overwrite: bool = False,
    key: str | os.PathLike[str] | None = None,
    identity: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Description, str]:
    """Verify a result, then write its audio.

    Args:
        path: The result's folder.
        output: The file to write; None for `decrypted.raw` in that folder, ``-`` for standard output. A name that ends
            in .wav, .wave, .rf64 or .flac gets such a file, with the metadata of a result that has a header inside; any
            other one gets samples alone.
        forward: Write the frames in the order of the recording. Otherwise as stored.
        overwrite: Whether an output that is there already may be replaced.
        key: The file with the encryption key, if that is not in the folder.
        identity: The file with the private key that the encryption key is wrapped for, if it is.
        on_progress: Called now and then with the bytes that are done, and how many there are: all are read twice.

    Returns:
        The description of the result, and the place that its audio went to.

    Raises:
        VerificationError: The result is missing, incomplete or damaged; no plaintext was released. Or it changed after
            it was verified; then no output appears, and standard output got verified audio only.
        OutputExistsError: The output is there already.
        UsageError: The output cannot be written there, or its kind cannot hold the samples; or the file of `key` holds
            no key; or the encryption key is wrapped, and there is no identity.
        StorageError: There is too little room, or the output could not be written.
        FolderBusyError: Another job has been publishing into the result's folder for over two seconds.
    """
    target = os.fspath(output) if output is not None else None
    if target is None or not _has_header(target):
        return result.decrypt(
            path, target, forward=forward, overwrite=overwrite, key=key, identity=identity, on_progress=on_progress
        )
    folder, container = os.fspath(path), container_of(target)
    with OpenResult(folder, key=key, identity=identity) as opened:  # what can be refused is refused before all is read
        result.check_output(folder, target, overwrite=overwrite, key=key, identity=identity)
        convert = f"zaudio render {shlex.quote(folder)} {shlex.quote(target)} --format"
        check_container(target, container, opened.description.signal, convert=convert)
    told = _Twice(on_progress)
    with SealedRecording(folder, key=key, identity=identity, on_progress=told.verifying) as source:
        described = source.description
        order = Order.FORWARD if forward else described.order
        if container is Container.WAV and described.header_bytes and order is described.order:
            # The plaintext is that very WAV.
            result.write_file(target, told.writing(source.plaintext()), folder=folder, overwrite=overwrite)
        else:
            _write(source, target, order, overwrite=overwrite, told=told)
        return described, target


def write_file(file: AudioFile, signal: Signal, pieces: Iterable[Buffer], order: Order = Order.FORWARD) -> None:
    """Write samples to a file, and give it its name.

    Args:
        file: The file, not open yet. The caller aborts it.
        signal: All samples together.
        pieces: The samples, in order, each of them whole frames and a buffer of its own.
        order: The order of their frames.

    Raises:
        StorageError: The system refused.
        UsageError: The file's name was taken meanwhile.
    """
    news = threading.Event()

    def wait_for(condition: Callable[[], bool]) -> None:
        while not condition() and file.error is None:
            news.wait(LOOK)
            news.clear()

    file.open(signal, order, notify=news.set)
    for number, piece in enumerate(pieces):
        file.put(piece)
        wait_for(lambda: file.finished > number - AHEAD)  # noqa: B023  it is called here
        if file.error is not None:
            break
    else:
        file.seal()
        wait_for(lambda: file.sealed)
    file.publish()  # it raises the error, if there is one


class _Twice:
    """Progress over a result that is read twice: verified, then written."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._size = 0  # of the result, in bytes

    def verifying(self, done: int, size: int) -> None:
        """Tell how far the first reading is."""
        self._size = size
        self._tell(done)

    def writing(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        """Yield the pieces, and tell how far the second reading is behind each."""
        done = self._size
        for piece in pieces:
            yield piece
            done = min(2 * self._size, done + piece.nbytes)
            self._tell(done)

    def _tell(self, done: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done, 2 * self._size)


def _has_header(target: str) -> bool:
    """Return whether an output's name promises a header that is written here."""
    suffix = os.path.splitext(target)[1].lower()
    if suffix not in HEADERED:
        return False
    try:
        container_of(target)
    except UsageError:
        return False  # what writes samples alone says what to do
    return True


def _write(source: SealedRecording, target: str, order: Order, *, overwrite: bool, told: _Twice) -> None:
    """Write the samples into a file with a header, and give it its name.

    Raises:
        UsageError: The output cannot be written there.
        StorageError: The system refused.
        VerificationError: The result changed since it was authenticated.
    """
    signal = source.description.signal
    metadata = carry(source.metadata().metadata, signal, signal, order).metadata
    file = AudioFile(target, signal, order=order, metadata=metadata, overwrite=overwrite)
    try:
        write_file(file, signal, told.writing(_pieces(source, signal, order)), order)
    finally:
        file.abort()  # after it was published, nothing is removed


def _pieces(source: SealedRecording, signal: Signal, order: Order) -> Iterator[memoryview]:
    """Give the samples of a recording in an order, as they lie in memory."""
    step = max(1, READ_BYTES // signal.frame_bytes)
    starts = range(0, signal.frames, step)
    for start in starts if order is Order.FORWARD else reversed(starts):
        try:
            samples = source.read(start, min(start + step, signal.frames))
        except InputChangedError as error:
            raise VerificationError(error.path, error.reason) from None
        if order is Order.REVERSED:
            turned = bytearray(len(samples))
            order_into(np.frombuffer(samples, np.uint8), turned, signal.frame_bytes, order)
            samples = turned
        yield memoryview(samples)
