"""The options of jobs, as they become the place of a result."""

import pytest

from zaudio.cli.jobs import several
from zaudio.errors import UsageError
from zaudio.settings import Playable, Sealed

NONE = {"output": "out", "render": None, "format": None, "dither": False, "input_format": None}
NONE |= {"forward": False, "inside": "raw", "recipient": None, "identity": None}


def test_a_batch_makes_sealed_results_or_files_that_play():
    options = {**NONE, "forward": True, "format": "s16le"}
    assert several(options) == Sealed("out", forward=True)
    assert options == {"format": "s16le", "recipient": None, "identity": None}  # of raw inputs
    options = {**NONE, "render": ".FLAC", "format": "s16le", "dither": True, "input_format": "s24le"}
    file = several(options)
    assert (file, file.ending) == (Playable("out", format="s16le", dither=True, suffix=".FLAC"), ".flac")
    assert options == {"format": "s24le", "recipient": None, "identity": None}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"render": "wav", "forward": True}, "--forward is of sealed results"),
        ({"render": "wav", "inside": "wav"}, "--inside is of sealed results"),
        ({"render": "wav", "identity": "me.txt"}, "--identity is of sealed results"),
        ({"render": "wav", "recipient": "me"}, "--recipient is of sealed results"),
        ({"dither": True}, "--dither goes with --render"),
        ({"input_format": "s16le"}, "--input-format goes with --render"),
        ({"render": "a/b"}, "expected one such as 'wav'"),
    ],
)
def test_options_of_the_two_kinds_of_result_exclude_each_other(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        several({**NONE, **given})
