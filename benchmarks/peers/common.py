"""The common part of all peers: the job, its cuts, the work on a chunk, and the output. Each adds only its engine.

    python benchmarks/peers/process_pool.py INPUT OUTDIR [-n WORKERS] [--chunk BYTES]

The job is the farm's: read a chunk, negate it, reverse it; back in order, last chunk first; AES-256-CBC; write. There
is no tag, no fsync, no check. A worker reads its chunk from the file itself, as the documentation of all engines
advises. The window bounds the chunks that are asked for and not yet written.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SAMPLE = np.dtype("<f4")
CIPHER_BLOCK = 16
WINDOW_BYTES = 16 << 20  # of chunks at once: more than hides any engine's round trip at 1 MiB ...
WINDOW_MOST = 1024  # ... and enough small ones that none of them waits for the window


@dataclass(frozen=True)
class Job:
    """The job of the command line."""

    path: str
    folder: str
    workers: int
    chunk: int
    size: int

    @property
    def window(self) -> int:
        """The number of chunks that may be under way."""
        return max(2 * self.workers, min(WINDOW_MOST, WINDOW_BYTES // self.chunk))

    def chunks(self) -> Iterator[tuple[str, int, int]]:
        """Yield the arguments of `turn` for each chunk, the recording's last one first."""
        for start in reversed(range(0, self.size, self.chunk)):
            yield self.path, start, min(self.chunk, self.size - start)


def parse() -> Job:
    """Return the job of the command line."""
    parser = argparse.ArgumentParser(description="the farm's job on another engine")
    parser.add_argument("input", help="raw float32 little-endian samples, mono")
    parser.add_argument("folder", help="where the result goes; files there are replaced")
    parser.add_argument("-n", "--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=1 << 20, metavar="BYTES")
    arguments = parser.parse_args()
    size = os.stat(arguments.input).st_size
    return Job(os.path.abspath(arguments.input), arguments.folder, arguments.workers, arguments.chunk, size)


def nothing() -> None:
    """Do nothing: the first task of each worker, whose start is no part of the job."""


def turn(path: str, start: int, count: int) -> np.ndarray:
    """Read, negate and reverse a chunk, in a worker."""
    samples = np.fromfile(path, SAMPLE, count // SAMPLE.itemsize, offset=start)
    return np.negative(samples[::-1])


class Output:
    """Encrypts and writes chunks, in their order. The job's time runs from its making to its closing."""

    def __init__(self, job: Job) -> None:
        self._begun = time.perf_counter()
        self._size = job.size
        os.makedirs(job.folder, exist_ok=True)
        key, iv = os.urandom(32), os.urandom(CIPHER_BLOCK)
        for name, content in (("encryption_key.bin", key), ("encryption_iv.bin", iv)):
            with open(os.path.join(job.folder, name), "wb") as file:
                file.write(content)
        self._encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
        self._buffer = bytearray(job.chunk + 2 * CIPHER_BLOCK)
        self._file = open(os.path.join(job.folder, "result.raw"), "wb", buffering=1 << 20)  # noqa: SIM115  # closed below

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        padding = CIPHER_BLOCK - self._size % CIPHER_BLOCK
        self._file.write(self._encryptor.update(bytes([padding]) * padding) + self._encryptor.finalize())
        self._file.close()
        seconds = time.perf_counter() - self._begun
        print(f"{self._size} bytes in {seconds:.3f} s: {self._size / 1e6 / seconds:.0f} MB/s", flush=True)

    def write(self, samples: np.ndarray) -> None:
        """Encrypt and write the next chunk of the result."""
        made = self._encryptor.update_into(samples.data.cast("B"), self._buffer)
        self._file.write(memoryview(self._buffer)[:made])
