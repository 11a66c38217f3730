"""Recordings that are decoded once, in order, into a spool: MP3, Ogg Vorbis, Opus, and a FLAC without a length.

Rules: a seek in these files gives other samples than decoding from the start, or is slow, so nothing seeks here. What
was decoded belongs to the job's identity: a later start decodes again, and its samples must have the same SHA-256. A
file that is not whole is refused, unless `truncated` allows it. Memory is a few megabytes.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace

from zaudio.audio import mpeg, ogg
from zaudio.audio.chunks import LayoutError
from zaudio.audio.files import FileSource, InputFile
from zaudio.audio.libsndfile import UNKNOWN_FRAMES, Decoder, decoder_version, one_line, open_decoder
from zaudio.audio.magic import looks_like_mp3
from zaudio.audio.reading import read_metadata
from zaudio.audio.streams import MakeSpool, OnProgress, Spool
from zaudio.errors import InputError
from zaudio.formats import FORMATS, MAX_CHANNELS, MAX_SAMPLERATE
from zaudio.reference import Fingerprint

BLOCK_BYTES = 1 << 18  # of samples decoded at a time

_NATIVE = "le" if sys.byteorder == "little" else "be"
_KINDS = {
    "MPEG_LAYER_I": "f32",
    "MPEG_LAYER_II": "f32",
    "MPEG_LAYER_III": "f32",
    "VORBIS": "f32",
    "OPUS": "f32",
    "PCM_S8": "s16",
    "PCM_16": "s16",
    "PCM_24": "s32",
}


@dataclass(frozen=True, slots=True)
class Decoding:
    """The way in which a recording is decoded: into which spool, and whether a damaged one is taken.

    Attributes:
        make_spool: Makes the place for the samples.
        on_progress: Called now and then with ``"decoding"`` and bytes of samples.
        truncated: Take what there is when the file ends too early or is damaged.
    """

    make_spool: MakeSpool
    on_progress: OnProgress | None = None
    truncated: bool = False


class DecodedSource(FileSource):
    """A recording that was decoded. It owns the spool with its samples and the InputFile that they came from."""

    def __init__(self, file: InputFile, sound: Decoder, spool: Spool, digest: str, *, container: str) -> None:
        kind = _KINDS[sound.subtype]
        super().__init__(
            file,
            frames=0,
            channels=sound.channels,
            samplerate=sound.samplerate,
            format=FORMATS[kind + _NATIVE],
            container=container,
        )
        self.frames = spool.size // self.frame_bytes
        self._spool = spool
        self._digest = digest

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the file, with the digest of all decoded samples; see `Source.fingerprint`."""
        return replace(self._file.fingerprint(), sample=self._digest, decoder=decoder_version())

    def close(self) -> None:
        """Close the spool and the file. Idempotent."""
        self._spool.close()
        super().close()

    def _samples(self, start: int, stop: int) -> bytes:
        return self._spool.read(start * self.frame_bytes, (stop - start) * self.frame_bytes)


def decodable(file: InputFile, kind: str | None, head: bytes) -> str:
    """Return the name of the codec if a file can be decoded in order, by its kind and first bytes; else nothing."""
    if kind == "Ogg":
        codec = ogg.codec_of(head)
        return codec if codec in ("Vorbis", "Opus") else ""
    if kind in ("MP3", None):
        start = mpeg.first_frame(file.read_at)
        frame = file.read_at(start, 4)
        return "MP3" if looks_like_mp3(frame) or (start and not mpeg.is_adts(frame)) else ""
    return ""


