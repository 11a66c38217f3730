import gc
import os
import resource
import stat
import threading
import traceback
from dataclasses import asdict

import numpy as np
import pytest
from result_support import (
    NAMES,
    Bell,
    contents,
    describe,
    pattern,
    payloads,
    reverse,
    sealed_writer,
    write_pattern,
    write_result,
)

from zaudio.errors import StorageError, UsageError
from zaudio.plan import Order
from zaudio.result import Description, ResultFolder, ResultWriter, decrypt, primitives, verify
from zaudio.result import pipeline as pipeline_module

CUTS = [(frames, 7) for frames in (0, 1, 6, 7, 8, 13, 14, 15, 101)] + [(16, 1), (101, 1), (101, 1000)]
FORMATS = {2: (1, "s16le"), 4: (1, "f32le"), 6: (3, "s16be"), 12: (3, "f32be"), 24: (3, "f64le")}


def threads():
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("zaudio-")}


@pytest.fixture
def folder(tmp_path):
    with ResultFolder(str(tmp_path / "out")) as folder:
        yield folder


@pytest.fixture
def make(folder):
    """Writers that are aborted at the end of the test."""
    writers = []

    def make(description):
        writers.append(ResultWriter(folder, description))
        return writers[-1]

    yield make
    for writer in writers:
        writer.abort()
    assert not threads()


@pytest.fixture
def start(make):
    """The same, open, each with its bell."""

    def start(description):
        bell = Bell()
        writer = make(description)
        assert open_writer(writer, description, bell) == 0
        return writer, bell

    return start


def open_writer(writer, description, notify):
    return writer.open(description.signal, Order.REVERSED, notify=notify)


@pytest.mark.parametrize("frame_bytes", FORMATS)
def test_a_result_decrypts_to_the_reversed_recording(tmp_path, frame_bytes):
    channels, format = FORMATS[frame_bytes]
    for frames, chunk_frames in CUTS:
        path = tmp_path / f"{frames} by {chunk_frames}"
        recording, description = write_pattern(
            path, frames, channels=channels, format=format, chunk_frames=chunk_frames
        )
        assert (path / "result.raw").stat().st_size == len(recording) // 16 * 16 + 16
        assert decrypt(str(path), None) == (description, str(path / "decrypted.raw"))
        assert (path / "decrypted.raw").read_bytes() == reverse(recording, frame_bytes)
        decrypt(str(path), None, forward=True, overwrite=True)
        assert (path / "decrypted.raw").read_bytes() == recording


@pytest.mark.parametrize("chunk_frames", [1009, 100_003, 400_000])
def test_chunks_around_the_size_of_a_round_come_out_whole(tmp_path, chunk_frames):
    recording = np.random.default_rng(0).bytes(400_000 * 12)
    write_result(tmp_path, recording, describe(400_000, channels=3, chunk_frames=chunk_frames))
    decrypt(str(tmp_path), None)
    expected = np.frombuffer(recording, "<u4").reshape(-1, 3)[::-1].tobytes()
    assert contents(tmp_path)["decrypted.raw"] == expected
    decrypt(str(tmp_path), None, forward=True, overwrite=True)
    assert contents(tmp_path)["decrypted.raw"] == recording


def test_the_result_does_not_depend_on_the_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(primitives, "random_key", lambda: bytearray(32))
    monkeypatch.setattr(primitives, "random_iv", lambda: bytes(16))
    monkeypatch.setattr(pipeline_module, "ROUND_BYTES", 100)
    results = set()
    for chunk_frames in (1, 7, 64, 1000):
        write_pattern(tmp_path, 500, chunk_frames=chunk_frames, overwrite=True)
        results.add((tmp_path / "result.raw").read_bytes())
    assert len(results) == 1


def test_key_and_iv_are_private_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        write_pattern(tmp_path / "out", 5)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in NAMES}
    assert modes == {
        "result.raw": 0o666,
        "encryption_key.bin": 0o600,
        "encryption_iv.bin": 0o600,
        "result.json": 0o666,
    }


def test_every_result_has_its_own_key_and_iv(tmp_path):
    seen = set()
    for _ in range(3):
        write_pattern(tmp_path, 5, overwrite=True)
        seen.add(((tmp_path / "encryption_key.bin").read_bytes(), (tmp_path / "encryption_iv.bin").read_bytes()))
    assert len(seen) == 3


