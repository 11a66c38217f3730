"""Exit: turns errors and signals that end a command into one line on standard error and an exit code.

Rules: only this package installs signal handlers, and it puts back those that it found. The first SIGINT or SIGTERM
raises in the main thread, so that every ``with`` block on the way cleans up. A job cannot bear that at any instant: it
is told instead, and raises when it can. A second signal, of either kind, exits at once. A traceback is shown with -v
only.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, NoReturn

import click

from zaudio import disk
from zaudio.cli import LEAVE_IN_ORDER, TERMINATED, end_early, voice
from zaudio.errors import ChunkError, ZaudioError

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT

SHOW_CURSOR = b"\x1b[?25h\r\n"  # a progress bar hides it

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM came. It is no Exception: code that handles errors must not swallow it."""


class Signals:
    """Lets SIGINT and SIGTERM end the command in order, while it is entered.

    Args:
        leave: Called at the first signal, which then raises nothing. The block must end by itself, by
            `raise_received` for example.

    Attributes:
        received: The first signal that came, or None.
    """

    def __init__(self, leave: Callable[[], None] | None = None) -> None:
        self.received: int | None = None
        self._leave = leave
        self._settled = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handler
            # Also where SIGINT is ignored, as in a shell's background job: it must end the farm there too.
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
            self._catch_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        around = self._around()
        if around is not None:
            around.received = around.received or self.received  # to the rest of the command the next one is the second
        if self._settled and self._before.get(signal.SIGTERM) is end_early:
            return  # the process ends now, with this outcome
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch_up(self) -> None:
        """Take over a signal that the Signals around this one received: its exception was swallowed.

        An exception that is raised during an import may end in compiled code that ignores all exceptions.
        """
        around = self._around()
        if around is None or around.received is None:
            return
        try:
            self._handle(around.received, None)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def settle(self) -> None:
        """Let the first signal change nothing from now on, in this block and behind it: the outcome stands."""
        self._settled, self._leave = True, lambda: None
        around = self._around()
        if around is not None:
            around.settle()

    def _around(self) -> Signals | None:
        """Return the Signals that were entered before."""
        around = getattr(self._before.get(signal.SIGTERM), "__self__", None)
        return around if isinstance(around, Signals) else None

    def raise_received(self) -> None:
        """Raise the exception of the signal, if one came.

        Raises:
            KeyboardInterrupt: SIGINT came.
            Terminated: SIGTERM came.
        """
        if self.received == signal.SIGTERM:
            raise Terminated
        if self.received is not None:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature of a handler
        if self.received is not None:
            exit_at_once(number)
        self.received = number
        if self._leave is None:
            self.raise_received()
        else:
            self._leave()


class Commands(click.Group):
    """A group whose commands end by the rules of this module."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  click's signature
        """Run the command line; say in a sentence that its help cannot be written."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            print(f"zaudio: {_meaning(error)[1]}", file=sys.stderr)
            sys.exit(FAILED)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's signature
        """Run the command; turn an error or a signal into a line and an exit code."""
        arguments = tuple(ctx.args)
        with Signals():
            try:
                with voice.logs():  # in here: a signal may come while it imports its modules
                    return super().invoke(ctx)
            except click.NoSuchOption as error:
                message = error.message + _way_to_name(error.option_name, arguments)
                raise click.NoSuchOption(error.option_name, message, error.possibilities, error.ctx) from None
            except (click.ClickException, click.Abort, click.exceptions.Exit):
                raise  # click prints its own usage errors, and exits 2
            except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001  the last frame there is
                if isinstance(error, Terminated) and ctx.invoked_subcommand in LEAVE_IN_ORDER:
                    ctx.exit(0)  # it was asked to leave before it had begun
                ctx.exit(ended(error))


def ended(error: BaseException) -> int:
    """Print on standard error why the command ended.

    Returns:
        The exit code.
    """
    code, sentence = _meaning(error)
    if isinstance(error, OSError | ZaudioError) and _folder_is_gone():
        error.add_note("the current folder was deleted: change to another one, or give whole paths")
    if voice.is_verbose() and not isinstance(error, ChunkError):  # of a chunk, the op's own traceback was logged
        voice.err("".join(traceback.format_exception(error)).rstrip())
    whole = "; ".join((sentence, *getattr(error, "__notes__", ())))
    voice.err(f"zaudio: {voice.printable(whole)}")
    return code


def exit_at_once(number: int) -> NoReturn:
    """Leave now, without cleaning up: the user asked twice."""
    try:
        if sys.__stderr__ is not None and sys.__stderr__.isatty():
            os.write(sys.__stderr__.fileno(), SHOW_CURSOR)
    except (OSError, ValueError):  # it is gone; so are we
        pass
    os._exit(128 + number)


def _way_to_name(option: str, arguments: Iterable[str]) -> str:
    """Return a sentence for a file that was taken for an option, as a pattern such as ``*.wav`` may name one."""
    for argument in arguments:
        if argument.startswith(option) and os.path.lexists(argument):
            return f" A file whose name begins with - is written ./{voice.printable(argument)}, and a pattern ./*."
    return ""


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _is_of_echo(error: OSError) -> bool:
    """Return whether click raised it while it printed help or the version, on standard output."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _meaning(error: BaseException) -> tuple[int, str]:
    match error:
        case ZaudioError():
            return error.exit_code, str(error)
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case Terminated():
            return TERMINATED, "terminated"
        case OSError() if _is_of_echo(error):
            disk.silence(sys.stdout)
            return FAILED, f"standard output: {disk.reason(error)}"
        case OSError():
            return FAILED, str(error)
        case _:
            return FAILED, f"unexpected {type(error).__name__}: {error} (-v shows where)"
