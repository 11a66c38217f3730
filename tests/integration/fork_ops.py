"""Ops that start processes, and one that dies. Workers find them because this folder is on the path."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np


def _sleeper(pids, *, session=False):
    """Fork a child that sleeps, ignores SIGTERM and keeps all that it inherits; note its id in a file."""
    pid = os.fork()
    if pid == 0:
        if session:
            os.setsid()
            if os.fork():
                os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(pids, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(600)
        os._exit(0)
    if session:
        os.waitpid(pid, 0)
    while not (os.path.exists(pids) and os.path.getsize(pids)):
        time.sleep(0.002)


def forks_and_dies(array, pids="", session=False, gate=""):
    """Negate, slowly or behind a gate; but the first call forks a sleeper, and dies of SIGKILL."""
    if not os.path.exists(pids):
        _sleeper(pids, session=session)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.4)  # or another worker would have done everything before the death is heard of
    while gate and not os.path.exists(gate):
        time.sleep(0.002)
    return np.negative(array)


def forks(array, pids="", session=False):
    """Negate; leave a sleeper behind."""
    if not os.path.exists(pids):
        _sleeper(pids, session=session)
    return np.negative(array)


def _negate(array):
    return np.negative(array)


def pool(array):
    """Negate, in two forked processes."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return np.concatenate(pool.map(_negate, np.array_split(array, 2)))


def comes_back_twice(array):
    """Negate; but return from a forked child too, with something else."""
    return np.negative(array) if os.fork() else array * 0


def runs(array, pids=""):
    """Negate; start a program that ignores nothing by itself, and say which signals it was given to ignore."""
    if not os.path.exists(pids):
        program = "import signal,sys; print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT).__name__)"
        said = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True).stdout
        with open(f"{pids}.{os.getpid()}", "w") as file:
            file.write(said)
        os.replace(file.name, pids)  # in one go: another worker may be at it too
    return np.negative(array)
