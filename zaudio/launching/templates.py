"""Templates: the texts that start workers of a farm under Slurm and Kubernetes. Pure: nothing here is submitted.

Rules:

- A text holds no secret: Slurm's script has the path of a folder, Kubernetes' Job the name of a Secret. The Secret
  itself is made apart, by `secret`.
- Every word from outside is quoted.
- A worker is told to leave 60 s before it is ended, and leaves by itself before that.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from zaudio.endpoints import is_loopback
from zaudio.errors import UsageError

GRACE = 60  # s from SIGTERM to the end: longer than most chunks take
MARGIN = 120  # s from the end of the worker's lifetime to Slurm's limit: twice that
POD_USER = 65532  # "nonroot" of many images; any number but 0 does
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_NO_PATH = re.compile(r"[\x00-\x1f\x7f%\\\"]")  # in a pattern of Slurm's, % and \ have a meaning of their own


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """The orders of a worker in a template.

    Attributes:
        endpoint: Where it connects.
        keys: The folder of its keys, as its machine sees it; None without keys.
        allow: ``MODULE:FUNCTION`` that jobs may use as ops.
        path: Folders in which it finds modules.
        read: Folders below which it reads the recording itself.
        lifetime: Seconds after which it leaves; None for no end of its own.
    """

    endpoint: str
    keys: str | None = None
    allow: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    lifetime: float | None = None

    def options(self) -> list[str]:
        """Return the options of ``zaudio worker``, without those of its keys and its name."""
        named = (("--allow", self.allow), ("--path", self.path), ("--read", self.read))
        more = [] if self.lifetime is None else ["--lifetime", f"{self.lifetime:g}"]
        return ["--once", *(word for option, values in named for value in values for word in (option, value)), *more]


# Slurm


def slurm(
    line: WorkerLine,
    count: int,
    *,
    command: Sequence[str] = ("zaudio",),
    output: str = "zaudio-%A_%a.out",
    arguments: Sequence[str] = (),
    name: str = "zaudio",
    key_per_task: bool = False,
) -> str:
    """Return a batch script for `sbatch`: a job array with a worker in each task.

    Args:
        line: What each worker is told.
        count: The number of tasks.
        command: The words that run zaudio on a node.
        output: The file that a task writes to; ``%A`` and ``%a`` stand for the numbers of job and task.
        arguments: Options for `sbatch`, such as ``--partition=long``. They win over the script's own but for the
            number of tasks and the file.
        name: The job's name.
        key_per_task: Whether the folder `line.keys` has a folder of keys for each task, named by its number.

    Raises:
        UsageError: An argument holds what cannot stand in such a script.
    """
    for word in arguments:
        if _UNPRINTABLE.search(word):
            raise UsageError(f"template-args: expected printable options of sbatch, got {word!r}")
    directives = [
        f"--job-name={shlex.quote(name)}",
        "--no-requeue",
        f"--signal=B:TERM@{GRACE}",
        *([shlex.join(arguments)] if arguments else []),
        f"--array=1-{count}",
        f"--output={_pattern(output)}",
    ]
    words = [*command, "worker", line.endpoint, *line.options()]
    own = ' --name "slurm ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID $SLURMD_NODENAME"'
    if line.keys is not None:
        own += f" --keys {shlex.quote(line.keys)}" + ("/$SLURM_ARRAY_TASK_ID" if key_per_task else "")
    return "\n".join(
        [
            "#!/bin/sh",
            "# Workers of a zaudio farm: a job array, one worker per task. B: in --signal stands for the batch shell,",
            "# which becomes the worker below.",
            *(f"#SBATCH {directive}" for directive in directives),
            "",
            *(_LIFETIME if line.lifetime is None else ["set --"]),
            f'exec {shlex.join(words)}{own} "$@"',
            "",
        ]
    )


# The limit may be the partition's, and a task may begin hours after `sbatch`: so the node asks when the task begins.
# SLURM_JOB_ID would not do: of one task it is the number of the whole array.
_LIFETIME = f"""\
# Slurm ends a task at its time limit. The worker leaves {MARGIN} s earlier, after its last chunk.
task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
end=$(SLURM_TIME_FORMAT=%s squeue --noheader --jobs="$task" --format=%e) || end=
set --
case $end in
'' | *[!0-9]*) ;; # there is no limit
*)
    left=$((end - $(date +%s)))
    set -- --lifetime "$((left > {2 * MARGIN} ? left - {MARGIN} : left > 2 ? left / 2 : 1))"
    ;;
esac""".splitlines()


def split(arguments: str) -> tuple[str, ...]:
    """Return options of `sbatch` as words, as a shell would.

    Raises:
        UsageError: They cannot be parsed.
    """
    try:
        return tuple(shlex.split(arguments))
    except ValueError as error:
        raise UsageError(f"template-args: {error} in {arguments!r}; expected options as in a shell") from None


def check_folder(folder: str) -> str:
    """Return a folder that can stand in front of an array's output.

    Raises:
        UsageError: It cannot.
    """
    if _NO_PATH.search(folder):
        raise UsageError(f"Slurm takes no folder with quotes, backslashes or percent signs in its name: {folder!r}")
    return folder


def _pattern(output: str) -> str:
    """Return a file's pattern for an #SBATCH line."""
    check_folder(os.path.dirname(output))
    return f'"{output}"'


