"""A real farm that things go wrong with, and what must hold whatever went wrong.

    def test_killed_worker_changes_nothing(scene):
        job = scene.coordinator(op="farm_ops:slow:ms=50")   # a process; HB = 0.2 s, DEAD = 1 s
        good, bad = scene.worker(job), scene.worker(job)    # processes
        job.wait_for("Accepted")
        kill(bad)                                           # a fault by name: see faults.py, proxy.py, namespaces.py
        job.finish(code=0)
        assert_promises(job)

`Scene` is one test's place: a recording of noise, the folder of the result, a folder for temporary files by which all
of its processes are found, and an address of its own in 127.0.0.0/8, so that a port can be bound again at once and by
nobody else. `Scene.coordinator` and `Scene.farm` start the real command line with short durations (impatient.py),
`Scene.render` the real `zaudio render`, `Scene.worker` the real `zaudio worker`. A process is a `Process`, a
coordinator a `Job`: what they say goes to files, so that no pipe ever fills up.

`assert_promises(job)` checks, from outside, all that can be checked after every end of a job, good or bad:

P1 exit 0: what was published decrypts to what numpy makes of the recording in one go; else nothing is at a final path
   but what was there before. P2 each chunk was accepted once. P4 it ended within its bound (`Job.finish`). P6 a failure
is one documented exit code and one line. P7 keys have mode 0600, and their bytes are in nothing that was said. P9 its
memory stayed under a bound. P10 a changed bit is found. P11 no traceback. P12 no sample is in any file but the
recording. P3, P5 and P8 are what a test itself is about; `resume` and `assert_good_worker_completes` are for them.
And nothing is left behind: processes, temporary folders, sockets.

Rules: a promise is checked with what the package does not share (numpy, cryptography, the standard library). Every wait
is a condition with a deadline. Processes are ended by their id.
"""

import contextlib
import hashlib
import hmac
import itertools
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from farm_support import NAMES, environment, inverted, noise, write_raw
from faults import go_on
from footprint import peak_memory
from net_support import MS, PATIENCE, alive, kill, processes_with, wait_until

HERE = Path(__file__).parent
HEARTBEAT, DEAD = 200 * MS, 1000 * MS  # scaled, since a process of a busy machine may be silent for a second
# The liveness is DEAD, in heartbeats; a chunk at a gate has as much time as the test that opens it.
DURATIONS = {"heartbeat": HEARTBEAT, "liveness": 5, "worker_timeout": PATIENCE, "chunk_timeout": PATIENCE,
             "chunk_timeout_floor": PATIENCE / 2}  # fmt: skip
NEVER_MISSED = {"liveness": 1000}  # nobody is lost for silence, however busy the machine, so that losses tell one fault
CHUNK = 40_000  # frames of 4 bytes: long enough to travel alone
CHUNKS = 16
WORKING = ("encryption_key.bin.part", "encryption_iv.bin.part", "result.raw.part", "result.json.part",
           "result.journal", "result.journal.part", "result.commit", "result.commit.part")  # fmt: skip
FAILURES = {1, 2, 3, 5, 69, 77, 130, 143}  # the documented exit codes, and those of signals
MEMORY = 100 * 2**20  # bytes of a process at most, plus its --memory: Python, numpy and libzmq are some 50 MiB of it
_serial = itertools.count()


def slow(ms):
    """An op that inverts a chunk in that many milliseconds of these tests: the job goes on while a loss is noticed."""
    return f"farm_ops:slow:ms={1000 * MS * ms:g}"


