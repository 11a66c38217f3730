"""What `make fuzz` runs: one target a process, fed with bytes by atheris for as long as it was told to.

    python tests/fuzz/targets.py TARGET [libFuzzer options] CORPUS
    python tests/fuzz/targets.py --seeds CORPUS        # write the committed messages and files there, to begin from

Rules: a target raises for a fault of the package, and for nothing else. A finding becomes a test before it is mended.
"""

import hashlib
import io
import os
import struct
import sys
import tempfile
from pathlib import Path

import atheris
import numpy
import soundfile

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

with atheris.instrument_imports(include=["zaudio"]):
    from core_support import JOB_ID, Desk, session, welcome
    from result_support import describe, write_result
    from wire_support import EVERYTHING, payload_of, refused_vectors, vector_parts, vectors

    import zaudio
    from zaudio.audio.chunks import LayoutError
    from zaudio.audio.flacs import flac_metadata
    from zaudio.audio.metadata import Cue, Metadata, carry
    from zaudio.audio.mpeg import is_mpeg, missing_or_more
    from zaudio.audio.ogg import check_pages
    from zaudio.audio.reading import read_metadata
    from zaudio.audio.source import open_file, open_source
    from zaudio.audio.streams import SpooledFile
    from zaudio.audio.tagging import flac_tags, foreign_chunks, wave_chunks
    from zaudio.audio.wave import WaveFile
    from zaudio.core.actions import Fail, Peer
    from zaudio.core.session import Introduction, Session
    from zaudio.errors import InputError, ProtocolError, StorageError, UsageError
    from zaudio.formats import sample_format
    from zaudio.plan import Order
    from zaudio.result.description import decode_description, split_file
    from zaudio.result.journal import decode_journal
    from zaudio.result.keystore import Identity, is_wrapped, parse_recipient
    from zaudio.result.primitives import JournalSeal
    from zaudio.result.spool import Spool
    from zaudio.settings import Raw
    from zaudio.signal import Signal
    from zaudio.wire.codec import TO_COORDINATOR, TO_WORKER, decode, encode
    from zaudio.wire.messages import Channel, Hello, Ready, Result

EVERY_SECOND = type("EverySecond", (), {"covers": staticmethod(lambda index: index % 2)})()


def split(content):
    """Messages out of bytes: a byte of parts, then each part behind two bytes of length."""
    messages, at = [], 0
    while at < len(content) and len(messages) < 64:
        count, parts = content[at] % 4, []
        at += 1
        for _ in range(count):
            (length,) = struct.unpack(">H", content[at : at + 2].ljust(2, b"\0"))
            parts.append(content[at + 2 : at + 2 + length])
            at += 2 + length
        messages.append(parts)
    return messages


def join(messages):
    """Bytes that `split` makes these messages of."""
    return b"".join(
        bytes([len(parts)]) + b"".join(struct.pack(">H", len(part)) + part for part in parts) for parts in messages
    )


def codec(content):
    """Whatever comes is a message that comes back as it was, or a ProtocolError."""
    for parts in split(content):
        try:
            message = decode(parts, EVERYTHING)
        except ProtocolError:
            continue
        assert decode(encode(message, payload_of(message, parts)), EVERYTHING) == message


def coordinator(content):
    """The coordinator's brains hold what they promise, whatever is said to them in whatever order."""
    desk = Desk(6, audit=EVERY_SECOND)
    desk.join("a", "b")
    for number, parts in enumerate(split(content)):
        channel = (Channel.SINK, Channel.VENTILATOR)[number % 2]
        try:
            message = decode(parts, TO_COORDINATOR[channel])
        except ProtocolError as error:
            actions = desk.desk.refuse(Peer(channel, b"?"), error)
        else:
            if isinstance(message, Result):
                actions = desk.take(message)
            else:
                actions = desk.desk.receive(Peer(channel, bytes([number])), message, now=desk.now)
        desk.later(0.3)
        actions += desk.tick()
        desk.check()
        if any(isinstance(action, Fail) for action in actions):
            return


