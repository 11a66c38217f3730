"""Setups: objects that ops make once in this process, for instance a loaded model.

Rules:

- An op is set up in the computing thread of a worker's process, after its fork. The other thread goes on with
  heartbeats meanwhile.
- An equal op with an equal signal of any length uses the setup again: the stages of a job and the recordings of a batch
  share it. Only the setups of the last graph are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from zaudio.errors import UsageError
from zaudio.net.failure import log_failure, parted, told
from zaudio.net.numbers import numbers_of
from zaudio.ops.graph import Graph
from zaudio.signal import Signal
from zaudio.steps import Step

log = logging.getLogger("zaudio.worker")


class Setups:
    """The things that the ops of the last graph made."""

    def __init__(self) -> None:
        self._made: dict[tuple[Step, Signal], object] = {}

    def set_up(self, graph: Graph, steps: Sequence[Step]) -> tuple[int, ...]:
        """Set up the ops of a graph, but for those that an equal op was set up for.

        Args:
            graph: The graph.
            steps: Its ops as they travelled.

        Returns:
            A number for each op, by which classes of machines are told apart: see `zaudio.net.numbers`.

        Raises:
            UsageError: An op cannot be set up here; the sentence names it.
        """
        made: dict[tuple[Step, Signal], object] = {}
        for step, op, signal in zip(steps, graph.ops, graph.signals, strict=False):
            key = _key(step, signal)
            if key in made:
                continue
            try:
                made[key] = self._made[key] if key in self._made else op.setup(signal)
            except UsageError:
                raise
            except BaseException as error:  # a user's op may raise anything, SystemExit too
                text = told(error)
                log_failure(log, f"op {step.name}: its setup failed", text)
                raise UsageError(f"op {step.name}: its setup failed: {parted(text)[0]}") from error
        self._made = made
        states = [made[_key(step, signal)] for step, signal in zip(steps, graph.signals, strict=False)]
        graph.setup(states)
        return numbers_of(graph, steps)


def _key(step: Step, signal: Signal) -> tuple[Step, Signal]:
    return step, replace(signal, frames=0)
