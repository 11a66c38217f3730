"""The floors that zaudio/result/__init__.py draws, kept true."""

import pytest
from test_architecture import SOURCES, imports

ROOM = "zaudio.result."
FLOORS = [
    {"primitives", "publication", "pipeline", "keyfile", "notes"},
    {"description", "keystore", "spool", "fileset"},
    {"journal", "plaintext"},
    {"earlier", "reader", "glance"},
    {"folder", "decryption", "sealed"},
    {"opening"},
    {"small", "writer"},
    {"__init__"},
]
MODULES = {module.removeprefix(ROOM): source for module, source in SOURCES.items() if module.startswith(ROOM)}


def floor_of(module):
    return next(floor for floor, modules in enumerate(FLOORS) if module in modules)


def test_every_module_is_on_one_floor():
    assert sorted(module for floor in FLOORS for module in floor) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_lower_floors_only(module):
    below = {name for floor in FLOORS[: floor_of(module)] for name in floor}
    targets = {
        name.removeprefix(ROOM).partition(".")[0]
        for name in imports(MODULES[module], ROOM + module)
        if name.startswith(ROOM)
    }
    assert targets & set(MODULES) <= below


def test_the_drawing_names_every_module():
    drawing = MODULES["__init__"].partition("reads\n")[2].partition("\n\n")[0]
    drawn = []
    for first, *more in map(str.split, drawing.splitlines()):
        if first.isdecimal():
            drawn.insert(0, set())
            first = more[0]
        drawn[0].add(first)
    assert drawn == FLOORS[:-1]
