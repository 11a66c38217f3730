import os
import random
import struct
import threading
import time
import tracemalloc

import numpy as np
import pytest
import soundfile

from zaudio.audio import open_source
from zaudio.errors import InputError, UsageError

NATIVE = "le" if np.little_endian else "be"
DTYPES = {"s16": "int16", "s32": "int32", "f32": "float32", "f64": "float64"}
SUBTYPES = {
    "PCM_S8": "s16",
    "PCM_U8": "s16",
    "PCM_16": "s16",
    "ULAW": "s16",
    "ALAW": "s16",
    "PCM_24": "s32",
    "PCM_32": "s32",
    "FLOAT": "f32",
    "DOUBLE": "f64",
}
CONTAINERS = ("WAV", "WAVEX", "AIFF", "FLAC", "RF64", "W64", "CAF")
PAIRS = [(c, s) for c in CONTAINERS for s in SUBTYPES if soundfile.check_format(c, s)]


def noise(frames, channels, dtype, seed=0):
    """Full-scale noise; of floats, every bit pattern may come, NaNs and infinities too."""
    if dtype == "int16":  # 8-bit subtypes and FLAC keep the upper bits
        return np.random.default_rng(seed).integers(-(2**15), 2**15, (frames, channels), np.int16)
    content = np.random.default_rng(seed).bytes(frames * channels * np.dtype(dtype).itemsize)
    return np.frombuffer(content, dtype).reshape(frames, channels)


def write(path, container, subtype, frames, channels=1):
    """Writes noise; returns what a straight decode of the whole file gives."""
    dtype = DTYPES[SUBTYPES[subtype]]
    soundfile.write(path, noise(frames, channels, dtype), 44100, format=container, subtype=subtype)
    decoded, _ = soundfile.read(path, dtype=dtype, always_2d=True)
    if container == "AIFF":  # libsndfile's padding comes back as a sample
        decoded = decoded[:frames]
    assert decoded.shape == (frames, channels)
    return decoded


def ranges(frames):
    cuts = sorted({0, min(1, frames), min(997, frames), max(0, frames - 1), frames})
    pairs = [(a, b) for a in cuts for b in cuts if a <= b]
    return pairs[::-1]  # the farm reads the last frames first


@pytest.mark.parametrize(("container", "subtype"), PAIRS)
def test_odd_ranges_equal_a_straight_decode(tmp_path, container, subtype):
    for channels in (1, 3):
        check_ranges(tmp_path / "take", container, subtype, channels)


def check_ranges(path, container, subtype, channels):
    lengths = (0, 1, 10007)
    if container == "FLAC":
        lengths = (1, 10007)  # libsndfile writes no FLAC of 0 frames
    elif container == "AIFF" and channels == 1 and subtype in ("PCM_S8", "PCM_U8", "ULAW", "ALAW"):
        lengths = (0, 2, 10006)  # it counts the padding of an AIFF as a frame when it writes one
    for frames in lengths:
        decoded = write(path, container, subtype, frames, channels)
        with open_source(path) as source:
            assert source.format.name == SUBTYPES[subtype] + NATIVE
            assert (source.frames, source.channels, source.samplerate) == (frames, channels, 44100)
            assert source.container == container.removesuffix("EX")
            assert source.frame_bytes == channels * source.format.itemsize
            assert source.warnings == ()
            for start, stop in ranges(frames):
                samples = source.read(start, stop)
                assert len(samples) == (stop - start) * source.frame_bytes
                assert samples == decoded[start:stop].tobytes()
            source.check()


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF", "RF64", "W64", "CAF"])
@pytest.mark.parametrize(("subtype", "dtype"), [("FLOAT", "uint32"), ("DOUBLE", "uint64")])
def test_floats_keep_every_bit(tmp_path, container, subtype, dtype):
    kind = DTYPES[SUBTYPES[subtype]]
    mantissa = {"float32": 23, "float64": 52}[kind]
    bits = np.dtype(dtype).itemsize * 8
    infinity = ((1 << (bits - mantissa - 1)) - 1) << mantissa
    sign = 1 << (bits - 1)
    patterns = [0, sign, 1, sign | 1, infinity, sign | infinity, infinity | 1, sign | infinity | 5]
    patterns += [infinity | 1 << (mantissa - 1) | 0x1234, sign | infinity | (1 << mantissa) - 1]
    values = np.array(patterns, dtype).view(kind)
    path = tmp_path / "take"
    soundfile.write(path, values, 8000, format=container, subtype=subtype)
    with open_source(path) as source:
        assert np.frombuffer(source.read(0, len(values)), dtype).tolist() == patterns


