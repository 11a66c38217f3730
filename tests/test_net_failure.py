"""What an op raised, as it travels: the sentence with its place, and the user's part of the traceback."""

import sys
from pathlib import Path

import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.net.failure import PLACE_MAX, parted, told
from zaudio.ops.catalogue import find_op
from zaudio.wire.fields import TEXT_MAX

OPS = """
import json
import numpy as np

def inner(array):
    raise ValueError("boom\\nbang")

def outer(array):
    return inner(array)

def library(array):
    json.loads("{")

def installed(array):
    return np.stack([])

def deep(array):
    return deep(array)

def long(array):
    raise ValueError("\\u00e9" * 5000)

class Odd(Exception):
    def __str__(self):
        raise KeyError

def odd(array):
    raise Odd

def ours(array):
    from zaudio.sizes import parse_bytes
    raise UsageError("a word of ours")

from zaudio.errors import UsageError
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "zt_failing.py"
    path.write_text(OPS)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("zt_failing", None)


def raised(function):
    import zt_failing

    with pytest.raises(BaseException) as caught:
        getattr(zt_failing, function)(np.zeros(1))
    error = caught.value
    # As in a worker, where the frames in front are the farm's own.
    error.__traceback__ = error.__traceback__.tb_next
    return told(error)


def line_of(text):
    return 1 + OPS.splitlines().index(text)


@pytest.mark.parametrize(
    ("function", "sentence", "line"),
    [
        ("inner", "ValueError: boom bang", '    raise ValueError("boom\\nbang")'),
        ("outer", "ValueError: boom bang", '    raise ValueError("boom\\nbang")'),
        ("library", "JSONDecodeError: Expecting property name", '    json.loads("{")'),
        ("installed", "ValueError: need at least one array", "    return np.stack([])"),
        ("odd", "Odd (", "    raise Odd"),
        ("ours", "a word of ours (", '    raise UsageError("a word of ours")'),
    ],
)
def test_the_sentence_ends_with_file_and_line_of_the_users_own_code(file, function, sentence, line):
    first, lines = parted(raised(function))
    assert first.startswith(sentence)
    assert first.endswith(f" ({file}:{line_of(line)})")
    assert lines[0] == "Traceback (most recent call last):"
    assert f'  File "{file}", line {line_of(line)}, in {function if function != "outer" else "inner"}' in lines


@pytest.mark.parametrize("function", ["deep", "long"])
def test_place_and_end_of_the_traceback_stay_within_the_limit_of_a_message(file, function):
    text = raised(function)
    assert len(text.encode()) <= TEXT_MAX
    first, lines = parted(text)
    assert f"({file}:" in first
    assert lines[0] == "Traceback (most recent call last):"


def test_a_path_as_long_as_a_message_leaves_room_for_the_cause():
    name = "/" + "/".join(["long" * 50] * 12) + "/ops.py"
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("1 / 0", name, "exec"), {})
    error = caught.value
    error.__traceback__ = error.__traceback__.tb_next
    first, _ = parted(told(error))
    assert first.startswith("ZeroDivisionError: division by zero (...")
    assert first.endswith("long/ops.py:1)")
    assert len(first) < PLACE_MAX + 100


def test_an_error_of_our_own_code_is_its_sentence_alone():
    with pytest.raises(UsageError) as caught:
        find_op("reverb")
    error = caught.value
    error.__traceback__ = error.__traceback__.tb_next
    assert told(error) == str(error)
    assert Path(__file__).name not in told(error)
