"""`zaudio log`: sum up a log of events, for people or as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from zaudio import disk
from zaudio.cli import voice
from zaudio.cli.options import voice_options
from zaudio.cli.voice import counted, printable
from zaudio.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    from zaudio.watching.lives import BatchFacts, LifeFacts, Share, Slow
    from zaudio.watching.summary import Digest

NAMED = 16  # workers, losses and reasons: a screenful; the JSON has more
NAMED_CHUNKS = 3
STDIN = "-"


@click.command(epilog="\b\nExample:\n  zaudio farm take.wav -o out --events events.jsonl\n  zaudio log events.jsonl")
@click.argument("file", type=click.Path(allow_dash=True), metavar="FILE|-", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of a line of a log, and read no FILE.")
@voice_options
def log(file: str | None, *, as_json: bool, schema: bool) -> None:
    """Sum up a log that --events wrote.

    It says where the time went, what each worker did, which chunks were slow, which workers were lost and why, and what
    limited the job. A job that still runs can be summed up too.
    """
    if schema:
        from zaudio.watching.lines import schema as made

        voice.out(json.dumps(made(), indent=2, ensure_ascii=False))
        return
    if file is None:
        raise click.UsageError("name the FILE that --events wrote, or - for standard input")
    from zaudio.watching.summary import Digest

    digest = Digest()
    for line in lines(file):
        digest.take(line)
    if not digest.lines or digest.damaged == digest.lines:
        raise UsageError(f"{file} has no line of a log of events, as --events writes one")
    voice.out(json.dumps(to_json(digest), indent=2, ensure_ascii=False) if as_json else text(digest))


def lines(file: str) -> Iterator[str]:
    """Return the lines of a log.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        if file == STDIN:
            yield from _cut(sys.stdin)
            return
        with open(file, encoding="utf-8", errors="replace") as stream:
            yield from _cut(stream)
    except OSError as error:
        raise UsageError(f"{file}: {disk.reason(error)}") from error


def _cut(stream: IO[str]) -> Iterator[str]:
    """Return lines, those that are too long in pieces: a file without line ends must not fill the memory."""
    from zaudio.watching.lines import LINE_MAX

    while line := stream.readline(LINE_MAX + 2):
        yield line


def to_json(digest: Digest) -> dict[str, object]:
    """Return the summary as an object of JSON."""
    lives = [facts.to_json() for facts in digest.lives()]
    return {"lines": digest.lines, "damaged": digest.damaged, "newer": digest.newer, "lives": lives}


def text(digest: Digest) -> str:
    """Return the summary as lines for people."""
    blocks = ["\n".join(_of_life(facts)) for facts in digest.lives()]
    notes = []
    if digest.damaged:
        notes.append(f"{counted(digest.damaged, 'line')} could not be read, as the last one of a killed coordinator")
    if digest.newer:
        notes.append(f"{counted(digest.newer, 'line')} of a newer zaudio left out")
    return "\n".join([*blocks, *notes])


def _of_life(facts: LifeFacts) -> Iterator[str]:
    life = f" (life {facts.incarnation})" if facts.incarnation > 1 else ""
    why = f": {printable(facts.sentence)}" if facts.sentence else ""
    end = f"{facts.end} after {_s(facts.seconds)}{why}"
    yield f"job {facts.job[:8] or '-'}{life}, {facts.began:%Y-%m-%d %H:%M:%S} UTC: {end}"
    yield from _recordings(facts.batch)
    before = f", {facts.resumed_chunks} before" if facts.resumed_chunks else ""
    yield f"  {facts.done} of {counted(facts.chunks, 'chunk')} written{before}"
    yield "  " + ", ".join(f"{printable(name)} {_s(seconds)}" for name, seconds in facts.phases.items())
    yield from (f"  {printable(sentence)}" for sentence in facts.measured)
    yield from _workers(facts.workers)
    yield from _slowest(facts)
    yield from _losses(facts)
    yield from _refusals(facts)
    yield from _absences(facts)
    yield from _reasons("requeued", facts.requeued)
    yield from _reasons("rejected", facts.rejected)
    yield from (f"  dropped {printable(name)}: {printable(reason)}" for name, reason in facts.dropped.items())
    yield from (f"  {printable(stage)}: {sentence}" for stage, sentence in facts.limits.items())
    if facts.missed:
        yield f"  the log was too slow for {counted(facts.missed, 'event')}: these numbers are too small"
    if facts.sampled:
        yield f"  {counted(facts.sampled, 'event')} of chunks have no line of their own: times of workers are estimates"


