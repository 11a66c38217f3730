"""The page of files that play: each line of its first table is typed, in its order, in one folder."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from farm_support import environment, openssl_decrypted

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("| wish | line |")[2].partition("\n\n")[0]
LINES = [line.replace("\\|", "|") for line in re.findall(r"`((?:zaudio|cat) [^`]*)`", TABLE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the recordings that the page names."""
    folder = tmp_path_factory.mktemp("page")
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, 48_000)
    soundfile.write(folder / "take.wav", noise, 48_000, subtype="PCM_16")
    soundfile.write(folder / "take24.wav", noise, 48_000, subtype="PCM_24")
    soundfile.write(folder / "long.wav", noise, 48_000, subtype="PCM_16")
    (folder / "takes").mkdir()
    for name in "ab":
        soundfile.write(folder / "takes" / f"{name}.wav", noise, 48_000, subtype="PCM_16")
    try:
        soundfile.write(folder / "talk.mp3", noise, 48_000)
        soundfile.write(folder / "talk.opus", noise, 48_000, format="OGG", subtype="OPUS")
    except soundfile.SoundFileError:
        pytest.skip("this libsndfile writes no MP3 or Opus")
    return folder


@pytest.fixture(scope="module")
def typed(folder):
    """The folder, when all lines have been typed."""
    if "dcblock" in TABLE:
        pytest.importorskip("scipy")
    shell = f'zaudio() {{ "{sys.executable}" -m zaudio "$@" -q; }}'
    for line in LINES:
        command = ["bash", "-c", f"set -euo pipefail; {shell}; {line}"]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (line, done.stderr)
    return folder


def test_every_wish_has_a_line():
    wishes = TABLE.strip().splitlines()[1:]
    assert len(wishes) >= 10
    assert all("`zaudio " in wish or "zaudio render -" in wish for wish in wishes), wishes


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("louder.wav", "PCM_16"),
        ("out24.flac", "PCM_24"),
        ("tagged.flac", "PCM_16"),
        ("out/b.flac", "PCM_16"),
        ("talk.wav", "FLOAT"),
        ("talk.flac", "PCM_16"),
        ("piped.wav", "PCM_16"),
        ("mine.wav", "PCM_16"),
        ("master.wav", "PCM_16"),
        ("long-out.wav", "PCM_16"),
    ],
)
def test_each_line_gives_the_file_that_it_names(typed, name, subtype):
    found = soundfile.info(typed / name)
    assert (found.subtype, found.samplerate) == (subtype, 48_000)
    assert found.frames >= 48_000


def test_both_colleagues_get_the_same_file(typed):
    assert openssl_decrypted(typed / "theirs") == (typed / "mine.wav").read_bytes()
