"""Recordings of every awkward length, decrypted by stock openssl and compared with what numpy makes of them."""

import numpy as np
import pytest
from extended import product
from farm_support import decrypted, inverted, noise, openssl_decrypted, write_raw

from zaudio import Coordinator, Raw

pytestmark = pytest.mark.covers(
    "Sizes 0, 1, 15 to 17 frames, chunk +- 1, and 100 MB; also 7 to 9 frames of 2 bytes, around a block of the "
    "cipher: stock openssl decrypts to the reference",
    number=38,
    note="0 and 8 frames, and a chunk and one; each length with both of two formats, and 100 MB: `make test-all`",
    bound="the very bytes, each of 23 jobs",
    measured="agreed; 100 MB with both decryptions in 26 s on a busy machine",
    removed="`primitives.py`: `return bytes([count]) * count` (wrong padding)",
)

CHUNK = 4096  # frames
LENGTHS = [0, 1, 7, 8, 9, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1]  # 8 frames of 2 bytes are a block of the cipher
# In make test: a block to its last byte, and one frame of 6 bytes more than a chunk; of none, test_results.py.
KEPT = {("s16le", 1): (8,), ("s16be", 3): (CHUNK + 1,)}


@pytest.mark.parametrize(
    ("kind", "frames"), product(KEPT, LENGTHS, keep=[(kind, n) for kind in KEPT for n in KEPT[kind]])
)
def test_openssl_decrypts_a_recording_of_any_length_to_the_reference(tmp_path, frames, kind):
    format, channels = kind
    samples = noise(frames, channels=channels, format=format)
    path = write_raw(tmp_path / "x.raw", samples)
    out = tmp_path / "out"
    Coordinator(path, out, workers=1, chunk=f"{CHUNK}f", raw=Raw(channels=channels, format=format)).run()
    assert openssl_decrypted(out) == inverted(samples).tobytes()
    length = (out / "result.raw").stat().st_size
    assert length == samples.nbytes + 16 - samples.nbytes % 16


@pytest.mark.extended
def test_openssl_decrypts_a_hundred_megabytes_to_the_reference(tmp_path):
    samples = noise(25_000_003)
    path = write_raw(tmp_path / "x.raw", samples)
    report = Coordinator(path, tmp_path / "out", workers=2).run()
    assert report.bytes == 100_000_012
    reference = inverted(samples)
    assert np.array_equal(np.frombuffer(openssl_decrypted(tmp_path / "out"), "<u4"), reference.view("<u4").ravel())
    assert decrypted(tmp_path / "out") == reference.tobytes()
