"""Checks a run's result: decrypts it and compares it with the recording, outside of all timing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 1 << 20
SIGN = np.uint32(0x80000000)


def check(recording: Path, folder: Path) -> None:
    """End the program unless the folder's result is the recording: inverted, reversed, encrypted.

    Of a recording that is no raw float32 file, only the tag is checked.
    """
    if recording.suffix not in ("", ".raw"):
        import zaudio

        zaudio.verify(folder)
    elif not _agrees(recording, folder):
        raise SystemExit(f"{folder}: the result is not the recording, inverted and reversed")


def _agrees(recording: Path, folder: Path) -> bool:
    key, iv = (folder / "encryption_key.bin").read_bytes(), (folder / "encryption_iv.bin").read_bytes()
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    stop = recording.stat().st_size
    if (folder / "result.raw").stat().st_size != stop + 16 - stop % 16:
        return False
    padding = bytes([16 - stop % 16]) * (16 - stop % 16)
    with recording.open("rb") as source, (folder / "result.raw").open("rb") as result:
        while piece := decryptor.update(result.read(BLOCK)):
            count = min(len(piece), stop)
            source.seek(stop - count)
            expected = np.frombuffer(source.read(count), np.uint32)[::-1] ^ SIGN
            if not np.array_equal(np.frombuffer(piece, np.uint32, count // 4), expected):
                return False
            stop -= count
            if count < len(piece):
                return stop == 0 and piece[count:] == padding and not result.read(1)
    return False
