"""The table of docs/reliability.md is what the tests' markers say, and a mistake in a marker is found."""

import functools

import pytest
import reliability

MARKS = functools.cache(reliability.marks)  # it reads all tests
FULL = '@pytest.mark.covers("nobody comes", number=4, bound="2 s", measured="1 s", removed="`a.py`: `b`")\n'
PAGE = "".join(f"### {title}\n\n| old |\n\nend\n\n" for title in reliability.SECTIONS)


@pytest.fixture
def found(tmp_path):
    """The markers of a file with that text."""

    def found(text):
        folder = tmp_path / "tests"
        folder.mkdir()
        (folder / "test_x.py").write_text(text)
        return reliability.marks(folder)

    return found


def test_the_page_is_what_the_markers_say():
    page = reliability.PAGE.read_text()
    assert reliability.written(page, MARKS()) == page, "`make reliability` writes the tables again"


def test_each_of_the_scenarios_has_a_test():
    numbers = {mark.number for mark in MARKS() if mark.is_lead}
    assert numbers == {None, *range(1, reliability.LAST + 1)}


def test_a_row_names_the_first_test_then_others_like_it_then_the_rest(found):
    text = (
        'pytestmark = [pytest.mark.covers("nobody comes", note="all of it")]\n'
        '@pytest.mark.covers("nobody comes", by="in virtual time", case="x")\ndef test_a(): ...\n'
        f"{FULL}def test_b(): ...\n"
        '@pytest.mark.covers("nobody comes")\n@pytest.mark.chaos\ndef test_c(): ...\n'
    )
    page = reliability.written(PAGE, found(text))
    assert "| old |" not in page
    assert page.count("\nend\n") == 4
    tests = (
        "`tests/test_x.py::test_b`, `tests/test_x.py` (all of it), `::test_c` (`make chaos`); "
        "in virtual time `::test_a[x]`"
    )
    assert f"| 4 | nobody comes | {tests} | 2 s | 1 s | `a.py`: `b` |\n" in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('@pytest.mark.covers("nobody comes")\ndef test_a(): ...\n', "0 tests say all of 'nobody comes'"),
        (f"{FULL}def test_a(): ...\n{FULL}def test_b(): ...\n", "2 tests say all of 'nobody comes'"),
        (f"{FULL.replace('number=4', 'number=44')}def test_a(): ...\n", "has number 44, not 1 to 43"),
        (f"{FULL.replace('bound', 'bond')}def test_a(): ...\n", r"test_x.py, test_a: covers\(\) has no bond"),
        (
            f"{FULL.replace('bound=', 'by=')}def test_a(): ...\n",
            r"test_a: covers\(\) wants bound, measured and removed",
        ),
        (f"{FULL.replace('2 s', 'a | b')}def test_a(): ...\n", "'a | b' breaks the table"),
    ],
)
def test_a_mistake_in_a_marker_is_found(found, text, words):
    with pytest.raises(ValueError, match=words):
        reliability.tables(found(text))


def test_a_page_without_a_section_is_refused():
    with pytest.raises(ValueError, match="no section 'Workers and networks'"):
        reliability.written("", [])
