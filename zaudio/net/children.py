"""Children: the life of one worker process, from the fork on.

Rules:

- Nothing returns from a forked child: it always ends by `os._exit`.
- A worker writes to its own pipe: `ready`, or the reason why it cannot be ready; and `done` when it leaves in order.
- A child keeps no descriptor of its parent but its pipe and the lifeline.
- A child leads a process group, so that what its ops start can be ended with it.
- What an op forks gets Python's own signal handlers, and none of the worker's pipes.
- A child dies with the process that forked it (Linux), and leaves when the lifeline breaks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from zaudio.errors import NoCoordinatorError, RefusedError, ZaudioError
from zaudio.net import brood
from zaudio.net.outbox import Outbox
from zaudio.net.settings import WorkerSettings
from zaudio.net.worker import Shell

PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)
READY, DONE = b"ready\n", b"done\n"


def become_worker(
    settings: WorkerSettings,
    name: str,
    session: bytes,
    make_outbox: Callable[[], Outbox | None],
    *,
    lifeline: int,
    life: int,
    stderr: int,
) -> NoReturn:
    """Turn this forked child into a worker process; end it when the worker ends.

    Args:
        settings: The settings that it shares with the other workers.
        name: Its name.
        session: The name of this life of it.
        make_outbox: Makes its outbox.
        lifeline: A descriptor that becomes readable when it is to end.
        life: The write end of its own pipe.
        stderr: The write end of the pipe for its output.
    """
    code = 1
    try:
        brood.lead_group()
        die_with_parent()
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, standard in ((null, 0), (stderr, 1), (stderr, 2)):
            os.dup2(descriptor, standard)
        disown_forks(life, lifeline)
        outbox = make_outbox()
        close_all_but(3, {life, lifeline})
        code = work(settings, name, session, outbox, lifeline, life)
    except BaseException:  # noqa: BLE001  nothing may return from a forked child
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(settings: WorkerSettings, name: str, session: bytes, outbox: Outbox | None, lifeline: int, life: int) -> int:
    """Live the life of one worker process; return its exit code."""

    def ready() -> None:
        os.write(life, READY)

    try:
        with Shell(settings, name, session, outbox=outbox, lifeline=lifeline, on_ready=ready) as shell:
            # The supervisor handles it, and sends SIGTERM. No SIG_IGN: that, a program that an op runs would inherit.
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.signal(signal.SIGTERM, lambda *_: shell.stop())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
            shell.run()
    except RefusedError as error:
        os.write(life, str(error).encode())
        return error.exit_code
    except NoCoordinatorError as error:  # the supervisor says it once, for all workers
        return error.exit_code
    except ZaudioError as error:
        sys.stderr.write(f"zaudio: {error}\n")
        return error.exit_code
    os.write(life, DONE)
    return 0


def disown_forks(*descriptors: int) -> None:
    """Let no process that an op forks take part in being a worker: a SIGTERM must end it, as `multiprocessing` expects.

    Args:
        descriptors: Descriptors that are the worker's alone.
    """

    def disown() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # the child of a child: it is closed already
                os.close(descriptor)

    os.register_at_fork(after_in_child=disown)


def die_with_parent() -> None:
    """Have this process killed when the one that forked it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def close_all_but(first: int, kept: set[int]) -> None:
    """Close the descriptors that a forked child inherited, from `first` on."""
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
