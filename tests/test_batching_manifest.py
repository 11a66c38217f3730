"""The manifest of a batch, and the names of its results."""

import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio import disk
from zaudio.batching.manifest import LINE_MAX, NAME, Entry, Manifest, Named, name_all
from zaudio.errors import DiskFullError, FolderBusyError, UsageError

DONE = Entry("/srv/take.wav", "take", "done", frames=3, bytes=12, seconds=0.5, tag="ab", size=56, mtime_ns=7, job="j")
FAILED = Entry("/srv/bad.wav", "bad", "failed", "no such file")


def lines(folder):
    return (folder / "manifest.jsonl").read_bytes().splitlines()


def test_what_was_added_is_there_for_the_next_run(tmp_path):
    with Manifest(str(tmp_path / "out")) as manifest:
        manifest.add(DONE)
        manifest.add(FAILED)
    with Manifest(str(tmp_path / "out")) as manifest:
        assert manifest.get("take") == DONE
        assert manifest.get("bad") == FAILED
        assert manifest.get("other") is None
        assert manifest.names() == {"/srv/take.wav": "take", "/srv/bad.wav": "bad"}


def test_the_last_line_about_an_output_counts(tmp_path):
    for entry in (FAILED, Entry("/srv/bad.wav", "bad", "done", tag="cd")):
        with Manifest(str(tmp_path)) as manifest:
            manifest.add(entry)
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.get("bad").tag == "cd"


@pytest.mark.parametrize(
    ("error", "job", "stands"),
    [("OutputExistsError", "j", True), ("ChunkError", "another", True), ("ChunkError", "j", False)],
)
def test_a_result_is_forgotten_by_a_failure_of_its_own_job_alone(tmp_path, error, job, stands):
    failed = Entry("/srv/take.wav", "take", "failed", "why", error, job=job)
    with Manifest(str(tmp_path)) as manifest:
        for entry in (DONE, failed, failed):
            manifest.add(entry)
        assert manifest.done_by("j", "take") == (DONE if stands else None)
    with Manifest(str(tmp_path)) as manifest:
        assert (manifest.get("take"), manifest.done_by("j", "take")) == (failed, DONE if stands else None)
    assert len(lines(tmp_path)) == 2, "nothing is said twice"


