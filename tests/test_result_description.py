import json

import pytest
from result_support import describe

from zaudio.errors import UsageError
from zaudio.result import description as subject
from zaudio.result.description import Description, decode_description, encode_description, join_file, split_file
from zaudio.version import VERSION as PACKAGE_VERSION

TAG = bytes(range(32))


@pytest.mark.parametrize(
    "description",
    [
        describe(0),
        describe(1, channels=65535, format="f64be"),
        describe(158_760_000, ops=("gain:db=-3", "invert", "my.ops:tilt:slope=0.5")),
        describe(5, ops=(), samplerate=2**32 - 1, chunk_frames=2**63 - 1),
        describe(5, ops=("größe:ü=ß",)),
        describe(5, grid=65536, machines="x86-64 AVX2"),
        describe(5, ops=("gain:db=1", "m:f"), versions=("1", "7 sha256:ab")),
    ],
)
def test_a_description_survives_its_bytes(description):
    assert decode_description(encode_description(description)) == description


def test_version_2_is_written_only_where_version_1_could_not_say_it_all():
    plain = describe(5, versions=("1",), machines="x86-64")
    assert plain == describe(5)
    assert b'"version": 1,' in encode_description(plain)
    assert not {b"grid", b"versions", b"class"} & set(encode_description(plain).split(b'"'))
    for fields in ({"grid": 1}, {"versions": ("2",)}):
        parsed = json.loads(encode_description(describe(5, machines="x86-64", **fields)))
        assert parsed["version"] == 2
        assert (parsed["grid"], parsed["versions"], parsed["class"]) == (
            fields.get("grid", 0),
            list(fields.get("versions", ("1",))),
            "x86-64",
        )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.replace(b'"version": 2', b'"version": 3'), "version is 3; this zaudio reads versions 1 and 2"),
        (lambda d: d.replace(b'"version": 2', b'"version": 1'), "fields are not those of version 1"),
        (lambda d: d.replace(b'"grid": 65536', b'"grid": 0'), "is written as version 1"),
        (lambda d: d.replace(b'"grid": 65536', b'"grid": -1'), "grid is an integer"),
        (lambda d: d.replace(b'"grid": 65536', b'"grid": true'), "no grid, or no class"),
        (lambda d: d.replace(b'"grid": 65536', b'"gird": 65536'), "no grid, or no class"),
        (lambda d: d.replace(b'"class": ""', b'"class": 7'), "no grid, or no class"),
        (lambda d: d.replace(b'"class": ""', b'"machines": ""'), "no grid, or no class"),
        (lambda d: d.replace(b'"versions": [', b'"versions": [1, '), "versions is a tuple of 1 texts"),
        (lambda d: d.replace(b'"versions"', b'"version5"'), "versions is not a list"),
    ],
)
def test_a_description_that_is_not_version_2_is_refused_with_a_reason(change, why):
    encoded = encode_description(describe(5, grid=65536))
    changed = change(encoded)
    assert changed != encoded
    with pytest.raises(ValueError, match=why):
        decode_description(changed)


def test_the_file_is_readable_json_and_gives_its_bytes_back():
    encoded = encode_description(describe(5))
    document = join_file(encoded, TAG)
    parsed = json.loads(document)
    assert list(parsed) == ["description", "tag"]
    assert parsed["tag"] == TAG.hex()
    assert parsed["description"]["order"] == "reversed"
    assert b'\n    "frames": 5,\n' in document
    assert split_file(document) == (encoded, TAG)
    assert document[19:-80] == encoded


def test_sizes_follow_from_format_and_channels():
    description = describe(7, channels=3, format="s32be")
    assert description.frame_bytes == 12
    assert description.plaintext_bytes == 84


def test_the_version_of_the_package_is_filled_in():
    assert describe(1).zaudio == PACKAGE_VERSION


