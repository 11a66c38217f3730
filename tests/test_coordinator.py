"""What a Coordinator refuses and promises before it starts. Whole jobs are tested in tests/integration."""

import gc
import os
import weakref
from contextlib import ExitStack

import numpy as np
import pytest
import zmq
from net_support import PATIENCE, wait_until

from zaudio import Coordinator, InputError, Limits, Network, Raw, Security, Timing, UsageError
from zaudio import coordinator as coordinators
from zaudio.audio import open_source
from zaudio.coordinator import CREDIT
from zaudio.errors import ConflictError, EndpointError, ExposedError, KeyFileError, NoWorkerError, StoppedError
from zaudio.net import starter as starters
from zaudio.net.farm import Farm
from zaudio.net.keys import add_worker, init
from zaudio.result import make_identity
from zaudio.result.checkpoints import Schedule


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
        ({"ops": []}, "a chain has 1 to 32 ops"),
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


# Where local workers leave results


@pytest.fixture
def launched(monkeypatch):
    """The starters that were launched, none of which is a process."""

    class Fake:
        def __init__(self):
            self.memory = starters._create_memory()
            self.closed = False
            made.append(self)

        def close(self):
            self.closed = True
            if self.memory >= 0:
                os.close(self.memory)

    made = []
    monkeypatch.setattr(coordinators, "Starter", Fake)
    return made


def opened(tmp_path, samples, *, starter=None, **settings):
    """Workers, slots and bytes of the outboxes of such a job; None when it has no outboxes."""
    path = tmp_path / "x.raw"
    np.zeros(samples, "<f4").tofile(path)
    job = Coordinator(path, tmp_path / "out", **{"workers": 2, **settings})
    if starter is not None:
        job.use(starter)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(path))
        job._plan = job._bundles = job._make_plan(source)
        outboxes = job._open_outboxes(source, job._launch_starter(stack), stack)
        return (len(outboxes.tokens), outboxes.slots, outboxes.slot_bytes) if outboxes is not None else None


def test_each_local_worker_has_a_slot_for_each_chunk_that_it_may_hold(tmp_path, launched):
    assert opened(tmp_path, 1000, chunk="100f") == (2, CREDIT, 400)
    assert opened(tmp_path, 1000, chunk="700f", workers=5) == (2, CREDIT, 2800), "no more workers than chunks"
    assert opened(tmp_path, 10, chunk="100f", workers=1) == (1, CREDIT, 40), "no slot longer than the recording"


def held(memory):
    return {"limits": Limits(memory=memory)}


@pytest.mark.parametrize(
    "settings",
    [
        {"network": Network(sockets_only=True)},
        {"workers": None, "bind": "tcp://127.0.0.1:0"},
        held(2 * CREDIT * 400 - 1),
    ],
    ids=["told so", "no local workers", "more than the memory"],
)
def test_there_are_no_outboxes_where_they_are_of_no_use(tmp_path, launched, settings):
    assert opened(tmp_path, 1000, chunk="100f", **settings) is None
    assert opened(tmp_path, 1000, chunk="100f", **held(2 * CREDIT * 400)) is not None


def test_an_empty_recording_needs_no_outboxes_and_no_starter(tmp_path, launched):
    assert opened(tmp_path, 0) is None
    assert launched == []


def test_a_job_without_local_workers_has_no_starter(tmp_path, launched):
    assert opened(tmp_path, 1000, workers=None, bind="tcp://127.0.0.1:0") is None
    assert launched == []


def test_a_starter_that_was_launched_ahead_is_used_or_closed(tmp_path, launched):
    ahead = coordinators.Starter()
    assert opened(tmp_path, 1000, starter=ahead) is not None
    for settings in ({"samples": 0}, {"samples": 9, "workers": 0, "bind": "tcp://127.0.0.1:0"}):
        assert opened(tmp_path, starter=coordinators.Starter(), **settings) is None
    assert [starter.closed for starter in launched] == [True] * 3, "and there is no other"


def test_a_job_that_was_started_takes_no_starter(tmp_path, recording, launched):
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    with job, pytest.raises(UsageError, match="started already"):
        job.use(coordinators.Starter())
    launched[0].close()


def missing(*_):
    raise OSError(38, "Function not implemented")


@pytest.mark.parametrize("name", ["memfd_create", "posix_fallocate"])
def test_a_system_without_shared_memory_has_no_outboxes_and_no_error(tmp_path, launched, monkeypatch, caplog, name):
    monkeypatch.setattr(os, name, missing)
    before = os.listdir("/proc/self/fd")
    with caplog.at_level("INFO", "zaudio.coordinator"):
        assert opened(tmp_path, 1000, chunk="100f") is None
    assert "local workers use sockets: no shared memory" in caplog.text
    assert os.listdir("/proc/self/fd") == before


def test_a_system_that_does_not_know_anonymous_memory_has_no_outboxes(tmp_path, launched, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert opened(tmp_path, 1000, chunk="100f") is None


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

    class Stopped(coordinators.Farm):
        def __init__(self, *args, **kwargs):
            job.stop()  # the last instant at which there is nothing yet that could be told
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(coordinators, "Farm", Stopped)
    try:
        with pytest.raises(StoppedError):
            job.start()
    finally:
        job.stop()
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.covers(
    "Two workers disagree, and the job is started again",
    bound="nothing disputed is ever published",
    measured="nothing is kept",
    removed="`coordinator.py`: `disown`",
)
def test_nothing_is_kept_of_a_job_whose_workers_disagree(tmp_path, recording, monkeypatch):
    class Disputed(coordinators.Farm):
        def run(self, *, on_bound, finish):
            on_bound()
            self._output.put(bytes(200))
            wait_until(lambda: self._output.saved, "a checkpoint vouches for what is in dispute")
            raise ConflictError(0, "a", "b")

    monkeypatch.setattr(coordinators, "Farm", Disputed)
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    with pytest.raises(ConflictError):
        job.run()
    assert not job.resumable
    assert os.listdir(tmp_path / "out") == []
