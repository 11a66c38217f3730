"""A farm in virtual time: its setting, and the figures of a run. `virtual_farm.py` runs it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of the coordinator's thread, the Desk's own apart; `many_workers.py` measures them.

    Attributes:
        message: To receive or to send a small message.
        chunk: To send a chunk and to take its result: sums, events, what the destination is given.
    """

    message: float = 20e-6
    chunk: float = 400e-6


@dataclass(frozen=True, slots=True)
class Setting:
    """A farm, and the job that it does.

    Attributes:
        workers: Their number; one that dies is replaced.
        op: Seconds of the op for a chunk.
        chunks: Chunks of the recording.
        spread: The op takes that share more or less, at random.
        chunk_bytes: Bytes of a chunk, and of its result.
        memory: As of `--memory`, in bytes.
        bandwidth: Bytes per second of the coordinator's link, each way.
        latency: Seconds of the link, one way.
        cipher: Bytes per second that the cipher takes.
        reader: Bytes per second that the coordinator reads and sums.
        deaths: Workers that die a second.
        vanish: Whether machines vanish in place of processes: then no connection is closed.
        replaced_after: Seconds until another one says hello in the place of a dead one.
        costs: What the coordinator's thread takes.
        counts_desk: Whether the Desk's processor time passes in virtual time; without it, every run is the same.
    """

    workers: int
    op: float = 1.0
    chunks: int = 1000
    spread: float = 0.1
    chunk_bytes: int = 1 << 20
    memory: int = 16 << 30
    bandwidth: float = 25e9 / 8
    latency: float = 0.0005
    cipher: float = 1.38e9
    reader: float = 5e9
    deaths: float = 0.0
    vanish: bool = False
    replaced_after: float = 2.0
    costs: Costs = field(default_factory=Costs)
    counts_desk: bool = True

    @property
    def ideal(self) -> float:
        """Chunks per second that nothing can beat: those of the workers, the cipher or the link."""
        return min(self.workers / self.op, self.cipher / self.chunk_bytes, self.bandwidth / self.chunk_bytes)


@dataclass(slots=True)
class Outcome:
    """The figures of a run.

    Attributes:
        setting: The farm.
        seconds: Virtual ones, from the first worker that was ready to the last chunk that was encrypted.
        received: Messages that came to the coordinator.
        sent: Messages that it sent.
        bytes: All bytes through its link.
        held: The most bytes of samples that it held at once.
        brain: Bytes of the Desk's own objects, half-way.
        desk: Seconds of processor time in the Desk.
        busy: Virtual seconds for which its thread worked.
        ciphering: Virtual seconds for which the cipher worked.
        operating: Virtual seconds of ops whose results were accepted.
        lost: Workers that were given up.
        deaths: Workers that died.
        repeated: Results of chunks that had one already.
    """

    setting: Setting
    seconds: float = 0.0
    received: int = 0
    sent: int = 0
    bytes: int = 0
    held: int = 0
    brain: int = 0
    desk: float = 0.0
    busy: float = 0.0
    ciphering: float = 0.0
    operating: float = 0.0
    lost: int = 0
    deaths: int = 0
    repeated: int = 0

    @property
    def efficiency(self) -> float:
        """The rate of the farm as a share of the ideal."""
        return self.setting.chunks / self.seconds / self.setting.ideal
