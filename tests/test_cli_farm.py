import json
import os
import resource
import signal
import subprocess
import sys
from itertools import chain, combinations

import pytest
from click.testing import CliRunner
from extended import extended
from net_support import PATIENCE

import zaudio
from zaudio import Limits, Network, Playable, Progress, Raw, Report, Sealed, Security, State, events
from zaudio.cli import attending
from zaudio.cli import report as reports
from zaudio.cli.app import app
from zaudio.cli.farm import show_reading
from zaudio.coordinator import Coordinator as RealCoordinator
from zaudio.errors import ChunkError, FolderBusyError, InputChangedError, InputError, NoWorkerError, StoppedError
from zaudio.machine import usable_cores
from zaudio.net import starter as starters
from zaudio.result import make_identity
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream

PATHS = {key: f"out/{key}" for key in ("result", "key", "iv", "description")}
FIELDS = {
    "chunks": 2,
    "chunk_frames": 10,
    "frames": 20,
    "channels": 1,
    "samplerate": 44100,
    "format": "f32le",
    "bytes": 80,
    "seconds": 1.0,
    "workers": 1,
    "requeued": 0,
    "duplicates": 0,
    "rejected": 0,
    "paths": PATHS,
    "shares": {"a": 2},
    "resumed_chunks": 0,
    "audited": 0,
    "dropped": {},
    "recipient": "",
}
REPORT = Report(**FIELDS)


def progress(state, done):
    sizes = {"chunks": 2, "done": done, "bytes": 80, "bytes_done": 40 * done}
    return Progress(State(state), **sizes, workers=1, requeued=0, repeated=0, seconds=1.0)


class FakeCoordinator:
    """Goes through `steps`, one a call of `wait`, and then returns the report or raises `failure`."""

    made: list
    left: list
    used: list
    followed: list
    steps = (progress("waiting", 0), progress("running", 1), progress("publishing", 2))
    failure = None
    resumable = False
    entered = False
    endpoint = "tcp://127.0.0.1:40000"
    sink_endpoint = "tcp://127.0.0.1:40001"
    warnings = ()

    def __init__(self, input, output, **settings):
        self.made.append((input, output, settings))
        self._steps = list(self.steps)
        self.progress = progress("starting", 0)

    def use(self, starter):
        self.used.append(starter)

    def subscribe(self, size):
        return Stream(Ledger()).subscribe(size)

    @property
    def named(self):
        return self.made[-1][0], os.fspath(self.made[-1][1].path)

    def follow(self, function, size=1024):
        self.followed.append(function)

    def __enter__(self):
        self.entered = True
        return self

    def __exit__(self, kind, error, traceback):
        self.left.append(kind)

    def stop(self, *, wait=True):
        assert wait == self.entered, "a signal handler must not wait, and who watches must"
        self._steps, self.failure = [], StoppedError("the job was stopped before its end")

    def wait(self, timeout):
        assert 0 <= timeout <= 0.2  # the display must move
        if self._steps:
            self.progress = self._steps.pop(0)
            raise TimeoutError
        if self.failure is not None:
            raise self.failure
        self.progress = progress("done", 2)
        return REPORT


class FakeStarter:
    """A starter that is no process."""

    launched = []

    def __init__(self, *, preload=()):
        self.closed = False
        self.preload = preload
        self.launched.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True


