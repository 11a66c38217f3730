"""Recordings that workers read themselves, results in shared memory: when it is done, when not, and faults in it."""

import os
import re
import shutil
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from extended import extended
from farm_support import (
    NAMES,
    PATIENT,
    PROMPT,
    decrypted,
    finish,
    inverted,
    launch,
    launch_script,
    listing,
    noise,
    numbered,
    on,
    openssl_decrypted,
    write_raw,
)
from net_support import PATIENCE, alive, kill, wait_until

from zaudio import Coordinator, Network, Worker
from zaudio.errors import ChunkError, InputChangedError
from zaudio.events import Joined, Lost, Requeued
from zaudio.net import farm as farms
from zaudio.net.outbox import Outboxes
from zaudio.wire.messages import Chunk

CHUNK = 40_000  # frames of 4 bytes: long enough to travel alone
CHUNKS = 8
EXPECTED = inverted(numbered(CHUNKS * CHUNK)).tobytes()


class Travel:
    """How the chunks of a job of this process went down, and how results came up."""

    def __init__(self):
        self.payloads = 0  # chunks that travelled
        self.references = 0  # chunks that the worker was to read itself
        self.outboxes = []  # the outbox of each result that was copied out of one


@pytest.fixture
def travel(monkeypatch):
    seen, encode, copy = Travel(), farms.encode, Outboxes.copy

    def counting_encode(message, payload=None):
        if isinstance(message, Chunk):
            seen.references += payload is None
            seen.payloads += payload is not None
        return encode(message, payload)

    def counting_copy(self, token, slot, buffer):
        seen.outboxes.append(token)
        return copy(self, token, slot, buffer)

    monkeypatch.setattr(farms, "encode", counting_encode)
    monkeypatch.setattr(Outboxes, "copy", counting_copy)
    return seen


@pytest.fixture
def recording(tmp_path):
    return write_raw(tmp_path / "x.raw", numbered(CHUNKS * CHUNK))


def gated(recording, tmp_path, **settings):
    """A job whose workers wait until `gate` is there."""
    settings = {"workers": 2, "chunk": f"{CHUNK}f", "timing": PATIENT, **settings}
    return Coordinator(recording, tmp_path / "out", ops=f"farm_ops:gated:gate={tmp_path / 'gate'}", **settings)


def at_the_gate(tmp_path):
    return [int(path.suffix[1:]) for path in tmp_path.glob("gate.*")]


def both_at_the_gate(tmp_path):
    return wait_until(lambda: at_the_gate(tmp_path) if len(at_the_gate(tmp_path)) == 2 else None, "both are at it")


# What travels


def test_local_workers_read_raw_samples_and_leave_results_themselves(tmp_path, recording, travel):
    Coordinator(recording, tmp_path / "out", workers=2, chunk=f"{CHUNK}f").run()
    assert (travel.payloads, len(set(travel.outboxes)) in (1, 2)) == (0, True)
    assert travel.references >= CHUNKS
    assert len(travel.outboxes) >= CHUNKS
    assert decrypted(tmp_path / "out") == EXPECTED


def test_with_sockets_only_everything_travels(tmp_path, recording, travel):
    Coordinator(recording, tmp_path / "out", workers=2, chunk=f"{CHUNK}f", network=Network(sockets_only=True)).run()
    assert (travel.references, travel.outboxes) == (0, [])
    assert travel.payloads >= CHUNKS
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.parametrize(
    ("suffix", "sized", "by_reference"),
    [extended("wav", False, True), ("wav", True, True), extended("flac", True, False)],
)
def test_samples_behind_a_header_are_read_there_and_those_that_a_library_reads_travel(
    tmp_path, travel, suffix, sized, by_reference
):
    path = tmp_path / f"x.{suffix}"
    samples = noise(30_011, channels=2, format="s16le")
    soundfile.write(path, samples, 48000, subtype="PCM_16")
    if not sized:  # as a recorder leaves it that was cut off, or wrote to a pipe
        content = path.read_bytes()
        assert content[36:40] == b"data"
        path.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    report = Coordinator(path, tmp_path / "out", workers=2, chunk="7000f").run()
    assert (travel.payloads == 0, travel.references == 0) == (by_reference, not by_reference)
    assert travel.outboxes
    assert (report.format, report.frames) == ("s16le", 30_011)
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    assert openssl_decrypted(tmp_path / "out") == inverted(samples).tobytes()


def unavailable(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["memfd_create", extended("posix_fallocate")])
def test_job_without_shared_memory_goes_over_sockets(tmp_path, recording, travel, monkeypatch, name):
    monkeypatch.setattr(os, name, unavailable)
    Coordinator(recording, tmp_path / "out", workers=2, chunk=f"{CHUNK}f").run()
    assert (travel.references, travel.outboxes) == (0, [])
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_recording_that_is_called_something_odd_comes_through(tmp_path, travel):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.raw")  # no UTF-8, so no message can name it
    numbered(5000).tofile(path)
    Coordinator(os.fsdecode(path), tmp_path / "out", workers=1, chunk="999f").run()
    assert travel.references == 0
    assert travel.outboxes
    assert decrypted(tmp_path / "out") == inverted(numbered(5000)).tobytes()


