"""Who is not let in, and what that costs: real coordinators and workers, with keys and without, and raw connections."""

import os
import resource
import shutil
import socket
import struct
import time
from contextlib import contextmanager

import numpy as np
import pytest
import zmq
from extended import extended, product
from farm_support import write_raw
from harness import CHUNK, NEVER_MISSED, assert_promises, peak_memory, slow
from net_support import MS, PATIENCE, processes_with, wait_until

from zaudio import Coordinator, Security
from zaudio.job import life
from zaudio.net import keys, sockets
from zaudio.wire.codec import TO_WORKER, decode, encode
from zaudio.wire.messages import VERSION, Channel, Chunk, Goodbye, Heartbeat, Hello, Ready, Refused, Result, Welcome

SLOW = "farm_ops:slow:ms=100"
SOON = 5000 * MS  # until a worker that is not let in has ended, and said why
STRANGE_PUBLIC, STRANGE_SECRET = zmq.curve_keypair()


@pytest.fixture
def folder(scene):
    """A coordinator's keys."""
    folder = str(scene.folder / "keys")
    keys.init(folder)
    return folder


@pytest.fixture
def studio(folder):
    """The folder of an admitted worker's keys."""
    return keys.add_worker(folder, "studio")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def assert_turned_away(worker, sentence):
    """A worker ends soon, with the exit code of the refused and one line behind those of its way."""
    worker.finish(within=SOON, code=77)
    *way, last = worker.err.splitlines()
    assert all(" connects to tcp://" in line for line in way), worker.said
    assert last.startswith("zaudio: tcp://")
    assert sentence in last


def complete(scene, job, *more):
    """A good worker completes the job, and all promises hold."""
    worker = scene.worker(job, "--once", *more)
    job.finish(within=PATIENCE, code=0)
    worker.finish(within=10_000 * MS, code=0)
    assert_promises(job)


# 31: keys that do not fit


@pytest.mark.covers(
    "Unknown key",
    number=31,
    bound="exits 77 within 5 s, nobody joins, a good worker does the job",
    measured="0.34 to 0.55 s (5 runs)",
    removed="`net/authenticator.py`: `if key in self._names:` made always true",
)
@pytest.mark.parametrize("processes", [1, extended(3)])
def test_worker_whose_key_is_unknown_is_told_so_and_others_do_the_job(scene, folder, studio, processes):
    stranger = f"{studio}.stranger"
    shutil.copytree(studio, stranger)
    write(f"{stranger}/worker.secret", f"{STRANGE_SECRET.decode()}\n")
    job = scene.coordinator("--keys", folder)
    worker = scene.worker(job, "--keys", stranger, "-n", processes)
    assert_turned_away(worker, "the coordinator does not admit this worker's key: it is unknown there, or was revoked")
    sentence = f"its public key {STRANGE_PUBLIC.decode()} is not admitted"
    wait_until(lambda: sentence in job.err, "the coordinator says so too")  # the worker is told before it does
    assert job.events("Joined") == []
    complete(scene, job, "--keys", studio)


@pytest.mark.covers(
    "Wrong server key",
    number=31,
    bound="the same",
    measured="1.89 to 2.25 s (5 runs)",
    removed="`core/handshake.py`: `return self._cut(now)`",
)
@pytest.mark.extended
def test_worker_that_expects_another_coordinator_is_told_so_and_others_do_the_job(scene, folder, studio):
    mistaken = f"{studio}.mistaken"
    shutil.copytree(studio, mistaken)
    write(f"{mistaken}/coordinator.public", f"{STRANGE_PUBLIC.decode()}\n")
    job = scene.coordinator("--keys", folder)
    assert_turned_away(
        scene.worker(job, "--keys", mistaken), "coordinator.public is not the key of this coordinator (compare it with"
    )
    assert job.events("Joined") == []
    complete(scene, job, "--keys", studio)


@pytest.mark.covers(
    "NULL against CURVE",
    number=31,
    bound="the same",
    measured="0.48 to 1.51 s (5 runs)",
    removed=(
        "`core/handshake.py`: `case Handshake.OTHER_MECHANISM:`; also `net/sockets.py`: `chosen[zmq.CURVE_SERVER] = 1`"
    ),
)
def test_worker_without_keys_is_told_that_it_needs_them(scene, folder, studio):
    job = scene.coordinator("--keys", folder)
    assert_turned_away(scene.worker(job), "the coordinator admits nobody without a key; `zaudio keys worker NAME`")
    assert job.events("Joined") == []
    complete(scene, job, "--keys", studio)


