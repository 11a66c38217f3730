"""Beside: users' modules that lie in the current folder.

Rules:

- The folder is on no `sys.path`: only the modules that a user names are looked up in it, by their path. Nothing else
  there is imported, not even from beside a named module.
- A named module that is found elsewhere first is refused, since its user means the one in the folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

from zaudio.errors import UsageError


class _Beside:
    """Finds the named top-level modules in one folder. It stands behind all other finders."""

    def __init__(self, folder: str, names: frozenset[str]) -> None:
        self._folder = folder
        self._names = names

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return where the module lies, if it is a named one."""
        return PathFinder.find_spec(name, [self._folder]) if name in self._names else None


@contextlib.contextmanager
def beside(entries: Iterable[str]) -> Iterator[None]:
    """Let the modules of these entries be imported from the current folder, inside of the block.

    Raises:
        UsageError: As `find_beside`.
    """
    finder = _find(entries)
    try:
        yield
    finally:
        if finder in sys.meta_path:  # its own: another thread may be in a block of its own
            sys.meta_path.remove(finder)


def find_beside(entries: Iterable[str]) -> None:
    """Let the modules of these entries be imported from the current folder, from now on.

    Args:
        entries: ``MODULE`` or ``MODULE:FUNCTION`` each, as `import_allowed` takes them.

    Raises:
        UsageError: Another module of that name is found first.
    """
    _find(entries)


def _find(entries: Iterable[str]) -> _Beside | None:
    """Add a finder of these modules, and return it; None if there is no current folder."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # it was removed, so there is nothing to import
        return None
    PathFinder.invalidate_caches()  # the module may have been written a moment ago
    names = frozenset(entry.partition(":")[0].partition(".")[0] for entry in entries)
    for name in sorted(names):
        _check(name, folder)
    finder = _Beside(folder, names)
    sys.meta_path.append(finder)
    return finder


def _check(name: str, folder: str) -> None:
    """Refuse a name under which another module would be imported than the one in the folder."""
    if not name.isidentifier() or name == "__main__":  # `import_allowed` says so
        return
    here = PathFinder.find_spec(name, [folder])
    if here is None or here.loader is None or here.origin is None:  # a mere folder is no module
        return
    try:
        elsewhere = find_spec(name)
    except ValueError:  # a module without a spec is imported already
        return
    if elsewhere is None or elsewhere.loader is None:
        return
    found = elsewhere.origin or "Python itself"
    if not (os.path.exists(found) and os.path.samefile(found, here.origin)):
        where = "Python itself" if found in ("built-in", "frozen") else found
        raise UsageError(
            f"cannot import {name} from {here.origin}: another {name} is found first, in {where}; "
            "give the module another name"
        )
