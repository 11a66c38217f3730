"""Workers that die, hang, leave and come back, ops that do the same to them, and clocks: real processes, numbered as in
docs/reliability.md. Some of these are tried in virtual time too, in tests/farm/, in many more orders of events."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import zmq
from extended import extended
from faults import go_on, kill, need, stop
from harness import CHUNK, CHUNKS, DEAD, HEARTBEAT, NEVER_MISSED, assert_promises, peak_memory, slow
from net_support import MS, alive, children, wait_until
from net_support import kill as send_signal

from zaudio.wire.codec import TO_WORKER, decode, encode
from zaudio.wire.messages import VERSION, Again, Channel, Heartbeat, Hello, Ready, Welcome

SLACK = 1000 * MS  # for a busy machine, on top of a bound
STARTING = 3000 * MS  # Python and its imports, likewise
SHORT = 8_000  # frames of a chunk where there are many
BAD = 5  # the chunk of the recording that ops stumble over; its index counts from the other end
FIRST = CHUNKS - 1  # the chunk of the recording that is granted first, at index 0
STUCK = 1500 * MS
IMPATIENT = {"chunk_timeout": STUCK, "chunk_timeout_floor": STUCK, **NEVER_MISSED}


def local_workers(job):
    """Process ids of a job's local workers: the children of the starter, which is its child."""
    return [pid for starter in children(job.pid) for pid in children(starter)]


def session_of(job, name):
    return {event["session"] for event in job.events("Joined") if event["worker"] == name}


def accepted_of(job, name):
    """When results of the worker of that name were accepted."""
    return [event["at"] for event in job.events("Accepted") if event["worker"] == name]


def losses_of(job, name):
    return [event for event in job.events("Lost") if event["worker"] == name]


def at_the_gate(scene):
    return sorted(int(path.suffix[1:]) for path in scene.folder.glob("gate.*"))


def bad_sample(scene, bad=BAD):
    """The sample that the bad chunk begins with, as an op's parameter."""
    return repr(float(scene.samples[bad * CHUNK, 0]))


def measured(text):
    """Say what a bound came to; pytest shows it with -rP."""
    sys.stdout.write(f"{text}\n")


def cause(job):
    """The last line, up to what it says of how to go on."""
    return job.err.rstrip().splitlines()[-1].partition("; what is done is kept")[0]


def pass_time(seconds):
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, "time passes", within=seconds + 5)


# 1 to 4: workers die, and nobody comes