@pytest.mark.covers(
    "CURVE against NULL",
    number=31,
    bound="the same",
    measured="0.50 to 1.86 s (5 runs)",
    removed="`net/worker.py`: `self._watch_handshakes(now)`",
)
@pytest.mark.extended
def test_worker_with_keys_is_told_that_the_coordinator_has_none(scene, studio):
    job = scene.coordinator()
    worker = scene.worker(job, "--keys", studio)
    # It says so itself, unless it was always faster at closing the connection.
    assert_turned_away(worker, "runs without keys")
    assert job.events("Joined") == []
    complete(scene, job)


@pytest.mark.extended
def test_local_workers_and_others_share_a_job_with_keys(scene, folder, studio):
    gate = scene.folder / "gate"
    slowly = ("--op", slow(150), "--op", "invert")  # so that no other does the far one's share meanwhile
    job = scene.coordinator("--keys", folder, *slowly, op=f"farm_ops:gated:gate={gate}", workers=2)
    worker = scene.worker(job, "--keys", studio, "--name", "far")
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 3, "all are at it")
    gate.touch()
    job.finish(within=PATIENCE, code=0)
    assert_promises(job)
    assert {"far", "local-1", "local-2"} >= set(job.report["shares"]) > {"far"}
    worker.signal(15)
    worker.finish(code=0)


# Revoked


@pytest.mark.covers(
    "Revoked while it works",
    number=31,
    bound="lost within 1 s, exits 77, does not come back, S",
    measured="lost after 0.03 to 0.21 s, exited after 0.30 to 0.56 s (5 runs)",
    removed="`net/farm.py`: `if self._gate.refresh(now):` true only once",
)
def test_revoked_worker_is_gone_within_a_second_and_its_chunks_are_done_by_others(scene, folder, studio):
    good = keys.add_worker(folder, "good")
    held, gate = scene.held(12)
    job = scene.coordinator("--keys", folder, op=held, durations=NEVER_MISSED)
    bad = scene.worker(job, "--keys", studio, "--name", "bad")
    joined = job.wait_for("Joined")[0]
    job.wait_for("Accepted")
    keys.revoke(folder, "studio")
    revoked = time.monotonic()
    lost = job.wait_for("Lost")[0]
    assert (lost["session"], lost["reason"]) == (joined["session"], "its key is not admitted any more")
    assert lost["at"] - revoked < 1000 * MS
    bad.finish(within=SOON, code=77)
    assert "its key is not admitted any more" in bad.err
    again = scene.worker(job, "--keys", studio, "--name", "bad")
    assert_turned_away(again, "does not admit this worker's key")
    assert len(job.events("Joined")) == 1
    gate.touch()
    complete(scene, job, "--keys", good, "--name", "good")
    assert job.report["requeued"] >= 1
    assert set(job.report["shares"]) == {"bad", "good"}


# Sessions belong to keys: two admitted workers, spoken for by hand


class Hand:
    """A worker made of two sockets, which says what the test wants."""

    def __init__(self, context, endpoint, client):
        self.ventilator = sockets.dealer(context, endpoint, keys=client)
        host, port = endpoint.rsplit(":", 1)
        self.sink = sockets.dealer(context, f"{host}:{int(port) + 1}", keys=client)

    def say(self, message, payload=None, *, on=Channel.VENTILATOR):
        socket = self.sink if on is Channel.SINK else self.ventilator
        assert sockets.send(socket, encode(message, payload))

    def hear(self, kind, *, on=Channel.VENTILATOR):
        """The next message of that kind, and its payload."""
        socket = self.sink if on is Channel.SINK else self.ventilator
        deadline = time.monotonic() + 5000 * MS
        while socket.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            parts = sockets.receive(socket, copy=True)
            message = decode(parts, TO_WORKER[on])
            if isinstance(message, kind):
                return message, parts[1:]
        raise AssertionError(f"no {kind.__name__} came")

    def close(self):
        self.ventilator.close(linger=0)
        self.sink.close(linger=0)


def hello(session):
    return Hello(VERSION, session, session[:4].decode(), 1, "host", "software", ("invert",), (), b"")


@contextmanager
def hands(endpoint, *clients):
    with zmq.Context() as context:
        made = [Hand(context, endpoint, client) for client in clients]
        try:
            yield made
        finally:
            for hand in made:
                hand.close()


