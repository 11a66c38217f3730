"""The journal of a render: its job, and up to where its part is known to lie on the disk.

    magic, record, record, ...        as `zaudio.records` writes them, with SHA-256 sums

Rules: pure. The first record names the job, each later one says so many bytes of the part and their SHA-256. Nothing in
it is a secret; sums find damage, and the part is hashed before it is continued.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, fields

from zaudio.records import Sums, decode_records, encode_record
from zaudio.reference import Fingerprint

MAGIC = b"zaudio render journal 1\n"
RECORD_MAX = 256 * 1024  # bytes of a body: a long row of ops and a path
RECORDS_KEPT = 4096  # of a longer journal, each second older one is forgotten

_RECORD = struct.Struct(">Q32s")


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
        """Return as half a sentence in what this job differs from that one; empty when they are the same."""
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
        length: Their number.
        digest: Their SHA-256.
    """

    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Journal:
    """The content of a journal.

    Attributes:
        job: The job.
        records: The valid ones, each longer than the one before; of many old ones only some.
        end: Bytes of the file that are whole; the rest is torn.
        sums: The chain up to there.
    """

    job: RenderJob
    records: tuple[Record, ...]
    end: int
    sums: Sums


def encode_job(job: RenderJob, sums: Sums) -> bytes:
    """Return the beginning of a journal: the magic and the first record."""
    return MAGIC + encode_record(json.dumps(asdict(job)).encode("ascii"), sums)


def encode(record: Record, sums: Sums) -> bytes:
    """Return one more record."""
    return encode_record(_RECORD.pack(record.length, record.digest), sums)


def decode_journal(content: bytes) -> Journal | None:
    """Return what a journal says; None when it ends inside of its first record.

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
    job = _decode_job(body)
    records: list[Record] = []
    for end, body in bodies:  # noqa: B007  after the loop it is the end of the last whole record
        if len(body) != _RECORD.size:
            raise ValueError(f"a record of {len(body)} bytes is not one that this zaudio knows")
        record = Record(*_RECORD.unpack(body))
        if record.length > job.size:
            raise ValueError(f"a record at {record.length} of {job.size} bytes cannot be")
        while records and records[-1].length >= record.length:
            records.pop()  # a later life began at an earlier byte
        records.append(record)
        if len(records) > RECORDS_KEPT:
            del records[-2::-2]
    return Journal(job, tuple(records), end, sums)


def _decode_job(body: bytes) -> RenderJob:
    try:
        values = json.loads(body)
        values["recording"] = Fingerprint(**values["recording"])
        values["ops"] = tuple(values["ops"])
        job = RenderJob(**values)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
        raise ValueError("its first record is not one that this zaudio knows") from None
    if not all(isinstance(getattr(job, each.name), _TYPES.get(each.name, str)) for each in fields(job)):
        raise ValueError("its first record is not one that this zaudio knows")
    return job


_TYPES: dict[str, type] = {"recording": Fingerprint, "ops": tuple, "size": int}


def _show(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
