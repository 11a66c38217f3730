"""Recordings that people really have, though no book describes them: what is read is exact, and the oddity is named."""

import struct

import numpy as np
import pytest
import soundfile

from zaudio.audio import open_source
from zaudio.errors import InputError
from zaudio.settings import Raw

FRAMES = 5000
UNKNOWN = 0xFFFFFFFF
W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
DTYPES = {"s16": np.int16, "s32": np.int32, "f32": np.float32, "f64": np.float64}

# Kind: WAV's tag and bits, AIFF-C's type, CAF's flags, AU's code, the bytes of some samples, and what they mean.
GRAINS = np.random.default_rng(7).integers(-(2**31), 2**31, 2 * FRAMES, np.int64)
S16 = (GRAINS >> 16).astype(np.int16)
S24 = (GRAINS >> 8).astype(np.int32)
S32 = GRAINS.astype(np.int32)
KINDS = {
    "8": ((1, 8), ((GRAINS >> 24) + 128).astype(np.uint8), ((GRAINS >> 24) << 8).astype(np.int16)),
    "16": ((1, 16), S16, S16),
    "24": ((1, 24), None, S24 << 8),
    "32": ((1, 32), S32, S32),
    "float": ((3, 32), (S16 / 32768).astype(np.float32), (S16 / 32768).astype(np.float32)),
    "64": ((3, 64), S32 / 2.0**31, S32 / 2.0**31),
}


def stored(kind, order="<"):
    """The samples as a file has them; 8-bit ones as a WAV has them."""
    if kind == "24":
        octets = S24.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
        return (octets if order == "<" else octets[:, ::-1]).tobytes()
    array = KINDS[kind][1]
    return array.astype(array.dtype.newbyteorder(order)).tobytes()


def meant(kind):
    return KINDS[kind][2].tobytes()


def chunk(name, body, size=None, order="<", pad=True):
    head = name + struct.pack(order + "I", len(body) if size is None else size)
    return head + body + (b"\0" if pad and len(body) % 2 else b"")


def fmt(kind="16", channels=2, samplerate=48000, order="<"):
    tag, bits = KINDS[kind][0]
    block = channels * bits // 8
    body = struct.pack(order + "HHIIHH", tag, channels, samplerate, samplerate * block, block, bits)
    return chunk(b"fmt ", body, order=order)


def wav(*chunks, size=None):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


DATA = stored("16")
WHOLE = chunk(b"data", DATA)


def aiff(kind, ssnd=None, frames=FRAMES, size=None, tail=b"", samplerate=48000):
    (tag, bits), _, _ = KINDS[kind]
    body = np.frombuffer(stored("8"), np.uint8) ^ 0x80 if kind == "8" else np.frombuffer(stored(kind, ">"), np.uint8)
    exponent = samplerate.bit_length() - 1
    rate = struct.pack(">HQ", 16383 + exponent, samplerate << (63 - exponent)) if samplerate else bytes(10)
    code = (b"fl32" if bits == 32 else b"fl64") + b"\0\0" if tag == 3 else b""
    comm = chunk(b"COMM", struct.pack(">HIH", 2, frames, bits) + rate + code, order=">")
    sound = chunk(b"SSND", bytes(8) + body.tobytes(), ssnd, order=">")
    content = (b"AIFC" if code else b"AIFF") + comm + sound + tail
    return b"FORM" + struct.pack(">I", len(content) if size is None else size) + content


def w64_chunk(name, body, size=None):
    return name + W64_TAIL + struct.pack("<Q", len(body) + 24 if size is None else size) + body


def w64(kind, size=None, form=None):
    body = fmt(kind)[8:]
    chunks = w64_chunk(b"fmt ", body) + w64_chunk(b"data", stored(kind), size)
    length = struct.pack("<Q", len(chunks) + 40 if form is None else form)
    return bytes.fromhex("726966662e91cf11a5d628db04c10000") + length + b"wave" + W64_TAIL + chunks


def rf64(size, form=b"RF64", riff=0):
    ds64 = chunk(b"ds64", struct.pack("<QQQI", riff, size, 0, 0))
    return wav(ds64, fmt(), chunk(b"data", DATA, UNKNOWN), size=UNKNOWN).replace(b"RIFF", form, 1)


