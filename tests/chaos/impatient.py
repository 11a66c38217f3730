"""The command line with other durations: `python impatient.py DURATIONS EVENTS COMMAND ...`.

`zaudio coordinator`, `zaudio farm` and `zaudio render` have no options for heartbeats, so this runs the same commands,
ends and sentences with a `Coordinator` or a `Rendering` that is given DURATIONS: as JSON, fields of `Timing`, and
``checkpoint``, the seconds from one to the next, and ``join``, those for which an end waits for the disk. It writes
every event as a line of JSON to the file EVENTS, with the time of the monotonic clock as ``at``. Run as a process by
`harness.Scene`.
"""

import dataclasses
import json
import os
import sys

import zaudio
from zaudio import Limits, records


def impatient(kind, durations, events):
    """That kind of job with those durations, whose events go to that descriptor."""

    def write(event, shown):
        if shown is not None:
            shown(event)
        line = json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)})
        os.write(events, line.encode() + b"\n")  # at once: the process may be killed

    class Impatient(kind):
        def __init__(self, *arguments, **settings):
            limits = settings.pop("limits")
            shown = settings.pop("on_event", None)  # the command's own
            timing = dataclasses.replace(limits.durations(None), **durations)
            limits = Limits(memory=limits.memory)
            settings |= {"limits": limits, "timing": timing}
            super().__init__(*arguments, **settings, on_event=lambda event: write(event, shown))

    return Impatient


if __name__ == "__main__":
    _, text, path, *command = sys.argv
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    durations = json.loads(text)
    records.SECONDS = durations.pop("checkpoint", records.SECONDS)
    records.SECONDS_MOST = min(records.SECONDS, records.SECONDS_MOST)  # whatever an fsync takes
    if "join" in durations:
        from zaudio.result import writer

        writer.JOIN_TIMEOUT = durations.pop("join")
    name = "Rendering" if command[0] == "render" else "Coordinator"
    setattr(zaudio, name, impatient(getattr(zaudio, name), durations, fd))
    from zaudio.cli import main

    sys.argv = ["zaudio", *command]
    sys.exit(main())
