import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from zaudio.cli.app import app


@pytest.fixture
def folder(tmp_path):
    folder = str(tmp_path / "keys")
    assert run("init", folder).exit_code == 0
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["keys", *arguments])


def secrets(folder):
    return [path.read_text().strip() for path in Path(folder).rglob("*.secret")]


def test_init_without_a_folder_uses_the_users_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "new" / "config"))
    done = run("init")
    assert done.exit_code == 0
    assert f"made a coordinator's key in {tmp_path}/new/config/zaudio/keys" in done.output
    assert run("worker", "a").exit_code == 0
    assert "admitted" in run("list").output
    assert run("revoke", "a").exit_code == 0
    assert "revoked" in run("list").output


def test_a_second_init_changes_nothing_and_says_so(folder):
    before = secrets(folder)
    done = run("init", folder)
    assert (done.exit_code, secrets(folder)) == (2, before)
    assert done.output == f"zaudio: {folder}/coordinator.secret: exists already; keys are never written over\n"


def test_worker_is_told_where_its_folder_is(folder):
    done = run("worker", "studio-2", "--keys", folder)
    assert done.exit_code == 0
    assert f"studio-2 is admitted; move the folder {folder}/handover/studio-2 to its machine" in done.output
    assert sorted(os.listdir(f"{folder}/handover/studio-2")) == ["coordinator.public", "worker.secret"]


def test_list_has_a_line_a_worker(folder):
    for name in ("b", "a"):
        run("worker", name, "--keys", folder)
    run("revoke", "b", "--keys", folder)
    lines = run("list", "--keys", folder).output.splitlines()
    assert [line.split()[0] for line in lines] == ["coordinator", "admitted", "revoked"]
    assert [line.split()[-1] for line in lines[1:]] == ["a", "b"]


def test_no_command_prints_a_secret(folder):
    said = run("worker", "a", "--keys", folder).output
    said += run("worker", "a", "--keys", folder, "-v").output
    said += run("list", "--keys", folder, "-v").output
    said += run("revoke", "a", "--keys", folder, "-v").output
    said += run("init", folder, "-v").output
    assert len(secrets(folder)) == 2
    assert [secret for secret in secrets(folder) if secret in said] == []
    assert "Traceback" in said  # so that was looked at too


def test_quiet_says_nothing(folder):
    assert run("worker", "a", "--keys", folder, "-q").output == ""
    assert run("revoke", "a", "--keys", folder, "-q").output == ""


@pytest.mark.parametrize("command", [("worker", "a"), ("list",), ("revoke", "a")])
def test_folder_without_keys_is_named(tmp_path, command):
    done = run(*command, "--keys", str(tmp_path))
    assert done.exit_code == 2
    assert done.output.startswith(f"zaudio: {tmp_path}/")
    assert done.output.count("\n") == 1


def test_name_that_could_be_a_path_is_refused(folder):
    done = run("worker", "../a", "--keys", folder)
    assert done.exit_code == 2
    assert "no name for a worker" in done.output
