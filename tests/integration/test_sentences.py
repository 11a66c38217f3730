"""What the commands say when the surroundings are at fault, each in a sentence that names the thing."""

import os
import re
import subprocess
import sys

import pytest
from extended import extended
from net_support import PATIENCE

import zaudio
from zaudio.ops import BUILTIN

# Other tests of the same process may have added ops of their own.
OPS = [name for name, op in BUILTIN.items() if op.__module__.startswith("zaudio.")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a short recording, `take.raw`, and its result, `out`."""
    folder = tmp_path_factory.mktemp("words")
    zaudio.generate(folder / "take.raw", seconds=0.1)
    zaudio.Coordinator(folder / "take.raw", folder / "out", workers=1).run()
    return folder


def run(cwd, *arguments, **options):
    command = [sys.executable, "-m", "zaudio", *arguments]
    options = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run(command, cwd=cwd, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, **options)


FULL = "zaudio: standard output: No space left on device"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
@pytest.mark.parametrize(
    "arguments", [*map(extended, (["--help"], ["--version"], ["farm", "--help"], ["ops"], ["verify", "out"]))]
)
def test_a_full_standard_output_is_named(folder, arguments):
    with open("/dev/full", "w") as full:
        done = run(folder, *arguments, stdout=full)
    assert (done.returncode, done.stderr) == (1, FULL + "\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_a_full_standard_output_leaves_the_result_published_and_says_so(folder):
    with open("/dev/full", "w") as full:
        done = run(folder, "farm", "take.raw", "-o", "full", "-n", "1", "--progress", "none", stdout=full)
    assert (done.returncode, done.stderr) == (1, f"{FULL}; the result is published in full\n")
    assert zaudio.verify(folder / "full").frames == 4410


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["farm", "take.raw"], 3),
        extended(["farm", "{}/take.raw", "-n", "1"], 2),
        extended(["generate", "x.raw", "--seconds", "1"], 1),
        extended(["verify", "out"], 5),
        extended(["identity", "me"], 2),
        extended(["keys", "init", "keys"], 2),
    ],
)
def test_a_deleted_current_folder_is_named(folder, tmp_path, arguments, code):
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    command = [sys.executable, "-m", "zaudio", *(argument.format(folder) for argument in arguments)]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == code, done.stderr
    assert "the current folder was deleted" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "[Errno" not in done.stderr


@pytest.mark.extended
def test_standard_input_that_is_empty_is_refused(folder):
    done = run(folder, "farm", "-", "-o", "never")
    assert done.returncode == 3
    assert "-: is empty: it ended before its first byte" in done.stderr
    assert not (folder / "never").exists()


@pytest.mark.parametrize("name", ["out/result.raw", *map(extended, ("link", "out/encryption_key.bin"))])
def test_a_part_of_a_result_is_not_farmed_as_samples(folder, name):
    if name == "link" and not (folder / "link").exists():
        (folder / "link").symlink_to("out/result.raw")
    done = run(folder, "farm", name, "-o", "never", "-n", "1")
    assert done.returncode == 3
    assert "is a part of a sealed result, which is encrypted; name its folder" in done.stderr
    assert not (folder / "never").exists()


@pytest.mark.extended
def test_a_result_never_takes_the_place_of_its_own_input(folder):
    done = run(folder, "farm", "out", "-o", "out", "-n", "1", "--overwrite")
    assert done.returncode == 2
    assert "out is the input and cannot be the output; choose another folder\n" in done.stderr, "seal has no -o"


@pytest.mark.extended
def test_a_recording_that_is_called_like_a_result_is_farmed(tmp_path):
    zaudio.generate(tmp_path / "result.raw", seconds=0.1)
    (tmp_path / "result.json").write_text("{}")
    report = zaudio.Coordinator(tmp_path / "result.raw", tmp_path / "out", workers=1).run()
    assert report.frames == 4410


def test_memory_for_less_than_a_chunk_is_refused(folder):
    limits = zaudio.Limits(memory=4410 * 4 - 1)
    with pytest.raises(zaudio.UsageError, match="memory: a chunk takes 17640 bytes, and 17639 are allowed"):
        zaudio.Coordinator(folder / "take.raw", folder / "never", workers=1, limits=limits).run()
    assert not (folder / "never").exists()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("on_event", 3, "on_event is a function"),
        ("workers", "4", "workers is a whole number"),
        extended("workers", 2.5, "workers is a whole number"),
        extended("workers", True, "workers is a whole number"),
        ("overwrite", "no", "overwrite is True or False"),
        extended("fresh", 1, "fresh is True or False"),
        ("raw", "s16le", r"raw is a zaudio.Raw\(...\)"),
        extended("network", None, r"network is a zaudio.Network\(...\)"),
        extended("security", {"keys": "k"}, r"security is a zaudio.Security\(...\)"),
        extended("limits", 3, r"limits is a zaudio.Limits\(...\)"),
        extended("timing", 3.0, r"timing is a zaudio.Timing\(...\)"),
    ],
)
def test_a_value_of_another_type_is_refused_at_once(name, value, sentence):
    with pytest.raises(zaudio.UsageError, match=sentence):
        zaudio.Coordinator("take.raw", "out", **{name: value})


@pytest.mark.extended
@pytest.mark.parametrize("name", ["x.mp3", "x.MP3", "a.b/x.m4a", "x.aiff"])
def test_samples_without_a_header_get_no_name_that_promises_one(folder, name):
    raw = name.rpartition(".")[0] + ".raw"
    ffmpeg = f"ffmpeg -f f32le -ar 44100 -ac 1 -i {raw} {name}"
    for arguments in (["decrypt", "out", "-o", name], ["generate", name]):
        done = run(folder, *arguments)
        assert done.returncode == 2, arguments
        assert ffmpeg in done.stderr
        assert not (folder / name).exists()


def test_decrypt_writes_beside_the_result_by_itself_and_takes_paths(folder, tmp_path):
    zaudio.Coordinator(folder / "take.raw", tmp_path / "out", workers=1).run()
    _, path = zaudio.decrypt(tmp_path / "out")
    assert path == str(tmp_path / "out" / "decrypted.raw")


def test_progress_counts_both_passes_of_a_decryption(folder, tmp_path):
    seen = []
    zaudio.decrypt(folder / "out", tmp_path / "x.raw", on_progress=lambda done, total: seen.append((done, total)))
    size = (folder / "out" / "result.raw").stat().st_size
    assert seen == [(size, 2 * size), (2 * size, 2 * size)]
    seen.clear()
    zaudio.verify(folder / "out", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(size, size)]


def test_the_key_goes_elsewhere_and_the_printed_command_finds_it(folder, tmp_path):
    done = run(tmp_path, "farm", str(folder / "take.raw"), "-o", "out", "-n", "1", "--key-out", "my key")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^decrypt it with: \S+( -m zaudio)? decrypt out --key 'my key'$", done.stdout, re.MULTILINE)
    assert not (tmp_path / "out" / "encryption_key.bin").exists()
    assert run(tmp_path, "verify", "out").returncode == 5
    assert run(tmp_path, "verify", "out", "--key", "my key").returncode == 0
    assert run(tmp_path, "decrypt", "out", "--key", "my key", "-o", "x.raw", "--forward").returncode == 0
    assert len((tmp_path / "x.raw").read_bytes()) == len((folder / "take.raw").read_bytes())
    refused = run(tmp_path, "farm", "out/result.raw", "-o", "again")
    assert "name its folder out instead" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        extended(["--key-out", "out/encryption_key.bin"], "belongs to the result"),
        extended(["--key-out", "take.raw"], "a key is never written over"),
        extended(["--key-out", "none/key"], "there is no folder"),
        (["--key-out", "key", "--report", "key"], "the key goes to that file"),
    ],
)
def test_a_key_out_that_would_do_harm_is_refused(folder, tmp_path, arguments, sentence):
    (tmp_path / "take.raw").write_bytes((folder / "take.raw").read_bytes())
    done = run(tmp_path, "farm", "take.raw", "-o", "out", "-n", "1", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not (tmp_path / "key").exists()


@pytest.mark.extended
def test_the_hint_of_a_result_is_a_command_that_runs(folder, tmp_path):
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}  # no environment is active
    done = run(tmp_path, "farm", str(folder / "take.raw"), "-o", "o u t", "-n", "1", env=environment)
    (hint,) = re.findall(r"^decrypt it with: (.*)$", done.stdout, re.MULTILINE)
    subprocess.run(["sh", "-c", hint], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
    assert (tmp_path / "o u t" / "decrypted.raw").stat().st_size == 17640


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("zaudio farm take.raw --op gai", ["gain"]),
        extended("zaudio farm take.raw --op", sorted(OPS)),
        extended("zaudio farm take.raw --op clip:", ["clip:high=", "clip:low="]),
        extended("zaudio ops in", ["invert"]),
        extended("zaudio ver", ["verify"]),
    ],
)
def test_a_shell_completes_commands_and_ops(words, completed):
    words += " " if words.endswith("--op") else ""
    environment = {
        **os.environ,
        "_ZAUDIO_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = run(".", env=environment)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == completed, done.stderr
