"""Description: the audio that a result holds; and `result.json`, the file that carries it beside the tag.

Rules: the tag covers the description's bytes as they are stored. So they are cut out of the file between a fixed prefix
and a suffix of fixed length, and never serialised again. Reading is strict: two versions, exactly the fields of each,
no duplicate, no NaN, no number out of range. Version 2 is written only where version 1 could not say it all. Nothing
here touches a file. A document that cannot be read is a `ValueError` with the reason; the caller knows the path, and
makes a `VerificationError` of it.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from typing import Any, NoReturn

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.plan import Order
from zaudio.result.primitives import TAG_BYTES
from zaudio.signal import Signal
from zaudio.version import VERSION as PACKAGE_VERSION

VERSION = 1
SECOND_VERSION = 2  # with a grid, an op that declares a version, the recording's order, a header, or 24 bits
UNVERSIONED = "1"  # the version of an op that declares none
FILE_BYTES_MAX = 64 * 1024  # a thousand long ops fit; a reader takes no more from a file that is not verified yet
INTEGER_MAX = 2**63 - 1  # what every language's integer holds
CHANNELS_MAX = 65535  # WAV's 16 bits
SAMPLERATE_MAX = 2**32 - 1  # WAV's 32 bits

CONSTANTS = {"cipher": "AES-256-CBC", "padding": "PKCS#7"}
CONTAINERS = {False: "raw", True: "WAV"}  # of the plaintext, by whether it has a header
HEADER_MOST = 2**31 - 1  # bytes
SECOND_FIELDS = ("grid", "versions", "class", "container", "header_bytes")

PREFIX = b'{\n  "description": '
MIDDLE = b',\n  "tag": "'
SUFFIX = b'"\n}\n'
TAIL_BYTES = len(MIDDLE) + 2 * TAG_BYTES + len(SUFFIX)


@dataclass(frozen=True, slots=True)
class Description:
    """The audio that a result holds, and how it was made.

    Attributes:
        frames: Frames of the audio.
        channels: Samples per frame.
        samplerate: Frames per second.
        format: Name of the sample format: ``f32le``, ``s16be`` ...
        chunk_frames: Frames per chunk, as the job was cut.
        ops: Canonical text of the operations, in the order of their application.
        zaudio: Version of the package that made the result.
        grid: Frames per block at which ops with memory started afresh; 0 for no grid.
        versions: The version of each op; empty for version 1 of the format.
        machines: The class of machines that computed it; empty when it was not told, and without memory.
        order: The order of its frames.
        header_bytes: Bytes of a WAV header in front of the samples; 0 for none.

    Raises:
        UsageError: A field is of the wrong type or out of range.
    """

    frames: int
    channels: int
    samplerate: int
    format: str
    chunk_frames: int
    ops: tuple[str, ...]
    zaudio: str = PACKAGE_VERSION
    grid: int = 0
    versions: tuple[str, ...] = ()
    machines: str = ""
    order: Order = Order.REVERSED
    header_bytes: int = 0

    def __post_init__(self) -> None:
        _check_integer("frames", self.frames, 0, INTEGER_MAX)
        _check_integer("channels", self.channels, 1, CHANNELS_MAX)
        _check_integer("samplerate", self.samplerate, 1, SAMPLERATE_MAX)
        _check_integer("chunk_frames", self.chunk_frames, 1, INTEGER_MAX)
        _check_text("format", self.format)
        _check_text("zaudio", self.zaudio)
        if type(self.ops) is not tuple:
            raise UsageError(f"ops is a tuple of texts, not a {type(self.ops).__name__}")
        for op in self.ops:
            _check_text("an op", op)
        _check_integer("grid", self.grid, 0, INTEGER_MAX)
        if self.versions and (type(self.versions) is not tuple or len(self.versions) != len(self.ops)):
            raise UsageError(
                f"versions is a tuple of {len(self.ops)} texts, one for each op, not {self.versions!r:.40}"
            )
        for version in self.versions:
            _check_text("the version of an op", version)
        if self.machines:
            _check_text("the class of machines", self.machines)
        if not isinstance(self.order, Order):
            raise UsageError(f"order is an Order, not {self.order!r:.40}")
        _check_integer("header_bytes", self.header_bytes, 0, HEADER_MOST)
        # One spelling of each: a version 1 says nothing of versions and machines, a version 2 says all. Without memory,
        # every machine gives the same bits.
        second = self.version == SECOND_VERSION
        object.__setattr__(self, "versions", (self.versions or (UNVERSIONED,) * len(self.ops)) if second else ())
        object.__setattr__(self, "machines", self.machines if self.has_memory else "")
        # Sixteen bytes of room: the padding must fit the same integer.
        _check_integer("plaintext_bytes", self.plaintext_bytes, 0, INTEGER_MAX - 16)

    @property
    def has_memory(self) -> bool:
        """Whether ops have memory, so that the class of machines counts."""
        return bool(self.grid or set(self.versions) - {UNVERSIONED})

    @property
    def version(self) -> int:
        """The version of the format: 1 where that can say it all, otherwise 2."""
        stored = self.order is not Order.REVERSED or self.header_bytes or sample_format(self.format).is_packed
        return SECOND_VERSION if self.has_memory or stored else VERSION

    @property
    def signal(self) -> Signal:
        """The shape of the audio, as it lies in memory."""
        return Signal(self.frames, self.channels, self.samplerate, sample_format(self.format))

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame of the plaintext."""
        return self.channels * sample_format(self.format).stored_bytes

    @property
    def samples_bytes(self) -> int:
        """Bytes of the samples in the plaintext."""
        return self.frames * self.frame_bytes

    @property
    def footer_bytes(self) -> int:
        """Bytes behind the samples: a WAV with an odd number of bytes of samples has one, of padding."""
        return self.samples_bytes % 2 if self.header_bytes else 0

    @property
    def plaintext_bytes(self) -> int:
        """Bytes of header, samples and footer; the cipher's padding is not counted."""
        return self.header_bytes + self.samples_bytes + self.footer_bytes


