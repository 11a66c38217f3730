"""The job on joblib with its default backend: a generator of results in order, tasks dispatched ahead of them.

joblib batches small tasks by itself. `pre_dispatch` bounds the tasks that are dispatched ahead of the computed ones.
"""

from __future__ import annotations

import common
from joblib import Parallel, delayed


def main() -> None:
    job = common.parse()
    with Parallel(n_jobs=job.workers, return_as="generator", pre_dispatch=job.window) as parallel:
        list(parallel(delayed(common.nothing)() for _ in range(job.workers)))
        with common.Output(job) as output:
            for samples in parallel(delayed(common.turn)(*chunk) for chunk in job.chunks()):
                output.write(samples)


if __name__ == "__main__":
    main()
