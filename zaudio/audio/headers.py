"""Headers: the part of each kind of file that says how its samples are stored.

Rules: pure. Every kind gives a `Stored`; samples that are compressed, and numbers that are out of range, raise a
LayoutError. Microsoft's mmreg.h has the fmt chunk, Apple's specifications have AIFF-C and CAF, Sun's audio_filehdr AU.
"""

from __future__ import annotations

from dataclasses import dataclass

from zaudio.audio.chunks import LayoutError, Order
from zaudio.formats import MAX_CHANNELS, MAX_SAMPLERATE

# Coding of a sample: its bytes in the file.
WIDTHS = {"u8": 1, "s8": 1, "ulaw": 1, "alaw": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8}

_SIGNED = {1: "s8", 2: "s16", 3: "s24", 4: "s32"}
_FLOATS = {4: "f32", 8: "f64"}
_EXTENSIBLE = 0xFFFE
# The tails of a WAVEX subformat, after its tag: Microsoft's, and that of ambisonic B-format.
_GUID_TAILS = (bytes.fromhex("000000001000800000aa00389b71"), bytes.fromhex("00002107d3118644c8c1ca000000"))
_BIG_GUID_TAIL = bytes.fromhex("00000010800000aa00389b71")  # the first one's in a RIFX, whose tag has four bytes

# Names that people know for what cannot be read from any frame on.
_TAGS = {
    0x02: "MS ADPCM",
    0x11: "IMA ADPCM",
    0x14: "G.723 ADPCM",
    0x22: "TrueSpeech",
    0x31: "GSM 6.10",
    0x40: "G.721 ADPCM",
    0x45: "G.726 ADPCM",
    0x50: "MPEG audio",
    0x55: "MP3",
    0x64: "G.726 ADPCM",
    0xFF: "AAC",
    0x161: "WMA",
    0x162: "WMA",
    0x163: "WMA Lossless",
    0x566F: "Vorbis",
    0x674F: "Vorbis",
    0x6771: "Vorbis",
    0xF1AC: "FLAC",
}
_CODES = {
    b"ima4": "IMA ADPCM",
    b"alac": "ALAC",
    b"aac ": "AAC",
    b"MAC3": "MACE 3:1",
    b"MAC6": "MACE 6:1",
    b"GSM ": "GSM 6.10",
    b"agsm": "GSM 6.10",
    b".mp3": "MP3",
    b"opus": "Opus",
    b"flac": "FLAC",
    b"QDM2": "QDesign",
    b"DWVW": "DWVW",
}
_AU = {1: "ulaw", 2: "s8", 3: "s16", 4: "s24", 5: "s32", 6: "f32", 7: "f64", 27: "alaw"}
_AU_CODES = {23: "G.721 ADPCM", 24: "G.722 ADPCM", 25: "G.723 ADPCM", 26: "G.723 ADPCM"}
_VOC = {0: "u8", 4: "s16", 6: "alaw", 7: "ulaw"}
# AIFF-C's compression type: coding (None: signed integers, as wide as COMM says), byte order.
_AIFC: dict[bytes, tuple[str | None, Order]] = {
    b"NONE": (None, "big"),
    b"twos": (None, "big"),
    b"sowt": (None, "little"),
    b"raw ": ("u8", "big"),
    b"in24": ("s24", "big"),
    b"in32": ("s32", "big"),
    b"42ni": ("s24", "little"),
    b"23ni": ("s32", "little"),
    b"fl32": ("f32", "big"),
    b"FL32": ("f32", "big"),
    b"fl64": ("f64", "big"),
    b"FL64": ("f64", "big"),
    b"ulaw": ("ulaw", "big"),
    b"ULAW": ("ulaw", "big"),
    b"alaw": ("alaw", "big"),
    b"ALAW": ("alaw", "big"),
}


class CompressedError(LayoutError):
    """The samples are compressed, so they cannot be read from any frame on.

    Attributes:
        codec: The name of the compression.
    """

    def __init__(self, codec: str) -> None:
        super().__init__(f"holds {codec}")
        self.codec = codec


