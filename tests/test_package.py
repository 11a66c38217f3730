"""The package as a whole: what importing it costs, what it offers, what is packaged."""

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import typing
from importlib import metadata, resources
from pathlib import Path

import pytest

import zaudio
from zaudio import errors
from zaudio.version import VERSION

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
DEPENDENCIES = {"numpy", "zmq", "cryptography", "soundfile", "click", "rich", "msgpack", "xxhash"}


def imported_by(statement):
    """The top-level modules that a fresh interpreter has after this statement, and did not have before."""
    after = "print(json.dumps(sorted(set(sys.modules) - before)))"
    program = f"import sys, json; before = set(sys.modules); {statement}; {after}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


# What importing costs


def test_importing_zaudio_imports_none_of_its_dependencies():
    assert imported_by("import zaudio") & DEPENDENCIES == set()


def test_using_its_errors_and_settings_imports_none_either():
    assert (
        imported_by(
            "import zaudio; zaudio.JobError, zaudio.Timing(), zaudio.Security(audit=5), zaudio.__version__, dir(zaudio)"
        )
        & DEPENDENCIES
        == set()
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import zaudio.net.supervisor",
        "from zaudio import Worker; Worker('ipc:///tmp/nobody')",
    ],
)
def test_starting_a_worker_imports_no_more_than_it_needs(statement):
    assert imported_by(statement) & DEPENDENCIES == {"numpy", "zmq", "msgpack", "xxhash"}


DECISIONS = "plan timing formats sizes version errors settings endpoints events watching.ledger watching.stream"


def test_the_decisions_can_be_imported_without_numpy_and_sockets():
    modules = [f"zaudio.{module}" for module in (*DECISIONS.split(), "core.dispatch", "core.session")]
    assert imported_by(f"import {', '.join(modules)}") & DEPENDENCIES <= {"msgpack"}


# What it offers


def test_every_public_name_resolves():
    for name in zaudio.__all__:
        assert getattr(zaudio, name) is not None
    assert len(zaudio.__all__) == len(set(zaudio.__all__))


def test_public_names_are_what_their_own_modules_call_so():
    for name, home in zaudio._HOMES.items():
        assert getattr(zaudio, name) is getattr(sys.modules[home], name)


