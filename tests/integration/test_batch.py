"""Batches: many recordings on one farm. Every result is that of the recording's own job."""

import errno
import gc
import json
import os
import signal
import threading
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from extended import extended
from farm_support import NAMES, decrypted, finish, inverted, launch, listing, noise, write_raw
from net_support import PATIENCE, kill, wait_until

import zaudio
from zaudio import Batch, Coordinator, Limits, Network, Security, Worker, disk, events, verify
from zaudio.audio import open_source
from zaudio.batching import lots
from zaudio.batching.publishers import RESULTS_MOST
from zaudio.cli.app import app
from zaudio.cli.progress import Display
from zaudio.errors import DiskFullError, FolderBusyError, JobError, StoppedError, UsageError
from zaudio.job.stages import signal_of
from zaudio.ops.chain import Chain
from zaudio.plan import Order
from zaudio.result import ResultWriter, publication, read_address
from zaudio.settings import Playable, Sealed
from zaudio.watching.summary import Digest
from zaudio.web.client import fetch

HIGHPASS = "highpass:hz=80"
TAKEN_ELSEWHERE = "`zaudio farm` and `zaudio render` take a stream each"


def plain(path, ops):
    """The plaintext of a recording's own job: the chain over all of it, reversed."""
    with open_source(path) as source:
        signal = signal_of(source)
        stored = np.frombuffer(source.read(0, source.frames), signal.format.dtype).reshape(-1, signal.channels)
    return Chain(ops, signal)(stored)[::-1].tobytes()


def check(folder, path, ops="invert"):
    """A result is whole, is nothing but a result, and has the samples of the recording's own job."""
    assert listing(folder) == NAMES
    assert verify(folder) is not None
    assert decrypted(folder) == plain(path, ops)


def wav(path, frames, *, channels=1, samplerate=44100, subtype="FLOAT", seed=1):
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels))
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, samplerate, subtype=subtype)
    return str(path)


def mixed(folder):
    """Twenty recordings of several kinds and lengths, one of them long and two of them empty."""
    paths = [wav(folder / f"m{n}.wav", frames, seed=n) for n, frames in enumerate((0, 1, 997, 44100, 44101, 70001))]
    paths += [wav(folder / f"s{n}.wav", 3000 + n, channels=2, subtype="PCM_16", seed=n) for n in range(5)]
    paths += [wav(folder / f"f{n}.flac", 9001, samplerate=48000, subtype="PCM_24", seed=n) for n in range(4)]
    paths += [write_raw(folder / f"r{n}.raw", noise(5 * n, seed=n)) for n in range(4)]
    return [*paths, wav(folder / "long.wav", 1_300_001)]


def ended(reports):
    """The reports by the names of their results."""
    return {os.path.basename(report.output): report for report in reports}


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def held(folder, count, stop):
    """So many small recordings, and an op that inverts: the recording of number `stop` waits for the file `gate`."""
    paths = [raw(folder, f"r{n}", frames=1000 + n, value=7.0 * (n == stop)) for n in range(count)]
    return paths, f"farm_ops:holds_at:value=7,gate={folder / 'gate'}"


def raw(folder, name, frames=100, value=0.0):
    """A small raw recording that begins with a sample."""
    samples = noise(frames, seed=3)
    samples[0, 0] = value
    return write_raw(folder / f"{name}.raw", samples)


@pytest.mark.parametrize("ops", [extended("invert"), extended([HIGHPASS, "gain:db=-3"]), "normalize:db=-1"])
def test_twenty_recordings_of_mixed_kinds_have_the_samples_of_their_own_jobs(tmp_path, ops):
    paths = mixed(tmp_path)
    reports = ended(zaudio.batch(paths, tmp_path / "out", ops=ops, workers=2))
    assert {report.state for report in reports.values()} == {"done"}, reports
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        check(tmp_path / "out" / name, path, ops)
        assert reports[name].tag == json.loads((tmp_path / "out" / name / "result.json").read_text())["tag"]
    assert len(manifest(tmp_path / "out")) == len(paths) == 20