def worker(content):
    """The worker's brain likewise, and it never waits for an instant that is over."""
    brain = Session(Introduction(session("a"), "a", 1, "host", "software", ("invert",)), "tcp://c:1")
    now = 50.0
    brain.start(now=now)
    brain.receive(welcome(), now=now)
    brain.prepared(now=now)
    for number, parts in enumerate(split(content)):
        now += 0.1
        try:
            message = decode(parts, TO_WORKER[(Channel.SINK, Channel.VENTILATOR)[number % 2]])
        except ProtocolError:
            continue
        brain.receive(message, now=now)
        brain.tick(now=now)
        brain.check()
        if brain.finished:
            return
        assert brain.next_deadline() > now
        for lease in brain.held[:1]:
            brain.completed(*lease, length=32, checksum=1, seconds=0.1)


def files(content):
    """What lies on a disk: a description, a journal, a key. Damage is a ValueError."""
    try:
        description, _ = split_file(content)
        decode_description(description)
    except ValueError:
        pass
    try:
        decode_journal(content, JournalSeal(bytes(32), bytes(16)))
    except ValueError:
        pass
    if is_wrapped(content):
        try:
            IDENTITY.unwrap(content)
        except ValueError:
            pass
    try:
        parse_recipient(content.decode("latin-1"))
    except UsageError:
        pass


class Memory:
    """A spool in memory, with little room: a header that lies must not fill it."""

    def __init__(self):
        self.content = b""
        self.size = 0

    def reserve(self, size):
        if size > ROOM:
            raise StorageError("memory", f"{size} bytes are needed")

    def write(self, piece):
        self.content += piece
        self.size = len(self.content)
        self.reserve(self.size)

    def freeze(self):
        pass

    def read(self, offset, length):
        return self.content[offset : offset + length]

    def close(self):
        pass


def recordings(content):
    """Whatever a stream holds is a recording that gives what it promises, or a refusal."""
    spool = Memory()
    spool.write(content[:ROOM])
    file = SpooledFile("-", spool)
    try:
        source = open_file(file, Raw(truncated=bool(len(content) % 2)), make_spool=Memory)
    except (InputError, UsageError, StorageError):
        return
    with source:
        source.metadata()
        frames = min(source.frames, 4096)
        for start, stop in ((0, frames), (source.frames - frames, source.frames)):
            try:
                assert len(source.read(start, stop)) == (stop - start) * source.frame_bytes
            except InputError:
                pass


def pages(content):
    """All of an Ogg's pages are there, or a sentence says what is wrong; MPEG's notes and tags are bounded likewise."""

    def read_at(offset, length):
        return content[offset : offset + length]

    try:
        found = check_pages(read_at, 0, len(content))
        assert found.damage or content.startswith(b"OggS")
    except LayoutError:
        pass
    assert abs(missing_or_more(read_at, len(content))) < 2**33
    is_mpeg(read_at)
    for kind in ("MP3", "Ogg Vorbis", "Ogg Opus"):
        read_metadata(kind, read_at, len(content))


def metadata(content):
    """Metadata of any bytes is carried: what is written of it is read again, and is then the same."""
    for kind, head in HEADS.items():
        found = read_of(kind, head + content)
        for order in Order:
            carried = carry(found, TAKE, HALF, order).metadata
            assert all(0 <= cue.frame <= HALF.frames for cue in carried.cues)
        written = wave_of(found)
        assert wave_of(read_of("WAV", written)) == written
        written = flac_of(found)
        assert flac_of(read_of("FLAC", written)) == written


def read_of(kind, content):
    """The metadata of a file that is a header alone."""
    return read_metadata(kind, lambda at, length: content[at : at + length], len(content)).metadata


def wave_of(found):
    """The header of a WAV with that metadata."""
    return WaveFile(TAKE, wave_chunks(found)[0], found.speakers).header


def flac_of(found):
    """The head of a FLAC with that metadata."""
    return HEADS["FLAC"] + flac_metadata(flac_tags(found), foreign_chunks(found))[0]


def results(content):
    """A result of version 2 with any header inside, sealed by somebody who has the key, gives its samples."""
    order = (Order.FORWARD, Order.REVERSED)[sum(content[:1]) % 2]
    frames, header = sum(content[1:2]), content[2:]
    described = describe(frames, format="s24le", order=order, header_bytes=len(header))
    recording = bytes(range(256)) * 4
    recording = b"".join(b"\0" + recording[3 * at : 3 * at + 3] for at in range(frames))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        write_result(f"{folder}/sealed", recording, described, header=header)
        with zaudio.open(f"{folder}/sealed") as result:
            assert result.read().tobytes() == recording
            result.save(f"{folder}/out.wav")
            found = result.metadata
        with open_source(f"{folder}/out.wav") as source:
            assert source.frames == frames
            assert found is None or wave_chunks(source.metadata().metadata) == wave_chunks(found)