def caf(size, *, code=b"lpcm", samplerate=48000.0):
    desc = struct.pack(">d4s5I", samplerate, code, 2, 4, 1, 2, 16)
    return (
        b"caff\0\1\0\0desc" + struct.pack(">Q", 32) + desc + b"data" + struct.pack(">Q", size) + bytes(4) + DATA
    )  # fmt: skip


def read(tmp_path, content, name="take.wav", **raw):
    """All samples of a file with that content, read in two goes, and the warnings."""
    path = tmp_path / name
    path.write_bytes(content)
    with open_source(path, Raw(**raw)) as source:
        assert source.samplerate in (48000, 8000)
        middle = source.frames // 3
        tail = source.read(middle, source.frames)
        assert all(str(path) in warning and "\n" not in warning for warning in source.warnings)
        return source.read(0, middle) + tail, source.warnings


def refusal(tmp_path, content, name="take.wav", **raw):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, name, **raw)
    words = str(caught.value)
    assert "\n" not in words
    assert "Internal" not in words
    return words


# Sizes that mean "unknown"

STREAMS = [0x7FFFF000, 0x7FFFF001, 0x7FFFFFFF, 0x7FFFFFDB, 0x80000000, 0, UNKNOWN, UNKNOWN - 36, UNKNOWN - 44]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [*STREAMS, "sox"])
def test_a_wav_of_unknown_size_is_read_to_its_end(tmp_path, kind, size):
    block = 2 * KINDS[kind][0][1] // 8
    size = 0x7FFFF000 // block * block if size == "sox" else size
    for riff in (size, (size + 36) % 2**32, None):
        content = wav(fmt(kind), chunk(b"data", stored(kind), size), size=riff)
        samples, (warning,) = read(tmp_path, content)
        assert samples == meant(kind)
        assert f"gives {size} bytes" in warning
        assert "pipe" in warning
        assert f"{len(stored(kind))} bytes to the end of the file" in warning


@pytest.mark.parametrize("size", [0x7FFFE000, 0x80000001, 0x90000000, 21000])
def test_other_sizes_beyond_the_end_are_a_truncated_file(tmp_path, size):
    words = refusal(tmp_path, wav(fmt(), chunk(b"data", DATA, size), size=size + 36))
    assert f"truncated: its header gives {size} bytes of samples, and the file has 20000; pass --truncated" in words
    samples, (warning,) = (
        read(tmp_path, wav(fmt(), chunk(b"data", DATA + b"\7", size), size=size + 36)[:-2], truncated=True)[0],
        read(tmp_path, wav(fmt(), chunk(b"data", DATA, size), size=size + 36), truncated=True)[1],
    )
    assert samples == meant("16")
    assert str(size) in warning
    assert "20000" in warning


@pytest.mark.parametrize("size", [0, UNKNOWN, 0x7FFFF000])
def test_an_empty_stream_stays_empty(tmp_path, size):
    assert read(tmp_path, wav(fmt(), chunk(b"data", b"", size)))[0] == b""
    samples, warnings = read(tmp_path, wav(fmt(), chunk(b"data", b"", size), chunk(b"LIST", bytes(40))))
    assert samples == b""
    assert len(warnings) == (size != 0)
    # A broken chunk with a name that everybody knows is no samples either.
    assert read(tmp_path, wav(fmt(), chunk(b"data", b"", size), chunk(b"LIST", bytes(40), 400)))[0] == b""


@pytest.mark.parametrize("size", [0, UNKNOWN, 0x7FFFF000])
@pytest.mark.parametrize("tail", [b"TAG" + bytes(125 + 7), chunk(b"LIST", b"INFO") + b"TAG" + bytes(125)])
def test_an_empty_stream_with_a_chunk_and_a_tag_stays_empty(tmp_path, size, tail):
    samples, warnings = read(tmp_path, wav(fmt(), chunk(b"data", b"", size), chunk(b"SyLp", bytes(40))) + tail)
    assert samples == b""
    assert "ID3v1 tag" in warnings[1]


