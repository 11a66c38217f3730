"""What another process sees of a render by its files."""

import os

import pytest
from audio_support import ORIGIN, Bell, payloads_of, samples_of, signal_of

from zaudio.audio.glance import FileGlance, glance_file, is_of_render
from zaudio.audio.rendering import AudioFile
from zaudio.plan import Order
from zaudio.records import Schedule

SIGNAL = signal_of(2000)
BYTES = 2000 * SIGNAL.frame_bytes


@pytest.mark.parametrize(("name", "size", "ops"), [("take.raw", BYTES, ORIGIN.ops), ("take.flac", 0, ())])
def test_a_render_is_seen_while_it_runs_when_it_was_interrupted_and_when_it_is_done(
    tmp_path, monkeypatch, name, size, ops
):
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)
    path = tmp_path / name

    def seen(**of):
        found = glance_file(str(path), now=os.stat(of.get("at", f"{path}.part")).st_mtime + 7)
        assert found.quiet == pytest.approx(7, abs=1)
        return found

    assert glance_file(str(path), now=0.0) == FileGlance("empty")
    first, second = payloads_of(samples_of(SIGNAL))
    file, bell = AudioFile(str(path), SIGNAL, origin=ORIGIN), Bell()
    file.open(SIGNAL, Order.FORWARD, notify=bell)
    file.put(first)
    bell.wait_for(lambda: file.finished == 1)
    running = seen()
    assert is_of_render(str(path))
    assert (running.state, running.bytes, running.ops) == ("running", size, ops)
    assert running.written == (size // 2 or running.written)
    copy = [(each, each.read_bytes()) for each in tmp_path.iterdir()]  # as a kill leaves them
    file.put(second)
    file.seal()
    bell.wait_for(lambda: file.sealed)
    file.publish()
    assert (seen(at=path).state, seen(at=path).bytes) == ("done", path.stat().st_size)
    assert is_of_render(str(path))
    file.abort()

    for each, content in copy:
        each.write_bytes(content)
    left = seen()
    assert (left.state, left.bytes, left.written) == ("interrupted", size, running.written)


def test_a_damaged_journal_tells_nothing(tmp_path):
    (tmp_path / "take.wav.part").write_bytes(b"x" * 10)
    (tmp_path / "take.wav.part.journal").write_bytes(b"y" * 100)
    found = glance_file(str(tmp_path / "take.wav"), now=0.0)
    assert (found.state, found.bytes, found.written, found.ops) == ("interrupted", 0, 10, ())