@pytest.mark.covers(
    "A message in the name of another key's session",
    number=31,
    bound="each is answered with Refused, and nothing else happens",
    measured="so",
    removed="`core/register.py`: the last line of `bar`",
)
def test_worker_cannot_speak_for_the_session_of_another_key(scene, folder, studio):
    thief_keys = keys.worker_keys(keys.add_worker(folder, "thief"))
    job = scene.coordinator("--keys", folder, durations=NEVER_MISSED)  # a victim by hand has no heartbeat
    victims = b"vict" + bytes(12)
    with hands(job.endpoint, keys.worker_keys(studio), thief_keys) as (victim, thief):
        victim.say(hello(victims))
        welcome, _ = victim.hear(Welcome)
        lease = (welcome.job, welcome.incarnation, victims)
        victim.say(Ready(*lease, 0, (), False), on=Channel.SINK)
        chunk, _ = victim.hear(Chunk)

        forged = bytes(chunk.length)
        result = Result(*lease, chunk.index, chunk.attempt, chunk.length, 0, 0.1, -1)
        for message, payload, channel in (
            (hello(victims), None, Channel.VENTILATOR),
            (Heartbeat(*lease), None, Channel.VENTILATOR),
            (Goodbye(*lease, "bye"), None, Channel.VENTILATOR),
            (Ready(*lease, 99, (), False), None, Channel.SINK),
            (result, forged, Channel.SINK),
        ):
            thief.say(message, payload, on=channel)
            refused, _ = thief.hear(Refused, on=channel)
            assert refused.reason == "that session belongs to another key"
        victim.say(Heartbeat(*lease))
        assert job.events("Lost", "Accepted", "Rejected", "Requeued") == []
        victim.say(Goodbye(*lease, "enough"))
        assert job.wait_for("Lost")[0]["reason"] == "enough"
    complete(scene, job, "--keys", studio)


# 32: an authenticator that does not answer as it should


BROKEN = {
    "dead": "authenticator.ENDPOINT = 'inproc://nowhere'",
    "raising": "authenticator.Authenticator._judge = lambda *_: 1 // 0",
    "late": "authenticator.Authenticator.serve = lambda *_: None",
}


