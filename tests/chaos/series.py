"""Jobs one after the other in one process, for as long as it is let: `python series.py SETTINGS`.

SETTINGS are arguments of `Coordinator` as JSON, and ``durations`` for `Timing`. After each job, a line of JSON says
what the process itself has when no job runs: bytes of memory, descriptors and threads. Ends in order at SIGTERM.
"""

import gc
import json
import os
import signal
import sys
import threading

from footprint import descriptors, memory

from zaudio import Coordinator, Timing, ZaudioError

asked_to_end = threading.Event()


def main(settings):
    """Run jobs until SIGTERM comes; returns how many failed."""
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    timing = Timing(**settings.pop("durations"))
    failed = 0
    while not asked_to_end.is_set():
        said = {}
        try:
            with Coordinator(**settings, timing=timing) as job:
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
        print(json.dumps({**said, **at_rest}), flush=True)
    return failed


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
