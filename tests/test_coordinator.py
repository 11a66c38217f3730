"""What a Coordinator refuses and promises before it starts. Whole jobs are tested in tests/integration."""

import gc
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import zmq
from net_support import PATIENCE, descriptors, sigint_beside, wait_until

from zaudio import Coordinator, InputError, Limits, Network, Raw, Security, Timing, UsageError
from zaudio.errors import ConflictError, EndpointError, ExposedError, KeyFileError, NoWorkerError, StoppedError
from zaudio.job import life, staffing
from zaudio.net.farm import Farm
from zaudio.net.keys import add_worker, init
from zaudio.records import Schedule
from zaudio.result import make_identity


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.raw"
    np.zeros(100, "<f4").tofile(path)
    return path


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": 0}, "no local workers and nowhere for others to connect"),
        ({"workers": -1}, "expected 0 or more, got -1"),
        ({"ops": ["invert"] * 33}, "a chain has up to 32 ops, not 33"),
        ({"ops": "no such:op"}, "no such"),
        ({"ops": lambda array: array}, "finds in its module by name"),
        ({"bind": "localhost"}, "expected tcp://HOST:PORT"),
        ({"network": Network(sink_bind="tcp://127.0.0.1:0")}, "--sink-bind .* goes with --bind"),
        ({"limits": Limits(chunk_timeout=5), "timing": Timing()}, "chunk_timeout and timing exclude each other"),
    ],
)
def test_argument_that_cannot_be_used_is_refused_before_anything_is_opened(tmp_path, recording, settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        Coordinator(recording, tmp_path / "out", **{"workers": 1, **settings}).start()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ops": "nonsense"}, "nonsense"),
        ({"ops": "gain:db=loud"}, "gain"),
        ({"chunk": "a bit"}, "chunk"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_argument_that_does_not_fit_the_recording_is_refused_before_the_output_is_touched(
    tmp_path, recording, settings, sentence
):
    with pytest.raises(UsageError, match=sentence):
        Coordinator(recording, tmp_path / "out", workers=1, **settings).start()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["missing", "folder", "odd"])
def test_recording_that_is_none_is_refused_before_the_output_is_touched(tmp_path, what):
    path = tmp_path / "x.raw"
    if what == "folder":
        path.mkdir()
    elif what == "odd":
        path.write_bytes(bytes(401))
    with pytest.raises(InputError):
        Coordinator(path, tmp_path / "out", workers=1).start()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["result.raw", "result.raw.part", "result.journal", "result.commit"])