# Workers from elsewhere that share the file


def in_a_thread(worker):
    thread = threading.Thread(target=worker.run)
    thread.start()
    return thread


def test_worker_from_elsewhere_reads_below_its_folders(tmp_path, recording, travel):
    with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0", chunk=f"{CHUNK}f") as job:
        thread = in_a_thread(Worker(job.endpoint, read=[str(tmp_path)], once=True))
        job.wait(timeout=PATIENCE)
        thread.join(PATIENCE)
    assert (travel.payloads, travel.references, travel.outboxes) == (0, CHUNKS, [])
    assert decrypted(tmp_path / "out") == EXPECTED


def rewritten(path):
    """Another take of the same length and time."""
    stamp = os.stat(path).st_mtime_ns
    shutil.copy(path, f"{path}.other")
    with open(f"{path}.other", "r+b") as stream:
        stream.write(np.float32(7).tobytes())
    os.utime(f"{path}.other", ns=(stamp, stamp))
    os.replace(f"{path}.other", path)


def copied_later(path):
    shutil.copy(path, f"{path}.other")
    os.utime(f"{path}.other", ns=(1, 1))
    os.replace(f"{path}.other", path)


def a_folder(path):
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize("change", [rewritten, *map(extended, (copied_later, os.unlink, a_folder))])
def test_worker_that_sees_another_file_there_gets_payloads(tmp_path, recording, travel, change):
    with gated(recording, tmp_path, workers=None, bind="tcp://127.0.0.1:0") as job:
        os.link(recording, tmp_path / "kept")
        change(recording)  # as another machine may see it; the coordinator has the file open
        thread = in_a_thread(Worker(job.endpoint, allow=["farm_ops"], read=["/"], once=True))
        wait_until(lambda: at_the_gate(tmp_path), "it is at it")
        if change is a_folder:
            os.rmdir(recording)
        os.replace(tmp_path / "kept", recording)
        (tmp_path / "gate").touch()
        job.wait(timeout=PATIENCE)
        thread.join(PATIENCE)
    assert (travel.payloads, travel.references) == (CHUNKS, 0)
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
@pytest.mark.parametrize("processes", [1, 2])
def test_worker_command_with_a_shared_folder_reads_there(tmp_path, recording, travel, processes):
    with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0", chunk=f"{CHUNK}f") as job:
        command = launch("worker", job.endpoint, "-n", processes, "--read", tmp_path)
        job.wait(timeout=PATIENCE)
    command.send_signal(signal.SIGTERM)
    assert finish(command)[0] == 0
    assert travel.payloads == 0
    assert travel.references >= CHUNKS
    assert decrypted(tmp_path / "out") == EXPECTED


# A recording that changes


def grow(path):
    with open(path, "ab") as stream:
        stream.write(bytes(4))


def rewrite(path):
    with open(path, "r+b") as stream:
        stream.write(np.float32(7).tobytes())


def shrink(path):
    os.truncate(path, 4)


@pytest.mark.extended
@pytest.mark.parametrize("change", [grow, rewrite, shrink])
def test_change_under_the_hands_of_local_workers_is_the_recordings_fault_and_no_chunks(tmp_path, recording, change):
    events = []
    with gated(recording, tmp_path, on_event=events.append) as job:
        both_at_the_gate(tmp_path)
        change(recording)
        (tmp_path / "gate").touch()
        with pytest.raises(InputChangedError) as failure:
            job.wait(timeout=PATIENCE)
    assert failure.value.path == recording
    assert not [event for event in events if isinstance(event, Requeued)]
    assert not set(listing(tmp_path / "out")) & set(NAMES)


# Workers that die with slots in hand


@pytest.mark.extended
def test_worker_that_takes_the_place_of_a_killed_one_leaves_its_results_in_the_same_place(tmp_path, recording, travel):
    with gated(recording, tmp_path, workers=1) as job:
        (first,) = wait_until(lambda: at_the_gate(tmp_path), "it is at it")
        kill(first)
        wait_until(lambda: len(at_the_gate(tmp_path)) == 2, "another took its place")
        (tmp_path / "gate").touch()
        report = job.wait(timeout=PATIENCE)
    assert report.requeued >= 2, "all that it held"
    assert (report.lost, report.workers) == (1, 1), "both were called the same"
    assert [loss.worker for loss in report.losses] == ["local-1"]
    assert "SIGKILL" in report.losses[0].reason
    assert report.shares == {"local-1": CHUNKS}
    assert (travel.payloads, len(set(travel.outboxes)), len(travel.outboxes)) == (0, 1, CHUNKS)
    assert decrypted(tmp_path / "out") == EXPECTED