def open_decoded(file: InputFile, codec: str, start: int, decoding: Decoding) -> DecodedSource:
    """Decode a recording, and take its file over.

    Args:
        file: The file.
        codec: ``MP3``, ``Vorbis``, ``Opus`` or ``FLAC``.
        start: The byte at which it starts.
        decoding: How it is decoded.

    Raises:
        InputError: It cannot be decoded, or not all of it. The caller closes the file then.
        StorageError: There is too little room.
    """
    damage, warnings = _look(file, codec, start)
    if damage and not decoding.truncated:
        raise InputError(file.path, f"is truncated or damaged: {damage}; {_WAY_OUT}")
    container = f"Ogg {codec}" if codec in ("Vorbis", "Opus") else codec

    def read_at(offset: int, length: int) -> bytes:
        return file.read_at(start + offset, length)

    with ExitStack() as failing:
        with open_decoder(file, start, f"is damaged, or no {container} file after all") as sound:
            _check_sound(file.path, sound)
            spool = decoding.make_spool()
            failing.callback(spool.close)
            declared = 0 if sound.frames == UNKNOWN_FRAMES else int(sound.frames)
            digest = _decode(file.path, sound, spool, declared, decoding)
            source = DecodedSource(file, sound, spool, digest, container=container)
        source.describe = lambda: read_metadata(container, read_at, file.size - start)
        file.check_descriptor()
        missing = declared - source.frames
        if missing > 0 and not decoding.truncated and codec not in ("Vorbis", "Opus"):
            sentence = f"its header gives {declared} frames, and {source.frames} can be decoded"
            raise InputError(file.path, f"is truncated or damaged: {sentence}; {_WAY_OUT}")
        if damage:
            warnings = (*warnings, f"is truncated or damaged: {damage}; what can be decoded is read")
        if missing > 0:
            warnings = (*warnings, f"gives {declared} frames, of which {source.frames} were decoded")
        source.warnings = tuple(f"{file.path}: {warning}" for warning in warnings)
        failing.pop_all()
    return source


_WAY_OUT = "pass --truncated (Raw(truncated=True)) to take the frames that can be decoded"


def _look(file: InputFile, codec: str, start: int) -> tuple[str, tuple[str, ...]]:
    """Return a file's faults and its oddities: a decoder would leave out the rest in silence."""
    if codec in ("Vorbis", "Opus"):
        try:
            pages = ogg.check_pages(file.read_at, start, file.size)
        except LayoutError as error:
            path = shlex.quote(file.path)
            remedy = f"type `ffmpeg -i {path} -c:a pcm_f32le out.wav`, and take that file"
            raise InputError(file.path, f"{error}; {remedy}") from None
        return pages.damage, pages.warnings
    if codec == "MP3":
        difference = mpeg.missing_or_more(file.read_at, file.size)
        if difference > 0:
            return f"{difference} bytes follow what its header counts, maybe another recording", ()
        if difference < 0:
            return f"{-difference} bytes are missing of what its header counts", ()
    return "", ()


def _check_sound(path: str, sound: Decoder) -> None:
    if sound.subtype not in _KINDS:
        raise InputError(path, f"holds {sound.subtype}, which is not read here")
    if not (1 <= sound.channels <= MAX_CHANNELS and 1 <= sound.samplerate <= MAX_SAMPLERATE):
        raise InputError(path, f"is damaged: {sound.channels} channels at {sound.samplerate} Hz")


def _decode(path: str, sound: Decoder, spool: Spool, declared: int, decoding: Decoding) -> str:
    """Decode all frames into the spool; return the SHA-256 of their samples."""
    kind = _KINDS[sound.subtype]
    frame_bytes = sound.channels * FORMATS[kind + _NATIVE].itemsize
    spool.reserve(declared * frame_bytes)
    buffer = bytearray(max(1, BLOCK_BYTES // frame_bytes) * frame_bytes)
    digest = hashlib.sha256()
    while frames := _next(path, sound, buffer, kind, spool.size // frame_bytes, decoding):
        piece = memoryview(buffer)[: frames * frame_bytes]
        digest.update(piece)
        spool.write(piece)
        if decoding.on_progress is not None:
            decoding.on_progress("decoding", spool.size, declared * frame_bytes)
    spool.freeze()
    return digest.hexdigest()


def _next(path: str, sound: Decoder, buffer: bytearray, kind: str, done: int, decoding: Decoding) -> int:
    """Decode the next frames and return their number: 0 at the end, or at damage if that is allowed."""
    try:
        with one_line(path, f"cannot be decoded behind frame {done}"):
            return sound.decode_into(buffer, kind)
    except InputError:
        if decoding.truncated:
            return 0
        raise
