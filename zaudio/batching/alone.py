"""Alone: a recording of a batch that is a job of its own: a long one, or one that is measured.

Rules:

- It is opened ahead, in the opener's thread. The farm's thread runs its stages. Then a publisher's thread waits until
  its last bytes lie on the disk, while the farm is at the next recording.
- It can be resumed like any job: the next run continues what a failed or stopped batch left of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from zaudio.audio import Source
from zaudio.batching.ends import Begun, Ends, Made
from zaudio.batching.results import Before, end, made_before, made_by
from zaudio.errors import ZaudioError
from zaudio.events import Advanced, Event, Measured, StageBegan, StateChanged
from zaudio.job.outputs import Output
from zaudio.job.preparation import open_job
from zaudio.job.ready import DoneJob, OpenJob
from zaudio.job.request import Request
from zaudio.job.stages import Say
from zaudio.net.farm import Farm
from zaudio.steps import Buffer


class Bell:
    """Wakes the farm, and the threads that wait for something of a writer.

    Args:
        wake: Wakes the farm; from any thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Wake all; from any thread."""
        with self._changed:
            self._changed.notify_all()
        self._wake()

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until that is so, which each change of it rings for. In any thread, and in several."""
        with self._changed:
            self._changed.wait_for(done)


class Early:
    """A writer that counts as sealed as soon as it was told to seal: the rest it does by itself."""

    def __init__(self, writer: Output) -> None:
        self._writer = writer
        self._told = False
        self._put = 0  # payloads

    @property
    def finished(self) -> int:
        """Payloads that the writer has finished with."""
        return self._writer.finished

    @property
    def drained(self) -> bool:
        """Whether the writer holds no payload any more, or failed."""
        return self._writer.finished >= self._put or self._writer.error is not None

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds that the writer's cipher encrypted, and that it waited for the disk."""
        return self._writer.spent

    @property
    def sealed(self) -> bool:
        """Whether it was told to seal."""
        return self._told

    @property
    def error(self) -> ZaudioError | None:
        """The writer's error."""
        return self._writer.error

    def put(self, payload: Buffer) -> None:
        """Give the writer the next payload."""
        self._put += 1
        self._writer.put(payload)

    def seal(self) -> None:
        """Tell the writer to seal."""
        self._writer.seal()
        self._told = True


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """A recording that is a job of its own, open.

    Attributes:
        begun: The recording.
        work: The job.
        bell: Rings when its writer has something to say.
        stack: Closes what is open.
        early: Its writer, as the farm sees it.
        measured: Sentences about what was measured.
    """

    begun: Begun
    work: OpenJob | DoneJob
    bell: Bell
    stack: ExitStack
    early: Early | None = None  # None: nothing is left to do
    measured: list[str] = field(default_factory=list)

    @property
    def memory(self) -> int:
        """Bytes that its writer may hold: half of the memory, which is the window."""
        return self.work.request.memory // 2

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run the stages, in the farm's thread.

        Raises:
            ZaudioError: One failed.
        """
        sizes: dict[str, object] = {}

        def say_some(kind: Callable[..., Event], **facts: object) -> None:
            if kind is Measured:  # it goes to the report of the recording
                self.measured.append(str(facts["sentence"]))
            elif kind is StageBegan:
                sizes.update(chunks=facts["chunks"], bytes=facts["bytes"])
                say(kind, **facts, recordings=(self.begun.named.path,))
            elif kind is not StateChanged:  # the batch has states of its own
                say(kind, **facts)

        if isinstance(self.work, OpenJob) and self.early is not None:
            self.work.run_stages(farm, say=say_some, on_open=on_open, destination=self.early)
            # For the farm it is done: what is not encrypted yet needs no worker.
            encrypting, storing = self.work.writer.spent
            say(Advanced, **sizes, encrypting=encrypting, storing=storing)

    def drain(self) -> None:
        """Wait until its writer holds no payload, or failed."""
        if (early := self.early) is not None:
            self.bell.wait(lambda: early.drained)

    def publish(self, ends: Ends) -> None:
        """Publish the result, in a publisher's thread; turn every failure into the report of the recording."""
        begun, work = self.begun, self.work

        def publication(before: Before) -> Made:
            with self.stack:
                if isinstance(work, DoneJob):
                    made = made_before(work)
                    before(made)
                else:
                    made = self._wait(work.writer)
                    work.publish(before=lambda: before(made))
            return made

        end(ends, begun, work.request, publication, work.warnings, tuple(filter(None, self.measured)))

    def _wait(self, writer: Output) -> Made:
        """Wait until a writer has sealed its result; return that.

        Raises:
            StorageError: It failed.
        """
        self.bell.wait(lambda: writer.sealed or writer.error is not None)
        if writer.error is not None:
            raise writer.error
        return made_by(writer)


def open_alone(
    request: Request,
    begun: Begun,
    source: Source,
    stack: ExitStack,
    *,
    wake: Callable[[], None],
    publish: Callable[[Event], None],
    check_stop: Callable[[], None],
) -> Alone:
    """Open the job of a recording: its output folder and its writer.

    Args:
        request: The job.
        begun: The recording.
        source: The recording, open.
        stack: Closes the recording. It is taken over; an error closes it.
        wake: Wakes the farm; from any thread.
        publish: Takes the events of the stages.
        check_stop: Called now and then while an interrupted job's output is read. An exception of it ends that.

    Raises:
        ZaudioError: The job cannot be opened.
    """
    bell = Bell(wake)
    with stack:
        work = open_job(request, stack, notify=bell.ring, publish=publish, check_stop=check_stop, source=source)
        opened = stack.pop_all()
    return Alone(begun, work, bell, opened, Early(work.writer) if isinstance(work, OpenJob) else None)
