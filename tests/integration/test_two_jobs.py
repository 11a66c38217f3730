"""Two jobs on one machine at once, each with a page, both with their events in one log."""

import numpy as np
import pytest
from farm_support import decrypted, finish, inverted, launch, listing, noise, write_raw
from net_support import wait_until

from zaudio.cli.status import find, lines_of
from zaudio.cli.web import address_file
from zaudio.errors import UsageError, ZaudioError
from zaudio.result import read_address
from zaudio.watching.summary import Digest
from zaudio.web.client import fetch


def seen(place):
    """What `zaudio status` knows of the job with that output by its page, once a worker holds chunks."""
    try:
        found = find(str(place))
    except ZaudioError:
        return None
    return found if found["source"] == "page" and found["staff"]["busy"] else None


def test_two_jobs_have_pages_tokens_states_and_results_of_their_own(tmp_path):
    gate, log, samples = tmp_path / "gate", tmp_path / "events.jsonl", noise(5000)
    takes = [write_raw(tmp_path / f"{name}.raw", samples * scale) for name, scale in (("one", 1), ("two", 2))]
    sealed, played = tmp_path / "out", tmp_path / "played.raw"
    options = ("-n", 1, "--op", f"farm_ops:gated:gate={gate}", "--chunk", "1000f", "--events", log)
    options += ("--web", 0, "--web-linger", 0, "--progress", "none")
    jobs = [launch("farm", takes[0], "-o", sealed, *options), launch("render", takes[1], played, *options)]

    one, two = (wait_until(lambda place=place: seen(place), f"{place} is seen") for place in (sealed, played))
    assert [one["title"], two["title"]] == ["one.raw", "two.raw"]
    assert one["job"] != two["job"]
    assert lines_of(two)[0] == "two.raw: running"
    addresses = [read_address(address_file(str(place))) for place in (sealed, played)]
    (first, first_token), (second, second_token) = addresses
    assert first != second
    for url, token in ((first, second_token), (second, first_token)):
        with pytest.raises(UsageError, match="answers 401"):
            fetch(f"{url}#{token}")

    gate.touch()
    for job in jobs:
        code, _, err = finish(job)
        assert code == 0, err
    assert decrypted(sealed) == inverted(samples).tobytes()
    assert played.read_bytes() == np.negative(samples * 2).tobytes()
    assert [find(str(place))["state"] for place in (sealed, played)] == ["done", "done"]
    assert not [name for name in (*listing(tmp_path), *listing(sealed)) if name.endswith((".web", ".part"))]

    digest = Digest()
    for line in log.read_text().splitlines():
        digest.take(line)
    lives = {life.job: life for life in digest.lives()}
    assert set(lives) == {one["job"], two["job"]}
    assert [(life.end, life.done, life.lost) for life in lives.values()] == [("done", 5, 0)] * 2
    assert digest.damaged == 0
