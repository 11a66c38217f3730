"""Metrics: a board as text for Prometheus. Base units; no label grows with the job, so none is a worker's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zaudio.watching.limiting import judge
from zaudio.web.board import BUCKETS, Board

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OUTCOMES = ("accepted", "duplicate", "noted", "rejected", "late")
REASONS = ("deadline", "silence", "wrong", "transfer", "op", "gone")


def metrics(board: Board, *, now: float) -> str:
    """Return all metrics of a job."""
    times = board.meter.times(now)
    useful = judge(times).useful
    progress = board.progress
    lines = [
        *_family("zaudio_chunks", "gauge", "Chunks of the stage that runs.", _by("state", board.cells.counts())),
        *_family(
            "zaudio_results_total",
            "counter",
            "Messages with results, by what became of them.",
            _by("outcome", {name: board.outcomes[name] for name in OUTCOMES}),
        ),
        *_family(
            "zaudio_requeued_total",
            "counter",
            "Grants that came to nothing.",
            _by("reason", {name: board.requeued[name] for name in REASONS}),
        ),
        *_family("zaudio_workers", "gauge", "Workers of the job.", _by("state", board.staff.counts())),
        *_single("zaudio_refused_total", "counter", "Tries to take part that were refused.", board.refused),
        *_histogram(board),
        *_single(
            "zaudio_cipher_starved_seconds_total",
            "counter",
            "Time of the stage in which the cipher waited for results.",
            times.starved,
        ),
        *_single("zaudio_audited_chunks_total", "counter", "Chunks on which two workers agreed.", board.audited),
    ]
    if board.jobs.counts:
        lines += _family("zaudio_recordings", "gauge", "Recordings of the batch.", _by("state", board.jobs.counts))
    if useful is not None:
        lines += _single("zaudio_workers_useful", "gauge", "Workers that would keep the cipher busy.", useful)
    if progress is not None:
        lines += [
            *_single(
                "zaudio_bytes_sealed_total",
                "counter",
                "Bytes of the result that are encrypted, those of earlier lives included; of a batch, all results.",
                board.bytes_sealed,
            ),
            *_single("zaudio_bytes", "gauge", "Bytes of the stage.", progress.bytes),
            *_single("zaudio_job_seconds", "gauge", "Time since the first worker was welcomed.", progress.seconds),
        ]
        if progress.eta is not None:
            lines += _single(
                "zaudio_eta_seconds", "gauge", "Time that the stage, or the batch, will still take.", progress.eta
            )
    return "\n".join(lines) + "\n"


def _histogram(board: Board) -> list[str]:
    name, total, samples = "zaudio_chunk_seconds", 0, []
    for most, count in zip((*(f"{bucket:g}" for bucket in BUCKETS), "+Inf"), board.seconds, strict=True):
        total += count
        samples.append((f'_bucket{{le="{most}"}}', float(total)))
    samples += [("_sum", board.seconds_sum), ("_count", float(total))]
    return _family(name, "histogram", "From a grant to its result, over the chunks in it.", samples)


def _by(label: str, values: Mapping[str, int]) -> list[tuple[str, float]]:
    return [(f'{{{label}="{name}"}}', float(value)) for name, value in values.items()]


def _single(name: str, kind: str, text: str, value: float) -> list[str]:
    return _family(name, kind, text, [("", float(value))])


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *(f"{name}{end} {value!r}" for end, value in samples)]
