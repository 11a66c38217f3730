"""Local workers: started, watched, replaced, given up; and what the supervisor on the other side does for that."""

import os
import re
import shutil
import signal
import tempfile
from types import SimpleNamespace

import pytest
import zmq
from net_support import MS, PATIENCE, Door, alive, children, descriptors, kill, sigint_beside, wait_until

from zaudio.net import supervisor
from zaudio.net.obituary import WORDS_MAX, cause_of_death, last_words, obituary
from zaudio.net.orders import Died, GaveUp, Unable
from zaudio.net.outbox import Outboxes
from zaudio.net.pool import Pool
from zaudio.net.starter import Starter


@pytest.fixture
def door():
    folder = tempfile.mkdtemp(prefix="zt-", dir="/tmp")  # short, as the address of a socket has to be
    with zmq.Context() as context:
        door = Door(context, f"ipc://{folder}/v", f"ipc://{folder}/s")
        yield door
        door.close()
    shutil.rmtree(folder)


@pytest.fixture
def start(door, tmp_path):
    pools = []

    def start(count=2, *, allow=(), outboxes=None, folder=tmp_path / "sockets"):
        starter = Starter() if outboxes is None else Starter(memory=outboxes.memory)
        pools.append(Pool(starter, door.endpoint, count, folder=str(folder), allow=allow, outboxes=outboxes))
        return pools[-1]

    before = descriptors()
    yield start
    for pool in pools:
        pool.close()
        pool.close()
    assert children(os.getpid()) == []
    wait_until(lambda: descriptors() <= before + 4, "descriptors are closed; the door may keep some of its own")


def all_ready(door, count):
    wait_until(lambda: door.look() and len(door.ready) == count, f"{count} workers became ready")
    return {session: hello.pid for session, hello in door.hellos.items() if session in door.ready}


def next_event(pool, door):
    def look():
        door.look()
        found.extend(pool.events())
        return found

    found = []
    wait_until(look, "the pool has something to say")
    assert len(found) == 1
    return found[0]


def test_workers_are_children_of_a_starter_in_a_group_of_its_own(door, start):
    start(3)
    workers = all_ready(door, 3)
    (starter,) = children(os.getpid())
    assert children(starter) == sorted(workers.values())
    assert {hello.name for hello in door.hellos.values()} == {"local-1", "local-2", "local-3"}
    assert os.getpgid(starter) == starter != os.getpgrp()


def test_nothing_happens_while_all_is_well_and_without_outboxes_a_worker_reads_nothing_itself(door, start):
    pool = start(1)
    all_ready(door, 1)
    assert pool.events() == []
    assert not pool.ended
    assert [(hello.outbox, hello.reads) for hello in door.hellos.values()] == [(b"", ())]


def test_dead_worker_is_reported_and_replaced_under_its_name(door, start):
    pool = start(2)
    workers = all_ready(door, 2)
    session, pid = next(iter(workers.items()))
    name = door.hellos[session].name
    kill(pid)
    event = next_event(pool, door)
    assert event == Died(session, name, event.cause, "")
    assert re.fullmatch(r"it died of signal 9 \(SIGKILL\), with at most [1-9]\d* MiB of memory", event.cause)
    new = set(all_ready(door, 3)) - set(workers)
    assert door.hellos[new.pop()].name == name


def test_worker_that_is_to_be_killed_is_killed_even_when_it_is_stopped(door, start):
    pool = start(2)
    workers = all_ready(door, 2)
    session, pid = next(iter(workers.items()))
    kill(pid, signal.SIGSTOP)
    pool.kill(session, "it was killed, because")
    event = next_event(pool, door)
    assert event.session == session
    assert event.cause.startswith("it was killed, because, with at most ")
    assert not alive(pid)
    all_ready(door, 3)


def test_killing_a_stranger_does_nothing(door, start):
    pool = start(1)
    (session,) = all_ready(door, 1)
    pool.kill(b"x" * 16, "a stranger")
    pool.kill(session, "of ours")
    event = next_event(pool, door)
    assert event.session == session
    assert event.cause.startswith("of ours, with at most ")


def test_workers_ignore_ctrl_c(door, start):
    pool = start(1)
    ((_, pid),) = all_ready(door, 1).items()
    kill(pid, signal.SIGINT)
    kill(pid, signal.SIGUSR1)  # which kills; were the other one taken first, that would be the cause
    assert next_event(pool, door).cause.startswith(f"it died of signal {signal.SIGUSR1.value} (SIGUSR1), ")


