"""What lies at the output's place already: refused before any chunk is granted, and left as it was."""

import os
import stat
import subprocess

import pytest
from farm_support import NAMES
from faults import need, small_disk
from harness import assert_promises, listing, snapshot
from net_support import wait_until


def assert_refused_before_any_chunk(job, sentence):
    """The worker that waits for it is never welcomed."""
    job.finish(code=2)
    assert sentence in job.err, job.said
    assert job.events() == []
    assert_promises(job)


def test_result_that_is_there_is_not_replaced_unasked(scene):
    first = scene.farm()
    first.finish(code=0)
    before = snapshot(scene.output)
    scene.record(100_000, seed=2)
    job = scene.farm()
    assert_refused_before_any_chunk(job, "--overwrite")
    assert snapshot(scene.output) == before
    again = scene.farm("--overwrite")
    again.finish(code=0)
    assert_promises(again)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), stat.S_ISLNK),
        (os.mkfifo, stat.S_ISFIFO),
        (os.mkdir, stat.S_ISDIR),
    ],
    ids=["symlink", "FIFO", "folder"],
)
def test_name_that_is_taken_by_no_file_is_refused(scene, name, make, kind):
    scene.output.mkdir()
    make(scene.output / name)
    job = scene.farm("--overwrite")
    assert_refused_before_any_chunk(job, name)
    assert kind((scene.output / name).lstat().st_mode), "it is still what it was"
    assert listing(scene.output) == [name]


def test_folder_that_is_a_file_is_refused(scene):
    scene.output.write_text("a file")
    job = scene.farm()
    assert_refused_before_any_chunk(job, str(scene.output))
    assert scene.output.read_text() == "a file"


def test_file_system_that_is_read_only_is_refused(scene):
    scene.cleaning.enter_context(small_disk(scene.output, 1 << 20))
    subprocess.run(["mount", "-o", "remount,ro", str(scene.output)], check=True)
    job = scene.farm()
    assert_refused_before_any_chunk(job, "cannot be written to")


def test_folder_without_the_right_to_write_is_refused(scene):
    need("setpriv", root=True)
    scene.output.mkdir(mode=0o555)
    # Root without its powers is bound by modes like anybody, and can still read the package wherever it lies.
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    job = scene.farm(prefix=powerless)
    assert_refused_before_any_chunk(job, "cannot be written to")


def test_umask_of_nothing_leaves_keys_to_their_owner_alone(scene):
    before = os.umask(0)
    try:
        job = scene.farm(op="farm_ops:slow:ms=20")
    finally:
        os.umask(before)
    key = scene.output / "encryption_key.bin.part"
    wait_until(lambda: key.exists() or job.code is not None, "there is a key")
    job.wait_for("Accepted")
    for name in ("encryption_key.bin.part", "encryption_iv.bin.part"):
        assert stat.S_IMODE((scene.output / name).stat().st_mode) == 0o600, name
    job.finish(code=0)
    assert_promises(job)
    assert listing(scene.output) == NAMES
    assert stat.S_IMODE((scene.output / "result.raw").stat().st_mode) == 0o666, "the umask was 000"
