import os
import signal
import subprocess
import sys
import types

import pytest
from click.testing import CliRunner
from extended import extended
from net_support import PATIENCE

import zaudio
from zaudio.cli.app import app
from zaudio.cli.exit import Terminated
from zaudio.errors import NoCoordinatorError, RefusedError
from zaudio.ops import beside
from zaudio.program import THREADS

ENDPOINT = "tcp://127.0.0.1:5555"


class FakeWorker:
    made: list

    def __init__(self, endpoint, **settings):
        self.stopped = False
        self.made.append((endpoint, settings))

    def run(self):
        self.during()

    def during(self):
        pass

    def stop(self):
        self.stopped = True


@pytest.fixture
def worker(monkeypatch):
    class Fake(FakeWorker):
        made = []

    monkeypatch.setattr(zaudio, "Worker", Fake, raising=False)
    for name in THREADS:
        monkeypatch.setenv(name, "1")  # the command sets them, and they are to be as they were afterwards
    return Fake


@pytest.fixture
def supervise(monkeypatch):
    module = types.ModuleType("zaudio.net.supervisor")
    module.calls = []
    module.during = lambda: None

    def supervise(endpoint, processes, **settings):
        module.calls.append((endpoint, processes, settings))
        module.during()

    module.supervise = supervise
    monkeypatch.setitem(sys.modules, "zaudio.net.supervisor", module)
    return module


DEFAULTS = {"allow": (), "read": (), "name": None, "once": False, "lifetime": None, "idle_timeout": None, "keys": None}


def test_one_worker_runs_in_this_process(worker, supervise):
    done = CliRunner().invoke(app, ["worker", ENDPOINT])
    assert (done.exit_code, done.output) == (0, "")
    assert worker.made == [(ENDPOINT, DEFAULTS)]
    assert supervise.calls == []


def test_libraries_compute_in_one_thread_unless_the_user_says_otherwise(worker, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    CliRunner().invoke(app, ["worker", ENDPOINT])
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "3")


