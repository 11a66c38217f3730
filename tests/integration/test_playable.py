"""Files that play, results that hold one, and sealed recordings that are worked on, by whole commands."""

import json
import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from extended import extended, product
from farm_support import (
    environment,
    finish,
    launch,
    launch_script,
    noise,
    openssl_decrypted,
    popen,
    saved,
    write_raw,
)
from net_support import PATIENCE, kill, wait_until
from test_resume import EAGER

import zaudio
from zaudio import Chain, Playable, Rendering, Sealed, Signal, UsageError, decrypt, disk, render, sample_format
from zaudio.audio.journal import decode_journal
from zaudio.audio.wave import WaveFile
from zaudio.errors import OutputExistsError
from zaudio.result import make_identity, read_address

FRAMES = 60_001  # odd: the samples of a mono file of 24 bits need a byte of padding


def run(*arguments, code=0, within=PATIENCE):
    """A command to its end; what it wrote to both streams."""
    found, out, err = finish(launch(*arguments), within=within)
    assert found == code, (out, err)
    return out, err


def write_wav(path, *, subtype="PCM_16", channels=2, samplerate=48_000, title=""):
    """A WAV of noise; its samples as integers of 32 bits, or as floats."""
    with soundfile.SoundFile(path, "w", samplerate, channels, subtype) as file:
        if title:
            file.title = title
        file.write(np.random.default_rng(3).uniform(-0.9, 0.9, (FRAMES, channels)))
    return read(path)


def read(path):
    kind = "float32" if soundfile.info(path).subtype == "FLOAT" else "int32"
    return soundfile.read(path, dtype=kind, always_2d=True)[0]


def title_of(path):
    with soundfile.SoundFile(path) as file:
        return file.title


def negative(samples):
    low = np.iinfo(samples.dtype).min if samples.dtype.kind == "i" else None
    return -np.where(samples == low, low + 1, samples) if low is not None else -samples


# One line each of what people want


def test_a_recording_comes_back_playable(tmp_path):
    samples = write_wav(tmp_path / "take.wav")
    out, _ = run("render", tmp_path / "take.wav", tmp_path / "out.wav", "--op", "invert", "-n", "2", "--chunk", "7001f")
    assert np.array_equal(read(tmp_path / "out.wav"), negative(samples))
    assert f"published {tmp_path / 'out.wav'}" in out
    assert f"{FRAMES} frames, 2 channels, 48000 Hz, s16le, WAV" in out
    assert f"play it with: ffplay -autoexit {shlex.quote(str(tmp_path / 'out.wav'))}" in out
    assert sorted(os.listdir(tmp_path)) == ["out.wav", "take.wav"]


@pytest.mark.parametrize("suffix", ["wav", extended("flac")])
def test_24_bits_stay_24_bits_and_metadata_stays_with_them(tmp_path, suffix):
    samples = write_wav(tmp_path / "take.wav", subtype="PCM_24", channels=1, title="Dawn")
    run("render", tmp_path / "take.wav", tmp_path / f"out.{suffix}", "-n", "1")
    assert soundfile.info(tmp_path / f"out.{suffix}").subtype == "PCM_24"
    assert np.array_equal(read(tmp_path / f"out.{suffix}"), samples)
    assert title_of(tmp_path / f"out.{suffix}") == "Dawn"


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["MP3", "OGG"])
def test_what_is_decoded_is_rendered(tmp_path, kind):
    path = tmp_path / f"take.{kind.lower()}"
    try:
        soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, FRAMES), 48_000, format=kind,
                        subtype="OPUS" if kind == "OGG" else None)  # fmt: skip
    except soundfile.SoundFileError:
        pytest.skip(f"this libsndfile writes no {kind}")
    run("render", path, tmp_path / "out.wav", "-n", "1", "-q")
    assert np.array_equal(read(tmp_path / "out.wav")[:, 0], soundfile.read(path, dtype="float32")[0])


