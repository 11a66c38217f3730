"""Reference: where the samples of a recording lie in a file, for workers who can read that file themselves.

Rules: pure. A reference names one state of one file; whoever reads by it checks with each read that it still is that.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """Samples as they are, one frame after the other, from a byte of a file on.

    Attributes:
        path: Absolute.
        offset: Bytes in front of frame 0.
        size: Bytes of the file.
        mtime_ns: When it was last written to, in nanoseconds.
        device: The file system it is on, as this machine calls it.
        inode: Its number there.
        sample: XXH3-64 of its head, its tail and a block in the middle, 64 KiB each: for machines that share a file
            system and call device and inode otherwise.
    """

    path: str
    offset: int
    size: int
    mtime_ns: int
    device: int
    inode: int
    sample: int
