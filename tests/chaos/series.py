"""Jobs one after the other in one process, for as long as it is let: `python series.py SETTINGS`.

SETTINGS are arguments of `Coordinator` as JSON, with ``durations`` for `Timing` and ``network`` for `Network`; job n
writes to the folder `output` with the number n modulo `FOLDERS` behind its name. After each job, a line of JSON says
which folder that was, and what the process itself has when no job runs: bytes of memory, descriptors and threads. Ends
in order at SIGTERM.
"""

import gc
import itertools
import json
import os
import signal
import sys
import threading

from footprint import descriptors, memory

from zaudio import Coordinator, Network, Timing, ZaudioError

FOLDERS = 8  # so that a result can be looked at while later jobs run
asked_to_end = threading.Event()


def main(settings):
    """Run jobs until SIGTERM comes; returns how many failed."""
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    timing, network = Timing(**settings.pop("durations")), Network(**settings.pop("network"))
    failed = 0
    output = settings.pop("output")
    for number in itertools.count():
        if asked_to_end.is_set():
            break
        said = {}
        folder = f"{output}{number % FOLDERS}"
        try:
            with Coordinator(output=folder, **settings, network=network, timing=timing) as job:
                while not asked_to_end.is_set():
                    try:
                        report = job.wait(timeout=0.2)
                    except TimeoutError:
                        continue
                    said = {"chunks": report.chunks, "requeued": report.requeued, "duplicates": report.duplicates,
                            "resumed": getattr(report, "resumed_chunks", 0)}  # fmt: skip
                    break
        except ZaudioError as error:
            failed += 1
            said = {"error": f"{type(error).__name__}: {error}"}
        job = report = None
        gc.collect()
        at_rest = {"memory": memory(os.getpid()), "descriptors": descriptors(os.getpid()),
                   "threads": threading.active_count()}  # fmt: skip
        print(json.dumps({**said, **at_rest, "folder": folder}), flush=True)
    return failed


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
