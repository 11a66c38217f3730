"""Recordings that change while they are read: the job ends, names the file, and blames no chunk and no worker."""

import os

import pytest
from extended import named, product
from farm_support import noise, write_raw
from harness import CHUNK, assert_promises, listing
from net_support import wait_until

FRAMES = 40 * CHUNK


def shrink(path):
    os.truncate(path, 2 * CHUNK * 4)  # a part of what is still to be read is gone


def grow(path):
    with path.open("ab") as stream:
        stream.write(bytes(4))


def rewrite(path):
    with path.open("r+b") as stream:
        stream.write(noise(FRAMES, seed=2).tobytes())


def replace(path):
    other = path.with_suffix(".other")
    write_raw(other, noise(FRAMES, seed=2))
    other.replace(path)


def remove(path):
    path.unlink()


CHANGES = {
    shrink: "had 6400000 bytes when it was opened and has 320000 now",
    grow: "had 6400000 bytes when it was opened and has 6400004 now",
    rewrite: "was written to since it was opened",
    replace: "was replaced by another file since it was opened",
    remove: "is gone since it was opened",
}
LANES = {
    "workers that read the file": lambda scene, op: (scene.farm(op=op), ()),
    "local workers over sockets": lambda scene, op: (scene.farm("--sockets-only", op=op), ()),
    "workers from elsewhere": lambda scene, op: from_elsewhere(scene, op),
}


# Each change, and each lane.
KEPT = [(shrink, "workers that read the file"), (rewrite, "workers from elsewhere")]


def from_elsewhere(scene, op):
    job = scene.coordinator(op=op)
    return job, [scene.worker(job, "--once") for _ in range(2)]


@pytest.mark.covers(
    "the recording shrinks, grows, is rewritten, replaced or removed while it is read, on three lanes",
    number=30,
    note="two changes, on two of them; each on all: `make test-all`",
    bound="exit 3 and the file's name, no chunk named",
    measured="so for 5 changes x 3 lanes",
    removed=(
        "three together, since each finds most: `files.py`: `check_descriptor()` after a read (both), "
        "`job/ready.py`: `self.shared.source.check()`"
    ),
)
@pytest.mark.parametrize(("change", "lane"), product(CHANGES, LANES, keep=KEPT), ids=named)
def test_recording_that_changes_ends_the_job_and_is_named(scene, change, lane):
    scene.record(FRAMES)
    gate = scene.folder / "gate"
    job, workers = LANES[lane](scene, f"farm_ops:gated:gate={gate}")
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 2, "both workers are at it")
    change(scene.path)
    gate.touch()
    job.finish(code=3)
    (line,) = (line for line in job.err.splitlines() if str(scene.path) in line)
    assert CHANGES[change] in line
    assert "chunk" not in line, "no chunk is to blame"
    assert_promises(job)
    for worker in workers:
        worker.finish(code=0)


@pytest.mark.covers(
    "... when all of it was read",
    number=30,
    bound="exit 3, nothing published",
    measured="exit 3",
    removed="`job/ready.py`: `self.shared.source.check()`",
)
def test_recording_that_changes_when_all_was_read_is_not_published(scene):
    gate = scene.folder / "gate"
    scene.record(2 * CHUNK)  # both chunks are read before any result comes
    job = scene.farm("--sockets-only", op=f"farm_ops:gated:gate={gate}")
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 2, "both workers are at it")
    rewrite(scene.path)
    gate.touch()
    job.finish(code=3)
    assert_promises(job)
    assert not set(listing(scene.output)) & {"result.raw", "result.json"}
