"""Files that play: their samples by every program that reads them, their names, and what a killed job leaves."""

import errno
import fcntl
import gc
import os
import stat
import subprocess
import threading
import weakref

import numpy as np
import pytest
from audio_support import (
    ORIGIN,
    Bell,
    need,
    payloads_of,
    read_by_ffmpeg,
    read_by_soundfile,
    read_by_sox,
    samples_of,
    signal_of,
    upper,
    write,
)
from extended import product
from net_support import PATIENCE

from zaudio import disk
from zaudio.audio import open_source
from zaudio.audio import storing as storing_module
from zaudio.audio.flacs import FlacFile
from zaudio.audio.metadata import Cue, Metadata
from zaudio.audio.rendering import AudioFile
from zaudio.errors import OutputExistsError, ResumeError, StorageError, UsageError
from zaudio.ops import Chain
from zaudio.plan import Order
from zaudio.records import Schedule
from zaudio.signal import Signal

FORMATS = [f"{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be")]
METADATA = Metadata(bext=b"b" * 603, tags=(("TITLE", "a take"),), cues=(Cue(5, "five"),))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "zaudio-file"]


@pytest.fixture
def always_due(monkeypatch):
    """A record after each payload."""
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# Samples


@pytest.mark.parametrize(("channels", "format"), product([1, 2, 6], FORMATS, keep=[(2, format) for format in FORMATS]))
def test_every_program_reads_the_samples_of_a_wav(tmp_path, format, channels):
    signal = signal_of(2503, channels=channels, format=format)
    samples = samples_of(signal)
    write(tmp_path / "take.wav", signal, samples)
    expected, kind = upper(samples), signal.format.dtype[1:]
    for read in (read_by_soundfile, read_by_ffmpeg):
        assert read(tmp_path / "take.wav", kind).tobytes() == expected.tobytes(), read.__name__
    if kind[0] == "i":
        assert read_by_sox(tmp_path / "take.wav", kind).tobytes() == expected.tobytes()
    with open_source(tmp_path / "take.wav") as source:
        assert (source.frames, source.channels, source.samplerate) == (2503, channels, 48_000)
        assert source.bits == signal.format.bits
        assert source.warnings == ()


@pytest.mark.parametrize(
    ("frames", "channels", "format"),
    product(
        [1, 4096, 10_007],
        [1, 2, 8],
        ["s16le", "s16be", "s24le", "s24be"],
        keep=[(1, 1, "s16le"), (4096, 2, "s24le"), (10_007, 2, "s16be"), (10_007, 8, "s24be")],
    ),
)
def test_every_program_reads_the_samples_of_a_flac(tmp_path, format, channels, frames):
    signal = signal_of(frames, channels=channels, format=format)
    samples = samples_of(signal)
    write(tmp_path / "take.flac", signal, samples, metadata=METADATA)
    expected = upper(samples)
    for read in (read_by_soundfile, read_by_ffmpeg, read_by_sox):
        assert read(tmp_path / "take.flac", "i4").tobytes() == expected.tobytes(), read.__name__
    need("flac")
    tested = subprocess.run(["flac", "-t", "-s", "-w", tmp_path / "take.flac"], capture_output=True, check=False)
    assert (tested.returncode, tested.stderr) == (0, b"")
    with open_source(tmp_path / "take.flac") as source:
        assert source.bits == signal.format.bits


@pytest.mark.parametrize("format", FORMATS)
def test_a_raw_file_has_its_formats_own_bytes(tmp_path, format):
    signal = signal_of(1003, format=format)
    samples = samples_of(signal)
    write(tmp_path / "take.raw", signal, samples)
    expected = samples.tobytes()
    if format[:3] == "s24":
        octets = np.frombuffer(expected, np.uint8).reshape(-1, 4)
        expected = (octets[:, 1:] if format == "s24le" else octets[:, :3]).tobytes()
    assert (tmp_path / "take.raw").read_bytes() == expected


