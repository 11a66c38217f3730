"""A small file that plays, from memory to its name. The bytes are those of `AudioFile` for the same samples.

Rules: no thread and no journal: a small file is begun again. It is durable before it takes its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from zaudio import disk
from zaudio.audio.marks import FileMark
from zaudio.audio.part import JOURNAL, PART, PartFile
from zaudio.audio.rendering import FileLayout, room_for, storage_of
from zaudio.errors import UsageError
from zaudio.signal import Signal
from zaudio.steps import Buffer


def write_small(
    path: str,
    signal: Signal,
    layout: FileLayout,
    samples: Buffer,
    *,
    overwrite: bool,
    fresh: bool,
    before: Callable[[FileMark], None],
) -> FileMark:
    """Write and publish a file that is in memory; return its mark.

    Args:
        path: The file.
        signal: The samples.
        layout: The bytes besides them.
        samples: All frames, as they lie in memory, in the file's order.
        overwrite: Whether an older file may be replaced.
        fresh: Whether an interrupted job that lies there is discarded.
        before: Called with the mark when all is durable, before the instant of publication. An exception prevents that.

    Raises:
        OutputExistsError: The file exists and `overwrite` is false.
        UsageError: The name cannot be used, or an interrupted job lies there.
        StorageError: The system refused; nothing is published.
    """
    if not fresh and os.path.lexists(path + JOURNAL) and os.path.lexists(path + PART):
        raise UsageError(
            f"{path}: an interrupted job lies there; `zaudio render` with this output goes on with it, and --fresh "
            "(fresh=True) discards it"
        )
    part = PartFile(path, job=None, overwrite=overwrite, fresh=fresh)
    try:
        part.check_room(room_for(signal, layout))
        mark = _fill(part, signal, layout, samples)
        before(mark)
        part.publish()
    except BaseException:
        part.remove()
        raise
    finally:
        part.close()
    return mark


def _fill(part: PartFile, signal: Signal, layout: FileLayout, samples: Buffer) -> FileMark:
    """Write all of a part, and make it durable; return its mark."""
    storage = storage_of(part, signal, layout, None)
    try:
        with disk.storage_errors(part.part):
            storage.start(lambda: None)
            view = memoryview(samples)
            if view.nbytes:  # an empty view cannot be cast
                storage.write(view.cast("B"))
            storage.complete()
            return storage.mark()
    finally:
        storage.close()
