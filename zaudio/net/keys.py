"""Keys: CURVE keys as files, and the list of admitted workers.

    DIR/                          the coordinator's folder, 0700
        coordinator.secret        its secret key
        workers/NAME.public       the public key of an admitted worker
        revoked/NAME.public       the public key of a worker that is no longer admitted
        handover/NAME/            all that worker NAME needs, to be moved to its machine
            worker.secret         its secret key
            coordinator.public    the key by which it knows the coordinator

Rules:

- A key file is the 40 characters of a key in Z85 and a newline. It is made with mode 0600 where no file was, and never
  written again.
- A secret is read only from a file that no other user can read, a public key from one that no other user can change.
- No secret is in a `repr`, a sentence or a log. Python cannot promise to wipe one from memory, so neither does this
  module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

import zmq

from zaudio import disk
from zaudio.errors import KeyFileError
from zaudio.net.guests import Guests, check_public, is_key

SECRET, WORKER_SECRET, PUBLIC = "coordinator.secret", "worker.secret", "coordinator.public"
WORKERS, REVOKED, HANDOVER = "workers", "revoked", "handover"
SUFFIX = ".public"
LOCAL = "local"  # stands in a list of keys for the workers that a coordinator starts itself
KEY_LENGTH = 40  # characters of Z85 for 32 bytes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no fault of the file that could not be opened


@dataclass(frozen=True, slots=True, repr=False)
class ServerKeys:
    """The key of a listening socket."""

    secret: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """The keys of a connecting socket: its own pair, and the public key of the server that it means to reach."""

    public: bytes
    secret: bytes
    server: bytes


@dataclass(frozen=True, slots=True, repr=False)
class CoordinatorKeys:
    """The keys of a coordinator.

    Attributes:
        server: The key of its sockets.
        local: A pair of this job's own, which its local workers share.
        allowed: The workers that are admitted by files.
        guests: The workers that are admitted for this job alone.
    """

    server: ServerKeys
    local: ClientKeys
    allowed: AllowList
    guests: Guests = field(default_factory=Guests)


class AllowList:
    """The workers that are admitted: the public keys in a folder's `workers`. Any thread may use it.

    Args:
        folder: The coordinator's folder of keys.

    Attributes:
        home: That folder, as it was given.
    """

    def __init__(self, folder: str) -> None:
        self.home = folder
        self._folder = os.path.join(folder, WORKERS)
        # The folder's state, and what was read in it: the names by key, and the faults. Replaced as a whole: a thread
        # must not take the names that another has read for those of the state that it saw itself.
        self._known: tuple[object, dict[str, str], tuple[str, ...]] = (None, {}, ())

    @property
    def faults(self) -> tuple[str, ...]:
        """Files that are no keys, a sentence each: they admit no worker."""
        return self._known[2]

    def read(self) -> dict[str, str]:
        """Return each public key with the name of its worker. A folder that is not there is an empty list.

        Raises:
            OSError: It cannot be read now.
        """
        seen = _listing(self._folder)
        known, names, _ = self._known
        if seen != known:
            names, faults = {}, []
            for entry, *_ in seen:
                path = os.path.join(self._folder, entry)
                try:
                    names[_key_in(path, secret=False).decode()] = _name(entry)
                except KeyFileError as error:
                    faults.append(str(error))
                except OSError as error:
                    if error.errno in _SHORTAGE:
                        raise
                    faults.append(f"{path}: {disk.reason(error)}")
            self._known = seen, names, tuple(faults)
        return names


# The commands


def default_folder() -> str:
    """Return the default folder of the coordinator's keys: in the user's configuration, not beside recordings."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(configuration, "zaudio", "keys")


def init(folder: str) -> None:
    """Make a coordinator's folder of keys.

    Raises:
        KeyFileError: There are keys already, or it cannot be written to.
    """
    with _system_errors(folder):
        os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
        _make_folder(folder)
        for name in (WORKERS, REVOKED, HANDOVER):
            _make_folder(os.path.join(folder, name))
        _, secret = zmq.curve_keypair()
        _write_key(os.path.join(folder, SECRET), secret)


