"""Places where the tests of launchers start workers: real services on loopback, each a class with the same face.

A place is a context manager, made with a folder. It has

    text         what `--workers-on` takes
    count        the workers that it has
    names        a pattern that every name of a worker matches
    arguments    further arguments of the command
    environment  further variables of the command's process
    sign         a part of the command line of what it runs
    time_out     the milliseconds after which a worker is gone that has lost its coordinator
    workers()    the process ids of the workers that run there now

Every process that runs there has the variable ``ZAUDIO_PLACE=mark`` and finds the ops of these tests; a key pair that
it makes is written to `secrets`, so that a test can look for the secret.
"""

import json
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from farm_support import HERE
from net_support import alive, free_port, parent, processes_with, wait_until

import zaudio

SSHD = "/usr/sbin/sshd"

# Imported by every Python of a place before anything else.
SPY = """
import os, zmq
_pair = zmq.curve_keypair
def _kept():
    public, secret = _pair()
    with open({secrets!r}, "ab") as file:
        file.write(secret + b"\\n")
    return public, secret
zmq.curve_keypair = _kept
"""


class Place:
    """What all places share."""

    arguments = ()
    sign = "zaudio.launching.remote"
    time_out = 10_000

    def __init__(self, folder, mark):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.mark = mark
        self.environment = {}
        self.secrets = self.folder / "secrets"
        spy = self.folder / "spy"
        spy.mkdir()
        (spy / "sitecustomize.py").write_text(SPY.format(secrets=str(self.secrets)))
        path = os.pathsep.join([str(spy), HERE, str(Path(zaudio.__file__).parent.parent)])
        self.inside = {"PYTHONPATH": path, "ZAUDIO_PLACE": mark, "TMPDIR": os.environ.get("TMPDIR", "/tmp")}

    def processes(self):
        """All processes that this place runs for jobs."""
        return processes_with(f"ZAUDIO_PLACE={self.mark}")

    def workers(self):
        """Those that compute: each is a child of a far end."""
        remote = [pid for pid in self.processes() if "zaudio.launching.remote" in command_of(pid)]
        return [pid for pid in remote if parent(pid) in remote and alive(pid)]


class Ssh(Place):
    """A server of ssh with keys of its own, which ssh knows by two names."""

    count = 3
    names = r"(attic|cellar)/[12]"

    def __init__(self, folder, mark, *, prefix=(), address="127.0.0.1"):
        for program in (SSHD, "ssh", "ssh-keygen"):
            if shutil.which(program) is None:
                pytest.skip(f"there is no {program} here (openssh-server, openssh-client)")
        if os.path.basename(shell := pwd.getpwuid(os.geteuid()).pw_shell) in ("nologin", "false"):
            pytest.skip(f"no server of ssh lets this user in, whose shell is {shell}")
        super().__init__(folder, mark)
        self._prefix = prefix
        self.address = address
        self.port = free_port()
        for name in ("host", "user", "stranger"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(keygen, check=True, capture_output=True)
        self._configure()
        self.hosts = self.folder / "hosts.txt"
        self.hosts.write_text(f"# by two names\nattic n=2 python={sys.executable}\ncellar python={sys.executable}\n")
        self.text = f"ssh:{self.hosts}"
        self.environment = {"PATH": os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])}

    def _configure(self):
        public = (self.folder / "host.pub").read_text().split()
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        self.known = self.folder / "known_hosts"
        self.known.write_text(f"[{self.address}]:{self.port} {public[0]} {public[1]}\n")
        inside = " ".join(f'{name}="{value}"' for name, value in self.inside.items())
        (self.folder / "sshd_config").write_text(
            f'ListenAddress {self.address}:{self.port}\nHostKey "{self.folder}/host"\nPidFile none\nUsePAM no\n'
            f'AuthorizedKeysFile "{self.folder}/authorized_keys"\nStrictModes no\nPasswordAuthentication no\n'
            f"PermitRootLogin prohibit-password\nSetEnv {inside}\nMaxStartups 100\n"
        )
        (self.folder / "ssh_config").write_text(
            f'Host attic cellar\n  HostName {self.address}\n  Port {self.port}\n  UserKnownHostsFile "{self.known}"\n'
            f'  GlobalKnownHostsFile none\n  IdentityFile "{self.folder}/user"\n  IdentitiesOnly yes\n'
        )
        program = self.folder / "bin" / "ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{self.folder}/ssh_config" "$@"\n')
        program.chmod(0o755)

    def __enter__(self):
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # it demands this folder of root, and makes it nowhere
        command = [*self._prefix, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self._log = open(self.folder / "sshd.log", "w")
        self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        said = self.folder / "sshd.log"
        wait_until(lambda: "listening" in said.read_text() or self._server.poll() is not None, "sshd listens")
        assert self._server.poll() is None, said.read_text()
        return self

    def __exit__(self, *_):
        self._server.terminate()
        self._server.wait()
        self._log.close()


PER_CHUNK = 65_536  # frames: no bundle, so that each worker holds chunks of its own


def farm_command(folder, place, *arguments, bind="tcp://127.0.0.1:0"):
    """The command of a job over ``take.raw`` in that folder, whose op is the tests' own, with workers at that place."""
    return [
        *(sys.executable, "-P", "-m", "zaudio", "farm", f"{folder}/take.raw", "-o", f"{folder}/out"),
        *("--op", "farm_ops:slow:ms=200", "--chunk", f"{PER_CHUNK}f", "--keys", f"{folder}/keys"),
        *("--bind", bind, "--workers-on", place.text, "--all", "--progress", "none"),
        *("--events", f"{folder}/events.jsonl", *place.arguments, *arguments),
    ]


def joined(folder):
    """How many workers have joined so far."""
    return sum(line["kind"] == "joined" for line in events(folder))


def events(folder):
    """The lines of a job's log so far."""
    found = []
    with suppress(FileNotFoundError, ValueError):  # the last line may be half of one
        for line in Path(folder, "events.jsonl").read_text().splitlines():
            found.append(json.loads(line))
    return found


def command_of(pid):
    """A process's command line, as text."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