def test_samples_that_look_like_a_chunk_are_samples(tmp_path):
    body = b"abcd" + struct.pack("<I", 5000) + bytes(32)
    assert read(tmp_path, wav(fmt(), chunk(b"data", body, 0)))[0] == body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 8, UNKNOWN, 0x7FFFFFFF, "sox"])
def test_an_aiff_of_unknown_size_is_read_to_its_end(tmp_path, kind, size):
    block = 2 * KINDS[kind][0][1] // 8
    frames = 0
    if size == "sox":
        frames = 0x7F000000 // block
        size = 8 + frames * block
    for count in (frames, FRAMES):
        samples, (warning,) = read(tmp_path, aiff(kind, size, count, size=0))
        assert samples == meant(kind)
        assert "pipe" in warning


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 24, 2**63 - 1, 2**64 - 1, UNKNOWN])
def test_a_w64_of_unknown_size_is_read_to_its_end(tmp_path, kind, size):
    samples, (warning,) = read(tmp_path, w64(kind, size, form=2**64 - 1))
    assert samples == meant(kind)
    assert "pipe" in warning


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [0, 2**64 - 1, len(DATA)])
def test_rf64_and_bw64_are_read(tmp_path, form, size):
    samples, warnings = read(tmp_path, rf64(size, form))
    assert samples == DATA
    assert len(warnings) == (size != len(DATA))


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_a_size_of_zero_stands_for_that_of_the_ds64_chunk_too(tmp_path, form):
    whole = rf64(len(DATA), form)
    at = whole.index(b"data") + 4
    assert read(tmp_path, whole[:at] + bytes(4) + whole[at + 4 :] + b"LIST\4\0\0\0INFO") == (DATA, ())


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_sizes_of_pipes_are_known_where_they_count_a_head_too(tmp_path, size):
    for content in (caf(size), w64("16", size, form=size + 104)):
        samples, (warning,) = read(tmp_path, content)
        assert samples == DATA
        assert "pipe" in warning


def test_a_streamed_caf_is_read_to_its_end(tmp_path):
    samples, (warning,) = read(tmp_path, caf(2**64 - 1))
    assert samples == DATA
    assert "20000 bytes to the end" in warning
    assert read(tmp_path, caf(len(DATA) + 4)) == (DATA, ())


# Tails

ID3V1 = b"TAG" + b"A title".ljust(30) + b"Somebody".ljust(30, b"\0") + bytes(65)
TAILS = {
    "468 zeros": bytes(468),
    "100000 zeros": bytes(100000),
    "ID3v1": b"TAG" + bytes(125),
    "an ID3v1 tag": ID3V1,
    "40 zeros and an ID3v1 tag": bytes(40) + ID3V1,
    "APE tag": b"APETAGEX" + bytes(5000),
    "an ID3v2 tag": b"ID3\4\0\0\0\0\x4e\x10" + b"\1" * 10000,
    "40 zeros and an ID3v1 tag ": bytes(40) + ID3V1 + bytes(300),
    "1 byte": b"\1",
    "1 byte ": b"\0",
    "17 bytes": b"\1" * 17,
    "a broken cue chunk of 4000 bytes, of which the file has 28": chunk(b"cue ", bytes(28), 4000),
    "a broken LIST chunk": chunk(b"LIST", b"\1" * 50000, 50001 + 7),
}


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("before", [b"", chunk(b"LIST", b"INFO")])
@pytest.mark.parametrize("kind", ["8", "16", "24"])
def test_a_tail_is_left_out_and_named(tmp_path, name, before, kind):
    content = wav(fmt(kind), chunk(b"data", stored(kind)), before) + TAILS[name]
    samples, (warning,) = read(tmp_path, content)
    assert samples == meant(kind)
    assert name.strip() in warning
    assert "left out" in warning


@pytest.mark.parametrize("name", ["468 zeros", "an ID3v1 tag", "1 byte", "17 bytes"])
def test_a_tail_of_an_aiff_is_left_out_too(tmp_path, name):
    samples, (warning,) = read(tmp_path, aiff("24", tail=TAILS[name]))
    assert samples == meant("24")
    assert name in warning


