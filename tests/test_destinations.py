"""One test for all destinations: what a stage may ask of any of them, and a job of those that write files."""

import errno
import itertools
import os

import pytest
from audio_support import ORIGIN, Bell, samples_of, signal_of
from result_support import describe, job_record

from zaudio.audio.rendering import AudioFile
from zaudio.errors import StorageError, UsageError, ZaudioError
from zaudio.fold import Fold
from zaudio.into import Into
from zaudio.job.fileoutput import FileOutput
from zaudio.packing import unpack
from zaudio.plan import Order
from zaudio.result import ResultFolder, ResultWriter, decrypt

FRAMES = 4003
PAYLOAD = 1000  # frames


class Sealed:
    """The sealed result."""

    order, continues, files = Order.REVERSED, True, True
    signal = signal_of(FRAMES)

    def __init__(self, folder):
        self.path = folder / "out"

    def make(self):
        description = describe(FRAMES, channels=2, format="s16le", samplerate=48_000)
        self.folder = ResultFolder(str(self.path), job=job_record(description))
        return ResultWriter(self.folder, description)

    def end(self):
        self.folder.close()

    def published(self):
        decrypt(str(self.path), None)
        return (self.path / "decrypted.raw").read_bytes()

    def left(self):
        return {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()


class File:
    """A file that plays."""

    files = True
    signal = signal_of(FRAMES)

    def __init__(self, folder, suffix, order, header):
        self.path, self.order, self.header = folder / f"take.{suffix}", order, header
        self.continues = suffix != "flac"

    def make(self):
        return AudioFile(str(self.path), self.signal, order=self.order, origin=ORIGIN)

    def end(self):
        pass

    def published(self):
        if self.path.suffix == ".flac":
            import soundfile

            return soundfile.read(self.path, dtype="int16")[0].tobytes()
        return self.path.read_bytes()[self.header :]

    def left(self):
        return {entry.name for entry in self.path.parent.iterdir()}


class SealedWav(Sealed):
    """A sealed result in the order of the recording, with a header inside, and 24 bits."""

    order = Order.FORWARD
    signal = signal_of(FRAMES, format="s24le", channels=1)
    header = b"h" * 45

    def make(self):
        stored = {"channels": 1, "format": "s24le", "samplerate": 48_000, "order": self.order}
        description = describe(FRAMES, header_bytes=len(self.header), **stored)
        self.folder = ResultFolder(str(self.path), job=job_record(description))
        return ResultWriter(self.folder, description, self.header)

    def published(self):
        return bytes(unpack(super().published(), self.signal.format))


class Output(File):
    """A file that plays, as a job sees it."""

    def make(self):
        return FileOutput(super().make())


class Folded:
    """A measurement."""

    order, continues, files = Order.FORWARD, False, False
    signal = signal_of(FRAMES, format="f64le")

    def __init__(self, _):
        pass

    def make(self):
        self.fold = Fold(self.signal)
        return self.fold

    def published(self):
        return self.fold.cells.tobytes()


class Array(Folded):
    """An array."""

    signal = signal_of(FRAMES)

    def make(self):
        self.into = Into(self.signal)
        return self.into

    def published(self):
        return self.into.array.tobytes()


KINDS = {
    "array": Array,
    "sealed": Sealed,
    "sealed wav": SealedWav,
    "output": lambda folder: Output(folder, "wav", Order.FORWARD, 44),
    "wav": lambda folder: File(folder, "wav", Order.FORWARD, 44),
    "reversed wav": lambda folder: File(folder, "wav", Order.REVERSED, 44),
    "raw": lambda folder: File(folder, "raw", Order.FORWARD, 0),
    "flac": lambda folder: File(folder, "flac", Order.FORWARD, 0),
    "fold": Folded,
}
of_files = pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("array", "fold")], indirect=True)


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    kind = KINDS[request.param](tmp_path)
    kind.name = request.param
    return kind


@pytest.fixture
def lives(kind):
    """Opens the destination again and again, as lives of one job do; all are aborted at the end."""
    made = []

    def start():
        destination, bell = kind.make(), Bell()
        made.append(destination)
        resumed = destination.open(kind.signal, kind.order, notify=bell) if kind.files else 0
        return destination, bell, resumed

    yield start
    for destination in made if kind.files else ():
        destination.abort()
        kind.end()


def publish(kind, destination):
    return destination.publish() if kind.files else {}


def payloads(kind, resumed=0):
    content, size = samples_of(kind.signal).tobytes(), PAYLOAD * kind.signal.frame_bytes
    return [content[at : at + size] for at in range(resumed, len(content), size)]


def seal(destination, bell):
    destination.seal()
    bell.wait_for(lambda: destination.sealed or destination.error)
    assert destination.error is None


def test_a_result_is_whole_and_in_order(kind, lives):
    destination, bell, resumed = lives()
    assert (resumed, destination.finished, destination.sealed, destination.error) == (0, 0, False, None)
    for payload in payloads(kind):
        destination.put(payload)
    seal(destination, bell)
    paths = publish(kind, destination)
    assert all(os.path.exists(path) for path in paths.values())
    assert bool(paths) == kind.files
    assert kind.published() == samples_of(kind.signal).tobytes()


