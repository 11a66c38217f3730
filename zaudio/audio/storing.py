"""Samples on their way into a part: as they are, in a WAV or a raw file, and through the encoder of FLAC.

Rules: each class belongs to one thread at a time: first its opener's, then the feeder's. A record of the journal is
written after an fsync of the bytes that it covers, and is durable itself. After an error nothing is tried a second
time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import xxhash

from zaudio import disk
from zaudio.audio.flacs import FlacFile
from zaudio.audio.journal import ID_BYTES, Journal, Record, RenderJob, encode, encode_job, encode_note
from zaudio.audio.marks import FileMark, mark_of
from zaudio.audio.part import PartFile
from zaudio.errors import ResumeError
from zaudio.packing import pack, unpacked_bytes
from zaudio.records import Schedule, Sums
from zaudio.signal import Signal

WRITEBACK_BYTES = 16 << 20  # the disk works meanwhile, and the fsync at the end finds little left to do
READ_BYTES = 1 << 20  # of a part at a time: what the processor's cache holds


class PlainStorage:
    """Samples that lie in their file one behind the other, between a header and a footer.

    Args:
        part: The part, claimed.
        signal: The samples as they come.
        header: The bytes in front of them.
        footer: The bytes behind them.
        little: Whether the file's byte order is the little one.
        job: The job, for a journal; None for none.
    """

    def __init__(
        self, part: PartFile, signal: Signal, *, header: bytes, footer: bytes, little: bool, job: RenderJob | None
    ) -> None:
        self.saved = 0  # bytes of samples, as they come, that a later life can go on from
        self.notes = 0  # of the job's owner, in the journal
        self.job_id = os.urandom(ID_BYTES)
        self.incarnation = 1
        self._part = part
        self._format = signal.format
        self._header, self._footer = header, footer
        self._samples_end = len(header) + signal.frames * signal.channels * signal.format.stored_bytes
        self._little = little
        self._job = job
        self._digest = xxhash.xxh3_128()
        self._written = self._written_back = 0  # bytes of the file
        self._recorded = 0  # of those, covered by a record
        self._records: disk.RecordFile | None = None
        self._sums = Sums()

    def start(self, check_stop: Callable[[], None]) -> int:
        """Write the header, or go on where an earlier life ended; return the bytes of samples that lie there.

        Raises:
            ResumeError: The part does not hold what its journal says.
            OSError: The system refused.
        """
        self._schedule = Schedule(now=time.monotonic())
        if (journal := self._part.unfinished) is not None:
            self._reopen(journal, check_stop)
        else:
            self._write_bytes(self._header)
            self._begin_journal()
        return self.saved

    def write(self, payload: memoryview) -> None:
        """Write samples, and a record when one is due."""
        self._write_bytes(memoryview(pack(payload, self._format, little=self._little)))
        self.idle()

    def idle(self) -> None:
        """Write a record if one is due."""
        began = time.monotonic()
        if self._records is not None and self._schedule.due(self._written - self._recorded, now=began):
            self._save()
            self._schedule.made(began=began, now=time.monotonic())

    def leave(self) -> None:
        """Write a last record."""
        self._save()

    def complete(self) -> None:
        """Write the footer, make all durable, and say so in the journal."""
        if self._written == self._samples_end:
            self._write_bytes(self._footer)
        os.fsync(self._part.fd)
        self._record()

    def mark(self) -> FileMark:
        """Return the mark of the complete file, which is read for it: the journal's sums are no SHA-256."""
        return mark_of(self._part.fd)

    def note(self, note: bytes) -> None:
        """Keep a note in the journal, durable.

        Raises:
            UsageError: It is no JSON object, or too long.
            OSError: The system refused.
        """
        if self._records is not None and self._records.append(lambda: encode_note(note, self._sums)):
            self.notes += 1

    def stop(self) -> None:
        """Let nothing more be written into the journal."""
        if self._records is not None:
            self._records.stop()

    def close(self) -> None:
        """Close the journal. Idempotent."""
        if self._records is not None:
            self._records.close()

    def _begin_journal(self) -> None:
        if self._job is None:
            return
        self._records = disk.RecordFile(self._part.open_journal(), 0)
        beginning = encode_job(self.job_id, self._job, self._sums)
        self._records.append(lambda: beginning)
        self._part.sync()

    def _reopen(self, journal: Journal, check_stop: Callable[[], None]) -> None:
        length = self._trusted(journal, check_stop)
        if journal.records and not length:
            raise ResumeError(self._part.part, "its bytes are not those that its journal says")
        os.ftruncate(self._part.fd, length)
        os.lseek(self._part.fd, length, os.SEEK_SET)
        self._written = self._written_back = self._recorded = length
        self.job_id, self.incarnation, self.notes = journal.id, journal.incarnation + 1, len(journal.notes)
        self._sums = journal.sums
        self._records = disk.RecordFile(self._part.open_journal(), journal.end)
        # No two lives have the same number, so that no result of an earlier one is taken for one of this.
        first = Record(self.incarnation, length, self._digest.digest())
        self._records.append(lambda: encode(first, self._sums))
        self._count_saved()
        if not length:
            self._write_bytes(self._header)

    def _trusted(self, journal: Journal, check_stop: Callable[[], None]) -> int:
        """Return the bytes of the part that a record covers and that the part still holds; sum them."""
        buffer, length, digest = memoryview(bytearray(READ_BYTES)), 0, xxhash.xxh3_128()
        at = 0
        for record in journal.records:
            while at < record.length:
                check_stop()
                count = disk.read_into(self._part.fd, buffer[: record.length - at], at)
                if not count:
                    return length
                digest.update(buffer[:count])
                at += count
            if digest.digest() != record.digest:
                return length
            length, self._digest = at, digest.copy()
        return length

    def _write_bytes(self, content: bytes | memoryview) -> None:
        disk.write_all(self._part.fd, content)
        self._digest.update(content)
        self._written += len(content)
        if self._written - self._written_back >= WRITEBACK_BYTES:
            disk.start_writeback(self._part.fd, self._written_back, self._written)
            self._written_back = self._written

    def _save(self) -> None:
        if self._records is not None and self._written > max(self._recorded, len(self._header)):
            os.fsync(self._part.fd)
            self._record()

    def _record(self) -> None:
        record = Record(self.incarnation, self._written, self._digest.digest())
        if self._records is None or record.length == self._recorded:
            return
        if self._records.append(lambda: encode(record, self._sums)):
            self._recorded = record.length
            self._count_saved()

    def _count_saved(self) -> None:
        samples = min(self._recorded, self._samples_end) - len(self._header)
        self.saved = unpacked_bytes(max(0, samples), self._format)