def test_input_that_the_result_would_replace_is_refused(tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(bytes(400))
    with pytest.raises(UsageError, match="is the input and would be replaced"):
        Coordinator(out / name, out, workers=1, overwrite=True, raw=Raw(format="f32le")).start()
    assert (out / name).read_bytes() == bytes(400)


def test_a_measurement_that_is_stopped_leaves_no_folder(tmp_path, recording):
    with Coordinator(recording, tmp_path / "out", ops="loudnorm", bind="tcp://127.0.0.1:0") as job:
        assert job.progress.stage == "measuring for loudnorm"
        assert (tmp_path / "out").exists()
    assert not (tmp_path / "out").exists()


def test_before_the_start_there_is_no_endpoint_and_no_progress(tmp_path, recording):
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    assert (job.endpoint, job.sink_endpoint, job.warnings) == (None, None, ())
    assert (job.progress.state, job.progress.chunks, job.progress.seconds) == ("starting", 0, 0.0)


def test_without_bind_there_is_no_endpoint(tmp_path, recording):
    with Coordinator(recording, tmp_path / "out", workers=1) as job:
        assert (job.endpoint, job.sink_endpoint) == (None, None)


EXPOSED = [{"bind": "tcp://0.0.0.0:0"}, {"bind": "tcp://*:0"}, {"bind": "tcp://[::]:0"}, {"bind": "tcp://10.0.0.1:1"}]
EXPOSED += [
    {"bind": "tcp://127.0.0.1:0", "network": Network(sink_bind="tcp://0.0.0.0:0")},
    {"bind": "tcp://eth0:1", "workers": 2},
]


@pytest.mark.covers("Non-loopback bind without keys")
@pytest.mark.parametrize("binds", EXPOSED)
def test_bind_beyond_this_machine_without_keys_is_refused_before_anything_is_touched(tmp_path, recording, binds):
    with pytest.raises(ExposedError, match=r"zaudio keys init.* --keys DIR .*--insecure"):
        Coordinator(recording, tmp_path / "out", **binds)
    assert not (tmp_path / "out").exists()


def test_bind_beyond_this_machine_is_warned_of_when_it_is_insisted_on(tmp_path, recording):
    with Coordinator(recording, tmp_path / "out", bind="tcp://0.0.0.0:0", security=Security(insecure=True)) as job:
        (warning,) = job.warnings
    assert warning.startswith("tcp://0.0.0.0:0: whoever can reach this address can take part")


def test_bind_beyond_this_machine_with_keys_needs_no_warning(tmp_path, recording):
    init(str(tmp_path / "keys"))
    add_worker(str(tmp_path / "keys"), "studio")
    security = Security(keys=tmp_path / "keys")
    with Coordinator(recording, tmp_path / "out", bind="tcp://0.0.0.0:0", security=security) as job:
        assert job.warnings == ()


def test_keys_of_no_worker_at_all_are_warned_of(tmp_path, recording):
    init(str(tmp_path / "keys"))
    security = Security(keys=tmp_path / "keys")
    with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0", security=security) as job:
        (warning,) = job.warnings
    assert warning.startswith("no worker is admitted yet; `zaudio keys worker NAME --keys ")


def test_folder_without_keys_is_refused_before_anything_is_touched(tmp_path, recording):
    with pytest.raises(KeyFileError, match=r"coordinator\.secret: there is no such file"):
        Coordinator(recording, tmp_path / "out", workers=1, security=Security(keys=tmp_path / "nowhere")).start()
    assert not (tmp_path / "out").exists()


def test_identity_that_would_not_be_of_use_is_refused(tmp_path, recording):
    mine, theirs = (str(make_identity(tmp_path / name)) for name in ("me", "they"))
    with pytest.raises(UsageError, match=f"pass --recipient {mine} .* too, or neither"):
        Coordinator(recording, tmp_path / "out", security=Security(identity=tmp_path / "me"))
    with pytest.raises(UsageError, match=f"the identity is that of {mine}, and the recipient is another"):
        Coordinator(recording, tmp_path / "out", security=Security(recipient=theirs, identity=tmp_path / "me"))
    Coordinator(recording, tmp_path / "out", security=Security(recipient=mine, identity=tmp_path / "me"))


@pytest.mark.covers(
    "A peer that talks faster than anybody listens",
    bound="heartbeats, deadlines and exit 69 come all the same",
    measured="as told",
    removed="`farm.py`: `if now >= (due if drained else due + ...)`",
)
def test_peer_that_talks_faster_than_anybody_listens_does_not_stop_the_clock(tmp_path, recording, monkeypatch):
    monkeypatch.setattr(Farm, "_drain", lambda *_: False)  # there is always more
    timing = Timing(heartbeat=0.05, chunk_timeout=1.0, worker_timeout=0.5)
    with zmq.Context() as context, context.socket(zmq.DEALER) as talker:
        talker.linger = 0
        with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0", timing=timing) as job:
            talker.connect(job.endpoint)
            talker.send(b"and another thing")
            with pytest.raises(NoWorkerError):
                job.wait(timeout=PATIENCE)


# The start and the end


def test_a_start_that_failed_is_not_kept_until_the_program_ends(tmp_path, recording):
    bind = "tcp://192.0.2.1:1"  # an address that is not this machine's
    job = Coordinator(recording, tmp_path / "out", bind=bind, security=Security(insecure=True))
    with pytest.raises(EndpointError):
        job.start()
    known = weakref.ref(job)
    del job
    gc.collect()
    assert known() is None


def test_stop_of_another_thread_during_the_start_ends_it(tmp_path, recording, monkeypatch):
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")

    class Stopped(Farm):
        def __init__(self, *args, **kwargs):
            job.stop()  # the last instant at which there is nothing yet that could be told
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(staffing, "Farm", Stopped)
    try:
        with pytest.raises(StoppedError):
            job.start()
    finally:
        job.stop()
    assert not (tmp_path / "out").exists()


def test_ctrl_c_when_the_thread_of_the_job_has_begun_stops_the_job(tmp_path, recording, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(life.atexit, "register", interrupt)
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    with pytest.raises(KeyboardInterrupt):
        job.start()
    assert (job.done(), job.state) == (True, "stopped")
    assert isinstance(job.exception(), StoppedError | KeyboardInterrupt)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wait", "stop"),
    [(Coordinator.wait, Farm.stop), (Coordinator.stop, lambda farm: None)],  # the job outlasts the wait for its end
)
def test_a_signal_that_the_system_gives_to_another_thread_ends_a_wait(tmp_path, recording, monkeypatch, wait, stop):
    with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0") as job, monkeypatch.context() as patched:
        patched.setattr(Farm, "stop", stop)
        with sigint_beside(wait), pytest.raises(KeyboardInterrupt):
            wait(job)


def test_a_signal_that_the_system_gives_to_another_thread_ends_a_start(tmp_path, recording, monkeypatch):
    class Late(Farm):
        def __enter__(self):
            wait_until(lambda: self._stopped, "the job is told to stop")
            return super().__enter__()

    monkeypatch.setattr(staffing, "Farm", Late)
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    with sigint_beside(Coordinator.start), pytest.raises(KeyboardInterrupt):
        job.start()
    assert isinstance(job.exception(), StoppedError)


def test_nothing_is_left_of_a_job_that_gets_no_thread(tmp_path, recording, monkeypatch):
    class NoThread(threading.Thread):
        def start(self):
            if self.name == "zaudio-coordinator":
                raise RuntimeError("can't start new thread")
            super().start()

    job = Coordinator(recording, tmp_path / "out", workers=1)
    before = descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(life.threading, "Thread", NoThread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            job.start()
    job.stop()
    assert (job.done(), job.state) == (True, "failed")
    assert descriptors() == before
    assert not (tmp_path / "out").exists()


def test_a_job_that_is_not_started_has_no_thread_for_its_events(tmp_path, recording):
    before = threading.active_count()
    Coordinator(recording, tmp_path / "out", workers=1, on_event=print)
    assert threading.active_count() == before


@pytest.mark.covers(
    "Two workers disagree, and the job is started again",
    bound="nothing disputed is ever published",
    measured="nothing is kept",
    removed="`job/ready.py`: `disown`",
)
def test_nothing_is_kept_of_a_job_whose_workers_disagree(tmp_path, recording, monkeypatch):
    class Disputed(Farm):
        def run(self, stage, *, on_open):
            on_open()
            stage._desk = SimpleNamespace(machine_class=(), class_name="")  # of a stage that was opened
            stage._destination.put(bytes(200))
            wait_until(lambda: stage._destination.saved, "a checkpoint vouches for what is in dispute")
            raise ConflictError(0, "a", "b")

    monkeypatch.setattr(staffing, "Farm", Disputed)
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    with pytest.raises(ConflictError):
        job.run()
    assert not job.resumable
    assert not (tmp_path / "out").exists()


def test_an_audit_with_one_worker_fails_at_once(tmp_path):
    for workers in (1, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zaudio.job.request.usable_cores", lambda: 1)
            with pytest.raises(UsageError, match="an audit takes two workers at least, and there is one"):
                Coordinator(tmp_path / "x.raw", tmp_path / "out", workers=workers, security=Security(audit=100))
    Coordinator(tmp_path / "x.raw", tmp_path / "out", workers=1, bind="tcp://127.0.0.1:0", security=Security(audit=1))
