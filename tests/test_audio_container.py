"""The kinds of file that are written, by suffix, and their refusals."""

import pytest
from audio_support import signal_of

from zaudio.audio.container import Container, check_container, container_of
from zaudio.audio.source import RAW_SUFFIXES
from zaudio.errors import UsageError


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("take.wav", Container.WAV),
        ("a.b/TAKE.WAV", Container.WAV),
        ("take.wave", Container.WAV),
        ("take.rf64", Container.WAV),
        ("take.flac", Container.FLAC),
        *((f"take{suffix}", Container.RAW) for suffix in sorted(RAW_SUFFIXES)),
    ],
)
def test_the_suffix_names_the_kind_of_file(name, container):
    assert container_of(name) is container


@pytest.mark.parametrize("name", ["take", "take.mp3", "take.wav.part", "a.wav/take", ".wav"])
def test_any_other_suffix_is_refused_with_those_that_there_are(name):
    with pytest.raises(UsageError, match=r"goes by its suffix, .*\.flac, .*\.raw, .*\.wav"):
        container_of(name)


@pytest.mark.parametrize("format", ["f32le", "f64be", "s32le"])
def test_a_flac_of_other_bits_is_refused_with_the_way_out(format):
    with pytest.raises(UsageError, match=rf"the samples are {format}; pass --format s24le or --format s16le, or write"):
        check_container("take.flac", Container.FLAC, signal_of(1, format=format))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"channels": 9}, "holds 8 channels, and there are 9; write take.wav"),
        ({"samplerate": 655_351}, "up to 655350 frames a second, and there are 655351; write take.wav"),
        ({"frames": 2**36}, "counts up to 68719476735 frames, and there are 68719476736; write take.wav"),
        ({"frames": 0}, "the recording has no frames, which a FLAC file cannot say; write take.wav"),
    ],
)
def test_a_flac_beyond_its_limits_is_refused_with_the_way_out(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_container("take.flac", Container.FLAC, signal_of(**{"frames": 1} | settings))


@pytest.mark.parametrize(
    ("name", "format", "way_out"),
    [
        ("out/a.flac", "f32le", r"pass --format s24le or --format s16le, or pass --render wav \(suffix='wav'\)$"),
        ("out/a.s16", "s24le", r"pass --format s16le, or pass --render raw \(suffix='raw'\)$"),
    ],
)
def test_the_way_out_of_a_batch_is_a_suffix_since_nobody_types_its_names(name, format, way_out):
    with pytest.raises(UsageError, match=way_out):
        check_container(name, container_of(name), signal_of(1, format=format), of_batch=True)


def test_a_name_that_is_empty_is_said_to_be():
    with pytest.raises(UsageError, match=r"^the output file has no name$"):
        container_of("")


@pytest.mark.parametrize("suffix", ["f32", "f64", "s16", "s32"])
def test_a_suffix_that_says_a_format_holds_no_other(suffix):
    for order in ("le", "be"):
        check_container(f"take.{suffix}", Container.RAW, signal_of(1, format=suffix + order))
    with pytest.raises(
        UsageError, match=f"says {suffix}, and the samples are s24le; pass --format {suffix}le, or write"
    ):
        check_container(f"take.{suffix.upper()}", Container.RAW, signal_of(1, format="s24le"))


@pytest.mark.parametrize("container", [Container.WAV, Container.RAW])
def test_other_files_hold_whatever_there_is(container):
    check_container("take", container, signal_of(2**40, channels=1024, format="f64be", samplerate=2**31 - 1))