@pytest.mark.parametrize("kind", KINDS)
def test_comm_may_follow_the_samples(tmp_path, kind):
    content = aiff(kind)
    comm = content[12 : 20 + int.from_bytes(content[16:20], "big")]
    swapped = content[:12] + content[12 + len(comm) :] + comm
    assert read(tmp_path, swapped) == (meant(kind), ())
    samples, (warning,) = read(tmp_path, swapped + ID3V1)
    assert samples == meant(kind)
    assert "an ID3v1 tag" in warning


def test_programs_differ_about_the_tail_of_a_w64(tmp_path):
    assert "the last 17 are no chunks" in refusal(tmp_path, w64("16") + b"\1" * 17)
    assert "the last 4 are no chunks" in refusal(tmp_path, w64("16") + b"\1" * 4)
    samples, (warning,) = read(tmp_path, w64("16") + b"\1" * 3)  # less than a frame
    assert samples == DATA
    assert "left out: 3 bytes" in warning


def test_what_could_be_samples_is_refused(tmp_path):
    """The header was not brought up to date: half of what follows would be lost without a word."""
    words = refusal(tmp_path, wav(fmt(), chunk(b"data", DATA, 10000)))
    assert "10000 bytes" in words
    assert "20000 follow" in words
    assert "sox --ignore-length" in words


@pytest.mark.parametrize("size", [0, UNKNOWN, 0x7FFFFFFF])
@pytest.mark.parametrize("tag", [ID3V1, b"TAG+" + bytes(223) + ID3V1])
def test_a_tag_is_never_samples(tmp_path, size, tag):
    samples, warnings = read(tmp_path, wav(fmt(), chunk(b"data", DATA, size)) + tag)
    assert samples == DATA
    assert "ID3v1" in warnings[1]


APE_ENDS = [b"APETAGEX" + struct.pack("<4I", 2000, 40, 0, flags) + bytes(8) for flags in (0xA0000000, 0x80000000)]
LIST = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"abcd"))
AT_THE_END = {
    "ID3v1 tag": ID3V1 + bytes(300),
    "an ID3v1 tag": b"TAG" + b"A title\0and old text\1".ljust(30, b"\0") + bytes(95),
    "an APE tag": APE_ENDS[0] + bytes(8) + APE_ENDS[1],
    "an APE tag and an ID3v1 tag": APE_ENDS[0] + bytes(8) + APE_ENDS[1] + ID3V1,
    "an ID3v2 tag": b"ID3\4\0\0\0\0\0\x14" + b"\1" * 20,
    "ID3v2 tag": b"ID3\4\0\x10\0\0\0\x14" + b"\1" * 20 + b"3DI\4\0\x10\0\0\0\x14",
    "one LIST chunk": LIST,
    "one LIST chunk and one LIST chunk": chunk(b"LIST", b"INFOabc", pad=False) + chunk(b"LIST", bytes(9000)),
    "one id3 chunk and an ID3v1 tag": chunk(b"id3 ", b"\1" * 5000) + ID3V1,
}


@pytest.mark.parametrize("name", AT_THE_END)
@pytest.mark.parametrize("size", [0, UNKNOWN, 0x7FFFF000])
def test_tags_and_chunks_at_the_end_of_a_stream_are_no_samples(tmp_path, name, size):
    for kind in ("8", "16", "24"):
        samples, warnings = read(tmp_path, wav(fmt(kind), chunk(b"data", stored(kind), size)) + AT_THE_END[name])
        assert samples == meant(kind)
        assert "the end of the file" in warnings[0]
        assert name in warnings[1]
    assert read(tmp_path, wav(fmt(), chunk(b"data", b"", size)) + AT_THE_END[name])[0] == b""


def test_a_file_behind_a_stream_is_no_samples(tmp_path):
    assert "two fmt chunks" in refusal(tmp_path, wav(fmt(), chunk(b"data", DATA, 0)) + wav(fmt(), WHOLE))


@pytest.mark.parametrize("name", AT_THE_END)
@pytest.mark.parametrize("more", [1, 8, 36, 44])
def test_a_size_that_reaches_into_a_tag_is_cut_to_the_samples(tmp_path, name, more):
    for before in (b"", LIST):
        content = wav(fmt(), chunk(b"data", DATA, len(DATA) + more), before) + AT_THE_END[name]
        samples, (counted, left_out) = read(tmp_path, content)
        assert samples == DATA
        assert f"gives {20000 + more} bytes" in counted
        assert name in left_out
    words = refusal(tmp_path, wav(fmt(), chunk(b"data", DATA, len(DATA) + 8), size=99999) + AT_THE_END[name])
    assert "gives 20008 bytes of samples, and the file has 20000;" in words