def spools(content):
    """A spool whose file was changed gives what was written, or says that it changed."""
    with Spool(tempfile.gettempdir()) as spool:
        spool.write(SAMPLES)
        spool.freeze()
        at = int.from_bytes(content[:3], "big") % (len(SAMPLES) + 32)
        os.pwrite(spool._fd, content[3:], at)
        for start in (0, len(SAMPLES) - 9, max(0, at - 5)):
            try:
                assert spool.read(start, 99) == SAMPLES[start : start + 99]
            except StorageError:
                pass


TARGETS = (codec, coordinator, worker, files, recordings, pages, metadata, spools, results)
TARGETS = {target.__name__: target for target in TARGETS}
TAKE = Signal(1000, 3, 48_000, sample_format("s16le"))
HALF = Signal(500, 3, 24_000, sample_format("s24le"))
FULL = Metadata(
    bext=b"b" * 603,
    ixml=b"<BWFXML/>",
    guan=b"GUANO|Version: 1.0",
    tags=(("TITLE", "Dawn"), ("ICRD", "2020"), ("COMMENT", "\u00e4")),
    cues=(Cue(5, "five", "a note"), Cue(100, "part", "", 50)),
    speakers=7,
)
HEADS = {  # of files, up to their metadata
    "WAV": WaveFile(TAKE).header[:-8],
    "AIFF": b"FORM\x7f\xff\xff\xffAIFF",
    "FLAC": b"fLaC\0\0\0\x22" + bytes(34),
}
ROOM = 1 << 24
SAMPLES = bytes(range(256)) * 5000
IDENTITY = Identity(bytes(range(1, 33)))


def seeds(folder):
    """A corpus: the committed messages one by one, some in a row, and committed files."""
    good = [vector_parts(vector) for vector in vectors()]
    every = good + [vector_parts(vector) for vector in refused_vectors()]
    lease = (JOB_ID, 1, session("a"))
    row = [
        encode(Result(*lease, 0, 1, 8, 1000, 0.1, -1), b"12345678"),
        encode(Hello(1, session("c"), "c", 1, "host", "software", ("invert",), ("/srv",), b"")),
        encode(Ready(*lease, 2, ((0, 1), (1, 1)), False)),
        encode(Result(JOB_ID, 1, session("b"), 1, 2, 8, 1001, 0.1, -1), b"12345678"),
    ]
    contents = [join([parts]) for parts in every] + [join(good), join(row)]
    results = TESTS / "vectors" / "result"
    contents += [path.read_bytes() for path in sorted(results.rglob("*.json")) + sorted(results.rglob("*.bin"))]
    contents += [path.read_bytes() for path in sorted(results.rglob("*.txt"))]
    contents += recorded()
    folder.mkdir(parents=True, exist_ok=True)
    for content in contents:
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content[:65536])


def recorded():
    """Small recordings of each kind that is decoded in order, and of some that are not."""
    kinds = [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAV", "PCM_24")]
    for container, subtype in kinds:
        file = io.BytesIO()
        soundfile.write(file, numpy.zeros((2000, 2)), 48000, format=container, subtype=subtype)
        yield file.getvalue()
    header = wave_of(FULL)
    yield header[len(HEADS["WAV"]) :]
    yield flac_of(FULL)[len(HEADS["FLAC"]) :]
    yield b"\0\5" + header
    yield b"\1\7" + WaveFile(Signal(7, 1, 44100, sample_format("s24le")), wave_chunks(FULL)[0]).header


def main():
    """Run one target, or write the corpus."""
    if sys.argv[1:2] == ["--seeds"]:
        seeds(Path(sys.argv[2]))
        return
    target = TARGETS[sys.argv.pop(1)]
    os.chdir("/")  # where `files` looks for a file with a public key: nothing of ours
    atheris.Setup(sys.argv, lambda content: target(bytes(content)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
