"""Key files: made once, for their owner alone, and read only where nobody else can."""

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from zaudio.errors import KeyFileError
from zaudio.net import keys


@pytest.fixture
def folder(tmp_path):
    folder = str(tmp_path / "keys")
    keys.init(folder)
    return folder


def files(folder):
    return sorted(
        os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names
    )


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_init_makes_one_secret_and_nothing_else(folder):
    assert files(folder) == ["coordinator.secret"]
    assert keys.listed(folder) == []


def test_worker_gets_its_secret_and_the_coordinators_public_key_and_nothing_else(folder):
    ours = keys.add_worker(folder, "studio-2")
    assert files(ours) == ["coordinator.public", "worker.secret"]
    assert ours == os.path.join(folder, "handover", "studio-2")
    secret = Path(os.path.join(ours, "worker.secret")).read_bytes().strip()
    [(name, state, public)] = keys.listed(folder)
    assert (name, state, public) == ("studio-2", "admitted", zmq.curve_public(secret).decode())
    loaded = keys.worker_keys(ours)
    assert (loaded.secret, loaded.public) == (secret, public.encode())
    assert loaded.server == keys.public_key(folder)


def test_secret_of_a_worker_is_nowhere_but_in_what_is_handed_over(folder):
    ours = keys.add_worker(folder, "a")
    secret = Path(os.path.join(ours, "worker.secret")).read_bytes().strip()
    holders = [name for name in files(folder) if secret in Path(os.path.join(folder, name)).read_bytes()]
    assert holders == ["handover/a/worker.secret"]


@pytest.mark.covers(
    "umask 000: CURVE keys",
    number=29,
    bound="0600, folders 0700",
    measured="so",
    removed="`net/keys.py`: `0o600` in `_write_key` made `0o644`",
)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_keys_are_for_their_owner_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        keys.init(str(tmp_path / "keys"))
        keys.add_worker(str(tmp_path / "keys"), "a")
    finally:
        os.umask(before)
    for where, folders, names in os.walk(tmp_path / "keys"):
        assert [mode(os.path.join(where, name)) for name in names] == [0o600] * len(names)
        assert [mode(os.path.join(where, name)) for name in folders] == [0o700] * len(folders)
    assert mode(tmp_path / "keys") == 0o700


@pytest.mark.covers(
    "CURVE keys exist already, or a link is in their place",
    number=28,
    bound="F, nothing changed",
    measured="so",
    removed="`net/keys.py`: `os.O_EXCL`",
)
def test_keys_are_never_written_over(folder):
    before = {name: Path(os.path.join(folder, name)).read_text() for name in files(folder)}
    with pytest.raises(KeyFileError, match=r"coordinator\.secret: exists already; keys are never written over"):
        keys.init(folder)
    keys.add_worker(folder, "a")
    handed = Path(os.path.join(folder, "handover/a/worker.secret")).read_text()
    with pytest.raises(KeyFileError, match="there is, or was, a worker of that name"):
        keys.add_worker(folder, "a")
    assert Path(os.path.join(folder, "handover/a/worker.secret")).read_text() == handed
    assert {name: Path(os.path.join(folder, name)).read_text() for name in before} == before


@pytest.mark.parametrize("trap", ["link", "dangling link"])
def test_link_in_a_keys_place_is_not_followed(tmp_path, trap):
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    target = tmp_path / "target"
    if trap == "link":
        target.write_text("mine")
    (folder / "coordinator.secret").symlink_to(target)
    with pytest.raises(KeyFileError, match="exists already"):
        keys.init(str(folder))
    assert target.exists() is (trap == "link")
    with pytest.raises(KeyFileError):
        keys.coordinator_keys(str(folder))


