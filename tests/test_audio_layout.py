import random
import struct

import pytest
from extended import extended

from zaudio.audio.chunks import MAX_CHUNKS, LayoutError
from zaudio.audio.headers import Stored
from zaudio.audio.layout import Layout, find_samples

FMT = struct.pack("<HHIIHH", 1, 1, 48000, 48000, 1, 8)
BYTES = Stored("u8", "little", 1, 48000)
UNKNOWN = 0xFFFFFFFF
CAF = b"caff\0\1\0\0desc" + struct.pack(">Qd4s5I", 32, 44100, b"lpcm", 0, 1, 1, 1, 8)
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")


def chunk(name, body, size=None, order="<"):
    return name + struct.pack(order + "I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def wav(*chunks, form=b"RIFF"):
    return form + b"\0\0\0\0WAVE" + b"".join(chunks)


def find(kind, content, size=None, **options):
    """The layout of a file of those bytes, and zeros up to `size`: a sparse file without a file."""
    size = len(content) if size is None else size

    def read_at(offset, length):
        length = max(0, min(length, size - offset))
        return content[offset : offset + length].ljust(length, b"\0")

    return find_samples(kind, read_at, size, **options)


@pytest.mark.parametrize("length", [0, 1, 4, 7, 996])
@pytest.mark.parametrize("tail", [(), (chunk(b"LIST", b"odd"),), (chunk(b"bext", b"x" * 600), chunk(b"id3 ", b"y"))])
def test_a_wav_has_its_samples_in_the_data_chunk(length, tail):
    content = wav(chunk(b"fmt ", FMT), chunk(b"LIST", b"abc"), chunk(b"data", b"\7" * length), *tail)
    layout = find("WAV", content)
    assert layout == Layout(56, length, BYTES)
    assert content[layout.offset :].startswith(b"\7" * length)


def test_padding_may_be_missing_at_the_end_of_the_file_and_after_the_samples():
    fmt = chunk(b"fmt ", FMT)
    whole = Layout(44, 3, BYTES)
    assert find("WAV", wav(fmt, chunk(b"data", b"\7\7\7"))[:-1]) == whole
    assert find("WAV", wav(fmt, chunk(b"data", b"\7\7\7")[:-1], chunk(b"LIST", b"ab"))) == whole
    assert find("WAV", wav(fmt, chunk(b"data", b"\7\7\7"), chunk(b"LIST", b"abc")[:-1])) == whole


def test_a_big_endian_wav_is_read_as_such():
    fmt = struct.pack(">HHIIHH", 3, 1, 8000, 32000, 4, 32)
    layout = find("WAV", wav(chunk(b"fmt ", fmt, order=">"), chunk(b"data", b"\7" * 8, order=">"), form=b"RIFX"))
    assert layout == Layout(44, 8, Stored("f32", "big", 1, 8000))


def test_an_extensible_format_has_its_tag_in_its_guid():
    tails = ("000000001000800000aa00389b71", "00002107d3118644c8c1ca000000")
    head = struct.pack("<HHIIHH", 0xFFFE, 6, 8000, 8000 * 24, 24, 32) + struct.pack("<HHI", 22, 32, 0)
    for tail in tails:
        for tag, coding in ((1, "s32"), (3, "f32")):
            body = head + bytes([tag, 0]) + bytes.fromhex(tail)
            layout = find("WAV", wav(chunk(b"fmt ", body), chunk(b"data", b"")))
            assert layout.stored == Stored(coding, "little", 6, 8000)
    with pytest.raises(LayoutError, match="holds format 0xfffe"):
        find("WAV", wav(chunk(b"fmt ", head + b"\1\0" + b"\7" * 14), chunk(b"data", b"")))


@pytest.mark.parametrize("declared", [0, UNKNOWN])
@pytest.mark.parametrize("length", [1, 5, 1000, 2**32 - 1, 2**32, 5 * 2**30])
def test_no_size_and_the_size_of_a_stream_mean_to_the_end_of_the_file(declared, length):
    content = wav(chunk(b"fmt ", FMT), chunk(b"data", b"", declared))
    layout = find("WAV", content, len(content) + length)
    assert (layout.offset, layout.length) == (44, length)
    assert len(layout.warnings) == (length != declared)
    assert all(f"gives {declared} bytes" in warning and str(length) in warning for warning in layout.warnings)


def test_an_empty_recording_with_chunks_behind_it_stays_empty():
    layout = find("WAV", wav(chunk(b"fmt ", FMT), chunk(b"data", b""), chunk(b"LIST", b"\7" * 20)))
    assert (layout.length, layout.warnings) == (0, ())


@pytest.mark.parametrize("length", [2**32, 2**32 + 4, 5 * 2**30, 2**33 + 12, 7 * 2**32])
def test_a_size_that_wrapped_means_to_the_end_of_the_file(length):
    content = wav(chunk(b"fmt ", FMT), chunk(b"data", b"", length % 2**32))
    layout = find("WAV", content, len(content) + length)
    assert (layout.offset, layout.length, len(layout.warnings)) == (44, length, 1)


@pytest.mark.parametrize("length", [extended(2**32), 2**32 + 4, extended(5 * 2**30)])
def test_chunks_behind_samples_whose_size_wrapped_are_no_samples(length):
    head = wav(chunk(b"fmt ", FMT), chunk(b"data", b"", length % 2**32))
    tail = chunk(b"LIST", b"abcd")
    size = len(head) + length + len(tail)

    def read_at(offset, count):
        end = min(offset + count, size)
        at = lambda i: head[i] if i < len(head) else tail[i - len(head) - length] if i >= len(head) + length else 0  # noqa: E731
        return bytes(at(i) for i in range(offset, end))

    layout = find_samples("WAV", read_at, size)
    assert (layout.length, len(layout.warnings)) == (length, 1)


@pytest.mark.parametrize(
    ("declared", "available"),
    [
        (101, 100),
        (1000, 0),
        (100, 5 * 2**30),
        (2**31 + 1, 100),
        (100, 2**32 + 99),
        (100, 2**32 + 102),
    ],
)
def test_any_other_disagreement_names_both_sizes(declared, available):
    content = wav(chunk(b"fmt ", FMT), chunk(b"data", b"", declared))
    with pytest.raises(LayoutError) as caught:
        find("WAV", content, len(content) + available)
    assert str(declared) in str(caught.value)
    assert str(available) in str(caught.value)
    assert ("truncated" in str(caught.value)) is (declared > available)


def rf64(long_size, length, size=UNKNOWN, form=b"RF64"):
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, long_size, 0, 0))
    content = wav(ds64, chunk(b"fmt ", FMT), chunk(b"data", b"", size), form=form)
    return content, len(content) + length


