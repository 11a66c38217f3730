"""What a journal keeps besides its job and its checkpoints, and what a writer does with it."""

import json
import os
import re
import struct
from dataclasses import replace

import pytest
from result_support import contents, describe, job_record, pattern, payloads, rest, start_writer

from zaudio.errors import ResumeError, UsageError
from zaudio.reference import Fingerprint
from zaudio.result import ResultFolder, verify
from zaudio.result import journal as journals
from zaudio.result.journal import Checkpoint, JobRecord, decode_journal, encode_checkpoint, encode_job, encode_kept
from zaudio.result.notes import Machines, MeasuredOp, Settled, decode_note, encode_note
from zaudio.result.primitives import JournalSeal
from zaudio.steps import Step, Table

KEY, IV, ID = bytes(range(32)), bytes(range(16)), bytes(range(100, 116))
ODD = struct.unpack("<d", bytes.fromhex("9a9999999999b93f"))[0]  # 0.1, and its last bit counts
STEP = Step(
    "gain",
    (("factor", ODD), ("whole", 1.0), ("count", 3), ("on", True), ("text", "é"), ("tiny", 5e-324)),
    (Table("taps", "<f8", bytes(range(64))), Table("none", "<i4", b"")),
    "2 sha256:ab",
)
NOTES = [
    MeasuredOp(STEP, "peak -3.1 dBFS in loudnorm"),
    Machines("x86-64 AVX2", (("gain:db=1", "0123abcd"),)),
    Machines("any"),
    Settled('{"version": 2}'),
]
JOB = JobRecord(Fingerprint("/takes/a.raw", 4000, 5, "ab" * 32), describe(1000, grid=65536))


@pytest.mark.parametrize("note", NOTES, ids=lambda note: type(note).__name__)
def test_a_note_survives_its_bytes_to_the_last_bit(note):
    found = decode_note(encode_note(note))
    assert found == note
    if isinstance(note, MeasuredOp):
        assert [type(value) for _, value in found.step.params] == [float, float, int, bool, str, float]


def test_a_note_is_an_object_of_one_field_in_ascii():
    encoded = encode_note(NOTES[0])
    assert encoded[:1] == b"{"
    assert encoded.isascii()
    assert json.loads(encoded)["measured"]["params"][0] == ["factor", 0.1]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}",
        b'{"news": 1}',
        b'{"measured": {}}',
        b'{"measured": 3}',
        b'{"class": {"name": "a"}}',
        b'{"description": "a", "class": {}}',
        b'{"measured": {"name": "a", "params": [1], "tables": [], "version": "", "sentence": ""}}',
    ],
)
def test_a_note_of_another_kind_is_refused(body):
    with pytest.raises(ValueError, match="does not know"):
        decode_note(body)


def written(*records):
    chain = JournalSeal(KEY, IV)
    content = encode_job(ID, JOB, chain)
    for record in records:
        if isinstance(record, Checkpoint):
            content += encode_checkpoint(record, chain)
        else:
            content += encode_kept(record, chain)
    return content


def test_a_journal_gives_its_notes_back_between_checkpoints():
    settled = replace(JOB.description, machines="x86-64")
    text = journals.encode_description(settled).decode()
    content = written(NOTES[0], Checkpoint(2, 0, bytes(32)), NOTES[2], NOTES[1], Settled(text))
    content += b"\0"  # torn
    found = decode_journal(content, JournalSeal(KEY, IV))
    assert (found.measured, found.machines, found.settled) == ((NOTES[0],), NOTES[1], settled)
    assert (found.description, found.incarnation, found.end) == (settled, 2, len(content) - 1)
    assert decode_journal(written(), JournalSeal(KEY, IV)).description == JOB.description


def test_a_note_that_was_changed_or_left_out_is_damage():
    chain = JournalSeal(KEY, IV)
    head = encode_job(ID, JOB, chain)
    first, second = encode_kept(NOTES[0], chain), encode_kept(NOTES[2], chain)
    end = encode_checkpoint(Checkpoint(1, 16, bytes(32)), chain)
    for records in (second + end, second + first + end, first.replace(b"taps", b"taqs") + second + end):
        with pytest.raises(ValueError, match="damaged"):
            decode_journal(head + records, JournalSeal(KEY, IV))


def test_a_note_longer_than_a_record_is_refused():
    huge = MeasuredOp(Step("x", (), (Table("t", "<f8", bytes(journals.RECORD_MAX)),)))
    with pytest.raises(UsageError, match="is the most"):
        encode_kept(huge, JournalSeal(KEY, IV))


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (replace(JOB, input="3 frames"), "its input was 1000 frames of 1 channel .* and not 3 frames"),
        (
            replace(JOB, description=replace(JOB.description, versions=("2 sha256:cd",))),
            "op invert was of version 1, and is of version 2 sha256:cd now",
        ),
        (replace(JOB, description=describe(1000)), "its grid was 65536 frames and not 0"),
    ],
)
def test_a_job_of_another_input_version_or_grid_is_another_one(now, sentence):
    assert re.fullmatch(sentence, now.difference(JOB))