@pytest.fixture
def coordinator(monkeypatch):
    class Fake(FakeCoordinator):
        made = []
        left = []
        used = []
        followed = []

    monkeypatch.setattr(zaudio, "Coordinator", Fake, raising=False)
    monkeypatch.setattr(starters, "Starter", FakeStarter)
    monkeypatch.setattr(FakeStarter, "launched", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Fake


DEFAULTS = {
    "ops": ("invert",),
    "bind": None,
    "chunk": None,
    "overwrite": False,
    "fresh": False,
    "raw": Raw(),
    "network": Network(),
    "security": Security(),
    "limits": Limits(),
}


def test_farm_takes_the_documented_defaults(coordinator):
    done = CliRunner().invoke(app, ["farm", "take.wav"])
    assert done.exit_code == 0, done.output
    settings = DEFAULTS | {"workers": usable_cores()}
    assert coordinator.made == [("take.wav", Sealed("generated_data"), settings)]
    assert coordinator.left == [None]
    assert coordinator.used == FakeStarter.launched


def test_farm_passes_every_option_on(coordinator):
    line = (
        "farm take.raw -o out -n 3 --op gain:db=-3 --op invert --chunk 1MiB --memory 64MiB --samplerate 8000 "
        "--channels 2 --format s16le --overwrite --fresh --forward --inside wav "
        "--bind tcp://127.0.0.1:0 --sink-bind tcp://127.0.0.1:0 "
        "--advertise farm.example --keys k --worker-timeout 2.5 --chunk-timeout 7.5 --sockets-only "
        "--audit 2.5 --recipient pub.txt --identity me.identity"
    )
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert coordinator.made == [
        (
            "take.raw",
            Sealed("out", forward=True, inside="wav"),
            {
                "workers": 3,
                "ops": ("gain:db=-3", "invert"),
                "bind": "tcp://127.0.0.1:0",
                "chunk": "1MiB",
                "overwrite": True,
                "fresh": True,
                "raw": Raw(samplerate=8000, channels=2, format="s16le"),
                "network": Network(sink_bind="tcp://127.0.0.1:0", advertise="farm.example", sockets_only=True),
                "security": Security(keys="k", recipient="pub.txt", identity="me.identity", audit=2.5),
                "limits": Limits(memory="64MiB", worker_timeout=2.5, chunk_timeout=7.5),
            },
        )
    ]


def test_render_makes_a_file_and_its_format_is_that_of_the_file(coordinator, monkeypatch):
    monkeypatch.setattr(zaudio, "Rendering", coordinator)
    line = "render take.raw out.flac -n 2 --op gain:db=-3 --format s24le --dither --input-format s16be --channels 2"
    done = CliRunner().invoke(app, [*line.split(), "--input-key", "k", "--input-identity", "i"])
    assert done.exit_code == 0, done.output
    ((recording, output, settings),) = coordinator.made
    assert (recording, output) == ("take.raw", Playable("out.flac", format="s24le", dither=True))
    assert settings["raw"] == Raw(format="s16be", channels=2)
    assert settings["security"] == Security(input_key="k", input_identity="i")
    assert settings["ops"] == ("gain:db=-3",)


def test_seal_is_a_chain_of_no_ops_with_a_wav_inside_and_forward(coordinator):
    done = CliRunner().invoke(app, ["seal", "take.wav", "vault", "-n", "1"])
    assert done.exit_code == 0, done.output
    ((recording, output, settings),) = coordinator.made
    assert (recording, output, settings["ops"]) == ("take.wav", Sealed("vault", forward=True, inside="wav"), ())
    CliRunner().invoke(app, ["seal", "take.wav", "vault", "-n", "1", "--reversed", "--inside", "raw"])
    assert coordinator.made[-1][1] == Sealed("vault")


@pytest.mark.parametrize("name", ["out.wav", "out.wav.part", "out.wav.part.journal"])
def test_a_report_does_not_go_where_the_file_does(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["render", "take.raw", "out.wav", "--report", name])
    assert done.exit_code == 2
    assert "that name belongs to the result" in done.stderr
    assert os.listdir(tmp_path) == []


def test_coordinator_starts_no_worker_and_says_how_to_start_one(coordinator):
    done = CliRunner().invoke(app, ["coordinator", "take.raw", "--bind", "tcp://127.0.0.1:0"])
    assert done.exit_code == 0
    settings = DEFAULTS | {"workers": 0, "bind": "tcp://127.0.0.1:0"}
    assert coordinator.made == [("take.raw", Sealed("generated_data"), settings)]
    assert FakeStarter.launched == coordinator.used == []
    hint = "workers connect with: zaudio worker tcp://127.0.0.1:40000\n"
    assert done.stderr.count(hint) == 1


def test_coordinator_with_keys_says_that_workers_need_theirs(coordinator):
    done = CliRunner().invoke(app, ["coordinator", "take.raw", "--bind", "tcp://127.0.0.1:0", "--keys", "k"])
    assert "workers connect with: zaudio worker tcp://127.0.0.1:40000 --keys DIR\n" in done.stderr


@pytest.mark.parametrize("failure", [None, InputError("take.raw", "no such file")])
def test_starter_is_launched_once_and_closed_at_the_end(coordinator, failure):
    coordinator.failure = failure
    CliRunner().invoke(app, ["farm", "take.raw"])
    assert [starter.closed for starter in FakeStarter.launched] == [True]


def test_coordinator_has_no_local_workers_that_could_be_reached_over_sockets_only(coordinator):
    done = CliRunner().invoke(app, ["coordinator", "take.raw", "--bind", "tcp://127.0.0.1:0", "--sockets-only"])
    assert done.exit_code == 2
    assert "--sockets-only" in done.stderr
    assert coordinator.made == []


# Options that go together, and options that do not

BINDS = [(), ("--bind", "tcp://127.0.0.1:0"), ("--bind", "tcp://0.0.0.0:0")]
TOGETHER = [
    ("--sink-bind", "tcp://127.0.0.1:0"),
    ("--advertise", "farm.example"),
    ("--keys", "keys"),
    ("--insecure",),
    ("--recipient", "me.public"),
    ("--identity", "me.identity"),
    ("--sockets-only",),
]
CONTRADICTIONS = [  # options, options that are missing beside them, the sentence
    ({"--sink-bind"}, {"--bind"}, "--sink-bind (Network(sink_bind=)) goes with --bind"),
    ({"--advertise"}, {"--bind"}, "--advertise (Network(advertise=)) goes with --bind"),
    ({"--keys", "--insecure"}, set(), "keys and insecure exclude each other"),
    ({"tcp://0.0.0.0:0"}, {"--keys", "--insecure"}, "make keys with `zaudio keys init` and pass --keys DIR"),
    ({"--identity"}, {"--recipient"}, "an identity goes with a recipient; pass --recipient "),
]


@pytest.mark.parametrize("bind", BINDS, ids=["no bind", "loopback", "all addresses"])
def test_options_are_refused_exactly_when_they_contradict_each_other(tmp_path, monkeypatch, coordinator, bind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me.public").write_text(f"{make_identity('me.identity')}\n")

    class Checked(coordinator):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            RealCoordinator(*arguments, **settings)  # checks its settings, and opens nothing

    monkeypatch.setattr(zaudio, "Coordinator", Checked)
    for size in range(len(TOGETHER) + 1):
        for chosen in combinations(TOGETHER, size):
            given = [*bind, *chain.from_iterable(chosen)]
            done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none", *given])
            sentences = [why for there, missing, why in CONTRADICTIONS if there <= {*given} and not missing & {*given}]
            assert done.exit_code == (2 if sentences else 0), given
            assert bool(sentences) == any(why in done.stderr for why in sentences), (given, done.stderr)


def test_farm_alone_tells_no_address(coordinator):
    assert "workers connect with" not in CliRunner().invoke(app, ["farm", "take.raw"]).stderr


def test_the_report_goes_to_standard_output_and_progress_to_standard_error(coordinator):
    done = CliRunner().invoke(app, ["farm", "take.raw", "-o", "out"])
    assert done.stdout.startswith("published out/result\n")
    assert "zaudio decrypt out --key out/key\n" in done.stdout
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "starting",
        "waiting for workers",
        "running",
        "publishing",
        "done",
    ]


def test_json_progress_is_one_object_a_line(coordinator):
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "json"])
    states = [json.loads(line)["state"] for line in done.stderr.splitlines()]
    assert states == ["starting", "waiting", "running", "publishing", "done"]


