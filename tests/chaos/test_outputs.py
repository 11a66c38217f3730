"""What lies at the output's place already: refused before any chunk is granted, and left as it was."""

import os
import stat
import subprocess

import pytest
from extended import product
from farm_support import NAMES
from faults import need, small_disk
from harness import assert_promises, listing, snapshot
from net_support import wait_until

KINDS = {
    "symlink": (lambda path: path.symlink_to("/etc/hostname"), stat.S_ISLNK),
    "FIFO": (os.mkfifo, stat.S_ISFIFO),
    "folder": (os.mkdir, stat.S_ISDIR),
}


def assert_refused_before_any_chunk(job, sentence):
    """The worker that waits for it is never welcomed."""
    job.finish(code=2)
    assert sentence in job.err, job.said
    assert [event["event"] for event in job.events()] == ["Failed"], "it ended, and nothing else happened"
    assert_promises(job)


@pytest.mark.covers(
    "a result is there already",
    number=28,
    bound="exit 2 before any chunk, nothing changed",
    measured="exit 2, no event but its end",
    removed="`folder.py`: `self._check_names()` in `_claim`",
)
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


@pytest.mark.covers(
    "a name is taken by a symbolic link, a FIFO or a folder",
    number=28,
    note="a link; each kind with each name: `make test-all`",
    bound="exit 2 before any chunk, it stays what it was",
    measured="so for 4 names x 3 kinds",
    removed="`publication.py`: `if not stat.S_ISREG(status.st_mode):`",
)
@pytest.mark.parametrize(("name", "kind"), product(NAMES, KINDS, keep=[("result.raw", "symlink")]))
def test_name_that_is_taken_by_no_file_is_refused(scene, name, kind):
    make, is_still = KINDS[kind]
    scene.output.mkdir()
    make(scene.output / name)
    job = scene.farm("--overwrite")
    assert_refused_before_any_chunk(job, name)
    assert is_still((scene.output / name).lstat().st_mode), "it is still what it was"
    assert listing(scene.output) == [name]


@pytest.mark.covers("a read-only file system; a folder without the right to write; a file in the folder's place")
@pytest.mark.extended
def test_folder_that_is_a_file_is_refused(scene):
    scene.output.write_text("a file")
    job = scene.farm()
    assert_refused_before_any_chunk(job, str(scene.output))
    assert scene.output.read_text() == "a file"


@pytest.mark.covers(
    "a read-only file system; a folder without the right to write; a file in the folder's place",
    number=28,
    bound="exit 2 before any chunk",
    measured="exit 2, no event but its end",
    removed=(
        "`folder.py`: `if not os.access(...)` (the first and the third), "
        "`except (FileExistsError, NotADirectoryError)` and `except OSError` together in `_open_folder` (the second)"
    ),
)
@pytest.mark.extended
def test_file_system_that_is_read_only_is_refused(scene):
    scene.cleaning.enter_context(small_disk(scene.output, 1 << 20))
    subprocess.run(["mount", "-o", "remount,ro", str(scene.output)], check=True)
    job = scene.farm()
    assert_refused_before_any_chunk(job, "cannot be written to")


@pytest.mark.covers("a read-only file system; a folder without the right to write; a file in the folder's place")
@pytest.mark.extended
def test_folder_without_the_right_to_write_is_refused(scene):
    need("setpriv", root=True)
    scene.output.mkdir(mode=0o555)
    # Root without its powers is bound by modes like anybody, and can still read the package wherever it lies.
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    job = scene.farm(prefix=powerless)
    assert_refused_before_any_chunk(job, "cannot be written to")


@pytest.mark.covers(
    "umask 000",
    number=29,
    bound="key and IV 0600 in mid-job and after",
    measured="0600; `result.raw` 0666",
    removed="`files.py`: `PRIVATE = 0o600`",
)
def test_umask_of_nothing_leaves_keys_to_their_owner_alone(scene):
    before = os.umask(0)
    try:
        op, gate = scene.held(12)  # so that the job is not done while its parts are looked at
        job = scene.farm(op=op)
    finally:
        os.umask(before)
    key = scene.output / "encryption_key.bin.part"
    wait_until(lambda: key.exists() or job.code is not None, "there is a key")
    job.wait_for("Accepted")
    for name in ("encryption_key.bin.part", "encryption_iv.bin.part"):
        assert stat.S_IMODE((scene.output / name).stat().st_mode) == 0o600, name
    gate.touch()
    job.finish(code=0)
    assert_promises(job)
    assert listing(scene.output) == NAMES
    assert stat.S_IMODE((scene.output / "result.raw").stat().st_mode) == 0o666, "the umask was 000"
