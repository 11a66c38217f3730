"""The choice of a source by what a user named, with a true spool."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from result_support import describe, write_pattern, write_result
from spool_support import noise, samples, write_lossy

from zaudio.errors import InputError, StorageError, UsageError
from zaudio.job import inputs
from zaudio.job.inputs import is_part_of, open_input
from zaudio.plan import Order
from zaudio.settings import Raw


def test_a_file_is_read_from_where_it_lies(tmp_path):
    soundfile.write(tmp_path / "take.wav", noise(1009), 48000, subtype="FLOAT")
    with open_input(tmp_path / "take.wav", spool_folder=tmp_path / "out") as source:
        assert source.reference is not None
        assert np.array_equal(samples(source), noise(1009))


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus"])
def test_a_compressed_file_goes_into_a_spool_that_no_one_sees(tmp_path, kind):
    folder = tmp_path / "disk"
    folder.mkdir()
    expected = write_lossy(tmp_path / "take", kind, 300_007, 2)
    with open_input(tmp_path / "take", spool_folder=folder / "out" / "not" / "yet") as source:
        assert list(folder.iterdir()) == []
        assert np.array_equal(samples(source), expected)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_hold_a_spool_is_named(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 9)
    with pytest.raises(StorageError, match="/proc"):
        open_input(tmp_path / "take.ogg", spool_folder="/proc")


def test_the_folder_of_a_sealed_result_is_its_recording(tmp_path):
    recording, _ = write_pattern(tmp_path / "sealed", 1009)
    told = []
    with open_input(tmp_path / "sealed", on_progress=lambda *facts: told.append(facts)) as source:
        assert bytes(source.read(0, 1009)) == recording
    assert told[-1][0] == "verifying"
    os.rename(tmp_path / "sealed" / "encryption_key.bin", tmp_path / "key")
    with open_input(str(tmp_path / "sealed"), key=tmp_path / "key") as source:
        assert bytes(source.read(3, 5)) == recording[12:20]


def test_a_header_inside_that_is_too_long_gives_no_metadata_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "HEADER_MOST", 99)
    described = describe(1, order=Order.FORWARD, header_bytes=100)
    write_result(tmp_path / "sealed", b"abcd", described, header=bytes(100))
    with open_input(tmp_path / "sealed") as source:
        assert not source.metadata().metadata
        assert source.metadata().dropped == ("the header inside has 100 bytes; its metadata is not carried over",)
        assert source.read(0, 1) == b"abcd"


def test_a_file_of_a_sealed_result_is_refused_with_its_folder(tmp_path):
    write_pattern(tmp_path / "sealed")
    with pytest.raises(
        InputError, match=r"part of a sealed result, which is encrypted; name its folder .*sealed instead"
    ):
        open_input(tmp_path / "sealed" / "result.raw")


def test_options_that_do_not_fit_are_refused(tmp_path):
    write_pattern(tmp_path / "sealed")
    (tmp_path / "take.raw").write_bytes(bytes(4))
    with pytest.raises(UsageError, match="is a sealed result: --samplerate"):
        open_input(tmp_path / "sealed", Raw(channels=2))
    for secret in ({"key": "k"}, {"identity": "i"}):
        with pytest.raises(UsageError, match="is no sealed result"):
            open_input(tmp_path / "take.raw", **secret)


def test_an_output_that_is_the_input_is_known(tmp_path):
    write_pattern(tmp_path / "sealed")
    os.symlink(tmp_path / "sealed", tmp_path / "link")
    assert is_part_of(tmp_path / "sealed", tmp_path / "link")
    assert is_part_of(tmp_path / "link", tmp_path / "sealed")
    assert not is_part_of(tmp_path / "sealed", tmp_path / "other")
    assert not is_part_of(tmp_path, tmp_path)


READ_A_PIPE = """
import resource, sys
from zaudio.job.inputs import open_input
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
first = None
def progress(verb, done, total):
    global first
    if first is None and done > 1 << 20:
        first = peak()
with open_input("-", spool_folder=sys.argv[1], on_progress=progress) as source:
    for start in range(0, source.frames, 65536):
        source.read(start, min(start + 65536, source.frames))
    print(source.frames, peak() - first)
"""


def test_fifty_megabytes_from_a_pipe_take_a_few_of_memory(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", READ_A_PIPE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    block = bytes(1 << 20)
    for _ in range(50):
        process.stdin.write(block)
    frames, grown = map(int, process.communicate()[0].split())
    assert process.returncode == 0
    assert frames == 50 << 18
    assert grown < 12 * 1024  # KiB


def test_a_process_that_is_killed_while_it_reads_leaves_no_file(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", READ_A_PIPE, str(tmp_path)], stdin=subprocess.PIPE)
    process.stdin.write(bytes(5 << 20))  # taken, all but what a pipe holds
    process.kill()
    process.wait()
    process.stdin.close()
    assert list(tmp_path.iterdir()) == []