def add_worker(folder: str, name: str) -> str:
    """Make keys for a worker, and admit it from now on.

    Returns:
        The folder that it needs on its machine.

    Raises:
        KeyFileError: `name` cannot be a name, is or was taken, or there are no coordinator's keys in `folder`.
    """
    server = public_key(folder)
    known, revoked = (os.path.join(folder, place, _checked(name) + SUFFIX) for place in (WORKERS, REVOKED))
    ours = os.path.join(folder, HANDOVER, name)
    for path in (known, revoked, ours):
        if os.path.lexists(path):
            raise KeyFileError(path, "there is, or was, a worker of that name; choose another")
    public, secret = zmq.curve_keypair()
    with _system_errors(ours):
        os.makedirs(os.path.dirname(ours), mode=0o700, exist_ok=True)
        os.mkdir(ours, 0o700)
        _write_key(os.path.join(ours, PUBLIC), server)
        _write_key(os.path.join(ours, WORKER_SECRET), secret)
        _make_folder(os.path.dirname(known))
        _write_key(known, public)  # last: only now is it admitted
    return ours


def revoke(folder: str, name: str) -> None:
    """Stop admitting that worker; a running coordinator sends it away within a second.

    Raises:
        KeyFileError: No such worker is admitted.
    """
    known, revoked = (os.path.join(folder, place, _checked(name) + SUFFIX) for place in (WORKERS, REVOKED))
    with _system_errors(known):
        if not os.path.lexists(known):
            raise KeyFileError(known, "no worker of that name is admitted; `zaudio keys list` names those that are")
        _make_folder(os.path.dirname(revoked))
        os.rename(known, revoked)
        disk.sync_folder(os.path.dirname(known))
        disk.sync_folder(os.path.dirname(revoked))


def public_key(folder: str) -> bytes:
    """Return the coordinator's public key, computed from its secret.

    Raises:
        KeyFileError: There is no secret, or it cannot be used.
    """
    return bytes(zmq.curve_public(_coordinator_secret(folder)))


def listed(folder: str) -> list[tuple[str, str, str]]:
    """Return every worker as its name, ``admitted`` or ``revoked``, and its public key; sorted.

    Raises:
        KeyFileError: A file is no key.
    """
    rows = []
    for place, state in ((WORKERS, "admitted"), (REVOKED, "revoked")):
        where = os.path.join(folder, place)
        with _system_errors(where):
            for entry, *_ in _listing(where):
                key = _read_key(os.path.join(where, entry), secret=False).decode()
                rows.append((_name(entry), state, key))
    return sorted(rows)


# What a farm and a worker load


def coordinator_keys(folder: str) -> CoordinatorKeys:
    """Return the keys of a coordinator, with a new pair for its local workers.

    Raises:
        KeyFileError: There are no keys, or they cannot be used.
    """
    secret = _coordinator_secret(folder)
    for each in (folder, os.path.join(folder, WORKERS)):
        _check_folder(each)
    allowed = AllowList(folder)
    with _system_errors(os.path.join(folder, WORKERS)):
        allowed.read()
    if allowed.faults:
        raise KeyFileError(os.path.join(folder, WORKERS), f"not every file is a key: {allowed.faults[0]}")
    public, own = zmq.curve_keypair()
    local = ClientKeys(public, own, bytes(zmq.curve_public(secret)))
    return CoordinatorKeys(ServerKeys(secret), local, allowed)


def worker_keys(folder: str) -> ClientKeys:
    """Return the keys of a worker.

    Raises:
        KeyFileError: There are no keys, or they cannot be used.
    """
    path = os.path.join(folder, WORKER_SECRET)
    if not os.path.lexists(path):
        if os.path.lexists(os.path.join(folder, SECRET)):
            sentence = f"these are a coordinator's keys; a worker takes the folder {HANDOVER}/NAME of them"
            raise KeyFileError(folder, sentence)
        sentence = "there is no such file; `zaudio keys worker NAME` on the coordinator's machine makes it"
        raise KeyFileError(path, sentence)
    secret = _read_key(path, secret=True)
    return ClientKeys(bytes(zmq.curve_public(secret)), secret, _read_key(os.path.join(folder, PUBLIC), secret=False))


