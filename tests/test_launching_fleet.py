"""The fleet's turns, in virtual time, over a launcher that starts nothing."""

import pytest

from zaudio.errors import LaunchError
from zaudio.launching.fleet import LATE, SAID, WAITS_KEPT, WAITS_TOLD, Fleet
from zaudio.launching.launcher import Orders
from zaudio.launching.muster import FIRST, PAUSES
from zaudio.net.guests import End, Guests
from zaudio.timing import Timing
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream

ORDERS = Orders("tcp://127.0.0.1:5555", "server")
PUBLIC = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # any 32 bytes


class Handle:
    def __init__(self, name):
        self.name, self.public, self.ended, self.hopeless, self.admitted = name, None, None, False, False
        self.waits, self.died = "", False

    def admit(self):
        self.admitted = True


class Paper:
    """A launcher whose workers are handles that a test fills in."""

    where = "paper:plane"
    stopped = False
    hurried = 0

    def __init__(self, *, fails=False):
        self.handles, self.fails = [], fails

    def check(self, endpoint):
        pass

    def start(self, count, orders):
        assert orders == ORDERS
        if self.fails:
            raise LaunchError(self.where, "there is no wind")
        fresh = [Handle(f"plane/{len(self.handles) + n + 1}") for n in range(count)]
        self.handles += fresh
        return fresh

    def alive(self):
        return [handle for handle in self.handles if handle.ended is None]

    def hurry(self):
        self.hurried += 1

    def stop(self):
        self.stopped = True


@pytest.fixture
def guests():
    return Guests()


def make(launchers, guests, **more):
    settings = {"at_once": True, "beside": 0, "others": lambda: False, "queues": True, "tell": lambda *_: None, **more}
    return Fleet(
        launchers, guests=guests, server="server", timing=Timing(), subscribe=Stream(Ledger()).subscribe, **settings
    )


def fleet_of(launcher, count, guests, **more):
    """A fleet with that launcher, and a function that makes it take a turn at a time."""
    fleet = make([(launcher, count)], guests, **more)
    return fleet, lambda now: fleet.turn(ORDERS, now)


def test_a_key_is_admitted_before_its_worker_and_revoked_with_it(guests):
    launcher = Paper()
    _, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    (handle,) = launcher.handles
    turn(0.1)
    assert not handle.admitted
    handle.public = PUBLIC
    turn(0.2)
    assert guests.read() == {PUBLIC: "plane/1"}
    assert handle.admitted
    handle.ended = ""
    turn(0.3)
    assert guests.read() == {}
    assert guests.take_ended() == {PUBLIC: End("it left", died=False)}


@pytest.mark.parametrize("died", [False, True])
def test_the_farm_is_told_why_a_worker_ended_and_whether_it_died(guests, died):
    launcher = Paper()
    _, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    launcher.handles[0].public = PUBLIC
    turn(0.1)
    launcher.handles[0].ended, launcher.handles[0].died = "plane: it fell", died
    turn(0.2)
    assert guests.take_ended() == {PUBLIC: End("plane: it fell", died)}
    assert guests.take_ended() == {}


def test_a_launcher_is_asked_about_a_worker_of_it_that_falls_silent_before_the_farm_gives_it_up(guests):
    silent, well = Paper(), Paper()
    fleet = make([(silent, 1), (well, 1)], guests)
    fleet.turn(ORDERS, 0.0)
    silent.handles[0].name, well.handles[0].name = "n1/1", "n2/1"
    for now, hurried in ((10.0, 0), (12.4, 0), (12.6, 1), (14.9, 2), (16.1, 2)):
        fleet.doubt({"n1/1": 10.0, "n2/1": now - 1.0, "n3/1": 0.0}, now)
        assert silent.hurried == hurried, now
    assert well.hurried == 0


def test_a_key_of_another_worker_is_not_admitted_and_not_revoked_with_its_thief(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 2, guests)
    turn(0.0)
    first, second = launcher.handles
    first.public = PUBLIC
    turn(0.1)
    second.public = PUBLIC
    turn(0.2)
    second.ended = "plane: it fell"
    turn(0.3)
    assert not second.admitted
    assert guests.read() == {PUBLIC: "plane/1"}
    assert fleet.warnings[0] == "plane/2: expected a key of its own, got that of plane/1"


def test_without_keys_a_worker_is_let_go_on_at_once(guests):
    launcher = Paper()
    _, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    launcher.handles[0].public = ""
    turn(0.1)
    assert launcher.handles[0].admitted
    assert guests.read() == {}