def encode_description(description: Description) -> bytes:
    """Return the bytes of a description, as they stand in `result.json` and under the tag.

    Raises:
        UsageError: The file would be longer than 64 KiB.
    """
    fields: dict[str, object] = {"version": description.version}
    fields |= CONSTANTS | {
        "order": description.order.value,
        "frames": description.frames,
        "channels": description.channels,
        "samplerate": description.samplerate,
        "format": description.format,
        "chunk_frames": description.chunk_frames,
        "ops": description.ops,
        "plaintext_bytes": description.plaintext_bytes,
        "zaudio": description.zaudio,
    }
    if description.version == SECOND_VERSION:
        fields |= {
            "grid": description.grid,
            "versions": description.versions,
            "class": description.machines,
            "container": CONTAINERS[description.header_bytes > 0],
            "header_bytes": description.header_bytes,
        }
    # No text holds a raw newline (JSON escapes them), so this indents lines and nothing else.
    encoded = json.dumps(fields, indent=2).replace("\n", "\n  ").encode("ascii")
    if len(PREFIX) + len(encoded) + TAIL_BYTES > FILE_BYTES_MAX:
        raise UsageError(f"the ops take {len(encoded)} bytes of description; {FILE_BYTES_MAX} is the most")
    return encoded


def decode_description(encoded: bytes) -> Description:
    """Return the description that those bytes hold.

    Raises:
        ValueError: They hold no description, or one of another version; the text says why.
    """
    fields = _parse(encoded)
    version = fields.pop("version", None)
    if type(version) is not int or version not in (VERSION, SECOND_VERSION):
        raise ValueError(
            f"the description's version is {version!r:.40}; this zaudio reads versions {VERSION} and {SECOND_VERSION}"
        )
    for name, value in CONSTANTS.items():
        if fields.pop(name, None) != value:
            raise ValueError(f"{name} is not {value!r}, which is all that version {version} knows")
    plaintext_bytes = fields.pop("plaintext_bytes", None)
    fields["ops"] = _texts(fields, "ops")
    if version == SECOND_VERSION:
        _take_second(fields)
    elif fields.keys() & {*SECOND_FIELDS, "machines"}:
        raise ValueError(f"the description's fields are not those of version {version}")
    elif fields.pop("order", None) != Order.REVERSED.value:
        raise ValueError(f"order is not {Order.REVERSED.value!r}, which is all that version {version} knows")
    try:
        description = Description(**fields)
    except TypeError:
        raise ValueError(f"the description's fields are not those of version {version}") from None
    if description.version != version:
        raise ValueError(
            f"the description is of version {version}, and what it says is written as version {description.version}"
        )
    if "zaudio" not in fields:
        raise ValueError("the description does not say which zaudio made it")
    if type(plaintext_bytes) is not int or plaintext_bytes != description.plaintext_bytes:
        raise ValueError("plaintext_bytes is not frames x channels x bytes a sample, with the header")
    return description


