"""One recording, processed by workers that come over the network. Run it with `python several_machines.py`."""

import subprocess
import sys
import tempfile

from zaudio import Coordinator, generate

with tempfile.TemporaryDirectory() as folder:
    recording = f"{folder}/take.raw"
    generate(recording, seconds=10)

    # With `bind` and no `workers`, the job waits for workers from elsewhere. On a network that you trust, bind to an
    # address that other machines can reach, such as tcp://192.168.1.5:5555; port 0 is any free one.
    with Coordinator(recording, f"{folder}/out", bind="tcp://127.0.0.1:0", chunk="1s") as job:
        # On each of the other machines you would run:  zaudio worker tcp://192.168.1.5:5555
        command = [sys.executable, "-m", "zaudio", "worker", job.endpoint]
        machines = [subprocess.Popen([*command, "--name", name]) for name in ("attic", "cellar")]
        try:
            # They may come late, leave early, or crash: their chunks are given to others.
            report = job.wait(timeout=60)
        finally:
            for machine in machines:
                machine.terminate()  # otherwise they would wait for the next job
                machine.wait()

    print(f"{report.workers} workers did {report.chunks} chunks in {report.seconds:.2f} s: {dict(report.shares)}")