def test_key_and_iv_are_durable_before_any_ciphertext_exists(folder, start, monkeypatch):
    events, fsync, real_open = [], os.fsync, os.open

    def logged_fsync(fd):
        status = os.fstat(fd)
        events.append(("fsync", "folder" if stat.S_ISDIR(status.st_mode) else status.st_size))
        fsync(fd)

    def logged_open(name, *args, **kwargs):
        events.append(("open", name))
        return real_open(name, *args, **kwargs)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "open", logged_open)
    start(describe(5))
    assert events == [
        ("open", "encryption_key.bin.part"),
        ("fsync", 32),
        ("open", "encryption_iv.bin.part"),
        ("fsync", 16),
        ("fsync", "folder"),
        ("open", "result.raw.part"),
    ]


def test_all_parts_are_fsynced_before_it_is_sealed(folder, start, monkeypatch):
    synced, fsync = set(), os.fsync

    def logged(fd):
        synced.add(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", logged)
    writer, bell = start(describe(0))
    writer.seal()
    bell.wait_for(lambda: writer.sealed)
    assert {os.stat(folder.part_path(name)).st_ino for name in NAMES} <= synced


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda raw: np.frombuffer(raw, "<f4").reshape(-1, 2)])
def test_any_buffer_is_a_payload(start, folder, kind):
    recording = pattern(6, 8)
    writer, bell = start(describe(6, channels=2, chunk_frames=3))
    for payload in payloads(recording, describe(6, channels=2, chunk_frames=3)):
        writer.put(kind(payload))
    writer.seal()
    bell.wait_for(lambda: writer.sealed)
    writer.publish()
    decrypt(folder.path, None, forward=True)
    assert contents(folder.path)["decrypted.raw"] == recording


def test_finished_counts_payloads_and_lets_their_buffers_go(start):
    chunks = [bytearray(28), bytearray(28), bytearray(0), bytearray(24)]
    writer, bell = start(describe(20))
    assert writer.finished == 0
    for number, chunk in enumerate(chunks, 1):
        writer.put(chunk)
        bell.wait_for(lambda number=number: writer.finished == number)
        chunk.append(0)
    assert not writer.sealed


@pytest.mark.parametrize("sizes", [[21], [3], [40, 44], [84]])
def test_payloads_that_do_not_fit_the_description_are_refused(start, sizes):
    writer, _ = start(describe(20))
    for size in sizes[:-1]:
        writer.put(bytes(size))
    with pytest.raises(UsageError):
        writer.put(bytes(sizes[-1]))


def test_a_payload_with_gaps_is_refused(start):
    writer, _ = start(describe(20))
    with pytest.raises(UsageError, match="contiguous"):
        writer.put(memoryview(bytes(16))[::2])


def test_sealing_too_early_is_refused(start):
    writer, _ = start(describe(20))
    writer.put(bytes(76))
    with pytest.raises(UsageError, match="only 76 came"):
        writer.seal()


def test_calls_out_of_order_are_refused(make, folder):
    bell, description = Bell(), describe(0)
    writer = make(description)
    with pytest.raises(UsageError):
        writer.put(b"")
    with pytest.raises(UsageError):
        writer.seal()
    with pytest.raises(UsageError):
        writer.publish()
    open_writer(writer, description, bell)
    with pytest.raises(UsageError):
        open_writer(writer, description, bell)
    with pytest.raises(UsageError):
        writer.publish()
    writer.seal()
    with pytest.raises(UsageError):
        writer.put(b"")
    with pytest.raises(UsageError):
        writer.seal()
    bell.wait_for(lambda: writer.sealed)
    assert writer.publish() == folder.paths


@pytest.mark.parametrize(
    "changes",
    [{"frames": 19}, {"channels": 2}, {"samplerate": 48000}, {"format": "f32be"}],
    ids=lambda c: next(iter(c)),
)
def test_a_signal_that_is_not_the_descriptions_is_refused(tmp_path, make, changes):
    description = describe(20)
    other = Description(**{**asdict(description), **changes})
    with pytest.raises(UsageError, match=r"is of 20 frames of 1 channel at 44100 Hz in f32le, and the payloads are of"):
        open_writer(make(description), other, Bell())
    assert contents(tmp_path / "out") == {}


