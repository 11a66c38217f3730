"""Batches of files that play: each is the file that a render of its recording makes."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from extended import extended
from farm_support import finish, launch, listing, noise, write_raw
from net_support import kill, wait_until

import zaudio
from zaudio import Batch, Playable, Raw, Security, render
from zaudio.audio.part import PartFile
from zaudio.errors import UsageError


def wav(path, frames, *, channels=1, subtype="PCM_16", seed=1, title=""):
    path.parent.mkdir(exist_ok=True)
    with soundfile.SoundFile(path, "w", 44100, channels, subtype) as sound:
        if title:
            sound.title = title
        sound.write(np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels)))
    return str(path)


def batch(paths, output, suffix="wav", *, verify=False, **settings):
    """The reports of a batch by the names of its files."""
    store = Playable(
        output, suffix=suffix, **{name: settings.pop(name) for name in ("format", "dither") if name in settings}
    )
    job = Batch(paths, store, workers=1, **settings)
    if verify:
        job.verify_skipped()
    with job:
        return {os.path.basename(report.output): report for report in job.reports()}


def states(reports):
    return {name: report.state for name, report in reports.items()}


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def rendered(path, folder, suffix, **store):
    """The bytes of the file that a render of the recording alone makes."""
    target = folder / f"reference.{suffix}"
    render(path, Playable(target, **store), workers=1, overwrite=True)
    return target.read_bytes()


@pytest.mark.parametrize(("suffix", "store"), [("wav", {}), extended(".FLAC", {"format": "s16le", "dither": True})])
def test_each_file_is_the_one_that_a_render_makes(tmp_path, suffix, store):
    ending = suffix.lower().removeprefix(".")
    paths = [wav(tmp_path / f"s{n}.wav", 3000 + n, channels=2, seed=n, title=f"take {n}") for n in range(3)]
    paths += [
        wav(tmp_path / "p.wav", 997, subtype="PCM_24"),
        wav(tmp_path / "talk.ogg", 9001, subtype="VORBIS", title="Ä"),
    ]
    paths += [wav(tmp_path / "long.wav", 1_300_001, subtype="FLOAT")]
    reports = batch(paths, tmp_path / "out", suffix, **store)
    assert set(states(reports).values()) == {"done"}, reports
    assert len(reports) == len(paths) == len(manifest(tmp_path / "out"))
    assert listing(tmp_path / "out") == sorted([*reports, "manifest.jsonl"])
    for path in paths[2:]:
        name = f"{os.path.splitext(os.path.basename(path))[0]}.{ending}"
        content = (tmp_path / "out" / name).read_bytes()
        assert content == rendered(path, tmp_path, ending, **store), name
        assert reports[name].sha256 == hashlib.sha256(content).hexdigest()
    with soundfile.SoundFile(tmp_path / "out" / f"talk.{ending}") as sound:
        assert sound.title == "Ä"


def test_a_second_run_skips_files_that_are_those_of_the_manifest(tmp_path):
    paths = [wav(tmp_path / f"r{n}.wav", 1000 + n) for n in range(5)]
    out = tmp_path / "out"
    batch(paths, out)
    before = {name: (out / name).read_bytes() for name in listing(out)}
    changed = bytearray(before["r1.wav"])
    changed[-1] ^= 1
    (out / "r0.wav").unlink()  # missing
    (out / "r1.wav").write_bytes(changed)
    os.utime(out / "r2.wav")  # touched
    status = (out / "r3.wav").stat()
    (out / "r3.wav").write_bytes(changed[: len(before["r3.wav"])].ljust(len(before["r3.wav"]), b"x"))
    os.utime(out / "r3.wav", ns=(status.st_atime_ns, status.st_mtime_ns))  # changed, and the time put back
    skipped = dict.fromkeys(("r2.wav", "r4.wav"), "skipped")
    reports = batch(paths, out)
    assert states(reports) == {**skipped, "r0.wav": "done", "r1.wav": "failed", "r3.wav": "skipped"}
    assert "r1.wav exists already; pass --overwrite" in reports["r1.wav"].sentence
    assert (out / "r1.wav").read_bytes() == changed  # it may be somebody's work
    assert states(batch(paths, out, verify=True))["r3.wav"] == "failed"
    reports = batch(paths, out, verify=True, overwrite=True)
    assert states(reports) == {**skipped, "r0.wav": "skipped", "r1.wav": "done", "r3.wav": "done"}
    assert {name: (out / name).read_bytes() for name in reports} == {name: before[name] for name in reports}


@pytest.mark.extended
def test_another_format_or_another_recording_is_another_job(tmp_path):
    path = wav(tmp_path / "a.wav", 1000)
    batch([path], tmp_path / "out")
    for settings in ({"format": "s24le"}, {"dither": True}, {"ops": "gain:db=-3"}):
        assert states(batch([path], tmp_path / "out", **settings)) == {"a.wav": "failed"}
    wav(tmp_path / "a.wav", 1001)
    assert states(batch([path], tmp_path / "out")) == {"a.wav": "failed"}
    assert states(batch([path], tmp_path / "out", overwrite=True)) == {"a.wav": "done"}
    assert states(batch([path], tmp_path / "out")) == {"a.wav": "skipped"}


@pytest.mark.extended
def test_equal_names_are_told_apart_beside_sealed_results_too(tmp_path):
    paths = [wav(tmp_path / folder / "take.wav", 500, seed=n) for n, folder in enumerate("abc")]
    assert set(states(batch(paths[1:], tmp_path / "out")).values()) == {"done"}
    sealed = [os.path.basename(report.output) for report in zaudio.batch(paths, tmp_path / "out", workers=1)]
    assert sorted(sealed) == ["take", "take-2", "take-3"]
    reports = batch(paths, tmp_path / "out")
    assert {report.input: name for name, report in reports.items()} == dict(
        zip(paths, ("take-3.wav", "take.wav", "take-2.wav"), strict=True)
    )
    assert states(reports) == {"take-3.wav": "done", "take.wav": "skipped", "take-2.wav": "skipped"}
    assert {report.state for report in zaudio.batch(paths, tmp_path / "out", workers=1)} == {"skipped"}


def test_what_a_file_cannot_hold_costs_that_result_alone(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    paths = [wav(tmp_path / "a.wav", 1000), wav(tmp_path / "float.wav", 1000, subtype="FLOAT"), str(text)]
    paths += [wav(tmp_path / "empty.wav", 0), wav(tmp_path / "b.wav", 1000)]
    reports = batch(paths, tmp_path / "out", "flac")
    assert {name for name, report in reports.items() if report.state == "done"} == {"a.flac", "b.flac"}
    assert "pass --format s24le" in reports["float.flac"].sentence
    assert reports["empty.flac"].sentence.endswith("which a FLAC file cannot say; pass --render wav (suffix='wav')")
    assert listing(tmp_path / "out") == ["a.flac", "b.flac", "manifest.jsonl"]
    assert states(batch(paths[3:4], tmp_path / "wav")) == {"empty.wav": "done"}
    assert soundfile.info(tmp_path / "wav" / "empty.wav").frames == 0


def test_no_recording_of_the_batch_is_replaced(tmp_path):
    paths = [wav(tmp_path / "a.flac", 1000), wav(tmp_path / "a.wav", 1000), wav(tmp_path / "b.wav", 1000)]
    before = [Path(path).read_bytes() for path in paths]
    reports = batch(paths, tmp_path, overwrite=True)
    assert states(reports) == {"a.wav": "failed", "a-2.wav": "done", "b.wav": "failed"}
    assert "a recording of this batch" in reports["a.wav"].sentence
    assert [Path(path).read_bytes() for path in paths] == before


@pytest.mark.extended
def test_results_beside_their_recordings_are_no_recordings_of_the_next_run(tmp_path):
    for name in ("a.flac", "b.flac"):
        wav(tmp_path / "in" / name, 1000)
    for state in ("done", "skipped"):
        (tmp_path / "in" / "c.wav.part").touch()
        paths = [str(path) for path in sorted((tmp_path / "in").iterdir())]
        store = Playable(os.path.join(tmp_path, "in", "..", "in"), suffix="wav")
        with Batch(paths, store, workers=1) as job:
            recordings = [path for path in paths if path.endswith(".flac")]
            assert states({report.input: report for report in job.reports()}) == dict.fromkeys(recordings, state)
    [warning] = job.warnings
    assert "a.wav and 3 more: left out" in warning
    with pytest.raises(UsageError, match=r"a\.wav: left out, .* no recording is left; .* another folder with -o"):
        Batch([str(tmp_path / "in" / "a.wav")], Playable(tmp_path / "in", suffix="wav"), workers=1).run()
    assert listing(tmp_path / "in") == ["a.flac", "a.wav", "b.flac", "b.wav", "c.wav.part", "manifest.jsonl"]


@pytest.mark.extended
def test_results_of_both_kinds_in_one_folder_are_told_apart_and_both_are_skipped(tmp_path):
    sealed, played = wav(tmp_path / "take.wav.flac", 1000), wav(tmp_path / "take.flac", 1000)
    for state in ("done", "skipped"):
        with Batch([sealed], tmp_path / "out", workers=1) as job:
            assert [report.state for report in job.reports()] == [state]
        assert states(batch([played], tmp_path / "out")) == {"take-2.wav": state}
    assert listing(tmp_path / "out") == ["manifest.jsonl", "take-2.wav", "take.wav"]


def test_a_kill_before_the_name_or_behind_it_leaves_work_that_the_next_run_ends(tmp_path, monkeypatch):
    paths = [wav(tmp_path / "small.wav", 1000), wav(tmp_path / "long.wav", 2_200_001)]
    own, journal = PartFile.publish, tmp_path / "out" / "long.wav.part.journal"
    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "remove", lambda self: None)  # a kill removes nothing

        def killed(self):
            if "long" in self.path:
                kept.append(journal.read_bytes())
                own(self)
                journal.write_bytes(kept[0])  # the instant before it goes
            raise OSError("killed")

        patch.setattr(PartFile, "publish", killed)
        # Of the long one, the process lives on: it looks, and finds it published.
        assert states(batch(paths, tmp_path / "out")) == {"small.wav": "failed", "long.wav": "done"}
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "manifest.jsonl").write_text("".join(line for line in lines if '"done"' in line))
    assert listing(tmp_path / "out") == ["long.wav", "long.wav.part.journal", "manifest.jsonl", "small.wav.part"]
    assert states(batch(paths, tmp_path / "out")) == {"small.wav": "done", "long.wav": "skipped"}
    assert listing(tmp_path / "out") == ["long.wav", "manifest.jsonl", "small.wav"]
    journal.write_bytes(kept[0])
    (tmp_path / "out" / "manifest.jsonl").unlink()
    reports = batch(paths, tmp_path / "out")
    assert states(reports) == {"small.wav": "failed", "long.wav": "done"}
    assert "this job was done already" in reports["long.wav"].warnings[-1]
    assert states(batch(paths, tmp_path / "out"))["long.wav"] == "skipped"
    assert listing(tmp_path / "out") == ["long.wav", "manifest.jsonl", "small.wav"]


@pytest.mark.parametrize(
    ("store", "settings", "sentence"),
    [
        (Playable("out"), {}, "give its kind"),
        (Playable("out", suffix="mp3"), {}, r"\.mp3 is not one of them"),
        (Playable("out", suffix="wav"), {"security": Security(recipient="x")}, "a file that plays is not encrypted"),
    ],
)
def test_a_store_that_cannot_be_is_refused(store, settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        Batch(["a.wav"], store, **settings)


def test_a_suffix_is_letters_and_of_a_batch():
    for suffix in ("", ".", "a/b.wav", "tar.gz"):
        with pytest.raises(UsageError, match="expected one such as 'wav'"):
            Playable("out", suffix=suffix)
    with pytest.raises(UsageError, match="suffix is of a batch"):
        zaudio.Rendering("a.wav", Playable("b.wav", suffix="wav"))


# The command


def command(folder, *more):
    return launch("batch", "-o", folder / "out", "-n", "2", "--progress", "none", *more, cwd=folder)


@pytest.mark.extended
def test_a_batch_of_files_that_was_killed_goes_on_with_the_same_command(tmp_path):
    paths = [wav(tmp_path / f"r{n}.wav", 1000 + n, seed=n) for n in range(30)]
    paths.append(wav(tmp_path / "long.wav", 2_200_001))
    stop = soundfile.read(paths[20], dtype="int16")[0][0]  # this one waits, so that the batch cannot end before
    line = [*paths, "--render", "wav", "--op", f"farm_ops:holds_at:value={stop},gate={tmp_path / 'gate'}"]
    expected = {os.path.basename(each): -soundfile.read(each, dtype="int16")[0] for each in paths}

    def published():
        return [name for name in expected if (tmp_path / "out" / name).exists()]

    process = command(tmp_path, *line)
    wait_until(lambda: len(published()) >= 4, "some are done")
    kill(process.pid)
    finish(process)
    early = published()
    assert 4 <= len(early) < 31
    (tmp_path / "gate").touch()
    for name in early:  # at the instant of the kill, what has its name is whole
        assert np.array_equal(soundfile.read(tmp_path / "out" / name, dtype="int16")[0], expected[name])
    code, out, err = finish(command(tmp_path, *line))
    assert code == 0, err
    assert "done by an earlier run" in out
    assert f"results: {tmp_path}/out/NAME.wav" in out
    assert listing(tmp_path / "out") == sorted([*expected, "manifest.jsonl"])
    for name, samples in expected.items():
        assert np.array_equal(soundfile.read(tmp_path / "out" / name, dtype="int16")[0], samples)


@pytest.mark.extended
def test_raw_inputs_have_a_format_of_their_own_and_options_of_sealed_results_are_refused(tmp_path):
    path = write_raw(tmp_path / "a.raw", noise(1000, format="s16le"))
    code, _, err = finish(command(tmp_path, path, "--render", "wav", "--forward"))
    assert (code, err.count("\n"), listing(tmp_path)) == (2, 1, ["a.raw"])
    line = [path, "--render", "wav", "--format", "s24le", "--input-format", "s16le", "--samplerate", "8000"]
    code, _, err = finish(command(tmp_path, *line))
    assert code == 0, err
    render(path, Playable(tmp_path / "own.wav", format="s24le"), raw=Raw(format="s16le", samplerate=8000), workers=1)
    assert (tmp_path / "out" / "a.wav").read_bytes() == (tmp_path / "own.wav").read_bytes()
