"""The two ends of a launcher's conversation: real far ends, and programs that are none."""

import dataclasses
import os
import shlex
import signal
import sys
import threading
import time

import pytest
from extended import extended
from farm_support import environment
from net_support import MS, children, kill, wait_until

from zaudio.errors import LaunchError
from zaudio.launching import remote, talk
from zaudio.launching.berth import Berth
from zaudio.launching.launcher import Orders
from zaudio.launching.ssh import Host, SshLauncher
from zaudio.launching.talk import ARGUMENTS, Far
from zaudio.net import keys
from zaudio.net.brood import Brood
from zaudio.version import VERSION

NOWHERE = "tcp://127.0.0.1:9"  # nobody answers there
SERVER = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # a public key of the specification's


@pytest.fixture
def far(request):
    """A far end on this machine, or the program that is named instead."""
    command = getattr(request, "param", [sys.executable, *ARGUMENTS])
    far = Far(command, "attic", env=environment())
    yield far
    far.close()
    far.wait(time.monotonic() + 5000 * MS)


def shell(text):
    """A program in place of a far end, which first waits for orders."""
    return ["sh", "-c", f"read orders; {text}"]


def says(line):
    """A shell's command that says that."""
    return f"printf '%s\\n' {shlex.quote(line)}"


def end_of(worker, far):
    """Why a worker ended, once it has."""
    wait_until(lambda: far.look() or worker.ended is not None, "it ends")
    return worker.ended


def test_a_worker_makes_its_key_where_it_runs(far):
    first, second = (far.start(f"attic/{n}", Orders(NOWHERE, SERVER)) for n in (1, 2))
    wait_until(lambda: far.look() or None not in (first.public, second.public), "both say their keys")
    assert len(first.public) == len(second.public) == keys.KEY_LENGTH
    assert first.public != second.public
    assert first.ended is None


@pytest.mark.parametrize("far", [["sleep", "600"]], indirect=True)
def test_a_far_end_that_never_said_anything_is_not_waited_for(far):
    deadline = time.monotonic() + 300
    far.close()
    far.wait(deadline)
    assert time.monotonic() < deadline - 200


