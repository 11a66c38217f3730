import io
import logging
import os
import subprocess
import sys

import click
import pytest
from net_support import PATIENCE

from zaudio.cli import voice
from zaudio.errors import StorageError


class Deaf(io.StringIO):
    """A stream that keeps what it was told, and takes none of it."""

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.told = ""

    def write(self, text):
        self.told += text
        raise self.error


@pytest.fixture
def context():
    with click.Context(click.Command("test")) as context:
        yield context


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("caf\u00e9", "caf\u00e9"),
        ("right\u202eleft", "right\\u202eleft"),
        (os.fsdecode(b"odd\xff"), "odd\\udcff"),
    ],
)
def test_printable_text_is_one_line_that_moves_no_cursor(text, expected):
    assert voice.printable(text) == expected


def test_out_prints_a_file_name_that_is_no_text(capsys):
    voice.out(os.fsdecode(b"odd\xff"))
    assert capsys.readouterr().out == "odd\\udcff\n"


def test_out_outlives_its_reader(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Deaf(BrokenPipeError()))
    voice.out("text")
    assert sys.stdout.told == "text"


def test_out_does_not_hide_a_full_disk(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Deaf(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="standard output: No space"):
        voice.out("text")


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error"), ValueError("closed file")])
def test_err_outlives_standard_error(monkeypatch, error):
    monkeypatch.setattr(sys, "stderr", Deaf(error))
    voice.err("text")
    assert sys.stderr.told == "text\n"


def test_warnings_are_printed_on_standard_error(context, capsys):
    voice.warn("sizes\ndisagree")
    assert capsys.readouterr() == ("", "zaudio: warning: sizes\\ndisagree\n")


def test_quiet_prints_no_warning(context, capsys):
    context.meta[voice.QUIET] = True
    voice.warn("sizes disagree")
    assert capsys.readouterr() == ("", "")


def log_one_of_each():
    logger = logging.getLogger("zaudio.ventilator")
    logger.debug("granted %d", 7)
    logger.warning("peer\n%s", "lied")
    try:
        raise KeyError("cause")
    except KeyError:
        logger.exception("ours")


def test_by_default_warnings_and_errors_are_logged_without_traceback(capsys):
    with voice.logs():
        log_one_of_each()
    assert capsys.readouterr().err == "zaudio: warning: peer\\nlied\nzaudio: error: ours\n"


def test_verbose_logs_traffic_with_time_and_tracebacks(capsys):
    with voice.logs():
        voice.log_level("DEBUG")
        log_one_of_each()
    lines = capsys.readouterr().err.splitlines()
    stamp, rest = lines[0].split(" ", 1)
    assert len(stamp) == len("12:34:56.789")
    assert rest == "DEBUG   zaudio.ventilator: granted 7"
    assert lines[1].endswith("zaudio.ventilator: peer\\nlied")
    assert lines[2].endswith("ERROR   zaudio.ventilator: ours")
    assert lines[3] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'cause'"


def test_verbose_logs_what_happens_and_no_traffic(capsys):
    with voice.logs():
        voice.log_level("INFO")
        logging.getLogger("zaudio.worker").info("joined")
        log_one_of_each()
    err = capsys.readouterr().err
    assert "INFO    zaudio.worker: joined" in err
    assert "granted 7" not in err
    assert "Traceback (most recent call last):" in err


@pytest.mark.parametrize(("meta", "told"), [({}, "zaudio: it works\n"), ({voice.QUIET: True}, "")])
def test_a_logger_that_is_followed_is_heard_without_verbose_and_not_when_quiet(context, capsys, meta, told):
    context.meta.update(meta)
    with voice.logs(), context:
        if meta:
            voice.log_level("ERROR")
        voice.follow("zaudio.worker.test")
        for name in ("zaudio.worker.test", "zaudio.worker"):
            logging.getLogger(name).info("it works")
            logging.getLogger(name).debug("traffic")
        context.close()
        logging.getLogger("zaudio.worker.test").info("it works")
    assert capsys.readouterr().err == told


def test_quiet_logs_errors_only(capsys):
    with voice.logs():
        voice.log_level("ERROR")
        log_one_of_each()
    assert capsys.readouterr().err == "zaudio: error: ours\n"


def test_logging_is_as_before_afterwards():
    logger = logging.getLogger("zaudio")
    before = logger.level, logger.propagate, list(logger.handlers)
    with voice.logs():
        voice.log_level("DEBUG")
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_reader_that_left_is_no_failure_of_a_real_program():
    # The pipe's reading end is closed before the program starts, so its first write fails.
    reading, writing = os.pipe()
    os.close(reading)
    try:
        program = "import zaudio.cli.exit as e, zaudio.cli.voice as v, click, sys\n"
        program += "@click.group(cls=e.Commands)\ndef app(): pass\n"
        program += "@app.command()\ndef talk(): v.out('text')\n"
        program += "app(['talk'])\n"
        done = subprocess.run([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