def test_the_input_is_in_the_first_record_only_where_it_is_another_one_than_the_result():
    plain = encode_job(ID, JOB, JournalSeal(KEY, IV))
    other = encode_job(ID, replace(JOB, input="3 frames of 1 channel"), JournalSeal(KEY, IV))
    assert b'"input"' not in plain
    assert decode_journal(other, JournalSeal(KEY, IV)).job.input == "3 frames of 1 channel"


# The writer


DESCRIPTION = describe(60, grid=16)


def start(folder):
    return start_writer(folder, DESCRIPTION)


def complete(writer, bell, resumed, recording):
    for payload in rest(recording, DESCRIPTION, resumed):
        writer.put(payload)
    writer.seal()
    bell.wait_for(lambda: writer.sealed or writer.error)
    assert writer.error is None
    writer.publish()


def test_what_was_measured_outlives_a_writer_that_wrote_nothing_else(tmp_path):
    recording = pattern(60, 4)
    with ResultFolder(str(tmp_path / "out"), job=job_record(DESCRIPTION)) as folder:
        writer, _, _ = start(folder)
        assert not writer.kept
        writer.note(NOTES[0])
        writer.note(NOTES[1])
        assert (writer.kept, writer.saved) == (True, 0)
        writer.abort()
    assert "result.journal" in os.listdir(tmp_path / "out")
    with pytest.raises(ResumeError, match="its ops were"):
        ResultFolder(str(tmp_path / "out"), job=job_record(replace(DESCRIPTION, ops=("gain:db=1",))))
    with ResultFolder(str(tmp_path / "out"), job=job_record(DESCRIPTION)) as folder:
        assert (folder.unfinished.journal.measured, folder.unfinished.journal.machines) == ((NOTES[0],), NOTES[1])
        writer, bell, resumed = start(folder)
        assert (resumed, writer.incarnation) == (0, 2)
        complete(writer, bell, resumed, recording)
        writer.abort()
    assert verify(str(tmp_path / "out")) == DESCRIPTION


def test_a_writer_that_measured_nothing_leaves_nothing(tmp_path):
    with ResultFolder(str(tmp_path / "out"), job=job_record(DESCRIPTION)) as folder:
        writer, _, _ = start(folder)
        writer.abort()
    assert not (tmp_path / "out").exists()


def test_a_description_is_settled_with_the_first_payload_and_stays_so_in_a_later_life(tmp_path):
    recording, asked = pattern(60, 4), []

    def describe_by(machines):
        return lambda: asked.append(machines) or (replace(DESCRIPTION, machines=machines), Machines(machines))

    with ResultFolder(str(tmp_path / "out"), job=job_record(DESCRIPTION)) as folder:
        writer, bell, _ = start(folder)
        writer.describe_by(describe_by("first"))
        assert asked == []
        for payload in payloads(recording, DESCRIPTION)[:5]:
            writer.put(payload)
        bell.wait_for(lambda: writer.finished == 5)
        writer.abort()
        assert writer.saved > 0
    with ResultFolder(str(tmp_path / "out"), job=job_record(DESCRIPTION)) as folder:
        assert folder.unfinished.journal.settled == replace(DESCRIPTION, machines="first")
        assert folder.unfinished.journal.machines == Machines("first")
        writer, bell, resumed = start(folder)
        assert resumed > 0
        writer.describe_by(describe_by("second"))
        complete(writer, bell, resumed, recording)
        writer.abort()
    assert asked == ["first", "second"]
    assert verify(str(tmp_path / "out")).machines == "first"


def test_a_description_that_was_settled_before_any_ciphertext_is_settled_again(tmp_path, monkeypatch):
    recording = pattern(60, 4)
    for machines in ("first", "second"):
        with ResultFolder(str(tmp_path / "out"), job=job_record(DESCRIPTION)) as folder:
            writer, bell, resumed = start(folder)
            writer.describe_by(lambda machines=machines: (replace(DESCRIPTION, machines=machines), None))
            writer.note(NOTES[0])
            if machines == "first":
                writer.put(payloads(recording, DESCRIPTION)[0][:0])
                bell.wait_for(lambda writer=writer: writer.finished == 1)
            else:
                complete(writer, bell, resumed, recording)
            writer.abort()
    assert verify(str(tmp_path / "out")).machines == "second"
    assert set(contents(tmp_path / "out")) == {
        "result.raw",
        "encryption_key.bin",
        "encryption_iv.bin",
        "result.json",
    }