@pytest.mark.extended
def test_a_small_result_is_described_as_by_its_own_job(tmp_path):
    path = wav(tmp_path / "take.wav", 300_001)
    for ops in ("invert", HIGHPASS):
        assert [r.state for r in zaudio.batch([path], tmp_path / "many", ops=ops, workers=1, overwrite=True)] == [
            "done"
        ]
        Coordinator(path, tmp_path / "one", ops=ops, workers=1, overwrite=True).run()
        assert verify(tmp_path / "many" / "take") == verify(tmp_path / "one")


def test_bad_recordings_cost_their_own_results_alone(tmp_path):
    good = [raw(tmp_path, f"good{n}", value=1.0) for n in range(6)]
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    paths = [*good[:3], str(text), raw(tmp_path, "bad", value=7.0), str(tmp_path / "missing.raw"), *good[3:]]
    op = "farm_ops:raises_at:value=7,tally=" + str(tmp_path / "tally")
    reports = ended(zaudio.batch(paths, tmp_path / "out", ops=op, workers=2))
    assert {name for name, report in reports.items() if report.state == "failed"} == {"text", "bad", "missing"}
    assert "failed 3 times" in reports["bad"].sentence
    assert "there is a 7 on track one" in reports["bad"].sentence
    assert reports["bad"].error == "ChunkError"
    assert reports["missing"].error == "InputError"
    assert listing(tmp_path / "out") == [*(f"good{n}" for n in range(6)), "manifest.jsonl"]
    for n, path in enumerate(good):
        check(tmp_path / "out" / f"good{n}", path)
    states = {line["output"]: line["state"] for line in manifest(tmp_path / "out")}
    assert (states["bad"], states["good0"]) == ("failed", "done")


def test_a_recording_on_which_workers_die_costs_its_own_result_alone(tmp_path):
    paths = [raw(tmp_path, f"r{n}", value=7.0 if n == 2 else 1.0) for n in range(5)]
    reports = ended(zaudio.batch(paths, tmp_path / "out", ops="farm_ops:dies_at:value=7", workers=2))
    assert [reports[f"r{n}"].state for n in range(5)] == ["done", "done", "failed", "done", "done"]
    assert "signal 9" in reports["r2"].sentence


@pytest.mark.extended
def test_a_failure_is_told_while_a_long_recording_is_being_done(tmp_path):
    limit = tmp_path / "limit"
    limit.write_text("0")
    paths = [raw(tmp_path, "long", 1_100_000, value=-1.0), tmp_path / "missing.raw"]
    job = Batch(paths, tmp_path / "out", ops=f"farm_ops:down_to:limit={limit}", workers=1)
    with job.subscribe() as told, job:
        while not isinstance(event := told.get(timeout=PATIENCE), events.RecordingEnded):
            pass
        assert (event.input, event.state) == (str(paths[1]), "failed")
        limit.write_text("-100")
        assert (job.wait().done, job.wait().failed) == (1, 1)


@pytest.mark.parametrize(("most", "sentence"), [extended(1, "^1 recording failed"), (2, "^2 recordings failed, and")])
def test_so_many_failures_end_the_batch(tmp_path, most, sentence):
    paths = [raw(tmp_path, f"r{n}", value=7.0) for n in range(9)]
    op = "farm_ops:raises_at:value=7,tally=" + str(tmp_path / "tally")
    job = Batch(paths, tmp_path / "out", ops=op, workers=2, max_fails=most)
    with pytest.raises(JobError, match=sentence):
        job.run()
    assert len(job.take()) == most


def test_a_second_run_does_what_is_left_and_skips_what_is_done(tmp_path):
    paths = [raw(tmp_path, f"r{n}") for n in range(4)]
    paths.append(wav(tmp_path / "long.wav", 1_300_001))
    assert {r.state for r in zaudio.batch(paths[1:], tmp_path / "out", workers=1)} == {"done"}
    before = {name: (tmp_path / "out" / name / "result.raw").stat() for name in ("r1", "long")}
    reports = ended(zaudio.batch(paths, tmp_path / "out", workers=1))
    assert {name: report.state for name, report in reports.items()} == {
        **dict.fromkeys(("r1", "r2", "r3", "long"), "skipped"),
        "r0": "done",
    }
    for name, status in before.items():
        assert (tmp_path / "out" / name / "result.raw").stat().st_mtime_ns == status.st_mtime_ns
    assert {r.state for r in zaudio.batch(paths, tmp_path / "out", workers=1)} == {"skipped"}


