"""The job on concurrent.futures.ProcessPoolExecutor: submit, and take results in the order of submission."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor, wait

import common
import numpy as np


def main() -> None:
    job = common.parse()
    with ProcessPoolExecutor(max_workers=job.workers) as pool:
        wait([pool.submit(common.nothing) for _ in range(job.workers)])
        with common.Output(job) as output:
            pending: deque[Future[np.ndarray]] = deque()
            for chunk in job.chunks():
                if len(pending) == job.window:
                    output.write(pending.popleft().result())
                pending.append(pool.submit(common.turn, *chunk))
            while pending:
                output.write(pending.popleft().result())


if __name__ == "__main__":
    main()
