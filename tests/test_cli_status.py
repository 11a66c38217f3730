import json
import stat

import pytest
from click.testing import CliRunner
from result_support import write_pattern

import zaudio.web.client
from zaudio.batching.manifest import Entry, Manifest
from zaudio.cli.app import app
from zaudio.cli.web import _remove_address, _write_address
from zaudio.errors import ZaudioError
from zaudio.events import Stuck
from zaudio.result import ADDRESS
from zaudio.watching.lines import line

LINE = line(Stuck(at=1.0, job="ab", worker="a", chunk=1), offset=0.0, incarnation=1, private=str)
PAGE = {
    "title": "take.wav",
    "final": False,
    "limit": {"words": "too few workers", "sentence": "the op limited it"},
    "counts": {"waiting": 50, "granted": 0, "sealed": 50},
    "staff": {"busy": 1, "idle": 0, "lost": 1},
    "more": 3,
    "workers": [
        {"name": "a", "host": "nas", "state": "busy", "slow": True, "chunks": 5, "rate": 1.5, "sign": 0.2, "end": ""},
        {
            "name": "b\x1b[2J",
            "host": "",
            "state": "lost",
            "slow": False,
            "chunks": 1,
            "rate": 0,
            "sign": 9,
            "end": "no sign of life",
        },
    ],
    "jobs": [],
    "jobs_counts": {},
    "news": [[1, 61.0, "!", "b is gone", 1]],
    "report": [],
    "progress": {
        "state": "running",
        "stage": "main",
        "chunks": 100,
        "done": 50,
        "unit": "chunks",
        "fraction": 0.5,
        "bytes_per_second": 2e6,
        "eta": 65.0,
    },
}


@pytest.fixture
def page(monkeypatch):
    asked = []

    def fetch(url):
        asked.append(url)
        return PAGE

    monkeypatch.setattr(zaudio.web.client, "fetch", fetch)
    return asked


def run(*arguments):
    done = CliRunner().invoke(app, ["status", *arguments])
    return done.exit_code, done.output


def test_an_address_is_asked_for_its_snapshot(page):
    code, text = run("http://127.0.0.1:80/#token")
    assert (code, page) == (0, ["http://127.0.0.1:80/#token"])
    assert "take.wav: running" in text
    assert "50%  50/100 chunks  2.0 MB/s  ETA 1:05" in text
    assert "too few workers: the op limited it" in text
    assert "on nas" in text
    assert "busy, slow" in text
    assert "and 3 more" in text
    assert "1:01 ! b is gone" in text


def test_a_hostile_name_moves_no_cursor(page):
    assert "\x1b" not in run("http://127.0.0.1:80/#token")[1]


def test_json_has_the_whole_snapshot(page):
    assert json.loads(run("http://127.0.0.1:80/#token", "--json")[1]) == {"source": "page", **PAGE}


def test_a_folder_leads_to_its_page(page, tmp_path):
    _write_address(str(tmp_path), "http://127.0.0.1:80/", "token")
    assert "take.wav: running" in run(str(tmp_path))[1]
    assert page == ["http://127.0.0.1:80/#token"]


def test_the_output_of_a_render_leads_to_its_page(page, tmp_path):
    out = tmp_path / "louder.wav"
    (tmp_path / "louder.wav.part").touch()
    _write_address(str(out), "http://127.0.0.1:80/", "token")
    assert stat.S_IMODE((tmp_path / "louder.wav.part.web").stat().st_mode) == 0o600
    assert "take.wav: running" in run(str(out))[1]
    assert page == ["http://127.0.0.1:80/#token"]