def test_name_once_revoked_is_not_given_again(folder):
    keys.add_worker(folder, "a")
    keys.revoke(folder, "a")
    assert [row[:2] for row in keys.listed(folder)] == [("a", "revoked")]
    with pytest.raises(KeyFileError, match="there is, or was"):
        keys.add_worker(folder, "a")
    with pytest.raises(KeyFileError, match="no worker of that name is admitted; `zaudio keys list`"):
        keys.revoke(folder, "a")


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", ".a", "a b", "a\n", "x" * 65, "ä"])
def test_name_that_could_be_a_path_is_refused(folder, name):
    for act in (keys.add_worker, keys.revoke):
        with pytest.raises(KeyFileError, match="no name for a worker"):
            act(folder, name)
    assert files(folder) == ["coordinator.secret"]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_secret_that_others_can_read_is_refused_with_what_to_do(folder, bits):
    path = os.path.join(folder, "coordinator.secret")
    os.chmod(path, bits)
    with pytest.raises(KeyFileError, match=f"others can read or change this secret: chmod 600 {path}"):
        keys.coordinator_keys(folder)


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o722, 0o1777])
@pytest.mark.parametrize("place", ["", "workers"])
def test_folder_in_which_others_could_admit_a_key_is_refused_with_what_to_do(folder, place, bits):
    path = os.path.join(folder, place) if place else folder
    os.chmod(path, bits)
    with pytest.raises(KeyFileError, match=f"others can write here, and so could admit any worker: chmod 700 {path}"):
        keys.coordinator_keys(folder)


@pytest.mark.parametrize("place", ["", "workers"])
def test_folder_of_another_user_who_could_admit_a_key_is_refused(folder, monkeypatch, place):
    place = os.path.join(folder, place)
    if os.geteuid() == 0:
        os.chown(place, 4321, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(KeyFileError, match="another user owns it"):
        keys.coordinator_keys(folder)


def test_folder_that_others_can_only_look_at_will_do(folder):
    os.chmod(folder, 0o755)
    assert keys.coordinator_keys(folder).allowed.read() == {}


NO_KEYS = [b"", b"\n", b"x" * 39, b"x" * 41, b"x" * 4000, b"~" * 40, b"#" * 40 + b"\n", b"\0" * 40, b"x" * 40 + b"\n\n"]


@pytest.mark.parametrize("text", NO_KEYS)
def test_file_that_is_no_key_is_refused_without_saying_what_is_in_it(folder, text):
    path = os.path.join(folder, "coordinator.secret")
    with open(path, "wb") as file:
        file.write(text)
    with pytest.raises(KeyFileError) as error:
        keys.coordinator_keys(folder)
    assert str(error.value) == f"{path}: holds no key; expected 40 characters of Z85 and a newline"


def test_key_without_its_newline_is_a_key(folder):
    path = os.path.join(folder, "coordinator.secret")
    key = Path(path).read_bytes().strip()
    with open(path, "wb") as file:
        file.write(key)
    assert keys.coordinator_keys(folder).server.secret == key


def test_fifo_in_a_keys_place_does_not_hang(folder):
    path = os.path.join(folder, "coordinator.secret")
    os.unlink(path)
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match="is no regular file"):
        keys.coordinator_keys(folder)


def test_keys_of_the_wrong_side_are_named(folder, tmp_path):
    ours = keys.add_worker(folder, "a")
    with pytest.raises(KeyFileError, match="these are a coordinator's keys; a worker takes the folder handover/NAME"):
        keys.worker_keys(folder)
    with pytest.raises(KeyFileError, match="these are a worker's keys"):
        keys.coordinator_keys(ours)
    with pytest.raises(KeyFileError, match="there is no such file; `zaudio keys init"):
        keys.coordinator_keys(str(tmp_path / "nowhere"))
    with pytest.raises(KeyFileError, match="there is no such file; `zaudio keys worker NAME` on the coordinator"):
        keys.worker_keys(str(tmp_path / "nowhere"))


def test_no_secret_is_shown_by_what_holds_it(folder):
    ours = keys.worker_keys(keys.add_worker(folder, "a"))
    both = keys.coordinator_keys(folder)
    shown = "".join(map(repr, (ours, both, both.server, both.local, both.allowed, vars(both.allowed))))
    for secret in (ours.secret, both.server.secret, both.local.secret):
        assert secret.decode() not in shown


def test_each_job_has_a_pair_of_its_own_for_local_workers(folder):
    first, second = keys.coordinator_keys(folder), keys.coordinator_keys(folder)
    assert first.local.secret != second.local.secret
    assert first.local.server == keys.public_key(folder)


# The list


def test_list_is_read_again_when_it_changes(folder):
    allowed = keys.coordinator_keys(folder).allowed
    assert allowed.read() == {}
    keys.add_worker(folder, "a")
    keys.add_worker(folder, "b")
    assert sorted(allowed.read().values()) == ["a", "b"]
    keys.revoke(folder, "a")
    assert list(allowed.read().values()) == ["b"]