@pytest.mark.parametrize("length", [0, 4, 5 * 2**30])
def test_rf64_has_its_size_in_ds64(length):
    for form in ("RF64", "BW64"):
        assert find(form, *rf64(length, length, form=form.encode())) == Layout(80, length, BYTES)


@pytest.mark.parametrize("declared", [0, 2**63 - 1, 2**64 - 1])
def test_rf64_without_a_size_means_to_the_end_of_the_file(declared):
    layout = find("RF64", *rf64(declared, 9))
    assert (layout.offset, layout.length, len(layout.warnings)) == (80, 9, 1)


@pytest.mark.parametrize(("declared", "available"), [(101, 100), (4, 5 * 2**30), (2**33, 100)])
def test_rf64_sizes_must_be_true(declared, available):
    with pytest.raises(LayoutError, match=f"{declared} bytes of samples.*{available}"):
        find("RF64", *rf64(declared, available))


def test_rf64_may_have_a_true_size_in_its_data_chunk():
    assert find("RF64", *rf64(0, 100, size=100)).length == 100


def aiff(*chunks, channels=1, frames=12, bits=8, rate=44100, code=b""):
    rate = struct.pack(">HQ", 16383 + rate.bit_length() - 1, rate << (64 - rate.bit_length())) if rate else bytes(10)
    comm = chunk(b"COMM", struct.pack(">HIH", channels, frames, bits) + rate + code, order=">")
    body = (b"AIFC" if code else b"AIFF") + comm + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("skip", [0, 6])