def test_no_progress_leaves_the_report(coordinator):
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert done.stderr == ""
    assert done.stdout.startswith("published")


def test_quiet_prints_nothing_and_still_writes_the_report(coordinator, tmp_path):
    coordinator.warnings = ("sizes disagree",)
    path = tmp_path / "report.json"
    line = [
        "coordinator",
        "take.raw",
        "--bind",
        "tcp://127.0.0.1:0",
        "-q",
        "--progress",
        "plain",
        "--report",
        str(path),
    ]
    done = CliRunner().invoke(app, line)
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads(path.read_text()) == json.loads(REPORT.to_json())


def test_each_warning_is_printed_once_also_one_that_comes_late(coordinator):
    known = ["at the start"]

    def warnings(self):
        if self.progress.state == "publishing" and len(known) == 1:
            known.append("late")
        return tuple(known)

    coordinator.warnings = property(warnings)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert done.stderr == "zaudio: warning: at the start\nzaudio: warning: late\n"


def test_a_report_that_could_not_be_written_stops_the_job_before_it_starts(coordinator, tmp_path):
    done = CliRunner().invoke(app, ["farm", "take.raw", "--report", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"zaudio: --report {tmp_path}: not a regular file")
    assert coordinator.made == []


def test_events_go_to_a_log_and_the_report_to_standard_output(coordinator, tmp_path):
    done = CliRunner().invoke(app, ["farm", "take.raw", "--events", str(tmp_path / "events.jsonl")])
    assert done.exit_code == 0, done.output
    reading, log = coordinator.followed
    assert (reading, type(log.__self__).__name__) == (show_reading, "EventLog")
    assert "published out/result" in done.stdout


def test_a_page_needs_descriptors_besides_those_of_the_workers(coordinator, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (43, 43))
    arguments = ["farm", "take.raw", "-n", "2"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    coordinator.left.clear()
    done = CliRunner().invoke(app, [*arguments, "--web", "0"])
    assert (done.exit_code, coordinator.left) == (2, [])
    assert "with 2 workers and a page it needs 45; take at most 1 worker (-n), or raise it" in done.stderr


def test_a_quiet_job_has_nobody_that_its_events_would_wake(coordinator):
    assert CliRunner().invoke(app, ["farm", "take.raw", "--quiet"]).exit_code == 0
    assert coordinator.followed == []


def test_a_recording_s_reading_is_shown_until_the_job_begins(capsys):
    stream = Stream(Ledger())
    with stream.subscribe() as told:
        for seconds in (0.0, 10.0):
            read = int(seconds * 1e6)
            stream.publish(events.Reading(at=seconds, job="", verb="decoding", bytes=read, total=20_000_000))
        stream.publish(
            events.Started(
                at=11.0, job="ab", chunks=1, chunk_frames=1, frames=1, channels=1, samplerate=1, format="f32le", bytes=4
            )
        )
        show_reading(told)  # it returns although the stream goes on: each event of a chunk would wake it
    assert capsys.readouterr().err == "decoding: 50% of 20 MB\n"


def test_the_report_goes_to_standard_error_when_events_go_to_standard_output(coordinator):
    done = CliRunner().invoke(app, ["farm", "take.raw", "--events", "-"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "published out/result" in done.stderr


@pytest.mark.parametrize(
    ("content", "more", "reason"),
    [
        (b"RIFF", [], "holds something else than a log of events"),
        (b"", ["--report", "events.jsonl"], "the report goes to that file"),
        (b"", ["--key-out", "events.jsonl"], "the key goes to that file"),
    ],
)
def test_a_log_that_could_not_be_written_stops_the_job_before_it_starts(
    coordinator, tmp_path, monkeypatch, content, more, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.jsonl").write_bytes(content)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--events", "events.jsonl", *more])
    assert done.exit_code == 2
    assert "events.jsonl" in done.stderr
    assert reason in done.stderr
    assert coordinator.made == []


def test_no_log_takes_the_place_of_the_input_or_of_the_result(coordinator, tmp_path):
    take = tmp_path / "take.raw"
    take.write_bytes(b"")
    for name in (take, tmp_path / "out" / "result.raw", tmp_path):
        done = CliRunner().invoke(app, ["farm", str(take), "-o", str(tmp_path / "out"), "--events", str(name)])
        assert (done.exit_code, coordinator.made) == (2, [])
        assert f"--events {name}" in done.stderr


def test_no_report_is_written_by_a_job_that_failed(coordinator, tmp_path):
    coordinator.failure = NoWorkerError("no worker for 30 s")
    done = CliRunner().invoke(app, ["farm", "take.raw", "--report", str(tmp_path / "report.json")])
    assert (done.exit_code, done.stdout) == (69, "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [(InputError("take.raw", "no such file"), 3), (ChunkError(1, 0, 10, ("boom",)), 1), (NoWorkerError("nobody"), 69)],
)
def test_a_failed_job_is_one_line_and_its_exit_code(coordinator, failure, code):
    coordinator.failure = failure
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"zaudio: {failure}\n")
    assert coordinator.left == [type(failure)]


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        (["farm", "take.raw", "-o", "vault"], "; or name another folder with -o DIR"),
        (["seal", "take.raw", "vault"], "; or name another folder as DIR"),
        (["farm", "vault", "-o", "out"], ""),
    ],
)
def test_a_folder_that_another_job_holds_is_told_with_what_can_be_typed(coordinator, line, remedy):
    coordinator.failure = FolderBusyError("vault")
    done = CliRunner().invoke(app, [*line, "--progress", "none"])
    told = f"zaudio: vault: another zaudio job is writing to this folder; wait for its end{remedy}\n"
    assert (done.exit_code, done.stderr) == (2, told)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_job(coordinator, monkeypatch, number, code):
    def wait(self, timeout):
        assert self.left == []
        if self.failure is not None:  # it was stopped
            raise self.failure
        signal.raise_signal(number)
        raise TimeoutError

    monkeypatch.setattr(coordinator, "wait", wait)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert len(coordinator.left) == 1
    assert coordinator.left[0] is not None


