"""A render that is killed before any one of its system calls: nothing, a part to go on from, or the whole file."""

import os
import signal as signals

import pytest
from audio_support import ORIGIN, read_by_soundfile, samples_of, signal_of, upper, write
from extended import extended

from zaudio.audio.metadata import Metadata
from zaudio.records import Schedule

CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "rename", "unlink", "fchmod")


@pytest.mark.covers(
    "A render killed before every call that changes the disk: a WAV, a raw file, a FLAC",
    note="a raw file: `make test-all`",
    bound="nothing, a part, or the whole file; the next start gives the same bytes and leaves nothing else",
    measured="32, 31 and 11 instants, all of them",
    removed="`storing.py`: `os.lseek(...)` in `_reopen`; `part.py`: `self._took_its_name(journal)`",
)
@pytest.mark.parametrize("suffix", ["wav", extended("raw"), "flac"])
def test_a_render_killed_at_any_instant_is_finished_by_the_next_start(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)
    signal = signal_of(3001, format="s24le")
    samples = samples_of(signal)
    settings = {"origin": ORIGIN, "metadata": Metadata(tags=(("TITLE", "x"),))}
    whole = tmp_path / f"whole.{suffix}"
    write(whole, signal, samples, **settings)
    instants, seen = 0, set()
    while True:
        folder = tmp_path / str(instants)
        folder.mkdir()
        path = folder / f"take.{suffix}"
        if not is_killed(instants, lambda path=path: write(path, signal, samples, **settings)):
            break
        found = sorted(entry.name.removeprefix(f"take.{suffix}") for entry in folder.iterdir())
        seen.add(tuple(found))
        if "" in found:
            assert path.read_bytes() == whole.read_bytes(), f"at call {instants}"
            again = True
        else:
            again = False
        for entry in folder.iterdir():
            assert entry.stat().st_mode & 0o777 == 0o600
        write_or_find(path, signal, samples, settings, again)
        assert path.read_bytes() == whole.read_bytes(), f"at call {instants}"
        assert [entry.name for entry in folder.iterdir()] == [path.name]
        instants += 1
    if suffix != "raw":
        assert read_by_soundfile(whole, "i4").tobytes() == upper(samples).tobytes()
    assert (".part",) in seen
    assert suffix == "flac" or (".part", ".part.journal") in seen
    assert instants > 5


def write_or_find(path, signal, samples, settings, there):
    """Start again; a file that took its name already is found done, or stands in the way of another."""
    from zaudio.audio.rendering import AudioFile
    from zaudio.errors import OutputExistsError

    if not there:
        write(path, signal, samples, **settings)
        return
    try:
        file = AudioFile(str(path), signal, **settings)
    except OutputExistsError:
        return
    assert file.done
    file.abort()


def is_killed(number, job):
    """Do the job in a child, which is killed before its `number`-th call that changes the disk; whether it came."""
    child = os.fork()
    if not child:
        try:
            kill_before(number)
            job()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def kill_before(number):
    left = [number]

    def deadly(call):
        def counted(*arguments, **settings):
            if call is not real_open or changes(arguments):
                if not left[0]:
                    os.kill(os.getpid(), signals.SIGKILL)
                left[0] -= 1
            return call(*arguments, **settings)

        return counted

    real_open = os.open
    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def changes(arguments):
    return bool(arguments[1] & os.O_CREAT) if len(arguments) > 1 else False
