"""`zaudio identity`, and the options that take what it makes."""

import stat

import pytest
from click.testing import CliRunner
from result_support import describe, pattern, reverse, write_result

from zaudio.cli.app import app
from zaudio.result import WrappedKey, parse_recipient, read_identity


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_writes_a_private_file_and_prints_the_public_key_alone(tmp_path):
    done = run("identity", tmp_path / "me")
    assert done.exit_code == 0
    assert done.stdout == f"{read_identity(tmp_path / 'me').recipient}\n"
    assert done.stderr == ""
    assert stat.S_IMODE((tmp_path / "me").stat().st_mode) == 0o600
    assert str(parse_recipient(done.stdout)) == done.stdout.strip()


def test_it_never_overwrites(tmp_path):
    run("identity", tmp_path / "me")
    before = (tmp_path / "me").read_bytes()
    done = run("identity", tmp_path / "me")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("zaudio: ")
    assert "is never overwritten" in done.stderr
    assert (tmp_path / "me").read_bytes() == before


@pytest.fixture
def wrapped(tmp_path):
    run("identity", tmp_path / "me")
    store = WrappedKey(read_identity(tmp_path / "me").recipient, None)
    write_result(tmp_path / "out", pattern(20, 4), describe(20), key_store=store)
    return tmp_path / "out"


@pytest.mark.parametrize("command", ["verify", "decrypt"])
def test_a_wrapped_result_asks_for_the_identity_in_one_line(command, wrapped):
    done = run(command, wrapped)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"zaudio: {wrapped}/encryption_key.bin: the key is wrapped for zaudio-x25519-")
    assert "with --identity FILE" in line
    assert not (wrapped / "decrypted.raw").exists()


def test_with_the_identity_it_is_verified_and_decrypted(wrapped, tmp_path):
    assert run("verify", wrapped, "--identity", tmp_path / "me").exit_code == 0
    assert run("decrypt", wrapped, "--identity", tmp_path / "me", "-q").exit_code == 0
    assert (wrapped / "decrypted.raw").read_bytes() == reverse(pattern(20, 4), 4)


def test_another_identity_is_a_failed_verification(wrapped, tmp_path):
    run("identity", tmp_path / "other")
    done = run("verify", wrapped, "--identity", tmp_path / "other")
    assert done.exit_code == 5
    assert "the key is wrapped for" in done.stderr


def test_a_bad_recipient_is_refused_before_anything_is_opened(tmp_path):
    done = run("farm", tmp_path / "no.raw", "-o", tmp_path / "out", "-n", 1, "--recipient", "nobody")
    assert done.exit_code == 2
    assert "'nobody' is not a public key, and as a file it cannot be read" in done.stderr
    assert not (tmp_path / "out").exists()
