import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from net_support import PATIENCE

import zaudio
from zaudio import Limits, Network, Progress, Raw, Security, State
from zaudio.cli.app import app
from zaudio.cli.measuring import HEADINGS, NAMED_CHANNELS
from zaudio.errors import NoWorkerError, StoppedError
from zaudio.formats import sample_format
from zaudio.machine import usable_cores
from zaudio.net import starter as starters
from zaudio.ops.chain import Chain, Course, make_ops
from zaudio.ops.functions import import_allowed
from zaudio.ops.spec import parse_chain
from zaudio.signal import Signal
from zaudio.surveying import Surveyed
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream

pytest.importorskip("scipy.signal")

RATE = 48_000


class FakeSurvey:
    """Measures an array in this process."""

    array = None
    failure = None
    endpoint = None
    warnings = ()
    progress = Progress(
        State.DONE, chunks=1, done=1, bytes=8, bytes_done=8, workers=1, requeued=0, repeated=0, seconds=1.0
    )

    def subscribe(self, size):
        return Stream(Ledger()).subscribe(size)

    def __init__(self, input, what, *, ops, **settings):
        self.calls.append((input, type(what).__name__, ops, settings))
        self.what, self.ops, self.stopped = what, ops, False
        self.endpoint = settings["bind"] and "tcp://127.0.0.1:40000"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def use(self, starter):
        self.used.append(starter)

    def stop(self, *, wait=True):
        type(self).failure = StoppedError("the job was stopped before its end")

    def wait(self, timeout):
        if self.failure is not None:
            raise self.failure
        given = Signal(len(self.array), self.array.shape[1], RATE, sample_format("f32le"))
        before = make_ops(parse_chain(self.ops), import_allowed([])) if self.ops else ()
        graph = Course([*before, self.what], given).measuring.graph()
        return Surveyed(graph(self.array, 0, 0, graph.output.frames), given)


class FakeStarter:
    """A starter that is no process."""

    def __init__(self, *, preload):
        self.preload = preload

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def survey(monkeypatch):
    sine = 0.1 * np.sin(2 * np.pi * 997 / RATE * np.arange(4 * RATE))

    class Fake(FakeSurvey):
        array = np.stack([sine, 0 * sine], axis=1).astype(np.float32)
        calls = []
        used = []

    monkeypatch.setattr(zaudio, "Survey", Fake, raising=False)
    monkeypatch.setattr(starters, "Starter", FakeStarter)
    return Fake


def run(*arguments, code=0):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_stats_prints_a_line_per_channel(survey):
    lines = run("stats", "take.wav").splitlines()
    assert lines[0] == "take.wav"
    assert lines[1] == "  192000 frames of 2 channels at 48000 Hz in f32le, 0:04"
    assert " ".join(lines[2].split()) == " ".join(HEADINGS)
    assert lines[3].split() == ["1", "-20.00", "-23.01", lines[3].split()[3], "0", "0", "0.00", "0.00", "0.00"]
    assert lines[4].split() == ["2", "-", "-", "+0.000000", "0", "0", "4.00", "4.00", "4.00"]
    assert len({len(line) for line in lines[2:]}) == 1


def test_loudness_prints_a_line_per_number(survey):
    lines = [line.split() for line in run("loudness", "take.wav").splitlines()]
    assert lines[2:] == [
        ["integrated", "-23.01", "LUFS"],
        ["range", "0.00", "LU"],
        ["momentary", "maximum", "-23.01", "LUFS"],
        ["short-term", "maximum", "-23.01", "LUFS"],
        ["true", "peak", "-19.99", "dBTP"],
    ]


def test_ops_come_before_the_measurement_and_are_named(survey):
    output = run("loudness", "take.wav", "--op", "gain:db=6", "--op", "invert")
    assert output.startswith("take.wav, behind gain:db=6 invert\n")
    assert "-17.01 LUFS" in output
    assert survey.calls[0][2] == ("gain:db=6", "invert")


def test_json_has_all_numbers_and_null_for_those_that_there_are_not(survey):
    told = json.loads(run("stats", "take.wav", "--json", "--op", "invert"))
    assert told["input"] == "take.wav"
    assert told["ops"] == ["invert"]
    assert told["channels"][0]["peak_dbfs"] == pytest.approx(-20, abs=1e-3)
    assert told["channels"][1]["rms_dbfs"] is None
    told = json.loads(run("loudness", "take.wav", "--json"))
    assert told["integrated_lufs"] == pytest.approx(-23.01, abs=0.01)
    assert told["true_peaks_dbtp"][1] is None


