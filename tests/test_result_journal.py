import itertools
import os
import re
import struct
from dataclasses import replace

import pytest
from result_support import describe

from zaudio import disk
from zaudio.errors import UsageError
from zaudio.reference import Fingerprint
from zaudio.result import journal as subject
from zaudio.result.journal import (
    CHECKPOINTS_KEPT,
    MAGIC,
    Checkpoint,
    JobRecord,
    Journal,
    decode_journal,
    encode_checkpoint,
    encode_job,
)
from zaudio.result.primitives import JournalSeal

KEY, IV, ID = bytes(range(32)), bytes(range(16)), bytes(range(100, 116))
JOB = JobRecord(Fingerprint("/takes/é.raw", 4000, 123456789, "ab" * 32), describe(1000, ops=("gain:db=-3", "invert")))


def seal(key=KEY, iv=IV):
    return JournalSeal(key, iv)


def journal(*checkpoints, job=JOB):
    """The bytes of a journal, and where its records end."""
    chain = seal()
    content = encode_job(ID, job, chain)
    ends = [len(content)]
    for incarnation, length in checkpoints:
        content += encode_checkpoint(Checkpoint(incarnation, length, tag(length)), chain)
        ends.append(len(content))
    return content, ends


def tag(length):
    return struct.pack(">Q", length) * 4


def lengths(content):
    found = decode_journal(content, seal())
    return None if found is None else [checkpoint.length for checkpoint in found.checkpoints]


def test_journal_says_what_was_written():
    content, ends = journal((1, 160), (1, 1600))
    found = decode_journal(content, seal())
    assert isinstance(found, Journal)
    assert (found.id, found.job, found.incarnation, found.end) == (ID, JOB, 1, len(content))
    assert found.checkpoints == (Checkpoint(1, 160, tag(160)), Checkpoint(1, 1600, tag(1600)))
    assert ends[0] < ends[1] < ends[2]


def test_first_record_alone_is_a_job_without_checkpoints():
    content, _ = journal()
    assert lengths(content) == []


def test_committed_bytes_are_read_and_written():
    chain = seal()
    checkpoint = encode_checkpoint(Checkpoint(3, 32, bytes(32)), chain)
    assert checkpoint[:52] == bytes.fromhex("0000003000000000000000030000000000000020") + bytes(32)
    # HMAC-SHA256 under HKDF-SHA256(key, "zaudio result 1", "journal HMAC-SHA256"), of what docs/result-format.md says
    assert checkpoint[52:].hex() == "d8b9970af55d413002a2398555f2ddfef900d8a6a8a3e633b6c0f1d2ad59385b"


def test_journal_that_was_read_is_gone_on_with():
    content, _ = journal((1, 160))
    found = decode_journal(content, seal())
    content += encode_checkpoint(Checkpoint(2, 320, tag(320)), found.seal)
    assert lengths(content) == [160, 320]
    assert decode_journal(content, seal()).incarnation == 2


def test_torn_tail_is_left_out_and_gone_on_from():
    content, ends = journal((1, 160), (1, 1600))
    found = decode_journal(content[:-5], seal())
    assert found.end == ends[1]
    mended = content[: found.end] + encode_checkpoint(Checkpoint(2, 320, tag(320)), found.seal)
    assert lengths(mended) == [160, 320]


@pytest.mark.covers("journal truncated at every byte of its last records")
def test_every_truncation_leaves_the_records_that_are_whole():
    content, ends = journal((1, 160), (1, 1600), (2, 1600), (2, 3200))
    expected = [[], [160], [160, 1600], [160, 1600], [160, 1600, 3200]]
    for size in range(len(content) + 1):
        whole = sum(end <= size for end in ends)
        assert lengths(content[:size]) == (expected[whole - 1] if whole else None), size


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
def test_every_tail_that_was_not_filled_is_torn(filling):
    content, ends = journal((1, 160), (1, 1600))
    for size in range(ends[1], ends[2]):
        torn = content[:size] + filling * (ends[2] - size)
        if torn == content or (filling == b"\xff" and size < ends[1] + 4):
            continue  # a length that no record has is damage
        assert lengths(torn) == [160], size


def test_room_that_was_made_and_never_filled_is_a_torn_tail():
    content, _ = journal((1, 160))
    assert lengths(content + bytes(4096)) == [160]
    assert decode_journal(bytes(4096), seal()) is None


@pytest.mark.covers("a bit flipped in the journal or in `result.raw.part`", note="every bit")
def test_every_bit_flip_is_damage_or_leaves_earlier_checkpoints_and_never_others():
    content, ends = journal((1, 160), (1, 1600), (1, 3200))
    damaged = 0
    for position in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        try:
            found = decode_journal(bytes(flipped), seal())
        except ValueError:
            damaged += 1
            continue
        at = position // 8
        assert at >= ends[0] or found is None, "nothing is taken from a job that was changed"
        if found is not None:
            kept = [checkpoint.length for checkpoint in found.checkpoints]
            assert kept == [160, 1600, 3200][: sum(end <= at for end in ends[1:])], position
            assert found.job == JOB
    assert damaged > len(content) * 6, "most flips are told as what they are"


def test_record_that_is_left_out_moved_or_doubled_is_damage():
    content, ends = journal((1, 160), (1, 1600), (1, 3200))
    first, second, third = (content[a:b] for a, b in itertools.pairwise(ends))
    head = content[: ends[0]]
    for records in (second + third, first + third + second, first + first + second + third):
        with pytest.raises(ValueError, match="damaged"):
            decode_journal(head + records, seal())


