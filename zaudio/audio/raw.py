"""RawSource: samples that are stored in a file as they are, from an offset on.

Rules: no header is read here, and no sample is changed; the bytes of the file are the bytes of the chunk.
"""

from __future__ import annotations

from zaudio.audio.files import FileSource, InputFile
from zaudio.errors import InputChangedError, InputError
from zaudio.formats import SampleFormat


class RawSource(FileSource):
    """Interleaved samples of known format: `length` bytes from byte `offset` on; without a length, to the file's end.

    Raises:
        InputError: The bytes are not a whole number of frames, and `truncated` does not allow that.
    """

    def __init__(
        self,
        file: InputFile,
        *,
        channels: int,
        samplerate: int,
        format: SampleFormat,
        container: str = "raw",
        offset: int = 0,
        length: int | None = None,
        truncated: bool = False,
    ) -> None:
        size = file.size - offset if length is None else length
        frames, remainder = divmod(size, channels * format.itemsize)
        sentence = (
            f"{size} bytes of samples are {frames} frames of {channels * format.itemsize} bytes "
            f"({channels} x {format.name}) and {remainder} bytes more"
        )
        if remainder and not truncated:
            raise InputError(
                file.path,
                f"{sentence}; name the format with --samplerate, --channels and --format, or pass --truncated "
                "(Raw(truncated=True)) to leave the last bytes out",
            )
        super().__init__(
            file, frames=frames, channels=channels, samplerate=samplerate, format=format, container=container
        )
        if remainder:
            self.warnings = (f"{file.path}: {sentence}, which are left out",)
        self._offset = offset
        self.reference = file.reference(offset)

    def _samples(self, start: int, stop: int) -> bytes:
        length = (stop - start) * self.frame_bytes
        samples = self._file.read_at(self._offset + start * self.frame_bytes, length)
        if len(samples) != length:
            raise InputChangedError(
                self.path, f"gave {len(samples)} bytes of frames {start} to {stop} instead of {length}: it shrank"
            )
        return samples
