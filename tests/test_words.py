"""Plain words: docstrings and comments of the listed rooms, and all pages, keep a few rules that a machine can check.

Rules: a function's docstring begins with a verb, a property's does not. No docstring begins with "What". Some words are
not used at all, and a sentence has at most 35 words. A rule is here only if it raises no false alarm.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROOMS = ("benchmarks", "examples", "zaudio")
PAGES = ("CHANGELOG.md", "README.md", "docs")

LONGEST = 35  # words; about 20 read well, and a list of things may take more
AVOIDED = re.compile(
    r"\b(who|whom|whoever|for ever|anew|as yet|may not|(?<!there )is none|(?<!there )are none)\b", re.I
)
NO_VERBS = {
    *("a", "an", "the", "this", "that", "these", "those", "its", "their", "our", "one", "two", "both", "each", "every"),
    *("all", "any", "some", "no", "none", "nothing", "nobody", "everything", "what", "whether", "how", "why", "which"),
    *("where", "when", "who", "whose", "as", "if", "by", "for", "from", "in", "of", "on", "to", "with", "without"),
}


def faults(source):
    """Return the faults of a Python source, each as its line and the reason."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                line = node.body[0].lineno
                found += [(line, reason) for reason in [*faults_of_opening(node, text), *faults_of_text(text)]]
    for line, text in comments(source):
        found += [(line, reason) for reason in faults_of_text(text)]
    return sorted(found)


def faults_of_opening(node, text):
    first = re.match(r"\w*", text).group().lower()
    if isinstance(node, ast.Module | ast.ClassDef):
        verdict = first in ("what", "whether", "whoever") and "does not begin with a noun"
    elif any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
        verdict = first in ("what", "return", "get", "give") and "a property does not begin with a noun"
    else:  # "Returns" and "Bytes of" end in s, "Pass" and "Process" do not mean either
        verdict = (first in NO_VERBS or re.search(r"[^s]s$", first)) and "a function does not begin with a verb"
    return [f"{verdict}: {text.splitlines()[0]}"] if verdict else []


def faults_of_text(text):
    plain = without_code(text)
    words = [f"{match.group()!r} is avoided" for match in AVOIDED.finditer(" ".join(plain.split()))]
    return words + [
        f"{count} words: {sentence[:60]} ..." for sentence in sentences(plain) if (count := length(sentence)) > LONGEST
    ]


def without_code(text):
    """Return the text without code, drawings and tables; the latter two have gaps."""
    lines = [line for line in text.splitlines() if not re.search(r"\S {2,}\S|^\s*\||>>>", line)]
    return re.sub(r"``?[^`]*``?", "X", "\n".join(lines))


def sentences(text):
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=[-*] |\d+\. |\w+: )", text):
        yield from re.split(r"(?<=[.?!:;])[)\"]*\s+", " ".join(paragraph.split()))


def length(sentence):
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def comments(source):
    """Return the comments with their lines; one that goes over several lines is one."""
    found, last = [], None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            (line, column), text = token.start, token.string.lstrip("#")
            if last == (line - 1, column):
                found[-1] = (found[-1][0], found[-1][1] + text)
            else:
                found.append((line, text))
            last = (line, column)
    return found


def faults_of_page(text):
    """Return the avoided words of a page, outside its code and the targets of its links."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "X", text))
    return [f"{match.group()!r} is avoided" for match in AVOIDED.finditer(" ".join(text.split()))]


def files(names, kind):
    paths = [ROOT / name for name in names]
    return [file for path in paths for file in (sorted(path.rglob(f"*.{kind}")) if path.is_dir() else [path])]


@pytest.mark.parametrize(("names", "kind", "looked"), [(ROOMS, "py", faults), (PAGES, "md", faults_of_page)])
def test_modules_and_pages_are_in_plain_words(names, kind, looked):
    found = {str(path.relative_to(ROOT)): looked(path.read_text(encoding="utf-8")) for path in files(names, kind)}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """The parts of a message."""',
        'def f():\n    """What a worker holds."""',
        'def f():\n    """Returns it."""',
        'def f():\n    """Whether it is open."""',
        'class A:\n    """What a socket needs."""',
        '"""What this machine has."""',
        'class A:\n    @property\n    def f(self):\n        """Return the frames."""',
        "x = 1  # whoever asks",
        "# a worker may\n# not ask\n",
        '"""Keys.\n\nA boolean is none.\n"""',
        f'"""Keys.\n\n{"word " * 36}.\n"""',
    ],
)
def test_a_breach_is_noticed(source):
    assert len(faults(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """Return the next one, or None if there is none."""',
        'def f():\n    """Pass it on."""',
        'class A:\n    @property\n    def f(self):\n        """Whether it is open."""',
        'class A:\n    """Encrypts what comes."""',
        '"""Keys: `may not` is code.\n\n    a drawing      who may\n"""',
        f'"""Keys.\n\n{"word " * 30}: {"word " * 30}.\n\n- {"word " * 30}\n- {"word " * 30}\n"""',
    ],
)
def test_plain_words_pass(source):
    assert faults(source) == []