@pytest.mark.extended
def test_a_sealed_recording_is_skipped_whatever_else_lies_in_its_folder(tmp_path):
    Coordinator(raw(tmp_path, "a"), tmp_path / "vault", ops=(), workers=1).run()
    for state in ("done", "skipped"):
        assert [report.state for report in zaudio.batch([tmp_path / "vault"], tmp_path / "out", workers=1)] == [state]
        (tmp_path / "vault" / "decrypted.raw").write_bytes(b"")
        os.utime(tmp_path / "vault", ns=(7, 7))


def test_no_sealed_recording_of_the_batch_is_replaced(tmp_path):
    paths = [tmp_path / folder / "take" for folder in ("other", "out")]
    for path in paths:
        Coordinator(raw(tmp_path, "a"), path, ops=(), workers=1).run()
    reports = ended(zaudio.batch(paths, tmp_path / "out", workers=1, overwrite=True))
    assert {name: report.state for name, report in reports.items()} == {"take": "failed", "take-2": "done"}
    assert "is a recording of this batch" in reports["take"].sentence


def test_a_result_of_another_job_or_of_a_recording_that_changed_is_not_skipped(tmp_path):
    paths = [raw(tmp_path, "a"), raw(tmp_path, "b")]
    assert {r.state for r in zaudio.batch(paths, tmp_path / "out", workers=1)} == {"done"}
    raw(tmp_path, "b", frames=101)
    reports = ended(zaudio.batch(paths, tmp_path / "out", workers=1))
    assert {name: report.state for name, report in reports.items()} == {"a": "skipped", "b": "failed"}
    assert "exists already; pass --overwrite" in reports["b"].sentence
    assert {r.state for r in zaudio.batch(paths, tmp_path / "out", workers=1, overwrite=True)} == {"skipped", "done"}
    check(tmp_path / "out" / "b", paths[1])


@pytest.mark.extended
def test_the_manifest_says_how_the_last_run_ended_and_keeps_the_results_of_another_job(tmp_path):
    path, out = raw(tmp_path, "a"), tmp_path / "out"

    def run(ops, **settings):
        [report] = zaudio.batch([path], out, ops=ops, workers=1, **settings)
        last = manifest(out)[-1]
        assert (last["output"], last["state"]) == ("a", "failed" if report.state == "failed" else "done")
        return report.state, last["error"]

    assert run("invert") == ("done", "")
    assert run("gain:db=-3") == ("failed", "OutputExistsError")
    assert run("invert") == ("skipped", "")
    assert run("farm_ops:raises_at", overwrite=True) == ("failed", "ChunkError")
    assert run("invert") == ("skipped", "")
    assert run("gain:db=-3", overwrite=True) == ("done", "")
    assert run("invert") == ("failed", "OutputExistsError")
    assert run("gain:db=-3") == ("skipped", "")


def test_a_damaged_result_is_found_when_all_of_it_is_verified(tmp_path):
    path = raw(tmp_path, "a")
    assert {r.state for r in zaudio.batch([path], tmp_path / "out", workers=1)} == {"done"}
    damaged = bytearray((tmp_path / "out" / "a" / "result.raw").read_bytes())
    damaged[5] ^= 1
    (tmp_path / "out" / "a" / "result.raw").write_bytes(damaged)
    assert [r.state for r in zaudio.batch([path], tmp_path / "out", workers=1)] == ["skipped"]
    for overwrite, state in ((False, "failed"), (True, "done"), (True, "skipped")):
        job = Batch([path], tmp_path / "out", workers=1, overwrite=overwrite)
        job.verify_skipped()
        with job:
            assert [report.state for report in job.reports()] == [state]
    check(tmp_path / "out" / "a", path)


