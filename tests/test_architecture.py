"""Who may import whom, read from the sources: the drawing of docs/architecture.md, kept true.

An import points down or right in it, never back; audio, ops and result do not know each other. Below all rooms are the
modules named in `BASE`. Imports inside functions and for type checkers only count like any other: a type that a room
may not name is a type it should not know.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

import zaudio

PACKAGE = Path(zaudio.__file__).parent
# Rooms whose modules have a row each: they stand on floors above one another.
FLOORS = {"job", "watching"}
ROOMS = {
    "cli",
    "batching",
    "coordinator",
    "rendering",
    "unsealing",
    "job.outputs",
    "job.fileoutput",
    "job.life",
    "surveying",
    "processing",
    "awaiting",
    "opened",
    "job.staffing",
    "job.preparation",
    "job.ready",
    "job.stages",
    "job.cutting",
    "job.classes",
    "job.inputs",
    "job.request",
    "launching",
    "net",
    "core",
    "wire",
    "audio",
    "ops",
    "result",
    "web",
}
BASE = {
    "plan",
    "steps",
    "timing",
    "errors",
    "formats",
    "sizes",
    "signal",
    "endpoints",
    "settings",
    "reference",
    "reverse",
    "records",
    "disk",
    "version",
    "machine",
    "program",
    "events",
    "watching.ledger",
    "watching.limiting",
    "watching.metering",
    "watching.lines",
    "watching.lives",
    "watching.thinning",
    "watching.eventlog",
    "watching.summary",
    "facts",
    "fold",
    "into",
    "lot",
    "needed",
    "packing",
    "watching.stream",
}

# Room -> the rooms it may import, besides itself. A missing pair is forbidden.
ALLOWED = {
    "cli": {
        "batching",
        "coordinator",
        "launching",
        "rendering",
        "unsealing",
        "surveying",
        "net",
        "audio",
        "ops",
        "result",
        "web",
        *BASE,
    },
    "batching": {
        "job.classes",
        "job.fileoutput",
        "job.outputs",
        "job.life",
        "job.preparation",
        "job.ready",
        "job.stages",
        "job.cutting",
        "job.request",
        "net",
        "core",
        "audio",
        "ops",
        "result",
        *BASE,
    },
    "surveying": {
        "job.classes",
        "job.life",
        "job.preparation",
        "job.stages",
        "job.cutting",
        "job.request",
        "net",
        "ops",
        *BASE,
    },
    "rendering": {"coordinator", "job.life", "job.request", "ops", *BASE},
    "unsealing": {"job.inputs", "audio", "result", *BASE},
    "job.outputs": {
        "job.fileoutput",
        "job.inputs",
        "job.stages",
        "job.request",
        "net",
        "audio",
        "ops",
        "result",
        *BASE,
    },
    "job.fileoutput": {"audio", "result", *BASE},
    "processing": {
        "job.classes",
        "job.life",
        "job.preparation",
        "job.stages",
        "job.cutting",
        "job.request",
        "net",
        "audio",
        "ops",
        *BASE,
    },
    "opened": {"unsealing", "audio", "job.inputs", "result", *BASE},
    "awaiting": {"coordinator", "job.life", "errors", "facts"},
    "coordinator": {"job.life", "job.preparation", "job.ready", "job.stages", "job.request", "net", "ops", *BASE},
    "job.life": {"launching", "job.staffing", "job.ready", "job.stages", "job.request", "net", *BASE},
    "job.staffing": {"launching", "job.stages", "job.request", "net", *BASE},
    "launching": {"net", "ops", *BASE},
    "job.preparation": {
        "job.classes",
        "job.inputs",
        "job.ready",
        "job.outputs",
        "job.stages",
        "job.cutting",
        "job.request",
        "audio",
        "ops",
        "result",
        *BASE,
    },
    "job.ready": {"job.outputs", "job.stages", "job.cutting", "job.request", "net", "ops", "result", *BASE},
    "job.inputs": {"audio", "result", "errors", "settings"},
    "job.classes": {"core", "errors", "signal", "steps"},
    "job.stages": {"job.cutting", "job.classes", "job.request", "net", "core", "audio", "ops", *BASE},
    "job.cutting": {"job.request", "ops", *BASE},
    "job.request": {"launching", "ops", "result", *BASE},
    "net": {"core", "wire", "audio", "ops", *BASE},
    "core": {
        "wire",
        "plan",
        "lot",
        "signal",
        "steps",
        "timing",
        "errors",
        "formats",
        "sizes",
        "reference",
        "events",
        "version",
    },
    "wire": {"plan", "steps", "timing", "errors", "formats", "sizes", "reference", "version"},
    "ops": {"plan", "program", "steps", "timing", "errors", "formats", "signal", "sizes", "version"},
    "result": {
        "plan",
        "steps",
        "timing",
        "errors",
        "formats",
        "signal",
        "disk",
        "packing",
        "program",
        "records",
        "reference",
        "reverse",
        "version",
    },
    "audio": {
        "plan",
        "steps",
        "timing",
        "errors",
        "formats",
        "packing",
        "signal",
        "reference",
        "records",
        "disk",
        "settings",
        "version",
    },
    "web": {"errors", "events", "facts", "machine", "watching.limiting", "watching.metering"},
    **{room: {"errors"} for room in BASE},
    "packing": {"formats", "steps"},
    "reverse": {"plan"},
    "signal": {"formats"},
    "disk": {"errors", "steps"},
    "settings": {"endpoints", "errors", "formats", "sizes", "timing"},
    "watching.ledger": {"errors", "events", "facts"},
    "watching.limiting": {"watching.metering"},
    "watching.metering": {"endpoints", "events"},
    "watching.lines": {"events"},
    "watching.thinning": {"events"},
    "watching.summary": {"events", "watching.limiting", "watching.metering", "watching.lines", "watching.lives"},
    "watching.eventlog": {"disk", "errors", "events", "watching.lines", "watching.stream", "watching.thinning"},
    "facts": {"events"},
    "into": {"errors", "plan", "signal", "steps"},
    "fold": {"errors", "into", "signal"},
    "lot": {"errors", "plan"},
    "watching.stream": {"events", "watching.ledger"},
    "job.__init__": set(),
    "watching.__init__": set(),
    "__main__": {"cli"},
    "__init__": {
        "batching",
        "coordinator",
        "rendering",
        "unsealing",
        "surveying",
        "processing",
        "awaiting",
        "opened",
        "formats",
        "net",
        "audio",
        "ops",
        "result",
        "errors",
        "watching.eventlog",
        "events",
        "facts",
        "settings",
        "signal",
        "timing",
        "version",
    },
}

# Rooms that decide: no sockets, clock, threads, files, chance or logging.
PURE = {"core", "wire", *BASE - {"disk", "watching.eventlog", "machine", "program", "watching.stream"}}
EFFECTS = {"zmq", "time", "threading", "socket", "asyncio", "logging", "os", "random", "subprocess"}
EFFECTS |= {"multiprocessing", "concurrent", "select", "selectors", "signal", "secrets", "tempfile", "pathlib", "io"}

# Module -> the rooms that own it.
OWNED = {
    "soundfile": {"audio"},
    "cryptography": {"result"},
    "zmq": {"net"},
    "rich": {"cli"},
    "click": {"cli"},
    "msgpack": {"wire"},
    "scipy": {"ops"},
    "matplotlib": {"cli"},
    "distributed": {"launching"},
    "ray": {"launching"},
}

# Importing by a name made at run time, which nobody could check: these two modules, and why.
DYNAMIC = {
    "zaudio.__init__": "looks public names up when they are first used; tests/test_package.py knows them",
    "zaudio.ops.functions": "imports the modules that a worker allows, when it starts",
}


@functools.cache
def imports(source, module):
    """The full names of the modules that a source imports, wherever in it. `module` is its own full name."""
    return tuple(found_imports(source, module))


def found_imports(source, module):
    is_package = module.endswith(".__init__")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                home = module.removesuffix(".__init__").split(".")
                above = home[: len(home) - node.level + is_package]
                base = ".".join([*above, *([base] if base else [])])
            # `from zaudio import errors` imports zaudio.errors; what is not a module does no harm here.
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def is_dynamic(source):
    """Whether a source imports modules by a name made at run time."""
    called = {"import_module", "__import__"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (getattr(node.func, "id", "") or getattr(node.func, "attr", "")) in called:
            return True
    return False


def room_of(module):
    """The room of a full name in the package: its second part, and its third where a room has floors."""
    parts = module.split(".")
    return ".".join(parts[1:3]) if parts[1] in FLOORS else parts[1]


def breaches(source, module):
    """What a source does against the rules, a sentence each."""
    room = room_of(module)
    if room not in ALLOWED:
        yield f"{module}: {room} is in no row of the rules; say who it may import"
        return
    if is_dynamic(source) and module not in DYNAMIC:
        yield f"{module} imports by a name made at run time"
    for name in imports(source, module):
        top = name.partition(".")[0]
        if top in OWNED and room not in OWNED[top]:
            yield f"{module} imports {name}, which is for {' and '.join(sorted(OWNED[top]))} only"
        if top in EFFECTS and room in PURE and name != "os.PathLike":  # a type
            yield f"{module} imports {name}, and decides only"
        if top == "zaudio" and name != "zaudio":
            target = room_of(name)
            if target in ALLOWED and target not in ALLOWED[room] | {room}:
                yield f"{module} imports {name}, and {room} may not know {target}"
        if name == "zaudio" and room not in ("cli", "__main__"):
            yield f"{module} imports zaudio, which is what it is a part of"


def sources():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(("zaudio", *path.relative_to(PACKAGE).with_suffix("").parts)), path.read_text(encoding="utf-8")


SOURCES = dict(sources())


def test_every_module_imports_only_what_it_may():
    assert [breach for module, source in SOURCES.items() for breach in breaches(source, module)] == []


def test_every_room_and_every_base_module_is_there():
    others = {"__init__", "__main__", *(f"{room}.__init__" for room in FLOORS)}
    assert {room_of(module) for module in SOURCES} == ROOMS | BASE | others
    assert set(ALLOWED) == ROOMS | BASE | others


def test_what_the_rules_allow_has_no_circle():
    def reach(room, seen=()):
        assert room not in seen, f"{' -> '.join((*seen, room))} is a circle"
        for target in ALLOWED[room] - {room}:
            reach(target, (*seen, room))

    for room in ALLOWED:
        reach(room)


def home_of(name):
    """The module that an imported name comes from; empty for the face of a room, which only hands names on."""
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: set(map(home_of, imports(source, module))) - {module} for module, source in SOURCES.items()}
    while free := {module for module, targets in graph.items() if not targets & graph.keys()}:
        graph = {module: targets for module, targets in graph.items() if module not in free}
    assert set(graph) == set(), "these import each other, or one that does"


def test_what_the_rules_allow_points_down_or_right_in_the_drawing_of_the_tour():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.partition("    cli ── web")[1] + page.partition("    cli ── web")[2].partition("    below all")[0]
    rows = [re.findall(r"[a-z.]+", line.partition("#")[0]) for line in drawing.splitlines()]
    places = {room: (row, column) for row, rooms in enumerate(rows) for column, room in enumerate(rooms)}
    assert set(places) == ROOMS
    for room in ROOMS:
        assert [target for target in (ALLOWED[room] & ROOMS) - {room} if places[target] < places[room]] == [], room


def test_every_owned_module_is_still_imported_by_an_owner():
    used = {
        (name.partition(".")[0], room_of(module))
        for module, source in SOURCES.items()
        for name in imports(source, module)
    }
    for name, rooms in OWNED.items():
        assert any((name, room) in used for room in rooms), name


def test_every_exception_to_the_rules_is_still_needed():
    assert {module for module, source in SOURCES.items() if is_dynamic(source)} == set(DYNAMIC)


# The test of the test

BREACHES = [
    ("zaudio.core.new", "import time", "decides only"),
    ("zaudio.core.new", "from time import monotonic", "decides only"),
    ("zaudio.core.new", "import os.path as p", "decides only"),
    ("zaudio.wire.new", "import a, logging", "decides only"),
    ("zaudio.plan", "def f():\n    import random", "decides only"),
    ("zaudio.core.new", "import zmq", "net only"),
    ("zaudio.job.stages", "from zaudio.job.life import Life", "may not know job.life"),
    ("zaudio.watching.ledger", "from zaudio.watching import stream", "may not know watching.stream"),
    ("zaudio.core.new", "from zaudio.net.worker import Worker", "may not know net"),
    ("zaudio.core.new", "import zaudio.net", "may not know net"),
    ("zaudio.core.new", "from zaudio import net", "may not know net"),
    ("zaudio.core.new", "from .. import net", "may not know net"),
    ("zaudio.core.new", "from ..net import worker", "may not know net"),
    ("zaudio.core.__init__", "from ..net import worker", "may not know net"),
    (
        "zaudio.core.new",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zaudio.ops import Op",
        "may not know ops",
    ),
    ("zaudio.wire.new", "from zaudio.core import session", "may not know core"),
    ("zaudio.net.new", "from zaudio.coordinator import Coordinator", "may not know coordinator"),
    ("zaudio.net.new", "from zaudio.result import ResultFolder", "may not know result"),
    ("zaudio.core.new", "from zaudio.audio.files import InputFile", "may not know audio"),
    ("zaudio.ops.new", "from zaudio.reference import Reference", "may not know reference"),
    ("zaudio.reference", "import os", "decides only"),
    ("zaudio.coordinator", "from zaudio.cli import main", "may not know cli"),
    ("zaudio.audio.new", "from zaudio.ops import Op", "may not know ops"),
    ("zaudio.ops.new", "from zaudio.result import verify", "may not know result"),
    ("zaudio.result.new", "from zaudio.audio import raw", "may not know audio"),
    ("zaudio.result.new", "from zaudio.wire import codec", "may not know wire"),
    ("zaudio.errors", "from zaudio.plan import Plan", "may not know plan"),
    ("zaudio.net.new", "try:\n    import soundfile\nexcept ImportError:\n    pass", "audio only"),
    ("zaudio.net.new", "from cryptography.hazmat.primitives import hashes", "result only"),
    ("zaudio.net.new", "import msgpack", "wire only"),
    ("zaudio.core.new", "def f():\n    from scipy.signal import sosfilt", "ops only"),
    ("zaudio.coordinator", "import rich.console", "cli only"),
    ("zaudio.result.new", "class C:\n    import click", "cli only"),
    ("zaudio.audio.new", "import zmq.asyncio", "net only"),
    ("zaudio.net.new", "import zaudio", "a part of"),
    ("zaudio.net.new", "import importlib\nimportlib.import_module('zaudio.' + x)", "made at run time"),
    ("zaudio.net.new", "__import__('soundfile')", "made at run time"),
    ("zaudio.attic.new", "", "in no row"),
]


@pytest.mark.parametrize(("module", "source", "sentence"), BREACHES)
def test_a_breach_is_found(module, source, sentence):
    found = list(breaches(source, module))
    assert len(found) >= 1
    assert any(sentence in breach for breach in found)


INNOCENT = [
    (
        "zaudio.core.new",
        "import math\nfrom zaudio.wire.messages import Hello\nfrom zaudio.core import leases\nfrom . import roster",
    ),
    ("zaudio.core.__init__", "from .leases import Lease"),
    (
        "zaudio.net.new",
        "import os, time, threading, zmq\nfrom zaudio.ops.chain import Chain\nfrom zaudio.core.session import Session",
    ),
    ("zaudio.cli.new", "import click, rich\nimport zaudio\nfrom zaudio import Coordinator, verify"),
    ("zaudio.ops.new", "import numpy\nfrom zaudio.formats import sample_format"),
    ("zaudio.core.new", "'import time'  # import time"),
]


@pytest.mark.parametrize(("module", "source"), INNOCENT)
def test_what_is_allowed_is_no_breach(module, source):
    assert list(breaches(source, module)) == []


# Sizes

LINES = 400  # of a module
SCREEN = 60  # lines of a function with its docstring: it is seen as a whole
ATTRIBUTES = 25  # of a class
PARAMETERS = 14  # of a signature, without self


def attributes(class_):
    """The names that a class's methods assign to on self, and the fields that it declares."""
    names = {
        target.attr
        for node in ast.walk(class_)
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        for target in (target.elts if isinstance(target, ast.Tuple) else [target])
        if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
    }
    return names | {node.target.id for node in class_.body if isinstance(node, ast.AnnAssign)}


