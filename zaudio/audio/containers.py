"""Recordings in containers: WAV, RF64, BW64, AIFF, CAF, W64, AU, NIST and VOC, and FLAC through libsndfile.

Rules: only a file whose first bytes name one of these is read from any frame on; `decoding` has those that are decoded
in order. All but FLAC are found by `layout` and decoded by `pcm`, so no library's idea of a header counts. Samples keep
their kind: integers come as integers, floats with every bit. A refusal names what was found, and what to type.
"""

from __future__ import annotations

import shlex
import struct
import sys

import soundfile

from zaudio.audio import mpeg, ogg
from zaudio.audio.chunks import LayoutError
from zaudio.audio.decoding import Decoding, decodable, open_decoded
from zaudio.audio.files import FileSource, InputFile
from zaudio.audio.headers import CompressedError, no_samplerate
from zaudio.audio.layout import find_samples
from zaudio.audio.libsndfile import UNKNOWN_FRAMES, Decoder, one_line, open_decoder
from zaudio.audio.magic import READABLE, called, looks_like_mp3
from zaudio.audio.pcm import open_pcm
from zaudio.audio.reading import read_metadata
from zaudio.audio.recording import Source
from zaudio.errors import InputError
from zaudio.formats import FORMATS, MAX_CHANNELS, MAX_SAMPLERATE

_NATIVE = "le" if sys.byteorder == "little" else "be"
_FLAC_FORMATS = {"PCM_S8": "s16", "PCM_16": "s16", "PCM_24": "s32"}

# FFmpeg's default for WAV is 16 bits. These have up to 32, or come as floats.
_LOSSLESS = frozenset({"WavPack", "ALAC", "Monkey's Audio", "TTA", "TAK", "Matroska", "MP4", "WMA Lossless", "FLAC"})
_FLOATS = frozenset({"MP3", "Ogg", "AAC", "WMA", "Vorbis", "Opus", "MPEG audio", "Musepack"})


class FlacSource(FileSource):
    """A recording that libsndfile decodes. It owns the SoundFile and the InputFile under it."""

    def __init__(self, file: InputFile, sound: Decoder, *, frames: int) -> None:
        kind = _FLAC_FORMATS[sound.subtype]
        super().__init__(
            file,
            frames=frames,
            channels=sound.channels,
            samplerate=sound.samplerate,
            format=FORMATS[kind + _NATIVE],
            container="FLAC",
        )
        if sound.subtype == "PCM_24":
            self.bits = 24
        self._sound = sound
        self._kind = kind

    def close(self) -> None:
        """Close decoder and file. Idempotent."""
        self._sound.close()
        super().close()

    def truncate(self, block: int) -> None:
        """Count the frames that can be decoded, by decoding them all, and leave the others out.

        Args:
            block: How many are decoded at once. Of a block that meets the end of the file, none are counted.

        Raises:
            InputError: No frame can be decoded.
        """
        declared, self.frames = self.frames, self._decodable(block)
        if not self.frames:
            raise InputError(self.path, "is damaged: none of its frames can be decoded")
        if self.frames < declared:
            self.warnings = (
                *self.warnings,
                f"{self.path}: is truncated: its header gives {declared} frames, and the file has {self.frames}, "
                "which are read",
            )

    def _decodable(self, block: int) -> int:
        buffer = bytearray(block * self.frame_bytes)
        done = 0
        try:
            while frames := self._sound.decode_into(buffer, self._kind):
                done += frames
        except (soundfile.SoundFileError, OSError):
            pass  # the end of what there is
        return min(done, self.frames)

    def _samples(self, start: int, stop: int) -> bytearray:
        samples = bytearray((stop - start) * self.frame_bytes)
        if not samples:
            return samples
        with one_line(self.path, f"frames {start} to {stop} cannot be decoded"):
            self._sound.seek(start)
            frames = self._sound.decode_into(samples, self._kind)
        if frames != stop - start:
            raise InputError(self.path, f"ends at frame {start + frames}, where its header gives {self.frames} frames")
        return samples


def open_container(
    file: InputFile,
    kind: str | None,
    head: bytes,
    *,
    start: int = 0,
    truncated: bool = False,
    decoding: Decoding | None = None,
) -> Source:
    """Open the recording in a file, and take the file over.

    Args:
        file: The file.
        kind: The kind of the file, by `magic.sniff`.
        head: The bytes from `start` on.
        start: The byte at which the container starts, behind a tag.
        truncated: Take what there is when the file ends too early.
        decoding: How a file is decoded that can be decoded only once, in order. Without it such a file is refused.

    Raises:
        InputError: It cannot be read; or not from the middle with every bit right, and there is no `decoding`; or it
            is damaged. The caller closes the file then.
    """
    if kind not in READABLE:
        codec = decodable(file, kind, head)
        if codec and decoding is not None:
            return open_decoded(file, codec, start, decoding)
        raise InputError(file.path, _refusal(file, kind, head))
    source: FileSource = (
        _flac(file, start, truncated, decoding) if kind == "FLAC" else _pcm(file, kind, start, truncated)
    )
    if start:
        tag = f"{file.path}: an ID3v2 tag of {start} bytes in front of the {kind} is left out"
        source.warnings = (tag, *source.warnings)
    return source