def _recordings(batch: BatchFacts | None) -> Iterator[str]:
    if batch is None:
        return
    told = [f"{count} {state}" for state, count in sorted(batch.ended.items()) if count]
    ended = sum(batch.ended.values())
    yield f"  {ended} of {counted(batch.recordings, 'recording')} ended: {', '.join(told) or 'none'}"
    yield from (f"  {printable(each.recording)} failed: {printable(each.sentence)}" for each in batch.failures[:NAMED])
    if batch.ended.get("failed", 0) > NAMED:
        yield f"  and {batch.ended['failed'] - NAMED} failures more"


def _workers(workers: dict[str, Share]) -> Iterator[str]:
    if not workers:
        return
    named = sorted(workers.items(), key=lambda item: (-item[1].chunks, item[0]))
    shown = [(printable(name)[:40], share) for name, share in named[:NAMED]]
    width = max(len("worker"), *(len(name) for name, _ in shown))
    heads = ("op", "transfer", "waits", "unused", "op/chunk")
    yield f"  {'worker':{width}}  {'chunks':>7}  " + "  ".join(f"{head:>9}" for head in heads)
    for name, share in shown:
        each = _s(share.op_main / share.chunks) if share.chunks else "-"
        spent = [_s(seconds) for seconds in (share.op, share.transfer, share.idle, share.unused)]
        yield f"  {name:{width}}  {share.chunks:>7}  " + "  ".join(f"{one:>9}" for one in [*spent, each])
    if len(named) > NAMED:
        yield f"  and {counted(len(named) - NAMED, 'worker')} more"


def _slowest(facts: LifeFacts) -> Iterator[str]:
    if facts.slowest:
        chunks = [
            f"{_place(slow)} ({printable(slow.worker)}, {_s(slow.seconds)}, op {_s(slow.op)})"
            for slow in facts.slowest[:NAMED_CHUNKS]
        ]
        yield f"  slowest chunks: {', '.join(chunks)}"


def _place(slow: Slow) -> str:
    chunks = f"{slow.chunk} to {slow.chunk + slow.chunks - 1}" if slow.chunks > 1 else str(slow.chunk)
    return f"{chunks} of {printable(slow.recording)}" if slow.recording else chunks


def _losses(facts: LifeFacts) -> Iterator[str]:
    for loss in facts.losses[:NAMED]:
        yield f"  lost {printable(loss.worker)} after {_s(loss.seconds)}: {printable(loss.reason)}"
    if facts.lost > NAMED:
        yield f"  and {counted(facts.lost - NAMED, 'worker')} more"


def _refusals(facts: LifeFacts) -> Iterator[str]:
    for each in facts.refusals[:NAMED]:
        where = f" on {printable(each.host)}" if each.host and each.host not in each.worker else ""
        yield f"  refused {printable(each.worker)}{where} after {_s(each.seconds)}: {printable(each.reason)}"
    if facts.refused > len(facts.refusals[:NAMED]):
        yield f"  and {counted(facts.refused - len(facts.refusals[:NAMED]), 'refusal')} more"


def _absences(facts: LifeFacts) -> Iterator[str]:
    for each in facts.absences[:NAMED]:
        yield f"  after {_s(each.seconds)}: {printable(each.sentence)}"
    if len(facts.absences) > NAMED:
        yield f"  and {counted(len(facts.absences) - NAMED, 'sentence')} more"


def _reasons(word: str, reasons: dict[str, int]) -> Iterator[str]:
    if reasons:
        yield f"  {word} {sum(reasons.values())}: " + "; ".join(_named(reasons.items()))


def _named(reasons: Iterable[tuple[str, int]]) -> list[str]:
    named = [f"{printable(reason)}" + (f" ({count} times)" if count > 1 else "") for reason, count in reasons]
    return [*named[:NAMED], f"and {len(named) - NAMED} more reasons"] if len(named) > NAMED else named


def _s(seconds: float) -> str:
    """Return seconds for people: two digits behind the point, or minutes and hours."""
    if seconds < 600:
        return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
