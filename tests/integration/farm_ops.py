"""Ops that misbehave in known ways. Workers find them because this folder is on the path."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

LOOK = 0.002  # seconds between two looks at a gate


def negate(array):
    """What `invert` does, as an own op."""
    return np.negative(array)


def slow(array, ms=5):
    """Negate, in that many milliseconds."""
    time.sleep(ms / 1000)
    return np.negative(array)


def lies(array, mark=""):
    """Negate; but the one process that makes the file `mark` gets every first sample of a chunk wrong."""
    array = np.negative(array)
    if _is_marked(mark):
        array[0] += 1
    return array


def _is_marked(mark):
    try:
        with open(mark, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        pass
    return Path(mark).read_text() == str(os.getpid())


def gated(array, gate=""):
    """Negate, once that file is there. Leaves ``<gate>.<process id>`` to say that it waits."""
    Path(f"{gate}.{os.getpid()}").touch()
    while not os.path.exists(gate):
        time.sleep(LOOK)
    return np.negative(array)


def down_to(array, limit=""):
    """Negate; but a chunk that begins with a sample below the number in that file waits until it is not."""
    while array[0, 0] < int(Path(limit).read_text() or 0):
        time.sleep(LOOK)
    return np.negative(array)


def holds_at(array, value=0.0, gate=""):
    """Negate; but the chunk that begins with that sample waits until that file is there."""
    while array[0, 0] == value and not os.path.exists(gate):
        time.sleep(LOOK)
    return np.negative(array)


def raises_at(array, value=0.0, times=1000, tally=""):
    """Negate; but the first `times` times that a chunk begins with that sample, raise. `tally` is a file."""
    if array[0, 0] == value and _count(tally) <= times:
        raise ValueError(f"there is a {value:g} on track one")
    return np.negative(array)


def dies_at(array, value=0.0, number=9):
    """Negate; die of that signal at the chunk that begins with that sample."""
    if array[0, 0] == value:
        os.kill(os.getpid(), number)
        signal.pause()
    return np.negative(array)


def exits_at(array, value=0.0, code=0):
    """Negate; end the process, without a word, at the chunk that begins with that sample."""
    if array[0, 0] == value:
        os._exit(code)
    return np.negative(array)


def complains_at(array, value=0.0, code=1):
    """Negate; say why on standard error and end the process at the chunk that begins with that sample."""
    if array[0, 0] == value:
        sys.stderr.write("Traceback of some sort\nout\x07of [luck]\n\n")
        sys.stderr.flush()
        os._exit(code)
    return np.negative(array)


def leaves(array):
    """What an op should not do: it ends the program, as a script would."""
    sys.exit("this op is a script")


def mute_error(array):
    """Raise an error that cannot even be shown."""

    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    raise MuteError


def sticks_at(array, value=0.0, tally="", times=1):
    """Negate; but the first `times` times that a chunk begins with that sample, never return."""
    if array[0, 0] == value and _count(tally) <= times:
        while True:
            time.sleep(60)
    return np.negative(array)


def hogs_at(array, value=0.0, tally="", times=1):
    """Like `sticks_at`, but inside a C call that keeps the interpreter lock: no thread of the worker gets on.

    Leaves ``<tally>.inside`` to say that it is.
    """
    if array[0, 0] == value and _count(tally) <= times:
        libc = ctypes.PyDLL(None)
        sys.setswitchinterval(600)  # between the two calls no thread gets the lock either ...
        time.sleep(LOOK)  # ... nor one that has asked for it already
        if tally:
            libc.creat(f"{tally}.inside".encode(), 0o600)
        libc.sleep(600)
    return np.negative(array)


def shorter(array):
    """Lose a frame."""
    return array[1:]


def wider(array):
    """Change the sample format."""
    return array.astype(np.float64)


def moody(array):
    """Depend on what an op must not depend on."""
    return array * np.float32(os.getpid())


def chatty(array):
    """Write to both standard streams."""
    sys.stdout.write("on standard output\n")
    sys.stderr.write("on standard error\n")
    return np.negative(array)


def _count(tally):
    """How often this was called with that file; calls of several processes are told apart by the appended bytes."""
    if not tally:
        return 0
    fd = os.open(tally, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, b".")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
