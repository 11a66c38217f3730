"""A worker written from docs/protocol.md alone: it uses nothing of zaudio, and its results are those of our own."""

import os
import threading

import msgpack
import numpy as np
import pytest
import xxhash
import zmq
from extended import extended
from net_support import PATIENCE

from zaudio import Coordinator, Raw, decrypt

DTYPES = {"f32": "f4", "f64": "f8", "s16": "i2", "s32": "i4"}
HELLO, WELCOME, REFUSED, AGAIN, CHUNK, SENT, HEARTBEAT, READY, RESULT, FAILED, GOODBYE = range(1, 12)


def invert(samples):
    if samples.dtype.kind == "f":
        bits = samples.view(f"u{samples.itemsize}")
        return (bits ^ bits.dtype.type(1 << (8 * samples.itemsize - 1))).view(samples.dtype)
    limits = np.iinfo(samples.dtype)
    return np.where(samples == limits.min, limits.max, 0 - samples).astype(samples.dtype)


def gain(samples, factor):
    return floats(samples) * factor


def clip(samples, low, high):
    return np.array([low if x < low else high if x > high else x for x in floats(samples)], "f8")


def floats(samples):
    if samples.dtype.kind == "f":
        return samples.astype("f8")
    return samples / 2.0 ** (8 * samples.itemsize - 1)


def stored_as(samples, kind):
    if kind.kind == "f" or samples.dtype.kind == "i":
        return samples.astype(kind)
    full = 2 ** (8 * kind.itemsize - 1)
    return np.array([min(max(round(float(x) * full), -full), full - 1) for x in samples.flat], kind)


OPS = {"invert": invert, "gain": gain, "clip": clip}