def parameters(function):
    """The names of a function's parameters, without self and cls."""
    every = function.args
    given = [*every.posonlyargs, *every.args, *every.kwonlyargs, *filter(None, (every.vararg, every.kwarg))]
    return [each.arg for each in given if each.arg not in ("self", "cls")]


def too_large(source, module):
    """What of a source is larger than it may be, a sentence each."""
    if (lines := source.count("\n")) > LINES:
        yield f"{module} has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and (count := len(attributes(node))) > ATTRIBUTES:
            yield f"{module}: {node.name} has {count} attributes"
        if isinstance(node, ast.FunctionDef) and (count := len(parameters(node))) > PARAMETERS:
            yield f"{module}: {node.name} has {count} parameters"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (count := lines_of(node)) > SCREEN:
            yield f"{module}: {node.name} has {count} lines"


def lines_of(function):
    return function.end_lineno - function.lineno + 1


def test_nothing_is_too_large_to_be_read():
    assert [sentence for module, source in SOURCES.items() for sentence in too_large(source, module)] == []


TOO_LARGE = [
    ("\n" * 401, "401 lines"),
    ("class C:\n    def f(self):\n" + "".join(f"        self.a{n} = 1\n" for n in range(26)), "C has 26 attributes"),
    (
        "class C:\n    def f(self):\n        " + ", ".join(f"self.a{n}" for n in range(26)) + " = x",
        "C has 26 attributes",
    ),
    ("class C:\n" + "".join(f"    a{n}: int\n" for n in range(26)), "C has 26 attributes"),
    ("def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
    ("def f(" + ", ".join(f"a{n}" for n in range(15)) + "): ...", "f has 15 parameters"),
    ("class C:\n    def g(self, *, " + ", ".join(f"a{n}=1" for n in range(15)) + "): ...", "g has 15 parameters"),
]


@pytest.mark.parametrize(("source", "sentence"), TOO_LARGE)
def test_what_is_too_large_is_found(source, sentence):
    (found,) = too_large(source, "zaudio.new")
    assert found.endswith(sentence)


def test_what_is_just_small_enough_is_none():
    source = "class C:\n    def f(self, " + ", ".join(f"a{n}" for n in range(14)) + "):\n"
    source += "".join(f"        self.a{n} = 1\n" for n in range(25)) + "\n" * 310
    source += "def g():\n" + "    x = 1\n" * 59
    assert list(too_large(source, "zaudio.new")) == []


# The drawings of rooms, the Desk, and the walk


@pytest.mark.parametrize("room", ["zaudio.batching.", "zaudio.job.", "zaudio.watching."])
def test_modules_of_a_room_import_from_those_drawn_below_them(room):
    drawing = ast.get_docstring(ast.parse(SOURCES[f"{room}__init__"])).split("\n\n")[1]
    drawn = [name for row in drawing.splitlines() for name in re.match(r" *(\w+(?:, \w+)*)", row)[1].split(", ")]
    assert sorted([*drawn, "__init__"]) == sorted(name.removeprefix(room) for name in SOURCES if name.startswith(room))
    for place, name in enumerate(drawn):
        source = SOURCES[room + name]
        own = {each.split(".")[2] for each in imports(source, room + name) if each.startswith(room)}
        assert own <= set(drawn[place + 1 :]), name


@pytest.mark.parametrize("brain", ["Dispatcher", "Assembler"])
def test_the_desk_alone_makes_the_brains_inside(brain):
    callers = {
        module
        for module, source in SOURCES.items()
        if brain in source
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == brain
    }
    assert callers == {"zaudio.core.desk"}


def test_every_call_of_the_walk_is_where_the_page_says():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    walk = page.partition("## One chunk's walk")[2].partition("In more words")[0]
    calls = [row.split("`")[1:4:2] for row in walk.splitlines() if row.startswith("| `")]
    assert 5 <= len(calls) <= 10
    for call, file in calls:
        *class_, name = call.split(".")
        tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
        home = next((node for node in tree.body if [getattr(node, "name", "")] == class_), tree)
        assert name in {getattr(node, "name", "") for node in home.body}, f"{call} is not in {file}"


def test_the_tour_names_every_module_of_the_rooms_that_it_shows_one_by_one():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {name.removesuffix(".py").rpartition("/")[2] for name in re.findall(r"`([\w/]+(?:\.py)?)`", page)}
    shown = {module for module in SOURCES if module.count(".") == 1 or room_of(module) in ("core", "launching", "net")}
    assert {module for module in shown if module.rpartition(".")[2] not in named | {"__init__", "__main__"}} == set()


# Clocks

WALL = {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"}  # of the module time

# Modules that may look at the wall clock, and what for. Nothing is decided by it: it may be moved at any instant.
TELLS_THE_TIME = {
    "zaudio.cli.status": "says for how long a file was not written, whose time is that of the day",
    "zaudio.watching.eventlog": "says how far the wall clock is ahead, when it writes lines",
    "zaudio.watching.lines": "writes that time into a line, and reads it",
    "zaudio.watching.lives": "has the type of it, in its facts",
}


def reads_wall_clock(source):
    """Whether a source asks for the time of the day."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WALL and getattr(node.value, "id", "") == "time":
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "time" and WALL & {alias.name for alias in node.names}:
            return True
        if isinstance(node, ast.Import | ast.ImportFrom) and "datetime" in (
            getattr(node, "module", ""),
            *(alias.name for alias in node.names),
        ):
            return True
    return False


@pytest.mark.covers(
    "the wall clock moved by an hour, forward and back, under coordinator, local worker and worker elsewhere "
    "(a preloaded library; the machine's own clock is left alone)",
    by="no module asks for it:",
)
def test_nothing_is_decided_by_the_wall_clock():
    assert {module for module, source in SOURCES.items() if reads_wall_clock(source)} == set(TELLS_THE_TIME)


@pytest.mark.parametrize(
    ("source", "wall"),
    [
        ("import time\ntime.time()", True),
        ("from time import time as now", True),
        ("import datetime", True),
        ("from datetime import datetime", True),
        ("import time\ntime.monotonic()", False),
        ("self.time()", False),
    ],
)
def test_a_look_at_the_wall_clock_is_found(source, wall):
    assert reads_wall_clock(source) == wall