def test_a_line_without_its_end_is_cut_off(tmp_path):
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(DONE)
        manifest.add(FAILED)
    whole = (tmp_path / "manifest.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    for end in (first + 1, len(whole) - 1):
        (tmp_path / "manifest.jsonl").write_bytes(whole[:end])
        with Manifest(str(tmp_path)) as manifest:
            assert manifest.get("bad") is None
            manifest.add(FAILED)
        assert (tmp_path / "manifest.jsonl").read_bytes() == whole


def test_a_line_that_the_disk_had_no_room_for_spoils_no_other(tmp_path, monkeypatch):
    def half(fd, piece):
        os.write(fd, piece[: len(piece) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Manifest(str(tmp_path)) as manifest:
        with monkeypatch.context() as patch:
            patch.setattr(disk, "write_all", half)
            with pytest.raises(DiskFullError):
                manifest.add(FAILED)
        manifest.add(DONE)
        assert manifest.get("bad") is None
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.get("take") == DONE


@pytest.mark.parametrize(
    "line",
    [
        *(b"hello", b"[]", b'{"state": "lost"}', b'{"state": "done", "input": 3, "output": "a"}'),
        *(
            b'{"state": "done", "input": "/a", "output": "%s"}' % name
            for name in (b"../a", b"/a", b"..", NAME.encode())
        ),
        b" " * LINE_MAX,
    ],
)
def test_a_line_of_something_else_is_refused_and_nothing_changes(tmp_path, line):
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(DONE)
    with open(tmp_path / "manifest.jsonl", "ab") as file:
        file.write(line + b"\n")
    before = (tmp_path / "manifest.jsonl").read_bytes()
    with pytest.raises(UsageError, match="line 2 is no line of a manifest"):
        Manifest(str(tmp_path))
    assert (tmp_path / "manifest.jsonl").read_bytes() == before


def test_the_longest_line_is_read_again(tmp_path):
    path = "/" + os.fsdecode(b"\xff" * 4094)
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(Entry(path, "n" * 255, "failed", "\U0001f600" * 5000, job="j" * 32))
        manifest.add(DONE)
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.get("n" * 255).input == path
        assert manifest.get("take") == DONE


@pytest.mark.parametrize("name", ["take.wav", "take.wav/out"])
def test_a_file_is_no_place_for_results(tmp_path, name):
    (tmp_path / "take.wav").write_bytes(b"")
    with pytest.raises(UsageError, match=f"{name}: results go to a folder, and there is a file of that name, or above"):
        Manifest(str(tmp_path / name))


def test_a_folder_without_a_name_is_not_the_current_one():
    with pytest.raises(UsageError, match="the folder of the results has no name"):
        Manifest("")


def test_two_batches_do_not_share_a_folder(tmp_path):
    with Manifest(str(tmp_path)), pytest.raises(FolderBusyError):
        Manifest(str(tmp_path))
    Manifest(str(tmp_path)).close()


def test_a_line_is_ascii_json_whatever_the_path_is(tmp_path):
    entry = Entry("/srv/" + os.fsdecode(b"\xff\xe4") + "ä\n.wav", "a", "failed", "nö")
    with Manifest(str(tmp_path)) as manifest:
        manifest.add(entry)
    [line] = lines(tmp_path)
    assert json.loads(line.decode("ascii"))["sentence"] == "nö"
    with Manifest(str(tmp_path)) as manifest:
        assert manifest.get("a") == entry


def test_an_entry_is_of_a_file_that_has_not_changed_and_of_the_same_job(tmp_path):
    path = tmp_path / "take.wav"
    path.write_bytes(bytes(56))
    os.utime(path, ns=(7, 7))
    assert DONE.is_of(path.stat(), "j")
    assert not DONE.is_of(path.stat(), "k")
    os.utime(path, ns=(8, 8))
    assert not DONE.is_of(path.stat(), "j")
    os.utime(path, ns=(7, 7))
    path.write_bytes(bytes(57))
    os.utime(path, ns=(7, 7))
    assert not DONE.is_of(path.stat(), "j")


# Names


def names(*paths, known=None):
    return [each.name for each in name_all(paths, known or {})[0]]


def test_equal_names_are_told_apart_in_the_order_given():
    assert names("/a/take.wav", "/b/take.wav", "/c/take.flac", "/d/other.wav") == ["take", "take-2", "take-3", "other"]


def test_names_that_some_file_systems_take_for_one_are_told_apart():
    assert names("/a/Take.wav", "/b/take.wav", "/c/TAKE.wav") == ["Take", "take-2", "TAKE-3"]
    assert names("/a/\u00e9.wav", "/b/e\u0301.wav") == ["\u00e9", "e\u0301-2"]
    assert names("/a/take.wav", "/b/Take.wav", known={"/b/Take.wav": "Take"}) == ["take-2", "Take"]


def test_a_name_that_looks_like_a_number_takes_no_other_ones():
    assert names("/a/take.wav", "/a/take-2.wav", "/b/take.wav", "/c/take-2.wav") == [
        "take",
        "take-2",
        "take-3",
        "take-2-2",
    ]


def test_a_path_that_leads_nowhere_gives_a_name_that_a_manifest_takes(tmp_path):
    [named], _ = name_all(["/srv/a.wav\0b.wav\0"], {})
    for _ in range(2):
        with Manifest(str(tmp_path)) as manifest:
            manifest.add(Entry(named.path, named.name, "failed", "it has a NUL in it"))
    assert len(lines(tmp_path)) == 1


def test_the_manifest_itself_is_no_name_of_a_result():
    assert names("/a/manifest.jsonl.wav") == ["manifest.jsonl-2"]


def test_names_of_an_earlier_run_stay_when_the_list_changes():
    known = {"/b/take.wav": "take", "/gone/take.wav": "take-2"}
    assert names("/a/take.wav", "/b/take.wav", known=known) == ["take-3", "take"]


def test_a_file_that_is_named_twice_counts_once():
    named, twice = name_all(["/a/take.wav", "/a/../a/take.wav"], {})
    assert named == [Named("/a/take.wav", "take")]
    assert twice == ["/a/../a/take.wav"]


@given(st.lists(st.sampled_from(["a", "a-2", "a-3", "b", "a-2-2"]), max_size=12), st.data())
def test_names_are_different_and_the_same_in_every_run(stems, data):
    paths = [f"/{number}/{stem}.wav" for number, stem in enumerate(stems)]
    named, _ = name_all(paths, {})
    assert len({each.name for each in named}) == len(paths)
    done = data.draw(st.sets(st.sampled_from(paths))) if paths else set()
    again, _ = name_all(paths, {each.path: each.name for each in named if each.path in done})
    kept = {each.path: each.name for each in again}
    assert kept == {each.path: each.name for each in named}
