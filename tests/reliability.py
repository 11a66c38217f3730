"""The table of docs/reliability.md, made of what the tests say that they cover. `make reliability` writes it.

    @pytest.mark.covers(
        "no worker ever comes",                                # the scenario; one test says all of it
        number=4,                                              # none: it is beyond the forty-three
        bound="exit 69 within the worker timeout (2 s) + 1 s", # what the test holds it to
        measured="2.06 s, 2.27 s",
        removed="`granting.py`: the end of `starved`",         # the line without which the test fails
    )
    def test_nobody_comes_and_the_job_ends_within_the_worker_timeout(scene): ...

    @pytest.mark.covers("no worker ever comes", by="in virtual time")   # another test of it

A marker may name one case of its test, `case="dead"`. On the page `by` stands before the test's name, and `note` behind
it in brackets. A test that `make test` has no time for says so by its marker. A file as a whole has a `pytestmark`.
Rules: tests are read, not imported. A mistake in a marker is a ValueError that names the test.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reliability.md"
LAST = 43
SECTIONS = {
    "Workers and networks": range(1, 21),
    "The coordinator and its disk": range(21, 31),
    "Security and input": range(31, LAST + 1),
    "Beyond the forty-three": (None,),
}
HEAD = "| | scenario | test | bound | measured | removed to see it fail |\n| --- | --- | --- | --- | --- | --- |\n"
TARGETS = {"chaos": "`make chaos`", "extended": "`make test-all`"}
WORDS = {"by", "note", "case"}
ANSWERS = {"number", "bound", "measured", "removed"}


@dataclass(frozen=True)
class Mark:
    """One marker: the file that it stands in, the test (empty: the whole file), the scenario, and its other words."""

    path: str
    line: int
    test: str
    scenario: str
    words: dict

    @property
    def is_lead(self):
        """Whether it says all of the scenario: every scenario has exactly one such."""
        return "bound" in self.words

    @property
    def number(self):
        return self.words.get("number")


def marks(folder=HERE):
    """Return every `covers` marker below that folder, in the order of files and lines."""
    found = []
    for path in sorted(folder.rglob("test_*.py")):
        name = path.relative_to(folder.parent).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found += _of(name, node.name, node.decorator_list)
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "pytestmark":
                found += _of(name, "", getattr(node.value, "elts", [node.value]))
    return found


def tables(found):
    """Return the table of each section, by its title."""
    scenarios = {}
    for mark in found:
        scenarios.setdefault(mark.scenario, []).append(mark)
    rows = {title: [] for title in SECTIONS}
    for scenario, of_it in scenarios.items():
        leads = [mark for mark in of_it if mark.is_lead]
        if len(leads) != 1:
            raise ValueError(f"{of_it[0].path}: {len(leads)} tests say all of {scenario!r}, not 1")
        titles = [title for title, numbers in SECTIONS.items() if leads[0].number in numbers]
        if not titles:
            raise ValueError(f"{leads[0].path}: {scenario!r} has number {leads[0].number}, not 1 to {LAST}")
        rows[titles[0]].append((leads[0], of_it))
    return {title: HEAD + "".join(map(_row, sorted(rows[title], key=_place))) for title in SECTIONS}


def written(page, found):
    """Return the text of the page with its tables as the markers have them."""
    for title, table in tables(found).items():
        before, heading, after = page.partition(f"### {title}\n\n")
        if not heading:
            raise ValueError(f"the page has no section {title!r}")
        lines = after.splitlines(keepends=True)
        while lines and lines[0].startswith("|"):
            lines.pop(0)
        page = before + heading + table + "".join(lines)
    return page


def _of(path, test, decorators):
    """Return the marks among those decorators of one test or file."""
    found = []
    names = {ast.unparse(each).removeprefix("pytest.mark.") for each in decorators}
    target = next((TARGETS[name] for name in TARGETS if name in names), None)
    for each in decorators:
        if not (isinstance(each, ast.Call) and ast.unparse(each.func) == "pytest.mark.covers"):
            continue
        words = {word.arg: ast.literal_eval(word.value) for word in each.keywords}
        if unknown := set(words) - WORDS - ANSWERS:
            raise ValueError(f"{path}, {test or 'pytestmark'}: covers() has no {sorted(unknown)[0]}")
        if words.keys() & ANSWERS and not words.keys() >= ANSWERS - {"number"}:
            raise ValueError(f"{path}, {test or 'pytestmark'}: covers() wants bound, measured and removed, or neither")
        if target:
            words["note"] = ", ".join(filter(None, (words.get("note"), target)))
        found.append(Mark(path, each.lineno, test, ast.literal_eval(each.args[0]), words))
    return found


def _place(row):
    """Return a key that sorts rows by their number, then by where their test stands."""
    lead, _ = row
    return lead.number or 0, lead.path, lead.line


def _row(row):
    """Return a line of the table."""
    lead, of_it = row
    groups = list(dict.fromkeys(mark.words.get("by") for mark in [lead, *of_it]))
    tests = _tests(sorted(of_it, key=lambda mark: (mark is not lead, groups.index(mark.words.get("by")))))
    cells = (lead.number or "", lead.scenario, tests, *(lead.words[name] for name in ("bound", "measured", "removed")))
    for cell in cells:
        if " | " in str(cell) or "\n" in str(cell):
            raise ValueError(f"{lead.path}: {cell!r} breaks the table")
    return f"| {' | '.join(map(str, cells))} |\n"


def _tests(of_it):
    """Return the names of a scenario's tests: a file is named once in a row, and so is what they have in common."""
    text, path, by = "", None, None
    for mark in of_it:
        names = mark.words.get("by")
        text += "" if not text else ", " if names == by else "; "
        text += f"{names} " if names and names != by else ""
        case = f"[{mark.words['case']}]" if "case" in mark.words else ""
        name = f"::{mark.test}{case}" if mark.test else ""
        text += f"`{'' if mark.path == path and name else mark.path}{name}`"
        text += f" ({mark.words['note']})" if "note" in mark.words else ""
        path, by = mark.path, names
    return text


if __name__ == "__main__":
    try:
        PAGE.write_text(written(PAGE.read_text(), marks()))
    except ValueError as error:
        sys.exit(f"docs/reliability.md: {error}")