def test_chunks_of_unknown_names_are_no_oddity(tmp_path):
    assert read(tmp_path, wav(fmt(), WHOLE, LIST, chunk(b"SyLp", bytes(40)))) == (DATA, ())
    assert read(tmp_path, wav(fmt(), WHOLE, chunk(b"SyLp", bytes(40)), LIST)) == (DATA, ())


def test_samples_that_start_like_a_tag_are_samples(tmp_path):
    body = DATA + b"TAG" + bytes(range(125))
    assert read(tmp_path, wav(fmt(), chunk(b"data", body, 0)))[0] == body


@pytest.mark.parametrize("more", [1, 4, 8, 36, 44])
def test_a_size_that_counts_its_header_is_cut_to_the_file(tmp_path, more):
    samples, (warning,) = read(tmp_path, wav(fmt(), chunk(b"data", DATA, len(DATA) + more)))
    assert samples == DATA
    assert f"gives {20000 + more} bytes" in warning
    assert "20000" in warning


@pytest.mark.parametrize("cut", [1, 2, 4, 20, 44, 10000])
@pytest.mark.parametrize("make", [lambda: wav(fmt(), WHOLE), lambda: aiff("16"), lambda: w64("16"), lambda: rf64(20000),
                                  lambda: caf(20004)])  # fmt: skip