# Kubernetes


def kubernetes(line: WorkerLine, count: int, *, image: str, secret_name: str, name: str = "zaudio-workers") -> str:
    """Return the manifest of a Kubernetes Job with that many workers, as YAML.

    Args:
        line: What each worker is told; of its keys, only whether it has some.
        count: The number of pods.
        image: The image; it has ``zaudio`` and a shell.
        secret_name: The Secret that holds ``worker.secret`` and ``coordinator.public``.
        name: The Job's name.

    Raises:
        UsageError: The endpoint is of one machine alone.
    """
    if is_loopback(line.endpoint):
        raise UsageError(f"{line.endpoint}: pods cannot reach it; expected tcp://HOST:PORT as they see the coordinator")
    keyed = line.keys is not None
    words = ["zaudio", "worker", line.endpoint, *line.options(), "--name", "$(NODE)/$(POD)"]
    words += ["--keys", "/keys"] if keyed else []
    blocks = {"INIT": _INIT, "KEY_MOUNT": _KEY_MOUNT, "KEY_VOLUMES": _KEY_VOLUMES}
    text = re.sub(r"@(INIT|KEY_\w+)@\n", lambda mark: blocks[mark[1]] if keyed else "", _JOB)
    values = {
        "NAME": json.dumps(name),
        "COUNT": str(count),
        "BACKOFF": str(max(20, 4 * count)),
        "GRACE": str(GRACE),
        "USER": str(POD_USER),
        "IMAGE": json.dumps(image),
        "SECRET": json.dumps(secret_name),
        "COPY": json.dumps(COPY_KEYS),
        "WORDS": json.dumps(words),
    }
    return re.sub(r"@([A-Z]+)@", lambda mark: values[mark[1]], text)  # in one go: a value may look like a mark


def secret(folder: str, *, secret_name: str) -> str:
    """Return a worker's keys as the manifest of a Secret, as YAML. It holds the worker's secret key.

    Args:
        folder: The folder that ``zaudio keys worker NAME`` made.
        secret_name: The Secret's name.

    Raises:
        OSError: The files cannot be read.
    """
    lines = [f"apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata:\n  name: {json.dumps(secret_name)}\ndata:"]
    for each in KEY_FILES:
        with open(os.path.join(folder, each), "rb") as file:
            lines.append(f"  {each}: {base64.b64encode(file.read()).decode()}")
    return "\n".join(lines) + "\n"


def kubectl_secret(folder: str, *, secret_name: str) -> str:
    """Return the command that makes the Secret from the folder that ``zaudio keys worker NAME`` made."""
    files = [f"--from-file={os.path.join(folder, each)}" for each in KEY_FILES]
    return shlex.join(["kubectl", "create", "secret", "generic", secret_name, *files])


KEY_FILES = ("worker.secret", "coordinator.public")

# A Secret's files are links, and its group can read them; a worker takes neither. Its copies lie in memory.
COPY_KEYS = "umask 077 && cp /secret/worker.secret /secret/coordinator.public /keys/"

_JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: @NAME@
spec:
  parallelism: @COUNT@ # without `completions`: when the farm's job is over, one worker ends well, and no pod follows
  backoffLimit: @BACKOFF@ # a worker that finds no coordinator ends, and comes again later
  podFailurePolicy:
    rules:
      - action: Ignore # a drained node is no failure
        onPodConditions: [{type: DisruptionTarget, status: "True"}]
  template:
    metadata:
      labels: {app.kubernetes.io/name: zaudio-worker}
      annotations:
        cluster-autoscaler.kubernetes.io/safe-to-evict: "false" # an autoscaler would end busy workers
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: @GRACE@
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: @USER@
        runAsGroup: @USER@
        fsGroup: @USER@
        seccompProfile: {type: RuntimeDefault}
@INIT@
      containers:
        - name: worker
          image: @IMAGE@
          command: @WORDS@
          env:
            - {name: HOME, value: /tmp}
            - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          resources:
            requests: {cpu: "1", memory: 512Mi}
            limits: {cpu: "1", memory: 2Gi} # a worker computes in one thread
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
@KEY_MOUNT@
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
@KEY_VOLUMES@
"""

_INIT = """\
      initContainers:
        - name: keys
          image: @IMAGE@
          command: [/bin/sh, -c, @COPY@]
          resources:
            requests: {cpu: 10m, memory: 16Mi}
            limits: {cpu: "1", memory: 64Mi}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: secret, mountPath: /secret, readOnly: true}
            - {name: keys, mountPath: /keys}
"""
_KEY_MOUNT = """\
            - {name: keys, mountPath: /keys, readOnly: true}
"""
_KEY_VOLUMES = """\
        - {name: keys, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
        - {name: secret, secret: {secretName: @SECRET@, defaultMode: 0440}}
"""
