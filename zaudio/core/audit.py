"""Audit: which chunks are computed by two workers, before they are believed.

Rules: the choice is a keyed hash of the chunk's index under a secret of the job, so that no worker can tell which of
its chunks will be compared, and the same secret gives the same choice. Nothing here is told to a worker.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import blake2b

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Audit:
    """A random choice of chunks.

    Attributes:
        percent: How many of a hundred are chosen, above 0 and at most 100; each by itself, so it is an average.
        secret: 32 random bytes that no worker knows.
    """

    percent: float
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert 0 < self.percent <= 100, "a percentage"
        assert len(self.secret) == SECRET_BYTES, "a secret of the right length"

    def covers(self, index: int) -> bool:
        """Whether that chunk is one of them."""
        drawn = blake2b(struct.pack(">Q", index), key=self.secret, digest_size=8, person=b"zaudio audit").digest()
        return int.from_bytes(drawn, "big") * 100 < self.percent * (1 << 64)
