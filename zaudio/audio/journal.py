"""The journal of a render: its job, and up to where its part is known to lie on the disk.

    magic, record, record, ...        as `zaudio.records` writes them, with SHA-256 sums

Rules: pure. The first record names the job. Each later one is a length of the part and its XXH3, or a note: a JSON
object, which is kept for the job's owner and not read here. Each life of the job begins with a record of its number.
Nothing in it is a secret; sums find damage, and the part is summed before it is continued. XXH3 does for the part: an
attacker with write access to it can also write a journal with the right sum. SHA-256 takes twice the time of writing
the part.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, fields

from zaudio.errors import UsageError
from zaudio.records import Sums, decode_records, encode_record
from zaudio.reference import Fingerprint

MAGIC = b"zaudio render journal 2\n"
RECORD_MAX = 8 << 20  # bytes of a body: a note may hold tables
ID_BYTES = 16
FIRST_OF_NOTE = b"{"  # a record begins with the high byte of an incarnation, which is never that large
RECORDS_KEPT = 4096  # of a longer journal, each second older one is forgotten

_RECORD = struct.Struct(">QQ16s")


@dataclass(frozen=True, slots=True)
class RenderJob:
    """The name of a job, equal for two starts of the same.

    Attributes:
        recording: The state of the recording's file.
        ops: The ops as text, with their versions; dither is one of them.
        container: The kind of file.
        signal: The result's signal as text, format and frames among it.
        order: The order of its frames.
        header: SHA-256 of the file's header in hex, which holds the metadata.
        size: Bytes of the file.
        zaudio: The version of this program, and of a decoder if one was needed.
    """

    recording: Fingerprint
    ops: tuple[str, ...]
    container: str
    signal: str
    order: str
    header: str
    size: int
    zaudio: str

    def difference(self, earlier: RenderJob) -> str:
        """Return the difference between two jobs as half a sentence; empty when they are the same."""
        if self.recording != earlier.recording:
            return f"its input was {earlier.recording.path!r} in another state, or another file"
        for name, words in _WORDS.items():
            here, there = getattr(self, name), getattr(earlier, name)
            if here != there:
                return f"{words} {_show(there)} and not {_show(here)}"
        return ""


_WORDS = {
    "zaudio": "it was begun by zaudio",
    "ops": "its ops were",
    "container": "its container was",
    "signal": "its result was",
    "order": "its order was",
    "header": "its metadata had the sum",
    "size": "its bytes were",
}


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes of the part that were fsynced.

    Attributes:
        incarnation: The life of the coordinator that wrote it.
        length: Their number.
        digest: Their XXH3-128.
    """

    incarnation: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Journal:
    """The content of a journal.

    Attributes:
        id: The job's id on the wire.
        job: The job.
        incarnation: The last life of a coordinator over it.
        records: The valid ones, each longer than the one before; of many old ones only some.
        notes: What the job's owner noted, oldest first.
        end: Bytes of the file that are whole; the rest is torn.
        sums: The chain up to there.
    """

    id: bytes
    job: RenderJob
    incarnation: int
    records: tuple[Record, ...]
    notes: tuple[bytes, ...]
    end: int
    sums: Sums


def encode_job(id: bytes, job: RenderJob, sums: Sums) -> bytes:
    """Return the beginning of a journal: the magic and the first record."""
    return MAGIC + encode_record(json.dumps({"id": id.hex(), **asdict(job)}).encode("ascii"), sums)


def encode(record: Record, sums: Sums) -> bytes:
    """Return one more record."""
    return encode_record(_RECORD.pack(record.incarnation, record.length, record.digest), sums)


def encode_note(note: bytes, sums: Sums) -> bytes:
    """Return one more record, of a note.

    Raises:
        UsageError: It is too long.
    """
    if not note.startswith(FIRST_OF_NOTE) or len(note) > RECORD_MAX:
        raise UsageError(f"a note is a JSON object of at most {RECORD_MAX} bytes, not {len(note)} bytes")
    return encode_record(note, sums)


def decode_journal(content: bytes) -> Journal | None:
    """Return the content of a journal; None when it ends inside of its first record.

    Raises:
        ValueError: It is damaged.
    """
    if not content.startswith(MAGIC):
        if MAGIC.startswith(content) or not any(content):
            return None
        raise ValueError("it does not begin as a journal does")
    sums = Sums()
    bodies = decode_records(content, len(MAGIC), sums, most=RECORD_MAX)
    end, body = next(bodies, (0, b""))
    if not end:
        return None
    id, job = _decode_job(body)
    records: list[Record] = []
    notes: list[bytes] = []
    incarnation = 1
    for end, body in bodies:  # noqa: B007  after the loop it is the end of the last whole record
        if body.startswith(FIRST_OF_NOTE):
            notes.append(body)
            continue
        if len(body) != _RECORD.size:
            raise ValueError(f"a record of {len(body)} bytes is not one that this zaudio knows")
        record = Record(*_RECORD.unpack(body))
        if record.length > job.size or record.incarnation < incarnation:
            raise ValueError(f"a record at {record.length} of {job.size} bytes cannot be")
        incarnation = record.incarnation
        while records and records[-1].length >= record.length:
            records.pop()  # a later life began at an earlier byte
        records.append(record)
        if len(records) > RECORDS_KEPT:
            del records[-2::-2]
    # A life that began at byte 0 has a record of its number alone.
    covering = tuple(record for record in records if record.length)
    return Journal(id, job, incarnation, covering, tuple(notes), end, sums)


def _decode_job(body: bytes) -> tuple[bytes, RenderJob]:
    try:
        values = json.loads(body)
        id = bytes.fromhex(values.pop("id"))
        values["recording"] = Fingerprint(**values["recording"])
        values["ops"] = tuple(values["ops"])
        job = RenderJob(**values)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError("its first record is not one that this zaudio knows") from None
    typed = all(isinstance(getattr(job, each.name), _TYPES.get(each.name, str)) for each in fields(job))
    if not typed or len(id) != ID_BYTES:
        raise ValueError("its first record is not one that this zaudio knows")
    return id, job


_TYPES: dict[str, type] = {"recording": Fingerprint, "ops": tuple, "size": int}


def _show(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