def test_options_are_passed_on(worker, tmp_path):
    arguments = ["worker", ENDPOINT, "--allow", "my_ops", "--allow", "more:louder", "--name", "attic", "--once"]
    arguments += ["--read", str(tmp_path), "--read", "/", "--lifetime", "3600", "--idle-timeout", "0.5", "--keys", "k"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    ((endpoint, settings),) = worker.made
    assert endpoint == ENDPOINT
    assert settings == {
        "allow": ("my_ops", "more:louder"),
        "read": (str(tmp_path), "/"),
        "name": "attic",
        "once": True,
        "lifetime": 3600.0,
        "idle_timeout": 0.5,
        "keys": "k",
    }


def test_several_workers_are_supervised(worker, supervise, tmp_path):
    arguments = ["worker", ENDPOINT, "-n", "3", "--allow", "a", "--read", str(tmp_path), "--lifetime", "9"]
    assert CliRunner().invoke(app, [*arguments, "--keys", "k"]).exit_code == 0
    settings = DEFAULTS | {"allow": ("a",), "read": (str(tmp_path),), "lifetime": 9.0, "keys": "k"}
    assert supervise.calls == [(ENDPOINT, 3, settings)]
    assert worker.made == []


@pytest.mark.parametrize("what", ["missing", "a file"])
def test_what_is_no_folder_cannot_be_read_from(worker, tmp_path, what):
    (tmp_path / "a file").touch()
    done = CliRunner().invoke(app, ["worker", ENDPOINT, "--read", str(tmp_path / what)])
    assert done.exit_code == 2
    assert f"{tmp_path}/{what}" in done.stderr
    assert worker.made == []


def test_sigterm_asks_the_worker_to_leave_and_exits_zero(worker):
    seen = []

    def during(self):
        signal.raise_signal(signal.SIGTERM)
        seen.append(self.stopped)

    worker.during = during
    done = CliRunner().invoke(app, ["worker", ENDPOINT])
    assert seen == [True]
    assert (done.exit_code, done.output) == (0, "")


def test_sigint_asks_the_worker_to_leave_and_exits_130(worker):
    seen = []

    def during(self):
        signal.raise_signal(signal.SIGINT)
        seen.append(self.stopped)

    worker.during = during
    done = CliRunner().invoke(app, ["worker", ENDPOINT])
    assert seen == [True]
    assert (done.exit_code, done.stderr) == (130, "zaudio: interrupted\n")


def test_sigterm_unwinds_a_supervisor_and_exits_zero(supervise):
    unwound = []

    def during():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Terminated:
            unwound.append(True)
            raise

    supervise.during = during
    assert CliRunner().invoke(app, ["worker", ENDPOINT, "-n", "2"]).exit_code == 0
    assert unwound == [True]


def test_sigint_unwinds_a_supervisor_and_exits_130(supervise):
    supervise.during = lambda: signal.raise_signal(signal.SIGINT)
    assert CliRunner().invoke(app, ["worker", ENDPOINT, "-n", "2"]).exit_code == 130


@pytest.mark.parametrize("processes", ["1", "2"])
def test_sigterm_that_is_swallowed_while_modules_are_imported_ends_it_all_the_same(
    worker, supervise, monkeypatch, processes
):
    def swallow(_):
        try:
            signal.raise_signal(signal.SIGTERM)
        except Terminated:
            pass

    seen = []
    worker.during = lambda self: seen.append(self.stopped)
    supervise.during = lambda: seen.append("it has begun")
    monkeypatch.setattr(beside, "find_beside", swallow)
    done = CliRunner().invoke(app, ["worker", ENDPOINT, "-n", processes])
    assert (done.exit_code, done.output) == (0, "")
    assert seen == ([True] if processes == "1" else [])


@pytest.mark.parametrize(("command", "code"), [("worker", 0), ("coordinator", 143)])
def test_sigterm_while_the_arguments_are_read_ends_a_command_as_later(worker, monkeypatch, command, code):
    monkeypatch.setattr(app.commands[command], "parse_args", lambda *_: signal.raise_signal(signal.SIGTERM))
    done = CliRunner().invoke(app, [command, ENDPOINT])
    assert (done.exit_code, done.output) == (code, "" if code == 0 else "zaudio: terminated\n")
    assert worker.made == []


EARLY = """
import builtins, sys, time, zaudio.cli
real = builtins.__import__
def slow(name, *rest, **more):
    if name == "zaudio.cli.app":
        print("importing", flush=True)
        time.sleep(60)
    return real(name, *rest, **more)
builtins.__import__ = slow
zaudio.cli.main()
"""


@pytest.mark.covers(
    "SIGTERM before the command has handlers",
    number=13,
    bound="exit 0",
    measured="from some 40 ms after the start on; before, Python itself has not begun",
    removed="`cli/__init__.py`: `signal.signal(signal.SIGTERM, ...)`",
)
@pytest.mark.parametrize(("command", "code"), [("worker", 0), ("farm", 143)])
def test_sigterm_before_a_command_has_come_to_handle_it_ends_it_as_later(command, code):
    line = [sys.executable, "-c", EARLY, command, ENDPOINT]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (code, "")


@pytest.mark.parametrize(
    ("error", "code"), [(RefusedError("refused: protocol version 2"), 77), (NoCoordinatorError(ENDPOINT, 5.0), 69)]
)
def test_an_error_is_one_line_and_its_exit_code(worker, error, code):
    def during(self):
        raise error

    worker.during = during
    done = CliRunner().invoke(app, ["worker", ENDPOINT])
    assert (done.exit_code, done.stderr) == (code, f"zaudio: {error}\n")


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://127.0.0.1:0", "tcp://127.0.0.1", "ipc://"])
def test_an_odd_endpoint_is_a_usage_error_with_an_example(worker, endpoint):
    done = CliRunner().invoke(app, ["worker", endpoint])
    assert done.exit_code == 2
    assert "tcp://127.0.0.1:5555" in done.stderr
    assert worker.made == []


REAL = f"""
import sys, threading, zaudio
class Worker:
    def __init__(self, *_, **__): self.left = threading.Event()
    def run(self):
        print("running", flush=True)
        self.left.wait()
    def stop(self): self.left.set()
zaudio.Worker = Worker
from zaudio.cli import main
sys.argv = ["zaudio", "worker", "{ENDPOINT}"]
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), extended(signal.SIGINT, 130)])
def test_a_real_signal_wakes_a_waiting_worker(number, code):
    command = [sys.executable, "-c", REAL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert "Traceback" not in err
