"""The private memory of a command and of its descendants.

Private is what Linux calls RssAnon: neither the page cache, nor mapped libraries, nor memory that is shared on purpose.
Pages that a forked worker still shares with its parent are counted for both, so for workers it is an upper bound.
"""

from __future__ import annotations

import threading
from pathlib import Path

LOOKS = 25  # per second: the peak lasts for whole phases of a run
FAMILY_LOOKS = 5  # looks between two searches for new processes, which cost more
ROLES = ("coordinator", "starter", "worker")  # by how many parents lie between


class Peaks:
    """Looks at a process and its descendants until told to stop, and keeps the peak of each role.

    The first process is the `coordinator`, its children `starter`, their children `worker` (the largest of them).
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """Stop looking; return the peak of each role in bytes, empty where the system does not tell."""
        self._over.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        looks, family = 0, [(self._pid, 0)]
        while not self._over.wait(1 / LOOKS):
            if looks % FAMILY_LOOKS == 0:
                family = _family(self._pid)
            looks += 1
            for pid, depth in family:
                role = ROLES[min(depth, len(ROLES) - 1)]
                self._most[role] = max(self._most.get(role, 0), private_bytes(pid))


def private_bytes(pid: int) -> int:
    """Return a process's private bytes now; 0 when it has ended or the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def _family(root: int) -> list[tuple[int, int]]:
    """Return that process and its descendants, each with the number of parents between."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name stands in parentheses and may hold anything; state and parent follow it.
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        children.setdefault(parent, []).append(int(entry.parent.name))
    family = [(root, 0)]
    for pid, depth in family:
        family.extend((child, depth + 1) for child in children.get(pid, ()))
    return family