@dataclass(frozen=True, slots=True)
class Stored:
    """How samples are stored, each in the same number of bytes.

    Attributes:
        coding: A key of `WIDTHS`.
        order: The byte order of a sample.
        channels: Samples per frame.
        samplerate: Frames per second.

    Raises:
        LayoutError: Channels or sample rate are out of range.
    """

    coding: str
    order: Order
    channels: int
    samplerate: int

    def __post_init__(self) -> None:
        if not 1 <= self.samplerate <= MAX_SAMPLERATE:
            raise no_samplerate(self.samplerate)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise LayoutError(f"is damaged: its header gives {self.channels} channels")

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame in the file."""
        return self.channels * WIDTHS[self.coding]


def no_samplerate(samplerate: int) -> LayoutError:
    """Return the error of a file with an impossible sample rate."""
    return LayoutError(
        f"is damaged: its header gives a sample rate of {samplerate} Hz; write the true one into a copy, for example "
        "with `sox -r 48000 IN OUT`"
    )


def parse_fmt(body: bytes, order: Order) -> Stored:
    """Read a ``fmt `` chunk: tag, channels, sample rate, bytes per second, bytes per frame, bits, extension."""
    if len(body) < 16:
        raise LayoutError(f"is damaged: its fmt chunk has {len(body)} bytes, and 16 are the least")

    def number(at: int, length: int) -> int:
        return int.from_bytes(body[at : at + length], order)

    tag, channels, samplerate, block, bits = (number(at, n) for at, n in ((0, 2), (2, 2), (4, 4), (12, 2), (14, 2)))
    if tag == _EXTENSIBLE and body[26:40] in _GUID_TAILS:
        tag = number(24, 2)
    elif tag == _EXTENSIBLE and order == "big" and body[28:40] == _BIG_GUID_TAIL:
        tag = number(24, 4)
    if tag not in (1, 3, 6, 7):
        raise CompressedError(_TAGS.get(tag, f"format 0x{tag:04x}"))
    width = -(-bits // 8)
    coding = {1: _SIGNED, 3: _FLOATS, 6: {1: "alaw"}, 7: {1: "ulaw"}}[tag].get(width)
    if tag in (6, 7) and block == channels:  # some give the 16 bits that a sample of these laws stands for
        coding, width = ("alaw", "ulaw")[tag - 6], 1
    if coding is None and tag == 1 and 32 < bits <= 64 and block == channels * width:
        raise LayoutError(
            f"holds integers of {bits} bits, and 32 are the most that are read; convert a copy, for example with "
            "`ffmpeg -i IN -c:a pcm_s32le OUT`"
        )
    if coding is None or block != channels * width:
        raise LayoutError(f"is damaged: its fmt chunk gives {channels} x {bits} bits in frames of {block} bytes")
    return Stored("u8" if coding == "s8" else coding, order, channels, samplerate)  # a WAV's bytes have no sign


def parse_comm(body: bytes) -> tuple[Stored, int]:
    """Read a ``COMM`` chunk of AIFF or AIFF-C; return the number of frames, too."""
    if len(body) < 18:
        raise LayoutError(f"is damaged: its COMM chunk has {len(body)} bytes, and 18 are the least")
    channels, frames, bits = (int.from_bytes(body[at:to], "big") for at, to in ((0, 2), (2, 6), (6, 8)))
    code = body[18:22] or b"NONE"
    if code not in _AIFC:
        raise CompressedError(_codec(code))
    coding, order = _AIFC[code]
    if coding is None:
        coding = _SIGNED.get(-(-bits // 8))
    if coding is None:
        raise LayoutError(f"is damaged: its COMM chunk gives samples of {bits} bits")
    return Stored(coding, order, channels, _extended(body[8:18])), frames


def parse_desc(body: bytes) -> Stored:
    """Read a ``desc`` chunk of CAF."""
    import struct

    if len(body) < 32:
        raise LayoutError(f"is damaged: its desc chunk has {len(body)} bytes, and 32 are needed")
    rate, code, flags, packet, _, channels, bits = struct.unpack(">d4s5I", body[:32])
    samplerate = round(rate) if 0 <= rate <= MAX_SAMPLERATE else 0
    order: Order = "little" if flags & 2 else "big"
    if code in (b"ulaw", b"alaw"):
        return Stored(code.decode(), order, channels, samplerate)
    if code != b"lpcm":
        raise CompressedError(_codec(code))
    width, rest = divmod(packet, max(1, channels))
    coding = (_FLOATS if flags & 1 else _SIGNED).get(width)
    if coding is None or rest or -(-bits // 8) != width:
        raise LayoutError(f"is damaged: its desc chunk gives {channels} x {bits} bits in frames of {packet} bytes")
    return Stored(coding, order, channels, samplerate)


def parse_au(code: int, samplerate: int, channels: int, order: Order) -> Stored:
    """Return how an AU file with these numbers in its header stores samples."""
    if code not in _AU:
        raise CompressedError(_AU_CODES.get(code, f"encoding {code}"))
    return Stored(_AU[code], order, channels, samplerate)


def parse_nist(text: bytes) -> tuple[Stored, int | None]:
    """Read the header of a NIST SPHERE file; return the number of frames, too, if it has that."""
    fields = {}
    for line in text.split(b"\n"):
        words = line.split(None, 2)
        if words[:1] == [b"end_head"]:
            break
        if len(words) == 3:
            fields[words[0]] = words[2].strip()

    def number(name: bytes, missing: int) -> int:
        value = fields.get(name, b"")
        return int(value) if value.isdigit() and len(value) < 19 else missing

    code = fields.get(b"sample_coding", b"pcm").lower()
    width = number(b"sample_n_bytes", 0)
    coding = {b"ulaw": "ulaw", b"mu-law": "ulaw", b"alaw": "alaw", b"pcm": _SIGNED.get(width)}.get(code, "")
    if coding == "":
        raise CompressedError(code.decode("ascii", "backslashreplace"))
    if coding is None or width not in (0, WIDTHS[coding]):
        raise LayoutError(f"is damaged: its header gives samples of {width} bytes")
    order: Order = "big" if fields.get(b"sample_byte_format", b"").startswith(b"1") else "little"
    frames = number(b"sample_count", -1)
    stored = Stored(coding, order, number(b"channel_count", 1), number(b"sample_rate", 0))
    return stored, None if frames < 0 else frames


def parse_voc(code: int, samplerate: int, channels: int, bits: int) -> Stored:
    """Return how a block of a VOC file with these numbers stores samples."""
    if code not in _VOC:
        raise CompressedError("Creative ADPCM" if code in (1, 2, 3, 0x200) else f"codec {code}")
    stored = Stored(_VOC[code], "little", channels, samplerate)
    if bits != 8 * WIDTHS[stored.coding] and stored.coding in ("u8", "s16"):
        raise LayoutError(f"is damaged: its header gives {bits} bits for {_VOC[code]} samples")
    return stored


def _codec(code: bytes) -> str:
    return _CODES.get(code, _CODES.get(code.lower(), code.decode("ascii", "backslashreplace").strip()))


def _extended(number: bytes) -> int:
    """Return the whole part of an 80-bit float; 0 if it is negative, or no sample rate."""
    exponent = int.from_bytes(number[:2], "big") - 16383
    if not 0 <= exponent <= 31:
        return 0
    return int.from_bytes(number[2:], "big") >> (63 - exponent)