def test_worker_that_leaves_in_order_is_no_death(door, start):
    pool = start(2)
    workers = all_ready(door, 2)
    for pid in workers.values():
        kill(pid, signal.SIGTERM)
    wait_until(lambda: pool.events() or pool.ended, "all of them left")
    assert pool.ended


UNLUCKY = """
import os, sys
from zaudio.net import children

def work(*_):
    sys.stderr.write("no luck today\\n")
    return 3

children.work = work
"""
DEAD_AT_ONCE = """
def fork(fork=os.fork):
    pid = fork()
    if pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid

os.fork = fork
"""


@pytest.mark.parametrize("more", ["", DEAD_AT_ONCE], ids=["soon", "before they are looked at"])
def test_three_that_die_before_they_are_ready_end_it_with_their_stderr(door, start, tmp_path, monkeypatch, more):
    (tmp_path / "pool_test_unlucky.py").write_text(UNLUCKY + more)
    monkeypatch.syspath_prepend(tmp_path)
    pool, events = start(1, allow=["pool_test_unlucky"]), []
    wait_until(lambda: events.extend(pool.events()) or len(events) == 4, "it is given up")
    assert [type(event) for event in events] == [Died, Died, Died, GaveUp]
    memory = r"it exited with code 3, with at most \d+ MiB of memory"
    causes = [event.cause for event in events[:-1]]
    assert all(re.fullmatch(memory + '; it last wrote "no luck today"', cause) for cause in causes), causes
    assert re.fullmatch(memory, events[-1].cause)
    assert events[-1].stderr == "no luck today\n"


def test_refusal_is_reported_with_its_reason(door, start):
    door.refusal = "it is a test"
    pool = start(2)
    event = next_event(pool, door)
    assert event == Unable(f"{door.endpoint} refused this worker: it is a test")


def test_own_workers_that_are_refused_when_they_are_ready_are_not_replaced_without_end(door, start):
    pool = start(1)
    for number in range(3):
        [session] = all_ready(door, 1)
        door.send_away(session, f"it is of another class {number}")
        event = next_event(pool, door)
        assert (type(event), event.session, event.name) == (Died, session, "local-1")
    wait_until(lambda: pool.events() == [] and pool.ended, "no other takes its place")


def test_module_that_is_not_there_is_reported_in_one_sentence(door, start):
    event = next_event(start(2, allow=["no_such_module:f"]), door)
    assert isinstance(event, Unable)
    assert event.reason.startswith("cannot import no_such_module:f: ModuleNotFoundError")


def test_module_that_prints_when_it_is_imported_does_not_disturb_the_events(door, start, tmp_path, monkeypatch, capfd):
    (tmp_path / "pool_test_loud.py").write_text('print(\'["GaveUp", "it prints", ""]\', flush=True)\n')
    monkeypatch.syspath_prepend(tmp_path)
    pool = start(1, allow=["pool_test_loud"])
    all_ready(door, 1)
    assert pool.events() == []
    assert capfd.readouterr().out == ""


def test_dead_starter_is_replaced_and_its_workers_end_by_themselves(door, start):
    pool = start(2)
    workers = all_ready(door, 2)
    kill(children(os.getpid())[0])
    wait_until(lambda: pool.events() or not any(map(alive, workers.values())), "its workers end", within=2000 * MS)
    all_ready(door, 4)
    assert not pool.ended


def test_third_dead_starter_is_the_last(door, start):
    pool, events = start(1), []
    for _ in range(3):
        (starter,) = children(os.getpid())
        kill(starter)

        def noticed(starter=starter):
            events.extend(pool.events())
            return pool.ended or children(os.getpid()) not in ([], [starter])

        wait_until(noticed, "another is started, or none any more")
    assert events == [GaveUp("the process that starts them: it died of signal 9 (SIGKILL)", "")]
    assert pool.ended
    assert pool.events() == []


def test_close_ends_all_within_a_second_or_so_even_stopped_ones(door, start):
    pool = start(2)
    workers = list(all_ready(door, 2).values())
    kill(workers[0], signal.SIGSTOP)
    pool.close()
    wait_until(lambda: not any(map(alive, workers)), "all are gone", within=1000 * MS)
    assert pool.ended