def test_a_signal_during_the_start_stops_what_was_started(coordinator, monkeypatch):
    def enter(self):
        signal.raise_signal(signal.SIGINT)
        self.entered = True
        return self

    monkeypatch.setattr(coordinator, "__enter__", enter)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "zaudio: interrupted\n")
    assert coordinator.left == [KeyboardInterrupt]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_start_that_takes_long(coordinator, monkeypatch, number, code):
    stopped = []

    def enter(self):
        signal.raise_signal(number)
        assert stopped == [False]
        raise StoppedError("the job was stopped before its end")

    monkeypatch.setattr(coordinator, "stop", lambda self, *, wait: stopped.append(wait))
    monkeypatch.setattr(coordinator, "__enter__", enter)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr in ("zaudio: interrupted\n", "zaudio: terminated\n")


def test_a_job_that_ends_with_something_done_says_that_the_same_command_goes_on(coordinator):
    coordinator.failure = ChunkError(1, 0, 10, ("boom",))
    coordinator.resumable = True
    done = CliRunner().invoke(app, ["farm", "take.raw", "-o", "o", "--progress", "none"])
    assert done.stderr == (
        f"zaudio: {coordinator.failure}; what is done is kept in o, and the same command goes on from there\n"
    )
    assert done.exit_code == 1


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ("--fresh", "the same command without --fresh goes on"),
        ("--recipient pub.txt", "the same command with --identity FILE goes on"),
        ("--recipient pub.txt --identity me", "the same command goes on"),
        ("--fresh --recipient pub.txt", "the same command without --fresh and with --identity FILE goes on"),
    ],
)
def test_what_the_same_command_would_discard_or_could_not_read_is_said_to_be_changed(coordinator, options, command):
    coordinator.failure = ChunkError(1, 0, 10, ("boom",))
    coordinator.resumable = True
    done = CliRunner().invoke(app, ["farm", "take.raw", "-o", "o", "--progress", "none", *options.split()])
    assert done.stderr == f"zaudio: {coordinator.failure}; what is done is kept in o, and {command} from there\n"


