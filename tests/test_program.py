"""What a program of ours sets for itself: here, its path; and core dumps."""

import ctypes
import os
import resource
import sys

import pytest

from zaudio.program import PR_GET_DUMPABLE, NoCoreDumps, drop_current_folder, search_path

LIBRARY = os.path.dirname(os.__file__)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return str(tmp_path)


@pytest.mark.parametrize("entry", ["", ".", None, "./"])
def test_the_current_folder_is_dropped_by_whatever_name_it_came(here, monkeypatch, entry):
    monkeypatch.setenv("PYTHONPATH", f":{os.pathsep}.")
    monkeypatch.setattr(sys, "path", [here if entry is None else entry, "/elsewhere", here, LIBRARY])
    drop_current_folder()
    assert sys.path == ["/elsewhere", LIBRARY]


def test_a_folder_that_pythonpath_names_stays(here, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", here)
    monkeypatch.setattr(sys, "path", [here, LIBRARY])
    drop_current_folder()
    assert sys.path == [here, LIBRARY]


def test_a_folder_where_packages_are_installed_stays(here, monkeypatch):
    monkeypatch.setattr(sys, "path", [LIBRARY, here])
    drop_current_folder()
    assert sys.path == [LIBRARY, here]


def test_a_current_folder_that_was_removed_is_no_error(here, monkeypatch):
    os.rmdir(here)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere", LIBRARY])
    drop_current_folder()
    assert sys.path == ["/elsewhere", LIBRARY]


def test_another_process_gets_the_path_without_what_would_mean_its_own_folder(here, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/scripts", ".", LIBRARY, here])
    assert search_path() == ["/scripts", LIBRARY, here]


# Core dumps


def state_of_dumps():
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) if sys.platform == "linux" else None
    return resource.getrlimit(resource.RLIMIT_CORE), dumpable


def test_core_dumps_are_off_until_the_last_context_ends():
    before = state_of_dumps()
    with NoCoreDumps():
        with NoCoreDumps():
            inside = state_of_dumps()
        assert state_of_dumps() == inside
    assert inside[0] == (0, before[0][1])
    assert inside[1] == (0 if sys.platform == "linux" else None)
    assert state_of_dumps() == before
