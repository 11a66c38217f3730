"""What the tests of `zaudio.net` and of whole farms share: waiting for a condition, and looking at processes.

Rules: every wait is a condition with a deadline in MS, the one scaled unit: on a slow machine, `ZAUDIO_TEST_MS=3`
makes all of them three times as long. Processes are found by what they inherited and ended by their id.
"""

import os
import signal
import time

MS = 0.001 * float(os.environ.get("ZAUDIO_TEST_MS", "1"))  # seconds in a millisecond of these tests
PATIENCE = 15_000 * MS  # until a wait is given up that has no bound of its own
LOOK = 5 * MS  # between two looks at a condition


def wait_until(condition, what, *, within=PATIENCE):
    """Wait until `condition()` is true; returns what it gave."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {within:.1f} s still not so: {what}"
        time.sleep(LOOK)
    return value


def alive(pid):
    """Whether that process runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def state(pid):
    """The letter of a process's state; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent(pid):
    """The process id of a process's parent; 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid):
    """The living children of a process."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and parent(name) == pid and alive(name))


def processes_with(setting):
    """The living processes, other than this one, whose environment has ``NAME=VALUE``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and alive(name):
            try:
                with open(f"/proc/{name}/environ", "rb") as environ:
                    if setting.encode() in environ.read().split(b"\0"):
                        found.append(int(name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
    return found


def kill(pid, number=signal.SIGKILL):
    """Send a signal to a process of ours, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def descriptors():
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