@pytest.mark.parametrize(
    ("frames", "words"), [(0, "needs 0.4 s"), (19_199, "needs 0.4 s"), (19_200, "nothing is above -70 LUFS")]
)
def test_a_loudness_that_there_is_not_has_its_reason(survey, frames, words):
    survey.array = np.zeros((frames, 1), np.float32)
    output = run("loudness", "take.wav")
    assert words in output
    assert "integrated                 - LUFS" in output


def test_more_channels_than_a_screen_holds_are_counted(survey):
    survey.array = np.zeros((10, NAMED_CHANNELS + 3), np.float32)
    assert run("stats", "take.wav").endswith("  and 3 more channels; --json has all\n")
    assert len(json.loads(run("stats", "take.wav", "--json"))["channels"]) == NAMED_CHANNELS + 3


@pytest.mark.parametrize(("command", "what"), [("stats", "StatsSurvey"), ("loudness", "LoudnessSurvey")])
def test_settings_go_to_the_survey_in_their_groups(survey, command, what):
    run(command, "take.raw")
    settings = {"workers": usable_cores(), "bind": None, "raw": Raw(), "network": Network(), "security": Security()}
    assert survey.calls == [("take.raw", what, (), settings | {"limits": Limits()})]
    line = (
        "take.raw -n 3 --bind tcp://127.0.0.1:0 --sink-bind tcp://127.0.0.1:0 --advertise a:1,2 --keys k "
        "--sockets-only --samplerate 8000 --channels 2 --format s16le --truncated --worker-timeout 5 --chunk-timeout 9"
    )
    run(command, *line.split())
    preload = ("zaudio.ops.sosfilt",) if command == "loudness" else ()
    assert [starter.preload for starter in survey.used] == [preload] * 2
    assert survey.calls[1][3] == {
        "workers": 3,
        "bind": "tcp://127.0.0.1:0",
        "raw": Raw(samplerate=8000, channels=2, format="s16le", truncated=True),
        "network": Network(sink_bind="tcp://127.0.0.1:0", advertise="a:1,2", sockets_only=True),
        "security": Security(keys="k"),
        "limits": Limits(worker_timeout=5, chunk_timeout=9),
    }


def test_workers_from_elsewhere_are_told_the_address_and_no_others_are_started(survey):
    done = CliRunner().invoke(app, ["stats", "take.wav", "--bind", "tcp://127.0.0.1:0"])
    assert "workers connect with: zaudio worker tcp://127.0.0.1:40000\n" in done.stderr
    assert survey.calls[0][3]["workers"] == 0
    assert survey.used == []
    quiet = CliRunner().invoke(app, ["stats", "take.wav", "--bind", "tcp://127.0.0.1:0", "-q"])
    assert quiet.stderr == ""
    assert quiet.stdout == done.stdout


def test_a_signal_ends_a_measurement(survey, monkeypatch):
    def wait(self, timeout):
        if self.failure is not None:
            raise self.failure
        os.kill(os.getpid(), signal.SIGTERM)  # a second one would end the tests
        raise TimeoutError

    monkeypatch.setattr(survey, "wait", wait)
    assert "zaudio: terminated" in run("stats", "take.wav", code=143)


@pytest.mark.extended
def test_a_farm_measures_what_one_process_does(tmp_path):
    array = (np.random.default_rng(1).standard_normal((9 * RATE, 2)) * 0.1).astype(np.float32)
    path = tmp_path / "take.raw"
    path.write_bytes(array.tobytes())
    line = f"loudness {path} -n 2 --channels 2 --samplerate {RATE} --op gain:db=-6 --op loudnorm:lufs=-30 --json"
    done = subprocess.run(
        [sys.executable, "-m", "zaudio", *line.split()], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    result = Chain(["gain:db=-6", "loudnorm:lufs=-30"], Signal(len(array), 2, RATE, sample_format("f32le")))(array)
    told = json.loads(done.stdout)
    assert told["integrated_lufs"] == pytest.approx(-30, abs=1e-4)
    assert told["true_peak_dbtp"] == pytest.approx(20 * math.log10(np.abs(result).max()), abs=0.5)


def test_an_error_of_the_survey_is_a_line_and_a_code(survey):
    survey.failure = NoWorkerError("no worker came")
    assert "zaudio: no worker came" in run("stats", "take.wav", code=69)