def join_file(description: bytes, tag: bytes) -> bytes:
    """Return the bytes of `result.json`."""
    return PREFIX + description + MIDDLE + tag.hex().encode("ascii") + SUFFIX


def split_file(document: bytes) -> tuple[bytes, bytes]:
    """Return the description's bytes and the tag of a `result.json`. Neither is verified yet.

    Raises:
        ValueError: It is not laid out as `join_file` does.
    """
    if len(document) > FILE_BYTES_MAX:
        raise ValueError(f"it is longer than {FILE_BYTES_MAX} bytes")
    head, tail = document[:-TAIL_BYTES], document[-TAIL_BYTES:]
    digits = tail[len(MIDDLE) : -len(SUFFIX)]
    if not (head.startswith(PREFIX) and tail.startswith(MIDDLE) and tail.endswith(SUFFIX) and len(tail) == TAIL_BYTES):
        raise ValueError("it is not laid out as a description and a tag")
    # Lower case only: one tag has one spelling, so no bit of the file can change unnoticed.
    if not all(chr(digit) in string.digits + "abcdef" for digit in digits):
        raise ValueError(f"the tag is not {2 * TAG_BYTES} lower-case hex digits")
    return head[len(PREFIX) :], bytes.fromhex(digits.decode("ascii"))


def _parse(encoded: bytes) -> dict[str, Any]:
    """Return the one JSON object that the bytes hold, more strictly than JSON parsers do."""
    if not (encoded.startswith(b"{") and encoded.endswith(b"}")):
        raise ValueError("the description is no JSON object")
    try:
        fields = json.loads(encoded.decode("ascii"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("the description is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the description is no JSON object: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("the description is not ASCII") from None
    if type(fields) is not dict:
        raise ValueError("the description is no JSON object")
    return fields


def _take_second(fields: dict[str, Any]) -> None:
    """Check the fields that version 2 adds, and turn them into those of a description."""
    fields["versions"] = _texts(fields, "versions")
    fields["machines"] = fields.pop("class", None)
    if type(fields.get("grid")) is not int or not isinstance(fields["machines"], str):
        raise ValueError("the description has no grid, or no class")
    if missing := [name for name in ("order", "container", "header_bytes") if name not in fields]:
        raise ValueError(f"the description has no {missing[0]}")
    orders = {order.value: order for order in Order}
    if not isinstance(fields["order"], str) or fields["order"] not in orders:
        raise ValueError(f"order is {fields['order']!r:.40}, and neither {' nor '.join(orders)}")
    fields["order"] = orders[fields["order"]]
    container, header = fields.pop("container"), fields["header_bytes"]
    if type(header) is not int or container != CONTAINERS[header > 0]:
        raise ValueError(f"container is {container!r:.40} and header_bytes is {header!r:.40}, which do not agree")


def _texts(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = fields.pop(name, None)
    if type(texts) is not list:
        raise ValueError(f"{name} is not a list")
    return tuple(texts)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("the description names a field twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"the description holds {name}, which is no JSON")


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    # `type() is`: True is an int to isinstance, and 1.0 equals 1.
    if type(value) is not int or not low <= value <= high:
        raise UsageError(f"{name} is an integer from {low} to {high}, not {value!r:.40}")


def _check_text(name: str, value: object) -> None:
    # Printable: these texts are shown on terminals, and a lone surrogate cannot be shown at all.
    if type(value) is not str or not value or not value.isprintable():
        raise UsageError(f"{name} is a printable text, not {value!r:.40}")
