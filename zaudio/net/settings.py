"""Settings of a worker: all that workers started together have in common, checked once, before the first one starts."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from zaudio.endpoints import check_endpoint
from zaudio.errors import UsageError
from zaudio.machine import check_limits
from zaudio.net.keys import ClientKeys, worker_keys
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.wire.fields import LIST_MAX, NAME_MAX


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings that workers started together share.

    Attributes:
        endpoint: The ventilator's address, ``tcp://HOST:PORT`` or ``ipc://PATH``.
        allowed: The functions that jobs may use as ops; imported already.
        read: Folders below which the worker reads recordings itself, by their real names.
        once: End after one job, or when no coordinator answers, instead of looking for the next.
        lifetime: Seconds after which it leaves; None for no end.
        idle_timeout: Seconds without a chunk after which it leaves; None for no end.
        keys: The keys by which it is admitted, if the coordinator has keys.
    """

    endpoint: str
    allowed: Allowed
    read: tuple[str, ...] = ()
    once: bool = False
    lifetime: float | None = None
    idle_timeout: float | None = None
    keys: ClientKeys | None = None

    @classmethod
    def checked(
        cls,
        endpoint: str,
        *,
        allow: Sequence[str] = (),
        read: Sequence[str | os.PathLike[str]] = (),
        once: bool = False,
        lifetime: float | None = None,
        idle_timeout: float | None = None,
        keys: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Check a user's arguments, and import the modules of `allow`; return them as settings.

        Raises:
            EndpointError: The endpoint is malformed.
            KeyFileError: There are no keys of a worker in the folder `keys`.
            UsageError: A module of `allow` cannot be imported, a folder of `read` cannot be told, or a duration is no
                number of seconds above 0.
        """
        check_limits(0, coordinates=False)
        return cls(
            check_endpoint(endpoint),
            import_allowed(allow),
            _folders(read),
            once,
            _duration("lifetime", lifetime),
            _duration("idle_timeout", idle_timeout),
            worker_keys(os.fspath(keys)) if keys is not None else None,
        )


def _duration(name: str, seconds: float | None) -> float | None:
    if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"{name} is a number of seconds above 0, not {seconds!r}")
    return seconds


def _folders(read: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return the folders as a hello may name them."""
    folders = tuple(os.path.realpath(folder) for folder in read)
    for folder in folders:
        if len(os.fsencode(folder)) > NAME_MAX or folder.encode("utf-8", "replace") != os.fsencode(folder):
            raise UsageError(f"read: expected UTF-8 names of at most {NAME_MAX} bytes, got {folder!r}")
    if len(folders) > LIST_MAX:
        raise UsageError(f"read: expected at most {LIST_MAX} folders, got {len(folders)}")
    return folders