def test_the_part_of_a_render_is_no_whole_file(tmp_path):
    part = tmp_path / "louder.wav.part"
    part.write_bytes(b"x" * 10)
    assert run(str(part))[1].startswith("interrupted: no render is alive")
    part.unlink()
    (tmp_path / "louder.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    assert run(str(tmp_path / "louder.wav"))[1].startswith("done: no render writes to this file")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.txt", "some words", "no output of a job; expected the folder of one or of a batch, a render's file"),
        ("notes.zip.part", "a download", "notes.zip: no output of a job"),
        ("notes.wav", "some words", "no output of a job"),
        ("empty", "", "no output of a job"),
        ("events.jsonl", LINE, "events.jsonl` sums it up"),
    ],
)
def test_a_file_of_another_kind_is_told_with_what_was_expected(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    code, text = run(str(tmp_path / name))
    assert (code, sentence in text) == (2, True), text


def test_a_file_of_a_result_leads_to_its_folder(tmp_path):
    write_pattern(tmp_path)
    assert run(str(tmp_path / "result.raw")) == run(str(tmp_path))
    assert run(str(tmp_path))[1].startswith("done: the result is published")


def test_a_folder_whose_page_is_gone_is_looked_at(monkeypatch, tmp_path):
    def fetch(url):
        raise ZaudioError("nobody answers")

    monkeypatch.setattr(zaudio.web.client, "fetch", fetch)
    _write_address(str(tmp_path), "http://127.0.0.1:80/", "token")
    assert "no job" in run(str(tmp_path))[1]
    assert json.loads(run(str(tmp_path), "--json")[1])["source"] == "files"


def test_no_folder_and_no_address_are_usage_errors(tmp_path):
    assert run(str(tmp_path / "nowhere"))[0] == 2
    assert run("http://127.0.0.1:80/")[0] == 2


def test_the_address_is_private_and_goes_away_with_its_own_page_only(tmp_path):
    _write_address(str(tmp_path), "http://127.0.0.1:80/", "token")
    assert stat.S_IMODE((tmp_path / ADDRESS).stat().st_mode) == 0o600
    _remove_address(str(tmp_path), "http://127.0.0.1:81/")
    assert (tmp_path / ADDRESS).exists()
    _remove_address(str(tmp_path), "http://127.0.0.1:80/")
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_leaves_nothing_leaves_no_folder_either_when_it_had_a_page(tmp_path):
    (tmp_path / "take.raw").write_bytes(bytes(400))
    wait = ["--worker-timeout", "0.1", "--web", "0", "--web-linger", "0"]
    done = CliRunner().invoke(
        app,
        ["coordinator", str(tmp_path / "take.raw"), "-o", str(tmp_path / "out"), "--bind", "tcp://127.0.0.1:0", *wait],
    )
    assert (done.exit_code, "see it at" in done.output) == (69, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["farm", "coordinator"])
@pytest.mark.parametrize("text", ["x", "1:2:x", "99999"])
def test_a_wrong_address_is_refused_before_the_job(tmp_path, command, text):
    (tmp_path / "take.raw").write_bytes(bytes(400))
    bind = ["--bind", "tcp://127.0.0.1:0"] if command == "coordinator" else []
    done = CliRunner().invoke(
        app, [command, str(tmp_path / "take.raw"), "-o", str(tmp_path / "out"), *bind, "--web", text]
    )
    assert done.exit_code == 2
    assert "expected PORT or HOST:PORT" in done.output
    assert not (tmp_path / "out").exists()


def test_a_batch_tells_its_recordings(page, monkeypatch):
    rows = [
        ["b.wav", "running", 0.5, ""],
        ["bad\x1b.wav", "failed", 0.0, "it is no WAV"],
        ["c.wav", "waiting", 0.0, ""],
    ]
    batch = {"jobs": rows, "jobs_counts": {"running": 1, "failed": 1, "waiting": 98}}
    progress = {**PAGE["progress"], "unit": "recordings"}
    monkeypatch.setattr(zaudio.web.client, "fetch", lambda url: {**PAGE, **batch, "progress": progress})
    _, text = run("http://127.0.0.1:80/#token")
    assert "50/100 recordings" in text
    assert "recordings: 1 running, 1 failed, 98 waiting" in text
    assert r"  bad\x1b.wav  failed  it is no WAV" in text
    assert text.index("bad") < text.index("b.wav  running"), "those that failed come first"
    assert "c.wav" not in text


def test_the_folder_of_a_batch_is_looked_at_while_it_runs_and_afterwards(tmp_path):
    with Manifest(str(tmp_path)) as manifest:
        for entry in (Entry("/a.wav", "a", "failed"), Entry("/a.wav", "a", "done"), Entry("/b.wav", "b", "failed")):
            manifest.add(entry)
        code, text = run(str(tmp_path))
        assert (code, text.splitlines()[:2]) == (0, ["running: a batch has the folder", "recordings: 1 done, 1 failed"])
    with open(manifest.path, "ab") as file:
        file.write(b'{"input": "/c')  # it is being written
    found = json.loads(run(str(tmp_path), "--json")[1])
    assert (found["output"], found["state"], found["done"], found["failed"]) == ("batch", "ended", 1, 1)
    with open(manifest.path, "ab") as file:
        file.write(b"\n")
    code, text = run(str(tmp_path))
    assert code == 2
    assert "no manifest of a batch" in text
