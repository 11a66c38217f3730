import json
import os
import shutil
import subprocess

import pytest

from zaudio import Report
from zaudio.cli.report import NAMED_LOSSES, NAMED_WORKERS, check, openssl_line, text, write
from zaudio.errors import StorageError, UsageError
from zaudio.facts import Loss
from zaudio.watching.ledger import LOSSES_KEPT


def paths_in(folder):
    names = {
        "result": "result.raw",
        "key": "encryption_key.bin",
        "iv": "encryption_iv.bin",
        "description": "result.json",
    }
    return {key: os.path.join(folder, name) for key, name in names.items()}


def report(folder="out", **changes):
    fields = {
        "chunks": 4,
        "chunk_frames": 1000,
        "frames": 3999,
        "channels": 1,
        "samplerate": 44100,
        "format": "f32le",
        "bytes": 15996,
        "seconds": 0.5,
        "resumed_chunks": 0,
        "workers": 2,
        "requeued": 1,
        "repeated": 4,
        "duplicates": 2,
        "rejected": 3,
        "paths": paths_in(folder),
        "shares": {"a": 1, "b": 3},
        "audited": 0,
        "dropped": {},
        "recipient": "",
    }
    fields.update(changes)
    return Report(**fields)


def test_the_text_names_everything_a_person_asks_for():
    assert text(report(bytes=20_000_000), "out").splitlines() == [
        "published out/result.raw",
        "  4 chunks of 1000 frames: 3999 frames, 1 channel, 44100 Hz, f32le",
        "  20.0 MB in 0.50 s: 40.0 MB/s",
        "  2 workers; chunks requeued 1, repeated 4, duplicates 2, rejected 3",
        "    b: 3 chunks, 75.0%",
        "    a: 1 chunk, 25.0%",
        "  key: out/encryption_key.bin",
        "  iv: out/encryption_iv.bin",
        "  description: out/result.json",
        "decrypt it with: zaudio decrypt out",
        f"or with stock tools: {openssl_line(paths_in('out'), 'out')}",
    ]


def test_the_text_of_an_audited_job_says_how_much_was_and_names_who_was_dropped():
    lines = text(report(audited=3, dropped={"late": 0, "liar": 2, "x": 0}, dropped_keys={"x": "studio-2"}), "out")
    lines = lines.splitlines()
    assert "  3 chunks audited" in lines
    assert "  dropped x (key studio-2): its result was not that of two others" in lines
    assert "  dropped late: its result was not that of two others" in lines
    assert "  dropped liar: its result was not that of two others; 2 chunks of it had been encrypted unchecked" in lines


@pytest.mark.parametrize("key", ["out/mine.key", "else/where", "encryption_key.bin"])
def test_the_text_names_a_key_that_lies_elsewhere_or_under_another_name(key):
    lines = text(report(paths=paths_in("out") | {"key": key}), "out").splitlines()
    assert f"decrypt it with: zaudio decrypt out --key {key}" in lines


def test_the_text_of_a_job_with_a_recipient_says_whose_and_that_an_identity_is_needed():
    lines = text(report(recipient="zaudio-x25519-12"), "out").splitlines()
    assert lines[-2:] == [
        "  the key is wrapped for zaudio-x25519-12",
        "decrypt it with: zaudio decrypt out --identity FILE",
    ]
    assert "openssl" not in "\n".join(lines), "it would take the wrapped key for the key"


def test_an_empty_recording_has_a_text_too():
    lines = text(report(chunks=0, frames=0, bytes=0, seconds=0.0, workers=0, shares={}), "out").splitlines()
    assert "  0 chunks of 1000 frames: 0 frames, 1 channel, 44100 Hz, f32le" in lines
    assert "  0.0 MB in 0.00 s" in lines


@pytest.mark.parametrize("count", [NAMED_WORKERS - 1, NAMED_WORKERS, NAMED_WORKERS + 1])
def test_a_large_farm_is_summed_up(count):
    shares = {f"w{number}": 1 for number in range(count)}
    lines = text(report(workers=count, shares=shares), "out").splitlines()
    assert len([line for line in lines if line.startswith("    w")]) == min(count, NAMED_WORKERS)
    assert ("    and 1 worker more" in lines) == (count > NAMED_WORKERS)


