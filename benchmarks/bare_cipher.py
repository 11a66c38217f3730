"""The floor: AES-256-CBC from one buffer in memory to another, and nothing else.

python benchmarks/bare_cipher.py BYTES
"""

from __future__ import annotations

import argparse
import os
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 1 << 20  # bytes, as stream.py has it


def main() -> None:
    parser = argparse.ArgumentParser(description="encrypt bytes in memory")
    parser.add_argument("bytes", type=int, help="how many")
    size = parser.parse_args().bytes
    encryptor = Cipher(algorithms.AES(os.urandom(32)), modes.CBC(os.urandom(16))).encryptor()
    plain, encrypted = bytearray(BLOCK), bytearray(BLOCK + 16)
    begun = time.perf_counter()
    for start in range(0, size, BLOCK):
        encryptor.update_into(memoryview(plain)[: min(BLOCK, size - start)], encrypted)
    seconds = time.perf_counter() - begun
    print(f"{size} bytes in {seconds:.3f} s: {size / 1e6 / seconds:.0f} MB/s")


if __name__ == "__main__":
    main()
