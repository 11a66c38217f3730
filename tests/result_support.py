"""What the tests of `zaudio.result` share: a result in one call, and waiting for its threads without sleeping."""

import threading
from pathlib import Path

from zaudio.formats import sample_format
from zaudio.plan import Order, Plan
from zaudio.reference import Fingerprint
from zaudio.result import Description, JobRecord, ResultFolder, ResultWriter

VECTORS = Path(__file__).parent / "vectors" / "result"
NAMES = ("result.raw", "encryption_key.bin", "encryption_iv.bin", "result.json")
PATIENCE = 60  # seconds until a test that waits for a thread fails


class Bell:
    """A `notify` that a test can wait for."""

    def __init__(self):
        self._condition = threading.Condition()
        self.rings = 0

    def __call__(self):
        with self._condition:
            self.rings += 1
            self._condition.notify_all()

    def wait_for(self, predicate):
        with self._condition:
            assert self._condition.wait_for(predicate, PATIENCE), "the threads did not get there"


def describe(frames, *, channels=1, format="f32le", chunk_frames=7, **fields):
    fields = {"samplerate": 44100, "ops": ("invert",), **fields}
    return Description(frames=frames, channels=channels, format=format, chunk_frames=chunk_frames, **fields)


def pattern(frames, frame_bytes, seed=1):
    """Bytes of a recording in which no two frames near each other are alike."""
    return bytes((31 * i + i // 251 + seed) % 256 for i in range(frames * frame_bytes))


def reverse(recording, frame_bytes):
    """Its frames reversed, the slow and obvious way."""
    return b"".join(recording[i : i + frame_bytes] for i in range(len(recording) - frame_bytes, -1, -frame_bytes))


def payloads(recording, description):
    """The recording's chunks in output order, each one in that order too, as workers give them back."""
    size = description.signal.frame_bytes
    plan = Plan(description.frames, description.chunk_frames, description.order)
    chunks = (plan.span(index) for index in range(len(plan)))
    pieces = [recording[chunk.start * size : chunk.stop * size] for chunk in chunks]
    return pieces if description.order is Order.FORWARD else [reverse(piece, size) for piece in pieces]


def sealed_writer(folder, recording, description, header=b""):
    """A writer whose parts all lie there, to be published or aborted by the test."""
    writer, bell, _ = start_writer(folder, description, header)
    for payload in payloads(recording, description):
        writer.put(payload)
    writer.seal()
    bell.wait_for(lambda: writer.sealed or writer.error)
    return writer


def write_result(path, recording, description, *, overwrite=False, key_store=None, header=b""):
    """A published result; returns its paths."""
    with ResultFolder(str(path), overwrite=overwrite, key_store=key_store) as folder:
        writer = sealed_writer(folder, recording, description, header)
        try:
            return writer.publish()
        finally:
            writer.abort()


def write_pattern(path, frames=20, *, seed=1, overwrite=False, **fields):
    """A published result of `pattern`; returns the recording and its description."""
    description = describe(frames, **fields)
    recording = pattern(frames, description.channels * sample_format(description.format).itemsize, seed)
    write_result(path, recording, description, overwrite=overwrite)
    return recording, description


def contents(path):
    """All that lies in a folder, by name."""
    return {entry.name: entry.read_bytes() for entry in Path(path).iterdir()}


def job_record(description, **recording):
    """The job that a description is of, over a recording that is nowhere."""
    state = {"path": "/takes/take.raw", "size": description.plaintext_bytes, "mtime_ns": 17, "sample": "ab" * 32}
    return JobRecord(Fingerprint(**state | recording), description)


def start_writer(folder, description, header=b""):
    """An open writer, its bell, and the bytes that an earlier life wrote."""
    bell = Bell()
    writer = ResultWriter(folder, description, header)
    return writer, bell, writer.open(description.signal, description.order, notify=bell)


def rest(recording, description, resumed):
    """What the farm would put after a resume at that byte: whole chunks but for the first."""
    size = description.signal.frame_bytes
    plan = Plan(description.frames, description.chunk_frames, description.order)
    index, frames = plan.at_output(resumed // size)
    left = payloads(recording, description)[index:]
    return [left[0][frames * size + resumed % size :], *left[1:]] if left else []


def finish_job(path, recording, description, *, overwrite=False, header=b""):
    """Do that job to its end, whatever lies in the folder. Returns how many bytes were resumed; None if it was done."""
    with ResultFolder(str(path), job=job_record(description), overwrite=overwrite) as folder:
        if folder.done:
            return None
        writer, bell, resumed = start_writer(folder, description, header)
        try:
            for payload in rest(recording, description, resumed):
                writer.put(payload)
            writer.seal()
            bell.wait_for(lambda: writer.sealed or writer.error)
            writer.publish()
            return resumed
        finally:
            writer.abort()
