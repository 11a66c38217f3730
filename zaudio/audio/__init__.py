"""Audio: the sources of chunks, the files that play, and the test recording.

Rules: nothing outside this package knows a file format. numpy and soundfile are imported when they are needed, not
with this package.
"""

from zaudio.audio.generate import generate
from zaudio.audio.recording import Source
from zaudio.audio.source import open_source
from zaudio.audio.streams import OnProgress

__all__ = ["OnProgress", "Source", "generate", "open_source"]
