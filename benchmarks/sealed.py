"""How long does a sealed result take as an input, before the first chunk and in all?

A sparse recording is sealed. Then the result is opened as a recording, which authenticates all of it, and in a second
program also read, decrypted, from the first frame to the last. `openssl dgst` over the same ciphertext shows what the
tag's HMAC-SHA256 alone takes. The times are also given per 100 GB. `method.py` says how it is measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import method
import show
from method import Command, Measured

GOAL = 60  # seconds per 100 GB, of the authentication
CHUNK_BYTES = 4 << 20
OPEN, READ, FLOOR = "authenticate", "authenticate, read all", "openssl dgst -sha256 -hmac"


def main() -> None:
    parser = method.make_parser(__doc__ or "", "python benchmarks/sealed.py --gb 8", recording=False)
    parser.add_argument("--gb", type=float, default=4.0, help="of the recording; 4 by default")
    parser.add_argument("--inside", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)  # in its own process
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run(arguments.inside, read=arguments.read)
        return
    size = int(arguments.gb * 1e9) // 4 * 4
    with method.sparse_recording(size, written=size) as recording:
        folder = recording.with_name("sealed")
        seal = [sys.executable, "-m", "zaudio", "seal", str(recording), str(folder), "--quiet", "--progress", "none"]
        subprocess.run(seal, cwd=method.ROOT, check=True)
        commands = {
            OPEN: Command(lambda _: method.script("sealed.py", "--inside", folder), checked=False),
            READ: Command(lambda _: method.script("sealed.py", "--read", "--inside", folder), checked=False),
            FLOOR: Command(
                lambda _: ["openssl", "dgst", "-sha256", "-hmac", "key", str(folder / "result.raw")], checked=False
            ),
        }
        measured = method.take_turns(
            commands, folder / "result.raw", rounds=arguments.rounds, touch_gib=arguments.touch
        )
    table = show.Table(
        f"A sealed result of {size / 1e9:g} GB, {arguments.rounds} rounds",
        ("", "whole command, s", "processor s", "without start-up, s", "s per 100 GB", "goal"),
        [_row(name, each, size, f"{GOAL}" if name == OPEN else "") for name, each in measured.items()],
    )
    facts = {"bytes": size, "runs": {name: asdict(each) for name, each in measured.items()}}
    show.report("sealed", [table], facts, markdown=arguments.markdown)


def run(folder: Path, *, read: bool) -> None:
    """Open a result as a recording, perhaps read all of it, and print the time."""
    from zaudio.result.sealed import SealedSource

    begun = time.perf_counter()
    with SealedSource(folder) as source:
        step = CHUNK_BYTES // source.frame_bytes
        for start in range(0, source.frames if read else 0, step):
            source.read(start, min(start + step, source.frames))
    print(f"done in {time.perf_counter() - begun:.3f} s")


def _row(name: str, of: Measured, size: int, goal: str) -> list[str]:
    alone = show.spread(of.jobs) if of.jobs else "-"
    per = [seconds * 1e11 / size for seconds in of.best_known]
    return [name, show.spread(of.seconds), show.spread(of.processor), alone, show.spread(per, 0), goal]


if __name__ == "__main__":
    main()