def test_aiff_has_its_samples_behind_the_head_of_ssnd(skip):
    body = struct.pack(">II", skip, 0) + b"\0" * skip + b"\7" * 12
    content = aiff(chunk(b"SSND", body, order=">"))
    layout = find("AIFF", content + chunk(b"NAME", b"me", order=">"))
    assert layout == Layout(54 + skip, 12, Stored("s8", "big", 1, 44100))
    with pytest.raises(LayoutError, match="truncated"):
        find("AIFF", content[:-1])
    with pytest.raises(LayoutError, match="damaged"):
        find(
            "AIFF",
            content.replace(struct.pack(">II", skip, 0) + b"\0" * skip, struct.pack(">II", 99, 0) + b"\0" * skip),
        )


@pytest.mark.parametrize(
    ("declared", "tail"),
    [(15, b""), (2**64 - 1, b""), (15, b"info\0\0\0\0\0\0\0\2ab"), (15, b"\0"), (15, b"\0info" + b"\0" * 8)],
)
def test_caf_has_its_samples_behind_the_edit_count_of_data(declared, tail):
    head = CAF + b"data" + struct.pack(">Q", declared)
    layout = find("CAF", head + b"\0" * 4 + b"\7" * 11 + tail)
    assert (layout.offset, layout.length, layout.stored) == (68, 11, Stored("s8", "big", 1, 44100))
    assert len(layout.warnings) == (declared != 15)
    if declared == 15:
        with pytest.raises(LayoutError, match=r"11 bytes of samples.*has 10"):
            find("CAF", head + b"\0" * 4 + b"\7" * 10)


def test_a_caf_without_room_for_the_edit_count_is_damaged():
    with pytest.raises(LayoutError, match="damaged"):
        find("CAF", CAF + b"data" + struct.pack(">Q", 3) + b"abc")


def w64_chunk(name, body, size=None):
    pad = b"\0" * (-len(body) % 8)
    return name + W64_TAIL + struct.pack("<Q", len(body) + 24 if size is None else size) + body + pad


def test_w64_sizes_count_their_own_header_and_chunks_lie_on_eights():
    head = W64_RIFF + b"\0" * 8 + b"wave" + W64_TAIL
    content = head + w64_chunk(b"fmt ", FMT) + w64_chunk(b"data", b"\7" * 11)
    for tail in (b"", w64_chunk(b"levl", b"abc")):
        assert find("W64", content + tail) == Layout(104, 11, BYTES)
    assert find("W64", content[:-5]) == Layout(104, 11, BYTES)
    with pytest.raises(LayoutError, match=r"11 bytes of samples.*has 10"):
        find("W64", content[:-6])
    with pytest.raises(LayoutError, match="no chunks"):
        find("W64", content + b"junk" * 9)
    for size in (0, 23):
        with pytest.raises(LayoutError, match="smaller than its own header"):
            find("W64", head + w64_chunk(b"fmt ", FMT, size))


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "CAF", "W64"])
def test_a_file_without_samples_says_so(kind):
    for content in (b"", b"\0" * 11, b"\1" * 100):
        with pytest.raises(LayoutError, match=r"has no (data|SSND|COMM) chunk|more than"):
            find(kind, content)


def test_a_file_of_endless_chunks_ends():
    reads = 0

    def read_at(offset, length):
        nonlocal reads
        reads += 1
        return b"junk\0\0\0\0".ljust(length, b"\0")[:length]

    with pytest.raises(LayoutError, match=f"more than {MAX_CHUNKS} chunks"):
        find_samples("WAV", read_at, 2**60)
    assert reads < MAX_CHUNKS + 10


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "CAF", "W64"])
def test_no_bytes_raise_anything_else_or_lead_outside_the_file(kind):
    random_ = random.Random(kind)
    names = [b"fmt ", b"data", b"ds64", b"SSND", b"RIFX", b"RF64", b"data" + W64_TAIL]
    for _ in range(100):
        content = bytearray(random_.choice([b"\0", b"\xff"]) * random_.randrange(200))
        for _ in range(random_.randrange(20)):
            at = random_.randrange(len(content) + 1)
            piece = random_.choice([*names, random_.randbytes(3), bytes([random_.randrange(40), 0, 0, 0])])
            content[at : at + len(piece)] = piece
        size = random_.choice([len(content), len(content) + 2**33])
        try:
            layout = find(kind, bytes(content), size)
        except LayoutError:
            continue
        assert 0 <= layout.offset <= layout.offset + layout.length <= size
