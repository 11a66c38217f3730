"""Ready: a job whose recording and output are open. It runs its stages on a farm, and publishes its result.

Rules: `zaudio.job.preparation` has refused all that can be refused. When two workers disagree, the result is disowned:
no later life goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from zaudio.errors import ConflictError
from zaudio.events import Measured, Published, StageBegan, Started, State, StateChanged
from zaudio.job.cutting import cut
from zaudio.job.outputs import Output, settled
from zaudio.job.request import Request
from zaudio.job.stages import Demand, Say, Shared, learn, main_stage, measure, opening
from zaudio.net.destination import Destination
from zaudio.net.farm import Farm
from zaudio.net.stage import Stage
from zaudio.ops.chain import Course, to_step
from zaudio.ops.contract import Op
from zaudio.result import Description, Machines, MeasuredOp


@dataclass(frozen=True, slots=True)
class DoneJob:
    """A job that was found done: its process had died in the act of publication, which is finished now.

    Attributes:
        request: The wishes of the user.
        started: The facts of the job.
        paths: The files of the result.
        warnings: Sentences for the user.
    """

    request: Request
    started: Started
    paths: Mapping[str, str]
    warnings: tuple[str, ...]

    def tell(self, say: Say) -> None:
        """Say that the result is published."""
        say(Published, paths=self.paths, recipient=str(self.request.recipient or ""))


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is ready for a farm: one recording, its stages, one result.

    Attributes:
        started: The facts of the job.
        shared: All that its stages share.
        writer: The destination of the result, open.
        course: The stages.
        described: The description of the result, as far as it was known at the start.
        resumed: Bytes of the result that an earlier life wrote.
        earlier: The sentences about what an earlier life measured.
        demand: The needs from the farm.
        warnings: Sentences for the user.
    """

    started: Started
    shared: Shared
    writer: Output
    course: Course
    described: Description
    resumed: int
    earlier: tuple[str, ...]
    demand: Demand
    warnings: tuple[str, ...]

    @property
    def request(self) -> Request:
        """The wishes of the user."""
        return self.shared.request

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run the stages, then publish the result.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole job.
            on_open: Called once, when workers can take part.

        Raises:
            InputChangedError: The recording is not what it was.
            ZaudioError: The job failed; nothing is published.
        """
        self.run_stages(farm, say=say, on_open=on_open, destination=self.writer)
        say(StateChanged, state=State.PUBLISHING)
        paths = self.publish()
        say(Published, paths=paths, recipient=str(self.request.recipient or ""))

    def publish(self, *, before: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Publish the result, which is sealed; return its paths.

        Args:
            before: Called before the instant of publication.

        Raises:
            InputChangedError: The recording is not what it was.
            StorageError: The system refused.
        """
        self.shared.source.check()
        before()
        return self.writer.publish()

    def run_stages(self, farm: Farm, *, say: Say, on_open: Callable[[], None], destination: Destination) -> None:
        """Run the stages. All results go to the destination, which is the writer, or stands before it.

        Raises:
            ZaudioError: The job failed; nothing is published.
        """
        opened = opening(say, on_open)
        for sentence in self.earlier:
            say(Measured, sentence=sentence, earlier=True)
        try:
            measure(
                self.shared,
                self.course,
                farm,
                demand=self.demand,
                job=self.started.job,
                say=say,
                on_open=opened,
                keep=self._keep,
            )
            farm.run(self._main_stage(say, destination), on_open=opened)
        except ConflictError:
            # One of the two results is used already, and a resume would go on behind it without a word.
            self.writer.disown()
            raise

    def _keep(self, op: Op, sentence: str) -> None:
        """Note a measurement for a later life, and before it the machines that computed it."""
        if self.shared.machines.name:
            self.writer.note(self._machines)
        self.writer.note(MeasuredOp(to_step(op), sentence))

    def _main_stage(self, say: Say, destination: Destination) -> Stage:
        writer, main = self.writer, self.course.main
        plan = cut(self.request, main)
        stage = main_stage(
            self.shared,
            main,
            plan,
            destination,
            job=writer.job_id,
            incarnation=writer.incarnation,
            resumed=self.resumed,
        )

        def describe() -> tuple[Description, Machines | None]:
            learn(self.shared, stage)
            found = replace(settled(self.described, main, plan), machines=self.shared.machines.name)
            return found, self._machines if found.machines else None

        writer.describe_by(describe)
        say(
            StageBegan,
            chunks=len(plan),
            chunk_frames=plan.chunk_frames,
            bytes=self.described.signal.bytes,
            resumed_chunks=plan.at_output(self.resumed // self.described.signal.frame_bytes)[0],
            resumed_bytes=self.resumed,
        )
        return stage

    @property
    def _machines(self) -> Machines:
        return Machines(self.shared.machines.name, self.shared.machines.kept)
