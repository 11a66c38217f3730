"""Rendering: one job, from a recording to a file that plays. A Coordinator without reversal and encryption.

Rules: those of `zaudio.job.life`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from zaudio.coordinator import OneResult
from zaudio.errors import UsageError
from zaudio.events import Event
from zaudio.facts import Report
from zaudio.job.life import takes_arguments_of
from zaudio.job.request import parse_request
from zaudio.ops.spec import Requested
from zaudio.settings import Limits, Network, Playable, Raw, Security
from zaudio.timing import Timing


class Rendering(OneResult):
    """One job: a recording, ops on its samples, and the file that is made of it.

    Args:
        input: The recording. It and all arguments that are not listed here are as for `Coordinator`.
        output: The file. Its suffix says the kind: WAV, FLAC or raw samples. `zaudio.Playable` says its format, too.
        ops: The operations on the samples; by default none.
        overwrite: Replace an older file, at the instant of publication.
        security: Keys and audits. The settings of an encryption key belong to a sealed result.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.

    Example:
        >>> report = Rendering("take.wav", "louder.flac", ops="gain:db=3", workers=4).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        input: str | os.PathLike[str],
        output: str | os.PathLike[str] | Playable,
        *,
        ops: Requested | Sequence[Requested] = (),
        workers: int | None = None,
        bind: str | None = None,
        chunk: str | int | None = None,
        overwrite: bool = False,
        fresh: bool = False,
        raw: Raw = Raw(),
        network: Network = Network(),
        security: Security = Security(),
        limits: Limits = Limits(),
        timing: Timing | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        request = parse_request(
            os.fspath(input),
            output if isinstance(output, Playable) else Playable(output),
            ops=ops,
            workers=workers,
            bind=bind,
            chunk=chunk,
            overwrite=overwrite,
            fresh=fresh,
            raw=raw,
            network=network,
            security=security,
            limits=limits,
            timing=timing,
        )
        if isinstance(output, Playable) and output.suffix is not None:
            raise UsageError("suffix is of a batch; of a single file the path says it, so leave it out")
        super().__init__(request, on_event)


@takes_arguments_of(Rendering)
def render(*arguments: Any, **settings: Any) -> Report:  # noqa: ANN401  those of `Rendering`
    """Make a file that plays, as `Rendering` does, and wait for its end.

    Raises:
        ZaudioError: See `Rendering`, and its `start` and `wait`.

    Example:
        >>> render("take.wav", "louder.flac", ops="gain:db=3", workers=4)  # doctest: +SKIP
    """
    return Rendering(*arguments, **settings).run()
