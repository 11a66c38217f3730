"""Allowed: the users' own functions and classes of ops that a job may ask a worker for.

Rules:

- `import_allowed` is the only place that imports a user's module. It runs when a worker starts, on names from the
  worker's own command line.
- A name from the wire selects among the imported modules. It never causes an import, not even through a module's
  `__getattr__`.
- A name can select only what the module itself defines: a function or a dataclass that derives from `Op`. It selects
  nothing that the module imported (most modules could reach `os.system`), no other class, no attribute of an attribute.
- A class that is allowed by its name allows the other ops of its module that are dataclasses: it may measure by them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeGuard

from zaudio.errors import UsageError
from zaudio.ops.catalogue import BUILTIN
from zaudio.ops.contract import Op
from zaudio.ops.spec import offers, split_function


@dataclass(frozen=True, slots=True)
class Allowed:
    """The functions that a worker allows; made by `import_allowed`.

    Attributes:
        names: ``module`` (any function defined there) or ``module:function``, as offered over the wire.
        modules: The imported modules of all `names`, by their full names.
    """

    names: tuple[str, ...]
    modules: Mapping[str, ModuleType] = field(repr=False)

    def select(self, name: str) -> Callable[..., Any]:
        """Return the function, or the class of ops, called ``module:function``.

        Raises:
            UsageError: It is not allowed, or is no function and no op that this module defines.
        """
        module, function = split_function(name)
        if not offers(self.names, name):
            raise UsageError(f"op {name}: this worker allows {', '.join(self.names) or 'no module'}; see --allow")
        return _defined(self.modules[module], module, function)


def import_allowed(entries: Sequence[str]) -> Allowed:
    """Import the modules that a worker allows.

    Args:
        entries: ``MODULE`` or ``MODULE:FUNCTION`` each; none at all is fine.

    Raises:
        UsageError: An entry is malformed, its module cannot be imported, or its function is not there.
    """
    names: list[str] = []
    importlib.invalidate_caches()  # the module may have been written a moment ago, by a notebook or a test
    modules: dict[str, ModuleType] = {}
    for entry in entries:
        module, function = _split_entry(entry)
        if module not in modules:
            modules[module] = _import(module, entry)
        names.append(entry)
        if function and is_op_class(_defined(modules[module], module, function)):
            names += _op_classes(modules[module], module)
    return Allowed(tuple(dict.fromkeys(names)), modules)


def is_op_class(found: object) -> TypeGuard[type[Op]]:
    """Return whether something is a class of ops that can travel: a dataclass, by itself and not by its parent."""
    return isinstance(found, type) and issubclass(found, Op) and "__dataclass_params__" in vars(found)


def _op_classes(module: ModuleType, name: str) -> list[str]:
    """Return the names of the classes of ops that a module defines."""
    found = [(key, value) for key, value in vars(module).items() if is_op_class(value)]
    return [f"{name}:{key}" for key, value in found if value.__module__ == name]


def _split_entry(entry: str) -> tuple[str, str]:
    """Return the module and the function of an entry; an empty function means any."""
    try:
        return split_function(entry) if ":" in entry else (split_function(f"{entry}:any")[0], "")
    except UsageError:
        raise UsageError(f"cannot allow {entry!r}: expected MODULE or MODULE:FUNCTION") from None


def _import(module: str, entry: str) -> ModuleType:
    if module == "__main__":
        raise UsageError(f"cannot allow {entry}: workers cannot import __main__; put it in a module of its own")
    if module in BUILTIN:
        # On the wire, a module and a built-in op of one name could not be told apart.
        raise UsageError(
            f"cannot allow {entry}: {module} is a built-in op, as in {BUILTIN[module].example}; "
            "a module of yours needs another name"
        )
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # an import runs a stranger's code, which may raise anything
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"cannot import {entry}: {cause}{_remedy(module, error)}") from error


def _remedy(module: str, error: BaseException) -> str:
    """Return the remedy for a failed import, after a semicolon; empty when it is unknown."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None or error.name in (module, module.split(".")[0]):
        return ""
    return f"; if a folder of yours has {error.name}, name it with --path DIR (in Python: put it on sys.path)"


def _defined(module: ModuleType, module_name: str, name: str) -> Callable[..., Any]:
    """Return the function or the class of ops of that name that the module itself defines."""
    # The dictionary, not getattr: a module's own __getattr__ may import something.
    found: object = vars(module).get(name)
    home = getattr(found, "__module__", None)
    if name not in vars(module):
        reason = f"module {module_name} has no {name}"
    elif isinstance(found, type) and not is_op_class(found):
        reason = f"expected a function, but it is a class{_not_dataclass(found)}"
    elif not callable(found):
        reason = f"expected a function, but it is a {type(found).__name__}"
    elif home != module_name:
        reason = f"it is defined in {home}, not in {module_name}"
    else:
        return found
    raise UsageError(f"op {module_name}:{name}: {reason}")


def _not_dataclass(found: type) -> str:
    """Return the defect of an op's class, after a semicolon; empty for another class."""
    return "; put @dataclass(frozen=True) in front of it" if issubclass(found, Op) else ""