def test_a_truncated_file_is_refused_and_truncated_takes_what_is_there(tmp_path, make, cut):
    content = make()[:-cut]
    words = refusal(tmp_path, content)
    assert "truncated: its header gives 20000 bytes" in words
    assert f"the file has {20000 - cut};" in words
    samples, warnings = read(tmp_path, content, truncated=True)
    assert samples == meant("16")[: (20000 - cut) // 4 * 4]
    assert "truncated" in warnings[0]
    assert len(warnings) == (2 if cut % 4 else 1)


@pytest.mark.parametrize("cut", [36, 44])
def test_a_truncated_file_that_had_chunks_behind_does_not_count_its_header(tmp_path, cut):
    """As many bytes are missing as the header has, by chance."""
    content = wav(fmt(), WHOLE, LIST)[: -cut - len(LIST)]
    assert f"gives 20000 bytes of samples, and the file has {20000 - cut};" in refusal(tmp_path, content)


def test_a_truncated_flac_gives_the_frames_that_decode(tmp_path):
    path = tmp_path / "take.flac"
    soundfile.write(path, S16.reshape(-1, 2), 48000, format="FLAC", subtype="PCM_16")
    content = path.read_bytes()
    assert read(tmp_path, content, truncated=True) == (meant("16"), ())
    refusal(tmp_path, content[:-3000])
    samples, (warning,) = read(tmp_path, content[:-3000], truncated=True)
    assert 0 < len(samples) < len(meant("16"))
    assert meant("16").startswith(samples)
    assert f"gives 5000 frames, and the file has {len(samples) // 4}" in warning


# A tag in front

ID3V2 = b"ID3\3\0\0" + bytes((0, 0, 1, 100)) + bytes(228)


@pytest.mark.parametrize("tag", [ID3V2, ID3V2 + ID3V2, b"ID3\4\0\x10\0\0\0\7" + bytes(17)])
def test_a_tag_in_front_is_skipped(tmp_path, tag):
    soundfile.write(tmp_path / "take.flac", S16.reshape(-1, 2), 48000, format="FLAC", subtype="PCM_16")
    flac = (tmp_path / "take.flac").read_bytes()
    for content in (flac, wav(fmt(), WHOLE), aiff("16"), caf(20004)):
        samples, (warning,) = read(tmp_path, tag + content)
        assert samples == meant("16")
        assert f"an ID3v2 tag of {len(tag)} bytes" in warning
    assert "is an MP3 file" in refusal(tmp_path, tag + b"\xff\xfb\x90\0" * 100)


# True sentences

LAWS = bytes(range(256)) * 2


def laws(name):
    """What libsndfile makes of all bytes of a law."""
    import io

    samples, _ = soundfile.read(
        io.BytesIO(LAWS), format="RAW", subtype=name, samplerate=8000, channels=1, dtype="int16", always_2d=True
    )
    return samples.tobytes()


def au(code, body, *, size=None, mark=b".snd", channels=2, samplerate=8000):
    order = ">" if mark == b".snd" else "<"
    head = struct.pack(order + "5I", 28, len(body) if size is None else size, code, samplerate, channels)
    return mark + head + b"note" + body


@pytest.mark.parametrize(("code", "kind"), [(3, "16"), (4, "24"), (5, "32"), (6, "float"), (7, "64")])
def test_au_is_read(tmp_path, code, kind):
    big, little = au(code, stored(kind, ">")), au(code, stored(kind), mark=b"dns.")
    assert read(tmp_path, big) == read(tmp_path, little) == (meant(kind), ())
    assert read(tmp_path, au(code, stored(kind, ">"), size=UNKNOWN))[0] == meant(kind)
    assert "truncated" in refusal(tmp_path, big[:-1000])


def test_the_laws_are_those_of_libsndfile(tmp_path):
    assert read(tmp_path, au(1, LAWS, channels=1)) == (laws("ULAW"), ())
    assert read(tmp_path, au(27, LAWS, channels=1)) == (laws("ALAW"), ())
    assert read(tmp_path, au(2, bytes([1, 255]), channels=1)) == (np.array([256, -256], np.int16).tobytes(), ())


def nist(coding="pcm", width=2, order="01", count=FRAMES):
    lines = f"NIST_1A\n   1024\nchannel_count -i 2\nsample_count -i {count}\nsample_rate -i 8000\n"
    lines += f"sample_n_bytes -i {width}\nsample_byte_format -s2 {order}\nsample_coding -s3 {coding}\nend_head\n"
    return lines.encode().ljust(1024)


def test_nist_is_read(tmp_path):
    assert read(tmp_path, nist() + DATA) == (DATA, ())
    assert read(tmp_path, nist(order="10") + stored("16", ">")) == (DATA, ())
    assert read(tmp_path, nist("ulaw", 1, "1", 256) + LAWS) == (laws("ULAW"), ())
    assert "truncated" in refusal(tmp_path, nist() + DATA[:-4])
    assert "holds pcm,embedded-shorten-v2.00 in a NIST file" in refusal(tmp_path, nist("pcm,embedded-shorten-v2.00"))


def block(kind, body):
    return bytes([kind]) + struct.pack("<I", len(body))[:3] + body


VOC = b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x0114, 0x111F)


def test_voc_is_read(tmp_path):
    head = struct.pack("<IBBHI", 8000, 16, 2, 4, 0)
    assert read(tmp_path, VOC + block(9, head + DATA) + b"\0") == (DATA, ())
    assert read(tmp_path, VOC + block(5, b"a note\0") + block(9, head + DATA)) == (DATA, ())
    old = VOC + block(1, b"\x83\0" + stored("8")) + b"\0"  # 1,000,000 / (256 - 131) = 8000
    assert read(tmp_path, old) == (meant("8"), ())
    assert "has several blocks" in refusal(tmp_path, VOC + block(9, head + DATA) * 2 + b"\0")
    assert "block of type 3" in refusal(tmp_path, VOC + block(9, head + DATA) + block(3, b"\1\1\1") + b"\0")
    assert "truncated" in refusal(tmp_path, (VOC + block(9, head + DATA))[:-400])
    assert "Creative ADPCM" in refusal(tmp_path, VOC + block(1, b"\x83\1" + DATA))


PAIRS = [("VOC", "PCM_U8"), ("VOC", "PCM_16"), ("VOC", "ULAW"), ("VOC", "ALAW"), ("AU", "PCM_S8"), ("AU", "ULAW")]
PAIRS += [("NIST", "PCM_S8"), ("NIST", "PCM_24"), ("NIST", "ALAW")]


