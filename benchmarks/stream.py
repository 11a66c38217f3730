"""The yardstick: the farm's default job in one process, as a plain stream, with no farm around it and no tag.

    python benchmarks/stream.py INPUT OUTDIR [--passes N] [--tag]

Reads a raw float32 little-endian recording from its end in blocks of 1 MiB, negates and reverses each, encrypts it
by AES-256-CBC and writes it: `result.raw`, `encryption_key.bin`, `encryption_iv.bin`. Every buffer is made once and
used for all blocks. Prints the seconds of the job alone, without the start of Python and its imports. Nothing is
fsynced and nothing is checked: this is how fast one process can be, not how safe. With --passes the costly op of
`costly.py` is applied first, with --tag the ciphertext goes through HMAC-SHA256: the same job as a farm's with that op.
"""

from __future__ import annotations

import argparse
import hmac
import os
import time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 1 << 20  # bytes; the fastest for cipher and numpy alike: fewer calls than 256 KiB, still in the cache
SAMPLE = np.dtype("<f4")
CIPHER_BLOCK = 16


def main() -> None:
    parser = argparse.ArgumentParser(description="negate, reverse and encrypt a float32 recording in one process")
    parser.add_argument("input", help="raw float32 little-endian samples, mono")
    parser.add_argument("folder", help="where the result goes; files there are replaced")
    parser.add_argument("--passes", type=int, default=0, help="apply the costly op, with as many passes")
    parser.add_argument("--tag", action="store_true", help="compute a tag, too")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    size = stream(arguments.input, arguments.folder, passes=arguments.passes, tagged=arguments.tag)
    seconds = time.perf_counter() - begun
    print(f"{size} bytes in {seconds:.3f} s: {size / 1e6 / seconds:.0f} MB/s")


def stream(path: str, folder: str, *, passes: int = 0, tagged: bool = False) -> int:
    """Do the job; return the bytes of samples."""
    os.makedirs(folder, exist_ok=True)
    key, iv = os.urandom(32), os.urandom(CIPHER_BLOCK)
    _write(os.path.join(folder, "encryption_key.bin"), key)
    _write(os.path.join(folder, "encryption_iv.bin"), iv)
    tag = hmac.new(key, digestmod="sha256") if tagged else None
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    source = os.open(path, os.O_RDONLY)
    target = os.open(os.path.join(folder, "result.raw"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        size = os.fstat(source).st_size
        if size % SAMPLE.itemsize:
            raise SystemExit(f"{path}: {size} bytes are no whole number of float32 samples")
        read, turned = bytearray(BLOCK), bytearray(BLOCK + CIPHER_BLOCK)
        encrypted = bytearray(BLOCK + 2 * CIPHER_BLOCK)
        for stop in range(size, -1, -BLOCK):
            count = min(BLOCK, stop)
            _read(source, memoryview(read)[:count], stop - count)
            samples = np.frombuffer(read, SAMPLE, count // SAMPLE.itemsize)
            if passes:
                from costly import toil  # only then: the yardstick's own start stays as short as it can be

                toil(samples, passes)
            np.negative(samples[::-1], out=np.frombuffer(turned, SAMPLE, len(samples)))
            if stop < BLOCK:  # the first of the recording and so the last of the result: PKCS#7 completes it
                padding = CIPHER_BLOCK - size % CIPHER_BLOCK
                turned[count : count + padding] = bytes([padding]) * padding
                count += padding
            made = encryptor.update_into(memoryview(turned)[:count], encrypted)
            if tag is not None:
                tag.update(memoryview(encrypted)[:made])
            _write_all(target, memoryview(encrypted)[:made])
        encryptor.finalize()
        if tag is not None:
            _write(os.path.join(folder, "tag.bin"), tag.digest())
    finally:
        os.close(source)
        os.close(target)
    return size


def _read(source: int, buffer: memoryview, start: int) -> None:
    while buffer:
        count = os.preadv(source, [buffer], start)
        if not count:
            raise SystemExit("the recording became shorter while it was read")
        buffer, start = buffer[count:], start + count


def _write_all(target: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(target, piece) :]


def _write(path: str, content: bytes) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(target, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main()
