"""The opening of a recording: `open_source` recognises the kind of a file.

Rules: a name that says raw is raw; named parameters say raw; anything else must be a container. One that cannot be read
from the middle with every bit right is decoded once, in order, into a spool. A file that cannot be read is refused
here, before any output is touched.
"""

from __future__ import annotations

import os

from zaudio.audio.chunks import id3v2_bytes
from zaudio.audio.files import FileSource, InputFile
from zaudio.audio.magic import HEAD_BYTES, called, sniff
from zaudio.audio.mpeg import is_mpeg
from zaudio.audio.raw import RawSource, doubt, whole_frames
from zaudio.audio.recording import Source
from zaudio.audio.streams import MakeSpool, OnProgress, SpooledFile, is_stream, read_stream
from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.settings import Raw

RAW_SUFFIXES = frozenset({".raw", ".pcm", ".f32", ".f64", ".s16", ".s32", ".bin"})

SAMPLERATE = 44100  # of raw samples: that of a CD, and of this project's recordings
CHANNELS = 1
FORMAT = "f32le"


def open_source(
    path: str | os.PathLike[str],
    raw: Raw = Raw(),
    *,
    make_spool: MakeSpool | None = None,
    on_progress: OnProgress | None = None,
) -> Source:
    """Open a recording.

    A name that ends in .raw .pcm .f32 .f64 .s16 .s32 or .bin is raw samples, and so is any file when a value of `raw`
    is given. Every other file must be WAV, AIFF, FLAC, RF64, BW64, W64, CAF, AU, NIST or VOC. With a place for a spool
    it may be MP3, Ogg Vorbis or Opus too; or a stream, which is raw samples when it begins like none of these.

    Args:
        path: A regular file; with `make_spool` also a FIFO, or ``-`` for standard input.
        raw: How raw samples lie in their file; by default 44100 frames per second, 1 channel, ``f32le``. Its
            `truncated` goes for every file.
        make_spool: Makes a spool, for a recording that is read or decoded once, in order.
        on_progress: Called meanwhile with ``"reading"`` or ``"decoding"``, the bytes done, and those in all or 0. An
            exception of it ends that.

    Raises:
        UsageError: The path is no text, or `raw` describes a file that is a container; or standard input is a terminal.
        InputError: The file cannot be read as audio.
        StorageError: There is too little room for a spool.
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise UsageError(f"a path is a string, not {name!r}")
    if make_spool is not None and is_stream(name):
        return open_file(
            read_stream(name, make_spool, on_progress), raw, make_spool=make_spool, on_progress=on_progress
        )
    return open_file(InputFile(name), raw, make_spool=make_spool, on_progress=on_progress)


def open_file(
    file: InputFile, raw: Raw, *, make_spool: MakeSpool | None = None, on_progress: OnProgress | None = None
) -> Source:
    """Open the recording in an open file, and take the file over; as `open_source`."""
    name = file.path
    named_raw = os.path.splitext(name)[1].lower() in RAW_SUFFIXES
    try:
        start, head = _behind_tags(file)
        kind = sniff(head)
        streamed = isinstance(file, SpooledFile) and kind is None and not is_mpeg(file.read_at)
        if not (named_raw or raw.given or streamed):
            from zaudio.audio.containers import open_container  # soundfile, which raw samples do not need
            from zaudio.audio.decoding import Decoding

            decoding = None if make_spool is None else Decoding(make_spool, on_progress, raw.truncated)
            return open_container(file, kind, head, start=start, truncated=raw.truncated, decoding=decoding)
        if kind and not named_raw:
            raise UsageError(
                f"{name} is {called(kind)}: --samplerate, --channels and sample formats are for raw samples"
            )
        source = _open_raw(file, raw)
        if (sentence := doubt(file, source.format)) is not None:
            source.warnings = (*source.warnings, sentence)
    except BaseException:
        file.close()
        raise
    if kind:
        words = f"{name} starts like {called(kind)}; its name says raw, so it is read as raw samples"
        source.warnings = (words, *source.warnings)
    return source


def _open_raw(file: InputFile, raw: Raw) -> FileSource:
    samplerate = SAMPLERATE if raw.samplerate is None else raw.samplerate
    channels = CHANNELS if raw.channels is None else raw.channels
    format = sample_format(FORMAT if raw.format is None else raw.format)
    if not format.is_packed:
        return RawSource(file, samplerate=samplerate, channels=channels, format=format, truncated=raw.truncated)
    from zaudio.audio.headers import Stored
    from zaudio.audio.pcm import open_pcm  # numpy, which other raw samples do not need

    frames, warnings = whole_frames(file, file.size, channels, format, truncated=raw.truncated)
    stored = Stored("s24", "little" if format.dtype[0] == "<" else "big", channels, samplerate)
    source = open_pcm(file, stored, offset=0, length=frames * stored.frame_bytes, container="raw")
    source.warnings = warnings
    return source


def _behind_tags(file: InputFile) -> tuple[int, bytes]:
    """Return the first byte behind the ID3v2 tags at the start of a file, and the bytes from there on.

    A tag without a container behind it counts for itself: an MP3 has its own mark in front of a tag only.
    """
    first = head = file.read_at(0, HEAD_BYTES)
    start = 0
    while (length := id3v2_bytes(head)) and start + length < file.size:
        start += length
        head = file.read_at(start, HEAD_BYTES)
    return (start, head) if start and sniff(head) else (0, first)
