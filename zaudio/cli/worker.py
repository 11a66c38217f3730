"""`zaudio worker`: run one or more processes that compute for a coordinator elsewhere.

Rules: SIGTERM asks a worker to leave in order, and it ends with exit code 0. SIGINT asks the same, and it ends with
130. A second signal, of either kind, ends it at once.
"""

from __future__ import annotations

from typing import Any

import click

from zaudio.cli import voice
from zaudio.cli.exit import Signals, Terminated
from zaudio.cli.options import connect_address, path_option, voice_options
from zaudio.program import compute_in_one_thread


@click.command(epilog="\b\nExample:\n  zaudio worker tcp://192.168.1.5:5555 -n 4 --keys studio-2 --allow my_ops")
@click.argument("endpoint", metavar="ENDPOINT", callback=connect_address)
@click.option(
    "-n", "processes", metavar="PROCESSES", type=click.IntRange(min=1), default=1, help="Worker processes to run."
)
@click.option(
    "--name", metavar="NAME", show_default="host and process id", help="Name of this worker in logs and reports."
)
@click.option(
    "--once", is_flag=True, help="Exit when no coordinator answers or the job is over, in place of trying again."
)
@click.option(
    "--allow",
    metavar="MODULE[:FUNCTION]",
    multiple=True,
    show_default="built-in operations only",
    help="Module, or one function of it, that jobs may name as an operation. It is imported at the start. Repeatable.",
)
@path_option
@click.option(
    "--read",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    multiple=True,
    help="Folder shared with the coordinator: the worker itself reads recordings that lie below it. Repeatable.",
)
@click.option(
    "--keys",
    metavar="DIR",
    type=click.Path(),
    show_default="none",
    help="This worker's folder of keys, which `zaudio keys worker` made on the coordinator's machine.",
)
@click.option(
    "--lifetime",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    show_default="no end",
    help="Seconds after which a worker finishes its chunk and leaves; each process leaves up to a tenth sooner.",
)
@click.option(
    "--idle-timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    show_default="no end",
    help="Seconds without a chunk after which a worker leaves; each process leaves up to a tenth later.",
)
@voice_options
def worker(endpoint: str, processes: int, **settings: Any) -> None:  # noqa: ANN401  arguments of `Worker`, as click names them
    """Compute chunks for a coordinator.

    ENDPOINT is the coordinator's address: tcp://HOST:PORT or ipc://PATH.
    """
    voice.follow("zaudio.worker.diary")
    compute_in_one_thread()
    try:
        from zaudio.ops.beside import find_beside

        find_beside(settings["allow"])
        if processes > 1:
            from zaudio.net.supervisor import supervise

            with Signals():
                supervise(endpoint, processes, **settings)
        else:
            run_here(endpoint, **settings)
    except Terminated:  # the worker left in order, as it was asked
        pass


def run_here(endpoint: str, **settings: Any) -> None:  # noqa: ANN401  arguments of `Worker`
    """Run one worker in this process until its job, or a signal, ends it.

    Raises:
        KeyboardInterrupt: SIGINT came, and the worker has left in order.
        Terminated: SIGTERM came, and the worker has left in order.
    """
    from zaudio import Worker
    from zaudio.net.brood import Brood
    from zaudio.net.children import disown_forks

    disown_forks()
    here = Worker(endpoint, **settings)
    with Brood(), Signals(leave=here.stop) as signals:
        here.run()
    signals.raise_received()