@pytest.mark.covers(
    "Authenticator dead",
    number=32,
    case="dead",
    note="`make test-all`",
    bound="nobody joins, the worker exits 77 within 5 s, the coordinator 69",
    measured="as with a wrong server key",
    removed="`net/sockets.py`: `chosen[zmq.ZAP_ENFORCE_DOMAIN] = 1`",
)
@pytest.mark.covers(
    "Authenticator raising",
    number=32,
    case="raising",
    note="`make chaos`",
    bound="the same",
    measured="so",
    removed="`net/authenticator.py`: `status, text, key = FAILED, ...` made `raise`",
)
@pytest.mark.covers(
    "Authenticator late",
    number=32,
    case="late",
    note="`make chaos`",
    bound="nobody joins, the coordinator exits 69; the worker goes on trying",
    measured="so",
    removed="not seen to fail: it is libzmq that waits for the answer, with or without our options",
)
@pytest.mark.parametrize(
    "how", [extended(how) if how == "dead" else pytest.param(how, marks=pytest.mark.chaos) for how in BROKEN]
)
def test_while_the_authenticator_is_broken_nobody_is_admitted(scene, folder, studio, how):
    site = scene.folder / "site"
    site.mkdir()
    write(site / "sitecustomize.py", f"from zaudio.net import authenticator\n{BROKEN[how]}\n")
    path = os.pathsep.join([str(site), os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/integration"])
    job = scene.coordinator("--keys", folder, durations={"worker_timeout": 7000 * MS}, PYTHONPATH=path)
    worker = scene.worker(job, "--keys", studio)
    if how == "dead":
        assert_turned_away(worker, "or its authenticator is dead")
    elif how == "raising":
        assert_turned_away(worker, "could not check this worker's key; what it printed says why")
    job.finish(within=15_000 * MS, code=69)
    assert job.events("Joined") == []
    if how == "raising":
        assert "the authenticator failed, so nobody is admitted" in job.err
    else:
        assert_promises(job)


# 33 and 34: strangers by the hundred, and by the gigabyte


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
JUNK = (b"", b"GET / HTTP/1.1\r\nHost: farm\r\n\r\n", np.random.default_rng(1).bytes(200), GREETING[:5], GREETING)


def greeting(mechanism):
    """All 64 bytes of a ZMTP 3.0 greeting."""
    return GREETING + mechanism.ljust(20, b"\0") + b"\0" + bytes(31)


def connect(job, port):
    """A TCP connection to one of the coordinator's ports: 0 for the ventilator's, 1 for the sink's."""
    host, _, first = job.endpoint.removeprefix("tcp://").partition(":")
    return socket.create_connection((host, int(first) + port), timeout=PATIENCE)


def receive(peer, size):
    """Receive exactly `size` bytes. A socket with a timeout may return fewer, even with MSG_WAITALL."""
    received = b""
    while len(received) < size:
        part = peer.recv(size - len(received))
        assert part, f"closed after {len(received)} of {size} bytes"
        received += part
    return received


GUARDS = "with keys", "without keys"
MESSAGE, COMMAND = 2, 6  # flags of a long frame of ZMTP


@pytest.fixture(params=GUARDS)
def guarded(request, scene, folder, studio):
    """A coordinator that was given few descriptors, what a good worker of it is started with, and its keys."""
    if request.param == "without keys":
        return scene.coordinator(preexec=few_descriptors), (), None
    return scene.coordinator("--keys", folder, preexec=few_descriptors), ("--keys", studio), keys.worker_keys(studio)


def few_descriptors():
    """A soft limit that 300 connections are beyond; the hard limit is left."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.mark.covers(
    "300 junk connections, with and without keys, soft limit of 200 descriptors",
    number=33,
    note="without keys: `make test-all`",
    bound="a good worker is granted a chunk within 1 s",
    measured="0.012 to 0.018 s with keys, 0.029 to 0.041 s without (3 runs each)",
    removed="`net/farm.py`: `sockets.raise_descriptor_limit()`",
)
@pytest.mark.parametrize("guarded", [GUARDS[0], extended(GUARDS[1])], indirect=True)
def test_good_worker_registers_within_a_second_among_300_junk_connections(scene, guarded):
    job, more, client = guarded
    endpoint = job.endpoint
    junk = []
    try:
        for number in range(300):
            junk.append(connect(job, number % 2))
            junk[-1].sendall(JUNK[number // 2 % len(JUNK)])
        began = time.monotonic()
        with hands(endpoint, client) as (hand,):
            session = b"good" + bytes(12)
            hand.say(hello(session))
            welcome, _ = hand.hear(Welcome)
            hand.say(Ready(welcome.job, welcome.incarnation, session, 0, (), False), on=Channel.SINK)
            hand.hear(Chunk)
            assert time.monotonic() - began < 1000 * MS
            hand.say(Goodbye(welcome.job, welcome.incarnation, session, "enough"))
        complete(scene, job, *more)
    finally:
        for connection in junk:
            connection.close()


@pytest.mark.covers(
    "An unauthenticated part of 1 GiB, as message and as command, to each socket, with and without keys",
    number=34,
    note="one of the eight; all: `make test-all`",
    bound="memory grows by at most 8 MiB, disconnected within 64 MiB, S",
    measured="0 to 0.34 MiB, disconnected within 3 MiB (8 cases)",
    removed="`net/sockets.py`: `chosen[zmq.MAXMSGSIZE] = ...`",
)
@pytest.mark.parametrize(
    ("guarded", "port", "flags"),
    product(GUARDS, (0, 1), (MESSAGE, COMMAND), keep=[(GUARDS[0], 0, MESSAGE)]),
    indirect=["guarded"],
)
def test_unauthenticated_part_of_a_gigabyte_costs_no_memory(scene, guarded, port, flags):
    job, more, _ = guarded
    with connect(job, port) as peer:
        peer.sendall(greeting(b"CURVE" if more else b"NULL"))
        assert receive(peer, 11)[10] == 3  # the major version of ZMTP
        if not more:  # a whole handshake, which proves nothing
            ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
            peer.sendall(bytes([4, len(ready)]) + ready)
        before = peak_memory(job.pid)
        sent = 0
        try:
            peer.sendall(bytes([flags]) + struct.pack(">Q", 1 << 30))
            for _ in range(64):
                peer.sendall(bytes(1 << 20))
                sent += 1
        except OSError:  # it was disconnected, as it has to be
            pass
    assert peak_memory(job.pid) - before <= 8 << 20
    assert sent < 64, "it was not disconnected"
    complete(scene, job, *more)


# 36: nobody beyond this machine without keys

BINDS = "tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.0.2.1:5555"
COMMANDS = "coordinator", "farm"


@pytest.mark.covers(
    "Non-loopback bind without keys",
    number=36,
    note="one command, one address; each with each: `make test-all`",
    bound="exits 2, no folder made",
    measured="so",
    removed="`settings.py`: `raise ExposedError(endpoint)`",
)
@pytest.mark.parametrize(("command", "bind"), product(COMMANDS, BINDS, keep=[(COMMANDS[0], BINDS[0])]))
def test_bind_beyond_this_machine_without_keys_is_refused_before_anything_is_done(scene, command, bind):
    job = scene.job(command, f"--bind={bind}", "--overwrite")
    job.finish(within=SOON, code=2)
    [line] = job.err.splitlines()
    assert line.startswith(
        f"zaudio: {bind}: any machine that reaches this address could take part and read the recording; "
    )
    assert "--keys DIR" in line
    assert "--insecure" in line
    assert not job.output.exists()


# 37: no byte of a key but in its file


def forms(key):
    """How 32 bytes of a key may be written: as they are, in Z85, in hexadecimal, as Python shows them."""
    raw = zmq.utils.z85.decode(key) if len(key) == 40 else key
    assert len(raw) == 32
    return [raw, zmq.utils.z85.encode(raw), raw.hex().encode(), raw.hex().upper().encode(), repr(raw)[2:-1].encode()]


def secret(path):
    with open(path, "rb") as file:
        content = file.read()
    return content if len(content) == 32 else content.strip()  # the encryption key is raw, and may end like a line does


def shown(pid):
    """What any user of the machine, or any process of this user, can read about a process."""
    text = b""
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                text += file.read()
        except (FileNotFoundError, ProcessLookupError):
            pass
    return text


@pytest.mark.covers(
    "Key bytes in logs, arguments, environment, tracebacks at DEBUG: both CURVE secrets, the encryption key",
    number=37,
    note="a job that fails; one that is done: `make test-all`",
    bound="none, in five notations",
    measured="none",
    removed="no line guards it; seen to fail with a `log.debug` of the secret added to `net/worker.py`",
)
@pytest.mark.parametrize("op", [extended(SLOW), "farm_ops:leaves"], ids=["a job that is done", "a job that fails"])
def test_no_key_is_in_logs_arguments_environment_or_tracebacks(scene, folder, studio, op):
    def running():
        return b"".join(map(shown, processes_with(f"TMPDIR={scene.temporary}")))

    # All wait at a gate while they are looked at: a job that fails does so at once, and nobody is there any more.
    gate = scene.folder / "gate"
    job = scene.coordinator("--keys", folder, "-vv", "--op", f"farm_ops:gated:gate={gate}", op=op, workers=2)
    worker = scene.worker(job, "--keys", studio, "-vv")
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 3, "all are at it")
    found = running()
    assert found.count(b"TMPDIR=") == 5, "coordinator, starter, and three workers"
    (encryption,) = [secret(path) for path in scene.output.glob("encryption_key.bin*")]  # a failed job may leave none
    gate.touch()
    job.finish(within=PATIENCE)
    assert job.code == (0 if op == SLOW else 1)
    assert ("Traceback" in job.err) is (op != SLOW)  # -v shows one, and it is searched too
    worker.signal(15)
    worker.finish()
    said = found + b"".join(stream.read_bytes() for process in scene.processes for stream in process.streams)
    assert b"DEBUG" in said
    for key in (secret(f"{folder}/coordinator.secret"), secret(f"{studio}/worker.secret"), encryption):
        assert [form for form in forms(key) if form in said] == []


@pytest.mark.covers(
    "The same for the local workers' key",
    number=37,
    bound="none, and in no file",
    measured="none",
    removed="no line guards it; seen to fail with a `log.debug` of the starter's job added to `net/pool.py`",
)
def test_key_of_local_workers_is_handed_on_by_a_pipe_and_seen_nowhere(scene, folder, monkeypatch, caplog, capfd):
    made = []

    def loaded(where):
        made.append(keys.coordinator_keys(where))
        return made[-1]

    monkeypatch.setattr(life, "coordinator_keys", loaded)
    monkeypatch.setenv("TMPDIR", str(scene.temporary))
    caplog.set_level("DEBUG")
    write_raw(scene.folder / "x.raw", np.zeros((20 * CHUNK, 1), "<f4"))
    gate = scene.folder / "gate"
    with Coordinator(
        scene.folder / "x.raw",
        scene.folder / "here",
        ops=f"farm_ops:gated:gate={gate}",
        workers=2,
        security=Security(keys=folder),
        chunk=CHUNK * 4,
    ) as job:
        wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 2, "both are at it")
        found = b"".join(map(shown, processes_with(f"TMPDIR={scene.temporary}")))
        gate.touch()
        job.wait(timeout=PATIENCE)
    out, err = capfd.readouterr()
    said = found + caplog.text.encode() + out.encode() + err.encode()
    assert b"zaudio" in found
    for key in (made[0].local.secret, made[0].server.secret):
        assert [form for form in forms(key) if form in said] == []
    on_disk = [path for path in scene.folder.rglob("*") if path.is_file() and path.name != "coordinator.secret"]
    assert [path for path in on_disk if made[0].local.secret in path.read_bytes()] == []
