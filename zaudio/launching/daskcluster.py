"""Dask: workers as long tasks of a Dask cluster, each pinned to one of Dask's workers. Runs in the bridge.

Rules:

- A task is pinned, and a Dask worker has no more tasks than threads. What has no room yet waits here, since a pinned
  task would not move to a Dask worker that comes later. When Dask loses a worker, its tasks have ended for us, and the
  fleet asks for others.
- A task speaks through a queue while it runs, since its result comes at its end.
- A task is text that names `serve`. A function of ours would be unpickled as it arrives, and a Dask worker that cannot
  do that ends, with all that it holds for others.
- A Dask worker on which no worker of ours can run gets no other.
- A task's arguments are a number, orders and names of queues. Dask's pages and logs show them; no secret is there.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from distributed import Client, Queue, get_client, get_worker

from zaudio.endpoints import parse_tcp
from zaudio.errors import LaunchError
from zaudio.launching.berth import LOOK, STOP, Berth, Message, news_of
from zaudio.version import VERSION

CONNECT = 10.0  # s for the scheduler to answer
NODES = 1.0  # s between two looks at which workers Dask has
EAR = 5.0  # s that a task waits for a word at most, before it looks whether it has ended
GO, STOPPING = "go", "stop"
SERVE = f"__import__({__name__!r}, fromlist=['serve']).serve(*said)"


class DaskCluster:
    """The cluster of a Dask scheduler. See `Cluster`.

    Args:
        address: The scheduler's, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``; for TLS, Dask's configuration has the
            certificates.
        options: ``resource``: the name of a resource of Dask's workers; each of ours takes one of it.

    Raises:
        LaunchError: No scheduler answered.
    """

    def __init__(self, address: str, options: Mapping[str, str]) -> None:
        try:
            self._client = Client(address, timeout=CONNECT, set_as_default=False)
        except MemoryError:  # it took another protocol's words for a length
            raise LaunchError(f"dask:{address}", "what answers there is no scheduler of Dask's") from None
        except Exception as error:  # noqa: BLE001  OSError, ValueError, TimeoutError, ssl's
            raise LaunchError(f"dask:{address}", _reason(error)) from None
        self._token = secrets.token_hex(8)  # names the queues of this job; it lets nobody in
        self._resource = options.get("resource")
        self._speech = Queue(f"zaudio-{self._token}", client=self._client)
        self._waiting: dict[int, Mapping[str, Any]] = {}  # worker's number -> its orders, until there is room for it
        self._ears: dict[int, Any] = {}  # worker's number -> the queue to it
        self._tasks: dict[int, tuple[Any, str]] = {}  # worker's number -> its task, and the Dask worker that has it
        self._begun: set[int] = set()  # numbers of workers that have said something
        self._useless: set[str] = set()  # addresses of Dask's workers
        self._told: dict[int, str] = {}  # worker's number -> why it waits, as it was said
        self._looked = 0.0

    def nodes(self) -> list[str]:
        """See `Cluster`."""
        hosts = (parse_tcp(address.replace("tls://", "tcp://")) for address in self._workers())
        return sorted({tcp[0].strip("[]") for tcp in hosts if tcp is not None})

    def start(self, number: int, said: Mapping[str, Any]) -> None:
        """See `Cluster`."""
        self._waiting[number] = said
        self._place()

    def _place(self) -> None:
        """Submit those that wait, as far as Dask's workers have threads for them."""
        while self._waiting:
            found = self._emptiest()
            if found is not None and found[1] >= 1:
                return
            number = next(iter(self._waiting))
            said = self._waiting.pop(number)
            if found is not None:
                self._submit(number, said, found[0])
                continue
            need = f" with the resource {self._resource}" if self._resource else ""
            none = f"dask: the cluster has no {'other ' if self._useless else ''}workers{need}"
            self._speech.put((number, {"ended": none, "hopeless": bool(self._useless)}))

    def _submit(self, number: int, said: Mapping[str, Any], address: str) -> None:
        self._ears[number] = Queue(f"zaudio-{self._token}-{number}", client=self._client)
        task = self._client.submit(
            eval,
            SERVE,
            {"said": (number, self._token, VERSION, dict(said))},
            key=f"zaudio-{self._token}-{number}",
            workers=[address],
            resources={self._resource: 1} if self._resource else None,
            pure=False,
            retries=0,
        )
        self._tasks[number] = task, address

    def go(self, number: int) -> None:
        """See `Cluster`."""
        if number in self._ears:
            self._ears[number].put(GO)

    def look(self) -> list[tuple[int, Message]]:
        """See `Cluster`."""
        said: list[tuple[int, Message]] = []
        if self._speech.qsize():
            said += self._speech.get(batch=True)
        self._begun.update(number for number, _ in said)
        now = time.monotonic()
        if now - self._looked >= NODES:
            self._looked = now
            workers = self._workers()
            said += self._lost(workers)
            said += news_of(self._told, self._waits(workers))
        for number, message in said:
            if "ended" in message:
                if message.get("hopeless") and number in self._tasks:
                    self._useless.add(self._tasks[number][1])
                self._forget(number)
        if now == self._looked:
            self._place()
        return said

    def explain(self, error: Exception) -> str:
        """See `Cluster`."""
        match error:
            case KeyError(args=[str(name)]) if name.startswith(f"zaudio-{self._token}"):  # a queue of this job
                return (
                    "its scheduler was started again, and has forgotten this job and Dask's workers; "
                    "start those again too"
                )
            case OSError():  # CommClosedError is one; its words tell of sockets and remote procedures
                return "its scheduler is gone; start it again, and Dask's workers too"
        return _reason(error)

    def close(self) -> None:
        """See `Cluster`."""
        self._waiting.clear()
        waiting = [number for number in self._tasks if number not in self._begun]
        self._client.cancel([self._tasks.pop(number)[0] for number in waiting])  # or they would begin now
        for ear in self._ears.values():
            ear.put(STOPPING)
        deadline = time.monotonic() + STOP
        while self._tasks and time.monotonic() < deadline:
            self.look()
            time.sleep(LOOK)
        for queue in (self._speech, *(ear for number, ear in self._ears.items() if number not in waiting)):
            queue.close()  # the others may be starting, and hear of the end by their queue
        self._client.close(timeout=1)

    def _waits(self, workers: Mapping[str, Any]) -> dict[int, str]:
        """Return why workers wait: for room here, or behind tasks of others, which Dask counts."""
        queued = set()
        for address, worker in workers.items():
            counts = worker.get("metrics", {}).get("task_counts", {})
            if counts.get("ready", 0) + counts.get("constrained", 0):
                queued.add(address)
        behind = [
            number
            for number, (task, address) in self._tasks.items()
            if number not in self._begun and task.status == "pending" and address in queued
        ]
        return dict.fromkeys([*self._waiting, *behind], f"Dask's workers have no {self._resource or 'thread'} free")

    def _lost(self, workers: Mapping[str, Any]) -> list[tuple[int, Message]]:
        """Return the ends of tasks that failed, or whose Dask worker is gone."""
        ends: list[tuple[int, Message]] = []
        for number, (task, address) in self._tasks.items():
            if task.status == "error":
                # The cluster has no zaudio, or one that cannot be imported: another task would fail likewise.
                ends.append((number, {"ended": f"dask {address}: {_reason(task.exception())}", "hopeless": True}))
            elif address not in workers:
                ends.append((number, {"ended": f"dask {address}: Dask lost this worker", "hopeless": False}))
        return ends

    def _forget(self, number: int) -> None:
        if number in self._ears:
            self._ears.pop(number).close()  # or the scheduler would keep it
        task, _ = self._tasks.pop(number, (None, ""))
        if task is not None:
            task.release()

    def _workers(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return found

    def _emptiest(self) -> tuple[str, float] | None:
        """Return the Dask worker with the fewest workers of ours for its places, and how many these are for each."""
        held = Counter(address for _, address in self._tasks.values())
        found = {
            address: held[address] / places
            for address, worker in self._workers().items()
            if address not in self._useless and (places := self._room(worker)) >= 1
        }
        return min(found.items(), key=lambda each: each[1], default=None)

    def _room(self, worker: Mapping[str, Any]) -> float:
        """Return how many workers of ours a Dask worker has places for, when it does nothing else."""
        threads = float(worker["nthreads"])
        return threads if self._resource is None else min(threads, worker["resources"].get(self._resource, 0) // 1)


def serve(number: int, token: str, version: str, said: Mapping[str, Any]) -> None:
    """Be one worker's berth, inside a Dask worker, until the worker has ended or is told to stop."""
    client = get_client()
    speech = Queue(f"zaudio-{token}", client=client)
    ear = Queue(f"zaudio-{token}-{number}", client=client)
    words: list[str] = []
    over = threading.Event()
    threading.Thread(target=_listen, args=(ear, words, over), daemon=True).start()
    berth = Berth(version, said)
    try:
        while STOPPING not in words and _is_wanted():
            message = berth.look()
            if message is not None:
                speech.put((number, message))
                if "ended" in message:
                    return
            if GO in words:
                words.remove(GO)
                berth.go()
            time.sleep(LOOK)
        speech.put((number, {"ended": "", "hopeless": False}))
    finally:
        over.set()
        berth.close(time.monotonic() + STOP)
        for queue in (speech, ear):
            queue.close()


def _is_wanted() -> bool:
    """Return whether somebody still waits for the task that asks: Dask cancels it when the bridge is gone."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state != "cancelled"


def _listen(ear: Any, words: list[str], over: threading.Event) -> None:  # noqa: ANN401  a queue of Dask's, without types
    """Append the words that come."""
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            try:
                words.append(str(ear.get(timeout=EAR)))
            except TimeoutError:
                raise
            except Exception:  # noqa: BLE001  the scheduler is gone: nobody looks after this worker
                words.append(STOPPING)
                return


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.300}" if text else type(error).__name__