def _pcm(file: InputFile, kind: str, start: int, truncated: bool) -> FileSource:
    def read_at(offset: int, length: int) -> bytes:
        return file.read_at(start + offset, length)

    try:
        layout = find_samples(kind, read_at, file.size - start, truncated=truncated)
    except CompressedError as error:
        raise InputError(
            file.path, f"holds {error.codec} in {called(kind)}, {_decode_first(file, error.codec)}"
        ) from None
    except LayoutError as error:
        raise InputError(file.path, str(error)) from None
    source = open_pcm(file, layout.stored, offset=start + layout.offset, length=layout.length, container=kind)
    source.warnings = tuple(f"{file.path}: {warning}" for warning in layout.warnings)
    samples = layout.offset, layout.offset + layout.length
    source.describe = lambda: read_metadata(kind, read_at, file.size - start, samples)
    return source


def _flac(file: InputFile, start: int, truncated: bool, decoding: Decoding | None) -> FileSource:
    if int.from_bytes(file.read_at(start + 18, 3), "big") >> 4 == 0:  # the first 20 bits behind four sizes
        raise InputError(file.path, str(no_samplerate(0)))
    sound = open_decoder(file, start, "is damaged, or no FLAC file after all")
    try:
        if sound.subtype not in _FLAC_FORMATS:  # never so with libsndfile 1.2
            raise InputError(file.path, f"holds {sound.subtype} in a FLAC file, which is not read here")
        if not (1 <= sound.channels <= MAX_CHANNELS and 1 <= sound.samplerate <= MAX_SAMPLERATE):
            raise InputError(file.path, f"is damaged: {sound.channels} channels at {sound.samplerate} Hz")
        if sound.frames == UNKNOWN_FRAMES:
            if decoding is None:
                raise InputError(file.path, _without_total(file, sound.subtype))
            sound.close()
            return open_decoded(file, "FLAC", start, decoding)
        source = FlacSource(file, sound, frames=int(sound.frames))
        source.describe = lambda: read_metadata(
            "FLAC", lambda offset, length: file.read_at(start + offset, length), file.size - start
        )
        if truncated:
            least, most = struct.unpack(">HH", file.read_at(start + 8, 4))
            source.truncate(most if least == most else 16)
        elif source.frames:  # a FLAC that was cut off says so here, not after an hour
            try:
                source.read(source.frames - 1, source.frames)
            except InputError:
                raise InputError(
                    file.path,
                    f"is truncated or damaged: its header gives {source.frames} frames, and the last one cannot be "
                    f"decoded from the file's {file.size} bytes; pass --truncated (Raw(truncated=True)) to take those "
                    "that can",
                ) from None
        return source
    except BaseException:
        sound.close()
        raise


def _without_total(file: InputFile, subtype: str) -> str:
    path, codec = shlex.quote(file.path), "pcm_s24le" if subtype == "PCM_24" else "pcm_s16le"
    return (
        "is a FLAC file that does not say how many frames it has, as it was written into a pipe; type "
        f"`flac -d -o out.wav {path}` or `ffmpeg -i {path} -c:a {codec} out.wav`, and take that file"
    )


def _refusal(file: InputFile, kind: str | None, head: bytes) -> str:
    if kind is None and looks_like_mp3(head):
        kind = "MP3"
    if kind == "MP3" and mpeg.is_adts(file.read_at(mpeg.first_frame(file.read_at), 2)):
        kind = "AAC"
    if kind == "Ogg" and (codec := ogg.codec_of(head)) in ("Speex", "FLAC", "Theora"):
        return f"is an Ogg file that holds {codec}, {_decode_first(file, 'FLAC' if codec == 'FLAC' else 'Ogg')}"
    if kind is not None:
        return f"is {called(kind)}, {_decode_first(file, kind)}"
    if not file.size:
        return f"is empty (0 bytes), so it is no {_READ} file; raw samples need --format (of a render --input-format)"
    return (
        f"is no {_READ} file; if it holds raw samples, say which with --samplerate, --channels and --format (of a "
        f"render --input-format); if it is compressed, type `{_ffmpeg(file, '')}`, and take that file"
    )


_READ = "WAV, AIFF, FLAC, RF64, BW64, W64, CAF, AU, NIST or VOC"


def _decode_first(file: InputFile, kind: str) -> str:
    return f"which cannot be read exactly from any frame on; type `{_ffmpeg(file, kind)}`, and take that file"


def _ffmpeg(file: InputFile, kind: str) -> str:
    codec = " -c:a pcm_s32le" if kind in _LOSSLESS else " -c:a pcm_f32le" if kind in _FLOATS else ""
    return f"ffmpeg -i {shlex.quote(file.path)}{codec} out.wav"
