"""What a Coordinator refuses and promises before it starts. Whole jobs are tested in tests/integration."""

import json

import numpy as np
import pytest

from zaudio import Coordinator, InputError, Timing, UsageError
from zaudio.coordinator import Report, _parse_advertise, _sink_beside
from zaudio.errors import EndpointError


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
        ({"memory": "much"}, "memory"),
        ({"memory": 0}, "memory"),
        ({"worker_timeout": 0}, "worker_timeout"),
        ({"bind": "localhost"}, "expected tcp://HOST:PORT"),
        ({"bind": "tcp://127.0.0.1:0", "sink_bind": "5556"}, "expected tcp://HOST:PORT"),
        ({"bind": "tcp://127.0.0.1:0", "advertise": ":1"}, "advertise"),
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
        ({"channels": 0}, "channels"),
        ({"format": "u8"}, "u8"),
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


def test_input_that_the_result_would_replace_is_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "result.raw").write_bytes(bytes(400))
    with pytest.raises(UsageError, match="is the input and would be replaced"):
        Coordinator(out / "result.raw", out, workers=1, overwrite=True).start()
    assert (out / "result.raw").read_bytes() == bytes(400)


def test_before_the_start_there_is_no_endpoint_and_no_progress(tmp_path, recording):
    job = Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0")
    assert (job.endpoint, job.sink_endpoint, job.warnings) == (None, None, ())
    assert (job.progress.state, job.progress.chunks, job.progress.seconds) == ("starting", 0, 0.0)


def test_without_bind_there_is_no_endpoint(tmp_path, recording):
    with Coordinator(recording, tmp_path / "out", workers=1) as job:
        assert (job.endpoint, job.sink_endpoint) == (None, None)


def test_bind_beyond_this_machine_is_warned_of(tmp_path, recording):
    with Coordinator(recording, tmp_path / "out", bind="tcp://0.0.0.0:0") as job:
        (warning,) = job.warnings
    assert warning.startswith("tcp://0.0.0.0:0: whoever can reach this address can take part")


def test_timing_takes_the_place_of_the_worker_timeout(tmp_path, recording):
    job = Coordinator(recording, tmp_path / "out", workers=1, timing=Timing(worker_timeout=7))
    assert job._timing.worker_timeout == 7
    assert Coordinator(recording, tmp_path / "out", workers=1, worker_timeout=9)._timing.worker_timeout == 9


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (None, None),
        ("farm.example", ("farm.example", 0, 0)),
        ("farm.example:7001", ("farm.example", 7001, 7002)),
        ("farm.example:7001,8001", ("farm.example", 7001, 8001)),
        ("10.0.0.1:1,65535", ("10.0.0.1", 1, 65535)),
    ],
)
def test_advertised_host_and_ports_are_parsed(text, parsed):
    assert _parse_advertise(text) == parsed


@pytest.mark.parametrize("text", ["", ":7001", "h:0", "h:x", "h:1,2,3", "h:65536", "h:1,"])
def test_nonsense_is_not_advertised(text):
    with pytest.raises(UsageError, match=r"advertise: expected HOST\[:PORT\[,PORT\]\]"):
        _parse_advertise(text)


def test_last_port_has_none_beside_it(tmp_path, recording):
    with pytest.raises(EndpointError):
        Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:65535").start()


@pytest.mark.parametrize(
    ("bind", "sink"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
        ("tcp://*:*", "tcp://*:0"),
        ("ipc:///tmp/x", "ipc:///tmp/x.sink"),
    ],
)
def test_sink_is_beside_the_ventilator(bind, sink):
    assert _sink_beside(bind) == sink


def test_report_is_an_object_of_json():
    report = Report(3, 100, 250, 2, 44100, "f32le", 2000, 0.5, 1, 0, 0, 0, {"result": "out/result.raw"}, {"Zoë": 3})
    fields = json.loads(report.to_json())
    assert fields["chunks"] == 3
    assert fields["shares"] == {"Zoë": 3}
    assert fields["paths"] == {"result": "out/result.raw"}
    assert set(fields) == set(Report.__dataclass_fields__)