def losses_in(lines):
    """The lines below that which counts the lost workers."""
    start = next(number for number, line in enumerate(lines) if line.startswith("  lost")) + 1
    below = (number for number, line in enumerate(lines[start:], start) if not line.startswith("    "))
    return lines[start : next(below)]


def test_lost_workers_are_told_with_the_reasons():
    losses = (Loss("far", "no sign of life for 5.0 s"), Loss("near", "it left"))
    lines = text(report(lost=2, losses=losses), "out").splitlines()
    assert "  lost 2 workers:" in lines
    assert losses_in(lines) == ["    far: no sign of life for 5.0 s", "    near: it left"]


def test_no_lost_worker_is_no_line():
    assert "lost" not in text(report(), "out")


@pytest.mark.parametrize(
    ("lost", "told"), [(1, "  lost 1 worker:"), (NAMED_LOSSES, "  lost 16 workers:"), (900, "  lost 900 workers:")]
)
def test_many_losses_are_summed_up(lost, told):
    kept = tuple(Loss(f"w{number}", "it left") for number in range(min(lost, LOSSES_KEPT)))
    lines = text(report(lost=lost, losses=kept), "out").splitlines()
    assert told in lines
    more = [f"    and {lost - NAMED_LOSSES} more"] if lost > NAMED_LOSSES else []
    assert losses_in(lines) == [f"    {loss.worker}: it left" for loss in kept[:NAMED_LOSSES]] + more


def test_a_worker_cannot_write_lines_of_its_own():
    lines = text(report(lost=1, losses=(Loss("x\ny", "two\nlines"),)), "out").splitlines()
    assert losses_in(lines) == ["    x\\ny: two\\nlines"]
    assert "    x\\n\\x1b[2J: 4 chunks, 100.0%" in text(report(shares={"x\n\x1b[2J": 4}), "out").splitlines()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_no_command_that_is_told_takes_a_name_for_an_option():
    told = text(report("-out"), "-out")
    assert "decrypt it with: zaudio decrypt ./-out\n" in told
    assert told.count(" ./-out/") == 4, "key, IV, ciphertext and plaintext of openssl"
    played = text(report(paths={"result": "-o.wav"}, container="WAV"), "-o.wav")
    assert played.endswith("play it with: ffplay -autoexit ./-o.wav")


def test_the_openssl_line_decrypts(tmp_path):
    folder = tmp_path / "it's an odd $folder"
    folder.mkdir()
    paths = paths_in(str(folder))
    key, iv, audio = bytes(range(32)), b"\n\r " + bytes(13), bytes(range(256)) * 3
    for name, content in (("key", key), ("iv", iv)):
        with open(paths[name], "wb") as file:
            file.write(content)
    subprocess.run(
        ["openssl", "enc", "-aes-256-cbc", "-K", key.hex(), "-iv", iv.hex(), "-out", paths["result"]],
        input=audio,
        check=True,
        capture_output=True,
    )
    subprocess.run(["sh", "-c", openssl_line(paths, str(folder))], check=True, capture_output=True)
    assert (folder / "decrypted.raw").read_bytes() == audio


def test_checking_leaves_no_trace(tmp_path):
    check(str(tmp_path / "report.json"), "take.raw", "out")
    check(str(tmp_path / "new" / "folder" / "report.json"), "take.raw", "out")
    assert os.listdir(tmp_path) == []


def test_checking_leaves_an_older_report_alone(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("older")
    check(str(path), "take.raw", "out")
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_bare_name_is_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check("report.json", "take.raw", "out")
    write("report.json", report())
    assert os.listdir(tmp_path) == ["report.json"]


@pytest.mark.parametrize("name", ["", "folder", "missing/", "file/report.json", "fifo", "/dev/null"])
def test_a_place_that_cannot_hold_a_report_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="--report"):
        check(os.path.join(tmp_path, name), "take.raw", "out")


