"""Ssh: workers on the hosts of a file, by the OpenSSH program: one connection a host, however many workers it has.

A line of the file, and comments behind `#`:

    HOST[:PORT] [user=USER] [n=WORKERS] [python=PROGRAM] [path=DIR] [read=DIR]

Rules:

- The user's own configuration of ssh counts: names, keys, jump hosts. Two things it cannot change: no question is
  asked, and the host's key must be known.
- Nothing of a line reaches a shell unquoted, and none of it can be taken for an option.
- The far end lives as long as its standard input, so it goes with a killed client too.
"""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zaudio import disk
from zaudio.endpoints import LAST_PORT, is_loopback, parse_tcp
from zaudio.errors import LaunchError, UsageError
from zaudio.launching.launcher import Orders
from zaudio.launching.places import Place, parse_count
from zaudio.launching.talk import ARGUMENTS, Far, Worker

PROGRAM = "ssh"
PYTHON = "python3"
STOP = 4.0  # s for connections to close; a launcher has 5
RESOLVE = 5.0  # s for ssh to read its own configuration
OPTIONS = {
    "BatchMode": "yes",  # no question: nobody could answer it
    "StrictHostKeyChecking": "yes",
    "NoHostAuthenticationForLocalhost": "no",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",  # a host that vanished is found after three of these
    "ControlPath": "none",  # a connection of its own, which ends with this job
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",  # it counts as no forwarding above
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
}

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(%\w+)?\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252})(:(?P<port>[0-9]{1,5}))?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*")


@dataclass(frozen=True, slots=True)
class Host:
    """One line of the file.

    Attributes:
        name: The host, as ssh takes it.
        port: Its port; None for ssh's own choice.
        user: The user there; None for ssh's own choice.
        count: Workers.
        python: The Python that has zaudio.
        path: Folders there in which ops are found.
        read: Folders there in which the recording is found.
    """

    name: str
    port: int | None = None
    user: str | None = None
    count: int = 1
    python: str = PYTHON
    path: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name in sentences and in names of workers. A port tells two servers of one host apart."""
        return self.name if self.port is None else f"{self.name}:{self.port}"

    def command(self, program: str) -> list[str]:
        """Return the command that reaches the far end on that host."""
        options = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
        return [program, "-T", *options, *self.address(), shlex.join(["exec", self.python, *ARGUMENTS])]

    def address(self) -> list[str]:
        """Return the arguments that name the host."""
        user = ["-l", self.user] if self.user is not None else []
        port = ["-p", str(self.port)] if self.port is not None else []
        return [*user, *port, "--", self.name]


class SshLauncher:
    """Workers on one host.

    Args:
        host: The host.
        text: The place that it belongs to, as the user wrote it.
    """

    def __init__(self, host: Host, text: str) -> None:
        self.where = host.label
        self._host = host
        self._text = text
        self._program = PROGRAM
        self._far: Far | None = None
        self._workers: dict[int, Worker] = {}  # by the number in its name

    def check(self, endpoint: str) -> None:
        """See `Launcher`."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise LaunchError(self._text, "there is no program ssh here; install openssh-client")
        self._program = program
        if not is_loopback(endpoint):
            return
        address = _resolve(program, self._host)
        if parse_tcp(endpoint) is None or not is_loopback(f"tcp://{address}:1"):
            raise UsageError(
                f"{self._text}: {self._host.label} is another machine, and cannot reach {endpoint}; "
                "give an address of this machine with --bind tcp://ADDRESS:PORT (bind=), and --keys DIR"
            )

    def start(self, count: int, orders: Orders) -> Sequence[Worker]:
        """See `Launcher`."""
        host = self._host
        if self._far is not None and self._far.hopeless:
            raise LaunchError(host.label, self._far.failure)
        if self._far is None or self._far.over:
            self.stop()
            self._far = Far(host.command(self._program), host.label, explain=self._explain)
        own = replace(orders, path=(*orders.path, *host.path), read=(*orders.read, *host.read))
        free = itertools.filterfalse(list(self._workers).__contains__, itertools.count(1))
        started = []
        for number in itertools.islice(free, count):
            worker = self._workers[number] = self._far.start(f"{host.label}/{number}", own)
            started.append(worker)
        return started

    def alive(self) -> Sequence[Worker]:
        """See `Launcher`."""
        if self._far is not None:
            self._far.look()
        self._workers = {number: worker for number, worker in self._workers.items() if worker.ended is None}
        return list(self._workers.values())

    def hurry(self) -> None:
        """See `Launcher`. The far end says at once what it knows."""

    def stop(self) -> None:
        """See `Launcher`."""
        if self._far is not None:
            over = self._far.over
            self._far.close()
            self._far.wait(time.monotonic() + (0.0 if over else STOP))
            self._far = None

    def _explain(self, code: int, words: str) -> tuple[str, bool]:
        """Return a better sentence for an end of ssh, empty for none, and whether a second try would end likewise."""
        login = shlex.join([PROGRAM, *(word for word in self._host.address() if word != "--")])
        if "Host key verification failed" in words:
            return f"its host key is not known here; log in once with `{login}` and compare the key", True
        if "Permission denied" in words:
            return f"{words.partition(': ')[2] or words} `{login}` must work without a password", True
        if code == 127:  # a shell's word for it
            return f"there is no {self._host.python} there; name its Python with python= in the file of hosts", True
        if code == 255 and not words:  # as ssh ends for a far end that died of a signal
            return "what ran its workers was killed there", False
        return "", "Name or service not known" in words


