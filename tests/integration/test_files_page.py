"""The page of files that play: its twelve recipes are typed as they stand, in their order, in an empty folder."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from extended import extended
from farm_support import environment
from net_support import PATIENCE
from test_readme import README, ROOT, blocks, make_tools

import zaudio
from zaudio import Signal, sample_format
from zaudio.audio.wave import WaveFile

PAGE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8").partition("## Kinds of files")[0]
PREPARATION, *RECIPES = blocks(PAGE)
LONG, SHORT = "6G", "6M"  # of recipe 11; test_playable.py renders a file that long

pytestmark = pytest.mark.timeout(600)  # for all recipes; an idle machine takes 20 s

ALL = len(RECIPES)
all_typed = pytest.mark.parametrize("typed", [extended(ALL)], indirect=True)

# What each recipe leaves, with its format and frames.
FILES = {
    "quieter.wav": ("FLOAT", 441_000),
    "dawn.flac": ("PCM_24", 441_000),
    "take24.wav": ("PCM_24", 441_000),
    "tagged.flac": ("PCM_24", 441_000),
    "talk.wav": ("PCM_16", 441_000),
    "talk.flac": ("PCM_24", 480_000),
    "theirs.wav": ("FLOAT", 441_000),
    "hers.wav": ("FLOAT", 441_000),
    "master.wav": ("PCM_24", 441_000),
    "louder.wav": ("FLOAT", 441_000),
    "long.wav": ("FLOAT", 6 * 2**20 // 4),
    "piped.wav": ("PCM_16", 480_000),
}


@pytest.fixture(scope="module")
def typed(request, tmp_path_factory):
    """The folder, when the recipes up to that number have been typed, and what they said."""
    for command in ("ffmpeg", "ffprobe", "openssl"):
        if shutil.which(command) is None:
            pytest.skip(f"there is no {command} command here")
    pytest.importorskip("scipy")
    folder = tmp_path_factory.mktemp("page")
    path = make_tools(tmp_path_factory.mktemp("tools"))
    script = "\n".join(["set -euo pipefail", PREPARATION, *RECIPES[: request.param]]).replace(
        f"-s {LONG}", f"-s {SHORT}"
    )
    command = ["bash", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=environment(PATH=path), capture_output=True, text=True, timeout=9 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_there_are_twelve_recipes_and_the_readme_leads_to_them():
    assert [int(number) for number in re.findall(r"^\*\*(\d+)\. ", PAGE, re.MULTILINE)] == list(range(1, 13))
    assert len(RECIPES) == 12
    assert "(docs/files.md)" in README
    frames = 6 * 2**30 // 4
    assert f"truncate -s {LONG} " in RECIPES[10]
    assert WaveFile(Signal(frames, 1, 44_100, sample_format("f32le"))).is_rf64


@pytest.mark.parametrize(
    ("typed", "name"), [(2, "dawn.flac"), *(extended(ALL, name) for name in FILES)], indirect=["typed"]
)
def test_each_recipe_gives_its_file(typed, name):
    folder, _ = typed
    found = soundfile.info(folder / name)
    assert (found.subtype, found.frames) == FILES[name]


@all_typed
def test_both_colleagues_get_the_same_samples(typed):
    folder, _ = typed
    theirs, hers, quieter = (soundfile.read(folder / f"{name}.wav")[0] for name in ("theirs", "hers", "quieter"))
    assert np.array_equal(theirs, hers)
    assert np.array_equal(theirs, quieter)


@all_typed
def test_a_title_goes_through_files_and_sealed_results(typed):
    folder, said = typed
    assert "TAG:TITLE=Dawn" in said
    assert "(441000, 1) (('TITLE', 'Dawn')" in said
    for name in ("dawn.flac", "tagged.flac", "master.wav"):
        with soundfile.SoundFile(folder / name) as file:
            assert file.title == "Dawn", name


@all_typed
def test_twenty_takes_have_a_file_each(typed):
    folder, said = typed
    assert "20 recordings: 20 done" in said
    lines = (folder / "masters" / "manifest.jsonl").read_text().splitlines()
    assert len([line for line in lines if json.loads(line).get("state") == "done"]) == 20, lines[:3]
    assert len(list((folder / "masters").glob("take??.wav"))) == 20
    assert soundfile.info(folder / "masters" / "take07.wav").frames == 441_000


@all_typed
def test_an_array_has_the_bits_of_one_process(typed):
    folder, _ = typed
    samples = soundfile.read(folder / "take.wav", dtype="float32", always_2d=True)[0]
    chain = zaudio.Chain(["highpass:hz=80", "gain:db=3"], Signal(441_000, 1, 44_100, sample_format("f32le")))
    assert np.array_equal(soundfile.read(folder / "louder.wav", dtype="float32", always_2d=True)[0], chain(samples))
