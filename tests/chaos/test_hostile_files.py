"""Files that claim to be audio and are not what they claim: one error, soon, in little memory, nothing written."""

import io
import random
import shutil
import struct

import numpy as np
import pytest
import soundfile
from extended import extended
from harness import assert_no_traceback, assert_promises
from net_support import MS

pytestmark = pytest.mark.covers(
    "14 hostile files (claims of 2^32 frames, 65,535 channels, 200,000 empty chunks, magic and noise ...): exit 3",
    number=41,
    note="2 of them; all: `make test-all`",
    bound="5 s; 160 MiB",
    measured="2.7 s at most on a busy machine, mostly the start of Python; below 160 MiB",
    removed='`containers.py`: `raise InputError(path, f"{what}: {words}") from None` in `_one_line`',
)

BOUND = 5000 * MS  # from the start of the command to its end
MEMORY = 160 << 20  # bytes; Python, numpy and libzmq are some 60 MiB of it


def audio(container, subtype="PCM_16", frames=2000, channels=2):
    """A good file."""
    file = io.BytesIO()
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (frames, channels))
    soundfile.write(file, samples, 44100, format=container, subtype=subtype)
    return bytearray(file.getvalue())


def wav(*, channels=1, rate=44100, width=2, declared=16, block=None, riff=None, content=bytes(16)):
    block = block if block is not None else channels * width
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", declared) + content
    return b"RIFF" + struct.pack("<I", riff if riff is not None else len(body)) + body


def patched(content, marker, offset, value):
    at = content.index(marker) + offset
    content[at : at + len(value)] = value
    return content


def endless_chunks(count=200_000):
    """A WAV of nothing but chunks of length zero."""
    return b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * count


def flac_claims(total):
    content = audio("FLAC")
    fields = int.from_bytes(content[18:26], "big")
    content[18:26] = (fields >> 36 << 36 | total).to_bytes(8, "big")
    return content


FILES = {
    "a wav of 65535 channels": wav(channels=65535),
    "a wav of no channels": wav(channels=0, block=0),
    "a wav at 0 Hz": wav(rate=0),
    "a wav of 200,000 empty chunks": endless_chunks(),
    "a wav of a format that does not exist": patched(bytearray(wav()), b"fmt ", 8, b"\xfe\xca"),
    "an aiff that claims 2^32 frames": patched(audio("AIFF"), b"COMM", 10, b"\xff" * 4),
    "a flac that claims 2^36 frames": flac_claims(2**36 - 1),
    "a flac of a good head and noise": audio("FLAC")[:60] + random.Random(1).randbytes(100_000),
    "a flac cut in its first frame": audio("FLAC")[:100],
    "only the magic of a wav": b"RIFF",
    "only the magic of a flac": b"fLaC",
    "a magic and noise": b"RIFF\0\0\0\0WAVE" + random.Random(2).randbytes(100_000),
    "an mp3": b"\xff\xfb\x90\x64" + random.Random(3).randbytes(50_000),
    "an ogg": b"OggS\0\x02" + random.Random(4).randbytes(50_000),
}


KEPT = {"a wav of 65535 channels", "an mp3"}


# A size that cannot be true stands for "unknown", and samples do not depend on the other lies.
HARMLESS = {
    "a wav that claims 2 GiB of samples": wav(declared=2**31),
    "an rf64 that claims 2^63 bytes": patched(audio("RF64"), b"ds64", 16, b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
    "a w64 whose chunk claims 2^64 bytes": patched(audio("W64"), b"data", 16, b"\xff" * 8),
    "a caf whose chunk claims 2^63 bytes": patched(audio("CAF"), b"data", 4, b"\x7f" + b"\xff" * 7),
    "a wav whose blocks are of no bytes": wav(block=0),
    "a wav of 64 KiB blocks": wav(block=65535),
    "an aiff at a rate that is no number": patched(audio("AIFF"), b"COMM", 16, b"\x7f\xff" + b"\xff" * 8),
}


@pytest.mark.parametrize("name", [name if name in KEPT else extended(name) for name in FILES])
def test_hostile_file_is_refused_soon_in_little_memory_and_nothing_is_written(scene, name):
    path = scene.folder / "take.audio"
    path.write_bytes(FILES[name])
    scene.raw = []  # the file says what it is
    job = scene.farm(input=path, workers=1)
    job.finish(within=BOUND, code=3)
    assert_promises(job)
    assert job.peak < MEMORY
    assert str(path) in job.err
    assert not scene.output.exists() or not list(scene.output.iterdir())


@pytest.mark.parametrize("name", list(HARMLESS))
@pytest.mark.extended
def test_harmless_lie_is_read_or_refused_and_soon(scene, name):
    path = scene.folder / "take.audio"
    path.write_bytes(HARMLESS[name])
    scene.raw = []
    job = scene.farm(input=path, workers=1)
    assert job.finish(within=BOUND) in (0, 3), job.said
    assert_no_traceback(job)
    assert job.peak < MEMORY


@pytest.mark.covers(
    "A sparse file of 1 TiB, or half of the free room: works, in bounded memory, until it is interrupted",
    number=41,
    bound="5 s; 160 MiB + `--memory`",
    measured="below it",
    removed="not seen to fail",
)
def test_hole_as_large_as_there_is_room_for_costs_no_memory_and_can_be_stopped(scene):
    """A sparse file is a recording like any other: what counts is that nothing grows with it."""
    path = scene.folder / "take.raw"
    with path.open("wb") as file:
        file.truncate(min(1 << 40, shutil.disk_usage(scene.folder).free // 2))  # the result needs the room
    job = scene.farm(input=path, workers=1)
    job.wait_for("Accepted", 20)
    job.signal(2)
    job.finish(within=BOUND, code=130)
    assert job.peak < MEMORY + job.memory