def test_what_is_no_key_is_not_admitted(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    launcher.handles[0].public = "let me in"
    turn(0.1)
    assert not launcher.handles[0].admitted
    assert guests.read() == {}
    assert fleet.warnings == ("plane/1: expected a public key, 40 characters of Z85, got 'let me in'",)


def test_a_fault_is_told_once_and_the_end_of_all_replacements_too(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 1, guests)
    for n in range(len(PAUSES) + 1):
        turn(70.0 * n)
        assert len(launcher.handles) == n + 1
        launcher.handles[-1].ended = "plane: it fell"
        turn(70.0 * n + 0.1)
        launcher.handles[-1].public = ""
    assert fleet.warnings == ("plane: it fell", "paper:plane: no more workers are started there")
    turn(10_000.0)
    assert len(launcher.handles) == len(PAUSES) + 1


def test_workers_that_do_not_come_are_told_once_and_those_that_came_are_not_counted(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 3, guests)
    turn(0.0)
    turn(LATE - 0.1)
    launcher.handles[0].public = ""
    assert fleet.warnings == ()
    turn(LATE)
    launcher.handles[1].public = ""
    turn(LATE + 1)
    (warning,) = fleet.warnings
    assert warning.startswith(f"paper:plane: 2 of 3 workers did not come within {LATE:g} s")


def test_what_a_check_has_connected_ends_with_a_job_that_could_not_begin(guests):
    launcher = Paper()
    fleet, _ = fleet_of(launcher, 1, guests)
    fleet.close()
    assert launcher.stopped


def test_a_few_are_started_first_and_a_place_that_fails_leaves_its_share_to_another(guests):
    good, bad = Paper(), Paper()
    fleet = make([(bad, 8), (good, 8)], guests, at_once=False)
    fleet.turn(ORDERS, 0.0)
    assert (len(bad.handles), len(good.handles)) == (2, 2)
    for handle in bad.handles:
        handle.ended, handle.hopeless = "plane: it is nailed to the ground", True
    fleet.turn(ORDERS, 1.0)
    assert (len(bad.handles), len(good.handles)) == (4, 2)
    for now in range(2, 9):
        for handle in bad.handles:
            handle.ended, handle.hopeless = "plane: it is nailed to the ground", True
        fleet.turn(ORDERS, float(now))
    assert (len(bad.handles), len(good.handles)) == (8, 4)
    assert FIRST == 4


def test_a_launcher_that_cannot_start_is_told_and_asked_no_more(guests):
    launcher = Paper(fails=True)
    fleet, turn = fleet_of(launcher, 2, guests)
    turn(0.0)
    launcher.fails = False
    turn(60.0)
    assert launcher.handles == []
    assert fleet.warnings == ("paper:plane: there is no wind",)


def test_what_is_told_of_a_place_is_an_event_too_and_no_place_fills_the_memory(guests):
    told = []
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 2 * SAID, guests, tell=lambda *words: told.append(words))
    turn(0.0)
    for handle in launcher.handles:
        handle.ended = f"{handle.name}: it fell"
    turn(0.1)
    assert told[0] == ("paper:plane", "plane/1: it fell")
    assert [sentence for _, sentence in told] == [*fleet.warnings]
    assert len(told) == SAID


def test_workers_in_a_queue_are_awaited_and_the_reason_is_told_once_it_lasts(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 2, guests)
    turn(0.0)
    assert not fleet.awaited
    for handle in launcher.handles:
        handle.public, handle.waits = "", "Priority"
    turn(1.0)
    assert fleet.awaited
    turn(1.0 + WAITS_TOLD - 0.1)
    assert fleet.warnings == ()
    launcher.handles[0].waits = ""
    for later in (0.0, 60.0):
        turn(1.0 + WAITS_TOLD + later)
    assert fleet.warnings == ("paper:plane: 1 of 2 workers wait: Priority",)
    launcher.handles[1].waits = ""
    assert not fleet.awaited


def test_a_worker_in_a_queue_is_not_missed_and_a_short_wait_is_not_told(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    (handle,) = launcher.handles
    for begin in (0.0, 2 * LATE):
        handle.waits = "no thread is free"
        turn(begin)
        turn(begin + WAITS_TOLD - 0.1)
        handle.waits = ""
        turn(begin + WAITS_TOLD)
    handle.waits = "no thread is free"
    turn(4 * LATE)
    turn(8 * LATE)
    assert fleet.warnings == ("paper:plane: 1 of 1 workers wait: no thread is free",)


def test_a_queue_with_ever_new_reasons_fills_no_memory_and_hides_no_fault(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    launcher.handles[0].public = ""
    for number in range(2 * SAID):
        launcher.handles[0].waits = f"ReqNodeNotAvail, UnavailableNodes:n{number}"
        for later in (0.0, WAITS_TOLD):
            turn(1.0 + 2 * WAITS_TOLD * number + later)
    assert len(fleet.warnings) == WAITS_KEPT
    launcher.handles[0].waits, launcher.handles[0].ended = "", "plane: it fell"
    turn(10_000.0)
    assert fleet.warnings[-1] == "plane: it fell"


def test_a_time_out_of_the_users_counts_the_queue_too(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 1, guests, queues=False)
    turn(0.0)
    launcher.handles[0].waits = "Priority"
    assert not fleet.awaited


def test_a_job_is_given_up_with_its_last_place_unless_others_may_come(guests):
    good, bad, others = Paper(), Paper(fails=True), []
    fleet = make([(bad, 1), (good, 1)], guests, others=lambda: bool(others))
    fleet.turn(ORDERS, 0.0)
    assert fleet.given_up == ""
    (handle,) = good.handles
    handle.ended, handle.hopeless = "plane: it is nailed to the ground", True
    fleet.turn(ORDERS, 1.0)
    reasons = "paper:plane: there is no wind; plane: it is nailed to the ground"
    assert fleet.given_up == f"no worker is left, and none can come: {reasons}"
    others.append("somebody")
    assert fleet.given_up == ""


def test_a_worker_that_will_be_replaced_can_come(guests):
    launcher = Paper()
    fleet, turn = fleet_of(launcher, 1, guests)
    turn(0.0)
    for n in range(len(PAUSES)):
        launcher.handles[-1].ended = "plane: it fell"
        turn(70.0 * n + 1)
        assert fleet.given_up == ""
        turn(70.0 * (n + 1))
    launcher.handles[-1].ended = "plane: it fell"
    turn(300.0)
    assert fleet.given_up == "no worker is left, and none can come: plane: it fell"