def guest_keys(server: str) -> ClientKeys:
    """Return a new pair of keys for a worker that will be a guest of the coordinator with that public key.

    Raises:
        UsageError: `server` is no public key.
    """
    check_public(server)
    public, secret = zmq.curve_keypair()
    return ClientKeys(public, secret, server.encode())


def guest_folder(folder: str, server: str) -> str:
    """Make a folder of keys for a worker that will be a guest of that coordinator; return its public key.

    It is for a worker that cannot be talked to, where all that a launcher can give is a path. No file is made durable:
    the key is of no use once the launcher's process has ended.

    Args:
        folder: The folder, which must not be there; only this user can read it.
        server: The coordinator's public key.

    Raises:
        KeyFileError: It cannot be made.
        UsageError: `server` is no public key.
    """
    keys = guest_keys(server)
    with _system_errors(folder):
        os.mkdir(folder, 0o700)
        for name, key in ((PUBLIC, keys.server), (WORKER_SECRET, keys.secret)):
            descriptor = disk.create(os.path.join(folder, name), mode=disk.PRIVATE)
            try:
                disk.write_all(descriptor, key + b"\n")
            finally:
                os.close(descriptor)
    return keys.public.decode()


def _coordinator_secret(folder: str) -> bytes:
    path = os.path.join(folder, SECRET)
    if not os.path.lexists(path):
        if os.path.lexists(os.path.join(folder, WORKER_SECRET)):
            raise KeyFileError(folder, "these are a worker's keys; expected a folder that `zaudio keys init` made")
        raise KeyFileError(path, f"there is no such file; `zaudio keys init {folder}` makes it")
    return _read_key(path, secret=True)


# Files


def _check_folder(folder: str) -> None:
    """Make sure that no other user can admit workers."""
    with _system_errors(folder), contextlib.suppress(FileNotFoundError):
        status = os.stat(folder)
        if status.st_mode & 0o022:
            raise KeyFileError(folder, f"others can write here, and so could admit any worker: chmod 700 {folder}")
        if os.geteuid() != 0 and status.st_uid not in (0, os.geteuid()):
            raise KeyFileError(folder, "another user owns it, and so could admit any worker; use a folder of your own")


def _listing(folder: str) -> list[tuple[str, int, int, int]]:
    """Return the key files of a folder, each with the numbers that change when the file does."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in filter(lambda entry: _is_key_name(entry.name), entries):
                # A file that `revoke` moves away in this instant is gone; the others are not.
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    except FileNotFoundError:
        return []
    return sorted((name, status.st_ino, status.st_ctime_ns, status.st_size) for name, status in found)


def _is_key_name(entry: str) -> bool:
    return entry.endswith(SUFFIX) and _NAME.fullmatch(_name(entry)) is not None


def _name(entry: str) -> str:
    return entry.removesuffix(SUFFIX)


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise KeyFileError(name, "no name for a worker; expected up to 64 letters, digits, dots, hyphens, underscores")
    return name


def _read_key(path: str, *, secret: bool) -> bytes:
    with _system_errors(path):
        return _key_in(path, secret=secret)


def _key_in(path: str, *, secret: bool) -> bytes:
    descriptor = os.open(path, disk.READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(path, "is no regular file")
        if secret and status.st_mode & 0o077:
            raise KeyFileError(path, f"others can read or change this secret: chmod 600 {path}")
        if status.st_mode & 0o022:
            raise KeyFileError(path, f"others can change this key, and so who is trusted: chmod 600 {path}")
        text = os.read(descriptor, KEY_LENGTH + 2)
    finally:
        os.close(descriptor)
    key = text.removesuffix(b"\n")
    if not is_key(key):
        # The sentence never shows the text: it may be most of a secret.
        raise KeyFileError(path, f"holds no key; expected {KEY_LENGTH} characters of Z85 and a newline")
    return key


def _write_key(path: str, key: bytes) -> None:
    """Write a key where nothing is, for its owner alone, and to the disk."""
    disk.store(disk.create(path, mode=disk.PRIVATE), key + b"\n")
    disk.sync_folder(os.path.dirname(path))


def _make_folder(folder: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)


@contextlib.contextmanager
def _system_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise KeyFileError(str(error.filename or path), "exists already; keys are never written over") from None
    except OSError as error:
        raise KeyFileError(str(error.filename or path), disk.reason(error)) from None
