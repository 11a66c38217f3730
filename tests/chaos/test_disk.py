"""Disks that are full, broken or slow: the job ends, names the cause, publishes nothing, and a resume finishes it."""

import signal
import struct
import subprocess
from contextlib import suppress

import pytest
from faults import FSYNCS, WRITES, came, delay, eio, enospc, small_disk
from harness import CHUNK, assert_promises, snapshot
from instants import FEW, FRAMES, PARTS, at, instants, of_part
from net_support import MS, alive, children, kill, wait_until

NAMES = "renameat,renameat2,unlinkat,openat"
FEW_AT = {  # an instant of each kind of call
    WRITES: ("write", "result.raw.part", 2),
    FSYNCS: ("fsync", "result.raw.part", 2),
    NAMES: ("renameat", "result.raw.part", 1),
}


@pytest.fixture
def fragile(scene):
    """A scene with a recording of 2 MB and a checkpoint after each write."""
    scene.record(FRAMES)
    scene.durations["checkpoint"] = 0.0
    return scene


def checkpoints(folder):
    """The ciphertext lengths that the journal in that folder vouches for."""
    if not (folder / "result.journal").exists():
        return []  # none was written, so nothing is kept
    content = (folder / "result.journal").read_bytes()
    lengths, position = [], content.index(b"\n") + 1
    while position + 4 <= len(content):
        (size,) = struct.unpack_from(">I", content, position)
        if size == 48:
            lengths.append(struct.unpack_from(">Q", content, position + 12)[0])
        position += 4 + size + 32
    return lengths


def fails_at(scene, instant, folder, fault, word):
    """Do a job with that fault; it ends with that word and is resumed. Returns whether the fault came."""
    log = folder.with_suffix(".log")
    job = scene.farm(workers=1, output=folder, prefix=at(folder, instant, fault, log=log))
    job.finish()
    try:
        assert_promises(job)
        if came(log):
            # A folder that cannot be opened is one that cannot be used.
            assert job.code == (2 if instant[0] == "openat" and instant[1] == "." else 1), job.said
            assert word in job.err
            assert str(folder) in job.err, "the file is named"
            if instant[:2] == ("fsync", "result.raw.part"):
                assert len(checkpoints(folder)) == instant[2] - 1, "nothing counts that was written since"
            assert_promises(scene.resume(job, workers=1))
    except AssertionError as error:
        raise AssertionError(f"{word} at {instant}: {error}") from error
    return came(log)


@pytest.mark.covers(
    "ENOSPC at every write, EIO at every fsync, rename, unlink and open in the folder",
    number=27,
    note="a full disk at one write in `make test`, one in ten in `make test-all`, all in `make chaos`",
    bound=(
        "exit 1 and the file's name, nothing half published, resume S; no checkpoint counts what a failed fsync was for"
    ),
    measured="so for each",
    removed="`writer.py`: `os.fsync(self._fd)` in `_save` (swallowed: exit 0; after the checkpoint: one too many)",
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("calls", "fault", "word"),
    [
        pytest.param(WRITES, enospc, "No space left on device", id="full"),
        pytest.param(FSYNCS, eio, "Input/output error", id="broken", marks=pytest.mark.extended),
        pytest.param(NAMES, eio, "Input/output error", id="names", marks=pytest.mark.chaos),
    ],
)
def test_failed_system_call_ends_the_job_and_a_resume_finishes_it(fragile, calls, fault, word, part):
    if part == FEW:
        chosen = [(0, FEW_AT[calls])]
    else:
        # A journal that cannot be removed when all is done harms nobody: the next start finds that all is done.
        harmful = [instant for instant in instants(fragile, calls) if instant[:2] != ("unlinkat", "result.journal")]
        chosen = of_part(harmful, part)
    failed = [fails_at(fragile, instant, fragile.folder / f"out{n}", fault, word) for n, instant in chosen]
    # How many pieces are written is not the same each time, so the last instants of a part may not come.
    assert any(failed), "some of them came"