@pytest.mark.extended
def test_equal_names_are_told_apart_and_stay(tmp_path):
    paths = [wav(tmp_path / folder / "take.wav", 500, seed=n) for n, folder in enumerate("abc")]
    assert {r.state for r in zaudio.batch(paths[1:], tmp_path / "out", workers=1)} == {"done"}
    reports = {r.input: os.path.basename(r.output) for r in zaudio.batch(paths, tmp_path / "out", workers=1)}
    assert [reports[path] for path in paths] == ["take-3", "take", "take-2"]
    for path, name in reports.items():
        check(tmp_path / "out" / name, path)


@pytest.mark.parametrize("inside", [extended("raw"), "wav"])
def test_results_can_be_stored_forward_and_as_wav(tmp_path, inside):
    path = wav(tmp_path / "take.wav", 5000)
    store = Sealed(tmp_path / "out", forward=True, inside=inside)
    assert [report.state for report in zaudio.batch([path], store, workers=1)] == ["done"]
    described = verify(tmp_path / "out" / "take")
    assert (described.order, described.header_bytes > 0) == (Order.FORWARD, inside == "wav")
    assert (
        decrypted(tmp_path / "out" / "take", forward=True)
        == inverted(soundfile.read(path, dtype="<f4")[0])[::-1].tobytes()
    )


@pytest.mark.extended
def test_what_was_measured_stands_in_the_report(tmp_path):
    path = wav(tmp_path / "take.wav", 50_000)
    [report] = zaudio.batch([path], tmp_path / "out", ops="normalize:db=-1", workers=1)
    assert report.state == "done"
    [sentence] = report.measured
    assert "normalize" in sentence


def test_a_broken_disk_costs_one_result_and_the_next_run_makes_it(tmp_path, monkeypatch):
    paths = [raw(tmp_path, "a"), wav(tmp_path / "long.wav", 1_300_001), raw(tmp_path, "b")]
    with monkeypatch.context() as patch:

        def broken(*arguments):
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(ResultWriter, "_complete", broken)
        reports = ended(zaudio.batch(paths, tmp_path / "out", workers=2))
    assert {name: report.state for name, report in reports.items()} == {"a": "done", "b": "done", "long": "failed"}
    assert "Input/output error" in reports["long"].sentence
    reports = ended(zaudio.batch(paths, tmp_path / "out", workers=2))
    assert {name: report.state for name, report in reports.items()} == {"a": "skipped", "b": "skipped", "long": "done"}
    check(tmp_path / "out" / "long", paths[1])


@pytest.mark.parametrize("room", [2000, extended(200_000)])
def test_a_full_disk_ends_the_batch_and_the_next_run_does_what_was_left(tmp_path, monkeypatch, room):
    monkeypatch.setattr(lots, "LOT_MOST", 20)
    paths = [raw(tmp_path, f"r{n:03}", frames=1000) for n in range(150)]
    job, write, tried = Batch(paths, tmp_path / "out", workers=2), disk.write_all, set()

    def write_all(fd, piece):
        nonlocal room
        tried.add(os.path.dirname(os.readlink(f"/proc/self/fd/{fd}")))
        whole, view = room, memoryview(piece)
        room = max(0, room - view.nbytes)
        write(fd, view[:whole])
        if whole < view.nbytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", write_all)
        with pytest.raises(DiskFullError, match="No space left on device; make room on that disk"):
            job.run()
    reports = ended(job.take())
    assert {report.state for report in reports.values()} <= {"done"}
    # Those that were given when the disk was full, those given until the farm heard of it, and the batch's own folder.
    assert len(tried) <= len(reports) + 3 * RESULTS_MOST < len(paths), "most were not tried"
    # The end may come between a result's line and its report, or its publication.
    lines = {line["output"]: line["state"] for line in manifest(tmp_path / "out")}
    assert lines.items() >= dict.fromkeys(reports, "done").items()
    assert set(lines.values()) <= {"done"}
    again = ended(zaudio.batch(paths, tmp_path / "out", workers=2))
    assert set(reports) <= {name for name, report in again.items() if report.state == "skipped"} <= set(lines)
    assert {report.state for report in again.values()} <= {"done", "skipped"}
    check(tmp_path / "out" / "r149", paths[-1])


