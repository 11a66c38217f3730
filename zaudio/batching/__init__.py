"""Batches: many recordings on one farm.

    batches      Batch, batch()    a batch as its user sees it
    work         OpenBatch         runs lots and jobs on the farm, one behind the other
    opener       Opener            opens recordings ahead, in a thread
    lots         small recordings that are alike, and their stage
    alone        a recording that is a job of its own
    results                        the two kinds of result: sealed, or a file that plays
    ends         Ends              reports, counts and the manifest's lines
    manifest     Manifest          what became of each recording, for the next run
    roll         Roll              where each recording stands, for a table
    secret       page_token()      the token of the page
    publishers   Publishers        threads that publish results while the farm goes on

Rules: a module imports only from those below its own. A recording that fails costs its own result alone.
"""

from zaudio.batching.batches import Batch, batch

__all__ = ["Batch", "batch"]
