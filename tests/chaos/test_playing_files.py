"""Files that play, under disks that fail and kills: the name has what it had, or the whole new file.

A second start ends what the first one began, with the same bits.
"""

import os
import re
import stat

import numpy as np
import pytest
import soundfile
from extended import extended
from farm_support import inverted
from faults import FSYNCS, MUTATING, WRITES, came, crash_at_syscall, eio, enospc
from harness import assert_no_traceback, assert_one_line_of_cause, listing
from instants import at, counted

FRAMES, CHANNELS, CHUNK = 200_001, 2, 70_000  # three chunks, each of which travels alone
OLDER = b"an older file of that name"
ENDS = {1, 2}  # a disk that fails; a place where nothing can be written
KILLED = {-9, 137}  # strace says it like a shell
NAMES = "openat,renameat,unlinkat,ftruncate,fchmod,flock"
FAULTS = {  # the calls, what happens at one of them, and the system's words for it
    "full": (WRITES, enospc, "No space left on device"),
    "broken": (FSYNCS, eio, "Input/output error"),
    "names": (NAMES, eio, "Input/output error"),
    "killed": (MUTATING, crash_at_syscall, ""),
}
RENDERS = ("render wav", "render raw", "render flac")
# What decrypt writes as it lies inside the result, and what it writes anew.
DECRYPTS = ("decrypt forward/raw wav", "decrypt forward/raw flac", "decrypt forward/raw raw", "decrypt inside wav")


class Made:
    """A command that makes a file that plays, done in one folder after another.

    Args:
        scene: Where it runs.
        command: ``render SUFFIX`` or ``decrypt RESULT SUFFIX``.
        older: Whether an older file has the name, which may be replaced.
    """

    def __init__(self, scene, command, older):
        self.verb, *sort, suffix = command.split()
        self.scene = scene
        self.name = f"out.{suffix}"
        self.names = [self.name, f"{self.name}.part", f"{self.name}.part.journal"]
        self._older = older
        self._more = ["--overwrite"] if older else []
        self._sealed = scene.folder / "sealed"
        if self.verb == "decrypt":
            inside = ["--forward", "--inside", "wav"] if sort == ["inside"] else []
            scene.farm(*inside, chunk=CHUNK, output=self._sealed, workers=1).finish(code=0)
            self._more.append("--forward")

    def folder(self, number):
        """Make a folder, with the older file if there is one."""
        folder = self.scene.folder / f"place{number}"
        folder.mkdir()
        if self._older:
            (folder / self.name).write_bytes(OLDER)
        return folder

    def start(self, folder, prefix=()):
        """Start the command; returns its Process."""
        out = folder / self.name
        if self.verb == "render":
            return self.scene.render(out, *self._more, chunk=CHUNK, prefix=prefix)
        return self.scene.zaudio("decrypt", self._sealed, "-o", out, *self._more, prefix=prefix)

    def content(self, folder):
        """What has the name."""
        path = folder / self.name
        return path.read_bytes() if path.exists() else None

    def assert_whole(self, folder):
        """The file holds every sample, and nothing else is there."""
        assert listing(folder) == [self.name]
        expected = inverted(self.scene.samples)[::-1]
        if self.name.endswith(".raw"):
            assert self.content(folder) == expected.tobytes()
        else:
            assert np.array_equal(soundfile.read(folder / self.name, dtype="int16", always_2d=True)[0], expected)

    def instants(self, calls):
        """Every instant of the command; of the many pieces of a FLAC, which are alike, the first and the last ones."""
        folder = self.folder("counted")
        found = counted(folder, self.names, lambda prefix: self.start(folder, prefix), calls)
        self.assert_whole(folder)
        last = max((number for call, _, number in found if call == "pwrite64"), default=0)
        return [each for each in found if each[0] != "pwrite64" or each[2] < 3 or each[2] > last - 3]


@pytest.fixture
def make(scene):
    """Make a `Made` of a scene whose jobs write a record after each write."""
    scene.record(FRAMES, channels=CHANNELS, format="s16le")
    scene.durations["checkpoint"] = 0.0
    return lambda command, older: Made(scene, command, older)