@pytest.mark.extended
def test_an_admitted_worker_says_what_it_could_not_reach(far):
    worker = far.start("attic/1", Orders(NOWHERE, SERVER))
    wait_until(lambda: far.look() or worker.public is not None, "it says its key")
    worker.admit()
    assert end_of(worker, far) == f"attic: {NOWHERE}: no coordinator answered within 5 s"
    assert not worker.hopeless
    assert far.workers == []
    assert not far.over


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A current folder with a file that has the name of a module."""
    (tmp_path / "json.py").write_text("raise SystemExit('not that one')")
    monkeypatch.chdir(tmp_path)


def test_without_keys_it_has_none_and_the_current_folder_answers_no_import(home, far):
    worker = far.start("attic/1", Orders(NOWHERE))
    wait_until(lambda: far.look() or worker.public is not None, "it says so")
    assert worker.public == ""


@pytest.mark.extended
def test_nor_does_it_answer_those_of_a_berth(home, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    berth = Berth(VERSION, {"name": "dask-1", **dataclasses.asdict(Orders(NOWHERE))})
    said = []
    try:
        wait_until(lambda: said.append(berth.look()) or any(said), "it says so")
    finally:
        berth.close(time.monotonic() + 5000 * MS)
    assert next(filter(None, said))["public"] == ""


def test_a_berth_that_is_told_to_go_in_any_thread_tells_its_worker_once_and_in_the_thread_that_looks(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    berth = Berth(VERSION, {"name": "ray-1", **dataclasses.asdict(Orders(NOWHERE, SERVER))})
    told = []
    monkeypatch.setattr(talk.Worker, "admit", lambda worker: told.append((worker, threading.get_ident())))
    try:
        wait_until(berth.look, "it says its key")
        thread = threading.Thread(target=berth.go)
        thread.start()
        thread.join()
        assert told == []
        berth.look()
        berth.look()
        assert told == [(berth._worker, threading.get_ident())]
    finally:
        berth.close(time.monotonic() + 5000 * MS)


@pytest.mark.extended
def test_nobody_looks_at_the_worker_of_a_berth_while_another_thread_ends_it(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    berth = Berth(VERSION, {"name": "ray-1", **dataclasses.asdict(Orders(NOWHERE, SERVER))})
    wait_until(berth.look, "it says its key")
    wait, said, ended = Far.wait, [], []
    looking = threading.Thread(target=lambda: said.append(berth.look()))

    def wait_long(far, deadline):
        looking.start()
        looking.join(50 * MS)  # as long as it likes, if it does not wait
        ended.append(looking.is_alive())
        wait(far, deadline)

    monkeypatch.setattr(Far, "wait", wait_long)
    berth.close(time.monotonic() + 5000 * MS)
    looking.join()
    assert ended == [True]
    assert [message["ended"] for message in said] == [""]


def test_a_host_with_another_version_is_asked_once(tmp_path):
    launcher = SshLauncher(Host("attic", count=9), "ssh:hosts.txt")
    launcher._program = str(tmp_path / "ssh")
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{says(OTHER)}\n")
    (tmp_path / "ssh").chmod(0o755)
    (worker,) = launcher.start(1, Orders(NOWHERE))
    wait_until(lambda: launcher.alive() == [], "it has ended")
    with pytest.raises(LaunchError) as caught:
        launcher.start(1, Orders(NOWHERE))
    assert str(caught.value) == worker.ended
    launcher.stop()


@pytest.mark.extended
def test_an_op_that_is_not_there_is_hopeless(far):
    worker = far.start("attic/1", Orders(NOWHERE, None, ("no_such_ops:f",)))
    assert "no_such_ops" in end_of(worker, far)
    assert worker.hopeless


def test_a_worker_that_is_killed_says_so_and_another_can_follow(far):
    first, second = (far.start(f"attic/{n}", Orders(NOWHERE)) for n in (1, 2))
    wait_until(lambda: far.look() or (first.public == "" and second.public == ""), "both are there")
    assert [worker.name for worker in far.workers] == ["attic/1", "attic/2"]
    kill(children(far._process.pid)[0])
    wait_until(lambda: far.look() or len(far.workers) == 1, "one is gone")
    (dead,) = {first, second} - set(far.workers)
    assert dead.ended == "attic: a worker died of signal 9 (SIGKILL)"
    assert dead.died
    third = far.start("attic/3", Orders(NOWHERE))
    wait_until(lambda: far.look() or third.public is not None, "another is there")


# A batch system's SIGTERM comes to all processes of a task: here, to a worker that was only just forked.
EARLY = """
import os, signal
from zaudio.launching import remote

lead = remote.brood.lead_group

def lead_group(pid=0):
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    lead(pid)

remote.brood.lead_group = lead_group
remote.main()
"""

# Its workers take a while to leave, and say when they are asked to.
SLOW = f"""
import json, os, signal, time
from zaudio.launching import remote

def work(said, up, down):
    say = lambda **said: os.write(up, json.dumps(said).encode() + b"\\n")
    say(public="")
    signal.sigwait((signal.SIGTERM,))  # it is blocked: one that comes before this line is not lost
    say(name="asked")
    time.sleep({300 * MS})
    return "", False

remote._work = work
remote.main()
"""


@pytest.mark.extended
@pytest.mark.parametrize("far", [[sys.executable, "-P", "-c", EARLY]], indirect=True)
def test_a_worker_that_was_only_just_forked_obeys_sigterm(far):
    worker = far.start("attic/1", Orders(NOWHERE))
    wait_until(lambda: far.look() or worker.public is not None or worker.ended is not None, "it ends")
    assert worker.public is None


# A signal that comes right before a call that waits does not end the wait; nor does one that another thread gets.
UNHEARD = f"""
import signal, threading, time
from zaudio.launching import remote

make = remote.guest_keys

def guest_keys(server):
    threading.Thread(target=ask).start()
    return make(server)

def ask():
    time.sleep({200 * MS})
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