def test_a_folder_without_permission_is_refused(tmp_path):
    if os.geteuid() == 0:
        place = "/proc/report.json"  # even root creates nothing there
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        place = str(tmp_path / "closed" / "report.json")
    with pytest.raises(UsageError, match="cannot be written there"):
        check(place, "take.raw", "out")


def test_the_recording_is_never_replaced_by_its_report(tmp_path):
    recording = tmp_path / "take.raw"
    recording.write_bytes(bytes(8))
    (tmp_path / "link").symlink_to(recording)
    for path in (recording, tmp_path / "link"):
        with pytest.raises(UsageError, match="this is the input"):
            check(str(path), str(recording), "out")


@pytest.mark.parametrize("name", ["result.raw", "result.raw.part", "result.journal", "result.commit"])
def test_a_name_that_the_result_uses_is_no_place_for_the_report(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for output in (".", "new"):
        with pytest.raises(UsageError, match="belongs to the result; choose another file"):
            check(os.path.join(output, name), "take.raw", os.path.abspath(output))
    check(name, "take.raw", "new")
    assert os.listdir(tmp_path) == []


def test_a_part_of_the_result_is_never_replaced_by_the_report(tmp_path):
    done = report(str(tmp_path))
    (tmp_path / "result.json").write_text("description")
    with pytest.raises(StorageError, match="part of the result"):
        write(str(tmp_path / "result.json"), done)
    assert (tmp_path / "result.json").read_text() == "description"


def test_the_report_is_the_whole_json_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "report.json"
    write(str(path), report())
    assert json.loads(path.read_text())["requeued"] == 1
    assert path.read_text().endswith("}\n")
    assert os.listdir(path.parent) == ["report.json"]


def test_an_older_report_is_replaced_through_a_link(tmp_path):
    (tmp_path / "real.json").write_text("older")
    (tmp_path / "link.json").symlink_to("real.json")
    write(str(tmp_path / "link.json"), report())
    assert json.loads((tmp_path / "real.json").read_text())["chunks"] == 4
    assert (tmp_path / "link.json").is_symlink()


def test_a_full_disk_leaves_the_older_report_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("older")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the result is published, but not the report: No space left"):
        write(str(path), report())
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["report.json"]


def test_the_text_of_a_resumed_job_says_how_much_was_done_before_and_no_speed():
    lines = text(report(resumed_chunks=1), "out").splitlines()
    assert any(line.endswith("MB: 1 chunk done by an earlier start, the rest in 0.50 s") for line in lines), lines


def test_the_text_of_a_job_that_was_done_already_speaks_of_no_time():
    done = report(resumed_chunks=report().chunks, seconds=0.0, workers=0, shares={})
    assert any(line.endswith("chunks done by an earlier start") for line in text(done, "out").splitlines())


def test_oddities_of_the_recording_are_in_the_text_and_in_the_json():
    odd = report(warnings=("take.wav: a tag\nis left out",))
    assert "  warning: take.wav: a tag\\nis left out" in text(odd, "out").splitlines()
    assert json.loads(odd.to_json())["warnings"] == ["take.wav: a tag\nis left out"]
    assert "warning" not in text(report(), "out")


def test_clipped_samples_are_said():
    loud = report(clipped=1999, channels=1, frames=3998, format="s16le")
    assert "  warning: 1999 samples (50.00%) clipped: s16le holds no louder ones; use less gain" in text(loud, "out")
    assert json.loads(loud.to_json())["clipped"] == 1999


def test_what_was_measured_and_what_was_no_number_is_said():
    said = text(report(measured=("loudnorm: -23.1 LUFS", "peak -3 dBFS"), zeroed=1), "out")
    assert "  loudnorm: -23.1 LUFS\n  peak -3 dBFS\n" in said
    assert "  warning: 1 sample was infinite or no number, and read as 0\n" in said
    assert "  warning: 2 samples were infinite" in text(report(zeroed=2), "out")
    assert "no number" not in text(report(), "out")