class Stranger(threading.Thread):
    """Sections 2 to 10 and 13 of the page, without an outbox, for a coordinator that neither dies nor hangs.

    It reads the recording itself if that lies below `folder`, unless it `doubts` that it is the one that is meant.
    """

    def __init__(self, endpoint, *, folder=None, doubts=False):
        super().__init__(daemon=True)
        self.endpoint = endpoint
        self.reads = [folder] if folder else []
        self.doubts = doubts
        self.file, self.payloads = None, 0
        self.session = bytes(range(16))
        self.heard = set()

    def run(self):
        with zmq.Context() as context, context.socket(zmq.DEALER) as ventilator, context.socket(zmq.DEALER) as sink:
            ventilator.linger = sink.linger = 1000
            ventilator.connect(self.endpoint)
            ventilator.send(msgpack.packb([HELLO, 1, self.session, "stranger", 0, "", "", list(OPS), self.reads, b""]))
            poller = zmq.Poller()
            for socket in (ventilator, sink):
                poller.register(socket, zmq.POLLIN)
            self.lease, self.received, self.heartbeat = None, 0, 1.0
            while True:
                for socket, _ in poller.poll(self.heartbeat * 1000):
                    header, *payload = socket.recv_multipart()
                    kind, *fields = msgpack.unpackb(header)
                    self.heard.add(kind)
                    if kind == GOODBYE:
                        return
                    self.take(kind, fields, payload, sink)
                if self.lease:
                    ventilator.send(msgpack.packb([HEARTBEAT, *self.lease]))
                    sink.send(msgpack.packb([READY, *self.lease, self.received, [], self.file is not None, []]))

    def take(self, kind, fields, payload, sink):
        if kind == WELCOME:
            assert payload == [], "these ops have no tables"
            self.lease, sinks, self.heartbeat = fields[:3], *fields[3:5]
            self.channels, _, self.format, self.grid, _, self.order, self.ops, source = fields[8:]
            self.open(source)
            [port] = [name.removeprefix("tcp://:") for name in sinks if name.startswith("tcp://:")]
            sink.connect(f"{self.endpoint.rpartition(':')[0]}:{port}")
        elif kind == SENT:
            self.received = max(self.received, fields[3])
        elif kind == CHUNK and fields[3] > self.received:
            self.received, index, attempt, start, stop, first, last, length, checksum, slot, frames = fields[3:]
            assert (slot, frames) == (-1, -1)
            if payload:
                assert len(payload[0]) == length
                assert xxhash.xxh3_64_intdigest(payload[0]) == checksum
                self.payloads += 1
            else:
                assert checksum == 0
                frame = length // (last - first)
                payload = [os.pread(self.file, length, self.offset + first * frame)]
            assert (self.grid, first, last) == (0, start, stop), "these ops have no memory"
            result = self.compute(payload[0])
            checksum = xxhash.xxh3_64_intdigest(result)
            header = [RESULT, *self.lease, index, attempt, len(result), checksum, 0, -1, 0, 0]
            sink.send_multipart([msgpack.packb(header), result])

    def open(self, source):
        assert (source is None) == (not self.reads)
        if source is None:
            return
        path, self.offset, size, mtime_ns, _, _, sample = source
        assert path.startswith(self.reads[0] + "/")
        file = os.open(path, os.O_RDONLY)
        status = os.fstat(file)
        starts = (0, max(0, size // 2 - 32768), max(0, size - 65536))
        blocks = b"".join(os.pread(file, 65536, start) for start in starts)
        assert (status.st_size, status.st_mtime_ns, xxhash.xxh3_64_intdigest(blocks)) == (size, mtime_ns, sample)
        if self.doubts:
            os.close(file)
        else:
            self.file = file

    def compute(self, payload):
        stored = np.dtype({"le": "<", "be": ">"}[self.format[3:]] + DTYPES[self.format[:3]])
        samples = np.frombuffer(payload, stored).astype(stored.newbyteorder("="))
        for name, flat, _, _ in self.ops:
            samples = OPS[name](samples, **dict(zip(flat[::2], flat[1::2], strict=True)))
        result = stored_as(samples, stored).reshape(-1, self.channels)
        return (result[::-1] if self.order == "reversed" else result).tobytes()


@pytest.mark.parametrize(
    ("format", "channels", "ops", "frames", "chunk_frames"),
    [
        ("f32le", 1, ["invert"], 700_001, 70_000),  # chunks that do not share a message
        extended("f32be", 1, ["gain:db=2"], 1, 1),
        ("s16be", 2, ["gain:db=5", "invert"], 1009, 100),
        extended("s32le", 3, ["gain:db=-7", "clip:low=-0.25,high=0.5"], 1009, 100),
        extended("f64be", 1, ["clip:low=-0.5,high=0.25", "gain:db=-3", "invert"], 1009, 100),
    ],
)
def test_a_worker_written_from_the_page_gives_the_results_of_our_own(
    tmp_path, format, channels, ops, frames, chunk_frames
):
    rng = np.random.default_rng(0)
    kind = np.dtype({"le": "<", "be": ">"}[format[3:]] + DTYPES[format[:3]])
    if kind.kind == "f":
        samples = rng.uniform(-1, 1, (frames, channels)).astype(kind)
    else:
        limits = np.iinfo(kind)
        samples = rng.integers(limits.min, limits.max, (frames, channels), endpoint=True).astype(kind)
        samples[:2] = limits.min
    source = tmp_path / "take.raw"
    source.write_bytes(samples.tobytes())
    how = {"ops": ops, "raw": Raw(channels=channels, format=format), "chunk": f"{chunk_frames}f"}
    Coordinator(source, tmp_path / "ours", workers=1, **how).run()
    with Coordinator(source, tmp_path / "theirs", bind="tcp://127.0.0.1:0", **how) as farm:
        stranger = Stranger(farm.endpoint)
        stranger.start()
        report = farm.wait(timeout=PATIENCE)
    stranger.join(timeout=PATIENCE)
    assert not stranger.is_alive()
    assert stranger.heard >= {WELCOME, CHUNK, GOODBYE}
    assert report.shares == {"stranger": -(-frames // chunk_frames)}
    assert report.rejected == report.duplicates == report.requeued == 0
    for name in ("ours", "theirs"):
        decrypt(str(tmp_path / name), str(tmp_path / f"{name}.raw"))
    assert (tmp_path / "theirs.raw").read_bytes() == (tmp_path / "ours.raw").read_bytes()
    assert len((tmp_path / "ours.raw").read_bytes()) == samples.nbytes


@pytest.mark.parametrize("doubts", [False, True])
def test_a_worker_written_from_the_page_reads_the_recording_itself_if_it_can(tmp_path, doubts):
    samples = np.random.default_rng(1).uniform(-1, 1, 300_001).astype("<f4")
    source = tmp_path / "take.raw"
    source.write_bytes(samples.tobytes())
    with Coordinator(source, tmp_path / "theirs", bind="tcp://127.0.0.1:0", chunk="70000f") as farm:
        stranger = Stranger(farm.endpoint, folder=os.path.realpath(tmp_path), doubts=doubts)
        stranger.start()
        report = farm.wait(timeout=PATIENCE)
    stranger.join(timeout=PATIENCE)
    assert report.shares == {"stranger": 5}
    assert report.rejected == report.requeued == 0
    assert stranger.payloads == (5 if doubts else 0)
    if stranger.file is not None:
        os.close(stranger.file)
    decrypt(str(tmp_path / "theirs"), str(tmp_path / "theirs.raw"))
    assert (tmp_path / "theirs.raw").read_bytes() == (-samples[::-1]).tobytes()