class Process:
    """A process of the scene, its standard streams in files."""

    def __init__(self, scene, command, *, prefix=(), cwd=None, preexec=None, **more):
        self.scene = scene
        number = next(_serial)
        self.streams = [scene.folder / f"{number}.{name}" for name in ("out", "err")]
        self.peak = 0  # bytes, the high-water mark at the last look
        self.started = time.monotonic()
        with self.streams[0].open("wb") as out, self.streams[1].open("wb") as err:
            self._process = subprocess.Popen(
                [*map(str, prefix), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(TMPDIR=str(scene.temporary), **more),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=preexec,
            )
        scene.processes.append(self)

    @property
    def pid(self):
        """The id of the command itself, not of a prefix such as strace."""
        return self._process.pid

    @property
    def out(self):
        return self.streams[0].read_text(errors="replace")

    @property
    def err(self):
        return self.streams[1].read_text(errors="replace")

    @property
    def code(self):
        """The exit code; None while it runs; negative when a signal ended it."""
        return self._process.poll()

    @property
    def said(self):
        return f"{self._process.args}\nexit code {self.code}\n{self.out}\n{self.err}"

    def signal(self, number):
        """Send a signal, if it is still there."""
        if self.code is None:
            kill(self.pid, number)

    def finish(self, *, within=PATIENCE, code=None):
        """Wait for its end; returns the exit code. With `code`, it must be that."""
        wait_until(lambda: self._look() is not None, f"it has ended:\n{self._process.args}", within=within)
        if code is not None:
            assert self.code == code, self.said
        return self.code

    def _look(self):
        self.peak = max(self.peak, peak_memory(self.pid))
        return self.code

    def forget(self):
        """Let go of it and of what it said; it is over. For who starts hundreds."""
        self.scene.processes.remove(self)
        for stream in self.streams:
            stream.unlink()

    def end(self):
        """Kill it, and all of its session, if it still runs. For the end of a test."""
        if self.code is None:
            go_on(self)
            self._process.kill()
        self._process.wait()


class Job(Process):
    """A coordinator."""

    def __init__(self, scene, command, *, output, chunk, events, memory, before, **more):
        self.output = output
        self.chunk = chunk
        self.memory = memory
        self.before = before
        self._events = events
        super().__init__(scene, command, **more)

    def forget(self):
        super().forget()
        for path in (self._events, Path(f"{self._events}.report")):
            path.unlink(missing_ok=True)

    @property
    def endpoint(self):
        """Where workers connect, once it has said so."""
        return wait_until(self._said_endpoint, "it is bound").group(1)

    def _said_endpoint(self):
        over = self.code is not None  # before the look: it may say so and end meanwhile
        found = re.search(r"workers connect with: zaudio worker (\S+)", self.err)
        assert found or not over, self.said
        return found

    def events(self, *kinds):
        """What happened so far, as dicts with ``event``; of those kinds only, if any are named."""
        if not self._events.exists():
            return []
        lines = self._events.read_text().split("\n")[:-1]  # what follows the last one is still being written
        found = [json.loads(line) for line in lines]
        return [event for event in found if not kinds or event["event"] in kinds]

    def wait_for(self, kind, count=1, *, within=PATIENCE):
        """Wait until that many events of that kind happened; returns them."""

        def happened():
            over = self.code is not None  # before the look: it may happen and end meanwhile
            found = self.events(kind)
            assert len(found) >= count or not over, self.said
            return found if len(found) >= count else None

        return wait_until(happened, f"{count} x {kind}", within=within)

    @property
    def written(self):
        """Bytes of ciphertext so far; 0 once they are published."""
        try:
            return (self.output / "result.raw.part").stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def report(self):
        """What it wrote with --report; None when it did not."""
        path = Path(f"{self._events}.report")
        return json.loads(path.read_text()) if path.exists() else None


class Scene:
    """One test's place. A context manager."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.output = self.folder / "out"
        self.path = self.folder / "recording.raw"
        self.host = f"127.{os.getpid() >> 8 & 255 or 1}.{os.getpid() & 255}.{next(_serial) % 254 + 1}"
        self.processes = []
        self.durations = dict(DURATIONS)
        self.temporary = Path(tempfile.mkdtemp(prefix="zc-", dir="/tmp"))  # short, as a socket's address has to be
        self.cleaning = contextlib.ExitStack()  # what a test makes beside processes: mounts, namespaces, proxies
        self.record(CHUNKS * CHUNK)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.end()
        for pid in processes_with(f"TMPDIR={self.temporary}"):
            kill(pid)
        try:
            wait_until(lambda: not processes_with(f"TMPDIR={self.temporary}"), "killed processes are gone")
        finally:
            self.cleaning.close()
            shutil.rmtree(self.temporary, ignore_errors=True)

    def record(self, frames, *, channels=1, format="f32le", seed=1):
        """Make the recording: noise, in which every stretch can be told from any other."""
        self.samples = noise(frames, channels=channels, format=format, seed=seed)
        self.reference = inverted(self.samples).tobytes()
        self.raw = [f"--channels={channels}", f"--format={format}"]
        write_raw(self.path, self.samples)

    def held(self, index, *, chunk=CHUNK, gate="gate"):
        """An op that inverts, and a file: the chunk of that index waits until it is there, so the job cannot end."""
        start, gate = (-(-len(self.samples) // chunk) - 1 - index) * chunk, self.folder / gate
        return f"farm_ops:holds_at:value={float(self.samples[start, 0])!r},gate={gate}", gate

    # Processes

    def coordinator(self, *arguments, workers=0, **settings):
        """Start a coordinator, bound to this scene's address; see `job`."""
        bound = (
            () if any(str(each).startswith("--bind") for each in arguments) else ("--bind", f"tcp://{self.host}:5555")
        )
        command = ["coordinator"] if not workers else ["farm", "-n", workers]
        return self.job(*command, *bound, *arguments, **settings)

    def farm(self, *arguments, workers=2, **settings):
        """Start a coordinator with local workers, not bound anywhere else; see `job`."""
        return self.job("farm", "-n", workers, *arguments, **settings)

    def job(
        self, command, *arguments, op="invert", chunk=CHUNK, memory=32, output=None, input=None, durations=None, **more
    ):
        """Start a job.

        Args:
            command: ``farm`` or ``coordinator``.
            arguments: More of the command line.
            op: What is done; it must be what `invert` does, in effect.
            chunk: Frames a chunk.
            memory: ``--memory``, in MiB.
            output: The folder, `self.output` by default.
            input: The recording, `self.path` by default.
            durations: Fields of Timing, over those of the scene.
            more: Of `Process`: `prefix`, `cwd`, `preexec`, variables of the environment.
        """
        output = Path(output or self.output)
        events = self.folder / f"events-{next(_serial)}"
        line = [
            sys.executable, HERE / "impatient.py", json.dumps({**self.durations, **(durations or {})}), events,
            command, *arguments, input or self.path, "-o", output, "--op", op, "--chunk", f"{chunk}f",
            "--memory", f"{memory}MiB", "--report", f"{events}.report", "--progress", "none", *self.raw,
        ]  # fmt: skip
        settings = {"output": output, "chunk": chunk, "events": events, "memory": memory << 20}
        return Job(self, line, before=snapshot(output), **settings, **more)

    def render(self, output, *arguments, chunk=CHUNK, **more):
        """Start a render of the recording into that file, inverted, with one local worker."""
        line = [
            sys.executable, HERE / "impatient.py", json.dumps(self.durations), self.folder / f"events-{next(_serial)}",
            "render", self.path, output, "--op", "invert", "-n", "1", "--chunk", f"{chunk}f", "--progress", "none",
            *(option.replace("--format", "--input-format") for option in self.raw), *arguments,
        ]  # fmt: skip
        return Process(self, line, **more)

    def worker(self, endpoint, *arguments, **more):
        """Start a worker of that Job, or at that endpoint; it takes the ops of the tests."""
        endpoint = endpoint.endpoint if isinstance(endpoint, Job) else endpoint
        return self.zaudio("worker", endpoint, "--allow", "farm_ops", *arguments, **more)

    def script(self, text, *arguments, **more):
        """Start a Python program given as text."""
        return Process(self, [sys.executable, "-c", text, *arguments], **more)

    def zaudio(self, *arguments, **more):
        """Start any command."""
        return Process(self, [sys.executable, "-m", "zaudio", *arguments], **more)

    def resume(self, job, *arguments, workers=2, within=60_000 * MS, code=0, **more):
        """Do the job again with the command it was started with, and without its faults; returns the finished Job."""
        again = self.farm(*arguments, workers=workers, chunk=job.chunk, output=job.output, **more)
        again.finish(within=within, code=code)
        return again

    def assert_good_worker_completes(self, job, *, within=PATIENCE):
        """A worker that comes now completes the job that is running."""
        worker = self.worker(job, "--once")
        job.finish(within=within, code=0)
        worker.finish(within=10_000 * MS, code=0)
        assert_promises(job)

    # What is left

    def assert_nothing_left(self):
        """No process, no temporary folder and no socket of this scene, once its workers were asked to leave."""
        for process in self.processes:
            go_on(process) if process.code is None else None
            process.signal(signal.SIGTERM)
        for process in self.processes:
            process.finish(within=15_000 * MS)
        wait_until(lambda: not processes_with(f"TMPDIR={self.temporary}"), "all processes have ended", within=5000 * MS)
        assert not list(self.temporary.iterdir()), "temporary files are left"


# Promises


def assert_promises(job):
    """Everything that must hold at any end of a job; see the head of this module."""
    assert job.code is not None, "the job must have ended"
    assert_no_traceback(job)
    killed = job.code < 0 or job.code == 128 + signal.SIGKILL  # strace says it like a shell
    if job.code == 0:
        assert_published(job)
    else:
        assert killed or job.code in FAILURES, job.said
        assert_nothing_half_published(job)
        if not killed:
            assert_one_line_of_cause(job)
    assert_accepted_once(job)
    assert_keys_private(job)
    assert_no_plaintext(job)
    assert job.peak < MEMORY + job.memory, f"P9: it had {job.peak >> 20} MiB"


def assert_published(job):
    """P1, P10: exit 0, so a whole result of this very recording, and nothing of the work on it."""
    assert listing(job.output) == NAMES, f"P1: {listing(job.output)}\n{job.said}"
    assert opened(job.output) == job.scene.reference, "P1: it decrypts to something else"
    content = {name: (job.output / name).read_bytes() for name in NAMES}
    where = int(hashlib.sha256(content["result.raw"]).hexdigest(), 16) % (8 * len(content["result.raw"]))
    changed = bytearray(content["result.raw"])
    changed[where // 8] ^= 1 << where % 8
    assert not agrees(content | {"result.raw": bytes(changed)}), "P10: a changed bit is not found"


def assert_nothing_half_published(job):
    """P1, P6: what lay at the final paths lies there still, unless the instant of publication had come."""
    committed = job.code < 0 or job.code == 128 + signal.SIGKILL or "the result is committed" in job.err
    if (job.output / "result.commit").exists():
        assert committed, f"P6: there is a commit file, and nobody says so\n{job.said}"
        return  # whoever comes next finishes the renames
    after = snapshot(job.output)
    if after == job.before:
        return
    assert committed, f"P6: {sorted(after)} after, {sorted(job.before)} before\n{job.said}"
    assert sorted(after) == NAMES, f"P1: {sorted(after)}"
    assert opened(job.output) == job.scene.reference, "P1: it decrypts to something else"


def assert_no_traceback(process):
    """P11: whatever came, nothing is said in Python's words."""
    assert "Traceback" not in process.out + process.err, process.said


def assert_one_line_of_cause(process):
    """P4, P6: one line of standard error says why, after whatever was warned of."""
    lines = [line for line in process.err.splitlines() if not line.startswith("strace: ")]
    causes = [line for line in lines if re.match("zaudio: (?!warning: |error: )", line)]
    assert len(causes) == 1, process.said
    assert lines[-1] == causes[0], process.said


def assert_accepted_once(job):
    """P2: each chunk was accepted once, and with exit 0 all of them were, but for those of an earlier life."""
    chunks = [event["chunk"] for event in job.events("Accepted")]
    assert len(chunks) == len(set(chunks)), f"P2: accepted twice: {sorted(chunks)}"
    report = job.report
    if job.code == 0 and report is not None:
        resumed = report.get("resumed_chunks", 0)
        assert sum(report["shares"].values()) + resumed >= report["chunks"], f"P2: {report}"
        assert resumed or sum(report["shares"].values()) == report["chunks"], f"P2: {report}"


def assert_keys_private(job):
    """P7: only their owner can read them, whatever the umask, and nobody has said them."""
    for name in ("encryption_key.bin", "encryption_key.bin.part", "encryption_iv.bin", "encryption_iv.bin.part"):
        path = job.output / name
        if (
            not path.is_file()
            or path.is_symlink()
            or (name.removesuffix(".part") in job.before and path.name in job.before)
        ):
            continue
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, f"P7: {name} has mode {path.stat().st_mode:o}"
        if "key" in name and len(key := path.read_bytes()) == 32:
            said = b"".join(stream.read_bytes() for process in job.scene.processes for stream in process.streams)
            for form in (key, key.hex().encode(), key.hex().upper().encode(), repr(bytes(key))[2:-1].encode()):
                assert form not in said, "P7: the key was said"


def assert_no_plaintext(job):
    """P12: no 16 bytes of the recording, forward or reversed, processed or not, are in any file that a job leaves."""
    for folder in (job.output, job.scene.temporary):
        for path in sorted(_files(folder)):
            with contextlib.suppress(FileNotFoundError):  # the starter of a killed job, or another job, removes its own
                assert not has_samples(path.read_bytes(), job.scene.samples), f"P12: {path} holds plaintext"


def _files(folder):
    """The regular files in a folder and below, whatever is removed meanwhile."""
    for place, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(place, name)).is_file() and not path.is_symlink())