@on("shared memory")
def test_stopped_local_worker_is_lost_killed_and_replaced(tmp_path, recording, lane):
    events = []
    with gated(recording, tmp_path, timing=PROMPT, on_event=events.append, **lane) as job:
        stopped, other = both_at_the_gate(tmp_path)
        kill(stopped, signal.SIGSTOP)
        wait_until(lambda: not alive(stopped), "it is killed")
        wait_until(lambda: len(at_the_gate(tmp_path)) == 3, "another took its place")
        assert alive(other)
        (tmp_path / "gate").touch()
        report = job.wait(timeout=PATIENCE)
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert re.fullmatch(r"no sign of life for \d+\.\d s", lost.reason)
    assert [event.worker for event in events if isinstance(event, Joined)].count(lost.worker) == 2
    assert report.requeued >= 1
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_op_that_keeps_the_interpreter_to_itself_is_killed_and_its_chunk_is_to_blame(tmp_path, recording):
    timing = replace(PROMPT, liveness=4)  # a chunk has minutes: silence comes first
    op = f"farm_ops:hogs_at:value={2 * CHUNK},tally={tmp_path}/tally,times=9"
    job = Coordinator(recording, tmp_path / "out", ops=op, workers=2, chunk=f"{CHUNK}f", timing=timing)
    with pytest.raises(ChunkError) as failure:
        job.run()
    error = failure.value
    assert (error.index, error.start, error.stop) == (CHUNKS - 3, 2 * CHUNK, 3 * CHUNK)
    assert len(error.causes) == 3
    assert all(re.fullmatch(r"worker local-\d: no sign of life for \d+\.\d s", cause) for cause in error.causes)
    assert not set(listing(tmp_path / "out")) & set(NAMES)


@pytest.mark.extended
def test_program_that_ends_without_waiting_for_its_job_says_so_and_leaves_nothing(tmp_path, recording):
    process = launch_script(
        "import sys, os, time; from zaudio import Coordinator\n"
        "job = Coordinator(*sys.argv[1:3], ops='farm_ops:gated:gate=' + sys.argv[3], workers=2)\n"
        "job.start()\n"
        "folder = os.path.dirname(sys.argv[3])\n"
        "while not [name for name in os.listdir(folder) if name.startswith('gate.')]: time.sleep(0.01)\n"
        "print(len(os.listdir(sys.argv[2])))\n",
        recording,
        tmp_path / "out",
        tmp_path / "gate",
    )
    code, out, err = finish(process)
    assert code == 1
    assert "the job was abandoned: the program ended, and nothing called wait()" in err
    assert int(out) > 0, "the job had begun to write"
    assert listing(tmp_path / "out") == []
    assert os.listdir(os.environ["TMPDIR"]) == []


# Small chunks travel in runs


SMALL = 100  # frames a chunk; ten of them a run, by the rule of 64 runs
MANY = 640


@on("shared memory")
def test_small_chunks_of_a_slow_op_are_shared_evenly(tmp_path, lane):
    samples = noise(SMALL * MANY)
    path = write_raw(tmp_path / "x.raw", samples)
    ops = [f"farm_ops:gated:gate={tmp_path / 'gate'}", "farm_ops:slow:ms=5", "invert"]
    with Coordinator(path, tmp_path / "out", ops=ops, workers=4, chunk=f"{SMALL}f", **lane) as job:
        wait_until(lambda: len(at_the_gate(tmp_path)) == 4, "all are at it")
        (tmp_path / "gate").touch()
        report = job.wait(timeout=PATIENCE)
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    assert sum(report.shares.values()) == report.chunks == MANY
    assert len(report.shares) == 4
    assert min(report.shares.values()) >= MANY / 4 / 4, "on a busy machine one of them may be slower"


@pytest.mark.parametrize("chunk", [*map(extended, (0, 123)), 129, extended(MANY - 1)])
def test_failure_in_a_run_names_the_very_chunk(tmp_path, chunk):
    path = write_raw(tmp_path / "x.raw", numbered(SMALL * MANY - 1))
    op = f"farm_ops:raises_at:value={chunk * SMALL}"
    job = Coordinator(path, tmp_path / "out", ops=op, workers=2, chunk=f"{SMALL}f")
    with pytest.raises(ChunkError, match=f"there is a {chunk * SMALL:g} on track one") as failure:
        job.run()
    error = failure.value
    assert (error.index, error.start) == (MANY - 1 - chunk, chunk * SMALL)
    assert error.stop == min((chunk + 1) * SMALL, SMALL * MANY - 1)
    assert len(error.causes) == 3