@pytest.mark.parametrize("playable", [False, extended(True)])
def test_a_result_that_has_its_name_is_reported_though_the_disk_fails_behind_that(tmp_path, monkeypatch, playable):
    paths = [raw(tmp_path, "a"), wav(tmp_path / "long.wav", 1_300_001)]
    out = Playable(tmp_path / "out", suffix="wav") if playable else tmp_path / "out"

    def full(*arguments):
        patch.undo()
        raise OSError(errno.ENOSPC, "No space left on device")

    gate = tmp_path / "gate"
    op = f"farm_ops:gated:gate={gate}"
    for path in paths:
        gate.unlink(missing_ok=True)
        job = Batch([path], out, ops=op, workers=1)
        with monkeypatch.context() as patch, job, suppress(DiskFullError):
            patch.setattr(disk, "sync_name", full)  # a file has its name then
            patch.setattr(publication, "finish", full)  # a folder is committed then, and a look at it finishes that
            gate.touch()  # not before the disk is full
            job.wait()
        [report] = job.take()
        assert report.state == "done", report
        assert "No space left on device" in report.warnings[-1]
    assert {report.state for report in zaudio.batch(paths, out, ops=op, workers=1)} == {"skipped"}


@pytest.mark.extended
def test_a_full_disk_under_encoders_ends_the_batch_and_leaves_no_views_in_circles(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    paths = [raw(tmp_path, f"r{n}", frames=30_000) for n in range(40)]
    store = Playable(tmp_path / "out", format="s16le", suffix="flac")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(DiskFullError, match="No space left on device"):
            Batch(paths, store, workers=1).run()
    gc.collect()  # it crashed on these views
    assert {report.state for report in zaudio.batch(paths, store, workers=1)} == {"done"}


def test_a_recording_without_room_for_its_result_and_those_behind_it_are_left_for_the_next_run(tmp_path, monkeypatch):
    paths = [raw(tmp_path, "a"), wav(tmp_path / "long.wav", 1_300_001), raw(tmp_path, "b")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstatvfs", lambda fd: SimpleNamespace(f_blocks=1, f_bavail=500, f_frsize=1000))
        job = Batch(paths, tmp_path / "out", workers=1)
        with pytest.raises(DiskFullError, match="too little room on the disk: 5200016 bytes are needed, and 500000"):
            job.run()
    sums = job.sums()
    assert (sums.recordings, sums.done, sums.failed, sums.workers, sums.error) == (3, 1, 0, 1, "DiskFullError")
    assert [(line["output"], line["state"]) for line in manifest(tmp_path / "out")] == [("a", "done")]
    reports = ended(zaudio.batch(paths, tmp_path / "out", workers=1))
    assert {name: report.state for name, report in reports.items()} == {"a": "skipped", "long": "done", "b": "done"}


def test_a_stream_is_refused_and_nothing_waits_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path / "pipe"), raw(tmp_path, "a"), "-"]
    reports = ended(zaudio.batch(paths, tmp_path / "out", workers=1))
    assert {name: report.state for name, report in reports.items()} == {"pipe": "failed", "a": "done", "-": "failed"}
    assert reports["pipe"].sentence.endswith("pipe: is a stream, and a batch reads files; " + TAKEN_ELSEWHERE)


@pytest.mark.extended
def test_audits_and_recipients_are_those_of_a_job(tmp_path):
    code, out, err = finish(launch("identity", tmp_path / "identity.txt"))
    assert code == 0, err
    public = out.strip().splitlines()[-1].split()[-1]
    paths = [raw(tmp_path, f"r{n}", frames=100 + n) for n in range(5)]
    security = Security(audit=100, recipient=public)
    reports = list(zaudio.batch(paths, tmp_path / "out", workers=2, security=security))
    assert {report.state for report in reports} == {"done"}
    for n in range(5):
        assert verify(tmp_path / "out" / f"r{n}", identity=tmp_path / "identity.txt").frames == 100 + n


