"""Declaring: `zaudio.op`. It asks for an op with parameters, or declares what a user's function needs.

    zaudio.op("gain", db=-3)  # asks for an op

    @zaudio.op(context="20ms")  # declares: the function is called with 20 ms on either side of a block
    def smooth(samples, *, strength=1): ...

Rules:

- A declared function stays the same plain function; the declaration hangs on it. It does not travel: each side reads it
  from the module that its own user named.
- Functions in a declaration are called with those of the op's parameters that they name, and with the signal.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import numbers
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from zaudio.errors import UsageError
from zaudio.ops.contract import Precision
from zaudio.ops.parameters import frames_of, is_duration
from zaudio.ops.spec import OpSpec, Requested, request
from zaudio.signal import Signal
from zaudio.steps import Scalar

Duration = int | str  # frames, or a text such as "20ms"
Context = Duration | tuple[Duration, Duration] | Callable[..., Duration | tuple[Duration, Duration]]
Grid = Duration | Callable[..., Duration]
Function = TypeVar("Function", bound=Callable[..., object])

ATTRIBUTE = "__zaudio_op__"  # of a function: its declaration
LONGEST_VERSION = 64  # characters
HASH_DIGITS = 16  # of a model's SHA-256: 64 bits tell its versions apart

_EXAMPLE = 'frames, a duration such as "20ms"'


@dataclass(frozen=True)
class Declaration:
    """The needs of a user's function, as `op` describes them.

    Raises:
        UsageError: A value has another type.
    """

    context: Context = 0
    grid: Grid = 1
    setup: Callable[..., object] | None = None
    precision: Precision = Precision.STORED
    signal: Callable[..., Signal] | None = None
    needs: Callable[..., tuple[int, int]] | None = None
    version: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        for key in ("setup", "signal", "needs"):
            value = getattr(self, key)
            if value is not None and not callable(value):
                raise UsageError(f"zaudio.op: {key} is a function, not {value!r:.80}")
        if not callable(self.context):
            _pair(self.context, 1)
        if not callable(self.grid):
            _least(_frames("grid", self.grid, 1))
        if self.needs is not None and (self.context != 0 or self.grid != 1):
            raise UsageError("zaudio.op: give context and grid, or needs in their place, not both")
        check_version("zaudio.op", self.version)

    def context_of(self, signal: Signal, params: Mapping[str, Scalar]) -> tuple[int, int]:
        """Return the frames in front of a block and behind it."""
        value = called(self.context, (signal,), params) if callable(self.context) else self.context
        return _pair(value, signal.samplerate)

    def grid_of(self, signal: Signal, params: Mapping[str, Scalar]) -> int:
        """Return the frames per block, 1 for no grid."""
        value = called(self.grid, (signal,), params) if callable(self.grid) else self.grid
        return _least(_frames("grid", value, signal.samplerate))


@overload
def op(name: Requested, /, **params: Any) -> OpSpec: ...


@overload
def op(
    *,
    context: Context = ...,
    grid: Grid = ...,
    setup: Callable[..., object] | None = ...,
    precision: str = ...,
    signal: Callable[..., Signal] | None = ...,
    needs: Callable[..., tuple[int, int]] | None = ...,
    version: str = ...,
    model: str | os.PathLike[str] = ...,
) -> Callable[[Function], Function]: ...


def op(*names: Any, **given: Any) -> Any:
    """Return an op with parameters, or a decorator that declares the needs of a function.

    ``op("gain", db=-3)`` and ``op(my_ops.crush, bits=6)`` return an op: its name, ``module:function``, a SPEC, a
    module-level function or a class of ops comes first, and its parameters follow: numbers, texts, True or False.

    ``@op(context="20ms")`` declares, on a module-level function:

    - context: what the function gets on either side of a block: frames, a duration such as ``"20ms"``, or a pair of
      these for before and after. It gets as much of it as the recording has.
    - grid: the frames or the duration of a block. Blocks are counted from frame 0, and the function is called for each
      whole block, wherever chunks are cut.
    - setup: a function that is called once in each worker's process. The op gets its value as ``state=``.
    - precision: ``"stored"``: samples as the recording has them. ``"float32"``, ``"float64"``: full scale is 1.0.
    - signal, needs: for a function whose output has other frames or channels, or another format. `signal` returns the
      output's signal for the input's. `needs`, called with the first frame of the output and the one behind the last,
      returns the frames of the input that the function gets for them, with zeros where the recording has none.
    - version, model: a text, and the path of a file, relative to the function's module. A job is not resumed, and a
      worker takes no part, with another version or another file.

    Context and grid may be functions, too. Each function gets the signal and the op's parameters that it names.

    Raises:
        UsageError: The op is neither a name nor a function, a parameter cannot travel to a worker, or a declaration
            has another type.
    """
    if names:
        if len(names) > 1:
            raise UsageError(f"zaudio.op: expected one op and its parameters by name, not {len(names)} ops")
        return request(names[0], given)
    known = inspect.signature(Declaration).parameters
    for key in given:
        if key not in known:
            raise UsageError(f"zaudio.op: expected {', '.join(known)}, not {key}")
    if "model" in given:
        given["model"] = os.fspath(given["model"])
    if "precision" in given:
        given["precision"] = _precision(given["precision"])
    declared = Declaration(**given)

    def decorate(function: Function) -> Function:
        if not inspect.isfunction(function):
            raise UsageError(f"zaudio.op declares a plain function of a module, not {function!r:.80}")
        setattr(function, ATTRIBUTE, declared)
        return function

    return decorate


def declaration_of(function: Callable[..., object]) -> Declaration | None:
    """Return the declaration of a function; None when it has none."""
    found = getattr(function, ATTRIBUTE, None)
    return found if isinstance(found, Declaration) else None


def called(function: Callable[..., Any], values: tuple[object, ...], params: Mapping[str, Scalar]) -> Any:
    """Return the result of a function in a declaration.

    Args:
        function: The function.
        values: Given to those of its arguments that are no parameters of the op, in order, as far as it has any.
        params: The op's parameters: it gets those that it names.
    """
    try:
        expected = inspect.signature(function).parameters.values()
    except ValueError:  # compiled, without a signature
        return function(*values)
    rest, positional = list(values), []
    named: dict[str, object] = {}
    for item in expected:
        if item.kind is item.VAR_KEYWORD:
            named.update({key: value for key, value in params.items() if key not in named})
        elif item.kind is item.VAR_POSITIONAL:
            positional += rest
        elif item.kind is item.POSITIONAL_ONLY and rest:
            positional.append(rest.pop(0))
        elif item.name in params:
            named[item.name] = params[item.name]
        elif rest and item.kind is item.POSITIONAL_OR_KEYWORD:
            named[item.name] = rest.pop(0)
    return function(*positional, **named)


def version_text(name: str, version: str, model: str, home: str) -> str:
    """Return an op's version with the hash of its model: ``2``, ``2+sha256:0123456789abcdef``, or an empty text.

    Args:
        name: The op, for a sentence.
        version: The version that it declares.
        model: The path of its model; empty for none.
        home: The file of its module, beside which the model lies.

    Raises:
        UsageError: The model cannot be read.
    """
    if not model:
        return version
    path = os.path.join(os.path.dirname(os.path.abspath(home)), model)
    try:
        stat = os.stat(path)
        digest = _hash(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UsageError(f"op {name}: its model {path} cannot be read: {error.strerror or error}") from error
    return f"{version}+sha256:{digest}" if version else f"sha256:{digest}"


def check_version(where: str, version: object) -> None:
    """Make sure that a version can travel.

    Raises:
        UsageError: It is no short printable text.
    """
    if not isinstance(version, str) or not version.isprintable() or len(version) > LONGEST_VERSION:
        raise UsageError(f"{where}: version is a text of at most {LONGEST_VERSION} characters, not {version!r:.80}")


@functools.lru_cache(maxsize=64)  # a model has many megabytes, and each stage binds its op again
def _hash(path: str, _size: int, _modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:HASH_DIGITS]


def _precision(value: object) -> Precision:
    for precision in (Precision.STORED, Precision.FLOAT32, Precision.FLOAT64):
        if value in (precision, precision.value):
            return precision
    raise UsageError(f"zaudio.op: precision is stored, float32 or float64, not {value!r:.80}")


def _frames(key: str, value: object, samplerate: int) -> int:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 0:
        return int(value)
    if isinstance(value, str) and is_duration(value):
        return frames_of(value, samplerate)
    pair = ", or a pair of these" if key == "context" else ""
    raise UsageError(f"zaudio.op: {key} is {_EXAMPLE}{pair}, or a function of the signal, not {value!r:.80}")


def _pair(value: object, samplerate: int) -> tuple[int, int]:
    if isinstance(value, tuple) and len(value) == 2:
        return _frames("context", value[0], samplerate), _frames("context", value[1], samplerate)
    frames = _frames("context", value, samplerate)
    return frames, frames


def _least(grid: int) -> int:
    return max(1, grid)


PLAIN = Declaration()  # of a function that declares nothing: it works sample by sample
