"""Reference and Fingerprint: two ways to name a recording's file in one state.

Rules: pure. They stay two types, because they are compared at different times. A worker compares a Reference at each
read: it is quick, and on one machine it goes by device and inode. A later start compares a Fingerprint: device and
inode may be others after a reboot, so it goes by the path and a stronger digest, and the journal stores it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """The place of a recording's samples: frame after frame, from one byte of a file on.

    Attributes:
        path: The file's absolute path.
        offset: Bytes in front of frame 0.
        size: Bytes of the file.
        mtime_ns: When the file was last written to, in nanoseconds.
        device: The file system's number on this machine.
        inode: The file's number on that file system.
        sample: XXH3-64 of the file's head, its tail and a block in the middle, 64 KiB each. By it a machine that
            shares the file system, and numbers devices and inodes otherwise, recognises the file.
    """

    path: str
    offset: int
    size: int
    mtime_ns: int
    device: int
    inode: int
    sample: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The state of a recording's file when a job began, by which a later start recognises it.

    Attributes:
        path: The file's absolute path, links followed.
        size: Bytes of the file.
        mtime_ns: When the file was last written to, in nanoseconds.
        sample: SHA-256 of the file's head, its tail and blocks between them, in hex; of all of a small file. Of a file
            that is decoded, of all its samples.
        decoder: Name and version of the decoder; empty for samples that need none.
    """

    path: str
    size: int
    mtime_ns: int
    sample: str
    decoder: str = ""