def test_workers_from_elsewhere_share_a_batch(tmp_path):
    paths = [wav(tmp_path / f"w{n}.wav", 20_000 + n, seed=n) for n in range(12)]
    paths.append(wav(tmp_path / "long.wav", 1_300_001))
    job = Batch(paths, tmp_path / "out", ops=HIGHPASS, bind="tcp://127.0.0.1:0")
    with job:
        worker = Worker(job.endpoint, name="far", once=True)
        thread = threading.Thread(target=worker.run)
        thread.start()
        reports = ended(job.reports())
        thread.join(PATIENCE)
    assert {report.state for report in reports.values()} == {"done"}
    for path in paths:
        check(tmp_path / "out" / os.path.basename(path)[:-4], path, HIGHPASS)


@pytest.mark.extended
def test_small_recordings_are_cut_when_their_chunks_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr(lots, "LOT_MOST", 3)
    paths = [write_raw(tmp_path / f"r{n}.raw", noise(1000 + 17 * n, seed=n)) for n in range(7)]
    for chunk, network in (("64f", Network()), ("1000f", Network(sockets_only=True))):
        out = tmp_path / chunk
        reports = list(zaudio.batch(paths, out, ops="farm_ops:negate", workers=2, chunk=chunk, network=network))
        assert {report.state for report in reports} == {"done"}
        for path in paths:
            check(out / os.path.basename(path)[:-4], path)


@pytest.mark.extended
def test_small_results_of_24_bits_are_made_in_lots(tmp_path):
    path = write_raw(tmp_path / "r.raw", noise(1000, seed=1))
    [report] = zaudio.batch([path], tmp_path / "out", ops="convert:format=s24le", workers=1)
    assert report.state == "done", report.sentence
    Coordinator(path, tmp_path / "one", ops="convert:format=s24le", workers=1).run()
    assert decrypted(tmp_path / "out" / "r") == decrypted(tmp_path / "one")


@pytest.mark.extended
def test_how_far_a_batch_is_goes_by_bytes(tmp_path):
    paths = [raw(tmp_path, f"r{n}", frames=1000) for n in range(3)]
    paths += [wav(tmp_path / "long.wav", 1_300_001), str(tmp_path / "missing.raw")]
    sizes = dict(zip(paths, (4000, 4000, 4000, 4 * 1_300_001, 0), strict=True))
    job = Batch(paths, tmp_path / "out", ops="farm_ops:slow:ms=20", workers=1)
    seen = []
    with job:
        for report in job.reports():
            seen.append(job.progress)
            if report.input.endswith("long.wav"):
                assert seen[-1].fraction >= sizes[report.input] / sum(sizes.values())
    assert [each.fraction for each in seen] == sorted(each.fraction for each in seen)
    last = job.progress
    assert (last.input_bytes, last.input_bytes_done, last.input_bytes_passed) == (*[sum(sizes.values())] * 2, 0)
    assert (last.done, last.failed, last.fraction) == (5, 1, 1.0)
    again = Batch(paths, tmp_path / "out", ops="farm_ops:slow:ms=20", workers=1)
    again.run()
    assert again.progress.input_bytes_passed == again.progress.input_bytes > last.input_bytes


@pytest.mark.extended
def test_a_compressed_recording_weighs_its_samples(tmp_path):
    paths = [wav(tmp_path / "s16.wav", 70_000, subtype="PCM_16"), str(tmp_path / "v.ogg"), str(tmp_path / "f.flac")]
    for path, subtype in zip(paths[1:], ("VORBIS", "PCM_16"), strict=True):
        soundfile.write(path, soundfile.read(paths[0])[0], 44100, subtype=subtype)
    with Batch(paths, tmp_path / "out", workers=1) as job:
        job.wait()
    assert job.progress.input_bytes == job.progress.input_bytes_done == 70_000 * (2 + 4 + 2)


@pytest.mark.extended
def test_little_memory_is_enough_for_many_recordings(tmp_path):
    paths = [write_raw(tmp_path / f"r{n}.raw", noise(100_000, seed=n)) for n in range(8)]
    reports = list(zaudio.batch(paths, tmp_path / "out", workers=2, limits=Limits(memory="1MiB"), chunk="64KiB"))
    assert {report.state for report in reports} == {"done"}
    for path in paths:
        check(tmp_path / "out" / os.path.basename(path)[:-4], path)


