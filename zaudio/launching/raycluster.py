"""Ray: workers as actors of a Ray cluster, spread over its nodes. Runs in the bridge.

Rules:

- One actor a worker. It takes the processors and GPUs that the user named, so Ray gives them to nobody else.
- An actor answers while its worker runs: the bridge always has one question open to each.
- An actor dies with the bridge, which is its driver, and the worker with the actor.
- An actor's arguments are orders: no secret is there.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

import ray

from zaudio.errors import LaunchError
from zaudio.launching.berth import LOOK, STOP, Berth, Message, news_of
from zaudio.version import VERSION

ROOM = 2.0  # s between two looks at what the cluster has left
BEGIN = 5.0  # s for an actor to begin where there is room for it
QUESTION = 1.0  # s that an actor thinks about an answer when there is nothing new


class Actor:
    """A berth, as an actor's class."""

    def __init__(self, version: str, said: Mapping[str, Any]) -> None:
        self._berth = Berth(version, said)

    def look(self) -> Message | None:
        """Return what the worker said, after at most a second."""
        deadline = time.monotonic() + QUESTION
        while (message := self._berth.look()) is None and time.monotonic() < deadline:
            time.sleep(LOOK)
        return message

    def go(self) -> None:
        """Let the worker connect."""
        self._berth.go()

    def close(self) -> None:
        """End the worker."""
        self._berth.close(time.monotonic() + STOP)


class RayCluster:
    """A Ray cluster. See `Cluster`.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        options: ``cpus`` and ``gpus`` that each worker takes; 1 and 0 by default.

    Raises:
        LaunchError: No cluster answered, or its Python or Ray is another one.
    """

    def __init__(self, address: str, options: Mapping[str, str]) -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, namespace="zaudio")
        except Exception as error:  # noqa: BLE001  ConnectionError, RuntimeError, TimeoutError
            raise LaunchError(f"ray:{address}", _reason(error)) from None
        self._needs = {"CPU": float(options.get("cpus", 1)), "GPU": float(options.get("gpus", 0))}
        self._class = ray.remote(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            max_restarts=0,  # the fleet replaces workers
            max_concurrency=2,  # a word, while it looks
            scheduling_strategy="SPREAD",
        )(Actor)
        self._actors: dict[int, Any] = {}  # worker's number -> its actor
        self._begun: set[int] = set()  # numbers of actors that have answered
        self._questions: dict[Any, int] = {}  # answer that is to come -> worker's number
        self._asked: dict[int, float] = {}  # number of a worker that has not answered -> when it was asked for
        self._waiting: dict[int, str] = {}  # worker's number -> why it waits, as it was said
        self._looked = 0.0

    def nodes(self) -> list[str]:
        """See `Cluster`."""
        return sorted({node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]})

    def start(self, number: int, said: Mapping[str, Any]) -> None:
        """See `Cluster`."""
        self._actors[number] = self._class.remote(VERSION, dict(said))
        self._asked[number] = time.monotonic()
        self._ask(number)

    def go(self, number: int) -> None:
        """See `Cluster`."""
        if number in self._actors:
            self._actors[number].go.remote()

    def look(self) -> list[tuple[int, Message]]:
        """See `Cluster`."""
        said: list[tuple[int, Message]] = []
        if not self._questions:
            return said
        answers, _ = ray.wait(list(self._questions), num_returns=len(self._questions), timeout=0)
        for answer in answers:
            number = self._questions.pop(answer)
            message = self._answer(answer, number)
            self._begun.add(number)
            self._asked.pop(number, None)
            if message is not None:
                said.append((number, message))
            if message is not None and "ended" in message:
                del self._actors[number]
            else:
                self._ask(number)
        now = time.monotonic()
        if now - self._looked >= ROOM:
            self._looked = now
            said += news_of(self._waiting, self._waits(now))
        return said

    def explain(self, error: Exception) -> str:
        """See `Cluster`."""
        return _reason(error)

    def close(self) -> None:
        """See `Cluster`."""
        # An actor for which there is no room yet would answer after all others.
        ends = [actor.close.remote() for number, actor in self._actors.items() if number in self._begun]
        if ends:
            ray.wait(ends, num_returns=len(ends), timeout=STOP)
        for actor in self._actors.values():
            ray.kill(actor)
        ray.shutdown()

    def _waits(self, now: float) -> dict[int, str]:
        """Return why actors have not begun, where the cluster has no room now, and could have."""
        late = [number for number, asked in self._asked.items() if now >= asked + BEGIN]
        if not late:
            return {}
        free, whole = ray.available_resources(), ray.cluster_resources()
        lacks = [kind for kind, need in self._needs.items() if free.get(kind, 0) < need <= whole.get(kind, 0)]
        return dict.fromkeys(late, f"Ray has no {lacks[0]} free") if lacks else {}

    def _ask(self, number: int) -> None:
        self._questions[self._actors[number].look.remote()] = number

    def _answer(self, answer: Any, number: int) -> Message | None:  # noqa: ANN401  a reference of Ray's, without types
        try:
            message: Message | None = ray.get(answer)
        except Exception as error:  # noqa: BLE001  the actor died, or cannot be made there
            words = str(error)
            if isinstance(error, ray.exceptions.RayActorError) and "creation task" not in words:
                return {"ended": f"Ray lost a worker: {lost_by(words)}", "hopeless": False}
            return {"ended": reason_on_node(words) or f"ray worker {number}: {_reason(error)}", "hopeless": True}
        return message


def reason_on_node(text: str) -> str:
    """Return the reason for which an actor could not be made on its node; empty if that is not what the text says.

    Args:
        text: Of Ray's error: a traceback behind a first line that names the node.
    """
    node = re.search(r"\bip=([\w.:]+)", text)
    if "creation task" not in text or node is None:
        return ""
    return f"ray {node[1]}: {text.strip().splitlines()[-1]:.300}"


def lost_by(text: str) -> str:
    """Return the first sentence of Ray's about a lost actor, without numbers: many actors are lost for one reason."""
    first = re.split(r"[.:]\s|\n", text.strip(), maxsplit=1)[0]
    return f"{re.sub(r' [0-9a-f]{16,}', '', first):.300}".removesuffix(".")


def _reason(error: BaseException) -> str:
    text = str(error)
    found = re.findall(r"(Ray|Python): (\d[\w.]*)", text)
    if "ersion mismatch" in text and len(found) >= 4:
        (_, ray_there), (_, python_there), (_, ray_here), (_, python_here) = found[:4]
        return (
            f"the cluster has Python {python_there} and Ray {ray_there}, and this is Python {python_here} with Ray "
            f"{ray_here}; Ray takes the same versions only"
        )
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text:.300}" if text else type(error).__name__
