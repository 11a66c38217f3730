"""The job on Dask: a LocalCluster of processes with one thread each, futures taken in the order of submission."""

from __future__ import annotations

from collections import deque

import common
from distributed import Client, Future, LocalCluster, wait


def main() -> None:
    job = common.parse()
    with (
        # No dashboard: it is a web server, and here it would have no reader.
        LocalCluster(n_workers=job.workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(job.workers)
        wait([client.submit(common.nothing, pure=False) for _ in range(job.workers)])
        with common.Output(job) as output:
            pending: deque[Future] = deque()
            for chunk in job.chunks():
                if len(pending) == job.window:
                    output.write(pending.popleft().result())
                pending.append(client.submit(common.turn, *chunk, pure=False))
            while pending:
                output.write(pending.popleft().result())


if __name__ == "__main__":
    main()