@pytest.mark.extended
def test_a_stream_is_rendered_and_says_that_it_cannot_be_resumed(tmp_path):
    samples = write_wav(tmp_path / "take.wav")
    command = [sys.executable, "-m", "zaudio", "render", "-", str(tmp_path / "out.wav"), "-n", "1"]
    done = subprocess.run(command, input=(tmp_path / "take.wav").read_bytes(), capture_output=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert b"standard input is a stream, which cannot be read again, so this job cannot be resumed" in done.stderr
    assert np.array_equal(read(tmp_path / "out.wav"), samples)


def test_a_colleague_with_openssl_alone_gets_a_file_that_plays(tmp_path):
    samples = write_wav(tmp_path / "take.wav", title="Dawn")
    run("farm", tmp_path / "take.wav", "-o", tmp_path / "out", "--forward", "--inside", "wav", "-n", "2", "-q")
    (tmp_path / "theirs.wav").write_bytes(openssl_decrypted(tmp_path / "out"))
    assert np.array_equal(read(tmp_path / "theirs.wav"), negative(samples))
    assert title_of(tmp_path / "theirs.wav") == "Dawn"
    assert b"Dawn" not in (tmp_path / "out" / "result.json").read_bytes()


@pytest.mark.extended
def test_a_colleague_with_zaudio_gets_the_same_file(tmp_path):
    write_wav(tmp_path / "take.wav", subtype="PCM_24", channels=1, title="Dawn")
    run("farm", tmp_path / "take.wav", "-o", tmp_path / "out", "--forward", "--inside", "wav", "-n", "1", "-q")
    out, _ = run("decrypt", tmp_path / "out", "-o", tmp_path / "mine.wav")
    assert "s24le, forward" in out
    assert (tmp_path / "mine.wav").read_bytes() == openssl_decrypted(tmp_path / "out")
    assert len(openssl_decrypted(tmp_path / "out")) % 2 == 0
    run("decrypt", tmp_path / "out", "-o", tmp_path / "mine.flac")
    assert title_of(tmp_path / "mine.flac") == "Dawn"
    assert np.array_equal(read(tmp_path / "mine.flac"), read(tmp_path / "mine.wav"))


@pytest.mark.extended
def test_a_sealed_recording_is_worked_on_twice_and_rendered_at_the_end(tmp_path):
    samples = write_wav(tmp_path / "take.wav", title="Dawn")
    first, second, third = (tmp_path / name for name in ("sealed", "first", "second"))
    run("seal", tmp_path / "take.wav", first, "-n", "1", "-q")
    run("farm", first, "-o", second, "--op", "highpass:hz=80", "-n", "2", "-q")  # reversed, and without a header
    run("farm", second, "-o", third, "--op", "gain:db=-6", "--inside", "wav", "--forward", "-n", "1", "-q")
    run("render", third, tmp_path / "out.wav", "--op", "invert", "-n", "1", "-q")
    given = Signal(FRAMES, 2, 48_000, sample_format("s16le"))
    expected = (samples >> 16).astype("<i2")
    for op in ("highpass:hz=80", "gain:db=-6", "invert"):
        expected = Chain([op], given)(expected)
    assert np.array_equal(read(tmp_path / "out.wav") >> 16, expected)


@pytest.mark.extended
def test_metadata_goes_through_sealed_results_in_either_order(tmp_path):
    write_wav(tmp_path / "take.wav", title="Dawn")
    run("seal", tmp_path / "take.wav", tmp_path / "a", "--reversed", "-n", "1", "-q")
    run("seal", tmp_path / "a", tmp_path / "b", "-n", "1", "-q")
    run("render", tmp_path / "b", tmp_path / "out.wav", "-n", "1", "-q")
    assert (tmp_path / "out.wav").read_bytes() == openssl_decrypted(tmp_path / "b")
    assert title_of(tmp_path / "out.wav") == "Dawn"


@pytest.mark.parametrize("order", ["--forward", extended("--reversed")])
def test_metadata_of_a_sealed_result_is_read_and_saved(tmp_path, order):
    samples = write_wav(tmp_path / "take.wav", title="Dawn")
    run("seal", tmp_path / "take.wav", tmp_path / "vault", order, "-n", "1", "-q")
    with zaudio.open(tmp_path / "vault") as sealed:
        assert sealed.metadata.tags == (("TITLE", "Dawn"),)
        assert np.array_equal(sealed.read(), samples >> 16)
        sealed.save(tmp_path / "back.wav")
    assert title_of(tmp_path / "back.wav") == "Dawn"
    assert np.array_equal(read(tmp_path / "back.wav"), samples)


@pytest.mark.extended
def test_a_sealed_input_has_a_key_and_an_identity_of_its_own(tmp_path):
    samples = write_wav(tmp_path / "take.wav")
    public = str(make_identity(str(tmp_path / "theirs")))
    run("seal", tmp_path / "take.wav", tmp_path / "a", "--key-out", tmp_path / "a.key", "-n", "1", "-q")
    run("seal", tmp_path / "take.wav", tmp_path / "b", "--recipient", public, "-n", "1", "-q")
    run("render", tmp_path / "a", tmp_path / "a.wav", "--input-key", tmp_path / "a.key", "-n", "1", "-q")
    run("render", tmp_path / "b", tmp_path / "b.wav", "--input-identity", tmp_path / "theirs", "-n", "1", "-q")
    assert np.array_equal(read(tmp_path / "a.wav"), samples)
    assert np.array_equal(read(tmp_path / "b.wav"), samples)
    _, err = run("render", tmp_path / "b", tmp_path / "c.wav", "-n", "1", "-q", code=2)
    assert "identity" in err


# Orders


@pytest.mark.parametrize(("forward", "inside"), product([True, False], ["raw", "wav"], keep=[(False, "wav")]))
def test_both_orders_decrypt_to_both(tmp_path, forward, inside):
    samples = write_wav(tmp_path / "take.wav", subtype="FLOAT", channels=1)
    report = zaudio.Coordinator(
        tmp_path / "take.wav", Sealed(tmp_path / "out", forward=forward, inside=inside), workers=1, chunk="7001f"
    ).run()
    assert (report.order, report.container) == (
        "forward" if forward else "reversed",
        "WAV" if inside == "wav" else "raw",
    )
    described = json.loads((tmp_path / "out" / "result.json").read_text())["description"]
    assert described["order"] == report.order
    assert described["version"] == (1 if (forward, inside) == (False, "raw") else 2)
    for name, turn in (("stored", False), ("forward", True)):
        for suffix in ("raw", "wav"):
            decrypt(tmp_path / "out", tmp_path / f"{name}.{suffix}", forward=turn)
        expected = negative(samples) if turn or forward else negative(samples)[::-1]
        assert np.array_equal(np.fromfile(tmp_path / f"{name}.raw", "<f4"), expected[:, 0])
        assert np.array_equal(read(tmp_path / f"{name}.wav"), expected)


@pytest.mark.extended
def test_a_big_endian_recording_has_a_wav_inside_all_the_same(tmp_path):
    samples = noise(FRAMES, channels=2, format="s16be")
    path = write_raw(tmp_path / "take.raw", samples)
    run("seal", path, tmp_path / "out", "--format", "s16be", "--channels", "2", "-n", "1", "-q")
    (tmp_path / "theirs.wav").write_bytes(openssl_decrypted(tmp_path / "out"))
    assert np.array_equal(read(tmp_path / "theirs.wav") >> 16, samples.astype("i4"))
    assert json.loads((tmp_path / "out" / "result.json").read_text())["description"]["format"] == "s16le"


@pytest.mark.extended
def test_a_recording_of_no_frames_has_a_wav_inside(tmp_path):
    (tmp_path / "take.raw").write_bytes(b"")
    run("seal", tmp_path / "take.raw", tmp_path / "out", "-n", "1", "-q")
    content = openssl_decrypted(tmp_path / "out")
    assert content[:4] == b"RIFF"
    assert struct.unpack("<I", content[-4:]) == (0,)
    run("render", tmp_path / "out", tmp_path / "out.wav", "-n", "1", "-q")
    assert (tmp_path / "out.wav").read_bytes() == content


# Kills


class Job:
    """A render of thirty chunks that can be held up at any of them."""

    CHUNK, CELLS = 20_011, 30

    def __init__(self, folder, suffix="wav"):
        self.out = folder / f"out.{suffix}"
        self.samples = noise(self.CELLS * self.CHUNK - 7)
        self.samples[:: self.CHUNK, 0] = -np.arange(self.CELLS)
        self.path = write_raw(folder / "take.raw", self.samples)
        self._limit = folder / "limit"
        self.limit(-self.CELLS)

    def limit(self, number):
        part = self._limit.with_suffix(".new")
        part.write_text(str(number))
        part.rename(self._limit)

    def line(self, *more):
        op = ("--op", f"farm_ops:down_to:limit={self._limit}")
        return ("render", self.path, self.out, f"--chunk={self.CHUNK}f", "-n", "2", *op, *more)

    def killed(self, number, *more, ready=lambda: True):
        """The job, killed when all chunks before that one are written, and when it is `ready`."""
        self.limit(1 - number)
        process = launch_script(EAGER, *self.line("--format", "s24le", *more))
        wait_until(lambda: self.saved() >= number * self.CHUNK * 3 or process.poll() is not None, "saved")
        wait_until(lambda: ready() or process.poll() is not None, "ready")
        assert process.poll() is None, process.communicate()
        kill(process.pid)
        assert finish(process)[0] == -signal.SIGKILL
        self.limit(-self.CELLS)

    def saved(self):
        try:
            found = decode_journal((self.out.parent / f"{self.out.name}.part.journal").read_bytes())
        except (FileNotFoundError, ValueError):
            return -1
        return found.records[-1].length if found is not None and found.records else 0


@pytest.mark.parametrize("share", [extended(0.1), 0.9])
def test_a_killed_render_goes_on_and_gives_the_same_file(tmp_path, share):
    job = Job(tmp_path)
    number = round(share * job.CELLS)
    job.killed(number)
    assert not job.out.exists()
    assert os.stat(f"{job.out}.part").st_mode & 0o777 == 0o600
    code, _, err = finish(launch(*job.line("--format", "s24le")))
    assert code == 0, err
    assert f"resuming an interrupted job: {number} of {job.CELLS} chunks are done" in err
    run("render", job.path, tmp_path / "straight.wav", "--op", "invert", "--format", "s24le", "-n", "1", "-q")
    assert job.out.read_bytes() == (tmp_path / "straight.wav").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["limit", "out.wav", "straight.wav", "take.raw"]


@pytest.mark.extended
def test_the_page_of_a_killed_render_goes_on_with_the_same_token(tmp_path):
    job, page = Job(tmp_path), ("--web", "0", "--web-linger", "0")
    job.killed(5, *page, ready=lambda: read_address(f"{job.out}.part.web"))
    before = read_address(f"{job.out}.part.web")
    _, err = run(*job.line("--format", "s24le", *page))
    assert f"see it at: {before[0]}#{before[1]}" in err
    _, err = run(*job.line("--format", "s24le", "--fresh", "--overwrite", *page))  # another job, another token
    assert before[1] not in err


@pytest.mark.extended
def test_a_killed_flac_is_begun_again_and_says_so(tmp_path):
    job = Job(tmp_path, "flac")
    job.limit(-9)
    process = launch_script(EAGER, *job.line("--format", "s16le"))
    part = tmp_path / "out.flac.part"
    wait_until(lambda: process.poll() is not None or _length(part) > 10_000, "some of it is written")
    assert process.poll() is None, process.communicate()
    kill(process.pid)
    finish(process)
    job.limit(-job.CELLS)
    _, err = run(*job.line("--format", "s16le"))
    assert "out.flac.part of an earlier start is begun again (a FLAC cannot be continued)" in err
    assert soundfile.info(job.out).frames == len(job.samples)
    assert sorted(os.listdir(tmp_path)) == ["limit", "out.flac", "take.raw"]


@pytest.mark.extended
def test_a_render_that_was_killed_behind_its_publication_is_found_done(tmp_path, monkeypatch):
    write_wav(tmp_path / "take.wav")
    remove = disk.remove
    with monkeypatch.context() as patch:
        patch.setattr(disk, "remove", lambda name, **place: name.endswith("journal") or remove(name, **place))
        render(tmp_path / "take.wav", tmp_path / "out.wav", workers=1)
    assert (tmp_path / "out.wav.part.journal").exists()
    before = (tmp_path / "out.wav").read_bytes()
    job = Rendering(tmp_path / "take.wav", tmp_path / "out.wav", workers=1)
    report = job.run()
    assert report.resumed_chunks == report.chunks
    assert "this job was done already" in job.warnings[-1]
    assert (tmp_path / "out.wav").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["out.wav", "take.wav"]


@pytest.mark.extended
def test_another_render_does_not_go_on_with_it_until_it_is_told_to_discard_it(tmp_path):
    job = Job(tmp_path)
    job.killed(5)
    _, err = run(*job.line("--format", "s16le"), code=2)
    assert "cannot be resumed: its ops were" in err
    assert "--fresh" in err
    run(*job.line("--format", "s16le", "--fresh", "-q"))
    assert soundfile.info(job.out).subtype == "PCM_16"


@pytest.mark.extended
def test_a_killed_job_with_a_wav_inside_goes_on_inside_of_a_sample(tmp_path):
    job = Job(tmp_path)
    sealed = tmp_path / "out"
    job.limit(-9)
    line = ("farm", job.path, "-o", sealed, f"--chunk={job.CHUNK}f", "-n", "2", "--forward", "--inside", "wav")
    line += ("--op", f"farm_ops:down_to:limit={tmp_path / 'limit'}", "--op", "convert:format=s24le")
    process = launch_script(EAGER, *line)
    size = 10 * job.CHUNK * 3
    wait_until(lambda: process.poll() is not None or saved(sealed) >= size, "ten chunks are saved")
    assert process.poll() is None, process.communicate()
    kill(process.pid)
    finish(process)
    job.limit(-job.CELLS)
    _, err = run(*line)
    assert "resuming an interrupted job: " in err
    run("render", job.path, tmp_path / "straight.wav", "--op", "invert", "--format", "s24le", "-n", "1", "-q")
    assert openssl_decrypted(sealed) == (tmp_path / "straight.wav").read_bytes()


def _length(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.extended
@pytest.mark.timeout(1200)
def test_an_rf64_of_6_gib_is_rendered_and_read_by_every_program(tmp_path):
    long = Signal(3 * 2**29 + 12_345, 2, 48_000, sample_format("s16le"))
    if shutil.disk_usage(tmp_path).free < 2 * long.bytes:
        pytest.skip("there is too little room")
    with open(tmp_path / "take.wav", "wb") as file:
        file.write(WaveFile(long).header)
        file.truncate(file.tell() + long.bytes)
    out, shift = tmp_path / "out.wav", ("--op", "dcshift:shift=0.25")
    try:
        run("render", tmp_path / "take.wav", out, "-n", "2", "-q", *shift, within=1000)
        with open(out, "rb") as file:
            assert file.read(4) == b"RF64"
        with soundfile.SoundFile(out) as sound:
            assert sound.frames == long.frames
            for at in (0, 2**30, long.frames - 1):  # 2^30 frames are 4 GiB
                sound.seek(at)
                assert sound.read(1).tolist() == [[0.25, 0.25]]
        probe = ["ffprobe", "-v", "error", "-show_entries", "stream=duration_ts", "-of", "csv=p=0"]
        for command in (probe, ["sox", "--i", "-s"]):
            if shutil.which(command[0]):
                done = subprocess.run([*command, out], capture_output=True, text=True, check=True)
                assert int(done.stdout) == long.frames, command
    finally:
        out.unlink(missing_ok=True)  # so much is not kept for whoever looks at failed tests


# Refusals


@pytest.mark.extended
def test_a_second_run_replaces_nothing_unless_it_is_told_to(tmp_path):
    write_wav(tmp_path / "take.wav")
    run("render", tmp_path / "take.wav", tmp_path / "out.wav", "-n", "1", "-q")
    before = (tmp_path / "out.wav").read_bytes()
    _, err = run("render", tmp_path / "take.wav", tmp_path / "out.wav", "--op", "invert", "-n", "1", "-q", code=2)
    assert "exists already; pass --overwrite" in err
    assert (tmp_path / "out.wav").read_bytes() == before
    run("render", tmp_path / "take.wav", tmp_path / "out.wav", "--op", "invert", "-n", "1", "-q", "--overwrite")
    assert (tmp_path / "out.wav").read_bytes() != before


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("out.mp3", {}, "the kind of file goes by its suffix"),
        extended("out", {}, "the kind of file goes by its suffix"),
        ("out.flac", {}, "a FLAC file holds 16 or 24 bits, and the samples are f32le; pass --format"),
        extended("out.s16", {}, "its suffix says s16, and the samples are f32le"),
        ("take.wav", {}, "take.wav is the input"),
        extended("take.wav", {"overwrite": True}, "take.wav is the input"),
        extended("other/out.wav", {}, "its folder cannot be opened"),
        ("out.wav", {"security": zaudio.Security(key_out="key")}, "key_out is of an encryption key"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(tmp_path, name, more, sentence):
    write_wav(tmp_path / "take.wav", subtype="FLOAT")
    with pytest.raises(UsageError, match=sentence):
        render(tmp_path / "take.wav", tmp_path / name, workers=1, **more)
    assert os.listdir(tmp_path) == ["take.wav"]


def test_the_files_of_a_sealed_result_are_no_output(tmp_path):
    write_wav(tmp_path / "take.wav")
    run("seal", tmp_path / "take.wav", tmp_path / "out", "-n", "1", "-q")
    with pytest.raises(UsageError, match="belongs to a sealed result"):
        render(tmp_path / "take.wav", tmp_path / "out" / "result.raw", workers=1, overwrite=True)
    with pytest.raises(UsageError, match="cannot be the output"):
        zaudio.Coordinator(tmp_path / "out", tmp_path / "out", workers=1, overwrite=True).run()
    zaudio.verify(tmp_path / "out")


@pytest.mark.extended
def test_decrypt_names_the_command_that_makes_what_it_cannot(tmp_path):
    write_wav(tmp_path / "take.wav", subtype="FLOAT")
    run("seal", tmp_path / "take.wav", tmp_path / "out", "-n", "1", "-q")
    wanted = f"zaudio render {tmp_path / 'out'} {tmp_path / 'x.flac'} --format s24le"
    with pytest.raises(UsageError, match=f"the samples are f32le; type `{wanted}`, or write "):
        decrypt(tmp_path / "out", tmp_path / "x.flac", forward=True)
    run(*wanted.split()[1:], "-n", "1", "-q")
    assert soundfile.info(tmp_path / "x.flac").subtype == "PCM_24"


@pytest.mark.extended
def test_decrypt_replaces_no_file_unless_it_is_told_to(tmp_path):
    samples = write_wav(tmp_path / "take.wav")
    run("farm", tmp_path / "take.wav", "-o", tmp_path / "out", "-n", "1", "-q")
    with pytest.raises(OutputExistsError):
        decrypt(tmp_path / "out", tmp_path / "take.wav", forward=True)
    assert np.array_equal(read(tmp_path / "take.wav"), samples)
    decrypt(tmp_path / "out", tmp_path / "take.wav", forward=True, overwrite=True)
    assert np.array_equal(read(tmp_path / "take.wav"), negative(samples))


@pytest.mark.extended
def test_decrypt_into_a_file_that_cannot_hold_the_samples_is_refused(tmp_path):
    write_wav(tmp_path / "take.wav", subtype="FLOAT")
    run("farm", tmp_path / "take.wav", "-o", tmp_path / "out", "-n", "1", "-q")
    with pytest.raises(UsageError, match="a FLAC file holds 16 or 24 bits"):
        decrypt(tmp_path / "out", tmp_path / "back.flac")
    assert sorted(os.listdir(tmp_path)) == ["out", "take.wav"]


@pytest.mark.extended
def test_a_full_disk_ends_a_render_and_leaves_no_file_of_its_name(tmp_path):
    write_wav(tmp_path / "take.wav")
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); " + EAGER
    command = [sys.executable, "-c", limited.replace("\nimport sys\n", "\n"), "render", str(tmp_path / "take.wav")]
    code, _, err = finish(popen([*command, str(tmp_path / "out.wav"), "-n", "1"]))
    assert code == 1
    assert "out.wav.part" in err
    assert not (tmp_path / "out.wav").exists()
    run("render", tmp_path / "take.wav", tmp_path / "out.wav", "-n", "1", "-q")
    assert np.array_equal(read(tmp_path / "out.wav"), read(tmp_path / "take.wav"))


# From Python


def test_a_rendering_tells_its_progress_and_its_report(tmp_path):
    samples = write_wav(tmp_path / "take.wav", subtype="FLOAT")
    with Rendering(
        tmp_path / "take.wav", Playable(tmp_path / "out.flac", format="s16le", dither=True), ops="gain:db=-3", workers=1
    ) as job:
        report = job.wait()
    assert dict(report.paths) == {"result": str(tmp_path / "out.flac")}
    assert (report.container, report.order, report.format) == ("FLAC", "forward", "s16le")
    given = Signal(FRAMES, 2, 48_000, sample_format("f32le"))
    expected = Chain(["gain:db=-3", "dither", "convert:format=s16le"], given)(samples.astype("<f4"))
    assert np.array_equal(read(tmp_path / "out.flac") >> 16, expected)


@pytest.mark.extended
def test_how_far_an_input_is_read_is_told(tmp_path):
    write_wav(tmp_path / "take.wav")
    zaudio.Coordinator(tmp_path / "take.wav", tmp_path / "out", workers=1).run()
    told = []
    render(tmp_path / "out", tmp_path / "out.wav", workers=1, on_event=told.append)
    reading = [event for event in told if isinstance(event, zaudio.events.Reading)]
    assert reading[-1].verb == "verifying"
    assert reading[-1].bytes == reading[-1].total > FRAMES * 4