def test_an_order_that_is_not_the_descriptions_is_refused(tmp_path, make):
    description = describe(20)
    with pytest.raises(UsageError, match="the description says reversed, and the payloads forward"):
        make(description).open(description.signal, Order.FORWARD, notify=Bell())
    assert contents(tmp_path / "out") == {}


def test_a_description_that_is_too_long_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(UsageError, match="65536"):
        ResultWriter(folder, describe(5, ops=("x" * 65536,)))
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("state", ["new", "started", "fed", "sealed", "aborted"])
def test_aborting_leaves_nothing_behind_in_any_state(tmp_path, state):
    path = tmp_path / "out"
    write_pattern(path, 10)
    before = contents(path)
    descriptors = len(os.listdir("/dev/fd"))
    with ResultFolder(str(path), overwrite=True) as folder:
        bell, description = Bell(), describe(20)
        writer = ResultWriter(folder, description)
        if state != "new":
            open_writer(writer, description, bell)
            assert {"encryption_key.bin.part", "encryption_iv.bin.part", "result.raw.part"} <= set(contents(path))
        if state in ("fed", "sealed"):
            for payload in payloads(pattern(20, 4), describe(20)):
                writer.put(payload)
        if state == "sealed":
            writer.seal()
            bell.wait_for(lambda: writer.sealed)
            assert {f"{name}.part" for name in NAMES} <= set(contents(path))
        if state == "aborted":
            writer.abort()
        writer.abort()
        assert contents(path) == before
        assert not threads()
        with pytest.raises(UsageError):
            writer.publish()
        with pytest.raises(UsageError):
            open_writer(writer, description, bell)
    assert len(os.listdir("/dev/fd")) == descriptors


def test_aborting_after_publication_removes_nothing(tmp_path):
    with ResultFolder(str(tmp_path)) as folder:
        writer = sealed_writer(folder, pattern(20, 4), describe(20))
        paths = writer.publish()
        writer.abort()
        writer.abort()
        assert set(paths.values()) == {str(tmp_path / name) for name in NAMES}
    assert set(contents(tmp_path)) == set(NAMES)
    assert not threads()
    verify(str(tmp_path))


def test_aborting_after_the_folder_was_closed_touches_nothing_of_the_next_job(tmp_path):
    folder = ResultFolder(str(tmp_path))
    writer = sealed_writer(folder, pattern(20, 4), describe(20))
    folder.close()
    with ResultFolder(str(tmp_path)) as second:
        other = sealed_writer(second, pattern(20, 4, 2), describe(20))
        writer.abort()
        other.publish()
        other.abort()
    verify(str(tmp_path))


def test_the_older_result_is_untouched_until_publication(tmp_path):
    write_pattern(tmp_path, 10, seed=1)
    before = contents(tmp_path)
    with ResultFolder(str(tmp_path), overwrite=True) as folder:
        writer = sealed_writer(folder, pattern(20, 4, 2), describe(20))
        assert {name: contents(tmp_path)[name] for name in NAMES} == before
        assert verify(str(tmp_path)).frames == 10
        writer.publish()
        assert verify(str(tmp_path)).frames == 20
        writer.abort()


def failing_writes(monkeypatch, part, *, after=0):
    """Let writes to that part fail with a full disk, after so many that succeed."""
    write, count = os.write, [0]

    def full(fd, piece):
        try:
            mine = os.fstat(fd).st_ino == os.stat(part).st_ino
        except FileNotFoundError:
            mine = False
        if mine:
            count[0] += 1
            if count[0] > after:
                raise OSError(28, "No space left on device")
        return write(fd, piece)

    monkeypatch.setattr(os, "write", full)