def test_a_job_whose_input_changed_does_not_say_that_it_can_be_resumed(coordinator):
    coordinator.failure = InputChangedError("take.raw", "was written to since it was opened")
    coordinator.resumable = True
    done = CliRunner().invoke(app, ["farm", "take.raw", "-o", "o", "--progress", "none"])
    assert done.stderr == f"zaudio: {coordinator.failure}\n"


def test_a_signal_during_the_publication_comes_too_late(coordinator, monkeypatch):
    def wait(self, timeout):
        if timeout == 0:  # it was asked to stop, and could not
            return REPORT
        signal.raise_signal(signal.SIGINT)
        raise TimeoutError

    monkeypatch.setattr(coordinator, "wait", wait)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert done.exit_code == 0
    assert done.stdout.startswith("published")


def test_a_signal_after_the_publication_does_not_unmake_it(coordinator, monkeypatch):
    def wait(self, timeout):
        signal.raise_signal(signal.SIGINT)
        return REPORT

    monkeypatch.setattr(coordinator, "wait", wait)
    done = CliRunner().invoke(app, ["farm", "take.raw"])
    assert done.exit_code == 0
    assert done.stdout.startswith("published")


def test_a_signal_while_the_report_is_written_comes_too_late(coordinator, monkeypatch, tmp_path):
    write = reports.write
    monkeypatch.setattr(reports, "write", lambda *of: (signal.raise_signal(signal.SIGINT), write(*of)))
    done = CliRunner().invoke(app, ["farm", "take.raw", "--report", str(tmp_path / "report.json")])
    assert done.exit_code == 0
    assert done.stdout.startswith("published")
    assert (tmp_path / "report.json").exists()