def test_every_lazy_name_is_public_and_known_to_type_checkers():
    import ast

    assert set(zaudio._HOMES) <= set(zaudio.__all__)
    tree = ast.parse(Path(zaudio.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    told = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert told == zaudio._HOMES


def test_a_star_import_gives_exactly_the_public_names():
    namespace = {}
    exec("from zaudio import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(zaudio.__all__)


def test_dir_lists_public_names_before_they_are_used():
    listed = subprocess.run(
        [sys.executable, "-c", "import zaudio; print(*dir(zaudio))"], capture_output=True, text=True, check=True
    )
    assert set(zaudio.__all__) <= set(listed.stdout.split())


PATHS = {"path", "input", "output", "keys", "key", "identity", "recipient", "key_out", "read"}


def test_paths_may_be_text_or_path_objects_in_every_public_signature():
    found = set()
    for name in zaudio.__all__:
        value = getattr(zaudio, name)
        if not callable(value) or name in {"Event", "State", "Progress", "Report"} or "Error" in name:
            continue
        hints = typing.get_type_hints(value.__init__ if isinstance(value, type) else value)
        for parameter in PATHS & set(hints):
            found.add(parameter)
            assert os.PathLike[str] in walk(hints[parameter]), (name, parameter)
            assert str in walk(hints[parameter]), (name, parameter)
    assert found == PATHS


def walk(hint):
    return {hint}.union(*map(walk, typing.get_args(hint)))


@pytest.mark.parametrize(
    ("function", "kind"), [("batch", "Batch"), ("process", "Processing"), ("render", "Rendering"), ("survey", "Survey")]
)
def test_a_function_that_runs_a_job_shows_the_arguments_of_its_class(function, kind):
    own, of_class = inspect.signature(getattr(zaudio, function)), inspect.signature(getattr(zaudio, kind))
    assert list(own.parameters.values()) == list(of_class.parameters.values())
    assert own.return_annotation in ("Array", "Iterator[RecordingReport]", "Report", "Surveyed")


def test_any_other_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'zaudio' has no attribute 'Ventilator'"):
        _ = zaudio.Ventilator
    with pytest.raises(ImportError):
        exec("from zaudio import Ventilator")


def test_the_errors_among_the_public_names_are_those_of_the_errors_module():
    named = [name for name in zaudio.__all__ if name.endswith("Error")]
    assert named
    assert all(getattr(zaudio, name) is getattr(errors, name) for name in named)


def test_every_public_name_has_a_docstring():
    for name in set(zaudio.__all__) - {"__version__"}:
        assert getattr(zaudio, name).__doc__, name


def test_what_the_documentation_imports_is_public():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py")]
    shown = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists()) + zaudio.__doc__
    lines = re.findall(r"^\s*(?:>>> )?from zaudio import ([\w, ]+)", shown, re.MULTILINE)
    named = {name.strip() for line in lines for name in line.split(",")} | set(
        re.findall(r"\bzaudio\.([A-Z]\w+)", shown)
    )
    assert "Coordinator" in named
    assert named <= set(zaudio.__all__)


# What is packaged


def test_the_version_is_the_same_everywhere():
    assert zaudio.__version__ == VERSION == metadata.version("zaudio")
    assert "version" in PROJECT["dynamic"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "zaudio.version.VERSION"}


def test_the_marker_for_type_checkers_is_packaged():
    assert "py.typed" in PYPROJECT["tool"]["setuptools"]["package-data"]["zaudio"]
    assert resources.files("zaudio").joinpath("py.typed").is_file()


def test_every_folder_of_the_package_is_a_package():
    for folder in Path(zaudio.__file__).parent.rglob("*"):
        if folder.is_dir() and folder.name != "__pycache__":
            assert (folder / "__init__.py").is_file(), folder


def pins(*files):
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("requirements", "files"),
    [
        pytest.param(PROJECT["dependencies"], ["constraints.txt"], id="runtime"),
        pytest.param(PROJECT["optional-dependencies"]["dsp"], ["constraints.txt"], id="dsp"),
        pytest.param(PROJECT["optional-dependencies"]["plot"], ["constraints.txt"], id="plot"),
        pytest.param(PYPROJECT["dependency-groups"]["dev"], ["constraints.txt"], id="dev"),
        pytest.param(PYPROJECT["dependency-groups"]["fuzz"], ["constraints.txt"], id="fuzz"),
        pytest.param(
            PYPROJECT["dependency-groups"]["bench"], ["constraints.txt", "benchmarks/constraints.txt"], id="bench"
        ),
    ],
)
def test_every_dependency_is_bounded_below_and_pinned(requirements, files):
    pinned = pins(*files)
    for requirement in requirements:
        name, least = requirement.split(">=")
        assert name in pinned
        assert tuple(map(int, least.split("."))) <= tuple(map(int, pinned[name].split(".")[: least.count(".") + 1]))


def test_what_only_developers_need_is_no_extra_of_a_user():
    assert set(PROJECT["optional-dependencies"]) == {"dask", "dsp", "plot", "ray"}
    (ray,) = PROJECT["optional-dependencies"]["ray"]
    assert ray.startswith("ray[client]"), "or ray://HOST:PORT asks for a package more"
    assert set(PYPROJECT["dependency-groups"]) == {"dev", "fuzz", "bench"}


def test_the_console_script_and_python_m_are_one_program():
    assert PROJECT["scripts"] == {"zaudio": "zaudio.cli:main"}
    done = subprocess.run([sys.executable, "-m", "zaudio", "--version"], capture_output=True, text=True, check=True)
    assert VERSION in done.stdout


# What type checkers see


@pytest.mark.extended
def test_a_misspelt_name_is_an_error_to_a_type_checker_and_the_right_ones_are_not(tmp_path):
    for name, names in (("right.py", ", ".join(zaudio.__all__)), ("wrong.py", "Coordinater")):
        (tmp_path / name).write_text(f"from zaudio import {names}\n")

    def check(name):
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(tmp_path / "cache"),
            str(tmp_path / name),
        ]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    wrong, right = check("wrong.py"), check("right.py")
    assert wrong.returncode == 1
    assert 'Module "zaudio" has no attribute "Coordinater"' in wrong.stdout
    assert right.returncode == 0, right.stdout


# What is made stays out of git, and goes with `make clean`


SECRETS = [
    "out/result.raw",
    "encryption_key.bin",
    "a/encryption_key.bin.part",
    "farm-keys/coordinator.secret",
    "a/result.raw",
    "zaudio-keys/worker.secret",
    "me.identity",
    "a.key",
    "decrypted.raw",
    ".venv-bench/bin/python",
    "result.journal",
]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_results_and_keys_are_not_committed_by_accident():
    done = subprocess.run(["git", "check-ignore", *SECRETS], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == SECRETS


def test_clean_removes_what_the_targets_made_and_nothing_else(tmp_path):
    made = [".venv/x", ".venv-bench/x", ".venv-fuzz/x", "benchmarks/results/x", "generated_data/test.raw"]
    made += [f"out/{name}" for name in ("result.raw", "encryption_key.bin", "encryption_iv.bin.part", "result.journal")]
    kept = ["generated_data/mine.raw", "benchmarks/method.py", "other/result.raw"]
    for name in made + kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    command = ["make", "-s", "-f", str(ROOT / "Makefile"), "clean", "OUT=out"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not (tmp_path / "out").exists()
