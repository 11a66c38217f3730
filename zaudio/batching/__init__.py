"""Batches: many recordings on one farm.

    batches      Batch, batch()    a batch as its user sees it
    work         OpenBatch         runs lots and jobs on the farm, one behind the other
    opener       Opener            opens recordings ahead, in a thread
    alone        Alone             a recording that is a job of its own
    results      publish()         the two kinds of result: sealed, or a file that plays
    lots         Packer            small recordings that are alike, and their stage
    ends         Ends              reports, counts and the manifest's lines
    secret       page_token()      the token of the page
    weights      Weights           the work that each recording is, for the progress
    glance       glance_batch()    how far a batch is, for another process
    manifest     Manifest          the end of each recording, for the next run
    roll         Roll              the state of each recording, for a table
    publishers   Publishers        threads that publish results while the farm goes on

Rules: a module imports only from those below its own. When a recording fails, its own result alone is lost.
"""

from zaudio.batching.batches import Batch, batch

__all__ = ["Batch", "batch"]
