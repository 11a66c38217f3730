"""The job on Ray: remote tasks, object references taken in the order of submission, a bounded number under way."""

from __future__ import annotations

import os
from collections import deque

import common

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a benchmark does not phone home
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning about a future change
import ray  # it reads its environment when it is imported


def main() -> None:
    job = common.parse()
    ray.init(num_cpus=job.workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    turn, nothing = ray.remote(common.turn), ray.remote(common.nothing)
    ray.get([nothing.remote() for _ in range(job.workers)])
    with common.Output(job) as output:
        pending: deque[ray.ObjectRef] = deque()
        for chunk in job.chunks():
            if len(pending) == job.window:
                output.write(ray.get(pending.popleft()))
            pending.append(turn.remote(*chunk))
        while pending:
            output.write(ray.get(pending.popleft()))
    ray.shutdown()


if __name__ == "__main__":
    main()