@pytest.mark.parametrize("name", ["encryption_key.bin", "encryption_iv.bin"])
def test_a_full_disk_at_the_start_is_a_storage_error(tmp_path, folder, make, monkeypatch, name):
    failing_writes(monkeypatch, folder.part_path(name))
    writer = make(describe(20))
    with pytest.raises(StorageError, match=f"{name}.part: No space left"):
        open_writer(writer, describe(20), Bell())
    writer.abort()
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(("name", "after"), [("result.raw", 0), ("result.raw", 2), ("result.json", 0)])
def test_a_full_disk_later_is_told_by_error_and_publishes_nothing(tmp_path, folder, start, monkeypatch, name, after):
    monkeypatch.setattr(pipeline_module, "ROUND_BYTES", 32)
    failing_writes(monkeypatch, folder.part_path(name), after=after)
    writer, bell = start(describe(100))
    for payload in payloads(pattern(100, 4), describe(100)):
        writer.put(payload)
    writer.seal()
    bell.wait_for(lambda: writer.error)
    assert isinstance(writer.error, StorageError)
    assert str(writer.error) == f"{folder.part_path(name)}: No space left on device; make room on that disk"
    assert not writer.sealed
    with pytest.raises(StorageError, match="No space left"):
        writer.publish()
    writer.abort()
    assert contents(tmp_path / "out") == {}
    assert not threads()


def test_a_file_size_limit_is_a_storage_error_too(tmp_path, folder, start):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer, bell = start(describe(1 << 19, chunk_frames=1 << 18))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        writer.put(bytes(1 << 20))
        writer.put(bytes(1 << 20))
        bell.wait_for(lambda: writer.error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "result.raw.part: File too large" in str(writer.error)
    writer.abort()
    assert contents(tmp_path / "out") == {}


def test_a_failed_fsync_is_an_error_and_is_not_tried_again(tmp_path, folder, start, monkeypatch):
    writer, bell = start(describe(5))
    calls = []

    def fsync(fd):
        calls.append(os.fstat(fd).st_size)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    writer.put(bytes(20))
    writer.seal()
    bell.wait_for(lambda: writer.error)
    assert not writer.sealed
    assert len(calls) == 1
    writer.abort()
    assert len(calls) == 1
    assert contents(tmp_path / "out") == {}


def test_a_fault_of_our_own_ends_the_job_too(start, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such cipher\nin this library")

    monkeypatch.setattr(primitives, "cbc_encryptor", lambda *_: broken)
    writer, bell = start(describe(5))
    writer.put(bytes(20))
    bell.wait_for(lambda: writer.error)
    assert str(writer.error).endswith("result.raw.part: RuntimeError: no such cipher")


def test_after_an_error_payloads_are_let_go_at_once(start, monkeypatch, folder):
    writer, bell = start(describe(20))
    failing_writes(monkeypatch, folder.part_path("result.raw"))
    writer.put(bytes(28))
    writer.put(bytes(28))
    bell.wait_for(lambda: writer.error)
    late = bytearray(24)
    writer.put(late)
    late.append(0)


def test_the_key_is_wiped_after_the_start_and_shown_nowhere(folder, start, monkeypatch):
    secret = bytearray(b"0123456789abcdef0123456789abcdef")
    monkeypatch.setattr(primitives, "random_key", lambda: secret)
    writer, _ = start(describe(20))
    assert secret == bytes(32)
    state = f"{writer!r} {vars(writer)!r} {vars(writer._pipeline)!r} {vars(folder)!r}"
    assert "0123456789abcdef" not in state
    assert b"0123456789abcdef".hex() not in state


def test_the_key_is_wiped_when_the_start_fails_and_shown_in_no_traceback(folder, make, monkeypatch):
    secret = bytearray(b"0123456789abcdef0123456789abcdef")
    monkeypatch.setattr(primitives, "random_key", lambda: secret)
    failing_writes(monkeypatch, folder.part_path("encryption_key.bin"))
    writer = make(describe(20))
    with pytest.raises(StorageError) as caught:
        open_writer(writer, describe(20), Bell())
    assert secret == bytes(32)
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "0123456789abcdef" not in text


def test_memory_does_not_grow_with_the_number_of_payloads(start):
    chunk, frames = bytes(4096), 1024
    writer, bell = start(describe(4000 * frames, chunk_frames=frames))
    gc.collect()
    for number in range(4000):
        writer.put(chunk)
        if number % 100 == 99:
            bell.wait_for(lambda number=number: writer.finished == number + 1)
            assert not writer._pipeline._payloads
    assert not writer.error
    assert writer._pipeline._full.qsize() + writer._pipeline._free.qsize() <= pipeline_module.RING
