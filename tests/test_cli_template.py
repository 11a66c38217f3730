import base64
import json
import os
import shlex
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from zaudio.cli.app import app
from zaudio.launching.templates import COPY_KEYS
from zaudio.net.keys import add_worker, init, worker_keys

ADDRESS = "tcp://10.0.0.1:5555"
SLURM = ("slurm", "-n", "3", "--endpoint", ADDRESS)
KUBERNETES = ("kubernetes", "-n", "8", "--endpoint", ADDRESS, "--image", "registry/audio:1")


def run(*arguments):
    return CliRunner().invoke(app, ["template", *arguments])


def printed(*arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def keys(tmp_path):
    init(str(tmp_path / "keys"))
    return add_worker(str(tmp_path / "keys"), "Studio_2")


@pytest.fixture
def documents():
    """Read YAML, and judge each document by the published schema of its kind, in which unknown fields are errors."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    schemas = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

    def read(text):
        found = list(yaml.safe_load_all(text))
        for document in found:
            for version in ("1.31", "1.37"):
                schemas.validate(document, version, strict=True)
        return found

    return read


# Slurm


def script(tmp_path, *arguments, end):
    """What the script says of the worker when `squeue` prints that end of the task."""
    programs = {"squeue": f"echo '{end}'", "date": "echo 1000", "zaudio": 'printf "%s\\n" "$@"'}
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    task = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3", "SLURMD_NODENAME": "n17"}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **task}
    text = printed(*SLURM, *arguments)
    done = subprocess.run(["sh", "-u", "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("end", "more"),
    [
        ("4600", ["--lifetime", "3480"]),
        ("1241", ["--lifetime", "121"]),
        ("1240", ["--lifetime", "120"]),
        ("1001", ["--lifetime", "1"]),
        ("900", ["--lifetime", "1"]),  # it is over in a moment
        ("N/A", []),
        ("", []),
    ],
)
def test_a_worker_of_slurm_leaves_before_its_time_limit(tmp_path, end, more):
    told = script(tmp_path, "--keys", "/shared/my keys", "--op", "my_ops:hiss:amount=2", "--op", "gain:db=-3", end=end)
    expected = ["worker", ADDRESS, "--once", "--allow", "my_ops:hiss", "--name", "slurm 4711_3 n17"]
    assert told == [*expected, "--keys", "/shared/my keys", *more]


def test_options_of_sbatch_stand_in_the_script_and_the_size_of_the_array_behind_them():
    text = printed(*SLURM, "--keys", "k", "--template-args", "--partition=long --array=1-9 --comment='a b'")
    directives = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "--job-name=zaudio",
        "--no-requeue",
        "--signal=B:TERM@60",
        "--partition=long --array=1-9 '--comment=a b'",
        "--array=1-3",
        '--output="zaudio-%A_%a.out"',
    ]


# Kubernetes


def test_a_job_is_valid_and_its_pods_may_do_nothing_but_compute(keys, documents):
    text = printed(*KUBERNETES, "--keys", keys, "--op", "my_ops:hiss")
    (job,) = documents(text)
    assert (job["spec"]["parallelism"], job["metadata"]["name"]) == (8, "zaudio-workers")
    pod = job["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"] + pod["initContainers"]:
        assert container["image"] == "registry/audio:1"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
    told = ["zaudio", "worker", ADDRESS, "--once", "--allow", "my_ops:hiss", "--name", "$(NODE)/$(POD)"]
    assert pod["containers"][0]["command"] == [*told, "--keys", "/keys"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secret"]["secret"] == {"secretName": "zaudio-studio-2", "defaultMode": 0o440}
    mounted = {mount["name"] for each in pod["containers"] + pod["initContainers"] for mount in each["volumeMounts"]}
    assert mounted == set(volumes)


def test_a_secret_is_printed_when_asked_for_alone(keys, documents):
    with open(f"{keys}/worker.secret", "rb") as file:
        content = file.read()
    shown = [content.decode().strip(), base64.b64encode(content).decode()]
    usual = printed(*KUBERNETES, "--keys", keys)
    assert not [text for text in shown if text in usual]
    secret, job = documents(printed(*KUBERNETES, "--keys", keys, "--with-secret"))
    assert secret["metadata"]["name"] == "zaudio-studio-2"
    assert base64.b64decode(secret["data"]["worker.secret"]) == content
    assert job["kind"] == "Job"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_kubectl_makes_the_secret_that_the_job_names(keys):
    first = printed(*KUBERNETES, "--keys", keys).splitlines()[0]
    command = [*shlex.split(first.removeprefix("# Its keys: ")), "--dry-run=client", "--output=json"]
    made = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert made["metadata"]["name"] == "zaudio-studio-2"
    for name in ("worker.secret", "coordinator.public"):
        with open(f"{keys}/{name}", "rb") as file:
            assert base64.b64decode(made["data"][name]) == file.read()


def test_keys_as_kubernetes_mounts_them_are_copied_so_that_a_worker_takes_them(tmp_path, keys):
    mounted, copies = tmp_path / "secret", tmp_path / "copies"
    (mounted / "..data").mkdir(parents=True)
    copies.mkdir()
    for name in ("worker.secret", "coordinator.public"):  # a link each, to a file that the group can read
        (mounted / "..data" / name).write_bytes((tmp_path / keys / name).read_bytes())
        (mounted / "..data" / name).chmod(0o440)
        (mounted / name).symlink_to(f"..data/{name}")
    command = COPY_KEYS.replace("/secret/", f"{shlex.quote(str(mounted))}/").replace(
        "/keys/", f"{shlex.quote(str(copies))}/"
    )
    subprocess.run(["sh", "-c", command], check=True)
    assert worker_keys(str(copies)) is not None
    assert {stat & 0o777 for stat in (os.stat(copies / name).st_mode for name in os.listdir(copies))} == {0o400}


# Both


@pytest.mark.parametrize("command", [SLURM, KUBERNETES])
def test_workers_beyond_this_machine_have_keys(command):
    done = run(*command)
    assert done.exit_code == 2
    assert f"{ADDRESS} is beyond this machine: give keys, --keys DIR" in done.output


def test_pods_are_not_told_an_address_of_this_machine():
    done = run("kubernetes", "--endpoint", "tcp://127.0.0.1:5555", "--image", "x")
    assert done.exit_code == 2
    assert "127.0.0.1:5555: pods cannot reach it" in done.output


def test_arguments_that_would_add_lines_to_a_script_are_refused():
    done = run(*SLURM, "--keys", "k", "--template-args", "'a\nb'")
    assert done.exit_code == 2
    assert "template-args: expected printable options of sbatch" in done.output
