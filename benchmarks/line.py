"""A batch whose workers are at the other end of a long line: what bytes say arrives later, and no fewer pass.

    python benchmarks/line.py list.txt OUT --ms 25 -n 2 --op benchmarks.costly:rest:ms=50

Starts a batch without local workers, a proxy in front of its two ports that holds every byte back for so many
milliseconds, each way, and workers that know the proxy alone. It needs no rights, as `tc netem` would. It prints the
batch's time, from the first worker's welcome to the last publication.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import method

HOST = "127.0.0.1"
PIECE = 1 << 18  # bytes taken at once
IN_FLIGHT = 1 << 10  # pieces on the line, each way and connection
WORKERS_END = 10  # seconds; after the job they are told to stop


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="a file with the paths of the recordings")
    parser.add_argument("output", type=Path, help="the folder of the results")
    parser.add_argument("--op", default="invert", help="the op's SPEC")
    parser.add_argument("--ms", type=float, default=25, help="of delay, each way; 25 by default")
    parser.add_argument("-n", "--workers", type=int, default=2)
    parser.add_argument("--inside", nargs=4, type=int, metavar="PORT", help=argparse.SUPPRESS)  # in its own process
    arguments = parser.parse_args()
    if arguments.inside:
        run_batch(arguments)
        return 0
    return asyncio.run(run(arguments))


def run_batch(arguments: argparse.Namespace) -> None:
    """Do the batch, and print its time."""
    import zaudio

    ventilator, sink, *seen = arguments.inside
    report = zaudio.Batch(
        arguments.list.read_text(encoding="utf-8").splitlines(),
        arguments.output,
        ops=arguments.op,
        bind=f"tcp://{HOST}:{ventilator}",
        network=zaudio.Network(sink_bind=f"tcp://{HOST}:{sink}", advertise=f"{HOST}:{seen[0]},{seen[1]}"),
    ).run()
    print(f"{report.done} recordings in {report.seconds:.3f} s by {report.workers} workers")
    if report.done != report.recordings:
        raise SystemExit("not all recordings are done")


async def run(arguments: argparse.Namespace) -> int:
    """Do one batch; return its exit code."""
    listeners = []
    ports = await asyncio.gather(*(_free_port() for _ in range(2)))

    def connect_to(port: int):
        return lambda reader, writer: _join(reader, writer, port, arguments.ms / 1000)

    for port in ports:
        listeners.append(await asyncio.start_server(connect_to(port), HOST, 0))
    ventilator, sink = (listener.sockets[0].getsockname()[1] for listener in listeners)
    inside = map(str, ("--inside", *ports, ventilator, sink))
    batch = [sys.executable, __file__, str(arguments.list), str(arguments.output), "--op", arguments.op, *inside]
    job = subprocess.Popen(batch, cwd=method.ROOT)
    worker = [sys.executable, "-m", "zaudio", "worker", f"tcp://{HOST}:{ventilator}", "--allow", "benchmarks.costly"]
    workers = [
        subprocess.Popen([*worker, "--quiet"], cwd=method.ROOT, stdout=subprocess.DEVNULL)
        for _ in range(arguments.workers)
    ]
    try:
        return await asyncio.to_thread(job.wait)
    finally:
        for process in (job, *workers):
            process.terminate()
        for process in workers:
            await asyncio.to_thread(process.wait, WORKERS_END)


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return int(port)


async def _join(near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter, port: int, seconds: float) -> None:
    try:
        far_in, far_out = await asyncio.open_connection(HOST, port)
    except OSError:
        near_out.close()
        return
    with suppress(asyncio.CancelledError):  # the end of this program
        await asyncio.gather(_delay(near_in, far_out, seconds), _delay(far_in, near_out, seconds))


async def _delay(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    """Pass everything on, each byte so much later."""
    line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
    clock = asyncio.get_running_loop().time

    async def arrive() -> None:
        while True:
            due, piece = await line.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not piece:
                return
            target.write(piece)
            await target.drain()

    arriving = asyncio.create_task(arrive())
    with suppress(OSError):  # a reset is an end, too
        while piece := await source.read(PIECE):
            await line.put((clock() + seconds, piece))
    await line.put((clock() + seconds, b""))
    with suppress(OSError):
        await arriving
    target.close()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(method.ROOT))
    sys.exit(main())