def test_key_that_is_replaced_in_its_file_is_seen(folder):
    keys.add_worker(folder, "a")
    allowed = keys.coordinator_keys(folder).allowed
    before = allowed.read()
    public, _ = zmq.curve_keypair()
    with open(os.path.join(folder, "workers", "a.public"), "wb") as file:
        file.write(public + b"\n")
    assert allowed.read() == {public.decode(): "a"} != before


def test_list_that_is_not_there_any_more_admits_nobody(folder):
    keys.add_worker(folder, "a")
    allowed = keys.coordinator_keys(folder).allowed
    assert len(allowed.read()) == 1
    os.rename(folder, f"{folder}.away")
    assert allowed.read() == {}


@pytest.mark.covers(
    "A key that is moved away while the list is read",
    bound="the others stay admitted",
    measured="as told",
    removed="`keys.py`: `suppress(FileNotFoundError)` in the listing",
)
def test_worker_that_is_revoked_while_the_list_is_read_takes_no_other_with_it(folder, monkeypatch):
    keys.add_worker(folder, "a")
    keys.add_worker(folder, "b")
    allowed = keys.coordinator_keys(folder).allowed
    scandir = os.scandir

    @contextmanager
    def revoking(path):
        with scandir(path) as entries:
            found = list(entries)
        keys.revoke(folder, "a")
        yield iter(found)

    monkeypatch.setattr(os, "scandir", revoking)
    assert list(allowed.read().values()) == ["b"]


def test_key_that_is_revoked_is_not_admitted_again_by_a_thread_that_read_the_list_before(folder):
    class Shared(keys.AllowList):
        """A list that another thread reads, once, in between two assignments of this one."""

        meanwhile = None

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if self.meanwhile is not None:
                meanwhile, Shared.meanwhile = self.meanwhile, None
                meanwhile()

    keys.add_worker(folder, "box")
    allowed = Shared(folder)

    def revoked_and_read():
        keys.revoke(folder, "box")
        assert allowed.read() == {}

    Shared.meanwhile = staticmethod(revoked_and_read)
    allowed.read()
    assert allowed.read() == {}


def test_key_that_cannot_be_read_for_want_of_descriptors_is_still_admitted(folder, monkeypatch):
    keys.add_worker(folder, "a")
    allowed = keys.coordinator_keys(folder).allowed
    keys.add_worker(folder, "b")
    opens = os.open

    def full(path, *rest):
        if str(path).endswith("a.public"):
            raise OSError(errno.EMFILE, "Too many open files", path)
        return opens(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match="Too many open files"):
            allowed.read()
    assert sorted(allowed.read().values()) == ["a", "b"]


def test_file_that_is_no_key_admits_nobody_and_is_named(folder):
    keys.add_worker(folder, "a")
    allowed = keys.coordinator_keys(folder).allowed
    path = Path(folder, "workers", "b.public")
    path.write_text("hello")
    path.chmod(0o600)
    assert list(allowed.read().values()) == ["a"]
    assert ["b.public: holds no key" in fault for fault in allowed.faults] == [True]
    with pytest.raises(KeyFileError, match=r"not every file is a key: .*b\.public"):
        keys.coordinator_keys(folder)


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_public_key_that_others_can_change_is_not_believed_on_either_side(folder, bits):
    ours = keys.add_worker(folder, "a")
    for path in (os.path.join(folder, "workers", "a.public"), os.path.join(ours, "coordinator.public")):
        os.chmod(path, bits)
    allowed = keys.AllowList(folder)
    assert allowed.read() == {}
    assert ["others can change this key" in fault for fault in allowed.faults] == [True]
    with pytest.raises(KeyFileError, match="others can change this key, and so who is trusted: chmod 600 "):
        keys.worker_keys(ours)


def test_other_files_beside_the_keys_do_no_harm(folder):
    for name in ("README", ".hidden.public", "a.public~"):
        with open(os.path.join(folder, "workers", name), "w") as file:
            file.write("hello")
    assert keys.coordinator_keys(folder).allowed.read() == {}


def test_default_folder_is_in_the_users_configuration(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert keys.default_folder() == "/x/zaudio/keys"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/u")
    assert keys.default_folder() == "/home/u/.config/zaudio/keys"