def test_record_of_another_job_under_the_same_key_is_damage():
    content, ends = journal((1, 160), (1, 1600))
    other, _ = journal((1, 160), (1, 1600), job=replace(JOB, recording=replace(JOB.recording, size=1)))
    with pytest.raises(ValueError, match="damaged"):
        decode_journal(content[: ends[0]] + other[-2 * (ends[2] - ends[1]) :], seal())


@pytest.mark.parametrize(("key", "iv"), [(bytes(32), IV), (KEY, bytes(16))])
def test_journal_of_another_key_or_iv_is_refused(key, iv):
    with pytest.raises(ValueError, match="the key or the IV"):
        decode_journal(journal((1, 160))[0], seal(key, iv))


def test_later_life_that_began_earlier_voids_what_lay_behind():
    assert lengths(journal((1, 160), (1, 1600), (1, 3200), (2, 1600))[0]) == [160, 1600]
    assert lengths(journal((1, 160), (1, 1600), (2, 0))[0]) == [0]
    assert lengths(journal((1, 160), (1, 1600), (2, 16), (2, 32))[0]) == [16, 32]
    assert decode_journal(journal((1, 160), (1, 1600), (2, 16), (2, 32))[0], seal()).checkpoints[0].incarnation == 2


@pytest.mark.parametrize("impossible", [(1, 15), (1, 4016), (0, 16)])
def test_checkpoint_that_cannot_be_is_damage(impossible):
    with pytest.raises(ValueError, match="cannot be"):
        decode_journal(journal(impossible)[0], seal())


def test_of_a_long_journal_the_end_and_some_of_each_age_are_kept():
    many = 3 * CHECKPOINTS_KEPT
    long = replace(JOB, description=describe(many * 16))
    found = decode_journal(journal(*((1, 16 * n) for n in range(1, many + 1)), job=long)[0], seal())
    kept = [checkpoint.length for checkpoint in found.checkpoints]
    assert CHECKPOINTS_KEPT // 2 <= len(kept) <= CHECKPOINTS_KEPT
    assert kept == sorted(kept)
    assert kept[-1] == many * 16
    assert kept[0] < many * 16 // 100


def test_life_that_goes_back_is_damage():
    with pytest.raises(ValueError, match="cannot be"):
        decode_journal(journal((3, 16), (2, 32))[0], seal())


def test_another_version_is_not_read():
    content, _ = journal((1, 160))
    with pytest.raises(ValueError, match="does not begin"):
        decode_journal(content.replace(b"journal 1", b"journal 2"), seal())


def test_first_record_of_another_kind_is_not_read():
    chain = seal()
    content = MAGIC + encode_checkpoint(Checkpoint(1, 0, bytes(32)), chain)
    with pytest.raises(ValueError):
        decode_journal(content, seal())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"recording": replace(JOB.recording, path="/other.raw")}, "its input was '/takes/é.raw' and not '/other.raw'"),
        ({"recording": replace(JOB.recording, size=8)}, "its input had 4000 bytes and has 8 now"),
        ({"recording": replace(JOB.recording, mtime_ns=1)}, "its input was written to since"),
        ({"recording": replace(JOB.recording, sample="cd" * 32)}, "its input holds other samples now"),
        (
            {"description": replace(JOB.description, ops=("invert",))},
            "its ops were gain:db=-3 invert and not invert",
        ),
        (
            {"description": replace(JOB.description, chunk_frames=8)},
            "its chunks had this many frames: 7 and not 8",
        ),
        ({"description": replace(JOB.description, format="s16be")}, "its sample format was f32le and not s16be"),
        ({"description": replace(JOB.description, channels=2)}, "its number of channels was 1 and not 2"),
        ({"description": replace(JOB.description, samplerate=48000)}, "its samplerate was 44100 and not 48000"),
        ({"description": replace(JOB.description, frames=999)}, "its number of frames was 1000 and not 999"),
        ({"description": replace(JOB.description, zaudio="9.9")}, "it was begun by zaudio .* and this is 9.9"),
    ],
)
def test_difference_names_what_differs(change, sentence):
    found = replace(JOB, **change).difference(JOB)
    assert re.fullmatch(sentence, found), found


def test_a_decoder_is_kept_and_another_one_is_another_job():
    job = replace(JOB, recording=replace(JOB.recording, decoder="libsndfile 1.2.2"))
    assert decode_journal(encode_job(ID, job, seal()), seal()).job == job
    later = replace(job, recording=replace(job.recording, decoder="libsndfile 1.3.0"))
    assert later.difference(job) == "its input was decoded by libsndfile 1.2.2, and is by libsndfile 1.3.0 now"


def test_same_job_differs_in_nothing():
    assert replace(JOB).difference(JOB) == ""


def test_description_that_does_not_fit_a_result_does_not_get_into_a_journal():
    with pytest.raises(UsageError, match="65536"):
        encode_job(ID, replace(JOB, description=describe(5, ops=("x" * 65536,))), seal())


def test_longest_description_and_path_fit_a_record():
    ops = tuple("\u00e9" * 100 for _ in range(100))
    job = JobRecord(replace(JOB.recording, path="/" + "\u00e9" * 4095), describe(1000, ops=ops))
    content = encode_job(ID, job, seal())
    assert decode_journal(content, seal()).job == job


# On the disk


@pytest.mark.covers("A disk or file system that does not answer while the job ends")
def test_write_that_the_disk_does_not_answer_does_not_hold_up_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "STOP_PATIENCE", 0.01)
    fd = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT)
    checkpoints = subject.Checkpoints(fd, 0, JournalSeal(bytes(32), bytes(16)), 1)
    with checkpoints._file._lock:  # as `append` holds it inside the write
        checkpoints.stop()
    checkpoints.append(16, bytes(32))
    assert os.fstat(fd).st_size == 0, "nothing is written after it"
    checkpoints.close()
