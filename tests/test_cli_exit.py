import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import click
import pytest
from click.testing import CliRunner
from net_support import PATIENCE

from zaudio import errors
from zaudio.cli.exit import Commands, Signals, Terminated
from zaudio.cli.options import voice_options

ENDINGS = [
    (errors.UsageError("bad size"), 2, "bad size"),
    (errors.OutputExistsError("out/result.raw"), 2, "--overwrite"),
    (errors.FolderBusyError("out"), 2, "out: another zaudio job"),
    (errors.EndpointError("tcp://x:1", "in use"), 2, "tcp://x:1: in use"),
    (errors.InputError("a.raw", "no such file"), 3, "a.raw: no such file"),
    (errors.InputChangedError("a.raw", "it shrank"), 3, "a.raw: it shrank"),
    (errors.ChunkError(7, 0, 10, ("boom",)), 1, "chunk 7 (frames 0 to 10) failed 1 times"),
    (errors.StorageError("out", "No space left"), 1, "out: No space left"),
    (errors.StoppedError("stopped"), 1, "stopped"),
    (errors.VerificationError("out", "tag differs"), 5, "out: tag differs"),
    (errors.NoWorkerError("no worker for 30 s"), 69, "no worker for 30 s"),
    (errors.RefusedError("refused: version 2"), 77, "refused: version 2"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (Terminated(), 143, "terminated"),
    (PermissionError(13, "Permission denied", "out"), 1, "Permission denied"),
    (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
]


def program(error):
    @click.group(cls=Commands)
    def app():
        pass

    @app.command()
    @voice_options
    def fail():
        raise error

    return app


@pytest.mark.parametrize(("error", "code", "sentence"), ENDINGS, ids=lambda value: type(value).__name__)
def test_an_error_is_one_line_and_its_exit_code(error, code, sentence):
    done = CliRunner().invoke(program(error), ["fail"])
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr.startswith("zaudio: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


OURS = [ending for ending in ENDINGS if not isinstance(ending[0], errors.ChunkError)]


@pytest.mark.parametrize(("error", "code", "sentence"), OURS, ids=lambda value: type(value).__name__)
def test_verbose_adds_the_traceback_and_keeps_the_line_last(error, code, sentence):
    done = CliRunner().invoke(program(error), ["fail", "-v"])
    assert done.exit_code == code
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("zaudio: ")
    assert sentence in last


def test_a_chunk_that_failed_has_no_traceback_of_ours():
    done = CliRunner().invoke(program(errors.ChunkError(7, 0, 10, ("boom",))), ["fail", "-v"])
    assert done.stderr == "zaudio: chunk 7 (frames 0 to 10) failed 1 times; the last time: boom\n"


def test_a_message_from_a_peer_stays_on_one_line():
    done = CliRunner().invoke(program(errors.RefusedError("no\nTraceback\x1b[2J")), ["fail"])
    assert done.stderr == "zaudio: no\\nTraceback\\x1b[2J\n"


def test_clicks_own_usage_error_passes():
    done = CliRunner().invoke(program(click.UsageError("odd")), ["fail"])
    assert done.exit_code == 2
    assert "Error: odd" in done.stderr


def test_the_first_signal_raises_and_is_remembered():
    with Signals() as signals:
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
    with Signals() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT


def test_terminated_is_no_exception_that_an_error_handler_would_swallow():
    assert not issubclass(Terminated, Exception)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_exits_at_once(monkeypatch, second):
    class Left(BaseException):
        pass

    def leave(code):
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    with Signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Left) as left:
            signal.raise_signal(second)
    assert left.value.args == (128 + second,)


def test_the_second_signal_exits_at_once_behind_the_block_that_heard_the_first(monkeypatch):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    with suppress(Terminated), Signals():  # what `_exit` would have ended
        with Signals(leave=lambda: None):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert left == [143]


def test_one_signal_changes_nothing_behind_the_block_whose_outcome_stands():
    before = signal.getsignal(signal.SIGINT)
    with Signals() as around:
        with Signals(leave=lambda: None) as signals:
            signals.settle()
        signal.raise_signal(signal.SIGINT)
    assert (around.received, signal.getsignal(signal.SIGINT)) == (signal.SIGINT, before)


def test_one_signal_changes_nothing_until_a_process_ends_whose_outcome_stands():
    text = """if True:
        import os, signal
        from zaudio import cli
        from zaudio.cli.exit import Signals
        signal.signal(signal.SIGTERM, cli.end_early)
        with Signals() as signals:
            signals.settle()
        os.kill(os.getpid(), signal.SIGINT)
    """
    assert subprocess.run([sys.executable, "-c", text], timeout=PATIENCE).returncode == 0


def test_nothing_is_raised_when_no_signal_came():
    with Signals(leave=lambda: None) as signals:
        signals.raise_received()
    assert signals.received is None


def test_what_can_leave_by_itself_is_asked_in_place_of_raising():
    asked = []
    with Signals(leave=lambda: asked.append("leave")) as signals:
        signal.raise_signal(signal.SIGTERM)
    assert asked == ["leave"]
    with pytest.raises(Terminated):
        signals.raise_received()


def swallowed_signal():
    try:
        signal.raise_signal(signal.SIGTERM)
    except Terminated:
        pass  # as compiled code does that asks for an attribute, and takes any error for "there is none"


def test_a_signal_that_was_swallowed_further_out_asks_to_leave_after_all():
    asked = []
    with Signals() as around:
        swallowed_signal()
        with Signals(leave=lambda: asked.append(True)) as signals:
            assert asked == [True]
            with pytest.raises(Terminated):
                signals.raise_received()
        assert signal.getsignal(signal.SIGTERM) == around._handle


def test_a_signal_that_was_swallowed_further_out_is_raised_again():
    with Signals() as around:
        swallowed_signal()
        with pytest.raises(Terminated), Signals():
            pytest.fail("the block has begun")
        assert signal.getsignal(signal.SIGTERM) == around._handle


def test_handlers_of_others_are_no_reason_to_leave(monkeypatch):
    class Other:
        received = signal.SIGTERM

        def handle(self, number, frame):
            pass

    before = signal.signal(signal.SIGTERM, Other().handle)
    try:
        with Signals() as signals:
            assert signals.received is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_before_the_command_begins_is_one_line_too(monkeypatch):
    @contextmanager
    def logs():
        signal.raise_signal(signal.SIGTERM)
        yield

    monkeypatch.setattr("zaudio.cli.voice.logs", logs)
    done = CliRunner().invoke(program(ValueError), ["fail"])
    assert (done.exit_code, done.output) == (143, "zaudio: terminated\n")


def test_the_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Signals(), Signals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_another_thread_installs_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with Signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


BLOCKED = """
import click, sys, threading
from zaudio.cli.exit import Commands
@click.group(cls=Commands)
def app(): pass
@app.command()
def block():
    try:
        print("blocked", flush=True)
        threading.Event().wait()
    finally:
        print("cleaned up", flush=True)
        if {stubborn}:
            print("stubborn", flush=True)
            threading.Event().wait()
app(["block"])
"""


def start(*, stubborn=False):
    return subprocess.Popen(
        [sys.executable, "-c", BLOCKED.format(stubborn=stubborn)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, "zaudio: interrupted\n"), (signal.SIGTERM, 143, "zaudio: terminated\n")],
)
def test_a_real_signal_cleans_up_and_exits_with_its_code(number, code, line):
    with start() as process:
        assert process.stdout.readline() == "blocked\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (code, "cleaned up\n", line)


def test_a_second_real_signal_ends_a_stubborn_clean_up():
    with start(stubborn=True) as process:
        assert process.stdout.readline() == "blocked\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleaned up\n"
        assert process.stdout.readline() == "stubborn\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, "", "")
