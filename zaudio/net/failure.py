"""Failures of ops, in the words that travel: a sentence with the place in the user's code, then the traceback.

Rules:

- The first line is the sentence. Each line behind it is one of the traceback's; `parted` tells the two apart.
- Our own frames in front of the user's are left out. When the limit of a message cuts, the sentence keeps its place,
  and the traceback its end.
"""

from __future__ import annotations

import logging
import os
import traceback
from types import TracebackType

from zaudio.errors import ZaudioError
from zaudio.wire.codec import cut
from zaudio.wire.fields import TEXT_MAX

LINE_MAX = 240  # bytes of one line of a traceback: source lines may be of any length
PLACE_MAX = 400  # bytes of the place: a path as long as the sentence may have leaves room for its cause

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = ("site-packages", "dist-packages")


def told(error: BaseException) -> str:
    """Return an exception of an op as text for a message. Without a frame of the user's it is the sentence alone."""
    place = _place(error)
    if not place:
        return cut(_sentence(error))
    sentence = f"{cut(_sentence(error), TEXT_MAX - PLACE_MAX)} ({place})"
    return "\n".join([sentence, *_lines(error, TEXT_MAX - len(sentence.encode("utf-8", "replace")))])


def parted(text: str) -> tuple[str, list[str]]:
    """Return the sentence and the lines of the traceback of a text that `told` made, or a peer of its own."""
    sentence, *lines = text.split("\n")
    return sentence, lines


def log_failure(log: logging.Logger, place: str, text: str) -> None:
    """Log an exception of an op: the sentence behind its place, and each line of the traceback."""
    sentence, lines = parted(text)
    log.info("%s: %s", place, sentence)
    for line in lines:
        log.info("  %s", line)


def _sentence(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  an error of a user's own class may fail even at this
        text = ""
    if isinstance(error, ZaudioError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame of the user's own code; empty when no frame is."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    foreign = [(name, line) for name, line in frames if not name.startswith(_OWN)]
    users = [(name, line) for name, line in foreign if _is_users(name)] or foreign[:1]  # an op may be installed too
    if not users:
        return ""
    name, line = users[-1]
    end = f":{line}"
    name = " ".join(name.split())
    raw = name.encode("utf-8", "replace")
    room = PLACE_MAX - len(end) - len(" ()")
    if len(raw) > room:
        name = "..." + raw[len(raw) - room + 3 :].decode("utf-8", "ignore")
    return name + end


def _is_users(file: str) -> bool:
    parts = file.split(os.sep)
    return not (file.startswith(("<", _STANDARD)) or any(part in parts for part in _INSTALLED))


def _lines(error: BaseException, room: int) -> list[str]:
    """Return as many of the last lines of the traceback as fit, each with its end, into that many bytes."""
    try:
        text = "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))
    except Exception:  # noqa: BLE001  it calls the user's own classes
        return []
    first, *lines = [cut(line.rstrip(), LINE_MAX) for line in text.splitlines()]
    room -= len(first.encode()) + len("\n\n  ...")
    kept: list[str] = []
    for line in reversed(lines):
        room -= len(line.encode("utf-8", "replace")) + 1
        if room < 0:
            kept.append("  ...")
            break
        kept.append(line)
    return [first, *reversed(kept)]


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is not ours; the whole one if all are."""
    part = trace
    while part is not None and part.tb_frame.f_code.co_filename.startswith(_OWN):
        part = part.tb_next
    return part or trace
