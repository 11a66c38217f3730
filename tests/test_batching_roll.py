"""Roll: the table of a batch's recordings; and the secret from which the token of its page is derived."""

import os

import pytest

from zaudio.batching.roll import ENDED_MOST, FAILED_MOST, ROWS, Roll
from zaudio.batching.secret import page_token


def states(listed):
    return [(row.recording, row.state) for row in listed.rows]


def test_those_that_run_and_those_that_failed_come_first():
    roll = Roll(list("abcdef"))
    roll.begin(["a", "b"])
    roll.end("c", "skipped")
    roll.end("d", "failed", "it is no WAV")
    roll.end("a", "done")
    listed = roll.listed(0.25)
    assert states(listed) == [
        ("b", "running"),
        ("d", "failed"),
        ("e", "waiting"),
        ("f", "waiting"),
        ("a", "done"),
        ("c", "skipped"),
    ]
    assert (listed.rows[0].share, listed.rows[1].sentence, listed.more) == (0.25, "it is no WAV", 0)
    assert listed.counts == {"running": 1, "failed": 1, "waiting": 2, "done": 1, "skipped": 1}


def test_a_recording_whose_stage_is_over_is_whole_until_it_ends():
    roll = Roll(["a", "b"])
    roll.begin(["a"])
    roll.begin(["b"])
    assert [(row.recording, row.share) for row in roll.listed(0.5).rows] == [("a", 1.0), ("b", 0.5)]


def test_a_lot_that_is_farmed_again_begins_no_recording_twice():
    roll = Roll(["a", "b", "c"])
    roll.begin(["a", "b", "c"])
    roll.end("b", "failed", "the op failed")
    roll.begin(["a", "b", "c"])
    assert states(roll.listed(0.0)) == [("a", "running"), ("c", "running"), ("b", "failed")]


def test_a_hundred_thousand_recordings_have_a_few_hundred_rows_at_any_time():
    number = 100_000
    roll = Roll([f"{each}.wav" for each in range(number)])
    for first in range(0, number, 100):
        lot = [f"{each}.wav" for each in range(first, first + 100)]
        roll.begin(lot)
        if first % 20_000 == 0:
            listed = roll.listed(0.5)
            assert len(listed.rows) <= ROWS
            assert len(listed.rows) + listed.more == sum(listed.counts.values()) == number
        for place, each in enumerate(lot):
            roll.end(each, "failed" if place % 10 == 0 else "done")
    listed = roll.listed(0.0)
    assert len(listed.rows) == FAILED_MOST + ENDED_MOST
    assert listed.counts == {"running": 0, "failed": number // 10, "waiting": 0, "done": number * 9 // 10, "skipped": 0}


# The secret


def test_the_token_of_a_batch_is_the_same_when_it_is_run_again(tmp_path):
    token = page_token(str(tmp_path))
    assert page_token(str(tmp_path)) == token
    (secret,) = tmp_path.iterdir()
    assert secret.stat().st_mode & 0o777 == 0o600
    assert token not in secret.read_bytes().hex(), "the token does not tell it"


@pytest.mark.parametrize("harm", [lambda path: os.truncate(path, 31), lambda path: path.chmod(0o644)])
def test_a_secret_that_is_cut_or_that_others_can_read_is_replaced(tmp_path, harm):
    token = page_token(str(tmp_path))
    (secret,) = tmp_path.iterdir()
    harm(secret)
    assert page_token(str(tmp_path)) != token
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.stat().st_size == 32
