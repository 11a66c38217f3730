"""One recording, processed by workers that come over the network. Run it with `python several_machines.py`."""

import subprocess
import sys
import tempfile

from zaudio import Coordinator, Security, generate

ZAUDIO = [sys.executable, "-m", "zaudio"]

with tempfile.TemporaryDirectory() as folder:
    recording, keys = f"{folder}/take.raw", f"{folder}/farm-keys"
    generate(recording, seconds=10)

    # Once: the coordinator's keys, and a key for each other machine. Its folder is moved there.
    subprocess.run([*ZAUDIO, "keys", "init", keys, "-q"], check=True)
    for name in ("attic", "cellar"):
        subprocess.run([*ZAUDIO, "keys", "worker", name, "--keys", keys, "-q"], check=True)

    # With `bind` and no `workers`, the job waits for workers from elsewhere. Bind to an address that other machines can
    # reach, such as tcp://192.168.1.5:5555; port 0 is any free one.
    security = Security(keys=keys)
    with Coordinator(recording, f"{folder}/out", bind="tcp://127.0.0.1:0", chunk="1s", security=security) as job:
        # On the attic's machine you would run:  zaudio worker tcp://192.168.1.5:5555 --keys attic
        machines = []
        for name in ("attic", "cellar"):
            command = [*ZAUDIO, "worker", job.endpoint, "--name", name, "--keys", f"{keys}/handover/{name}"]
            machines.append(subprocess.Popen(command))
        try:
            # They may come late, leave early, or crash: their chunks are given to others.
            report = job.wait(timeout=60)
        finally:
            for machine in machines:
                machine.terminate()  # otherwise they would wait for the next job
                machine.wait()

    print(f"{report.workers} workers did {report.chunks} chunks in {report.seconds:.2f} s: {dict(report.shares)}")
