"""Unsealing: from a sealed result to a file that people can use: WAV, FLAC, or samples alone.

Rules: this is where the rooms of audio and of results meet. Nothing is written before the whole result was
authenticated. A file appears under its name when it is whole, or not at all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

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

OnProgress = Callable[[int, int], None]

READ_BYTES = 1 << 20  # samples at a time
AHEAD = 4  # pieces that wait for the disk


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
        check_container(target, container, opened.description.signal)
    total = 0

    def verifying(done: int, size: int) -> None:
        nonlocal total
        total = size
        if on_progress is not None:
            on_progress(done, 2 * size)

    with SealedRecording(folder, key=key, identity=identity, on_progress=verifying) as source:
        described = source.description
        order = Order.FORWARD if forward else described.order

        def writing(pieces: Iterator[memoryview]) -> Iterator[memoryview]:
            done = total
            for piece in pieces:
                yield piece
                done = min(2 * total, done + piece.nbytes)
                if on_progress is not None:
                    on_progress(done, 2 * total)

        if container is Container.WAV and described.header_bytes and order is described.order:
            result.write_file(target, writing(source.plaintext()), folder=folder, overwrite=overwrite)
        else:
            _write(source, target, order, overwrite=overwrite, told=writing)
        return described, target


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


def _write(
    source: SealedRecording,
    target: str,
    order: Order,
    *,
    overwrite: bool,
    told: Callable[[Iterator[memoryview]], Iterator[memoryview]],
) -> None:
    """Write the samples into a file with a header, and give it its name.

    Raises:
        UsageError: The output cannot be written there.
        StorageError: The system refused.
        VerificationError: The result changed since it was authenticated.
    """
    signal = source.description.signal
    metadata = carry(source.metadata().metadata, signal, signal, order).metadata
    file = AudioFile(target, signal, order=order, metadata=metadata, overwrite=overwrite)
    changed = threading.Event()

    def wait_for(condition: Callable[[], bool]) -> None:
        while not condition() and file.error is None:
            changed.wait()
            changed.clear()

    try:
        file.open(signal, order, notify=changed.set)
        for number, piece in enumerate(told(_pieces(source, signal, order))):
            file.put(piece)
            wait_for(lambda: file.finished > number - AHEAD)  # noqa: B023  it is called here
            if file.error is not None:
                break
        else:
            file.seal()
            wait_for(lambda: file.sealed)
        file.publish()
    finally:
        file.abort()


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
