"""Settings of a job in four groups: raw samples, network, security, limits; and the two kinds of output.

Rules: pure. A group is frozen, and checks its values once, when it is made. Values of different groups are checked
against each other by `Limits.durations` and `check_reach`. Two values that contradict each other are an error, never a
silent choice; its sentence names the option, and in brackets what Python calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from zaudio.endpoints import check_endpoint, is_loopback, parse_advertise, parse_tcp, sink_beside
from zaudio.errors import ExposedError, UsageError
from zaudio.formats import MAX_CHANNELS, MAX_SAMPLERATE, check_count, sample_format
from zaudio.sizes import parse_bytes
from zaudio.timing import Timing

INSIDES = ("raw", "wav")  # of a sealed result
MEMORY = "128MiB"  # 64 chunks of 1 MiB each way: the window that 2 to 16 workers need; more is of no use


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """How samples lie in their file. A sample rate, channels or a format that is given makes the file raw.

    Attributes:
        samplerate: Frames a second, 1 to 2,147,483,647; 44100 if None.
        channels: Samples a frame, 1 to 1024; 1 if None.
        format: The sample format's name, such as ``s16le``; ``f32le`` if None.
        truncated: Take the whole frames of a file that is shorter than its header says. By default such a file is
            refused, whatever its kind.

    Raises:
        UsageError: A value is out of range.
    """

    samplerate: int | None = None
    channels: int | None = None
    format: str | None = None
    truncated: bool = False

    def __post_init__(self) -> None:
        if self.samplerate is not None:
            check_count("samplerate", self.samplerate, MAX_SAMPLERATE)
        if self.channels is not None:
            check_count("channels", self.channels, MAX_CHANNELS)
        if not isinstance(self.format, str | None):
            raise UsageError(f"a sample format is named by a string, not {self.format!r}")
        if self.format is not None:
            sample_format(self.format)
        _check_flag("truncated", self.truncated)

    @property
    def given(self) -> bool:
        """Whether a value is given that makes the file raw."""
        return (self.samplerate, self.channels, self.format) != (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How workers reach the farm, besides `bind`.

    Attributes:
        sink_bind: The endpoint at which results arrive. By default the port after that of `bind`, or any free port if
            that was 0.
        advertise: ``HOST[:PORT[,PORT]]`` by which workers reach ventilator and sink, if that differs from the addresses
            that are bound: through a firewall or NAT. The sink's port is by default the one after the ventilator's.
        sockets_only: Reach local workers over sockets, like remote ones. By default they read the recording themselves
            and leave results in shared memory, where the system allows it.
        workers_on: Places where the job starts workers for itself, and ends them: ``"ssh:hosts.txt"``. `workers` then
            counts those of a place that states no number; if all state theirs, it counts local workers beside.
        all_workers: Start all of them at once. By default a few are started, and more when they are of use.
        trust_cluster: Start workers by a cluster whose own control plane is not encrypted.
        template_args: Further arguments for a batch system's command, as a shell reads them.

    Raises:
        EndpointError: The endpoint of `sink_bind` is malformed.
        UsageError: The text of `advertise` is malformed, or a value has the wrong type.
    """

    sink_bind: str | None = None
    advertise: str | None = None
    sockets_only: bool = False
    workers_on: Sequence[str] = ()
    all_workers: bool = False
    trust_cluster: bool = False
    template_args: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.workers_on, str):
            raise UsageError(f"workers_on is a list of places, not {self.workers_on!r:.80}")
        _check_flag("all_workers", self.all_workers)
        _check_flag("trust_cluster", self.trust_cluster)
        _check_text("template_args", self.template_args)
        _check_text("sink_bind", self.sink_bind)
        _check_text("advertise", self.advertise)
        _check_flag("sockets_only", self.sockets_only)
        if self.sink_bind is not None:
            check_endpoint(self.sink_bind)
        parse_advertise(self.advertise)

    def sink(self, bind: str) -> str:
        """Return the endpoint of the sink of a ventilator at `bind`."""
        return self.sink_bind if self.sink_bind is not None else sink_beside(bind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Which workers are let in and believed, and how the encryption key is kept.

    Attributes:
        keys: The folder of the coordinator's keys, as `zaudio keys init` made it. Connections are then encrypted, and
            only workers whose keys are on its list are let in. The list is read again while the job runs.
        insecure: Allow `bind` at an address that other machines can reach, without keys. Every machine that reaches it
            can then take part, read the recording and give wrong results.
        recipient: The public key for which the encryption key is wrapped, as `zaudio identity` printed it, or a file
            that holds it. By default the encryption key is written raw.
        identity: The file with the private key of that recipient. It is needed only to resume a job.
        key_out: The file that the encryption key goes to, from its first instant, in place of the result's folder. It
            must not exist, and a resume of the job needs it.
        audit: Percentage of chunks, 0 to 100, chosen at random, that two workers compute. Such a chunk counts only when
            both give the same; a worker that two others contradict is dropped.
        machines: The name of a class of machines, as the `class` of a result or the refusal of a worker has it: only
            workers of that class take part. By default the first worker's class is the job's.
        input_key: The file with the encryption key of a sealed result that is the input, if it is not in its folder.
        input_identity: The file with the private key that this key is wrapped for, if it is.

    Raises:
        UsageError: A value has the wrong type or is out of range, or `keys` and `insecure` are both given.
    """

    keys: str | PathLike[str] | None = None
    insecure: bool = False
    recipient: str | PathLike[str] | None = None
    identity: str | PathLike[str] | None = None
    key_out: str | PathLike[str] | None = None
    audit: float = 0
    machines: str | None = None
    input_key: str | PathLike[str] | None = None
    input_identity: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        _check_path("keys", self.keys)
        _check_path("input_key", self.input_key)
        _check_path("input_identity", self.input_identity)
        _check_path("recipient", self.recipient)
        _check_path("identity", self.identity)
        _check_path("key_out", self.key_out)
        _check_text("machines", self.machines)
        _check_flag("insecure", self.insecure)
        if self.insecure and self.keys is not None:
            raise UsageError("keys and insecure exclude each other: with keys, nobody is let in without one")
        percent = self.audit
        if not (isinstance(percent, int | float) and not isinstance(percent, bool) and 0 <= percent <= 100):
            raise UsageError(f"audit: expected a percentage, 0 to 100, got {percent!r}")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed result, as the output of a job.

    Attributes:
        path: The folder for its four files.
        forward: Store frames in the order of the recording. By default the last one comes first.
        inside: ``"raw"`` for samples alone, or ``"wav"``: the plaintext then begins with the header of a WAV, metadata
            of the recording among it.

    Raises:
        UsageError: A value has the wrong type.
    """

    path: str | PathLike[str]
    forward: bool = False
    inside: str = "raw"

    def __post_init__(self) -> None:
        _check_path("path", self.path)
        _check_flag("forward", self.forward)
        if self.inside not in INSIDES:
            raise UsageError(f"inside is {' or '.join(map(repr, INSIDES))}, not {self.inside!r:.40}")


@dataclass(frozen=True, slots=True)
class Playable:
    """A file that plays, as the output of a job.

    Attributes:
        path: The file. Its suffix says the kind: WAV, FLAC or raw samples. Of a batch, the folder of the files.
        format: The sample format's name, such as ``s16le``. By default that behind the ops; 24 bits stay 24 bits.
        dither: Whether noise is added before samples are rounded, as the op `dither` does.
        suffix: The suffix of all files of a batch, such as ``"wav"``; of a single file its path says it.

    Raises:
        UsageError: A value has the wrong type, there is no such format, or that can be no suffix.
    """

    path: str | PathLike[str]
    format: str | None = None
    dither: bool = False
    suffix: str | None = None

    def __post_init__(self) -> None:
        _check_path("path", self.path)
        if not isinstance(self.format, str | None):
            raise UsageError(f"a sample format is named by a string, not {self.format!r}")
        if self.format is not None:
            sample_format(self.format)
        _check_flag("dither", self.dither)
        _check_text("suffix", self.suffix)
        if self.suffix is not None and not self.suffix.removeprefix(".").isalnum():
            raise UsageError(f"suffix: expected one such as 'wav', got {self.suffix!r:.40}")

    @property
    def ending(self) -> str:
        """The suffix with its dot, in small letters; empty without one."""
        return "." + self.suffix.removeprefix(".").lower() if self.suffix is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a job may hold, and how long it waits.

    Attributes:
        memory: Bytes of samples that the coordinator may hold or have in flight (``"128MiB"`` or an int). Local workers
            get no shared memory when this is less than they would need.
        worker_timeout: Seconds without a worker that could be given a chunk, after which the job ends. If None, 30, and
            the time for which workers wait in the queue of a batch system or a cluster is not counted.
        chunk_timeout: Seconds that a chunk may take, transfer included, before another worker gets it. Ten times the
            median of the chunks so far counts instead when that is longer. If None, 60 at first, then at least 30.

    Raises:
        UsageError: A value is out of range.
    """

    memory: str | int = MEMORY
    worker_timeout: float | None = None
    chunk_timeout: float | None = None

    def __post_init__(self) -> None:
        parse_bytes(self.memory, what="memory")
        self.durations(None)

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        return parse_bytes(self.memory, what="memory")

    def durations(self, timing: Timing | None) -> Timing:
        """Return the durations of a job: `timing` if it is given, otherwise those that follow from these limits.

        Raises:
            UsageError: A timeout is given here and `timing` as well.
        """
        if timing is None:
            own = Timing() if self.worker_timeout is None else Timing(worker_timeout=self.worker_timeout)
            return own.allowing(self.chunk_timeout)
        for name in ("worker_timeout", "chunk_timeout"):
            if getattr(self, name) is not None:
                raise UsageError(f"{name} and timing exclude each other: give Timing({name}=...), or leave timing out")
        return timing


def check_reach(bind: str | None, network: Network, security: Security) -> None:
    """Check that workers can connect as these settings say, and that no stranger can by accident.

    Raises:
        ExposedError: Other machines can connect, and there are neither keys nor `insecure`.
        UsageError: Two values contradict each other.
    """
    if bind is None:
        for option, value in (("sink_bind", network.sink_bind), ("advertise", network.advertise)):
            if value is not None:
                raise UsageError(
                    f"--{option.replace('_', '-')} (Network({option}=)) goes with --bind (bind=), "
                    "where workers connect; give both or none"
                )
        return
    _check_kinds(bind, network)
    endpoint = exposed(bind, network, security)
    if endpoint is not None and not security.insecure:
        raise ExposedError(endpoint)


def exposed(bind: str | None, network: Network, security: Security) -> str | None:
    """Return the endpoint at which any machine could take part; None if keys or loopback addresses prevent that."""
    if security.keys is not None:
        return None
    binds = (bind, network.sink_bind)
    return next((endpoint for endpoint in binds if endpoint is not None and not is_loopback(endpoint)), None)


def _check_kinds(bind: str, network: Network) -> None:
    local = parse_tcp(bind) is None
    if network.advertise is None:
        if network.sink_bind is not None and (parse_tcp(network.sink_bind) is None) != local:
            raise UsageError(
                f"a worker that connects to --bind {bind} (bind=) cannot reach --sink-bind {network.sink_bind} "
                "(Network(sink_bind=)); give two tcp:// addresses or two ipc:// ones"
            )
    elif local and parse_advertise(network.advertise) == (network.advertise, 0, 0):
        raise UsageError(
            f"advertise: {bind} has no port; expected HOST:PORT or HOST:PORT,PORT, got {network.advertise!r}"
        )


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str | None):
        raise UsageError(f"{name} is text, not {value!r}")


def _check_flag(name: str, value: object) -> None:
    # A string such as "no" would count as yes.
    if type(value) is not bool:
        raise UsageError(f"{name} is True or False, not {value!r}")


def _check_path(name: str, value: object) -> None:
    if not (value is None or isinstance(value, str) or hasattr(value, "__fspath__")):
        raise UsageError(f"{name} is a path, not {value!r}")
