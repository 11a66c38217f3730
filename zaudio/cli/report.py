"""The report of a job: a few lines for people, JSON for a file.

Rules: the command tries the place of the file before the job starts, so that an hour's work does not end in a typing
mistake. The file is complete or absent, by rename. The report replaces only a regular file, and never the recording or
a part of the result.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from zaudio import disk
from zaudio.cli.voice import counted, printable
from zaudio.errors import StorageError, UsageError

if TYPE_CHECKING:
    from zaudio import Report

NAMED_WORKERS = 16  # a screenful; the JSON names them all
ENDS = ("", ".part", ".part.journal")  # of a file that plays, while it is made
NAMED_LOSSES = 16  # likewise; the JSON has the first 64


def text(report: Report, folder: str, command: str = "zaudio") -> str:
    """Return the lines about a finished job, and how to decrypt its result by that command, or how to play it."""
    megabytes = report.bytes / 1e6
    channels = counted(report.channels, "channel")
    lines = [
        f"published {printable(report.paths['result'])}",
        f"  {counted(report.chunks, 'chunk')} of {counted(report.chunk_frames, 'frame')}: "
        f"{counted(report.frames, 'frame')}, {channels}, {report.samplerate} Hz, {report.format}{_stored(report)}",
        f"  {megabytes:.1f} MB{_pace(report)}",
        f"  {counted(report.workers, 'worker')}; chunks requeued {report.requeued}, repeated {report.repeated}, "
        f"duplicates {report.duplicates}, rejected {report.rejected}",
        *_shares(report),
        *_losses(report),
        *_audit(report),
        *(f"  warning: {printable(warning)}" for warning in report.warnings),
        *(f"  {printable(sentence)}" for sentence in report.measured),
        *_clipped(report),
        *_zeroed(report),
        *(f"  {name}: {printable(path)}" for name, path in report.paths.items() if name != "result"),
        *(_how_to_decrypt(report, folder, command) if "key" in report.paths else _how_to_play(report)),
    ]
    return "\n".join(lines)


def openssl_line(paths: Mapping[str, str], folder: str, name: str = "decrypted.raw") -> str:
    """Return the shell command that decrypts a result without zaudio."""

    def hexadecimal(path: str) -> str:
        return f"\"$(od -An -v -tx1 {typed(path)} | tr -d ' \\n')\""

    decrypted = typed(os.path.join(folder, name))
    return (
        f"openssl enc -d -aes-256-cbc -K {hexadecimal(paths['key'])} -iv {hexadecimal(paths['iv'])} "
        f"-in {typed(paths['result'])} -out {decrypted}"
    )


def typed(path: str) -> str:
    """Return a path as it is typed in a shell, where no program takes it for an option."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def check(path: str, recording: str, output: str, key_out: str | None = None, *, option: str = "--report") -> None:
    """Try to write a file at `path`, and leave no trace.

    Args:
        path: The file of the report, or of another thing that is told about the job.
        recording: The input, which must not be replaced.
        output: The folder of the result. A file with a name that the result uses there would damage the result, or
            the next start would take it for a part of one.
        key_out: The file that the key goes to, if it does not go there.
        option: The option that named the file.

    Raises:
        UsageError: It cannot be written there; the sentence says why.
    """
    from zaudio.result import is_reserved

    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise UsageError(f"{option} {path}: not a regular file, so it will not be replaced")
    if not os.path.basename(path):
        raise UsageError(f"{option} {path!r}: a file name is missing")
    if os.path.exists(target) and os.path.exists(recording) and os.path.samefile(target, recording):
        raise UsageError(f"{option} {path}: this is the input")
    if key_out is not None and target == os.path.realpath(key_out):
        raise UsageError(f"{option} {path}: the key goes to that file; choose another")
    if is_reserved(path, output) or target in {os.path.realpath(f"{output}{end}") for end in ENDS}:
        raise UsageError(f"{option} {path}: that name belongs to the result; choose another file")
    folder = os.path.dirname(target)
    while not os.path.lexists(folder):  # the job, or `write`, makes it
        folder = os.path.dirname(folder)
    trial = os.path.join(folder, _part(target))
    try:
        os.close(disk.create(trial, mode=disk.PUBLIC))
        os.unlink(trial)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written there: {disk.reason(error)}") from error


