"""Asking: runs a program of a batch system in a process of its own, and takes its answer when it is there."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from zaudio.net.obituary import last_words

ANSWER_MAX = 30.0  # s: Slurm's own programs wait about as long for its controller
NOT_FOUND = 127  # exit code of a shell for a program that it cannot start

log = logging.getLogger("zaudio.launching")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a program.

    Attributes:
        code: Its exit code; negative for a signal.
        out: Its standard output.
        error: The last line of its standard error, without its name.
    """

    code: int
    out: str
    error: str


class Asked:
    """A program that was started. Its output goes to files, so it waits for no reader."""

    def __init__(self, words: Sequence[str], text: str) -> None:
        log.debug("asks: %s", " ".join(words))
        self._program = words[0]
        self._deadline = time.monotonic() + ANSWER_MAX
        self._process: subprocess.Popen[bytes] | None = None
        self._answer: Answer | None = None
        self._out, self._error = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  `end` closes them
        with tempfile.TemporaryFile() as source:
            source.write(text.encode())
            source.seek(0)
            try:
                # A session of its own: Ctrl-C at a terminal must not end it between its deed and its answer.
                self._process = subprocess.Popen(
                    words,
                    stdin=source,
                    stdout=self._out,
                    stderr=self._error,
                    start_new_session=True,
                )
            except OSError as error:
                self._answer = Answer(NOT_FOUND, "", f"{words[0]} cannot be started: {error.strerror}")
                self.end()

    def look(self) -> Answer | None:
        """Return the answer; None until it has come. Never waits itself."""
        if self._answer is None and self._process is not None:
            late = time.monotonic() >= self._deadline
            code = self._process.poll()
            if code is not None:
                self._out.seek(0)
                self._error.seek(0)
                error = last_words(self._error.read().decode(errors="replace"))
                error = error.removeprefix(f"{self._program}: ").removeprefix("error: ")
                log.debug("%s ended with %d: %s", self._program, code, error)
                self._answer = Answer(code, self._out.read().decode(errors="replace"), error)
            elif late:
                self._answer = Answer(NOT_FOUND, "", f"{self._program} gave no answer")
            if self._answer is not None:
                self.end()
        return self._answer

    def wait(self, seconds: float) -> Answer:
        """Return the answer; wait for it no longer than so many seconds."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        while (answer := self.look()) is None:
            time.sleep(0.01)
        return answer

    def end(self) -> None:
        """End the program if it still runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._out.close()
        self._error.close()


def ask(words: Sequence[str], text: str = "") -> Asked:
    """Start a program.

    Args:
        words: The program and its arguments.
        text: Its standard input.
    """
    return Asked(words, text)
