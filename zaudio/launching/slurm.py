"""Slurm: workers as tasks of job arrays, which `sbatch` submits and `scancel` ends.

Rules:

- Slurm's programs are asked one at a time, in processes of their own: a busy controller makes no job wait here.
- A worker's secret lies in a file that its user alone can read, in a folder that the nodes share, and the script holds
  the path. There is one key for each task; it is deleted when the task ends, and the folder with the job.
- An array is submitted once its keys are admitted, since Slurm may start it in the same instant.
- A task that ended is not queued again: the fleet decides about another one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence

from zaudio.endpoints import is_loopback
from zaudio.errors import LaunchError, UsageError
from zaudio.launching.arrays import COLUMNS, Array, Task, last_line, queue
from zaudio.launching.asking import Answer, Asked, ask
from zaudio.launching.launcher import Orders
from zaudio.launching.templates import WorkerLine, check_folder, slurm, split
from zaudio.net.keys import guest_folder

FOLDER = "zaudio-slurm"  # begins the names of the folders with keys and output
TASKS_MAX = 1000  # of an array: Slurm's own default
FIRST_LOOK, LAST_LOOK = 1.0, 10.0  # s between two looks at the queue: longer each time, for the controller's sake
LEAVE, FORCE = 2.0, 5.0  # s after `stop` until workers are killed, and until nothing is waited for
NO_JOB = "Invalid job id"  # of squeue: all that it was asked about ended long ago

log = logging.getLogger("zaudio.launching")


class SlurmLauncher:
    """Starts workers under Slurm. A `Launcher`.

    Args:
        where: The place as the user wrote it.
        arguments: Options for `sbatch`, as in a shell: ``--partition=long``.
        shared: A folder that the nodes see under the same name; the current one by default, which `sbatch` uses too.
        path: A folder in which the nodes find modules, besides the current one and ``PYTHONPATH``.
        read: A folder that the nodes see too, from which workers read the recording themselves.
        command: The words that run zaudio on a node.
        clock: The time.

    Raises:
        UsageError: The arguments cannot be parsed, or Slurm cannot name that folder.
    """

    def __init__(
        self,
        where: str = "slurm",
        *,
        arguments: str = "",
        shared: str = "",
        path: str = "",
        read: str = "",
        command: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.where = where
        self._arguments = split(arguments)
        self._shared = check_folder(os.path.abspath(shared or os.curdir))
        self._path, self._read = (tuple(filter(None, [folder])) for folder in (path, read))
        self._command = tuple(command) or (sys.executable, "-P", "-m", "zaudio")
        self._clock = clock
        self._token = secrets.token_hex(4)  # in the names of its jobs and of its folder
        self._folder: str | None = None  # made with the first array
        self._arrays: list[Array] = []
        self._asked: tuple[Asked, Callable[[Answer], None]] | None = None
        self._pause = FIRST_LOOK
        self._due = 0.0
        self._looked = 0.0
        self._trouble = ""
        self._stopping = False

    def check(self, endpoint: str) -> None:
        """Find out whether there is a Slurm here whose nodes could reach that endpoint.

        Raises:
            UsageError: Only this machine could reach it, but Slurm has other nodes; or the shared folder is of no use.
            LaunchError: Slurm's programs are missing, or it does not answer.
        """
        for program in ("sbatch", "squeue", "scancel", "sinfo"):
            if shutil.which(program) is None:
                raise LaunchError(self.where, f"there is no {program} here; install slurm-client, or log in to a node")
        if not os.access(self._shared, os.W_OK | os.X_OK):
            raise UsageError(
                f"{self.where}: {self._shared} cannot be written to; expected a folder that the nodes share, shared=DIR"
            )
        answer = ask(["sinfo", "--noheader", "--Node", "--format=%n"]).wait(FORCE)
        if answer.code:
            raise LaunchError(self.where, f"Slurm does not answer: {answer.error}")
        nodes = sorted(set(answer.out.split()))
        here = (socket.gethostname(), socket.gethostname().partition(".")[0])
        if is_loopback(endpoint) and not set(nodes) <= set(here):
            shown = ", ".join(nodes[:3]) + (", ..." if len(nodes) > 3 else "")
            raise UsageError(
                f"{self.where}: its nodes ({shown}) cannot reach {endpoint}, which is of this machine alone; "
                "give --bind tcp://HOST:PORT, and --keys"
            )

    def start(self, count: int, orders: Orders) -> Sequence[Task]:
        """Ask for so many more workers."""
        if self._folder is None:
            self._folder = _make_folder(self._shared, self._token)
        tasks: list[Task] = []
        while len(tasks) < count:
            array = self._make_array(min(count - len(tasks), TASKS_MAX), orders)
            self._arrays.append(array)
            tasks += array.tasks.values()
        return tasks

    def alive(self) -> Sequence[Task]:
        """Take in what Slurm answered, ask what is due, and return the tasks that have not ended."""
        if self._asked is not None:
            asked, take = self._asked
            answer = asked.look()
            if answer is not None:
                self._asked = None
                take(answer)
        if self._asked is None:
            self._ask_next()
        return [task for array in self._arrays for task in array.left]

    def hurry(self) -> None:
        """Look at the queue again within a second, so that Slurm's word comes before the farm blames a chunk."""
        self._due = min(self._due, self._looked + FIRST_LOOK)

    def stop(self) -> None:
        """End all tasks; remove their keys, and the outputs of those that ended in order."""
        if self._stopping:
            return
        self._stopping = True
        begun = time.monotonic()
        self._wait(lambda: not self._is_submitting, begun + LEAVE)  # so that all have their numbers
        if self._is_submitting:
            self._cancel([f"--name=zaudio-{self._token}"])
        for how, until in (((), LEAVE), (("--full", "--signal=KILL"), FORCE)):
            if jobs := self._jobs():
                self._cancel([*how, *jobs])
                self._due = 0.0
                self._wait(lambda: not self._jobs(), begun + until)
        for task in (task for array in self._arrays for task in array.left):
            task.ended = ""
        if self._asked is not None:
            self._asked[0].end()
            self._asked = None
        self._remove()

    # Arrays

    def _jobs(self) -> list[str]:
        """Return the numbers of the jobs with tasks that have not ended."""
        return [array.job for array in self._arrays if array.job and array.left]

    @property
    def _is_submitting(self) -> bool:
        return any(array.submitted and not array.job and array.left for array in self._arrays)

    def _make_array(self, count: int, orders: Orders) -> Array:
        assert self._folder is not None, "start made it"
        keys = None
        publics = [""] * count
        if orders.server is not None:
            keys = os.path.join(self._folder, f"keys-{len(self._arrays) + 1}")
            _make_private(keys)
            publics = [guest_folder(os.path.join(keys, str(i)), orders.server) for i in range(1, count + 1)]
        return Array(orders, {i: Task(i, public) for i, public in enumerate(publics, 1)}, keys)

    def _submit(self, array: Array) -> None:
        array.submitted = True
        orders, output = array.orders, os.path.join(self._folder or "", "%A_%a.out")
        line = WorkerLine(
            orders.endpoint,
            array.keys,
            orders.allow,
            (*orders.path, *self._path),
            (*orders.read, *self._read),
            orders.lifetime,
        )
        script = slurm(
            line,
            len(array.tasks),
            command=self._command,
            output=output,
            arguments=self._arguments,
            name=f"zaudio-{self._token}",
            key_per_task=True,
        )
        # What stands in the script may be overridden by the user's SBATCH_ARRAY_INX, what stands here not.
        words = ["sbatch", "--parsable", f"--array=1-{len(array.tasks)}", f"--output={output}"]
        self._asked = ask(words, script), lambda answer: self._take_number(array, answer)

    def _ask_next(self) -> None:
        now = self._clock()
        for array in self._arrays:
            if not array.submitted and not self._stopping and all(task.admitted for task in array.tasks.values()):
                self._submit(array)
                return
        jobs = self._jobs()
        if jobs and now >= self._due:
            self._due, self._looked = now + self._pause, now
            self._pause = min(1.5 * self._pause, LAST_LOOK)
            words = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(jobs)}", "-O", COLUMNS]
            self._asked = ask(words), lambda answer: self._take_queue(jobs, answer)

    def _take_number(self, array: Array, answer: Answer) -> None:
        job = re.match(r"\d+", answer.out)  # behind it, a cluster's name may follow
        for task in array.tasks.values():
            if answer.code or job is None:
                task.hopeless = True
                self._end(array, task, f"{self.where}: {answer.error}")
            else:
                task.job = job[0]
        self._pause, self._due = FIRST_LOOK, self._clock() + FIRST_LOOK

    def _take_queue(self, jobs: Sequence[str], answer: Answer) -> None:
        if answer.code and NO_JOB not in answer.error:
            if answer.error != self._trouble:
                log.warning("%s: the queue cannot be read now: %s", self.where, answer.error)
            self._trouble = answer.error
            for task in (task for array in self._arrays for task in array.left if task.waits):
                task.waits = f"its queue cannot be read: {answer.error}"  # said, since the job goes on waiting for it
            return
        self._trouble = ""
        rows = queue(answer.out)
        for array in (array for array in self._arrays if array.job in jobs):
            for task in array.left:
                row = rows.get((array.job, task.number))
                if row is None:
                    self._end(array, task, f"{task.name}: Slurm does not list it any more{self._words(task)}")
                    continue
                task.node = row.node or task.node
                task.waits, task.hopeless, task.died = row.waits, row.is_hopeless, row.is_death
                if row.has_ended:
                    well = self._stopping or not row.complaint
                    self._end(array, task, "" if well else f"{task.name}: {row.complaint}{self._words(task)}")

    def _end(self, array: Array, task: Task, why: str) -> None:
        task.ended = why
        if array.keys is not None:
            shutil.rmtree(os.path.join(array.keys, str(task.number)), ignore_errors=True)
        if not why:
            with contextlib.suppress(OSError):
                os.unlink(self._output(task))

    def _output(self, task: Task) -> str:
        return os.path.join(self._folder or "", f"{task.job}_{task.number}.out")

    def _words(self, task: Task) -> str:
        """Return the last line that a task wrote, as the end of a sentence."""
        path = self._output(task)
        words = last_line(path)
        if words is None and task.node:  # it began
            return f"; it wrote no {path}: do the nodes share that folder? Name one that they do by shared=DIR"
        return f": {words}" if words else ""

    # The end

    def _cancel(self, words: Sequence[str]) -> None:
        answer = ask(["scancel", "--quiet", *words]).wait(LEAVE)
        if answer.code:
            log.warning("%s: not cancelled: %s; see to it by: scancel %s", self.where, answer.error, " ".join(words))

    def _wait(self, condition: Callable[[], bool], deadline: float) -> None:
        self._pause = 0.2
        while not condition() and time.monotonic() < deadline:
            self.alive()
            time.sleep(0.02)

    def _remove(self) -> None:
        """Remove all keys, and the folder with them if no task left a complaint in it."""
        if self._folder is None:
            return
        for array in self._arrays:
            if array.keys is not None:
                shutil.rmtree(array.keys, ignore_errors=True)
            for task in array.tasks.values():
                if not task.ended:
                    with contextlib.suppress(OSError):
                        os.unlink(self._output(task))
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)


# The folder


def _make_folder(shared: str, token: str) -> str:
    """Make the folder of a job's keys and outputs, and remove those of jobs whose process is gone."""
    here = f"{FOLDER}-{socket.gethostname()}-"
    with contextlib.suppress(OSError), os.scandir(shared) as entries:
        for entry in entries:
            match = re.fullmatch(re.escape(here) + r"(\d+)-[0-9a-f]+", entry.name)
            if match and entry.stat(follow_symlinks=False).st_uid == os.geteuid() and not _runs(int(match[1])):
                shutil.rmtree(entry.path, ignore_errors=True)
    folder = os.path.join(shared, f"{here}{os.getpid()}-{token}")
    _make_private(folder)
    return folder


def _make_private(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise LaunchError("slurm", f"{folder} cannot be made: {error.strerror}") from None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
