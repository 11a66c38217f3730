"""The page of a job beside a command: `--web` and `--web-linger`, and the file by which `zaudio status` finds it.

Rules: the address is bound before the job begins. The file is private, and goes away with the page; a killed command
leaves it, and the next one replaces or removes it. With `--web 0` that one takes the same port if it is free, so that a
page that was open finds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from zaudio import disk
from zaudio.cli import voice
from zaudio.cli.exit import Signals
from zaudio.errors import StoppedError, UsageError, ZaudioError
from zaudio.machine import check_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zaudio.facts import Listed, Progress
    from zaudio.watching.stream import Subscription
    from zaudio.web import Address, Site

Command = TypeVar("Command", bound=Callable[..., Any])

BESIDE = ".part.web"  # behind the name of a file that plays
LINGER = 10.0  # seconds: long enough to look up from something else
POLL = 0.1  # seconds between two looks for a signal


def web_options(command: Command) -> Command:
    """Add --web and --web-linger to a command."""
    command = click.option(
        "--web-linger",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=LINGER,
        help="Seconds for which the page stays after the job's end and shows the report.",
    )(command)
    return click.option(
        "--web",
        metavar="[HOST:]PORT",
        show_default="no page",
        help="Serve a page that shows the job, on this machine unless HOST says otherwise; port 0 takes any free one. "
        "Its address is printed, with the token that it asks for.",
    )(command)


class Job(Protocol):
    """A job, or a batch, as its page needs it."""

    @property
    def progress(self) -> Progress:
        """Its progress."""

    @property
    def signs(self) -> Mapping[str, float]:
        """When each worker was last heard of."""

    @property
    def page_token(self) -> str:
        """The token of its page; empty when there is nothing to show."""

    def subscribe(self, size: int) -> Subscription:
        """Return a subscription to its events."""


class Shown:
    """The page of one command; without `--web` it does nothing.

    Args:
        text: The address, as the user wrote it; None for no page.
        place: The output, in or beside which the address is kept; None for none.
        linger: Seconds that the page stays after the end.
        workers: Local workers of the command.

    Raises:
        UsageError: The address cannot be used, or a limit of this process is too low for a page.
    """

    def __init__(self, text: str | None, place: str | None, *, linger: float, workers: int = 0) -> None:
        if text is not None:
            check_limits(workers, coordinates=True, page=True)
        self._place, self._linger = place, linger
        self._is_new = place is not None and not os.path.lexists(place)
        self._events: Any = None
        self._opened = False
        self._before = _read_address(place) if text is not None else None  # of the last page of that output
        self._site = _site(text, self._before) if text is not None else None

    def listen(self, job: Job) -> None:
        """Hear all events of a job that has not begun."""
        if self._site is not None:
            from zaudio.web.site import EVENTS

            self._events = job.subscribe(EVENTS)

    def open(self, job: Job, title: str, *, jobs: Callable[[], Listed] | None = None) -> None:
        """Show a job that has begun, and say where; `jobs` returns where the recordings of a batch stand."""
        if self._site is None and self._place is not None:
            disk.remove(address_file(self._place))  # a killed job's: the output belongs to this one now
        if self._site is None or not (token := job.page_token):
            return
        if self._before is not None and job.progress.bytes_resumed:
            token = self._before[1]  # a file that plays has no key to derive one from; open pages go on
        recordings = {"jobs": jobs} if jobs is not None else {}
        self._site.open(token, self._events, lambda: job.progress, title=title, signs=lambda: job.signs, **recordings)
        self._opened = True
        if self._place is not None:
            _write_address(self._place, self._site.address.url, token)
        if not self._site.address.is_loopback:
            voice.warn(
                "the page is not encrypted: others on the network may read it, and the token; "
                "a tunnel by ssh to a page on 127.0.0.1 is safe"
            )
        if not voice.is_quiet():
            voice.err(f"see it at: {self._site.url}")

    @contextmanager
    def until_failed(self, signals: Signals) -> Iterator[None]:
        """Show for a while that the job failed, if the block raises that."""
        try:
            yield
        except StoppedError:
            raise
        except ZaudioError as error:
            self.end(str(error), signals)
            raise

    def end(self, lines: str, signals: Signals) -> None:
        """Show the end of the job for a while, or until a signal comes."""
        if self._site is None or not self._opened:
            return
        self._site.end(tuple(lines.splitlines()))
        if self._linger and not voice.is_quiet():
            voice.err(f"the page stays for {self._linger:g} s; Ctrl-C ends it")
        deadline = time.monotonic() + self._linger
        while time.monotonic() < deadline and signals.received is None:
            time.sleep(min(POLL, self._linger))

    def close(self) -> None:
        """Stop the page."""
        if self._site is not None:
            self._site.close()
            if self._opened and self._place is not None:
                _remove_address(self._place, self._site.address.url)
                if self._is_new:
                    with contextlib.suppress(OSError):
                        os.rmdir(self._place)  # a job that left nothing there could not remove it before the page


@contextmanager
def showing(text: str | None, place: str | None, *, linger: float, workers: int = 0) -> Iterator[Shown]:
    """Give the page of a command, and stop it at the end.

    Raises:
        UsageError: See `Shown`.
    """
    shown = Shown(text, place, linger=linger, workers=workers)
    try:
        yield shown
    finally:
        shown.close()


def address_file(place: str) -> str:
    """Return the file by which `zaudio status` finds the page of the job with that output."""
    from zaudio.result import ADDRESS

    return os.path.join(place, ADDRESS) if os.path.isdir(place) else f"{place}{BESIDE}"


def _read_address(place: str | None) -> tuple[str, str] | None:
    from zaudio.result import read_address

    return read_address(address_file(place)) if place is not None else None


def _site(text: str, before: tuple[str, str] | None) -> Site:
    from zaudio.web import Site, parse_address

    address = parse_address(text)
    if address.port == 0 and before is not None:
        with contextlib.suppress(UsageError):  # it is taken, or was another host's
            return Site(_at_port(address, before[0]))
    return Site(address)


def _at_port(address: Address, url: str) -> Address:
    from zaudio.web import Address, parse_address

    return Address(address.host, parse_address(url.removeprefix("http://").removesuffix("/")).port)


def _write_address(place: str, url: str, token: str) -> None:
    path = address_file(place)
    content = json.dumps({"address": url, "token": token}).encode("ascii") + b"\n"
    try:
        with disk.whole_file(path, f"{os.path.basename(path)}.{os.getpid()}.part", mode=disk.PRIVATE) as fd:
            disk.write_all(fd, content)
    except OSError as error:
        voice.warn(f"{path}: {disk.reason(error)}; `zaudio status` will not find the page")


def _remove_address(place: str, url: str) -> None:
    from zaudio.result import read_address

    path = address_file(place)
    found = read_address(path)
    if found is not None and found[0] == url:  # it may be the next job's by now
        disk.remove(path)
