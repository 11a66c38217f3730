"""Decrypting the samples of a result to a raw file or to standard output.

Rules: nothing is written before the whole result was authenticated, and a file appears under its name only when it is
complete. Its part is private, and is removed when anything fails: no plaintext stays in any other place than the one
that the user named.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack

from zaudio import disk
from zaudio.errors import OutputExistsError, StorageError, UsageError
from zaudio.formats import check_headerless
from zaudio.result.description import Description
from zaudio.result.publication import PART, RESERVED
from zaudio.result.reader import OnProgress, OpenResult

DEFAULT_NAME = "decrypted.raw"
STDOUT = "-"


def decrypt(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    forward: bool = False,
    overwrite: bool = False,
    key: str | os.PathLike[str] | None = None,
    identity: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Description, str]:
    """Verify a result, then write its samples alone. `zaudio.decrypt` has the arguments, the outcome and the errors.

    Raises:
        UsageError: The output cannot be written there, or has the name of a file with a header; or `key` or `identity`
            is of no use.
        ZaudioError: The result is damaged, or could not be written.
    """
    path = os.fspath(path)
    target = os.path.join(path, DEFAULT_NAME) if output is None else os.fspath(output)
    with OpenResult(path, key=key, identity=identity, passes=2, on_progress=on_progress) as result:
        if target != STDOUT:
            check_output(path, target, overwrite=overwrite, key=key, identity=identity)
            _check_promise(target, result.description)
        result.authenticate()
        if target == STDOUT:
            _to_stdout(result, forward=forward)
        else:
            write_file(target, result.samples(forward=forward), folder=path, overwrite=overwrite)
        return result.description, target


def check_output(folder: str, target: str, *, overwrite: bool, **secrets: str | os.PathLike[str] | None) -> None:
    """Make sure that an output is no part of the result and no key, and is free or a file that may be replaced.

    Raises:
        OutputExistsError: It is there already.
        UsageError: It must not go there.
    """
    _check_output(folder, target, overwrite=overwrite)
    _check_secrets(target, **secrets)


def write_file(target: str, pieces: Iterable[memoryview], *, folder: str, overwrite: bool) -> None:
    """Write pieces beside the output's name, and give it that name once all are durable.

    Raises:
        OutputExistsError: It came there in the meantime.
        UsageError: It cannot be written there.
        StorageError: The system refused.
    """
    part = os.path.basename(target) + PART

    def check() -> None:
        _check_output(folder, target, overwrite=overwrite)  # it may have come in the meantime

    with disk.storage_errors(target), ExitStack() as stack:
        fd = _enter(stack, disk.whole_file(target, part, mode=disk.PRIVATE, check=check), target)
        for piece in pieces:
            disk.write_all(fd, piece)


def _check_secrets(target: str, **secrets: str | os.PathLike[str] | None) -> None:
    """Make sure that the output is not the file of a key, even with `overwrite`."""
    for name, path in secrets.items():
        if path is not None and os.path.exists(target) and os.path.exists(path) and os.path.samefile(target, path):
            raise UsageError(f"{target} is the {name}, which other results may need; choose another output")


def _check_promise(target: str, description: Description) -> None:
    """Make sure that the output's name promises no header, and that there is room for it."""
    check_headerless(target, description.format, description.samplerate, description.channels)
    try:
        fd = os.open(os.path.dirname(target) or ".", disk.FOLDER)
    except OSError:
        return  # opening the output will say so
    try:
        disk.check_room(fd, target, description.samples_bytes)
    finally:
        os.close(fd)


def _check_output(folder: str, target: str, *, overwrite: bool) -> None:
    """Make sure that the output is no part of the result, and is free or a file that may be replaced."""
    above, name = os.path.split(target)
    if not name:
        raise UsageError(f"{target or repr(target)}: the output is no name of a file")
    try:
        is_here = os.path.samefile(above or ".", folder)
    except (OSError, ValueError):
        is_here = False  # one of them does not exist; opening it will say so
    if is_here and name in RESERVED:
        raise UsageError(f"{target} belongs to the result; choose another output")
    try:
        status = disk.lstat(target)
    except (OSError, ValueError) as error:
        raise UsageError(f"{target!r}: the output cannot be written there: {error}") from None
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{target} is {disk.kind(status)}; only a file may be replaced (- is standard output)")
    if not overwrite:
        raise OutputExistsError(target)


def _enter(stack: ExitStack, file: AbstractContextManager[int], target: str) -> int:
    try:
        return stack.enter_context(file)
    except FileExistsError:
        # It stays: another decrypt may be writing it, or it is a user's file that happens to have that name.
        raise UsageError(
            f"{target}{PART} is there already: another decrypt is writing it, or was killed; remove it to go on"
        ) from None
    except OSError as error:
        raise UsageError(f"{target}: the output cannot be written there: {disk.reason(error)}") from None


def _to_stdout(result: OpenResult, *, forward: bool) -> None:
    """Write the audio to standard output; a reader that leaves early is no error."""
    stream = sys.stdout.buffer
    try:
        for piece in result.samples(forward=forward):
            while piece.nbytes:  # an unbuffered stream (python -u) may take less than it was given
                piece = piece[stream.write(piece) :]
        stream.flush()
    except BrokenPipeError:
        disk.silence(stream)
    except OSError as error:
        disk.silence(stream)
        raise StorageError("standard output", disk.reason(error)) from error