def test_a_warning_that_comes_with_the_end_stands_in_front_of_the_error(coordinator, monkeypatch):
    def wait(self, timeout):
        monkeypatch.setattr(coordinator, "warnings", ("attic: it is out",))
        raise NoWorkerError("none can come")

    monkeypatch.setattr(coordinator, "wait", wait)
    done = CliRunner().invoke(app, ["farm", "take.raw", "--progress", "none"])
    assert done.exit_code == 69
    assert done.stderr.splitlines() == ["zaudio: warning: attic: it is out", "zaudio: none can come"]


def test_the_display_is_polled_often_enough_to_look_fluent():
    assert 0 < attending.POLL <= 0.2


REAL = """
import sys, threading, zaudio
from dataclasses import replace
from zaudio import Progress, State
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream
class Coordinator:
    warnings = ()
    resumable = False
    polls = 0
    progress = Progress(
        State.RUNNING, chunks=2, done=0, bytes=8, bytes_done=0, workers=1, requeued=0, repeated=0, seconds=1.0
    )
    def __init__(self, *_, **__): pass
    def use(self, starter): pass
    def follow(self, function): pass
    def subscribe(self, size): return Stream(Ledger()).subscribe(size)
    def stop(self, *, wait=True): pass
    def __enter__(self):
        print("started", flush=True)
        return self
    def __exit__(self, *_): print("stopped", flush=True)
    def wait(self, timeout):
        self.polls += 1
        # A new state at each poll, so that plain lines come too.
        self.progress = replace(self.progress, state=(State.RUNNING, State.WAITING)[self.polls % 2])
        if self.polls == 5:
            print("polled", flush=True)
        threading.Event().wait(timeout)
        raise TimeoutError
zaudio.Coordinator = Coordinator
from zaudio.cli import main
sys.argv = ["zaudio", "farm", "take.raw", "--progress", sys.argv[1]]
main()
"""


@pytest.mark.parametrize(
    ("number", "code", "mode"),
    [
        (signal.SIGINT, 130, "bar"),
        (signal.SIGTERM, 143, "none"),
        *(extended(signal.SIGINT, 130, mode) for mode in ("none", "plain")),
        *(extended(signal.SIGTERM, 143, mode) for mode in ("plain", "bar")),
    ],
)
def test_a_real_signal_stops_a_real_farm_command(mode, number, code):
    command = [sys.executable, "-c", REAL, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "stopped\n")
    assert err.splitlines()[-1] == ("zaudio: interrupted" if number == signal.SIGINT else "zaudio: terminated")
    assert "Traceback" not in err


def test_a_farm_outlives_whoever_read_its_progress():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-c", REAL, "plain"]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writing, text=True, env=buffered) as process:
            assert process.stdout.readline() == "started\n"
            assert process.stdout.readline() == "polled\n"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
    finally:
        os.close(writing)
    assert process.returncode == 143