@pytest.mark.covers(
    "a file system of 3 MiB that gets full; one with an older result",
    number=27,
    bound="exit 1; with more room, resume S",
    measured="so",
    removed=(
        "`pipeline.py`: `self._fail(error)` (the first); removing the older files in `ResultWriter.start` (the second)"
    ),
)
def test_disk_that_is_full_ends_the_job_and_more_room_lets_it_finish(fragile):
    fragile.cleaning.enter_context(small_disk(fragile.output, 3 << 20))
    op, gate = fragile.held(5)  # so that it does not end before, and little is written at once
    job = fragile.farm(op=op, workers=1)
    job.wait_for("Accepted", 2)
    with suppress(OSError), open(fragile.output / "other", "wb", buffering=0) as other:
        while other.write(bytes(4096)):  # there was room when the job began
            pass
    gate.touch()
    job.finish(code=1)
    (fragile.output / "other").unlink()
    assert "No space left on device" in job.err
    assert_promises(job)
    kept = checkpoints(fragile.output)
    subprocess.run(["mount", "-o", f"remount,size={16 << 20}", str(fragile.output)], check=True)
    again = fragile.resume(job, op=op)
    assert_promises(again)
    first = fragile.samples.nbytes % (CHUNK * 4)  # the recording's last chunk is a short one
    assert first
    # A machine may be too busy for a checkpoint of a whole chunk.
    assert (again.report["resumed_chunks"] >= 1) == (max(kept, default=0) >= first)


@pytest.mark.covers("a file system of 3 MiB that gets full; one with an older result")
@pytest.mark.extended
def test_disk_that_is_full_leaves_an_older_result_as_it_was(fragile):
    fragile.cleaning.enter_context(small_disk(fragile.output, 3 << 20))
    fragile.farm().finish(code=0)
    before = snapshot(fragile.output)
    job = fragile.farm("--overwrite")
    job.finish(code=1)
    assert_promises(job)
    assert snapshot(fragile.output) == before


def stuck(scene, patience):
    """A job that is interrupted while its disk does not answer an fsync, and the process id of its coordinator.

    Args:
        scene: Where it runs.
        patience: Seconds for which the interrupted job waits for the disk.
    """
    scene.durations["join"] = patience
    scene.durations["checkpoint"] = 1000.0  # so that the first one is that of the interruption
    log = scene.folder / "fsyncs"
    prefix = delay(60_000 * MS, paths=[scene.output / "result.raw.part"], log=log)
    job = scene.farm(op=scene.held(12)[0], prefix=prefix)
    wait_until(lambda: job.written, "something is written")  # that an fsync would be for
    (coordinator,) = children(job.pid)
    kill(coordinator, signal.SIGINT)
    wait_until(lambda: "fsync(" in log.read_text(), "the signal was heard, and the disk asked")
    return job, coordinator


def ended(job, pid):
    """The exit code of the coordinator of a job under strace; None while it runs."""
    if alive(pid):
        return None
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().split()[-1]) >> 8
    except (FileNotFoundError, ProcessLookupError):  # strace has forgotten it, and says the same
        return job.code


@pytest.mark.covers(
    "SIGINT while an fsync does not return; while all workers are stopped",
    number=26,
    bound="exit 130 within 5 s",
    measured="2.2 s, 1.2 s",
    removed=(
        "`writer.py`: `JOIN_TIMEOUT` (the first); `supervisor.py`: `LIFELINE_PATIENCE` and `starter.py`: "
        "`CLOSE_PATIENCE` together (the second)"
    ),
)
@pytest.mark.extended
def test_disk_that_does_not_answer_holds_up_an_interruption_for_less_than_5_s(scene):
    job, coordinator = stuck(scene, 2000 * MS)
    assert wait_until(lambda: ended(job, coordinator), "it ends", within=5000 * MS) == 130
    job.end()  # strace keeps a thread that it delays, though its process is long gone
    assert "zaudio: interrupted" in job.err
    assert_promises(job)


@pytest.mark.covers(
    "a second SIGINT",
    number=26,
    bound="exit 130 within 0.5 s",
    measured="within it",
    removed="`exit.py`: `exit_at_once(number)`",
)
def test_second_interruption_is_obeyed_at_once(scene):
    job, coordinator = stuck(scene, 60_000 * MS)  # the first alone would not end it while this test lasts
    kill(coordinator, signal.SIGINT)
    assert wait_until(lambda: ended(job, coordinator), "it ends", within=500 * MS) == 130
    job.end()
    assert_promises(job)
