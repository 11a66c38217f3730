"""Whole jobs over odd recordings: what was odd, and what was clipped, is in the report."""

import struct

import numpy as np
import pytest
from extended import extended
from farm_support import decrypted

from zaudio import Coordinator, InputError, Network, Raw

SAMPLES = np.arange(-30_000, 30_000, 3, np.int16)


def wav(size):
    fmt = struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16)
    return (
        b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
        + b"data" + struct.pack("<I", size) + SAMPLES.astype("<i2").tobytes()
    )  # fmt: skip


@pytest.mark.parametrize("sockets_only", [False, extended(True)])
def test_a_loud_gain_is_counted_and_a_size_from_a_pipe_is_said(tmp_path, sockets_only):
    path = tmp_path / "take.wav"
    path.write_bytes(wav(0x7FFFF000))
    louder = SAMPLES.astype(np.int64) * 1000
    report = Coordinator(
        path, tmp_path / "out", ops="gain:db=60", workers=2, chunk="100f", network=Network(sockets_only=sockets_only)
    ).run()
    expected = np.clip(louder, -32768, 32767).astype("<i2").reshape(-1, 2)[::-1]
    assert decrypted(tmp_path / "out") == expected.tobytes()
    assert report.clipped == int(np.count_nonzero((louder > 32767) | (louder < -32768)))
    (warning,) = report.warnings
    assert "gives 2147479552 bytes" in warning


def test_a_truncated_recording_is_taken_when_that_is_asked_for(tmp_path):
    path = tmp_path / "take.wav"
    path.write_bytes(wav(2 * len(SAMPLES) + 1000))
    with pytest.raises(InputError, match="41000 bytes of samples, and the file has 40000; pass --truncated"):
        Coordinator(path, tmp_path / "out", workers=1).run()
    assert not (tmp_path / "out").exists()
    report = Coordinator(path, tmp_path / "out", workers=1, raw=Raw(truncated=True)).run()
    assert (report.frames, report.clipped) == (len(SAMPLES) // 2, 0)
    assert "truncated" in report.warnings[0]