@pytest.mark.parametrize("container", CONTAINERS)
def test_24_bit_integers_are_left_justified_in_32(tmp_path, container):
    values = np.array([-(2**23), -1, 0, 1, 2**23 - 1], np.int32) << 8
    soundfile.write(tmp_path / "take", values, 8000, format=container, subtype="PCM_24")
    with open_source(tmp_path / "take") as source:
        assert source.read(0, 5) == values.tobytes()


def test_a_source_opened_in_one_thread_reads_in_another(tmp_path):
    decoded = write(tmp_path / "take", "FLAC", "PCM_16", 5000)
    read = []
    with open_source(tmp_path / "take") as source:
        thread = threading.Thread(target=lambda: read.append(source.read(100, 4000)))
        thread.start()
        thread.join()
    assert read == [decoded[100:4000].tobytes()]


def test_chunks_behind_the_samples_are_no_samples(tmp_path):
    for container in ("WAV", "AIFF"):
        with soundfile.SoundFile(tmp_path / "take", "w", 8000, 1, "PCM_24", format=container) as file:
            file.write(np.arange(33, dtype=np.int32) << 8)
            file.title = "a title"
        with open_source(tmp_path / "take") as source:
            assert (source.frames, source.warnings) == (33, ())
            assert source.read(32, 33) == struct.pack("=i", 32 << 8)
    content = bytearray(b"")
    soundfile.write(tmp_path / "take", np.arange(33, dtype=np.int16), 8000, format="W64", subtype="PCM_16")
    content = (tmp_path / "take").read_bytes()
    content += (
        b"\0" * (-len(content) % 8)
        + b"levl"
        + content[-66 - 24 + 4 : -66 - 24 + 16]
        + struct.pack("<Q", 32)
        + b"\7" * 8
    )
    (tmp_path / "take").write_bytes(content)
    with open_source(tmp_path / "take") as source:
        assert source.frames == 33
        assert source.read(32, 33) == struct.pack("=h", 32)


@pytest.mark.parametrize(("container", "subtype"), [(c, s) for c, s in PAIRS if s in ("PCM_16", "PCM_24")])
def test_a_truncated_file_is_refused(tmp_path, container, subtype):
    path = tmp_path / "take"
    for cut in (1, 2, 1000, 2000 * 4):
        write(path, container, subtype, 2000, 2)
        whole = path.stat().st_size
        os.truncate(path, max(20, whole - cut))
        with pytest.raises(InputError) as caught:
            open_source(path)
        words = str(caught.value)
        assert "\n" not in words
        if container != "FLAC" and cut < 8000:
            width = {"PCM_16": 2, "PCM_24": 3}[subtype]
            assert "truncated" in words
            assert str(2000 * 2 * width) in words
            assert str(2000 * 2 * width - cut) in words


@pytest.mark.parametrize("container", ["WAV", "W64", "CAF", "RF64"])
def test_a_partial_frame_in_a_container_is_left_out_with_both_sizes(tmp_path, container):
    path = tmp_path / "take"
    decoded = write(path, container, "PCM_16", 300, 1)
    content = path.read_bytes()
    if container == "W64":
        content = content.replace(struct.pack("<Q", 624), struct.pack("<Q", 623))
    elif container == "CAF":
        content = content.replace(struct.pack(">Q", 604), struct.pack(">Q", 603))
    elif container == "RF64":
        content = content.replace(struct.pack("<Q", 600), struct.pack("<Q", 599))
    else:
        content = content.replace(b"data" + struct.pack("<I", 600), b"data" + struct.pack("<I", 599))
    path.write_bytes(content[:-1])
    with open_source(path) as source:
        assert source.read(0, source.frames) == decoded[:299].tobytes()
        (warning,) = source.warnings
        assert "599 bytes of samples are 299 frames of 2 bytes and 1 more, which are left out" in warning