def ssh_launchers(place: Place) -> list[tuple[SshLauncher, int]]:
    """Return a launcher for each host of the place's file, and the number of workers that the host may have.

    Raises:
        UsageError: The file cannot be read, or a line of it cannot be used.
    """
    return [(SshLauncher(host, place.text), host.count) for host in read_hosts(place.rest)]


def read_hosts(path: str) -> list[Host]:
    """Return the hosts of a file.

    Raises:
        UsageError: It cannot be read, names no host, or a line of it cannot be used.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = disk.reason(error) if isinstance(error, OSError) else "is no text in UTF-8"
        raise UsageError(f"--workers-on ssh:{path}: {reason}") from None
    hosts = [parse_host(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if _words(line)]
    if not hosts:
        raise UsageError(f"--workers-on ssh:{path}: names no host; a line is HOST[:PORT] [user=] [n=] [python=]")
    names = [host.label for host in hosts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--workers-on ssh:{path}: {twice} stands there twice; write one line with n=")
    return hosts


def parse_host(line: str, where: str) -> Host:
    """Return the host that a line names.

    Raises:
        UsageError: It cannot be used.
    """
    address, *pairs = _words(line)
    match = _ADDRESS.fullmatch(address)
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or not (port is None or 0 < port <= LAST_PORT):
        raise UsageError(f"{where}: expected HOST[:PORT], got {address!r:.80}")
    host = Host(match["host"].strip("[]"), port)
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not value or not value.isprintable():
            raise UsageError(f"{where}: expected user=, n=, python=, path= or read=, got {pair!r:.80}")
        match key:
            case "user" if _USER.fullmatch(value):
                host = replace(host, user=value)
            case "n":
                host = replace(host, count=parse_count(value, where))
            case "python" if not value.startswith("-"):
                host = replace(host, python=value)
            case "path":
                host = replace(host, path=(*host.path, value))
            case "read":
                host = replace(host, read=(*host.read, value))
            case _:
                raise UsageError(f"{where}: expected user=, n=, python=, path= or read=, got {pair!r:.80}")
    return host


def _words(line: str) -> list[str]:
    return line.partition("#")[0].split()


def _resolve(program: str, host: Host) -> str:
    """Return the address or name that ssh would connect to, by its configuration; no connection is made."""
    try:
        answer = subprocess.run(
            [program, "-G", *host.address()], capture_output=True, text=True, timeout=RESOLVE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return host.name
    found = re.search(r"^hostname (\S+)$", answer.stdout, re.MULTILINE)
    name = found[1] if found is not None else host.name
    return f"[{name}]" if ":" in name else name