@pytest.mark.covers(
    "SIGKILL one of three workers elsewhere, in mid-chunk",
    number=1,
    bound="missed within DEAD + HB = 1.2 s",
    measured="0.92 s, 1.01 s",
    removed="`dispatch.py`: `if now - member.heard > self._timing.dead_after:` (both)",
)
@pytest.mark.extended
def test_killed_worker_is_missed_within_the_liveness(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate")
    victim, *_ = [scene.worker(job, "--name", name) for name in ("victim", "second", "third")]
    wait_until(lambda: len(at_the_gate(scene)) == 3, "all are at it")
    kill(victim)
    killed = time.monotonic()
    lost, *_ = wait_until(lambda: losses_of(job, "victim"), "it is missed")
    (scene.folder / "gate").touch()
    measured(f"missed after {lost['at'] - killed:.2f} s: {lost['reason']}")
    assert lost["at"] - killed <= DEAD + HEARTBEAT + SLACK
    job.finish(code=0)
    assert_promises(job)


@pytest.mark.covers(
    "SIGKILL one of three local workers, in mid-chunk",
    number=1,
    bound="at once, with signal and memory",
    measured='0.006 s; "signal 9 (SIGKILL), with at most 29 MiB of memory"',
    removed=("`stage.py`: `self._desk.gone(session, cause, now=now)`; `supervisor.py`: `obituary(cause, mib, tail)`"),
)
def test_killed_local_worker_is_missed_at_once_with_its_signal_and_memory(scene):
    job = scene.farm(op=f"farm_ops:gated:gate={scene.folder}/gate", workers=3, durations=NEVER_MISSED)
    wait_until(lambda: len(at_the_gate(scene)) == 3, "all are at it")
    killed = time.monotonic()
    send_signal(local_workers(job)[0])
    (lost,) = job.wait_for("Lost")
    measured(f"missed after {lost['at'] - killed:.3f} s: {lost['reason']}")
    assert lost["at"] - killed <= SLACK / 2, "long before its silence is one"
    assert re.fullmatch(r"it died of signal 9 \(SIGKILL\), with at most [1-9]\d* MiB of memory", lost["reason"])
    job.wait_for("Joined", 4)
    (scene.folder / "gate").touch()
    job.finish(code=0)
    assert_promises(job)
    assert job.report["requeued"] >= 1


@pytest.mark.covers(
    "a process of `zaudio worker -n 2` dies",
    number=15,
    bound="said with its signal, replaced, S",
    measured="said",
    removed='`supervisor.py`: `log.warning("worker %s: %s", ...)`',
)
def test_worker_command_says_which_of_its_processes_died_and_replaces_it(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate")
    workers = scene.worker(job, "-n", 2, "--name", "attic", "--once")
    wait_until(lambda: len(at_the_gate(scene)) == 2, "both are at it")
    send_signal(children(workers.pid)[0], signal.SIGSEGV)
    job.wait_for("Joined", 3)
    (scene.folder / "gate").touch()
    job.finish(code=0)
    assert_promises(job)
    workers.finish(code=0)
    said = r"zaudio: warning: worker attic-\d: it died of signal 11 \(SIGSEGV\), with at most [1-9]\d* MiB of memory"
    (line,) = [line for line in workers.err.splitlines() if not line.startswith("zaudio: worker attic-")]
    assert re.fullmatch(said, line), workers.err


@pytest.mark.covers(
    "20 random kills of local workers with restarts",
    number=2,
    bound="S, each index accepted once",
    measured="20 losses, S",
    removed="`supervisor.py`: `self._start(child.number, child.name)` after a death (the first)",
)
@pytest.mark.chaos
def test_twenty_random_kills_with_restarts_change_nothing(scene):
    scene.record(127 * SHORT)  # so few that each of them travels alone
    job = scene.farm(op=slow(200), workers=4, chunk=SHORT)
    job.wait_for("Accepted", 4)
    chance = random.Random(7)
    for number in range(20):
        job.wait_for("Joined", 4 + number)  # then what the loss before it requeued has been told, too
        # A chunk may be hit twice and not three times, which would rightly be its own fault.
        hits = Counter(event["chunk"] for event in job.events("Requeued"))
        twice = {index for index, count in hits.items() if count > 1}
        wait_until(lambda twice=twice: twice <= {event["chunk"] for event in job.events("Accepted")}, "it is done")
        send_signal(chance.choice(local_workers(job)))
        job.wait_for("Lost", number + 1)
    job.finish(code=0)
    assert_promises(job)
    assert len(job.events("Lost")) == 20


@pytest.mark.covers(
    "all workers die, others come 10 x DEAD later",
    number=3,
    bound="S",
    measured="S",
    removed="`leases.py`: `heapq.heappush(...)` of a chunk that is wanted, in `_settle` (both)",
)
@pytest.mark.chaos
def test_all_workers_die_and_others_come_ten_times_the_liveness_later(scene):
    op, gate = scene.held(12)  # so that it does not end before they die
    job = scene.coordinator(op=op, durations={"worker_timeout": 30 * DEAD})
    workers = [scene.worker(job) for _ in range(2)]
    job.wait_for("Joined", 2)
    job.wait_for("Accepted", 3)
    for worker in workers:
        kill(worker)
    job.wait_for("Lost", 2)
    pass_time(10 * DEAD)
    gate.touch()
    scene.assert_good_worker_completes(job)


@pytest.mark.covers(
    "no worker ever comes",
    number=4,
    bound="exit 69 within the worker timeout (2 s) + 1 s",
    measured="2.06 s, 2.27 s",
    removed="`granting.py`: the end of `starved`",
)
@pytest.mark.extended
def test_nobody_comes_and_the_job_ends_within_the_worker_timeout(scene):
    job = scene.coordinator(durations={"worker_timeout": 2.0})
    assert job.endpoint
    bound = time.monotonic()
    job.finish(code=69)
    measured(f"ended after {time.monotonic() - bound:.2f} s")
    assert time.monotonic() - bound <= 2.0 + 1.0 + SLACK
    assert "no worker could be given a chunk for 2 s" in job.err
    assert_promises(job)


# 5 and 6: stopped


@pytest.mark.covers(
    "SIGSTOP a holder, continue it after its chunks were redone",
    number=5,
    bound="S, one duplicate for each chunk that it held",
    measured="2 duplicates of 2 chunks held; in virtual time 1 of 1",
    removed="`assembly.py`: `if self.accepted(result.index):` (both)",
)
@pytest.mark.extended
def test_worker_stopped_until_its_chunk_was_redone_is_a_duplicate_and_of_use_again(scene):
    scene.record(60 * SHORT)
    job = scene.coordinator(op=slow(150), chunk=SHORT)
    scene.worker(job, "--name", "other")
    stopped = scene.worker(job, "--name", "stopped")
    wait_until(lambda: accepted_of(job, "stopped") and accepted_of(job, "other"), "both are of use")
    stop(stopped)
    wait_until(lambda: losses_of(job, "stopped"), "it is missed")
    # What it was granted and did not give back. The events of that lie before that of its loss.
    held, given = (
        {event["chunk"] for event in job.events(*kinds) if event["worker"] == "stopped"}
        for kinds in (("Granted",), ("Accepted", "Duplicate"))
    )
    held -= given
    assert held
    wait_until(lambda: held <= {event["chunk"] for event in job.events("Accepted")}, "what it held is redone")
    go_on(stopped)
    back = time.monotonic()
    wait_until(lambda: [at for at in accepted_of(job, "stopped") if at > back], "it is of use again")
    job.finish(code=0)
    assert_promises(job)
    # Other duplicates may come at the job's end, when idle workers are given chunks that others are at.
    of_stopped = [event for event in job.events("Duplicate") if event["worker"] == "stopped"]
    late = [event["chunk"] for event in of_stopped if event["chunk"] in held]
    measured(f"{len(late)} duplicates")
    assert 1 <= len(late) <= 2, "of the chunks that it held"
    assert len(set(late)) == len(late), "each of them once"
    assert len(session_of(job, "stopped")) == 1, "it is the same life of the same worker"
    assert stopped.code is None


@pytest.mark.covers(
    "SIGSTOP without end",
    number=6,
    bound=(
        "the coordinator exits within 2 s of the last result; memory + credit x chunk (0.5 MiB) + 8 MiB for allocators"
    ),
    measured="0.06 s, 0.39 s; 4.5 MiB",
    removed=(
        "two together, since each is enough by itself: `dispatch.py`: silence, and `granting.py`: "
        "`if self._ciphered == self._released:` in `grant`"
    ),
)
@pytest.mark.chaos
def test_worker_stopped_for_ever_holds_up_neither_the_job_nor_its_end(scene):
    scene.record(60 * 65_536)
    held, gate = scene.held(59, chunk=65_536)  # so that it does not end before one is stopped
    job = scene.coordinator("--op", held, "--op", "invert", op=slow(40), chunk=65_536)
    scene.worker(job)
    stopped = scene.worker(job)
    job.wait_for("Joined", 2)
    job.wait_for("Accepted", 20)
    before = peak_memory(job.pid)
    stop(stopped)
    gate.touch()
    job.finish(code=0)
    ended = time.monotonic()
    assert_promises(job)
    last = job.events("Accepted")[-1]["at"]
    measured(f"ended {ended - last:.2f} s after the last result, {(job.peak - before) / 2**20:.1f} MiB more")
    assert ended - last <= 2.0 + SLACK
    assert job.peak - before <= 2 * 65_536 * 4 + 8 * 2**20, "what it held, and what allocators round up"


# 8: two workers disagree


@pytest.mark.covers(
    "two results for one chunk with different bytes, the second one of a worker that was given up long ago",
    number=8,
    bound="exit 1, both named",
    measured="exit 1, both named",
    removed=(
        "`assembly.py`: keeping `out` of all attempts instead of the live ones (the first two); `roster.py`: "
        "`self._register.enter(...)` (the first)"
    ),
)
@pytest.mark.extended
def test_worker_that_disagrees_long_after_it_was_given_up_fails_the_job_and_both_are_named(scene):
    # Results depend on the process. The last chunk has no end, so that the job goes on until the second result comes.
    ops = ("--op", scene.held(CHUNKS - 1, gate="never")[0], "--op", "farm_ops:moody")
    job = scene.coordinator(*ops, op=f"farm_ops:gated:gate={scene.folder}/gate")
    scene.worker(job, "--name", "beta")
    wait_until(lambda: len(at_the_gate(scene)) == 1, "one is at it")
    alpha = scene.worker(job, "--name", "alpha")
    wait_until(lambda: len(at_the_gate(scene)) == 2, "both are at it")
    stop(alpha)
    job.wait_for("Lost")
    held = {event["chunk"] for event in job.wait_for("Requeued", 2)}  # as many as a worker holds
    (scene.folder / "gate").touch()
    wait_until(lambda: held <= {event["chunk"] for event in job.events("Accepted")}, "what it held is redone")
    go_on(alpha)
    job.finish(code=1)
    assert re.search(r"chunk \d+: workers beta and alpha returned different results", job.err)
    assert_promises(job)


# 12: coming back


@pytest.mark.covers(
    "a worker reconnects 1,000 times",
    number=12,
    bound="descriptors + 4, memory + 8 MiB",
    measured="no descriptor more; + 0.2 MiB, + 2.0 MiB",
    removed=(
        "`dispatch.py`: `member = self._roster.get(hello.session)` (virtual time; the real one was not seen to fail)"
    ),
)
@pytest.mark.extended
def test_worker_that_reconnects_a_thousand_times_leaves_nothing_behind(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate")
    good = scene.worker(job, "--once")
    wait_until(lambda: at_the_gate(scene), "one is at it")
    hello = Hello(VERSION, b"r" * 16, "restless", 1, "host", "a test", ("farm_ops",), (), b"")
    ventilator = job.endpoint
    sink = f"{ventilator.rpartition(':')[0]}:5556"

    def reconnect():
        with context.socket(zmq.DEALER) as down, context.socket(zmq.DEALER) as up:
            for socket, endpoint in ((down, ventilator), (up, sink)):
                socket.setsockopt(zmq.LINGER, 0)
                socket.connect(endpoint)
            down.send_multipart(encode(hello))
            assert down.poll(10_000 * MS * 1000)
            welcome = decode(down.recv_multipart()[:2], TO_WORKER[Channel.VENTILATOR])
            assert isinstance(welcome, Welcome)
            up.send_multipart(encode(Ready(welcome.job, welcome.incarnation, welcome.session, 0, (), reads=False)))

    with zmq.Context() as context:
        for _ in range(50):
            reconnect()
        before = descriptors_of(job), resident(job)
        for _ in range(1000):
            reconnect()
    wait_until(lambda: descriptors_of(job) <= before[0] + 4, "descriptors are closed")
    measured(f"{descriptors_of(job) - before[0]:+d} descriptors, {(resident(job) - before[1]) / 2**20:+.1f} MiB")
    assert resident(job) - before[1] <= 8 * 2**20
    (scene.folder / "gate").touch()
    job.finish(code=0)
    good.finish(code=0)
    assert_promises(job)
    assert session_of(job, "restless") == {hello.session.hex()[:8]}, "it is one worker"


def descriptors_of(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def resident(process):
    with open(f"/proc/{process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# 13: leaving in order


@pytest.mark.covers(
    "SIGTERM a worker: one process, three processes",
    number=13,
    note="one process: `make test-all`",
    bound="exit 0 within 5 s; known at once, no wait for DEAD, no blame",
    measured="known after 0.00 s, exited after 0.23 to 0.39 s",
    removed="`worker.py`: `if self._stopping:`; `session.py`: the goodbye in `leave`",
)
@pytest.mark.parametrize("processes", [extended(1), 3])
def test_worker_that_is_terminated_hands_back_what_it_holds_and_exits_zero(scene, processes):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate", durations=NEVER_MISSED)
    leaving = scene.worker(job, "-n", processes)
    wait_until(lambda: len(at_the_gate(scene)) == processes, "all are at it")
    leaving.signal(signal.SIGTERM)
    asked = time.monotonic()
    leaving.finish(code=0, within=5000 * MS)
    exited = time.monotonic()
    lost = job.wait_for("Lost", processes)
    measured(f"known after {lost[-1]['at'] - asked:.2f} s, exited after {exited - asked:.2f} s")
    assert all(event["reason"] == "it was told to stop" for event in lost)
    assert lost[-1]["at"] - asked < DEAD, "nobody waited for its silence"
    assert all(line.startswith("zaudio: worker ") for line in leaving.err.splitlines()), leaving.err
    assert leaving.err.count(" leaves: it was told to stop; ") == processes
    (scene.folder / "gate").touch()
    scene.assert_good_worker_completes(job)


@pytest.mark.covers(
    "SIGTERM while an op lets no thread of its process run, `-n 2`",
    number=13,
    bound="exit 0 within 5 s",
    measured="4.06 s, 4.24 s",
    removed="`supervisor.py`: `self._signal(signal.SIGKILL)`",
)
@pytest.mark.chaos
def test_workers_inside_a_call_that_lets_no_thread_run_are_ended_within_five_seconds(scene):
    job, leaving, first = hogs(scene)
    leaving.signal(signal.SIGTERM)
    asked = time.monotonic()
    leaving.finish(code=0, within=5000 * MS + SLACK)
    measured(f"exited after {time.monotonic() - asked:.2f} s")
    assert not any(map(alive, first))
    (scene.folder / "gate").touch()
    scene.assert_good_worker_completes(job)


@pytest.mark.covers(
    "a second SIGTERM, `-n 2`",
    number=13,
    bound="exit 143 and all gone within 1 s",
    measured="0.01 s",
    removed="`exit.py`: `exit_at_once(number)`; `children.py`: `die_with_parent()`",
)
def test_second_sigterm_ends_a_supervisor_and_its_workers_at_once(scene):
    job, leaving, first = hogs(scene, PATIENT)
    leaving.signal(signal.SIGTERM)
    wait_until(lambda: job.events("Lost"), "one of them has left, and the supervisor waits for the other")
    assert leaving.code is None
    leaving.signal(signal.SIGTERM)
    asked = time.monotonic()
    leaving.finish(code=143, within=1000 * MS)
    wait_until(lambda: not any(map(alive, first)), "its workers are gone", within=1000 * MS)
    measured(f"all gone after {time.monotonic() - asked:.2f} s")


# Its first SIGTERM alone would not end it while a test lasts.
PATIENT = "import zaudio.net.supervisor as net; net.LEAVE_PATIENCE = 600; from zaudio.cli import main; main()"
AS_EVER = "from zaudio.cli import main; main()"


def hogs(scene, program=AS_EVER):
    """A job with two workers of one command, one of which is inside a call that lets no thread of its process run."""
    tally = scene.folder / "tally"
    held = ("--op", scene.held(CHUNKS - 1)[0], "--op", "invert")  # so that the other one cannot end the job meanwhile
    op = f"farm_ops:hogs_at:value={bad_sample(scene)},tally={tally}"
    job = scene.coordinator(*held, op=op, durations={"liveness": 50})
    leaving = scene.script(program, "worker", job.endpoint, "--allow", "farm_ops", "-n", 2)
    wait_until(Path(f"{tally}.inside").exists, "one is inside")
    first = children(leaving.pid)
    assert len(first) == 2
    return job, leaving, first


@pytest.mark.covers(
    "`--lifetime`, `--idle-timeout`",
    number=13,
    bound="exit 0, the chunk finished, no blame",
    measured="as told",
    removed=(
        "`session.py`: `self.leave(reason)` in `tick`; `lifetime.py`: `if now >= self._idle_since + "
        "self._idle_timeout:` (by the clock)"
    ),
)
@pytest.mark.extended
def test_worker_leaves_when_its_lifetime_is_over_or_it_is_idle(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate", durations=NEVER_MISSED)
    lived = scene.worker(job, "-n", 2, "--lifetime", 3000 * MS)
    wait_until(lambda: len(at_the_gate(scene)) == 2, "both are at it")
    pass_time(3500 * MS)
    assert lived.code is None, "they finish the chunk that they are at"
    (scene.folder / "gate").touch()
    lived.finish(code=0, within=5000 * MS)
    assert {event["reason"] for event in job.wait_for("Lost", 2)} == {"its lifetime is over"}
    idle = scene.worker(job, "--idle-timeout", 3000 * MS)
    job.finish(code=0)
    assert_promises(job)
    idle.finish(code=0, within=10_000 * MS)
    assert all(line.startswith("zaudio: worker ") for line in idle.err.splitlines()), idle.err


# 15 to 17: the chunk is at fault


@pytest.mark.covers(
    "a chunk that kills its worker",
    number=15,
    bound="exit 1 after exactly 3 attempts; index, frames, signal, memory, last words",
    measured='3 deaths, 2 requeues; "it died of signal 11 (SIGSEGV), with at most 29 MiB of memory"',
    removed="`blame.py`: `if len(causes) >= self._timing.failures:`; `pool.py`: the last words in `obituary`",
)
@pytest.mark.extended
def test_chunk_that_kills_its_worker_ends_the_job_after_three_attempts_and_is_named(scene):
    # A worker that dies takes along what it has not sent yet. Had it done another chunk before, the result of which is
    # lost so, that one would be blamed for the first death.
    job = scene.farm(op=f"farm_ops:dies_at:value={bad_sample(scene, FIRST)},number=11", durations=NEVER_MISSED)
    job.finish(code=1)
    assert_promises(job)
    line = cause(job)
    where = f"chunk 0 \\(frames {FIRST * CHUNK} to {CHUNKS * CHUNK}\\) failed 3 times"
    how = r"worker local-\d: it died of signal 11 \(SIGSEGV\), with at most [1-9]\d* MiB of memory"
    assert re.fullmatch(f"zaudio: {where}; the last time: {how}", line), line
    assert len(job.events("Lost")) == 3
    # An idle worker may be given the chunk while another is at it; the first of those two deaths requeues nothing.
    again = [event["attempt"] for event in job.events("Requeued") if event["chunk"] == 0]
    assert again in ([1, 2], [1], [2])


@pytest.mark.covers("a chunk that kills its worker")
@pytest.mark.chaos
def test_what_a_worker_wrote_before_it_died_is_in_the_last_line(scene):
    job = scene.farm(op=f"farm_ops:complains_at:value={bad_sample(scene)},code=7")
    job.finish(code=1)
    line = cause(job)
    assert re.search(r'it exited with code 7, with at most \d+ MiB of memory; it last wrote "out of \[luck\]"$', line)


@pytest.mark.covers(
    "an op that raises",
    number=16,
    bound="exit 1 with the worker's message",
    measured='"ValueError: there is a ... on track one"',
    removed="`dispatch.py`: `self._blame.accuse(lease, ...)` in `_failed`",
)
def test_op_that_raises_ends_the_job_after_three_attempts_with_the_workers_words(scene):
    job = scene.coordinator(op=f"farm_ops:raises_at:value={bad_sample(scene)}", durations=NEVER_MISSED)
    workers = [scene.worker(job, "--name", f"w{number}") for number in range(2)]
    job.finish(code=1)
    assert_promises(job)
    line = cause(job)
    assert re.search(
        r"failed 3 times; the last time: worker w\d: ValueError: there is a \S+ on track one \(\S+farm_ops.py:\d+\)$",
        line,
    )
    assert all(worker.code is None for worker in workers), "they look for the next job"
    assert job.events("Lost") == []


@pytest.mark.covers(
    "a stuck op with live heartbeats, local and elsewhere; deadline 1.5 s",
    number=17,
    bound="granted elsewhere at the deadline; a local one killed and replaced",
    measured="1.53 s, dead after 1.55 s",
    removed=(
        "`dispatch.py`: `elif self._overdue(member, now):` (the first); `stage.py`: `self._kill(...)` of "
        "`Stuck` (the first)"
    ),
)
def test_stuck_local_workers_are_killed_and_replaced_at_the_deadline_of_their_chunk(scene):
    """Two of them: the chunk that everything waits for is given to a second one, long before its deadline."""
    tally = scene.folder / "tally"
    op = f"farm_ops:sticks_at:value={bad_sample(scene)},tally={tally},times=2"
    job = scene.farm(op=op, durations=IMPATIENT)
    wait_until(lambda: tally.exists() and tally.stat().st_size == 2, "both are stuck")
    begun = time.monotonic()
    stuck, lost = job.wait_for("Stuck", 2), job.wait_for("Lost", 2)
    measured(f"stuck after {stuck[1]['at'] - begun:.2f} s, dead after {lost[1]['at'] - begun:.2f} s")
    assert stuck[1]["at"] - begun <= STUCK + HEARTBEAT + SLACK
    assert all(
        event["reason"].startswith("it was killed, past the deadline of a chunk, with at most") for event in lost
    )
    job.finish(code=0)
    assert_promises(job)
    assert len(job.events("Joined")) > 2, "another took the place"


@pytest.mark.covers("a stuck op with live heartbeats, local and elsewhere; deadline 1.5 s")
@pytest.mark.chaos
def test_chunk_of_stuck_workers_elsewhere_is_granted_to_another_though_they_say_that_they_live(scene):
    tally = scene.folder / "tally"
    op = f"farm_ops:sticks_at:value={bad_sample(scene)},tally={tally},times=2"
    job = scene.coordinator(op=op, durations=IMPATIENT)
    workers = [scene.worker(job) for _ in range(3)]
    job.finish(code=0)
    assert_promises(job)
    assert len(job.events("Stuck")) == 2
    assert job.events("Lost") == [], "they were heard of all the time"
    assert all(worker.code is None for worker in workers)


@pytest.mark.covers("a stuck op with live heartbeats, local and elsewhere; deadline 1.5 s")
@pytest.mark.chaos
def test_chunk_that_nobody_finishes_ends_the_job_with_its_name(scene):
    op = f"farm_ops:sticks_at:value={bad_sample(scene)},tally={scene.folder}/tally,times=9"
    job = scene.farm(op=op, durations=IMPATIENT)
    job.finish(code=1)
    assert_promises(job)
    line = cause(job)
    assert re.search(rf"frames {BAD * CHUNK} to .* failed 3 times; the last time: .*no result after \d+\.\d s$", line)


# 18: clocks


@pytest.mark.covers(
    "the coordinator stopped for 3 x DEAD",
    number=18,
    bound="nobody lost, nobody stuck",
    measured="none",
    removed=(
        "`dispatch.py`: `self._excuse(late, now)` (the last two; the first one needs the drain before the tick in "
        "`farm.py` removed too)"
    ),
)
@pytest.mark.extended
def test_coordinator_that_was_stopped_declares_nobody_dead(scene):
    job = scene.coordinator(op=slow(150))
    workers = [scene.worker(job) for _ in range(2)]
    job.wait_for("Accepted", 3)
    stop(job)
    pass_time(3 * DEAD)
    go_on(job)
    job.finish(code=0)
    assert_promises(job)
    assert job.events("Lost", "Stuck") == []
    assert all(worker.code is None for worker in workers)


WALL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The wall clock stands an hour off, or back, from when a file is there. Other clocks go on. */
static long moved(void) {
    const char *path = getenv("WALL_MOVED");
    return path && access(path, F_OK) == 0 ? atol(getenv("WALL_SECONDS")) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += moved();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += moved();
    return failed;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.covers(
    "the wall clock moved by an hour, forward and back, under coordinator, local worker and worker elsewhere "
    "(a preloaded library; the machine's own clock is left alone)",
    number=18,
    note="back: `make test-all`; forward: `make chaos`",
    bound="nothing happens, and a death is missed as ever",
    measured="none",
    removed=(
        "`farm.py` or `worker.py`: `time.time()` for `time.monotonic()` (an hour back; the second test with "
        "`worker.py`)"
    ),
)
@pytest.mark.parametrize("seconds", [pytest.param(3600, marks=pytest.mark.chaos), extended(-3600)])
def test_wall_clock_that_is_moved_by_an_hour_changes_nothing(scene, seconds):
    need("cc")
    (scene.folder / "wall.c").write_text(WALL)
    library, moved = scene.folder / "wall.so", scene.folder / "moved"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, scene.folder / "wall.c", "-ldl"], check=True)
    wall = {"LD_PRELOAD": str(library), "WALL_MOVED": str(moved), "WALL_SECONDS": str(seconds)}
    # The wall clock of such a process is really another one.
    say = [sys.executable, "-c", "import time; print(time.time())"]
    before = float(subprocess.check_output(say, env=os.environ | wall))
    moved.touch()
    assert abs(float(subprocess.check_output(say, env=os.environ | wall)) - before - seconds) < 60
    moved.unlink()

    scene.record(60 * SHORT)
    job = scene.coordinator(op=slow(150), chunk=SHORT, workers=1, **wall)
    worker, victim = scene.worker(job, **wall), scene.worker(job, "--name", "victim", **wall)
    job.wait_for("Joined", 3)
    job.wait_for("Accepted", 3)
    moved.touch()
    kill(victim)  # what is to be noticed is noticed as ever, and nothing else
    killed = time.monotonic()
    (lost,) = job.wait_for("Lost")
    assert lost["worker"] == "victim"
    assert lost["at"] - killed <= DEAD + HEARTBEAT + SLACK
    job.finish(code=0)
    assert_promises(job)
    assert len(job.events("Lost")) == 1
    assert job.events("Stuck", "Rejected") == []
    assert len(job.events("Joined")) == 3, "nobody missed a heartbeat and said hello again"
    assert worker.code is None


# 19: those who cannot take part

OTHER_VERSION = "import zaudio.core.session as session; session.VERSION = 2; from zaudio.cli import main; main()"


@pytest.mark.covers(
    "a worker of another protocol version; one that lacks the op",
    number=19,
    bound="exit 77 with the reason, within 5 s and Python's start",
    measured="under 1 s with Python's start, on a quiet machine",
    removed="`dispatch.py`: `if hello.version != VERSION:`, `if missing:`",
)
def test_worker_of_another_protocol_version_is_refused_with_a_reason(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate")
    stranger = scene.script(OTHER_VERSION, "worker", job.endpoint)
    stranger.finish(code=77, within=5000 * MS + STARTING)
    assert stranger.err.endswith(
        f"zaudio: {job.endpoint} refused this worker: it speaks protocol version 2, this coordinator speaks {VERSION}\n"
    )
    (scene.folder / "gate").touch()
    scene.assert_good_worker_completes(job)


@pytest.mark.covers("a worker of another protocol version; one that lacks the op")
@pytest.mark.chaos
def test_worker_that_lacks_the_op_is_refused_with_what_to_do(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate")
    stranger = scene.zaudio("worker", job.endpoint)
    stranger.finish(code=77, within=5000 * MS + STARTING)
    assert "refused this worker: it lacks farm_ops:gated; start it with --allow farm_ops" in stranger.err
    (scene.folder / "gate").touch()
    scene.assert_good_worker_completes(job)


@pytest.mark.covers(
    "messages of another job or incarnation",
    number=19,
    bound="asked to say hello again, a good worker completes",
    measured="as said",
    removed="`dispatch.py`: `if (message.job, message.incarnation) != ...` in `_known`",
)
@pytest.mark.extended
def test_who_speaks_of_another_job_or_incarnation_is_asked_to_say_hello_again(scene):
    job = scene.coordinator(op=f"farm_ops:gated:gate={scene.folder}/gate")
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(job.endpoint)
        hello = Hello(VERSION, b"o" * 16, "other", 1, "host", "a test", ("farm_ops",), (), b"")
        socket.send_multipart(encode(hello))
        welcome = hear(socket)
        for lease in ((b"x" * 16, 1), (welcome.job, welcome.incarnation + 1)):
            socket.send_multipart(encode(Heartbeat(*lease, b"o" * 16)))
            while not isinstance(said := hear(socket), Again):
                assert not isinstance(said, Welcome)
    (scene.folder / "gate").touch()
    scene.assert_good_worker_completes(job)


def hear(socket):
    assert socket.poll(5000 * MS * 1000), "an answer comes"
    return decode(socket.recv_multipart()[:2], TO_WORKER[Channel.VENTILATOR])