def test_close_right_after_the_start_ends_a_starter_that_has_started_nobody(door, start):
    start(2).close()
    assert children(os.getpid()) == []


@pytest.fixture
def outboxes():
    memory = os.memfd_create("test")
    outboxes = Outboxes(memory, 2, 2, 1000)
    outboxes.memory = memory
    yield outboxes
    outboxes.close()
    os.close(memory)


def test_each_worker_has_an_outbox_of_its_own_and_may_read_everything(door, start, outboxes):
    start(2, outboxes=outboxes)
    all_ready(door, 2)
    found = {hello.name: (hello.outbox, hello.reads) for hello in door.hellos.values()}
    assert found == {f"local-{number + 1}": (outboxes.tokens[number], ("/",)) for number in range(2)}


def test_worker_that_takes_the_place_of_a_dead_one_has_its_outbox(door, start, outboxes):
    pool = start(2, outboxes=outboxes)
    workers = all_ready(door, 2)
    session, pid = next(iter(workers.items()))
    kill(pid)
    assert next_event(pool, door).session == session
    (new,) = set(all_ready(door, 3)) - set(workers)
    assert door.hellos[new].outbox == door.hellos[session].outbox


def test_starter_that_takes_the_place_of_a_dead_one_hands_the_same_outboxes_out(door, start, outboxes):
    pool = start(2, outboxes=outboxes)
    workers = all_ready(door, 2)
    kill(children(os.getpid())[0])
    wait_until(lambda: pool.events() or not any(map(alive, workers.values())), "its workers end", within=2000 * MS)
    new = set(all_ready(door, 4)) - set(workers)
    assert {door.hellos[session].outbox for session in new} == set(outboxes.tokens)


def test_folder_is_removed_when_the_lifeline_breaks_and_kept_while_it_holds(door, start, tmp_path):
    folder = tmp_path / "sockets"
    folder.mkdir()
    (folder / "v").touch()
    pool = start(1, folder=folder)
    all_ready(door, 1)
    kill(children(os.getpid())[0])  # a starter that is killed is replaced, and the job goes on
    wait_until(lambda: pool.events() or (door.look() and len(door.ready) == 2), "another is started")
    assert folder.exists()
    pool.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("", ""),
        ("\n \n\n", ""),
        ("one\ntwo\n", "two"),
        ("one\n  two  words \n\n", "two words"),
        ("red: \x1b[31mno\x07\x00", "red: [31mno"),
        ("x" * WORDS_MAX, "x" * WORDS_MAX),
        ("x" * (WORDS_MAX + 1), "x" * (WORDS_MAX - 3) + "..."),
        ("a\u2028b", "b"),
        (
            "sbatch: unrecognized option '--no'\nTry \"sbatch --help\" for more information",
            "sbatch: unrecognized option '--no'",
        ),
        ("out of memory\nzaudio: worker attic-1 works on job 70980073: invert\n", "out of memory"),
    ],
)
def test_last_words_are_one_line_that_can_be_printed(stderr, words):
    assert last_words(stderr) == words


def test_a_signal_that_the_system_gives_to_another_thread_ends_the_wait_for_workers_that_leave(monkeypatch):
    monkeypatch.setattr(supervisor, "LOOK", 10 * MS)
    waiting = supervisor.Supervisor(None, (), report=lambda event: None, lifeline=-1)
    waiting._children[0] = SimpleNamespace(death=0)  # it does not end
    with sigint_beside(waiting._await), pytest.raises(KeyboardInterrupt):
        waiting._await(10 * PATIENCE)
    waiting._selector.close()


def test_all_that_is_known_of_a_death_is_one_sentence():
    assert obituary("it died of signal 9 (SIGKILL)", 411.6, "") == (
        "it died of signal 9 (SIGKILL), with at most 412 MiB of memory"
    )
    assert obituary("it exited with code 1", 8.0, "Traceback\nOverflow: no\n") == (
        'it exited with code 1, with at most 8 MiB of memory; it last wrote "Overflow: no"'
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "it exited with code 0"),
        (3, "it exited with code 3"),
        (-9, "it died of signal 9 (SIGKILL)"),
        (-63, "it died of signal 63"),
    ],
)
def test_death_has_a_cause_in_words(code, words):
    assert cause_of_death(code) == words