class FlacStorage:
    """Samples that are encoded. Nothing is saved for a later life: an encoder cannot be continued.

    Args:
        part: The part, claimed.
        signal: The samples as they come.
        metadata: The blocks of metadata.
    """

    saved = notes = 0
    incarnation = 1

    def __init__(self, part: PartFile, signal: Signal, metadata: bytes) -> None:
        self._part = part
        self._signal = signal
        self._metadata = metadata
        self.job_id = os.urandom(ID_BYTES)
        self._file: FlacFile | None = None

    def start(self, check_stop: Callable[[], None]) -> int:  # noqa: ARG002  there is nothing to read
        """Start the encoder; return 0: nothing was there.

        Raises:
            StorageError: The encoder refused.
        """
        self._file = FlacFile(self._part.fd, self._part.part, self._signal, self._metadata)
        return 0

    def write(self, payload: memoryview) -> None:
        """Encode samples."""
        assert self._file is not None
        self._file.write(payload)

    def idle(self) -> None:
        """Do nothing: there is no journal."""

    def leave(self) -> None:
        """Do nothing: there is no journal."""

    def complete(self) -> None:
        """Let the encoder end the file, and make it durable."""
        assert self._file is not None
        self._file.finish()
        os.fsync(self._part.fd)

    def mark(self) -> FileMark:
        """Return the mark of the complete file, which is read for it: an encoder writes the head last."""
        return mark_of(self._part.fd)

    def note(self, note: bytes) -> None:
        """Do nothing: there is no journal."""

    def stop(self) -> None:
        """Do nothing: there is no journal."""

    def close(self) -> None:
        """Let go of the encoder. Idempotent."""
        if self._file is not None:
            self._file.close()