def try_at(made, instant, fault, number):
    """Do it with that fault at that instant, then again without. Returns whether the fault came."""
    folder = made.folder(number)
    _, inject, word = FAULTS[fault]
    log = folder.with_suffix(".log")
    process = made.start(folder, at(folder, instant, inject, log=log))
    process.finish()
    try:
        assert_no_traceback(process)
        happened = process.code in KILLED if fault == "killed" else came(log)
        if process.code == 0 and happened and instant[0] == "unlinkat":
            finish_it(made, folder, True)  # a journal that cannot be removed harms nobody: the next start removes it
            return happened
        if process.code == 0:
            made.assert_whole(folder)
            return happened
        assert process.code in (KILLED if happened and fault == "killed" else ENDS), process.said
        if fault != "killed":
            assert_one_line_of_cause(process)
            assert word in process.err, process.said
            assert str(folder) in process.err, "the file is named"
        left = made.content(folder)
        is_new = left not in (None, OLDER)
        assert set(listing(folder)) <= set(made.names)
        if not is_new:
            assert left == (OLDER if made._older else None), "the name has what it had"
        else:
            assert fault == "killed" or "is there, whole" in process.err, process.said
        for name in made.names[1:]:
            path = folder / name
            assert not path.exists() or stat.S_IMODE(path.stat().st_mode) == 0o600, name
        finish_it(made, folder, is_new)
    except AssertionError as error:
        raise AssertionError(f"{fault} at {instant}: {error}") from error
    return happened


def finish_it(made, folder, is_new):
    """Start it again, as its sentences say."""
    again = made.start(folder)
    again.finish()
    if again.code and is_new and not made._older:
        assert again.code == 2, again.said
        assert "exists already" in again.err, again.said
    elif again.code and made.verb == "decrypt":
        assert again.code == 2, again.said
        assert re.search(r"\.part is there already: .* was killed; remove it to go on", again.err), again.said
        os.unlink(folder / made.names[1])
        made.start(folder).finish(code=0)
    else:
        assert again.code == 0, again.said
    made.assert_whole(folder)


@pytest.mark.parametrize(
    ("command", "fault", "instant"),
    [
        extended("render wav", "killed", ("write", "out.wav.part", 3)),
        ("render wav", "full", ("write", "out.wav.part", 2)),
        extended("render flac", "full", ("pwrite64", "out.flac.part", 9)),
        extended("decrypt forward/raw wav", "broken", ("fsync", "out.wav.part", 1)),
    ],
)
def test_file_that_plays_survives_a_fault(make, command, fault, instant):
    made = make(command, older=True)
    # How many pieces are written is not the same each time.
    assert any(try_at(made, instant, fault, number) for number in range(3)), "that instant came"


@pytest.mark.covers(
    "A whole `zaudio render` to WAV, raw samples and FLAC, `zaudio decrypt -o x.wav --forward`: ENOSPC at every "
    "write, EIO at every fsync, rename, unlink and open, SIGKILL before every call that changes the disk",
    note="an instant in `make test`, one in eight of three commands in `make test-all`, all in `make chaos`",
    bound="the name has the older file or the whole new one; exit 1 or 2, with the name; the next start: same bits",
    measured="so for each",
    removed="`flacs.py`: `disk.reason(...)` in `_Body.write` (a crash); `disk.py`: `raise` in `sync_name`",
)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("command", "older", "every"),
    [extended(command, False, 8) for command in ("render wav", "render flac", "decrypt forward/raw wav")]
    + [pytest.param(command, True, 1, marks=pytest.mark.chaos) for command in [*RENDERS, *DECRYPTS]],
)
def test_file_that_plays_is_whole_or_not_there(make, command, older, every, fault):
    made = make(command, older)
    found = made.instants(FAULTS[fault][0])
    came = [try_at(made, instant, fault, number) for number, instant in list(enumerate(found))[::every]]
    assert sum(came) >= len(came) / 2, "how many pieces are written is not the same each time"