@pytest.mark.extended
def test_a_batch_that_is_left_early_keeps_what_is_done_and_goes_on(tmp_path):
    paths, op = held(tmp_path, 30, 10)
    for report in zaudio.batch(paths, tmp_path / "out", ops=op, workers=1):
        assert report.state == "done"
        break
    done = {line["output"] for line in manifest(tmp_path / "out")}
    assert 1 <= len(done) < 30
    (tmp_path / "gate").touch()
    reports = ended(zaudio.batch(paths, tmp_path / "out", ops=op, workers=2))
    assert {name for name, report in reports.items() if report.state == "skipped"} == done
    assert {report.state for report in reports.values()} == {"skipped", "done"}


def test_a_batch_can_be_stopped_and_says_so(tmp_path):
    paths, op = held(tmp_path, 30, 10)
    job = Batch(paths, tmp_path / "out", ops=op, workers=1)
    with job:
        next(job.reports())
        job.stop()
        with pytest.raises(StoppedError):
            job.wait()
    for name in listing(tmp_path / "out"):
        if name != "manifest.jsonl":
            assert verify(tmp_path / "out" / name)


def test_values_that_cannot_be_used_are_refused_before_anything_is_done(tmp_path):
    for values, sentence in (
        ({"inputs": "take.raw"}, "a list of files"),
        ({"max_fails": 0}, "1 or more"),
        ({"security": Security(key_out=tmp_path / "key")}, "a key for each result"),
        ({"ops": "nothing"}, "there is no op"),
        ({"output": "a\0b"}, "null byte"),
    ):
        arguments = {"inputs": ["take.raw"], "output": tmp_path / "out", "workers": 1, **values}
        with pytest.raises(UsageError, match=sentence):
            Batch(**arguments).run()


def test_no_recordings_at_all_are_a_batch_that_is_done(tmp_path):
    report = Batch([], tmp_path / "out", workers=1).run()
    assert (report.recordings, report.done, report.failed) == (0, 0, 0)


def test_two_batches_do_not_share_a_folder(tmp_path):
    path = raw(tmp_path, "a")
    first = Batch([path], tmp_path / "out", ops=f"farm_ops:gated:gate={tmp_path / 'gate'}", workers=1)
    with first, pytest.raises(FolderBusyError):
        Batch([path], tmp_path / "out", workers=1).run()


# The command


def command(folder, *more):
    return launch("batch", "-o", folder / "out", "-n", "2", "--progress", "none", *more, cwd=folder)


def shown(url):
    """What the page of a batch shows, once it shows that a recording runs."""
    snapshot = fetch(url)
    return snapshot if snapshot["jobs_counts"].get("running") else None


@pytest.mark.parametrize("how", [signal.SIGKILL, extended(signal.SIGINT)])
def test_a_batch_that_was_killed_goes_on_with_the_same_command(tmp_path, how):
    paths, op = held(tmp_path, 40, 20)
    paths.append(wav(tmp_path / "long.wav", 1_300_001))
    page = ("--web", "0", "--web-linger", "0", "--events", "events.jsonl")
    line = [*paths, "--op", op, *page]
    process = command(tmp_path, *line)
    manifest_path = tmp_path / "out" / "manifest.jsonl"
    wait_until(lambda: manifest_path.exists() and manifest_path.read_bytes().count(b"\n") >= 5, "some are done")
    # The page and the log have threads of their own, and may come to it later.
    address, token = wait_until(lambda: read_address(tmp_path / "out"), "the page says where it is")
    snapshot = wait_until(lambda: shown(f"{address}#{token}"), "the page shows recordings that run")
    assert (snapshot["title"], snapshot["progress"]["unit"], len(snapshot["jobs"])) == ("out", "recordings", 41)
    log = tmp_path / "events.jsonl"
    wait_until(lambda: log.exists() and b'"kind":"started"' in log.read_bytes(), "the log has begun")
    if how == signal.SIGKILL:
        kill(process.pid)
    else:
        os.killpg(process.pid, how)
    code, _, err = finish(process)
    if how == signal.SIGINT:
        assert code == 130
        assert "the same command does the rest" in err
    done = manifest_path.read_bytes().count(b"\n")
    assert done < 41
    (tmp_path / "gate").touch()
    code, out, err = finish(command(tmp_path, *line))
    assert code == 0, err
    assert "41 recordings: " in out
    assert "done by an earlier run" in out
    assert token in err, "the page of the next run has the same token"
    digest = Digest()
    for text in log.read_text().splitlines():
        digest.take(text)
    first, second = digest.lives()
    assert first.end == ("cut off" if how == signal.SIGKILL else "stopped")
    assert (second.end, second.batch.recordings, sum(second.batch.ended.values())) == ("done", 41, 41)
    assert second.batch.ended["skipped"] > 0
    assert second.done == second.chunks > 0
    for path in paths:
        check(tmp_path / "out" / os.path.splitext(os.path.basename(path))[0], path)


