"""Obituaries: sentences about the death of a process.

Rules: pure. A sentence is one line without control characters, even if the dead process wrote some.
"""

from __future__ import annotations

import re
import signal

WORDS_MAX = 200  # characters of a worker's last words; an error's own line is shorter
DIARY = "zaudio: worker "  # begins a worker's own lines about its jobs, which say nothing of its death
HINT = re.compile(r"Try ['\"\u2018]?\S+ --help\b")  # what a program says behind its complaint about an option


def last_words(stderr: str) -> str:
    """Return the last line that says something, without control characters, and shortened.

    Blank lines, the diary's, and hints at a program's help say nothing.
    """
    lines = [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in stderr.splitlines()]
    said = (line for line in reversed(lines) if line and not line.startswith(DIARY) and not HINT.match(line))
    line = next(said, "")
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 3] + "..."


def obituary(cause: str, mib: float, stderr: str) -> str:
    """Return all that is known about a death, on one line.

    Args:
        cause: Its signal or exit code in words, or why it was killed.
        mib: The most memory that it ever had, MiB.
        stderr: The tail of its standard error.
    """
    words = last_words(stderr)
    return f"{cause}, with at most {mib:.0f} MiB of memory" + (f'; it last wrote "{words}"' if words else "")


def cause_of_death(code: int) -> str:
    """Return an exit code, or a signal as a negative number, in words."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it died of signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"it died of signal {-code}"
