import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import zaudio
from zaudio import events
from zaudio.events import Joined, State
from zaudio.watching.lines import BASE, KINDS, LINE_MAX, VERSION, NewerError, line, privacy, read, schema

SCHEMA = Path(zaudio.__file__).with_name("events.schema.json")
PAGE = Path(__file__).parents[1] / "docs/events.md"
VALUES = {
    "int": 3,
    "float": 0.25,
    "str": "ä\n\ud800",
    "bool": True,
    "State": State.RUNNING,
    "tuple[str, ...]": ("one", "two"),
    "Mapping[str, str]": {"result": "out/result.raw"},
    "Mapping[str, tuple[int, float]]": {"a": (3, 0.5)},
}


def make(name):
    """An event of that kind, with something in every field."""
    kind = KINDS[name]
    own = {each.name: VALUES[each.type] for each in dataclasses.fields(kind)}
    return kind(**{**own, "at": 12.5, "job": "ab12"})


def written(name, **options):
    return line(make(name), **{"offset": 1000.0, "incarnation": 3, **options})


@pytest.mark.parametrize("name", KINDS)
def test_a_line_of_every_kind_is_one_line_and_comes_back_as_the_event(name):
    text = written(name)
    assert "\n" not in text
    record = read(text)
    assert record.event == make(name)
    assert (record.kind, record.incarnation) == (name, 3)
    assert record.wall == datetime.fromtimestamp(1012.5, UTC)


@pytest.mark.parametrize("name", KINDS)
def test_a_line_of_every_kind_keeps_the_schema_and_has_no_key_that_is_not_in_it(name):
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json.loads(SCHEMA.read_text()))
    found = json.loads(written(name))
    validator.validate(found)
    own = next(each for each in schema()["oneOf"] if each["title"] == name)
    assert found.keys() == {*BASE, *own["properties"]}
    for key in found:
        fault = {**found, key: None}
        assert not validator.is_valid(fault), f"{key} may be null"
        del fault[key]
        assert not validator.is_valid(fault), f"{key} may be missing"


def test_the_schema_in_the_package_is_that_of_the_events():
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(schema())), (
        "write it again: zaudio log --schema > zaudio/events.schema.json"
    )
    pytest.importorskip("jsonschema").Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", KINDS)
def test_the_page_names_every_kind_with_every_key(name):
    section = PAGE.read_text().partition(f"\n### {name}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    own = next(each for each in schema()["oneOf"] if each["title"] == name)
    missing = [key for key in own["properties"] if key != "kind" and f"`{key}`" not in section]
    assert section
    assert missing == []


def test_a_line_has_its_keys_in_a_fixed_order():
    assert line(Joined(at=2.0, job="ab", worker="a"), offset=0.5, incarnation=1) == (
        '{"v":1,"time":"1970-01-01T00:00:02.500000Z","at":2.0,"job":"ab","incarnation":1,"stage":"main",'
        '"kind":"joined","worker":"a","session":"","host":""}'
    )


# Reading


def changed(**keys):
    found = json.loads(written("joined"))
    return json.dumps({key: value for key, value in {**found, **keys}.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        (written("joined")[:-7], "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "no JSON object with a version"),
        (changed(v=True), "no JSON object with a version"),
        (changed(kind=...), "no kind"),
        (changed(incarnation="1"), "no incarnation"),
        (changed(time="yesterday"), "its time is 'yesterday'"),
        (changed(time="2026-01-01T00:00:00"), "no zone"),
        (changed(at="now"), "at is 'now'"),
        *(
            (changed(at=...)[:-1] + f',"at":{number}}}', "at is ")
            for number in ("NaN", "-Infinity", "1e400", "9" * 400)
        ),
        (changed(worker=...), "worker is missing"),
        (changed(worker=7), "worker is 7"),
        (" " * (LINE_MAX + 1), "characters"),
    ],
)
def test_a_line_that_is_none_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        read(text)


def test_a_line_of_a_newer_version_says_so():
    with pytest.raises(NewerError, match="version 2"):
        read(changed(v=VERSION + 1, kind=...))


def test_keys_and_kinds_that_are_not_known_are_left_out():
    assert read(changed(mood="good")).event == make("joined")
    record = read(changed(kind="sung"))
    assert (record.event, record.kind) == (None, "sung")


def test_a_key_that_came_later_has_its_default():
    assert read(changed(session=...)).event.session == ""


@pytest.mark.parametrize("name", ["state_changed", "started", "published", "sampled", "granted"])
def test_values_of_a_wrong_type_are_refused(name):
    found = json.loads(written(name))
    own = [key for key in found if key not in BASE]
    assert own
    for key in own:
        for wrong in (None, {"a": 1, "b": [1]}, [1]):
            with pytest.raises(ValueError, match=f"{key} is"):
                read(json.dumps({**found, key: wrong}))


# What is nobody's business


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("no such file: '/home/bob/secret/a.wav'", "no such file: '…/a.wav'"),
        ("/home/bob/x.py:3: it broke", "…/x.py:3: it broke"),
        ("(/etc/x)", "(…/x)"),
        ("cannot reach tcp://10.0.0.1:5555", "cannot reach tcp://10.0.0.1:5555"),
        ("1/2 of it, and/or more", "1/2 of it, and/or more"),
        ("/data/out/result.raw.part: no space left on device", "/data/out/result.raw.part: no space left on device"),
        ("/data/outside/x: gone", "…/x: gone"),
        ("out/result.raw: gone", "out/result.raw: gone"),
        ("no path at all", "no path at all"),
    ],
)
def test_folders_that_the_user_did_not_name_are_taken_out_of_sentences(sentence, told):
    assert privacy(["/data/out/", "take.wav", "/"])(sentence) == told


@pytest.mark.parametrize(
    "name", [name for name in KINDS if name in ("lost", "requeued", "rejected", "failed", "dropped", "refused")]
)
def test_sentences_of_workers_and_errors_are_made_private(name):
    text = written(name, private=lambda sentence: "private")
    key = "sentence" if name == "failed" else "reason"
    assert json.loads(text)[key] == "private"


def test_kinds_are_the_classes_of_the_events():
    assert list(KINDS)[:3] == ["started", "reading", "state_changed"]
    assert KINDS["missed"] is events.Missed
