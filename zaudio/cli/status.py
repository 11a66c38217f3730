"""`zaudio status`: how far a job is, from another terminal.

Rules: it asks the page of the job when there is one, by its address or by the file in or beside the output. Else it
tells what the files tell: whether the job runs, and how much is written. It changes nothing.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

from zaudio.cli import voice
from zaudio.cli.options import voice_options
from zaudio.errors import UsageError, ZaudioError

if TYPE_CHECKING:
    from zaudio.audio.glance import FileGlance
    from zaudio.batching.glance import BatchGlance
    from zaudio.result import Glance

ROWS = 16  # workers on a screen
JOBS = 8  # recordings of a batch
NEWS = 6
BAR = 40  # characters
PART = ".part"  # behind the name of a file while it is written


@click.command(
    epilog="\b\nExample:\n"
    "  zaudio status generated_data\n"
    "  zaudio status louder.flac\n"
    "  zaudio status http://127.0.0.1:8080/#TOKEN --json"
)
@click.argument("where", metavar="[DIR|FILE|URL]", default="generated_data")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@voice_options
def status(where: str, as_json: bool) -> None:
    """Show how far a job is.

    DIR is the output folder of a job or a batch, generated_data by default. FILE is the output of a render, URL the
    address of a page with its token. Of a job with --web, all that its page shows is printed. Of any other, its files
    tell how much is written, and whether it runs.
    """
    found = find(where)
    voice.out(json.dumps(found) if as_json else "\n".join(lines_of(found)))


def find(where: str) -> dict[str, Any]:
    """Return the state of the job at a folder, a file or an address.

    Raises:
        UsageError: Nothing of that kind is there.
        ZaudioError: Nothing answers at an address.
    """
    from zaudio.audio.glance import glance_file, is_of_render
    from zaudio.batching.glance import glance_batch
    from zaudio.cli.web import address_file
    from zaudio.result import glance, read_address, result_of
    from zaudio.web.client import fetch

    if where.startswith(("http://", "https://")):
        return {"source": "page", **fetch(where)}
    if os.path.isfile(where):
        where = where.removesuffix(PART)  # a shell completes this name, since the whole one is not there
        where = result_of(where) or where  # a file of a result says no more than its folder
    page = read_address(address_file(where))
    if page is not None:
        try:
            return {"source": "page", **fetch("#".join(page))}
        except ZaudioError:
            pass  # its coordinator was killed; the files tell
    if os.path.isfile(where) or os.path.lexists(f"{where}{PART}"):
        if not is_of_render(where):
            raise UsageError(_no_output(where))
        return {"source": "files", "output": "file", **_of_files(glance_file(where, now=_wall()))}
    if not os.path.lexists(where):
        raise UsageError(f"{where}: no job's output is there; name its folder, its file or the address of its page")
    seen = glance(where, now=_wall())
    if seen.state == "empty" and (batch := glance_batch(where, now=_wall())) is not None:
        return {"source": "files", "output": "batch", **_of_batch(batch)}
    return {"source": "files", "output": "folder", **_of_files(seen)}


def _no_output(path: str) -> str:
    from zaudio.watching.lines import LINE_MAX, read

    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            read(file.readline(LINE_MAX + 2))
        return f"{path}: this is a log of events; `zaudio log {path}` sums it up"
    except (OSError, ValueError):
        return (
            f"{path}: no output of a job; expected the folder of one or of a batch, a render's file (.wav, .flac or "
            ".raw), or the address of a page"
        )


def lines_of(found: dict[str, Any]) -> list[str]:
    """Return the lines about a job for people."""
    lines = _of_page(found) if found["source"] == "page" else _of_folder(found)
    return [voice.printable(line) for line in lines]


def _of_files(seen: Glance | FileGlance) -> dict[str, Any]:
    return {
        "state": seen.state,
        "bytes": seen.bytes,
        "bytes_done": seen.written,
        "incarnation": seen.incarnation,
        "quiet": None if seen.quiet is None else round(seen.quiet, 1),
        "ops": list(seen.ops),
    }


def _of_batch(seen: BatchGlance) -> dict[str, Any]:
    return {"state": seen.state, "done": seen.done, "failed": seen.failed, "quiet": round(seen.quiet, 1)}


_STATES = {
    "folder": {
        "running": "running: a coordinator has the folder",
        "interrupted": "interrupted: no coordinator is alive; the same command goes on",
        "done": "done: the result is published",
    },
    "file": {
        "running": "running: a render writes the file",
        "interrupted": "interrupted: no render is alive; the same command goes on, or begins again",
        "done": "done: no render writes to this file; a render names its file when that is whole",
    },
    "batch": {
        "running": "running: a batch has the folder",
        "ended": "ended: no batch is alive; the same command does what is left",
    },
}


def _of_folder(found: dict[str, Any]) -> list[str]:
    state = found["state"]
    if state == "empty":
        return ["no job: nothing of one lies in this folder"]
    lines = [_STATES[found["output"]][state], *(_of_manifest if found["output"] == "batch" else _of_job)(found)]
    if found["quiet"] is not None:
        lines.append(f"last written {found['quiet']:.0f} s ago")
    if state == "running":
        lines.append("with --web, a job also tells its workers, its speed and the time left")
    return lines


def _of_manifest(found: dict[str, Any]) -> list[str]:
    return [f"recordings: {found['done']} done, {found['failed']} failed"]


def _of_job(found: dict[str, Any]) -> list[str]:
    state, total, done = found["state"], found["bytes"], found["bytes_done"]
    lines = []
    if total and state != "done":
        lines.append(f"{_bar(done / total)}  {done / 1e6:.1f} of {total / 1e6:.1f} MB are written")
    elif done and state != "done":
        lines.append(f"{done / 1e6:.1f} MB are written")
    if found["ops"]:
        lines.append(f"ops: {', '.join(found['ops'])}")
    return lines


def _of_page(found: dict[str, Any]) -> list[str]:
    from zaudio.cli.progress import clock

    progress = found.get("progress")
    if progress is None:
        return ["the job begins"]
    state = progress["state"] if progress["stage"] == "main" else progress["stage"]
    left = "" if progress["eta"] is None or found["final"] else f"  ETA {clock(progress['eta'])}"
    unit = progress["unit"]
    lines = [
        f"{found['title']}: {state}",
        f"{_bar(progress['fraction'])}  {progress['done']}/{progress['chunks']} {unit}  "
        f"{progress['bytes_per_second'] / 1e6:.1f} MB/s{left}",
    ]
    if found["limit"]["words"]:
        lines.append(f"{found['limit']['words']}: {found['limit']['sentence']}")
    if found["jobs_counts"]:
        lines.append("recordings: " + _counted(found["jobs_counts"]))
    jobs = sorted((each for each in found["jobs"] if each[1] != "waiting"), key=lambda each: each[1] != "failed")[:JOBS]
    lines += [f"  {name}  {state}  {why}".rstrip() for name, state, _, why in jobs]
    lines.append("chunks: " + _counted(found["counts"]))
    lines.append("workers: " + (_counted(found["staff"]) or "none yet"))
    shown = [(worker, worker["state"] + ", slow" * worker["slow"]) for worker in found["workers"][:ROWS]]
    width = max([len(worker["name"]) for worker, _ in shown], default=0)
    states = max([len(state) for _, state in shown], default=0)
    for worker, state in shown:
        told = [f"{worker['name']:{width}}", f"{state:{states}}"]
        if state != "refused":
            told += [f"{worker['chunks']:>7} chunks", f"{worker['rate']:>8.2f}/s"]
            told.append(f"last sign {worker['sign']:.0f} s ago")
        told += [f"on {worker['host']}"] if worker["host"] else []
        lines.append("  " + "  ".join([*told, worker["end"]]).rstrip())
    hidden = max(0, len(found["workers"]) - ROWS) + found["more"]
    lines += [f"  and {hidden} more"] if hidden else []
    lines += [f"{clock(seconds):>8} {mood} {sentence}" for _, seconds, mood, sentence, *_ in found["news"][-NEWS:]]
    return lines + [f"  {line}" for line in found["report"]]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _bar(share: float) -> str:
    """Return a bar with its percentage."""
    from zaudio.cli.progress import percent

    full = round(min(1.0, share) * BAR)
    return "[" + "#" * full + "." * (BAR - full) + f"] {percent(share)}"


def _wall() -> float:
    return time.time()  # files have the time of the day; nothing is decided by it