remote.guest_keys = guest_keys
remote.main()
"""


@pytest.mark.parametrize("far", [[sys.executable, "-P", "-c", UNHEARD]], indirect=True)
def test_a_worker_that_waits_for_its_admission_hears_a_signal_that_does_not_wake_it(far):
    worker = far.start("attic/1", Orders(NOWHERE, SERVER))
    assert end_of(worker, far) == "attic: a worker exited with code 0"
    assert worker.public


def test_a_far_end_that_leaves_starts_no_worker_more():
    far = Far([sys.executable, "-P", "-c", SLOW], "attic", renames=True, env=environment())
    try:
        first = far.start("attic/1", Orders(NOWHERE))
        wait_until(lambda: far.look() or first.public is not None, "it is there")
        kill(far._process.pid, signal.SIGTERM)
        wait_until(lambda: far.look() or first.name == "asked", "it is asked to leave")
        second = far.start("attic/2", Orders(NOWHERE))
        end_of(second, far)
        assert first.ended == ""
        assert second.public is None
    finally:
        far.close()
        far.wait(time.monotonic() + 5000 * MS)


def test_all_go_when_the_lifeline_breaks(far):
    worker = far.start("attic/1", Orders(NOWHERE))
    wait_until(lambda: far.look() or worker.public is not None, "it is there")
    far.close()
    began = time.monotonic()
    far.wait(began + 5000 * MS)
    assert time.monotonic() - began < 5000 * MS
    assert far._process.returncode == 0
    assert worker.ended == ""


def test_a_far_end_without_workers_goes_by_itself(monkeypatch):
    monkeypatch.setattr(remote, "IDLE", 100 * MS)
    before = signal.getsignal(signal.SIGTERM)
    hearing, near = os.pipe()
    with open(os.devnull, "wb") as speech:
        try:
            remote.Remote(hearing, speech.fileno(), Brood()).run()
        finally:
            signal.signal(signal.SIGTERM, before)
            os.close(hearing)
            os.close(near)


HELLO = f'{{"zaudio": "{VERSION}"}}'
OTHER = '{"zaudio": "0.0.9"}'


@pytest.mark.parametrize(
    ("far", "sentence", "hopeless"),
    [
        (shell(says(OTHER)), f"zaudio 0.0.9 is installed there, and {VERSION} here; install one version", True),
        (shell("echo No module named zaudio >&2; exit 1"), f"its Python has no zaudio {VERSION}; install it", True),
        extended(shell("echo Unknown option: -P >&2; echo usage >&2; exit 2"), "its Python is older than 3.11", True),
        extended(shell("echo Connection refused >&2; exit 255"), "Connection refused", False),
        extended(shell("exit 3"), "it exited with code 3", False),
        extended(shell(f"echo Welcome to the attic; {says(HELLO)}; exit 3"), "it exited with code 3", False),
        extended(shell("echo This account is closed.; exit 1"), "This account is closed.", False),
        (shell("yes"), "expected lines of zaudio's, got 'y'", False),
        extended(shell("yes | tr -d '\\n'"), "bytes without an end", False),
        extended(shell(f"{says(HELLO)}; echo hm; cat"), "expected lines of zaudio's, got 'hm'", False),
        (shell(says('{"worker": 1, "ended": "\\ud800"}')), "attic: it gave no reason", False),
        extended(shell(says('{"zaudio": "\\ud800"}')), "is installed there", True),
        (shell(says('{"worker": 1, "name": "cellar/1", "ended": "no"}')), "attic: no", False),
        (shell(says('{"worker": 1, "ended": "a\\nb\\u001b[1m", "hopeless": true}')), "b [1m", True),
    ],
    indirect=["far"],
)
def test_what_is_no_far_end_is_told_in_one_line(far, sentence, hopeless):
    worker = far.start("attic/1", Orders(NOWHERE))
    ended = end_of(worker, far)
    assert ended.startswith("attic: ")
    assert sentence in ended
    assert ended.isprintable()
    assert worker.hopeless is hopeless
    assert not worker.died
    assert worker.name == "attic/1"  # no host takes the name of another


def test_a_program_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LaunchError, match=r"attic: .*/none cannot be started: No such file"):
        Far([str(tmp_path / "none")], "attic")