@pytest.mark.parametrize(
    "fields",
    [
        {"frames": -1},
        {"frames": True},
        {"frames": 1.0},
        {"frames": 2**63},
        {"frames": 2**62},  # fits itself, its bytes do not
        {"channels": 0},
        {"channels": 65536},
        {"samplerate": 0},
        {"samplerate": 2**32},
        {"chunk_frames": 0},
        {"format": "s20le"},
        {"format": ""},
        {"format": None},
        {"ops": ["invert"]},
        {"ops": "invert"},
        {"ops": ("",)},
        {"ops": ("a\nb",)},
        {"ops": ("\ud800",)},
        {"ops": (1,)},
        {"zaudio": ""},
        {"grid": -1},
        {"grid": True},
        {"versions": ("1", "1")},
        {"versions": ["2"]},
        {"versions": ("",)},
        {"grid": 1, "machines": "a\nb"},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_or_range_is_refused(fields):
    good = {"frames": 5, "channels": 1, "samplerate": 1, "format": "f32le", "chunk_frames": 1, "ops": ("invert",)}
    with pytest.raises(UsageError):
        Description(**{**good, **fields})


def test_a_description_fills_64_kib_and_not_a_byte_more():
    spare = subject.FILE_BYTES_MAX - len(join_file(encode_description(describe(5, ops=("x",))), TAG)) + 1
    document = join_file(encode_description(describe(5, ops=("x" * spare,))), TAG)
    assert len(document) == subject.FILE_BYTES_MAX
    split_file(document)
    with pytest.raises(UsageError, match="65536 is the most"):
        encode_description(describe(5, ops=("x" * (spare + 1),)))
    with pytest.raises(ValueError, match="longer than 65536"):
        split_file(document + b"\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: b"[" * 60_000, "no JSON object"),
        (lambda d: b'{"a":' * 10_000 + b"{}" + b"}" * 10_000, "nested too deeply|no JSON object"),
        (lambda d: b"[]", "no JSON object"),
        (lambda d: b" " + d, "no JSON object"),
        (lambda d: d + b" ", "no JSON object"),
        (lambda d: d[:-1] + b'}, "more": {}', "no JSON object"),
        (lambda d: b"{}", "version is None"),
        (lambda d: d.replace(b"invert", "ö".encode()), "not ASCII"),
        (lambda d: d.replace(b"44100", b"Infinity"), "holds Infinity"),
        (lambda d: d.replace(b"44100", b"9" * 5000), "."),
        (lambda d: d.replace(b"44100", b"1e3"), "samplerate is an integer"),
        (lambda d: d.replace(b"44100", b"null"), "samplerate is an integer"),
        (lambda d: d.replace(b'"frames": 5', b'"frames": 5, "frames": 5'), "twice"),
        (lambda d: d.replace(b'"version": 1', b'"version": 1.0'), "version is 1.0"),
        (lambda d: d.replace(b'"zaudio"', b'"zaudi0"'), "fields are not those"),
        (lambda d: d.replace(b"PKCS#7", b"PKCS#5"), "padding is not"),
        (lambda d: d.replace(b"reversed", b"forward"), "order is not"),
        (lambda d: d.replace(b'"plaintext_bytes": 20', b'"plaintext_bytes": 20.0'), "plaintext_bytes"),
    ],
)
def test_a_description_that_is_not_version_1_is_refused_with_a_reason(change, why):
    encoded = encode_description(describe(5))
    changed = change(encoded)
    assert changed != encoded
    with pytest.raises(ValueError, match=why):
        decode_description(changed)


def test_a_description_without_the_version_of_zaudio_is_refused():
    fields = json.loads(encode_description(describe(5)))
    del fields["zaudio"]
    with pytest.raises(ValueError, match="which zaudio"):
        decode_description(json.dumps(fields).encode())


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_the_frame_around_the_description_is_refused_or_changes_the_tag(bit):
    document = join_file(encode_description(describe(5)), TAG)
    for index in [*range(19), *range(len(document) - 80, len(document))]:
        changed = bytearray(document)
        changed[index] ^= 1 << bit
        try:
            encoded, tag = split_file(bytes(changed))
        except ValueError:
            continue
        assert tag != TAG
        assert encoded == document[19:-80]


@pytest.mark.parametrize("size", [0, 1, 79, 80, 98, 99])
def test_a_file_too_short_for_a_description_is_refused(size):
    document = join_file(encode_description(describe(5)), TAG)
    with pytest.raises(ValueError):
        split_file(document[:size])
    with pytest.raises(ValueError):
        split_file(document[len(document) - size :])
