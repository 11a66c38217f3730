"""zaudio: a ZeroMQ task farm for one long audio recording.

A recording is cut into chunks, and any number of workers on any number of machines process them. The result is put back
together reversed in time, and AES-256-CBC encrypted. Its bits are the same for every number of workers.

    from zaudio import Coordinator

    report = Coordinator("take.raw", "generated_data", ops="invert", workers=4).run()

The names below are all there is. They are looked up when first used, so that `import zaudio` costs nothing.
"""

# No `from __future__` here: that is an import too, and before the next lines any is answered by the current folder.
import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)] in ("zaudio", "-mzaudio") and not sys.flags.safe_path:
    # `python -m zaudio` looks in the current folder first. Before the next import: a received folder may hold anything.
    del sys.path[0]

from typing import TYPE_CHECKING

from zaudio import errors
from zaudio.errors import (
    InputError,
    JobError,
    NoWorkerError,
    RefusedError,
    StoppedError,
    UsageError,
    VerificationError,
    ZaudioError,
)
from zaudio.timing import Timing
from zaudio.version import VERSION

if TYPE_CHECKING:
    from zaudio import events
    from zaudio.audio import generate
    from zaudio.awaiting import run_async
    from zaudio.batching import Batch, batch
    from zaudio.coordinator import Coordinator
    from zaudio.events import Event, State
    from zaudio.facts import Progress, Report
    from zaudio.formats import sample_format
    from zaudio.net.worker import Worker
    from zaudio.opened import OpenedResult, open
    from zaudio.ops.chain import Chain
    from zaudio.ops.contract import Combined, Op, Place, Precision
    from zaudio.ops.declaring import op
    from zaudio.processing import Processing, process
    from zaudio.rendering import Rendering, render
    from zaudio.result import verify
    from zaudio.settings import Limits, Network, Playable, Raw, Sealed, Security
    from zaudio.signal import Signal
    from zaudio.surveying import Survey, survey
    from zaudio.unsealing import decrypt
    from zaudio.watching.eventlog import write_events

__version__ = VERSION

_HOMES = {
    "Batch": "zaudio.batching",
    "Chain": "zaudio.ops.chain",
    "Combined": "zaudio.ops.contract",
    "Coordinator": "zaudio.coordinator",
    "Event": "zaudio.events",
    "Limits": "zaudio.settings",
    "Network": "zaudio.settings",
    "Op": "zaudio.ops.contract",
    "OpenedResult": "zaudio.opened",
    "Place": "zaudio.ops.contract",
    "Playable": "zaudio.settings",
    "Precision": "zaudio.ops.contract",
    "Processing": "zaudio.processing",
    "Progress": "zaudio.facts",
    "Raw": "zaudio.settings",
    "Rendering": "zaudio.rendering",
    "Report": "zaudio.facts",
    "Sealed": "zaudio.settings",
    "Security": "zaudio.settings",
    "Signal": "zaudio.signal",
    "State": "zaudio.events",
    "Survey": "zaudio.surveying",
    "Worker": "zaudio.net.worker",
    "batch": "zaudio.batching",
    "decrypt": "zaudio.unsealing",
    "events": "zaudio",  # a module
    "generate": "zaudio.audio",
    "op": "zaudio.ops.declaring",
    "open": "zaudio.opened",
    "process": "zaudio.processing",
    "render": "zaudio.rendering",
    "run_async": "zaudio.awaiting",
    "sample_format": "zaudio.formats",
    "survey": "zaudio.surveying",
    "verify": "zaudio.result",
    "write_events": "zaudio.watching.eventlog",
}

__all__ = [
    # a job
    "Coordinator",
    "Limits",
    "Network",
    "Progress",
    "Raw",
    "Report",
    "Sealed",
    "Security",
    "Timing",
    "Worker",
    # a file that plays
    "Playable",
    "Rendering",
    "render",
    "run_async",
    # many recordings
    "Batch",
    "batch",
    # a measurement without a result
    "Survey",
    "survey",
    # arrays
    "Processing",
    "process",
    # ops
    "Chain",
    "Combined",
    "Op",
    "Place",
    "Precision",
    "Signal",
    "op",
    "sample_format",
    # what happens in it; all events stand in zaudio.events
    "Event",
    "State",
    "events",
    "write_events",
    # files
    "OpenedResult",
    "decrypt",
    "generate",
    "open",
    "verify",
    # errors; all of them stand in zaudio.errors
    "InputError",
    "JobError",
    "NoWorkerError",
    "RefusedError",
    "StoppedError",
    "UsageError",
    "VerificationError",
    "ZaudioError",
    "errors",
    "__version__",
]


# Hidden from type checkers: they take the names from the imports above, so a name that is misspelt is an error to them.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            from importlib import import_module

            home = _HOMES[name]
            value = import_module(f"zaudio.{name}") if home == "zaudio" else getattr(import_module(home), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module 'zaudio' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
