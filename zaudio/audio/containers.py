"""ContainerSource: WAV, AIFF, FLAC, RF64, W64 and CAF, read through libsndfile.

Rules: only files whose first bytes name one of these reach libsndfile, only on a descriptor of ours, and only when
the headers' sizes agree with the file (`layout`). Samples keep their kind: integers come as integers, floats with
every bit. Every error of libsndfile and soundfile leaves this module as an InputError.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import soundfile

from zaudio.audio.files import FileSource, InputFile
from zaudio.audio.layout import Fmt, Layout, LayoutError, find_samples
from zaudio.audio.magic import READABLE, called, looks_like_mp3
from zaudio.audio.raw import RawSource
from zaudio.audio.source import Source
from zaudio.errors import InputError
from zaudio.formats import FORMATS, MAX_CHANNELS, MAX_SAMPLERATE, SampleFormat

_NATIVE = "le" if sys.byteorder == "little" else "be"

# libsndfile's subtype: our kind of sample, bytes of a sample in the file (0: compressed, not countable).
_SUBTYPES = {
    "PCM_S8": ("s16", 1),
    "PCM_U8": ("s16", 1),
    "PCM_16": ("s16", 2),
    "ULAW": ("s16", 1),
    "ALAW": ("s16", 1),
    "PCM_24": ("s32", 3),
    "PCM_32": ("s32", 4),
    "FLOAT": ("f32", 4),
    "DOUBLE": ("f64", 8),
}
_DTYPES = {"s16": "int16", "s32": "int32", "f32": "float32", "f64": "float64"}

# (tag, bits) of a WAV's fmt chunk: our kind of sample. These are served as they lie in the file.
_PLAIN = {(1, 16): "s16", (1, 32): "s32", (3, 32): "f32", (3, 64): "f64"}

_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count of a FLAC that was written into a pipe


class ContainerSource(FileSource):
    """A recording that libsndfile decodes. It owns the SoundFile and the InputFile under it."""

    def __init__(
        self, file: InputFile, sound: soundfile.SoundFile, *, frames: int, format: SampleFormat, kind: str
    ) -> None:
        super().__init__(
            file,
            frames=frames,
            channels=sound.channels,
            samplerate=sound.samplerate,
            format=format,
            container=kind,
        )
        self._sound = sound
        self._dtype = _DTYPES[format.name[:3]]

    def close(self) -> None:
        """Close decoder and file. Idempotent."""
        self._sound.close()
        super().close()

    def _samples(self, start: int, stop: int) -> bytearray:
        samples = bytearray((stop - start) * self.frame_bytes)
        if not samples:
            return samples
        with _one_line(self.path, f"frames {start} to {stop} cannot be decoded"):
            self._sound.seek(start)
            frames = self._sound.buffer_read_into(samples, self._dtype)
        if frames != stop - start:
            raise InputError(self.path, f"ends at frame {start + frames}, where its header gives {self.frames} frames")
        return samples


def open_container(file: InputFile, kind: str | None, head: bytes) -> Source:
    """Open the recording in a file that starts with `head`, which `magic.sniff` called `kind`. Takes the file over.

    Raises:
        InputError: It cannot be read from the middle with every bit right, or it is damaged. Then the caller still has
            to close the file.
    """
    if kind not in READABLE:
        raise InputError(file.path, _refusal(file, kind, head))
    layout = None
    if kind != "FLAC":
        try:
            layout = find_samples(kind, file.read_at, file.size)
        except LayoutError as error:
            raise InputError(file.path, str(error)) from None
        if layout.unsized and layout.fmt is not None and (plain := _plain(file, kind, layout, layout.fmt)):
            return plain
    source = _decoded(file, kind, layout)
    try:
        if source.frames:  # a FLAC that was cut off says so here, not after an hour
            source.read(source.frames - 1, source.frames)
        if layout is not None and layout.unsized:
            source.warnings = (_unsized(file, layout),)
    except BaseException:
        source.close()
        raise
    return source


def _refusal(file: InputFile, kind: str | None, head: bytes) -> str:
    if kind is None and looks_like_mp3(head):
        kind = "MP3"
    if kind is not None:
        return f"is {called(kind)}, which cannot be read exactly from any frame on; decode it to WAV or FLAC first"
    if not file.size:
        return "is empty (0 bytes), so it is no WAV, AIFF, FLAC, RF64, W64 or CAF file; for raw samples name --format"
    return (
        "is no WAV, AIFF, FLAC, RF64, W64 or CAF file; if it holds raw samples, say which with "
        "--samplerate, --channels and --format"
    )


def _plain(file: InputFile, kind: str, layout: Layout, fmt: Fmt) -> RawSource | None:
    """Serve a WAV whose header gives no true size as it lies in the file: libsndfile would believe the header."""
    name = _PLAIN.get((fmt.tag, fmt.bits))
    if name is None:
        return None
    if not (1 <= fmt.channels <= MAX_CHANNELS and 1 <= fmt.samplerate <= MAX_SAMPLERATE):
        raise InputError(file.path, f"is damaged: {fmt.channels} channels at {fmt.samplerate} Hz")
    if fmt.block != fmt.channels * fmt.bits // 8:
        raise InputError(file.path, f"is damaged: {fmt.channels} x {fmt.bits} bits in frames of {fmt.block} bytes")
    source = RawSource(
        file,
        channels=fmt.channels,
        samplerate=fmt.samplerate,
        format=FORMATS[name + ("le" if fmt.order == "little" else "be")],
        container=kind,
        offset=layout.offset,
        length=layout.length,
    )
    source.warnings = (_unsized(file, layout),)
    return source


def _decoded(file: InputFile, kind: str, layout: Layout | None) -> ContainerSource:
    with _one_line(file.path, f"is damaged, or no {kind} file after all"):
        sound = soundfile.SoundFile(file.fd, closefd=False)
    try:
        if sound.subtype not in _SUBTYPES:
            raise InputError(
                file.path,
                f"holds {sound.subtype} in a {kind} file, which is not read here; decode it to WAV or FLAC first",
            )
        name, width = _SUBTYPES[sound.subtype]
        if not (1 <= sound.channels <= MAX_CHANNELS and 1 <= sound.samplerate <= MAX_SAMPLERATE):
            raise InputError(file.path, f"is damaged: {sound.channels} channels at {sound.samplerate} Hz")
        frames = _count(file.path, sound, layout, width * sound.channels)
        return ContainerSource(file, sound, frames=frames, format=FORMATS[name + _NATIVE], kind=kind)
    except BaseException:
        sound.close()
        raise


def _count(path: str, sound: soundfile.SoundFile, layout: Layout | None, frame_bytes: int) -> int:
    """Return the number of frames, on which libsndfile and the headers' sizes must agree."""
    if layout is None:
        if sound.frames == _UNKNOWN_FRAMES:
            raise InputError(path, "does not say how many frames it has; write it again with flac, into a file")
        return int(sound.frames)
    frames, remainder = divmod(layout.length, frame_bytes)
    if layout.frames is not None:
        if not 0 <= layout.length - layout.frames * frame_bytes <= 1:
            raise InputError(
                path,
                f"counts {layout.frames} frames of {frame_bytes} bytes in its COMM chunk, and has {layout.length} "
                "bytes of samples; save it again",
            )
        frames = layout.frames
    elif remainder:
        raise InputError(
            path,
            f"{layout.length} bytes of samples are {frames} frames of {frame_bytes} bytes and {remainder} bytes more; "
            "the file is damaged or was cut off; save it again",
        )
    # More is harmless: libsndfile takes the padding of an AIFF, and all behind the samples of a W64, for samples.
    if sound.frames < frames:
        raise InputError(
            path,
            f"holds {frames} frames ({layout.length} bytes), of which libsndfile finds {sound.frames}; "
            f"its header gives {layout.declared} bytes: save it as RF64 or W64, which have sizes for long recordings",
        )
    return frames


def _unsized(file: InputFile, layout: Layout) -> str:
    return (
        f"{file.path}: its header gives {layout.declared} bytes of samples, which is no true size; "
        f"the {layout.length} bytes to the end of the file are read"
    )


@contextmanager
def _one_line(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, OSError) as error:
        words = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
        raise InputError(path, f"{what}: {words}") from None
