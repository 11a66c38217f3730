"""Places on clusters of Dask and Ray, as `launcher_support` tells of places."""

import importlib.util
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from launcher_support import Place
from net_support import MS, free_port, wait_until

# Each prints the address of a cluster, and ends it when its standard input ends.
CLUSTERS = {
    "local": """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None, host="127.0.0.1") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
""",
    "ray": """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
""",
}


class Cluster(Place):
    """A cluster that one process runs."""

    count = 3

    def __init__(self, folder, mark):
        missing = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if missing:
            pytest.skip(f"there is no package {missing[0]} here")
        super().__init__(folder, mark)

    def __enter__(self):
        self._processes = []
        self.text = f"{self.kind}:{self.begin()},n={self.count}"
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15_000 * MS)
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()

    def process(self, *arguments):
        """Start a process of the cluster."""
        with open(self.folder / f"log-{len(self._processes)}", "w") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
                env={**os.environ, **self.inside},
            )
        self._processes.append(process)
        return process

    def begin(self):
        """Start the cluster, and return its address."""
        script = self.folder / "cluster.py"
        script.write_text(CLUSTERS[self.script])
        address = self.process(str(script)).stdout.readline().strip()
        assert address, (self.folder / "log-0").read_text()
        return address


class DaskLocal(Cluster):
    """Dask's LocalCluster: two workers with two threads each."""

    packages = ("distributed",)
    kind, script = "dask", "local"
    names = r".+/dask-[0-9]+"


class DaskByHand(Cluster):
    """A scheduler and two workers of Dask, started by hand as its documentation says."""

    packages = ("distributed",)
    kind = "dask"
    names = r".+/dask-[0-9]+"

    def begin(self):
        self.address = address = f"tcp://127.0.0.1:{free_port()}"
        self.schedule()
        for _ in range(2):
            place = ("--nthreads", "2", "--host", "127.0.0.1", "--local-directory", str(self.folder))
            self.process("-m", "dask", "worker", address, *place, "--no-dashboard")
        logs = [self.folder / f"log-{number}" for number in (1, 2)]
        wait_until(lambda: all("Registered to" in log.read_text() for log in logs), "Dask's workers have joined")
        return address

    def schedule(self):
        """Start the scheduler."""
        self.scheduler = self.process("-m", "dask", "scheduler", "--host", self.address, "--no-dashboard")

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.terminate()
        super().__exit__()


class Ray(Cluster):
    """Two nodes of Ray with two processors each."""

    packages = ("ray",)
    kind, script = "ray", "ray"
    names = r".+/ray-[0-9]+"
