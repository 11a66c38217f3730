"""The records of a journal: their chain, torn ends and damage, and when one is due."""

import hashlib
import os

import pytest

from zaudio import disk
from zaudio.records import BYTES, SECONDS, SECONDS_MOST, SUM_BYTES, Schedule, Sums, decode_records, encode_record

BODIES = [b"one", b"two" * 100, b"\0"]
START = 7


def journal(bodies=BODIES):
    sums = Sums()
    return bytes(START) + b"".join(encode_record(body, sums) for body in bodies)


def read(content, **settings):
    return [body for _, body in decode_records(content, START, Sums(), most=1000, **settings)]


def test_records_come_back_in_order():
    assert read(journal()) == BODIES


def test_the_bytes_of_a_record_are_those_of_the_page():
    head = (3).to_bytes(4, "big") + b"one"
    assert journal([b"one"])[START:] == head + hashlib.sha256(head).digest()


def test_a_journal_cut_at_any_byte_has_the_records_in_front_of_it():
    content, ends = journal(), [START]
    for body in BODIES:
        ends.append(ends[-1] + 4 + len(body) + SUM_BYTES)
    for cut in range(START, len(content) + 1):
        assert read(content[:cut]) == BODIES[: sum(end <= cut for end in ends) - 1]


def test_records_that_were_read_are_gone_on_with():
    content, sums = journal(), Sums()
    assert len(list(decode_records(content, START, sums, most=1000))) == 3
    assert read(content + encode_record(b"four", sums)) == [*BODIES, b"four"]


@pytest.mark.parametrize("change", ["swap", "leave out", "flip"])
def test_a_wrong_record_is_damage(change):
    first, second, third = (journal(BODIES[: count + 1])[len(journal(BODIES[:count])) :] for count in range(3))
    pieces = {
        "swap": [second, first, third],
        "leave out": [first, third, third],
        "flip": [first, second[:10] + bytes([second[10] ^ 1]) + second[11:], third],
    }[change]
    with pytest.raises(ValueError, match=r"the record at byte \d+ is damaged, or so"):
        read(bytes(START) + b"".join(pieces), doubt=", or so")


def test_a_last_record_that_is_wrong_was_being_written():
    content = journal()
    assert read(content[:-1] + bytes([content[-1] ^ 1])) == BODIES[:2]


def test_room_that_the_system_made_is_no_record():
    assert read(journal() + bytes(5000)) == BODIES


def test_a_record_of_an_impossible_length_is_damage():
    with pytest.raises(ValueError, match=f"a record at byte {START} is damaged"):
        read(bytes(START) + encode_record(bytes(1001), Sums()))


def test_nothing_is_appended_to_a_file_that_was_stopped(tmp_path):
    fd = disk.create(str(tmp_path / "journal"), mode=disk.PRIVATE)
    file = disk.RecordFile(fd, 0)
    assert file.append(lambda: b"first")
    file.stop()
    assert not file.append(lambda: pytest.fail("it is asked for no record"))
    file.close()
    file.close()
    assert (tmp_path / "journal").read_bytes() == b"first"


def test_a_torn_end_is_cut_off(tmp_path):
    (tmp_path / "journal").write_bytes(b"whole and torn")
    file = disk.RecordFile(os.open(tmp_path / "journal", disk.WRITE), 5)
    file.append(lambda: b" new")
    file.close()
    assert (tmp_path / "journal").read_bytes() == b"whole new"


def test_a_record_is_due_after_a_while_or_after_many_bytes_and_never_for_nothing():
    schedule = Schedule(now=0.0)
    assert not schedule.due(1, now=SECONDS - 0.1)
    assert schedule.due(1, now=SECONDS)
    assert schedule.due(BYTES, now=0.0)
    assert not schedule.due(0, now=100.0)


@pytest.mark.parametrize(("seconds", "pause"), [(0.01, SECONDS), (0.5, 10.0), (10.0, SECONDS_MOST)])
def test_where_a_record_takes_long_the_next_one_waits_twenty_times_as_long_but_a_minute_at_most(seconds, pause):
    schedule = Schedule(now=0.0)
    schedule.made(began=10.0 - seconds, now=10.0)
    assert not schedule.due(1, now=9.9 + pause)
    assert schedule.due(1, now=10.0 + pause)