def test_every_kind_of_buffer_is_taken(kind, lives):
    destination, bell, _ = lives()
    for payload, type_ in zip(payloads(kind), itertools.cycle((bytes, bytearray, memoryview)), strict=False):
        destination.put(type_(payload))
    destination.put(b"")
    seal(destination, bell)
    publish(kind, destination)
    assert kind.published() == samples_of(kind.signal).tobytes()


def test_finished_counts_every_payload_once(kind, lives):
    destination, bell, _ = lives()
    for number, payload in enumerate(payloads(kind), 1):
        destination.put(payload)
        bell.wait_for(lambda number=number: destination.finished == number)
    seal(destination, bell)
    assert destination.finished == len(payloads(kind))


def test_a_payload_that_is_finished_with_may_be_used_again(kind, lives):
    destination, bell, _ = lives()
    for number, payload in enumerate(payloads(kind), 1):
        buffer = bytearray(payload)
        destination.put(buffer)
        bell.wait_for(lambda number=number: destination.finished == number)
        buffer[:] = bytes(len(buffer))
        buffer.clear()  # nothing refers to it any more
    seal(destination, bell)
    publish(kind, destination)
    assert kind.published() == samples_of(kind.signal).tobytes()


def test_more_than_the_result_is_refused(kind, lives):
    destination, _, _ = lives()
    for payload in payloads(kind):
        destination.put(payload)
    with pytest.raises(UsageError):
        destination.put(bytes(kind.signal.frame_bytes))


def test_less_than_the_result_cannot_be_sealed(kind, lives):
    destination, _, _ = lives()
    destination.put(payloads(kind)[0])
    with pytest.raises(UsageError, match=f"{kind.signal.bytes} bytes"):
        destination.seal()
    assert not destination.sealed


def test_a_payload_behind_the_seal_is_refused(kind, lives):
    destination, bell, _ = lives()
    for payload in payloads(kind):
        destination.put(payload)
    seal(destination, bell)
    with pytest.raises(UsageError):
        destination.put(bytes(kind.signal.frame_bytes))


@of_files
def test_another_signal_or_order_is_refused(kind):
    other = Order.FORWARD if kind.order is Order.REVERSED else Order.REVERSED
    destination = kind.make()
    try:
        for signal, order in ((signal_of(FRAMES + 1), kind.order), (kind.signal, other)):
            with pytest.raises(UsageError):
                destination.open(signal, order, notify=Bell())
    finally:
        destination.abort()
        kind.end()


@of_files
def test_nothing_is_published_before_the_seal(kind, lives):
    destination, _, _ = lives()
    destination.put(payloads(kind)[0])
    with pytest.raises(UsageError):
        destination.publish()
    assert not {name for name in kind.left() if name in ("result.raw", "take.wav", "take.raw", "take.flac")}


@of_files
def test_an_abort_keeps_what_a_later_life_goes_on_from(kind, lives):
    destination, bell, _ = lives()
    for payload in payloads(kind)[:2]:
        destination.put(payload)
    bell.wait_for(lambda: destination.finished == 2)
    destination.abort()
    destination.abort()  # twice is once
    kind.end()
    kept = destination.saved
    assert (kept > 0) == kind.continues
    assert bool(kind.left()) == kind.continues
    destination, bell, resumed = lives()
    assert resumed <= kept
    assert (resumed > 0) == kind.continues
    for payload in payloads(kind, resumed):
        destination.put(payload)
    seal(destination, bell)
    destination.publish()
    assert kind.published() == samples_of(kind.signal).tobytes()


@of_files
def test_disowned_bytes_are_gone(kind, lives):
    destination, bell, _ = lives()
    for payload in payloads(kind)[:2]:
        destination.put(payload)
    bell.wait_for(lambda: destination.finished == 2)
    destination.disown()
    kind.end()
    assert destination.saved == 0
    assert kind.left() == set()
    _, _, resumed = lives()
    assert resumed == 0


@of_files
def test_an_abort_at_once_leaves_nothing(kind, lives):
    destination, _, _ = lives()
    destination.abort()
    kind.end()
    assert kind.left() == set()


@of_files
def test_an_abort_behind_the_publication_removes_nothing(kind, lives):
    destination, bell, _ = lives()
    for payload in payloads(kind):
        destination.put(payload)
    seal(destination, bell)
    destination.publish()
    before = kind.left()
    destination.abort()
    assert kind.left() == before
    assert kind.published() == samples_of(kind.signal).tobytes()


@of_files
@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "No space left"), (errno.EIO, "Input/output error")])
def test_a_disk_that_fails_ends_it_with_the_reason_and_publishes_nothing(kind, lives, monkeypatch, number, reason):
    destination, bell, _ = lives()

    def fail(*_):
        raise OSError(number, os.strerror(number))

    for call in ("write", "pwrite", "fsync"):
        monkeypatch.setattr(os, call, fail)
    for payload in payloads(kind):
        destination.put(payload)
    destination.seal()
    bell.wait_for(lambda: destination.error)
    monkeypatch.undo()
    assert isinstance(destination.error, StorageError)
    assert reason in str(destination.error)
    assert not destination.sealed
    with pytest.raises(ZaudioError):
        destination.publish()
    destination.abort()
    kind.end()
    assert kind.left() == set()
