"""A coordinator killed at every system call that changes its folder, the publication included: a resume finishes."""

import pytest
from farm_support import NAMES
from faults import crash_at_syscall
from harness import assert_promises, listing, opened, slow
from instants import FEW, FRAMES, PARTS, at, instants, of_part

LEAST = 40  # system calls; a job that writes a checkpoint after each write makes more of them, however slow the disk
MOST = "most of them were reached; how many pieces are written is not the same each time"
HALFWAY = ("fsync", "result.raw.part", 3)  # behind two checkpoints; on a slow disk there are not many more
PUBLISHED = ("renameat", "result.raw.part", 1)  # behind the instant of publication: the files have no names yet


@pytest.fixture
def crashing(scene):
    """A scene with a recording of 2 MB and a checkpoint after each write."""
    scene.record(FRAMES)
    scene.durations["checkpoint"] = 0.0
    return scene


@pytest.mark.covers(
    "SIGKILL before every system call that changes the folder or is its lock, with a checkpoint after each "
    "write of a 2 MB job: 86 instants, the publication included",
    number=21,
    note="two in `make test`, one in ten and the whole publication in `make test-all`, all in `make chaos`",
    bound="resume S",
    measured=(
        "S after each; in a job's second life too "
        "(`::test_coordinator_killed_again_in_its_second_life_is_resumed`, `make chaos`)"
    ),
    removed=(
        "`folder.py`: `publication.recover(...)`, `resume.was_published(...)`; `writer.py`: `os.lseek(self._fd, "
        "held.length, os.SEEK_SET)`"
    ),
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
def test_coordinator_killed_at_a_system_call_is_resumed(crashing, part):
    if part == FEW:
        chosen = list(enumerate([HALFWAY, PUBLISHED]))
    else:
        calls = instants(crashing)
        assert len(calls) >= LEAST
        chosen = of_part(calls, part, publishes)
    killed = [killed_at(crashing, instant, crashing.folder / f"out{n}") for n, instant in chosen]
    assert sum(killed) >= len(killed) / 2, MOST


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(10))
def test_coordinator_killed_again_in_its_second_life_is_resumed(crashing, part):
    def first_life(folder):
        job = crashing.farm(workers=1, output=folder, prefix=at(folder, HALFWAY, crash_at_syscall))
        assert job.finish() != 0

    killed = []
    calls = instants(crashing, before=first_life)
    for n, instant in of_part(calls, part, publishes):
        folder = crashing.folder / f"out{n}"
        first_life(folder)
        killed.append(killed_at(crashing, instant, folder))
    assert sum(killed) >= len(killed) / 2, MOST


def publishes(instant):
    """Return whether names change, or the file is written that says which."""
    call, path, _ = instant
    return call.startswith(("rename", "unlink")) or path.startswith("result.commit")


def killed_at(scene, instant, folder):
    """Do a job that is killed at that instant, and resume it; returns whether that instant came."""
    job = scene.farm(workers=1, output=folder, prefix=at(folder, instant, crash_at_syscall))
    killed = job.finish() != 0
    try:
        assert_promises(job)
        if killed:  # else that instant did not come: several chunks were written at once
            assert_promises(scene.resume(job, workers=1))
        assert listing(folder) == NAMES
        assert opened(folder) == scene.reference
    except AssertionError as error:
        raise AssertionError(f"killed before {instant}: {error}") from error
    return killed


@pytest.mark.extended
def test_redone_is_only_what_no_checkpoint_vouches_for(crashing):
    op = slow(50)  # so that they are written one by one, unless the disk is slow: then there is no third fsync
    job = crashing.farm(workers=1, op=op, prefix=at(crashing.output, HALFWAY, crash_at_syscall))
    job.finish()
    again = crashing.resume(job, op=op)
    assert_promises(again)
    assert again.report["resumed_chunks"] >= 2, "two checkpoints were written, each after a chunk at least"
    assert sum(again.report["shares"].values()) <= again.report["chunks"] - 2
