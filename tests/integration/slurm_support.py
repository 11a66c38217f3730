"""A Slurm of two nodes on this machine: its real daemons, on ports of loopback, with files of their own.

Rules: nothing of a Slurm that the machine may have is touched: configuration, state, keys and sockets lie in one
folder. Daemons are processes of the test, and are ended by their ids. There are no cgroups and no accounts.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from launcher_support import Place, command_of
from net_support import MS, free_port, wait_until

PROGRAMS = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm"}
SBIN = os.pathsep.join(filter(None, (os.environ.get("PATH"), "/usr/sbin", "/sbin")))
NODES = ("n1", "n2")
CPUS = 4  # of each node, which the machine need not have

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PropagateResourceLimits=NONE
SchedulerParameters=batch_sched_delay=0,sched_interval=1
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus}
PartitionName=short Nodes=n1,n2 Default=YES MaxTime=60 State=UP
PartitionName=long Nodes=n1,n2 MaxTime=UNLIMITED State=UP
PartitionName=down Nodes=n2 State=DOWN
"""


class Cluster:
    """The daemons, and their folder.

    Attributes:
        environment: What a process needs to use this Slurm.
    """

    def __init__(self, folder):
        self._folder = Path(folder)
        self._daemons = []
        self.environment = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": SBIN}

    def start(self):
        """Start the daemons, and wait until both nodes can be used."""
        key = self._folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self._folder / name).mkdir()
        values = {"folder": self._folder, "host": socket.gethostname(), "user": getpass.getuser(), "cpus": CPUS}
        text = CONFIGURATION.format(ports=[free_port() for _ in range(3)], **values)
        (self._folder / "slurm.conf").write_text(text)
        files = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munged.log"}
        files |= {"pid-file": "munged.pid", "seed-file": "munged.seed"}
        self._daemon("munged", "--foreground", "--force", *(f"--{name}={self._folder / files[name]}" for name in files))
        wait_until((self._folder / "munge.socket").exists, "munged listens")
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        wait_until(lambda: self("sinfo", "-h", "-N", "-p", "short", "-o", "%T").count("idle") == 2, self.logs)

    def stop(self):
        """End what a failed test left in the queue, then the daemons, the last started one first."""
        if self("squeue", "-h"):
            self("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
            self("scancel", f"--user={getpass.getuser()}")
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not self("squeue", "-h"), "the queue is empty", within=5000 * MS)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
            daemon.kill()
            daemon.wait()

    def __call__(self, *command):
        """Run a program of Slurm's; returns its output, which is empty when it failed."""
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def logs(self):
        """The ends of the daemons' logs."""
        return "\n".join(f"{path.name}: {path.read_text()[-400:]}" for path in sorted(self._folder.glob("*.log")))

    def _daemon(self, *command):
        environment = {**os.environ, **self.environment}
        with open(self._folder / f"{command[0]}.out", "ab") as out:
            self._daemons.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            )


@contextlib.contextmanager
def running_slurm():
    """A Slurm that runs inside of the block; the test is skipped where its programs are missing."""
    missing = sorted({package for name, package in PROGRAMS.items() if shutil.which(name, path=SBIN) is None})
    if missing:
        pytest.skip(f"there is no Slurm here: install {' and '.join(missing)}")
    try:
        socket.getaddrinfo("127.0.0.1", 1, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)  # as they ask
    except socket.gaierror:
        pytest.skip("Slurm's daemons need an address beside those of loopback")
    folder = tempfile.mkdtemp(prefix="zs-", dir="/tmp")  # short, as the address of munged's socket has to be
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Slurm(Place):
    """A Slurm of two nodes, which runs what the command itself has in its environment."""

    count = 3
    names = r"slurm \d+_\d+ n[12]"
    sign = "-m zaudio worker"
    time_out = 20_000  # no lifeline: it ends its op, misses the coordinator, and looks for it once more

    def __init__(self, folder, mark):
        super().__init__(folder, mark)
        self.text = f"slurm,n={self.count},shared={self.folder}"
        self.arguments = ("--template-args", "--time=1:00:00 --comment='a b'")

    def __enter__(self):
        self._running = running_slurm()
        self.cluster = self._running.__enter__()
        self.environment = {**self.inside, **self.cluster.environment}
        return self

    def __exit__(self, *_):
        self._running.__exit__(None, None, None)

    def workers(self):
        """The tasks: each became a worker."""
        return [pid for pid in self.processes() if self.sign in command_of(pid)]