@pytest.mark.parametrize("suffix", ["wav", "raw"])
@pytest.mark.parametrize("frames", [0, 1, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_short_files_are_whole(tmp_path, suffix, frames, channels):
    signal = signal_of(frames, channels=channels, format="s24le")
    samples = samples_of(signal)
    write(tmp_path / f"take.{suffix}", signal, samples)
    size = (tmp_path / f"take.{suffix}").stat().st_size
    if suffix == "raw":
        assert size == frames * channels * 3
    else:
        assert size % 2 == 0
        assert read_by_soundfile(tmp_path / "take.wav", "i4").tobytes() == upper(samples).tobytes()


@pytest.mark.parametrize("suffix", ["wav", "flac", "raw"])
def test_the_same_job_gives_the_same_bytes_however_it_is_cut(tmp_path, suffix, monkeypatch):
    signal = signal_of(20_011, format="s24le")
    samples = samples_of(signal)
    contents = set()
    for frames in (20_011, 1000, 7919):
        monkeypatch.setattr("audio_support.payloads_of", lambda array, _=1, n=frames: payloads_of(array, n))
        write(tmp_path / f"take.{suffix}", signal, samples, metadata=METADATA, overwrite=True)
        contents.add((tmp_path / f"take.{suffix}").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("ops", [[], ["invert"], ["gain:db=-6"]])
def test_24_bits_stay_24_bits_from_file_to_file(tmp_path, suffix, ops):
    signal = signal_of(5003, format="s24le")
    samples = samples_of(signal) // 2 // 256 * 256  # none at the limits
    write(tmp_path / f"take.{suffix}", signal, samples)
    with open_source(tmp_path / f"take.{suffix}") as source:
        assert source.bits == 24
        read = np.frombuffer(source.read(0, source.frames), source.format.dtype).reshape(-1, 2)
        chain = Chain([*ops, f"convert:format=s{source.bits}le"], Signal(5003, 2, 48_000, source.format))
    result = chain(read)
    write(tmp_path / f"out.{suffix}", chain.output, result)
    found = read_by_soundfile(tmp_path / f"out.{suffix}", "i4")
    assert not (found & 0xFF).any()
    assert found.tobytes() == result.tobytes()
    if ops != ["gain:db=-6"]:
        assert found.tobytes() == (-samples if ops else samples).tobytes()


# Names


@pytest.mark.parametrize("suffix", ["wav", "flac", "raw"])
def test_a_file_is_private_and_alone_in_its_folder(tmp_path, suffix):
    signal = signal_of(100)
    write(tmp_path / f"take.{suffix}", signal, samples_of(signal), origin=ORIGIN)
    assert names(tmp_path) == [f"take.{suffix}"]
    assert stat.S_IMODE((tmp_path / f"take.{suffix}").stat().st_mode) == 0o600


def test_a_file_that_exists_is_replaced_only_when_that_is_asked_for(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(100)
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        AudioFile(str(path), signal)
    assert names(tmp_path) == ["take.wav"]
    assert path.read_bytes() == b"precious"
    write(path, signal, samples_of(signal), overwrite=True)
    assert len(read_by_soundfile(path, "i2")) == 100


def test_a_name_that_was_taken_meanwhile_is_not_replaced(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(1)
    file, bell = AudioFile(str(path), signal, origin=ORIGIN), Bell()
    file.open(signal, Order.FORWARD, notify=bell)
    file.put(bytes(4))
    file.seal()
    bell.wait_for(lambda: file.sealed)
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        file.publish()
    file.abort()
    assert path.read_bytes() == b"precious"


def test_the_recording_itself_is_never_written_over(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(100)
    write(path, signal, samples_of(signal))
    before = path.read_bytes()
    with open_source(path) as source:
        origin = type(ORIGIN)(source.fingerprint(), ())
    os.link(path, tmp_path / "link.wav")
    for name in (path, tmp_path / "link.wav"):
        with pytest.raises(UsageError, match="is the recording itself; give the output another name"):
            AudioFile(str(name), signal, origin=origin, overwrite=True)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["link.wav", "take.wav"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("nowhere", path)])
@pytest.mark.parametrize("name", ["take.wav", "take.wav.part", "take.wav.part.journal"])
def test_only_files_are_replaced(tmp_path, make, name):
    make(tmp_path / name)
    with pytest.raises(UsageError, match=r"is a (folder|FIFO|symbolic link)"):
        AudioFile(str(tmp_path / "take.wav"), signal_of(1), overwrite=True, origin=ORIGIN)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["", "nowhere/take.wav", "a\0.wav"])
def test_a_name_that_cannot_be_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        AudioFile(name, signal_of(1))
    assert names(tmp_path) == []


def test_another_programs_part_is_not_written_over(tmp_path):
    path, part, signal = tmp_path / "take.wav", tmp_path / "take.wav.part", signal_of(10)
    part.write_bytes(b"half a download")
    part.chmod(0o644)
    with pytest.raises(
        UsageError, match="is there already, without a journal of zaudio; move it away, or pass --fresh"
    ):
        AudioFile(str(path), signal, origin=ORIGIN)
    assert part.read_bytes() == b"half a download"
    write(path, signal, samples_of(signal), fresh=True)
    assert names(tmp_path) == ["take.wav"]


def test_two_jobs_cannot_write_the_same_file(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(1)
    first = AudioFile(str(path), signal)
    with pytest.raises(UsageError, match="another zaudio job is writing this file"):
        AudioFile(str(path), signal)
    assert names(tmp_path) == ["take.wav.part"]
    first.abort()
    assert names(tmp_path) == []


def test_a_part_that_was_replaced_is_not_published(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(1)
    file, bell = AudioFile(str(path), signal, origin=ORIGIN), Bell()
    file.open(signal, Order.FORWARD, notify=bell)
    file.put(bytes(4))
    file.seal()
    bell.wait_for(lambda: file.sealed)
    (tmp_path / "take.wav.part").unlink()
    (tmp_path / "take.wav.part").write_bytes(b"another's")
    with pytest.raises(StorageError, match="it was removed or replaced while the job ran"):
        file.publish()
    file.abort()
    assert not path.exists()


def test_too_little_room_is_found_before_anything_is_written(tmp_path):
    signal = signal_of(2**50)
    file = AudioFile(str(tmp_path / "take.wav"), signal)
    with pytest.raises(StorageError, match="too little room on the disk: 4503599627370576 bytes are needed"):
        file.open(signal, Order.FORWARD, notify=Bell())
    file.abort()
    assert names(tmp_path) == []


# A later life


def die(file):
    """End as a kill does: the lock goes, all files stay, nothing more is written."""
    file._feeder.stop()
    file._storage.leave = lambda: None
    assert file._feeder.join(PATIENCE)
    file._storage.close()
    file._part.close()


def start(path, signal, payloads, **settings):
    """An open file into which these payloads were written."""
    file, bell = AudioFile(str(path), signal, origin=ORIGIN, **settings), Bell()
    skip = file.open(signal, Order.FORWARD, notify=bell)
    for payload in payloads:
        file.put(payload)
    bell.wait_for(lambda: file.finished == len(payloads) or file.error)
    return file, skip


@pytest.mark.parametrize("suffix", ["wav", "raw"])
@pytest.mark.parametrize("format", ["s16le", "s24be", "f32le"])
@pytest.mark.parametrize("end", [die, AudioFile.abort])
@pytest.mark.usefixtures("always_due")
def test_a_killed_render_goes_on_and_gives_the_same_bytes(tmp_path, suffix, format, end):
    signal = signal_of(5003, format=format)
    samples = samples_of(signal)
    path, whole = tmp_path / f"take.{suffix}", tmp_path / f"whole.{suffix}"
    write(whole, signal, samples, metadata=METADATA)
    file, skip = start(path, signal, payloads_of(samples)[:3], metadata=METADATA)
    assert skip == 0
    end(file)
    assert names(tmp_path) == [f"take.{suffix}.part", f"take.{suffix}.part.journal", f"whole.{suffix}"]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)} == {0o600}
    with open(f"{path}.part", "ab") as part:
        part.write(b"bytes that no record covers")
    file, skip = start(path, signal, payloads_of(samples)[3:5], metadata=METADATA)
    assert skip == 3000 * signal.frame_bytes
    assert file.resumed
    end(file)
    write(path, signal, samples, origin=ORIGIN, metadata=METADATA)
    assert path.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == [f"take.{suffix}", f"whole.{suffix}"]


@pytest.mark.usefixtures("always_due")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metadata": METADATA}, "its metadata had the sum"),
        ({"format": "s24le"}, "its result was .* in s16le and not .* in s24le"),
        ({"frames": 5004}, "its result was 5003 frames"),
        ({"order": Order.REVERSED}, "its order was forward and not reversed"),
        ({"ops": ("gain:db=-6",)}, "its ops were gain:db=-3 dither and not gain:db=-6"),
        ({"size": 999}, "its input was '/takes/take.wav' in another state"),
        ({"decoder": "mpg123 1.31"}, r"it was begun by zaudio \S+ and not \S+ mpg123"),
    ],
)
def test_another_job_is_refused_until_it_is_told_to_begin_afresh(tmp_path, change, sentence):
    from dataclasses import replace

    path, signal = tmp_path / "take.wav", signal_of(5003)
    file, _ = start(path, signal, payloads_of(samples_of(signal))[:2])
    die(file)
    other = signal_of(change.get("frames", 5003), format=change.get("format", "s16le"))
    origin = replace(ORIGIN, ops=change.get("ops", ORIGIN.ops), decoder=change.get("decoder", ""))
    origin = replace(origin, recording=replace(ORIGIN.recording, size=change.get("size", 1000)))
    settings = {"metadata": change.get("metadata", Metadata()), "order": change.get("order", Order.FORWARD)}
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with pytest.raises(ResumeError, match=sentence):
        AudioFile(str(path), other, origin=origin, **settings)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    file = write(path, other, samples_of(other), origin=origin, fresh=True, **settings)
    assert file.sentences[-1].endswith("take.wav.part of an earlier start is begun again")


@pytest.mark.covers(
    "A byte of a render's part changed before it is resumed",
    bound="it goes on from the last record that holds; refused if none does",
    measured="so",
    removed="`storing.py`: `if digest.digest() != record.digest`",
)
@pytest.mark.usefixtures("always_due")
def test_a_part_that_was_changed_is_gone_on_with_from_the_last_record_that_holds(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(5003)
    samples = samples_of(signal)
    file, _ = start(path, signal, payloads_of(samples)[:3])
    die(file)
    with open(f"{path}.part", "r+b") as part:
        part.seek(44 + 2500 * 4)
        part.write(b"\xff\x00\xff")
    file, skip = start(path, signal, [])
    assert skip == 2000 * 4
    die(file)
    with open(f"{path}.part", "r+b") as part:
        part.write(b"JUNK")
    file = AudioFile(str(path), signal, origin=ORIGIN)
    with pytest.raises(ResumeError, match="its bytes are not those that its journal says"):
        file.open(signal, Order.FORWARD, notify=Bell())
    file.abort()
    assert names(tmp_path) == ["take.wav.part", "take.wav.part.journal"]


@pytest.mark.usefixtures("always_due")
def test_a_journal_cut_at_any_byte_is_continued_or_begun_again(tmp_path):
    path, signal = tmp_path / "take.raw", signal_of(5000)
    samples = samples_of(signal)
    file, _ = start(path, signal, payloads_of(samples)[:3])
    die(file)
    part, journal = (tmp_path / f"take.raw{end}" for end in (".part", ".part.journal"))
    contents = part.read_bytes(), journal.read_bytes()
    seen = set()
    for cut in range(0, len(contents[1]) + 1, 7):
        part.write_bytes(contents[0])
        journal.write_bytes(contents[1][:cut])
        file, skip = start(path, signal, [])
        die(file)
        seen.add(skip)
        assert part.stat().st_size == skip
    assert seen == {0, 4000, 8000} | ({12000} if not len(contents[1]) % 7 else set())


@pytest.mark.usefixtures("always_due")
def test_a_journal_with_a_changed_byte_is_refused(tmp_path):
    path, signal = tmp_path / "take.raw", signal_of(5000)
    file, _ = start(path, signal, payloads_of(samples_of(signal))[:3])
    die(file)
    journal = tmp_path / "take.raw.part.journal"
    content = journal.read_bytes()
    lengths = {at + byte for at in record_starts(content) for byte in range(4)}
    for at in range(0, len(content) - 84, 11):
        journal.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        if at in lengths:
            continue  # a length beyond the end is that of a torn record
        with pytest.raises(ResumeError, match=r"its journal is damaged: .*pass --fresh"):
            AudioFile(str(path), signal, origin=ORIGIN)


def record_starts(content):
    at = content.index(b"\n") + 1
    while at < len(content):
        yield at
        at += 4 + int.from_bytes(content[at : at + 4], "big") + 32


def test_a_render_killed_between_its_name_and_its_journals_end_is_done(tmp_path, monkeypatch):
    path, signal = tmp_path / "take.wav", signal_of(500)
    samples = samples_of(signal)
    remove = disk.remove
    monkeypatch.setattr(disk, "remove", lambda name, **fd: None if "journal" in name else remove(name, **fd))
    write(path, signal, samples, origin=ORIGIN)
    monkeypatch.undo()
    assert names(tmp_path) == ["take.wav", "take.wav.part.journal"]
    file = AudioFile(str(path), signal, origin=ORIGIN)
    assert file.done
    file.abort()
    assert names(tmp_path) == ["take.wav"]
    with pytest.raises(OutputExistsError):
        AudioFile(str(path), signal, origin=ORIGIN)


@pytest.mark.usefixtures("always_due")
def test_a_render_killed_when_all_is_written_is_published_by_the_next_start(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(501, channels=1, format="s24le")
    samples = samples_of(signal)
    file, bell = AudioFile(str(path), signal, origin=ORIGIN), Bell()
    file.open(signal, Order.FORWARD, notify=bell)
    file.put(samples.tobytes())
    file.seal()
    bell.wait_for(lambda: file.sealed)
    die(file)
    file = write(path, signal, samples, origin=ORIGIN)
    assert file.resumed
    assert read_by_soundfile(path, "i4").tobytes() == samples.tobytes()
    assert path.stat().st_size % 2 == 0


def test_notes_and_the_jobs_id_outlive_its_lives(tmp_path):
    path, signal = tmp_path / "take.wav", signal_of(500)
    file, _ = start(path, signal, [])
    job = file.job_id
    assert (len(job), file.incarnation, file.notes, file.kept) == (16, 1, (), False)
    file.note(b'{"measured": 1}')
    assert file.kept
    die(file)
    for life in (2, 3):
        file, skip = start(path, signal, [])
        assert (skip, file.job_id, file.incarnation) == (0, job, life)
        assert file.notes == (b'{"measured": 1}',)
        file.abort()
    write(path, signal, samples_of(signal), origin=ORIGIN)
    assert read_by_soundfile(path, "i2").tobytes() == upper(samples_of(signal)).tobytes()
    assert names(tmp_path) == ["take.wav"]


@pytest.mark.parametrize("note", [b"", b"text", b"{" * (8 << 20 | 1)])
def test_a_note_that_is_no_object_or_too_long_is_refused(tmp_path, note):
    file, _ = start(tmp_path / "take.wav", signal_of(1), [])
    with pytest.raises(UsageError, match="a note is a JSON object"):
        file.note(note)
    file.abort()
    assert names(tmp_path) == []


def test_a_flac_is_begun_again_and_says_so(tmp_path):
    path, signal = tmp_path / "take.flac", signal_of(50_000)
    samples = samples_of(signal)
    file, _ = start(path, signal, payloads_of(samples)[:30])
    die(file)
    assert names(tmp_path) == ["take.flac.part"]
    assert os.path.getsize(f"{path}.part") > 0
    file = write(path, signal, samples, origin=ORIGIN)
    assert file.sentences == (f"{path}.part of an earlier start is begun again (a FLAC cannot be continued)",)
    assert read_by_soundfile(path, "i2").tobytes() == upper(samples).tobytes()


# Faults


@pytest.mark.parametrize("suffix", ["wav", "flac", "raw"])
def test_a_disk_that_fills_up_ends_the_job_with_its_name(tmp_path, suffix, monkeypatch):
    path, signal = tmp_path / f"take.{suffix}", signal_of(50_000)
    file, bell = AudioFile(str(path), signal, origin=ORIGIN), Bell()
    file.open(signal, Order.FORWARD, notify=bell)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "pwrite", full)
    for payload in payloads_of(samples_of(signal)):
        file.put(payload)
    bell.wait_for(lambda: file.error)
    monkeypatch.undo()
    assert (file.error.path, file.error.reason) == (f"{path}.part", "No space left on device")
    with pytest.raises(StorageError):
        file.publish()
    file.abort()
    assert names(tmp_path) == []


def test_a_flac_that_failed_lets_go_of_its_samples_at_once():
    """Python ends with a crash when the collector of circles finds a view there that libsndfile was given."""
    samples = np.random.default_rng(1).integers(-(2**15), 2**15, (50_000, 2)).astype("<i2")
    gone, fd = weakref.ref(samples), os.open("/dev/full", os.O_WRONLY)
    file = FlacFile(fd, "take.flac", signal_of(50_000), b"")
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(StorageError, match=r"take\.flac: No space left on device"):
            file.write(samples)
        file.close()
        del file, samples
        assert gone() is None
    finally:
        gc.enable()
        os.close(fd)


@pytest.mark.usefixtures("always_due")
def test_no_record_covers_what_a_failed_fsync_was_for(tmp_path, monkeypatch):
    path, signal = tmp_path / "take.wav", signal_of(5003)
    payloads = payloads_of(samples_of(signal))
    file, _ = start(path, signal, payloads[:2])

    def broken(fd):
        raise OSError(errno.EIO, "Input/output error")

    bell = Bell()
    file._notify = bell
    monkeypatch.setattr(os, "fsync", broken)
    file.put(payloads[2])
    bell.wait_for(lambda: file.error)
    monkeypatch.undo()
    file.abort()
    file, skip = start(path, signal, [])
    assert skip == 2000 * 4
    file.disown()
    assert names(tmp_path) == []


@pytest.mark.usefixtures("always_due")
def test_the_hashing_of_a_part_can_be_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(storing_module, "READ_BYTES", 1000)
    path, signal = tmp_path / "take.wav", signal_of(5003)
    file, _ = start(path, signal, payloads_of(samples_of(signal))[:3])
    die(file)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    def pause():
        raise KeyboardInterrupt

    file = AudioFile(str(path), signal, origin=ORIGIN)
    with pytest.raises(KeyboardInterrupt):
        file.open(signal, Order.FORWARD, notify=Bell(), check_stop=pause)
    file.abort()
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def refuse(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UsageError, match="cannot lock this file"):
        AudioFile(str(tmp_path / "take.wav"), signal_of(1))
