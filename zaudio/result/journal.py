"""The journal of a job: its name, and up to where its ciphertext is known to lie on the disk.

    magic, record, record, ...            record: length (4 bytes), body, HMAC-SHA256 (32 bytes)

Rules of its bytes: the first record names the job, each later one is a checkpoint or a note. A record's HMAC covers the
one before it, so none can be left out, moved or taken from another job. An incomplete record at the very end was being
written when its writer died, and is cut off. A wrong record before the end is damage, a `ValueError` with the reason.
The layout is written down in docs/result-format.md.

Rules on the disk: a checkpoint is written after an fsync of the ciphertext that it covers, and is fsynced itself. A
failed fsync ends it all: nothing is written after it. Nothing is written either once `stop` has returned, though a
thread may still be inside of an fsync: the folder may be another job's by then.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zaudio import disk
from zaudio.errors import UsageError
from zaudio.plan import Order
from zaudio.records import decode_records, encode_record
from zaudio.reference import Fingerprint
from zaudio.result.description import UNVERSIONED, Description, decode_description, encode_description
from zaudio.result.notes import FIRST_BYTE, Machines, MeasuredOp, Note, Settled, decode_note, encode_note
from zaudio.result.primitives import BLOCK_BYTES, TAG_BYTES, JournalSeal

MAGIC = b"zaudio result journal 1\n"
RECORD_MAX = 8 << 20  # bytes of a body: an op that was measured may have tables, which take a third more in base64
ID_BYTES = 16
CHECKPOINTS_KEPT = 4096  # of a longer journal, each second older one is forgotten: a week's would take 60 MB

_DOUBT = ", or the key or the IV is not the one that it had"


_CHECKPOINT = struct.Struct(f">QQ{TAG_BYTES}s")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The name of a job, equal for two starts of the same: input, ops, cuts, format and the program's version.

    Attributes:
        recording: The file of the recording.
        description: The description of the result, as far as it is known before there is a measurement or a worker.
        input: The recording's signal in words, when it is another one than the result's; else empty.
    """

    recording: Fingerprint
    description: Description
    input: str = ""

    def difference(self, earlier: JobRecord) -> str:
        """Return the difference between two jobs as half a sentence; empty when they are the same."""
        return next(_differences(self, earlier), "")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Ciphertext that was fsynced.

    Attributes:
        incarnation: The life of the coordinator that wrote it.
        length: The bytes that it covers, a multiple of 16.
        tag: The running tag of so many bytes.
    """

    incarnation: int
    length: int
    tag: bytes


@dataclass(frozen=True, slots=True)
class Journal:
    """The content of a journal.

    Attributes:
        id: The job's id on the wire.
        job: The job.
        incarnation: The last life of a coordinator over it.
        checkpoints: The valid ones, each longer than the one before; of many old ones only some. A later life that
            began at an earlier byte has written over the ciphertext behind it, and over its checkpoints.
        end: Bytes of the file that are whole; the rest is torn.
        seal: The chain of HMACs up to there.
        measured: The ops that measuring stages made, in order.
        machines: The class of machines; None when it is not known.
        settled: The description as it stands in the result, when it is another one than the job's.
    """

    id: bytes
    job: JobRecord
    incarnation: int
    checkpoints: tuple[Checkpoint, ...]
    end: int
    seal: JournalSeal
    measured: tuple[MeasuredOp, ...] = ()
    machines: Machines | None = None
    settled: Description | None = None

    @property
    def description(self) -> Description:
        """The description of the result, as far as it is known."""
        return self.settled if self.settled is not None else self.job.description


def difference(now: Description, then: Description) -> str:
    """Return the difference between two results as half a sentence; empty when they are made alike."""
    return next(_differences_of_result(now, then), "")


def encode_job(id: bytes, job: JobRecord, seal: JournalSeal) -> bytes:
    """Return the beginning of a journal: the magic and the first record."""
    recording = job.recording
    fields: dict[str, object] = {
        "job": id.hex(),
        "path": recording.path,
        "size": recording.size,
        "mtime_ns": recording.mtime_ns,
        "sample": recording.sample,
        "description": encode_description(job.description).decode("ascii"),
    }
    if recording.decoder:
        fields["decoder"] = recording.decoder
    if job.input:
        fields["input"] = job.input
    return MAGIC + encode_record(json.dumps(fields).encode("ascii"), seal)


def encode_checkpoint(checkpoint: Checkpoint, seal: JournalSeal) -> bytes:
    """Return one more record."""
    return encode_record(_CHECKPOINT.pack(checkpoint.incarnation, checkpoint.length, checkpoint.tag), seal)


def encode_kept(note: Note, seal: JournalSeal) -> bytes:
    """Return one more record, of a note.

    Raises:
        UsageError: It is too long: an op has too large tables.
    """
    body = encode_note(note)
    if len(body) > RECORD_MAX:
        raise UsageError(f"what was measured takes {len(body)} bytes of journal; {RECORD_MAX} is the most")
    return encode_record(body, seal)


def decode_journal(content: bytes, seal: JournalSeal) -> Journal | None:
    """Return the content of a journal; None when it ends inside of its first record.

    Args:
        content: All of the file.
        seal: The chain's beginning, of the job's key and IV; taken along.

    Raises:
        ValueError: It is damaged, or belongs to another key or IV.
    """
    if not content.startswith(MAGIC):
        if MAGIC.startswith(content) or not any(content):
            return None
        raise ValueError("it does not begin as a journal does")
    bodies = decode_records(content, len(MAGIC), seal, most=RECORD_MAX, doubt=_DOUBT)
    end, body = next(bodies, (0, b""))
    if not end:
        return None
    id, job = _decode_job(body)
    checkpoints: list[Checkpoint] = []
    notes: list[Note] = []
    incarnation = 1
    for end, body in bodies:  # noqa: B007  after the loop it is the end of the last whole record
        if body.startswith(FIRST_BYTE):
            notes.append(decode_note(body))
            continue
        checkpoint = _decode_checkpoint(body, incarnation, job.description.plaintext_bytes)
        incarnation = checkpoint.incarnation
        while checkpoints and checkpoints[-1].length >= checkpoint.length:
            checkpoints.pop()
        checkpoints.append(checkpoint)
        if len(checkpoints) > CHECKPOINTS_KEPT:
            del checkpoints[-2::-2]
    return _with_notes(Journal(id, job, incarnation, tuple(checkpoints), end, seal), notes)


def _with_notes(journal: Journal, notes: Sequence[Note]) -> Journal:
    """Return the journal with its notes: of the class and of the description, the last one holds."""
    measured = tuple(note for note in notes if isinstance(note, MeasuredOp))
    machines = [note for note in notes if isinstance(note, Machines)]
    settled = [note for note in notes if isinstance(note, Settled)]
    return replace(
        journal,
        measured=measured,
        machines=machines[-1] if machines else None,
        settled=decode_description(settled[-1].description.encode("ascii")) if settled else None,
    )


def _decode_job(body: bytes) -> tuple[bytes, JobRecord]:
    # Its HMAC agreed, so a writer of this version wrote it, or one of another version with the same magic.
    try:
        fields = json.loads(body)
        path, size, mtime_ns, sample = (fields[name] for name in ("path", "size", "mtime_ns", "sample"))
        recording = Fingerprint(path, size, mtime_ns, sample, fields.get("decoder", ""))
        description = decode_description(fields["description"].encode("ascii"))
        return bytes.fromhex(fields["job"]), JobRecord(recording, description, fields.get("input", ""))
    except (KeyError, TypeError, AttributeError):
        raise ValueError("its first record is not one that this zaudio knows") from None


def _decode_checkpoint(body: bytes, incarnation: int, most: int) -> Checkpoint:
    if len(body) != _CHECKPOINT.size:
        raise ValueError(f"a checkpoint of {len(body)} bytes is not one that this zaudio knows")
    checkpoint = Checkpoint(*_CHECKPOINT.unpack(body))
    if checkpoint.length % BLOCK_BYTES or checkpoint.length > most or checkpoint.incarnation < incarnation:
        raise ValueError(f"a checkpoint at {checkpoint.length} of {most} bytes cannot be")
    return checkpoint


def _differences(now: JobRecord, then: JobRecord) -> Iterator[str]:
    here, there = now.recording, then.recording
    if here.path != there.path:
        yield f"its input was {there.path!r} and not {here.path!r}"
    if here.size != there.size:
        yield f"its input had {there.size} bytes and has {here.size} now"
    if here.mtime_ns != there.mtime_ns:
        yield "its input was written to since"
    if here.decoder != there.decoder:
        yield f"its input was decoded by {there.decoder or 'nothing'}, and is by {here.decoder or 'nothing'} now"
    if here.sample != there.sample:
        yield "its input holds other samples now"
    new, old = now.description, then.description
    if new.zaudio != old.zaudio:
        yield f"it was begun by zaudio {old.zaudio} and this is {new.zaudio}"
    if now.input != then.input:
        yield f"its input was {then.input or old.signal} and not {now.input or new.signal}"
    yield from _differences_of_result(new, old)


def _differences_of_result(new: Description, old: Description) -> Iterator[str]:
    for name, what in _FIELDS.items():
        if getattr(new, name) != getattr(old, name):
            yield f"{what} {_show(getattr(old, name))} and not {_show(getattr(new, name))}"
    plain = (UNVERSIONED,) * len(new.ops)  # version 1 of the format
    for op, version, before in zip(new.ops, new.versions or plain, old.versions or plain, strict=True):
        if version != before:
            yield f"op {op} was of version {before}, and is of version {version} now"
    if new.grid != old.grid:
        yield f"its grid was {old.grid} frames and not {new.grid}"


_FIELDS = {
    "format": "its sample format was",
    "channels": "its number of channels was",
    "samplerate": "its samplerate was",
    "frames": "its number of frames was",
    "ops": "its ops were",
    "chunk_frames": "its chunks had this many frames:",
    "order": "its order was",
    "header_bytes": "its header had this many bytes:",
}


def _show(value: object) -> str:
    if isinstance(value, Order):
        return value.value
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


# On the disk


class Checkpoints:
    """The journal's file, to which checkpoints and notes are appended.

    Checkpoints belong to the storage thread, and so do notes once there is ciphertext.

    Args:
        fd: The journal, open for writing; owned from now on.
        end: Bytes of it that are whole; the rest is cut off.
        seal: The chain of HMACs up to there.
        incarnation: This life's number.
        length: Bytes of ciphertext that a checkpoint covers already.
        notes: Notes in it already.

    Attributes:
        length: Bytes of ciphertext that the last checkpoint covers.
        notes: The number of notes.
    """

    def __init__(self, fd: int, end: int, seal: JournalSeal, incarnation: int, length: int = 0, notes: int = 0) -> None:
        self.length = length
        self.notes = notes
        self._file = disk.RecordFile(fd, end)
        self._seal = seal
        self._incarnation = incarnation

    def append(self, length: int, running: bytes) -> None:
        """Write a checkpoint over `length` bytes of ciphertext, which were fsynced before.

        Raises:
            OSError: The system refused.
        """
        if self._file.append(lambda: encode_checkpoint(Checkpoint(self._incarnation, length, running), self._seal)):
            self.length = length

    def note(self, note: Note) -> None:
        """Write a note.

        Raises:
            UsageError: It is too long.
            OSError: The system refused.
        """
        if self._file.append(lambda: encode_kept(note, self._seal)):
            self.notes += 1

    def stop(self) -> None:
        """Let nothing more be written."""
        self._file.stop()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()
