"""Handshakes: which of those that fail end a worker, and with what sentence. By the clock."""

import pytest

from zaudio.core.handshake import CUTS, CUTS_SPAN, Handshake, Handshakes

ENDPOINT = "tcp://192.168.1.5:5555"
PATIENCE = 5.0


@pytest.mark.parametrize("keys", [False, True])
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (Handshake.NOT_ADMITTED, "does not admit this worker's key: it is unknown there, or was revoked"),
        (Handshake.NOT_CHECKED, "could not check this worker's key"),
    ],
)
def test_what_the_coordinator_says_clearly_ends_a_worker_at_once(how, sentence, keys, trusted):
    handshakes = Handshakes(ENDPOINT, keys=keys)
    if trusted:
        handshakes.welcomed()
    reason = handshakes.ended(how, now=7.0)
    assert reason.startswith(f"{ENDPOINT}: the coordinator")
    assert sentence in reason


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (True, "the coordinator runs without keys; start it with --keys"),
        (False, "admits nobody without a key; `zaudio keys worker NAME` on its machine makes one, and --keys DIR"),
    ],
)
def test_mixture_of_keys_and_none_is_said_from_this_sides_view(keys, sentence):
    assert sentence in Handshakes(ENDPOINT, keys=keys).ended(Handshake.OTHER_MECHANISM, now=7.0)


def cut(handshakes, times):
    """The first time at which cuts at those times end the worker."""
    return next((now for now in times if handshakes.ended(Handshake.CUT, now=now)), None)


def test_connections_that_are_cut_again_and_again_end_a_worker_with_keys_well_within_five_seconds():
    # As libzmq tries again: after 50 ms at first, and after 1 s at most.
    for interval in (0.05, 0.3, 1.0):
        handshakes = Handshakes(ENDPOINT, keys=True)
        ended = cut(handshakes, [7.0 + interval * n for n in range(100)])
        assert CUTS_SPAN <= ended - 7.0 < PATIENCE / 2


def test_sentence_of_cut_connections_names_every_cause_and_what_to_do():
    handshakes = Handshakes(ENDPOINT, keys=True)
    reason = [handshakes.ended(Handshake.CUT, now=now) for now in (1.0, 2.0, 3.0)][-1]
    assert reason == (
        f"{ENDPOINT}: 3 handshakes were cut off: coordinator.public is not the key of this coordinator (compare it "
        "with `zaudio keys list` on its machine), or it runs without keys, or its authenticator is dead, "
        "or no coordinator is behind this address"
    )


def test_few_cuts_end_nobody_however_far_apart():
    assert cut(Handshakes(ENDPOINT, keys=True), [1.0, 100.0][: CUTS - 1]) is None


def test_many_cuts_in_no_time_end_nobody():
    assert cut(Handshakes(ENDPOINT, keys=True), [1.0 + CUTS_SPAN * n / 200 for n in range(200)]) is None


def test_handshake_that_succeeds_starts_the_count_afresh():
    handshakes = Handshakes(ENDPOINT, keys=True)
    for now in range(100):
        assert handshakes.ended(Handshake.CUT, now=float(now)) == ""
        assert handshakes.ended(Handshake.DONE, now=now + 0.5) == ""


@pytest.mark.parametrize(("keys", "welcomed"), [(False, False), (False, True), (True, True)])
def test_who_cannot_have_a_wrong_key_goes_on_trying(keys, welcomed):
    handshakes = Handshakes(ENDPOINT, keys=keys)
    if welcomed:
        handshakes.welcomed()
    assert cut(handshakes, map(float, range(100))) is None


@pytest.mark.parametrize("keys", [False, True])
def test_slowness_ends_nobody(keys):
    handshakes = Handshakes(ENDPOINT, keys=keys)
    assert [handshakes.ended(Handshake.LATE, now=5.0 * n) for n in range(100)] == [""] * 100