def has_samples(content, samples):
    """Whether four of these 4-byte samples, or of their negatives, are next to each other in those bytes."""
    if samples.dtype.itemsize != 4:
        return any(block in content for block in _blocks(samples))
    words = np.concatenate([samples.ravel(), inverted(samples).ravel()]).view("<u4")
    high = np.zeros(1 << 16, bool)
    high[words >> 16] = True  # noise has few exponents: this leaves almost nothing of a ciphertext
    for shift in range(4):
        piece = (
            np.frombuffer(content, "<u4", offset=shift, count=max(0, len(content) - shift) // 4)
            if len(content) > shift
            else words[:0]
        )
        if len(piece) < 4:
            continue
        candidate = high[piece >> 16]
        runs = candidate[:-3] & candidate[1:-2] & candidate[2:-1] & candidate[3:]
        # A dozen of them are left, so that to look for each costs less than a set of all samples.
        if any(all((words == word).any() for word in piece[start : start + 4]) for start in np.flatnonzero(runs)):
            return True
    return False


def _blocks(samples):
    """Pieces of the recording as it is, processed, and reversed, from many places."""
    for form in (samples, samples[::-1], inverted(samples), inverted(samples)[::-1]):
        content = np.ascontiguousarray(form).tobytes()
        for start in range(0, max(1, len(content) - 48), max(1, len(content) // 64)):
            yield content[start : start + 48]


# Looking at results, without the package


def agrees(content):
    """Whether the tag of a result, as a dict of its files, agrees."""
    key, iv, ciphertext, document = (
        content[name] for name in ("encryption_key.bin", "encryption_iv.bin", "result.raw", "result.json")
    )
    description, tag = document[19:-80], document[-68:-4].decode()
    extracted = hmac.digest(b"zaudio result 1", key, hashlib.sha256)
    tag_key = hmac.digest(extracted, b"tag HMAC-SHA256" + b"\x01", hashlib.sha256)
    covered = b"zaudio result 1: description, IV, ciphertext\n" + struct.pack(">Q", len(description)) + description
    covered += iv + ciphertext + struct.pack(">Q", len(ciphertext))
    return hmac.compare_digest(hmac.new(tag_key, covered, hashlib.sha256).hexdigest(), tag)


def opened(folder):
    """The plaintext of a result: its tag is checked, then it is decrypted and the padding taken off."""
    content = {name: (Path(folder) / name).read_bytes() for name in NAMES}
    assert agrees(content), "the tag does not agree"
    cipher = Cipher(algorithms.AES(content["encryption_key.bin"]), modes.CBC(content["encryption_iv.bin"])).decryptor()
    padded = cipher.update(content["result.raw"]) + cipher.finalize()
    assert padded[-padded[-1] :] == bytes([padded[-1]]) * padded[-1], "the padding is wrong"
    return padded[: -padded[-1]]


def listing(folder):
    """What lies in a folder, by name."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def snapshot(folder):
    """What lies at the final paths: content by name."""
    return {name: Path(folder, name).read_bytes() for name in NAMES if Path(folder, name).is_file()}


def running(process):
    """Whether it runs."""
    return process.code is None and alive(process.pid)
