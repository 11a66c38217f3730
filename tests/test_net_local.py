"""LocalWorkers: what is opened for workers on this machine, and that it is closed again. None here is a process."""

import os
import stat

import pytest

from zaudio.net import local as locals_
from zaudio.net import orders
from zaudio.net import starter as starters
from zaudio.net.local import LocalWorkers

CREDIT = 2


class Fake:
    """A starter that starts nothing and remembers its orders."""

    def __init__(self):
        self.memory = starters._create_memory()
        self.lifeline = 99
        self.fd = 98
        self.orders = []
        self.closed = False

    def tell(self, line):
        self.orders.append(line)

    def close(self):
        if not self.closed and self.memory >= 0:
            os.close(self.memory)
        self.closed = True


@pytest.fixture
def launched(monkeypatch):
    """The starters that were launched."""
    made = []

    def launch():
        made.append(Fake())
        return made[-1]

    monkeypatch.setattr(locals_, "Starter", launch)
    return made


def workers(count=2, **settings):
    return LocalWorkers(count, **{"credit": CREDIT, "slot_bytes": 400, "memory": 10_000, **settings})


def order(starter):
    """The one order that a starter got."""
    (line,) = starter.orders
    return orders.decode(line.rstrip(b"\n"), (orders.Start,))


def test_each_worker_has_an_outbox_with_a_slot_for_each_bundle_that_it_may_hold(launched):
    with workers(3) as local:
        shelf = order(launched[0]).shelf
        assert (shelf.slots, shelf.slot_bytes, frozenset(shelf.tokens)) == (CREDIT, 400, local.tokens)
        assert len(local.tokens) == 3
        assert local.has_room(400)
        assert not local.has_room(401)
        (token, *_) = local.tokens
        assert local.copy(token, 0, memoryview(bytearray(400)))
        assert not local.copy(token, CREDIT, memoryview(bytearray(400)))
        assert not local.copy(b"nobody's token!!", 0, memoryview(bytearray(400)))


@pytest.mark.parametrize(
    "settings", [{"slot_bytes": None}, {"memory": 2 * CREDIT * 400 - 1}], ids=["told so", "more than the memory"]
)
def test_there_are_no_outboxes_where_they_are_not_wanted(launched, settings):
    with workers(**settings) as local:
        assert local.tokens == frozenset()
        assert order(launched[0]).shelf is None
        assert not local.has_room(0)
        assert not local.copy(bytes(16), 0, memoryview(bytearray(1)))


def test_outboxes_may_fill_the_memory_to_the_last_byte(launched):
    with workers(memory=2 * CREDIT * 400) as local:
        assert len(local.tokens) == 2


def test_the_sockets_lie_in_a_folder_of_this_user_alone_which_goes_with_the_workers(launched):
    with workers() as local:
        folder = os.path.dirname(local.ventilator.removeprefix("ipc://"))
        assert os.path.dirname(local.sink.removeprefix("ipc://")) == folder
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert order(launched[0]).folder == folder
    assert not os.path.exists(folder)
    assert launched[0].closed


def test_a_folder_for_temporary_files_with_a_long_name_is_not_used(launched, monkeypatch, tmp_path):
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with workers() as local:
        assert local.ventilator.startswith("ipc:///tmp/zaudio-")
    assert list(long.iterdir()) == []


def test_a_starter_that_was_launched_ahead_is_used_and_closed(launched):
    ahead = Fake()
    with workers(starter=ahead):
        assert order(ahead).count == 2
    assert ahead.closed
    assert launched == [], "no other was launched"


def missing(*_):
    raise OSError(38, "Function not implemented")


@pytest.mark.parametrize("name", ["memfd_create", "posix_fallocate"])
def test_a_system_without_shared_memory_has_no_outboxes_and_no_error(launched, monkeypatch, caplog, name):
    monkeypatch.setattr(os, name, missing)
    before = sorted(os.listdir("/proc/self/fd"))
    with caplog.at_level("INFO", "zaudio.coordinator"), workers() as local:
        assert local.tokens == frozenset()
    assert "local workers use sockets: no shared memory" in caplog.text
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_system_that_does_not_know_anonymous_memory_has_no_outboxes(launched, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    with workers() as local:
        assert local.tokens == frozenset()


def test_everything_is_closed_when_one_step_fails(launched, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locals_.tempfile, "mkdtemp", refuse)
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space left"):
        workers()
    assert launched[0].closed
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_closing_twice_is_allowed(launched):
    local = workers()
    local.close()
    local.close()
    assert local.fd == -1, "there is nothing to poll any more"