@pytest.mark.parametrize(("container", "subtype"), PAIRS)
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_libsndfile_are_read_as_it_reads_them(tmp_path, container, subtype, channels):
    path = tmp_path / "take"
    wide = subtype == "PCM_24"
    values = (S32 if wide else S16).reshape(-1, channels)
    soundfile.write(path, values, 8000, format=container, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="int32" if wide else "int16", always_2d=True)
    assert read(tmp_path, path.read_bytes())[0] == expected.tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"wvpk" + bytes(60), "is a WavPack file.*`ffmpeg -i .*take.wav -c:a pcm_s32le out.wav`"),
        (caf(20004, code=b"alac"), "holds ALAC in a CAF file.*ffmpeg -i"),
        (wav(chunk(b"fmt ", struct.pack("<HHIIHH", 0x11, 1, 8000, 8000, 256, 4)), WHOLE), "holds IMA ADPCM in a WAV"),
        (wav(chunk(b"fmt ", struct.pack("<HHIIHH", 0x1234, 1, 8000, 8000, 1, 8)), WHOLE), "holds format 0x1234"),
        (wav(fmt(samplerate=0), WHOLE), "sample rate of 0 Hz.*sox -r"),
        (aiff("16", samplerate=0), "sample rate of 0 Hz"),
        (caf(20004, samplerate=0.0), "sample rate of 0 Hz"),
        (caf(20004, samplerate=float("nan")), "sample rate of 0 Hz"),
        (au(3, b"", samplerate=0), "sample rate of 0 Hz"),
        (wav(fmt(channels=0), WHOLE), "gives 0 channels"),
        (wav(fmt(), WHOLE, WHOLE), "has two data chunks"),
        (wav(fmt(), WHOLE, chunk(b"SyLp", bytes(40)), WHOLE), "has two data chunks"),
        (wav(fmt(), fmt(), WHOLE), "has two fmt chunks"),
        (wav(fmt(), WHOLE, fmt()), "has two fmt chunks"),
        (wav(fmt(), WHOLE, chunk(b"data", DATA, 99999)), "has two data chunks"),
        (wav(WHOLE, fmt()), "has no fmt chunk in front"),
        (wav(fmt()), "has no data chunk"),
        (wav(chunk(b"fmt ", b"short"), WHOLE), "fmt chunk has 5 bytes"),
        (aiff("16", tail=chunk(b"SSND", bytes(12), order=">")), "has two SSND chunks"),
        (b"RIFF\0\0\0\0WAVE", "has no data chunk"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, content)


def test_flacs_without_a_total_or_a_rate_are_named(tmp_path):
    path = tmp_path / "take.flac"
    soundfile.write(path, S16, 48000, format="FLAC", subtype="PCM_16")
    content = path.read_bytes()
    fields = int.from_bytes(content[18:26], "big")
    no_total = content[:18] + (fields >> 36 << 36).to_bytes(8, "big") + content[26:]
    assert "`flac -d -o out.wav " in refusal(tmp_path, no_total, "take.flac")
    assert "`ffmpeg -i " in refusal(tmp_path, no_total, "take.flac")
    no_rate = content[:18] + (fields & (1 << 44) - 1).to_bytes(8, "big") + content[26:]
    assert "sample rate of 0 Hz" in refusal(tmp_path, no_rate, "take.flac")


def test_a_law_that_gives_the_bits_of_its_samples_is_read(tmp_path):
    for bits in (8, 16):
        body = struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, bits)
        assert read(tmp_path, wav(chunk(b"fmt ", body), chunk(b"data", LAWS))) == (laws("ULAW"), ())


def test_a_compressed_file_behind_a_tag_has_its_own_name(tmp_path):
    assert "is an Ogg file" in refusal(tmp_path, ID3V2 + b"OggS" + bytes(60))


def test_a_flac_with_a_tag_behind_it_is_read(tmp_path):
    path = tmp_path / "take.flac"
    soundfile.write(path, S16.reshape(-1, 2), 48000, format="FLAC", subtype="PCM_16")
    assert read(tmp_path, path.read_bytes() + ID3V1)[0] == meant("16")


def test_standard_input_is_refused_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="-: standard input cannot be read from any frame on; write it into a file"):
        open_source("-")
    (tmp_path / "-").write_bytes(wav(fmt(), WHOLE))  # a file of that name is a file
    with open_source("-") as source:
        assert source.frames == FRAMES
