"""Metadata: the content of a file besides its samples, and the part of it that an output can carry.

Rules: pure and frozen. Tags are named as Vorbis comments are, and `INFO` below is their other name in a WAV. The bodies
of `bext`, `iXML` and `guan` are kept byte for byte: their time reference and coding history too, since only their
writer knows how these should change. Cue points follow the samples where that is simple. All that is dropped is told,
in sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zaudio.plan import Order
from zaudio.signal import Signal

BODY_MOST = 4 << 20  # bytes of one chunk: an iXML has some kilobytes, and a hostile header must not fill the memory
TAGS_MOST = 1024
TAG_MOST = 1 << 20  # bytes of one tag
TAGS_BYTES = 4 << 20  # of all of them
CUES_MOST = 16_384
LABELS_BYTES = 1 << 20  # of all cue points together
FRAME_MOST = 2**32 - 1  # that a cue point can name: 27 hours at 44.1 kHz

# Chunks of a WAV's INFO list, and their names as Vorbis comments. The first one of a name is used for writing.
INFO = {
    "INAM": "TITLE",
    "IART": "ARTIST",
    "IPRD": "ALBUM",
    "ICMT": "COMMENT",
    "ICRD": "DATE",
    "IGNR": "GENRE",
    "ITRK": "TRACKNUMBER",
    "IPRT": "TRACKNUMBER",
    "ICOP": "COPYRIGHT",
    "ISFT": "ENCODER",
    "IENG": "ENGINEER",
    "ITCH": "ENCODED-BY",
    "ISBJ": "SUBJECT",
    "IKEY": "KEYWORDS",
    "ISRC": "SOURCE",
    "ISRF": "SOURCEMEDIA",
    "IMED": "MEDIUM",
    "ILNG": "LANGUAGE",
    "IARL": "LOCATION",
    "ICMS": "COMMISSIONED",
    "IWRI": "LYRICIST",
    "IMUS": "COMPOSER",
}
BY_TAG = {tag: name for name, tag in reversed(INFO.items())}
BY_TAG["DESCRIPTION"] = BY_TAG["COMMENT"]  # FFmpeg's name of a comment, in a FLAC


@dataclass(frozen=True, slots=True)
class Cue:
    """A marker, or a region where it has a length.

    Attributes:
        frame: The frame of the recording that it marks.
        label: Its name.
        note: A remark.
        length: Frames of the region; 0 for a marker.
    """

    frame: int
    label: str = ""
    note: str = ""
    length: int = 0


@dataclass(frozen=True, slots=True)
class Metadata:
    """The content of a file besides its samples.

    Attributes:
        bext: The body of a Broadcast Wave's chunk (EBU Tech 3285); empty for none.
        ixml: The body of an ``iXML`` chunk.
        guan: The body of a ``guan`` chunk, the GUANO metadata of bat recordings.
        tags: Names, as of Vorbis comments, and texts. A name may come several times.
        cues: Markers and regions, in the file's order.
        speakers: The mask of speakers that the channels belong to; 0 for none.
    """

    bext: bytes = b""
    ixml: bytes = b""
    guan: bytes = b""
    tags: tuple[tuple[str, str], ...] = ()
    cues: tuple[Cue, ...] = ()
    speakers: int = 0

    def __bool__(self) -> bool:
        """Return whether it says anything."""
        return bool(self.bext or self.ixml or self.guan or self.tags or self.cues)


@dataclass(frozen=True, slots=True)
class Carried:
    """The metadata of an output.

    Attributes:
        metadata: As it is written.
        dropped: Sentences about what is not.
    """

    metadata: Metadata
    dropped: tuple[str, ...] = ()


def carry(metadata: Metadata, before: Signal, after: Signal, order: Order, *, start: int | None = 0) -> Carried:
    """Return the metadata for a result.

    Args:
        metadata: That of the recording.
        before: The recording.
        after: The result.
        order: The order of the result's frames.
        start: The frame of the recording that became the result's first one in time; None where frames did not keep
            their distances, so that no cue point has a place.
    """
    dropped: list[str] = []
    if not metadata:
        return Carried(replace(metadata, speakers=_speakers(metadata, before, after)))
    if metadata.cues and (start is None or not before.samplerate):
        dropped.append(f"{_count(len(metadata.cues))} dropped, since the ops move frames in ways that none can follow")
        cues: tuple[Cue, ...] = ()
    else:
        found = [_moved(cue, before, after, order, start or 0) for cue in metadata.cues]
        cues = tuple(cue for cue in found if cue is not None)
        if lost := len(found) - len(cues):
            dropped.append(
                f"{_count(lost)} dropped, since the result has no such frames, or too high ones for a cue point"
            )
    return Carried(
        replace(metadata, cues=cues, speakers=_speakers(metadata, before, after)),
        tuple(dropped),
    )


def _moved(cue: Cue, before: Signal, after: Signal, order: Order, start: int) -> Cue | None:
    """Return a cue point's place in the result; None when its frame is not there."""
    first = _scaled(cue.frame - start, before, after)
    # Rounding the end, and not the length, keeps regions that touch each other touching.
    end = _scaled(cue.frame + cue.length - start, before, after)
    if cue.length:
        first, end = max(0, first), min(end, after.frames)
        if first >= end:
            return None
    elif not 0 <= first <= after.frames:  # some programs mark the end: the frame behind the last one
        return None
    length = end - first
    if order is Order.REVERSED:
        first = max(0, after.frames - first - max(length, 1))
    if max(first, length) > FRAME_MOST:
        return None
    return Cue(first, cue.label, cue.note, length)


def _scaled(frames: int, before: Signal, after: Signal) -> int:
    return (2 * frames * after.samplerate + before.samplerate) // (2 * before.samplerate)


def _speakers(metadata: Metadata, before: Signal, after: Signal) -> int:
    return metadata.speakers if before.channels == after.channels else 0


def _count(cues: int) -> str:
    return "1 cue point is" if cues == 1 else f"{cues} cue points are"