@pytest.mark.parametrize("frames", [299, 301, 0, 2**32 - 1])
def test_an_aiff_that_counts_other_frames_than_it_has_is_refused(tmp_path, frames):
    path = tmp_path / "take"
    write(path, "AIFF", "PCM_16", 300, 1)
    content = path.read_bytes()
    at = content.index(b"COMM") + 10
    path.write_bytes(content[:at] + struct.pack(">I", frames) + content[at + 4 :])
    with pytest.raises(InputError, match=f"counts {frames} frames of 2 bytes .* 600 bytes"):
        open_source(path)


def test_padding_that_an_aiff_counts_as_samples_is_left_out(tmp_path):
    path = tmp_path / "take"
    decoded = write(path, "AIFF", "PCM_S8", 300, 1)
    content = path.read_bytes()
    at = content.index(b"COMM") + 10
    path.write_bytes(content[:at] + struct.pack(">I", 299) + content[at + 4 :])
    with open_source(path) as source:
        assert source.frames == 299
        assert source.read(0, 299) == decoded[:299].tobytes()


def wav_header(subtype, channels=1, declared=0, riff=b"RIFF"):
    tag, bits = {
        "PCM_U8": (1, 8),
        "PCM_16": (1, 16),
        "PCM_24": (1, 24),
        "PCM_32": (1, 32),
        "FLOAT": (3, 32),
        "DOUBLE": (3, 64),
    }[subtype]
    order = ">" if riff == b"RIFX" else "<"
    block = channels * bits // 8
    fmt = struct.pack(order + "HHIIHH", tag, channels, 48000, 48000 * block, block, bits)
    return (
        riff + struct.pack(order + "I", declared) + b"WAVEfmt " + struct.pack(order + "I", 16) + fmt
        + b"data" + struct.pack(order + "I", declared)
    )  # fmt: skip


def as_stored(samples, subtype):
    """The bytes of a little-endian WAV from which samples were decoded."""
    if subtype == "PCM_U8":
        return bytes(value >> 8 ^ 0x80 for value in np.frombuffer(samples, np.uint16).tolist())
    if subtype == "PCM_24":
        return b"".join(value.to_bytes(4, "little")[1:] for value in np.frombuffer(samples, np.uint32).tolist())
    kind = {"PCM_16": "u2", "DOUBLE": "u8"}.get(subtype, "u4")
    return np.frombuffer(samples, "=" + kind).astype("<" + kind).tobytes()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("declared", ["wrapped", 0, 0xFFFFFFFF])