def write(path: str, report: Report) -> None:
    """Write the report as JSON, whole or not at all.

    Raises:
        StorageError: It could not be written; the result is published all the same.
    """
    target = os.path.realpath(path)
    if target in map(os.path.realpath, report.paths.values()):
        raise StorageError(path, "the report would replace a part of the result, which is published; not written")
    content = (report.to_json().rstrip("\n") + "\n").encode()
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with disk.whole_file(target, _part(target), mode=disk.PUBLIC) as fd:
            disk.write_all(fd, content)
    except OSError as error:
        raise StorageError(path, f"the result is published, but not the report: {disk.reason(error)}") from error


def _part(target: str) -> str:
    # The process id keeps two jobs apart that write the same report.
    return f"{os.path.basename(target)}.{os.getpid()}.part"


def _pace(report: Report) -> str:
    if report.resumed_chunks:
        rest = f", the rest in {report.seconds:.2f} s" if report.resumed_chunks < report.chunks else ""
        return f": {counted(report.resumed_chunks, 'chunk')} done by an earlier start{rest}"
    return f" in {report.seconds:.2f} s" + (
        f": {report.bytes / 1e6 / report.seconds:.1f} MB/s" if report.seconds > 0 else ""
    )


def _shares(report: Report) -> list[str]:
    shares = sorted(report.shares.items(), key=lambda share: (-share[1], share[0]))
    lines = [
        f"    {printable(name)}: {counted(chunks, 'chunk')}, {chunks / max(report.chunks, 1):.1%}"
        for name, chunks in shares[:NAMED_WORKERS]
    ]
    if len(shares) > NAMED_WORKERS:
        lines.append(f"    and {counted(len(shares) - NAMED_WORKERS, 'worker')} more")
    return lines


def _losses(report: Report) -> list[str]:
    if not report.lost:
        return []
    named = report.losses[:NAMED_LOSSES]
    lines = [f"  lost {counted(report.lost, 'worker')}:"]
    lines += [f"    {printable(loss.worker)}: {printable(loss.reason)}" for loss in named]
    if report.lost > len(named):
        lines.append(f"    and {report.lost - len(named)} more")
    return lines


def _how_to_decrypt(report: Report, folder: str, command: str) -> list[str]:
    decrypt = f"decrypt it with: {command} decrypt {printable(typed(folder))}"
    if os.path.split(report.paths["key"]) != (os.path.dirname(report.paths["result"]), "encryption_key.bin"):
        decrypt += f" --key {printable(typed(report.paths['key']))}"
    if report.recipient:
        return [f"  the key is wrapped for {report.recipient}", f"{decrypt} --identity FILE"]
    name = "decrypted.wav" if report.container == "WAV" else "decrypted.raw"
    if report.container == "WAV":
        decrypt += f" -o {printable(typed(os.path.join(folder, name)))}"
    return [decrypt, f"or with stock tools: {printable(openssl_line(report.paths, folder, name))}"]


def _how_to_play(report: Report) -> list[str]:
    if report.container == "raw":
        return []
    return [f"play it with: ffplay -autoexit {printable(typed(report.paths['result']))}"]


def _stored(report: Report) -> str:
    """Return words about how a result is stored, where that is not as ever."""
    words = [] if report.container == "raw" else [report.container]
    if "key" in report.paths:
        words += ["forward"] if report.order == "forward" else []
    return "".join(f", {word}" for word in words)


def _audit(report: Report) -> list[str]:
    lines = [f"  {counted(report.audited, 'chunk')} audited"] if report.audited else []
    for name, chunks in report.dropped.items():
        kept = f"; {counted(chunks, 'chunk')} of it had been encrypted unchecked" if chunks else ""
        key = f" (key {report.dropped_keys[name]})" if name in report.dropped_keys else ""
        lines.append(f"  dropped {printable(name)}{key}: its result was not that of two others{kept}")
    return lines


def _clipped(report: Report) -> list[str]:
    if not report.clipped:
        return []
    share = report.clipped / max(report.frames * report.channels, 1)
    return [
        f"  warning: {counted(report.clipped, 'sample')} ({share:.2%}) clipped: {report.format} holds no louder ones; "
        "use less gain"
    ]


def _zeroed(report: Report) -> list[str]:
    if not report.zeroed:
        return []
    were = "was" if report.zeroed == 1 else "were"
    return [f"  warning: {counted(report.zeroed, 'sample')} {were} infinite or no number, and read as 0"]
