"""Whole jobs on recordings that are decoded, streamed or sealed: their samples are those of the recording."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from extended import extended
from farm_support import decrypted, finish, launch, launch_script, listing, saved
from net_support import PATIENCE, wait_until
from spool_support import LOSSY, noise, write_lossy

import zaudio
from zaudio.audio import decoding
from zaudio.errors import ResumeError, UsageError, VerificationError


def forward(result):
    """The recording in a result, as floats."""
    description = zaudio.verify(result)
    return np.frombuffer(decrypted(result, forward=True), "<f4").reshape(-1, description.channels)


def run(cwd, *arguments, content=b""):
    command = [sys.executable, "-m", "zaudio", *arguments]
    return subprocess.run(command, cwd=cwd, input=content, capture_output=True, timeout=PATIENCE)


@pytest.mark.parametrize("kind", [kind if kind == "ogg" else extended(kind) for kind in LOSSY])
def test_a_compressed_recording_is_farmed_as_it_is_decoded_in_one_go(tmp_path, kind):
    expected = write_lossy(tmp_path / "take", kind, 50_021, 2)
    zaudio.Coordinator(tmp_path / "take", tmp_path / "out", ops="invert", workers=2, chunk="5003f").run()
    assert np.array_equal(forward(tmp_path / "out"), -expected)


def test_a_sealed_recording_is_worked_on_twice_and_no_plaintext_is_written(tmp_path):
    path = tmp_path / "take.wav"
    soundfile.write(path, noise(50_021, 2), 48000, subtype="FLOAT")
    zaudio.Coordinator(path, tmp_path / "first", ops="invert", workers=1, chunk="7001f").run()
    os.unlink(path)
    zaudio.Coordinator(tmp_path / "first", tmp_path / "second", ops="gain:db=6", workers=2, chunk="4999f").run()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["first", "second"]
    gained = forward(tmp_path / "second")
    zaudio.Coordinator(tmp_path / "second", tmp_path / "third", ops="invert", workers=1).run()
    assert np.array_equal(forward(tmp_path / "third"), -gained)
    assert np.allclose(gained, -noise(50_021, 2) * 10 ** (6 / 20), atol=1e-6)


def test_a_sealed_recording_that_was_changed_is_not_farmed(tmp_path):
    soundfile.write(tmp_path / "take.wav", noise(5003), 48000)
    zaudio.Coordinator(tmp_path / "take.wav", tmp_path / "first", ops="invert", workers=1).run()
    with open(tmp_path / "first" / "result.raw", "r+b") as file:
        file.write(b"changed")
    with pytest.raises(VerificationError, match="the tag does not agree"):
        zaudio.Coordinator(tmp_path / "first", tmp_path / "second", ops="invert", workers=1).run()
    assert not (tmp_path / "second").exists()


@pytest.mark.extended
def test_a_sealed_recording_is_never_replaced_by_its_own_result(tmp_path):
    soundfile.write(tmp_path / "take.wav", noise(5003), 48000)
    zaudio.Coordinator(tmp_path / "take.wav", tmp_path / "first", ops="invert", workers=1).run()
    with pytest.raises(UsageError, match="cannot be the output"):
        zaudio.Coordinator(tmp_path / "first", tmp_path / "first", ops="invert", workers=1, overwrite=True).run()
    zaudio.verify(tmp_path / "first")


def test_a_stream_is_farmed_and_its_user_is_told_that_it_cannot_be_resumed(tmp_path):
    recording = noise(50_021, 2)
    soundfile.write(tmp_path / "take.wav", recording, 48000, subtype="FLOAT")
    content = (tmp_path / "take.wav").read_bytes()
    done = run(tmp_path, "farm", "-", "-o", "out", "-n", "2", "--op", "invert", content=content)
    assert done.returncode == 0, done.stderr
    assert b"standard input is a stream, which cannot be read again, so this job cannot be resumed" in done.stderr
    assert np.array_equal(forward(tmp_path / "out"), -recording)


@pytest.mark.extended
def test_a_stream_is_not_read_for_a_result_that_is_there_already(tmp_path):
    soundfile.write(tmp_path / "take.wav", noise(5003), 48000)
    zaudio.Coordinator(tmp_path / "take.wav", tmp_path / "out", ops="invert", workers=1).run()
    process = subprocess.Popen(
        [sys.executable, "-m", "zaudio", "farm", "-", "-o", "out"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,  # which never ends
        stderr=subprocess.PIPE,
    )
    assert process.wait(timeout=PATIENCE) == 2
    assert b"result.raw exists already" in process.stderr.read()
    process.stdin.close()
    process.stderr.close()


@pytest.mark.extended
def test_a_stop_is_heard_while_a_stream_does_not_end(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "zaudio", "farm", "-", "-o", "out"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(bytes(1 << 20))  # taken, all but what a pipe holds: it is being read
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode not in (0, -signal.SIGINT), said
    assert list(tmp_path.iterdir()) == []


# A checkpoint after every write, so that there is something to go on with at once.
EAGER = """
from zaudio.records import Schedule
Schedule.due = lambda self, written, *, now: written > 0
from zaudio.cli import main
main()
"""


@pytest.fixture(params=["decoded", extended("sealed")])
def begun(request, tmp_path):
    """A job that was killed behind a checkpoint: its command, its input and the recording."""
    take, out = tmp_path / "take", tmp_path / "out"
    if request.param == "decoded":
        recording = write_lossy(take, "opus", 50_021)
    else:
        recording = noise(50_021)
        soundfile.write(tmp_path / "take.wav", recording, 48000, subtype="FLOAT")
        zaudio.Coordinator(tmp_path / "take.wav", take, ops="gain:db=0", workers=1).run()
    stop, gate = float(recording.reshape(-1)[30_000]), tmp_path / "gate"  # of chunk 20, so that it does not end before
    op = f"farm_ops:holds_at:value={stop!r},gate={gate}"
    command = ("farm", take, "-o", out, "-n", "1", "--chunk", "1000f", "--op", op)
    process = launch_script(EAGER, *command)
    wait_until(lambda: saved(out) > 0 or process.poll() is not None, "a checkpoint")
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    gate.touch()
    assert listing(tmp_path / "out") != []
    return command, take, out, recording


def test_a_job_that_was_killed_is_resumed_from_the_same_samples(begun):
    command, _, out, recording = begun
    code, _, said = finish(launch(*command))
    assert code == 0, said
    assert "resuming an interrupted job" in said
    assert np.array_equal(forward(out), -recording)  # which that op gives


def test_another_decoder_or_another_result_is_another_job(begun, monkeypatch):
    command, take, out, _ = begun
    if take.is_dir():
        zaudio.Coordinator(take.with_suffix(".wav"), take, ops="gain:db=0", workers=1, overwrite=True).run()
        words = "written to since|holds other samples"
    else:
        monkeypatch.setattr(decoding, "decoder_version", lambda: "libsndfile 9.9")
        words = "its input was decoded by libsndfile [0-9.]+, and is by libsndfile 9.9 now"
    with pytest.raises(ResumeError, match=words):
        zaudio.Coordinator(take, out, ops=command[-1], workers=1, chunk="1000f").run()