def test_a_wav_beyond_its_32_bit_size_is_read_to_its_end(tmp_path, subtype, declared):
    length = 5 * 2**30 + 64  # whole frames of every width
    width = {"PCM_U8": 2, "PCM_16": 4, "PCM_24": 6, "PCM_32": 8, "FLOAT": 8, "DOUBLE": 16}[subtype]
    at = -(-(2**32) // width)  # the first frame behind 4 GiB
    declared = length % 2**32 if declared == "wrapped" else declared
    path = tmp_path / "take.wav"
    header = wav_header(subtype, channels=2, declared=declared)
    path.write_bytes(header)
    os.truncate(path, len(header) + length)
    with path.open("r+b") as file:
        file.seek(-width, os.SEEK_END)
        file.write(bytes(range(width)))
        file.seek(len(header) + at * width)
        file.write(b"\7" * width)
    with open_source(path) as source:
        assert source.format.name == SUBTYPES[subtype] + NATIVE
        assert (source.channels, source.samplerate, source.container) == (2, 48000, "WAV")
        assert source.frames * width == length
        last = source.frames - 1
        assert as_stored(source.read(last, last + 1), subtype) == bytes(range(width))
        assert as_stored(source.read(at - 1, at + 1), subtype) == b"\0" * width + b"\7" * width
        assert len(source.warnings) == 1
        assert str(declared) in source.warnings[0]
        assert str(length) in source.warnings[0]


@pytest.mark.parametrize(
    ("subtype", "declared"), [("PCM_16", 0), ("PCM_16", 0xFFFFFFFF), ("FLOAT", 0xFFFFFFFF), ("PCM_24", 0xFFFFFFFF)]
)
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, declared, subtype):
    path = tmp_path / "take.wav"
    width = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}[subtype]
    content = random.Random(1).randbytes(1001 * width)
    path.write_bytes(wav_header(subtype, declared=declared) + content)
    with open_source(path) as source:
        assert source.frames == 1001
        assert len(source.warnings) == 1
        if width != 3:
            assert source.read(0, 1001) == content
        else:
            decoded = np.frombuffer(source.read(0, 1001), np.int32)
            assert b"".join(int(value >> 8).to_bytes(3, "little", signed=True) for value in decoded) == content
    path.write_bytes(wav_header(subtype, declared=declared) + content + b"\0")
    with open_source(path) as source:
        assert source.frames == 1001
        assert f"{1001 * width + 1} bytes of samples" in source.warnings[1]


def test_a_big_endian_wav_is_read_with_and_without_a_true_size(tmp_path):
    path = tmp_path / "take.wav"
    path.write_bytes(wav_header("PCM_16", declared=4, riff=b"RIFX") + b"\1\2\3\4")
    with open_source(path) as source:
        assert np.frombuffer(source.read(0, 2), source.format.dtype).tolist() == [0x0102, 0x0304]
        assert source.warnings == ()
    path.write_bytes(wav_header("PCM_16", declared=0, riff=b"RIFX") + b"\1\2\3\4")
    with open_source(path) as source:
        assert source.format.name == "s16" + NATIVE
        assert np.frombuffer(source.read(0, 2), np.int16).tolist() == [0x0102, 0x0304]