def test_lists_name_recordings_and_failures_are_told(tmp_path):
    paths = [raw(tmp_path, name) for name in ("a", "b b", "@c")]
    (tmp_path / "list.txt").write_text(f"{paths[1]}\n\nmissing.raw\n")
    code, out, err = finish(command(tmp_path, paths[0], "@list.txt", "./@c.raw", "--report", "report.json"))
    assert code == 1
    assert "4 recordings: 3 done, 1 failed" in out
    assert "missing.raw: cannot be opened" in err
    assert "1 recording failed" in err
    assert json.loads((tmp_path / "report.json").read_text())["done"] == 3
    for path, name in zip(paths, ("a", "b b", "@c"), strict=True):
        check(tmp_path / "out" / name, path)
    code, out, err = finish(command(tmp_path, "@nothing.txt"))
    assert code == 3
    assert "nothing.txt: this list of recordings cannot be read" in err


@pytest.mark.extended
def test_a_batch_that_ends_early_says_how_many_are_done(tmp_path):
    line = [raw(tmp_path, "a"), raw(tmp_path, "b"), "missing.raw"]
    assert finish(command(tmp_path, *line))[0] == 1
    code, _, err = finish(command(tmp_path, *line, "--max-fails", "1"))
    assert code == 1
    assert err.endswith(
        f"is 1; 2 of 3 recordings are done and kept in {tmp_path}/out, and the same command does the rest\n"
    )


def test_a_display_hears_the_events_of_a_batch(tmp_path, monkeypatch):
    heard = []

    class Heard(Display):
        def listen(self, subscribe):
            heard.append(subscribe(64))

    monkeypatch.setattr("zaudio.cli.progress.display", lambda mode: Heard())
    done = CliRunner().invoke(app, ["batch", str(tmp_path / "missing.wav"), "-o", str(tmp_path / "out"), "-n", "1"])
    assert done.exit_code == 1, done.output
    [subscription] = heard
    assert [type(event) for event in subscription.take(timeout=1)][:2] == [events.Started, events.RecordingEnded]


@pytest.mark.parametrize("name", ["manifest.jsonl", *map(extended, ("page.secret", "result.web"))])
def test_a_log_of_events_takes_the_place_of_no_file_of_the_batch(tmp_path, name):
    code, _, err = finish(command(tmp_path, raw(tmp_path, "a"), "--events", f"out/{name}"))
    assert code == 2
    assert name in err
    assert "choose another file" in err


@pytest.mark.extended
def test_a_batch_that_is_done_tells_in_its_log_that_all_were_skipped(tmp_path):
    line = [raw(tmp_path, "a"), "--events", "-", "--web", "0", "--web-linger", "0"]
    assert finish(command(tmp_path, *line))[0] == 0
    code, out, err = finish(command(tmp_path, *line))
    assert code == 0
    assert [json.loads(each)["kind"] for each in out.splitlines()] == ["started", "recording_ended", "state_changed"]
    assert "1 recording: 0 done, 1 done by an earlier run" in err
    assert "see it at" not in err
