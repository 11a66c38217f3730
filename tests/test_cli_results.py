import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import zaudio.result
import zaudio.unsealing
from zaudio.cli.app import app
from zaudio.errors import OutputExistsError, VerificationError
from zaudio.plan import Order

DESCRIPTION = SimpleNamespace(frames=10, channels=2, samplerate=44100, format="s16le", order=Order.REVERSED)


@pytest.fixture
def calls(monkeypatch):
    calls = []

    def decrypt(folder, output, *, on_progress, forward, overwrite, key, identity):
        calls.append((folder, output, forward, overwrite, key, identity))
        if output == "-":
            sys.stdout.write("audio")
        return DESCRIPTION, output or f"{folder}/decrypted.raw"

    def verify(folder, *, on_progress, key, identity):
        calls.append((folder, key, identity))
        return DESCRIPTION

    monkeypatch.setattr(zaudio.unsealing, "decrypt", decrypt, raising=False)
    monkeypatch.setattr(zaudio.result, "verify", verify, raising=False)
    return calls


def test_decrypt_leaves_the_place_to_the_library(calls):
    done = CliRunner().invoke(app, ["decrypt", "out"])
    assert calls == [("out", None, False, False, None, None)]
    assert done.stdout == ("decrypted to out/decrypted.raw: 10 frames, channels 2, 44100 Hz, s16le, reversed in time\n")
    assert done.stderr == ""


def test_decrypt_passes_its_options_on(calls):
    done = CliRunner().invoke(
        app, ["decrypt", "out", "-o", "a.raw", "--forward", "--overwrite", "--key", "k", "--identity", "me"]
    )
    assert calls == [("out", "a.raw", True, True, "k", "me")]
    assert done.stdout.endswith("forward\n")


def test_decrypt_to_standard_output_prints_audio_and_nothing_else(calls):
    done = CliRunner().invoke(app, ["decrypt", "out", "-o", "-"])
    assert done.stdout == "audio"
    assert done.stderr == "decrypted 10 frames, channels 2, 44100 Hz, s16le, reversed in time\n"


def test_decrypt_does_not_write_audio_to_a_terminal(calls, monkeypatch):
    from click.testing import _NamedTextIOWrapper

    monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda self: True)
    done = CliRunner().invoke(app, ["decrypt", "out", "-o", "-"])
    assert done.exit_code == 2
    assert "terminal" in done.stderr
    assert calls == []


@pytest.mark.parametrize(
    "arguments", [["decrypt", "out", "-q"], ["decrypt", "out", "-o", "a", "-q"], ["verify", "out", "-q"]]
)
def test_quiet_says_nothing(calls, arguments):
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.output) == (0, "")


def test_verify_names_what_it_found_unchanged(calls):
    done = CliRunner().invoke(app, ["verify", "out"])
    assert calls == [("out", None, None)]
    assert done.stdout == "out: complete and unchanged: 10 frames, channels 2, 44100 Hz, s16le\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(VerificationError("out", "the tag differs"), 5), (OutputExistsError("out/decrypted.raw"), 2)],
)
def test_an_error_is_one_line_and_its_exit_code(monkeypatch, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(zaudio.unsealing, "decrypt", fail, raising=False)
    monkeypatch.setattr(zaudio.result, "verify", fail, raising=False)
    for command in ("decrypt", "verify"):
        done = CliRunner().invoke(app, [command, "out"])
        assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"zaudio: {error}\n")