@pytest.mark.parametrize("container", ["RF64", "W64"])
def test_a_container_with_64_bit_sizes_is_read_beyond_4_gib(tmp_path, container):
    path = tmp_path / "take"
    length = 5 * 2**30
    soundfile.write(path, np.zeros(8, np.int16), 8000, format=container, subtype="PCM_16")
    content = path.read_bytes()
    header = content[: len(content) - 16]
    if container == "W64":
        header = header[:-8] + struct.pack("<Q", length + 24)
    else:
        ds64 = header.index(b"ds64") + 8
        header = header[: ds64 + 8] + struct.pack("<QQ", length, length // 2) + header[ds64 + 24 :]
    path.write_bytes(header)
    os.truncate(path, len(header) + length)
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<h", -5))
    with open_source(path) as source:
        assert source.frames == length // 2
        assert source.read(source.frames - 2, source.frames) == struct.pack("=hh", 0, -5)


@pytest.mark.parametrize(
    ("container", "subtype", "words"),
    [
        ("WAV", "IMA_ADPCM", "holds IMA ADPCM in a WAV file"),
        ("WAV", "MS_ADPCM", "holds MS ADPCM in a WAV file.*`ffmpeg -i .*take.xyz out.wav`"),
        ("WAV", "GSM610", "holds GSM 6.10"),
        ("CAF", "ALAC_16", "holds ALAC in a CAF file.*`ffmpeg -i .*take.xyz -c:a pcm_s32le out.wav`"),
        ("OGG", "VORBIS", "is an Ogg file.*`ffmpeg -i .*take.xyz -c:a pcm_f32le out.wav`"),
        ("OGG", "OPUS", "is an Ogg file"),
        ("MP3", "MPEG_LAYER_III", "is an MP3 file"),
        ("AU", "G721_32", "holds G.721 ADPCM in an AU file"),
        ("AIFF", "IMA_ADPCM", "holds IMA ADPCM in an AIFF file"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused(tmp_path, container, subtype, words):
    path = tmp_path / "take.xyz"
    rate = 48000 if subtype == "OPUS" else 44100
    soundfile.write(path, np.zeros(5000), rate, format=container, subtype=subtype)
    with pytest.raises(InputError, match=words):
        open_source(path)


@pytest.mark.parametrize("content", [b"", b"R", b"RIFF", b"\0" * 100, b"not audio at all\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_container_says_how_to_name_raw_samples(tmp_path, content):
    path = tmp_path / "take.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match="--format"):
        open_source(path)


def with_total(content, total):
    """A FLAC whose STREAMINFO gives another number of frames."""
    fields = int.from_bytes(content[18:26], "big")
    return content[:18] + (fields >> 36 << 36 | total).to_bytes(8, "big") + content[26:]


def test_a_flac_that_lies_about_its_length_is_refused(tmp_path):
    path = tmp_path / "take.flac"
    write(path, "FLAC", "PCM_16", 10007)
    content = path.read_bytes()
    for total, words in (
        (0, "does not say how many frames"),
        (10008, "decoded|ends at"),
        (2**36 - 1, "decoded|ends at"),
    ):
        path.write_bytes(with_total(content, total))
        with pytest.raises(InputError, match=words):
            open_source(path)


def test_a_flipped_bit_in_a_flac_is_never_read_as_samples(tmp_path):
    path = tmp_path / "take.flac"
    decoded = write(path, "FLAC", "PCM_16", 20011)
    content = path.read_bytes()
    start = content.index(b"\xff\xf8")  # the first frame
    random_ = random.Random(3)
    for _ in range(20):
        flipped = bytearray(content)
        flipped[random_.randrange(start, len(content))] ^= 1 << random_.randrange(8)
        path.write_bytes(flipped)
        errors = 0
        try:
            with open_source(path) as source:
                for at in range(0, 20011, 1009):
                    try:
                        assert source.read(at, min(at + 1009, 20011)) == decoded[at : at + 1009].tobytes()
                    except InputError:
                        errors += 1
        except InputError:
            errors += 1
        assert errors


def mutated(content, random_):
    content = bytearray(content)
    for _ in range(random_.choice([1, 1, 2, 3, 8, 30])):
        at = min(int(random_.expovariate(1 / 40)), len(content) - 1)  # headers are at the front
        match random_.randrange(6):
            case 0:
                content[at] ^= 1 << random_.randrange(8)
            case 1:
                content[at] = random_.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                content[at : at + 4] = random_.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]
                )
            case 3:
                del content[at : at + random_.randrange(1, 9)]
            case 4:
                content[at:at] = random_.randbytes(random_.randrange(1, 9))
            case 5:
                del content[random_.randrange(1, len(content) + 1) :]
        if not content:
            break
    return bytes(content)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_hostile_file_gives_one_error_or_reads(tmp_path, container):
    """Mutated files: an error of one line, or a source that reads; soon, and in little memory."""
    random_ = random.Random(container)
    path = tmp_path / "take"
    seeds = []
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        if soundfile.check_format(container, subtype):
            write(path, container, subtype, 501, 2)
            seeds.append(path.read_bytes())
    tracemalloc.start()
    begun = time.process_time()
    opened, errors = 0, []
    try:
        for _ in range(300):
            path.write_bytes(mutated(random_.choice(seeds), random_))
            try:
                with open_source(path) as source:
                    opened += 1
                    assert source.frames >= 0
                    stop = min(source.frames, 4096)
                    assert len(source.read(0, stop)) == stop * source.frame_bytes
                    assert len(source.read(source.frames - stop, source.frames)) == stop * source.frame_bytes
            except (InputError, UsageError) as error:
                errors.append(str(error))
        assert not any("\n" in error for error in errors)
        assert time.process_time() - begun < 30
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert 0 < opened < 300


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac"])
@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_a_source_knows_how_many_bits_its_samples_have(tmp_path, suffix, subtype, bits):
    path = tmp_path / f"take.{suffix}"
    soundfile.write(path, np.zeros((8, 1)), 8000, subtype=subtype)
    with open_source(path) as source:
        assert source.bits == bits
