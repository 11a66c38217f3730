import os
import shutil
import stat
import threading
from dataclasses import replace

import pytest
from net_support import wait_until
from result_support import (
    NAMES,
    Bell,
    contents,
    describe,
    finish_job,
    job_record,
    pattern,
    payloads,
    rest,
    reverse,
    start_writer,
    write_pattern,
)

from zaudio import records
from zaudio.errors import OutputExistsError, ResumeError, StorageError, UsageError
from zaudio.plan import Order
from zaudio.records import Schedule
from zaudio.result import ResultFolder, ResultWriter, decrypt, verify
from zaudio.result import pipeline as pipeline_module
from zaudio.result import writer as writer_module
from zaudio.result.journal import decode_journal
from zaudio.result.primitives import JournalSeal

FORMATS = {2: (1, "s16le"), 6: (3, "s16be"), 12: (3, "f32le")}
FRAMES, CHUNK = 100, 7  # chunks of 14, 42 and 84 bytes: none is a multiple of 16
PARTS = {"encryption_key.bin.part", "encryption_iv.bin.part", "result.raw.part"}


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """A checkpoint after each write, so that there is much to be resumed."""
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0)


@pytest.fixture
def never_due(always, monkeypatch):
    """No checkpoint but the last."""
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: False)


@pytest.fixture
def no_fsync(monkeypatch):
    """For hundreds of jobs, none of which meets a crash of the machine."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def job(frame_bytes=6, frames=FRAMES):
    channels, format = FORMATS[frame_bytes]
    return describe(frames, channels=channels, format=format, chunk_frames=CHUNK), pattern(frames, frame_bytes)


def leave(path, description, recording, *, chunks=10, begin=0, copy=None, overwrite=False):
    """Do so many chunks of a job, then leave its folder as a process that is killed would; `copy` gets it instead.

    Returns how many bytes were saved.
    """
    original = path if copy is None else path.with_name("original")
    with ResultFolder(str(original), job=job_record(description), overwrite=overwrite) as folder:
        writer, bell, resumed = start_writer(folder, description)
        for number, payload in enumerate(rest(recording, description, resumed)[begin : begin + chunks], 1):
            writer.put(payload)
            bell.wait_for(lambda number=number: writer.finished == number)
        if copy is None:
            wait_until(lambda: writer.saved == writer._plaintext._taken // 16 * 16, "all whole blocks are saved")
        else:
            copy.mkdir(exist_ok=True)
            for name in ("result.journal", *PARTS):  # the journal first: what it vouches for must be in what follows
                shutil.copy(original / name, copy / name)
        writer.abort()
        return writer.saved


def assert_result(path, description, recording):
    assert set(contents(path)) == set(NAMES)
    target = path.parent / "decrypted.raw"
    decrypt(str(path), str(target), overwrite=True)
    assert target.read_bytes() == reverse(recording, description.frame_bytes)


def journal(path):
    """What the journal in a folder says."""
    key, iv = ((path / f"encryption_{name}.bin.part").read_bytes() for name in ("key", "iv"))
    return decode_journal((path / "result.journal").read_bytes(), JournalSeal(key, iv))


# From where to where


@pytest.mark.parametrize("chunks", [0, 1, 2, 7, 14, 15])
@pytest.mark.parametrize("frame_bytes", FORMATS)
def test_a_job_left_after_any_chunk_is_resumed_to_the_same_result(tmp_path, frame_bytes, chunks):
    description, recording = job(frame_bytes)
    path = tmp_path / "out"
    saved = leave(path, description, recording, chunks=chunks)
    done = min(chunks * CHUNK - (5 if chunks else 0), FRAMES) * frame_bytes  # the first chunk has two frames
    assert saved == done // 16 * 16
    assert finish_job(path, recording, description) == saved
    assert_result(path, description, recording)


@pytest.mark.parametrize("chunks", [0, 1, 2, 5, 14, 15])
@pytest.mark.parametrize("frame_bytes", FORMATS)
def test_a_job_killed_at_any_chunk_is_resumed_to_the_same_result(tmp_path, frame_bytes, chunks):
    description, recording = job(frame_bytes)
    path = tmp_path / "out"
    most = leave(path, description, recording, chunks=chunks, copy=path)
    assert finish_job(path, recording, description) <= most
    assert_result(path, description, recording)


def test_a_job_may_die_again_and_again(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    saved = [leave(path, description, recording, chunks=2) for _ in range(8)]
    assert saved == sorted(saved)
    assert saved[-1] > 300, "each life goes on from the one before"
    assert journal(path).incarnation == 8
    assert finish_job(path, recording, description) == saved[-1]
    assert_result(path, description, recording)


def test_each_life_has_its_number_and_the_job_one_id(tmp_path):
    description, recording = job()
    seen = set()
    leave(tmp_path, description, recording, chunks=3)
    for life in (2, 3, 4):
        with ResultFolder(str(tmp_path), job=job_record(description)) as folder:
            writer, _, _ = start_writer(folder, description)
            assert writer.incarnation == life
            assert journal(tmp_path).incarnation == life, "it is on the disk before any worker can hear of it"
            seen.add(writer.job_id)
            writer.abort()
    assert len(seen) == 1


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_an_empty_or_tiny_recording_is_resumed_too(tmp_path, frames):
    description, recording = job(frames=frames)
    path = tmp_path / "out"
    leave(path, description, recording, chunks=0, copy=path)
    assert set(contents(path)) > PARTS
    assert finish_job(path, recording, description) == 0
    assert_result(path, description, recording)


def test_a_job_killed_before_its_first_record_begins_anew_without_a_word(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording, chunks=0, copy=path)
    whole = (path / "result.journal").read_bytes()
    for size in (0, 1, 24, 30, len(whole) - 1):
        (path / "result.journal").write_bytes(whole[:size])
        with ResultFolder(str(path), job=job_record(description)) as folder:
            assert folder.unfinished is None
        assert contents(path) == {}
        leave(path, description, recording, chunks=0, copy=path)
    assert finish_job(path, recording, description) == 0
    assert_result(path, description, recording)


@pytest.mark.parametrize("left", [{"encryption_key.bin.part"}, PARTS - {"result.raw.part"}, PARTS])
def test_parts_without_a_journal_are_removed(tmp_path, left):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording)
    for name in set(contents(path)) - left:
        (path / name).unlink()
    assert finish_job(path, recording, description) == 0
    assert_result(path, description, recording)


def test_a_job_killed_before_the_part_was_made_is_resumed_at_its_beginning(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording, chunks=0, copy=path)
    (path / "result.raw.part").unlink()
    assert finish_job(path, recording, description) == 0
    assert_result(path, description, recording)


def test_what_lies_behind_the_last_checkpoint_is_cut_off(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    saved = leave(path, description, recording)
    with open(path / "result.raw.part", "ab") as part:
        part.write(os.urandom(100_000))
    assert finish_job(path, recording, description) == saved
    assert_result(path, description, recording)


def test_an_earlier_checkpoint_is_taken_where_the_last_does_not_hold(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording)
    lengths = [checkpoint.length for checkpoint in journal(path).checkpoints]
    assert len(lengths) > 2
    os.truncate(path / "result.raw.part", lengths[-1] - 1)
    assert finish_job(path, recording, description) == lengths[-2]
    assert_result(path, description, recording)


def test_a_life_that_began_earlier_is_resumed_at_what_it_did_itself(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording)
    lengths = [checkpoint.length for checkpoint in journal(path).checkpoints]
    os.truncate(path / "result.raw.part", lengths[2])
    saved = leave(path, description, recording, chunks=2)
    assert lengths[2] < saved < lengths[-1]
    assert finish_job(path, recording, description) == saved
    assert_result(path, description, recording)


# Sealed and published


def test_a_job_killed_when_it_was_sealed_is_resumed_to_the_same_result(tmp_path):
    description, recording = job()
    path, copy = tmp_path / "out", tmp_path / "copy"
    with ResultFolder(str(path), job=job_record(description)) as folder:
        writer, bell, _ = start_writer(folder, description)
        for payload in payloads(recording, description):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed)
        shutil.copytree(path, copy)
        (copy / "result.commit.part").write_bytes(b"half a comm")
        writer.abort()
    assert 0 < finish_job(copy, recording, description) <= len(recording)
    assert_result(copy, description, recording)


class Killed(BaseException):
    pass


def killed_in_publication(path, monkeypatch, step, *, seed=2):
    """A job that dies in front of the `step`-th call that publishes it. Returns how many calls there were."""
    description = describe(FRAMES, chunk_frames=CHUNK)
    recording, calls = pattern(FRAMES, 4, seed), [0]
    with ResultFolder(str(path), job=job_record(description), overwrite=True) as folder:
        writer, bell, _ = start_writer(folder, description)
        for payload in payloads(recording, description):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed)

        def counted(function):
            def call(*args, **kwargs):
                calls[0] += 1
                if calls[0] > step:
                    raise Killed
                return function(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("fsync", "rename", "unlink", "open", "write"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                writer.publish()
            except Killed:
                pass
            # What a killed process cannot do: clean up.
            patch.setattr(folder, "remove_parts", lambda: None)
            patch.undo()
            monkeypatch.setattr(folder, "remove_parts", lambda: None)
            writer.abort()
    return calls[0], description, recording


@pytest.mark.covers(
    "killed at every step of the publication (calls that raise, in one process; with SIGKILL see `tests/chaos/`)",
    number=21,
    bound="before the commit resumed, after it done; the older result whole until then",
    measured=(
        "as bound; by hand with strace, SIGKILL at each fsync, ftruncate, rename and unlink of a 2.4 MB job: 28 of "
        "28 resumed to the reference"
    ),
    removed="`result/folder.py`: `self.done = _was_published(...)`",
)
def test_a_job_killed_at_any_step_of_its_publication_is_done_when_it_is_started_again(tmp_path, monkeypatch):
    write_pattern(tmp_path / "older", 30, seed=1)
    steps, seen = 0, []
    while True:
        path = tmp_path / f"out{steps}"
        shutil.copytree(tmp_path / "older", path)
        calls, description, recording = killed_in_publication(path, monkeypatch, steps)
        if calls <= steps:
            break
        committed = (path / "result.commit").exists() or not (path / "result.raw.part").exists()
        if not committed:
            assert {name: contents(path)[name] for name in NAMES} == contents(tmp_path / "older")
        resumed = finish_job(path, recording, description, overwrite=True)
        seen.append(resumed)
        assert_result(path, description, recording)
        steps += 1
    assert seen[0] is not None, "before the commit it is resumed"
    assert seen[-1] is None, "after it, it is done"
    assert seen == sorted(seen, key=lambda resumed: resumed is None)
    assert seen.count(None) >= 8


def killed_after_the_commit(path, monkeypatch):
    """A folder with a commit file in it; returns the job."""
    for step in range(30):
        shutil.rmtree(path, ignore_errors=True)
        _, description, recording = killed_in_publication(path, monkeypatch, step)
        if (path / "result.commit").exists():
            return description, recording
    raise AssertionError("no step of the publication leaves a commit file")


def test_a_job_done_by_its_commit_needs_no_leave_to_overwrite_itself(tmp_path, monkeypatch):
    path = tmp_path / "out"
    description, recording = killed_after_the_commit(path, monkeypatch)
    assert finish_job(path, recording, description) is None
    assert_result(path, description, recording)
    with pytest.raises(OutputExistsError):
        finish_job(path, recording, description)


def test_another_job_finishes_the_renames_and_is_refused_as_ever(tmp_path, monkeypatch):
    path = tmp_path / "out"
    description, recording = killed_after_the_commit(path, monkeypatch)
    with pytest.raises(OutputExistsError):
        ResultFolder(str(path), job=job_record(description, size=1))
    verify(str(path))
    with ResultFolder(str(path), job=job_record(description, size=1), overwrite=True) as folder:
        assert (folder.done, folder.unfinished) == (False, None)
    assert_result(path, description, recording)


def test_key_and_iv_that_others_can_read_by_now_are_private_again_in_the_result(tmp_path):
    path = tmp_path / "out"
    description, recording = job()
    leave(path, description, recording)
    names = "encryption_key.bin", "encryption_iv.bin"
    for name in names:
        os.chmod(path / f"{name}.part", 0o644)
    finish_job(path, recording, description)
    assert [stat.S_IMODE((path / name).stat().st_mode) for name in names] == [0o600, 0o600]
    assert_result(path, description, recording)


def test_nothing_is_left_of_a_job_that_is_disowned_in_any_of_its_lives(tmp_path):
    path = tmp_path / "out"
    description, recording = job()
    leave(path, description, recording)
    with ResultFolder(str(path), job=job_record(description)) as folder:
        writer, _, _ = start_writer(folder, description)
        assert writer.saved
        writer.disown()
        writer.abort()
        assert not writer.saved
    assert os.listdir(path) == []


def test_no_representation_of_an_unfinished_job_shows_its_key(tmp_path):
    path = tmp_path / "out"
    description, recording = job()
    leave(path, description, recording)
    with ResultFolder(str(path), job=job_record(description)) as folder:
        key = bytes(folder.unfinished.key)
        assert len(key) == 32
        assert repr(key)[2:-1] not in repr(folder.unfinished)


def test_a_fresh_job_is_not_told_that_it_is_done(tmp_path, monkeypatch):
    path = tmp_path / "out"
    description, _ = killed_after_the_commit(path, monkeypatch)
    with ResultFolder(str(path), job=job_record(description), overwrite=True, fresh=True) as folder:
        assert not folder.done
    verify(str(path))


def test_a_reader_that_finishes_the_renames_leaves_it_to_the_job_to_know_that_it_is_done(tmp_path, monkeypatch):
    path = tmp_path / "out"
    description, recording = killed_after_the_commit(path, monkeypatch)
    verify(str(path))
    assert not (path / "result.commit").exists()
    assert finish_job(path, recording, description) is None
    assert_result(path, description, recording)


def test_an_older_result_is_untouched_by_jobs_that_die_over_it(tmp_path):
    path = tmp_path / "out"
    write_pattern(path, 30, seed=5)
    older = contents(path)
    description, recording = job()
    saved = leave(path, description, recording, overwrite=True)
    assert {name: contents(path)[name] for name in NAMES} == older
    verify(str(path))
    with pytest.raises(OutputExistsError):
        ResultFolder(str(path), job=job_record(description))
    assert finish_job(path, recording, description, overwrite=True) == saved
    assert_result(path, description, recording)


# What is refused


def begin(folder, description, **recording):
    """Start a job and stop it at once."""
    with ResultFolder(str(folder), job=job_record(description, **recording)) as folder:
        writer = ResultWriter(folder, description)
        try:
            writer.open(description.signal, Order.REVERSED, notify=Bell())
        finally:
            writer.abort()


def assert_refused(folder, description, match, **recording):
    before = contents(folder)
    with pytest.raises(ResumeError, match=match) as caught:
        begin(folder, description, **recording)
    assert contents(folder) == before, "nothing is lost by asking"
    assert "--fresh" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("of_description", "of_recording", "match"),
    [
        ({"ops": ("clip",)}, {}, "its ops were invert and not clip"),
        ({"chunk_frames": 8}, {}, "its chunks had this many frames: 7 and not 8"),
        ({"zaudio": "0.0.1"}, {}, "and this is 0.0.1"),
        ({}, {"path": "/other"}, "its input was '/takes/take.raw' and not '/other'"),
        ({}, {"mtime_ns": 18}, "its input was written to since"),
        ({}, {"size": 18}, "its input had 600 bytes and has 18 now"),
        ({}, {"sample": "cd" * 32}, "its input holds other samples"),
    ],
)
def test_another_job_is_refused_by_what_differs(tmp_path, of_description, of_recording, match):
    description, recording = job()
    leave(tmp_path, description, recording)
    assert_refused(tmp_path, replace(description, **of_description), match, **of_recording)


def test_another_job_that_had_done_nothing_yet_is_in_nobodys_way(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording, chunks=0, copy=path)
    other = replace(description, ops=("clip",))
    assert finish_job(path, recording, other) == 0
    assert_result(path, other, recording)


@pytest.mark.parametrize("name", ["encryption_key.bin.part", "encryption_iv.bin.part", "result.raw.part"])
def test_a_part_that_is_missing_is_refused(tmp_path, name):
    description, recording = job()
    leave(tmp_path, description, recording)
    (tmp_path / name).unlink()
    assert_refused(tmp_path, description, "missing")


@pytest.mark.parametrize("name", ["encryption_key.bin.part", "encryption_iv.bin.part"])
@pytest.mark.parametrize("change", ["flip", "shorten", "lengthen"])
def test_a_key_or_iv_that_was_changed_is_refused(tmp_path, name, change):
    description, recording = job()
    leave(tmp_path, description, recording)
    content = (tmp_path / name).read_bytes()
    changed = {"flip": bytes([content[0] ^ 1]) + content[1:], "shorten": content[:-1], "lengthen": content + b"x"}
    (tmp_path / name).write_bytes(changed[change])
    assert_refused(tmp_path, description, "damaged")


def test_a_journal_whose_job_is_damaged_is_refused_where_there_is_something_to_lose(tmp_path):
    description, recording = job()
    leave(tmp_path, description, recording)
    whole = (tmp_path / "result.journal").read_bytes()
    for position, wrong in ((0, "damaged"), (24, "damaged"), (60, "damaged")):
        changed = bytearray(whole)
        changed[position] ^= 0x80
        (tmp_path / "result.journal").write_bytes(changed)
        assert_refused(tmp_path, description, wrong)
    (tmp_path / "result.journal").write_bytes(whole[:100])
    assert_refused(tmp_path, description, "no beginning")


def test_a_part_damaged_before_its_first_checkpoint_is_refused(tmp_path):
    description, recording = job()
    leave(tmp_path, description, recording)
    content = bytearray((tmp_path / "result.raw.part").read_bytes())
    content[0] ^= 1
    (tmp_path / "result.raw.part").write_bytes(content)
    assert_refused(tmp_path, description, "not what its journal says: it is damaged")


def test_fresh_discards_what_lies_there_whatever_it_is(tmp_path):
    description, recording = job()
    path = tmp_path / "out"
    leave(path, description, recording)
    (path / "result.journal").write_bytes(b"nonsense")
    with ResultFolder(str(path), job=job_record(description), fresh=True) as folder:
        assert folder.unfinished is None
        assert contents(path) == {}
    assert finish_job(path, recording, description) == 0


@pytest.mark.parametrize("name", ["result.journal"])
def test_only_a_file_is_taken_for_a_journal(tmp_path, name):
    (tmp_path / name).symlink_to("elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        ResultFolder(str(tmp_path), job=job_record(describe(1)))


def test_a_resume_that_is_called_off_while_it_reads_changes_nothing(tmp_path):
    description, recording = job()
    leave(tmp_path, description, recording)
    before = contents(tmp_path)

    def call_off():
        raise KeyError("enough")

    with ResultFolder(str(tmp_path), job=job_record(description)) as folder:
        writer = ResultWriter(folder, description)
        with pytest.raises(KeyError, match="enough"):
            writer.open(description.signal, Order.REVERSED, notify=Bell(), check_stop=call_off)
        writer.abort()
    assert contents(tmp_path) == before


# Damage, everywhere


@pytest.mark.covers(
    "journal truncated at every byte of its last records",
    number=23,
    bound="same result at each of 170 lengths, each record that was cut off costs what it vouched for",
    measured="as bound",
    removed="`result/journal.py`: `if end > len(content): return`",
)
@pytest.mark.usefixtures("no_fsync")
def test_a_journal_cut_at_any_byte_of_its_last_records_is_resumed(tmp_path):
    description, recording = job()
    left, path = tmp_path / "left", tmp_path / "out"
    leave(left, description, recording, chunks=6)
    whole = (left / "result.journal").read_bytes()
    resumed = set()
    for size in range(len(whole) - 84 * 2 - 1, len(whole) + 1):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(left, path)
        os.truncate(path / "result.journal", size)
        resumed.add(finish_job(path, recording, description))
        assert_result(path, description, recording)
    assert len(resumed) == 4, "each record that was cut off costs what it vouched for, and nothing else"


@pytest.mark.covers(
    "a bit flipped in the journal or in `result.raw.part`",
    number=23,
    note="every fifth byte of both",
    bound="redone or refused, never a wrong result, never unnoticed",
    measured="as bound",
    removed=(
        "`result/opening.py`: `tag.runs_as(checkpoint.tag)`; `result/journal.py`: the `raise` behind `seal.agrees(...)`"
    ),
)
@pytest.mark.usefixtures("no_fsync")
def test_a_bit_flipped_anywhere_never_gives_a_wrong_result(tmp_path):
    description, recording = job()
    left, path = tmp_path / "left", tmp_path / "out"
    saved = leave(left, description, recording, chunks=6)
    outcomes = {"whole": 0, "redone": 0, "refused": 0}
    for name in ("result.journal", "result.raw.part"):
        size = (left / name).stat().st_size
        for position in range(0, size, 5):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(left, path)
            content = bytearray((path / name).read_bytes())
            content[position] ^= 1 << position % 8
            (path / name).write_bytes(content)
            try:
                resumed = finish_job(path, recording, description)
            except ResumeError:
                outcomes["refused"] += 1
                continue
            outcomes["whole" if resumed == saved else "redone"] += 1
            assert_result(path, description, recording)
    assert outcomes["whole"] == 0, "no flip goes unnoticed"
    assert outcomes["redone"] > 0 < outcomes["refused"]


# The disk


def test_what_a_job_needs_becomes_durable_before_what_needs_it(tmp_path, monkeypatch):
    events, fsync, real_open = [], os.fsync, os.open

    def logged_fsync(fd):
        status = os.fstat(fd)
        events.append("fsync folder" if stat.S_ISDIR(status.st_mode) else f"fsync {names[status.st_ino]}")
        fsync(fd)

    names = {}

    def logged_open(name, *args, **kwargs):
        fd = real_open(name, *args, **kwargs)
        names[os.fstat(fd).st_ino] = name
        events.append(f"open {name}")
        return fd

    description, recording = job()
    with ResultFolder(str(tmp_path), job=job_record(description)) as folder, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", logged_fsync)
        patch.setattr(os, "open", logged_open)
        writer, bell, _ = start_writer(folder, description)
        begun = len(events)
        writer.put(payloads(recording, description)[1])
        bell.wait_for(lambda: writer.finished == 1)
        writer.abort()
    assert events[:begun] == [
        "open encryption_key.bin.part",
        "fsync encryption_key.bin.part",
        "open encryption_iv.bin.part",
        "fsync encryption_iv.bin.part",
        "fsync folder",
        "open result.journal",
        "fsync result.journal",
        "open result.raw.part",
        "fsync folder",
    ]
    assert events[begun:] == ["fsync result.raw.part", "fsync result.journal"]


def test_the_journal_is_for_its_owner_alone_under_any_umask(tmp_path):
    description, recording = job()
    before = os.umask(0)
    try:
        leave(tmp_path, description, recording)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.journal").stat().st_mode) == 0o600


def test_no_plaintext_and_no_key_is_in_what_a_dead_job_leaves(tmp_path):
    description, recording = job()
    leave(tmp_path, description, recording, chunks=15)
    plaintext = reverse(recording, description.frame_bytes)
    key = (tmp_path / "encryption_key.bin.part").read_bytes()
    for name, content in contents(tmp_path).items():
        assert not any(plaintext[at : at + 8] in content for at in range(0, len(plaintext) - 8, 3)), name
        assert key not in content or name == "encryption_key.bin.part"


def failing_fsync(monkeypatch, path, good):
    """Let fsyncs of that file fail, after so many good ones."""
    fsync, count = os.fsync, [0]

    def fails(fd):
        if os.path.exists(path) and os.fstat(fd).st_ino == os.stat(path).st_ino:
            count[0] += 1
            if count[0] > good:
                raise OSError(5, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fails)


@pytest.mark.parametrize("name", ["result.raw.part", "result.journal"])
def test_nothing_since_the_last_good_fsync_is_trusted(tmp_path, monkeypatch, name):
    description, recording = job()
    path = tmp_path / "out"
    with ResultFolder(str(path), job=job_record(description)) as folder, monkeypatch.context() as patch:
        writer, bell, _ = start_writer(folder, description)
        failing_fsync(patch, path / name, 2)
        for number, payload in enumerate(payloads(recording, description)[:6], 1):
            writer.put(payload)
            bell.wait_for(lambda number=number: writer.finished == number or writer.error)
        bell.wait_for(lambda: writer.error)
        assert isinstance(writer.error, StorageError)
        kept = writer.saved
        writer.abort()
        assert writer.saved == kept, "no fsync is tried again"
    lengths = [checkpoint.length for checkpoint in journal(path).checkpoints]
    if name == "result.raw.part":
        assert lengths[-1] == kept, "no checkpoint vouches for what was not fsynced"
    assert finish_job(path, recording, description) == lengths[-1]
    assert_result(path, description, recording)


def test_a_full_disk_keeps_what_was_saved_before(tmp_path, monkeypatch):
    description, recording = job()
    path = tmp_path / "out"
    write = os.write
    with ResultFolder(str(path), job=job_record(description)) as folder, monkeypatch.context() as patch:
        writer, bell, _ = start_writer(folder, description)
        first, second = payloads(recording, description)[:2]
        writer.put(first)
        writer.put(second)
        bell.wait_for(lambda: writer.finished == 2)

        def full(fd, piece):
            raise OSError(28, "No space left on device")

        patch.setattr(os, "write", full)
        writer.put(payloads(recording, description)[2])
        bell.wait_for(lambda: writer.error)
        patch.setattr(os, "write", write)
        writer.abort()
        saved = writer.saved
    if saved:
        assert finish_job(path, recording, description) == saved
        assert_result(path, description, recording)
    else:
        assert not path.exists()


def test_a_job_that_saved_nothing_leaves_nothing(tmp_path):
    description, recording = job()
    leave(tmp_path, description, recording, chunks=0)
    assert contents(tmp_path) == {}


def test_what_comes_slowly_is_saved_without_anything_coming_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline_module, "IDLE", 0.01)
    quiet = threading.Event()
    monkeypatch.setattr(Schedule, "due", lambda self, written, *, now: written > 0 and quiet.is_set())
    description, recording = job()
    with ResultFolder(str(tmp_path), job=job_record(description)) as folder:
        writer, bell, _ = start_writer(folder, description)
        writer.put(payloads(recording, description)[0])
        writer.put(payloads(recording, description)[1])
        bell.wait_for(lambda: writer.finished == 2)
        assert writer.saved == 0
        quiet.set()
        wait_until(lambda: writer.saved > 0, "it is saved")
        writer.abort()


@pytest.mark.parametrize("frames", [0, 1, 2, 8, 100, 101])  # of 6 bytes: with and without an incomplete last block
@pytest.mark.usefixtures("never_due")
def test_a_job_that_is_given_up_when_it_is_sealed_is_resumed_at_its_last_block(tmp_path, frames):
    description, recording = job(frames=frames)
    with ResultFolder(str(tmp_path), job=job_record(description)) as folder:
        writer, bell, _ = start_writer(folder, description)
        for payload in payloads(recording, description):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed)
        assert writer.saved == 0
        writer.abort()
        writer.abort()
        saved = writer.saved
    assert saved == len(recording) // 16 * 16
    assert finish_job(tmp_path, recording, description) == saved
    assert_result(tmp_path, description, recording)


@pytest.mark.usefixtures("never_due")
def test_a_job_that_is_given_up_between_its_padding_and_its_end_is_resumed_at_its_last_block(tmp_path, monkeypatch):
    description, recording = job()
    padded, stopped, write = threading.Event(), threading.Event(), os.write

    def write_then_wait(fd, piece):
        size = write(fd, piece)
        if os.fstat(fd).st_size > len(recording):
            padded.set()
            assert stopped.wait(60)
        return size

    with ResultFolder(str(tmp_path), job=job_record(description)) as folder, monkeypatch.context() as patch:
        writer, _, _ = start_writer(folder, description)
        stop = writer._pipeline.stop
        patch.setattr(writer._pipeline, "stop", lambda: (stop(), stopped.set()))
        patch.setattr(os, "write", write_then_wait)
        for payload in payloads(recording, description):
            writer.put(payload)
        writer.seal()
        assert padded.wait(60)
        writer.abort()
        assert not writer.sealed
        assert writer.saved == len(recording) // 16 * 16
    assert finish_job(tmp_path, recording, description) == len(recording) // 16 * 16
    assert_result(tmp_path, description, recording)


@pytest.mark.usefixtures("never_due")
def test_a_sealed_job_that_the_disk_then_fails_is_given_up_without_an_error(tmp_path, monkeypatch):
    description, recording = job()
    path = tmp_path / "out"
    with ResultFolder(str(path), job=job_record(description)) as folder, monkeypatch.context() as patch:
        writer, bell, _ = start_writer(folder, description)
        for payload in payloads(recording, description):
            writer.put(payload)
        writer.seal()
        bell.wait_for(lambda: writer.sealed)
        failing_fsync(patch, path / "result.journal", 0)
        writer.abort()
        assert writer.saved == 0
    assert not path.exists()


def test_a_thread_that_hangs_in_the_disk_writes_nothing_once_it_was_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "JOIN_TIMEOUT", 0.01)
    description, recording = job()
    hangs, go_on, fsync = threading.Event(), threading.Event(), os.fsync

    def hanging(fd):
        if threading.current_thread().name == "zaudio-storage":
            hangs.set()
            assert go_on.wait(60)
        fsync(fd)

    with ResultFolder(str(tmp_path), job=job_record(description)) as folder:
        writer, _, _ = start_writer(folder, description)
        before = (tmp_path / "result.journal").read_bytes()
        monkeypatch.setattr(os, "fsync", hanging)
        writer.put(payloads(recording, description)[0])
        writer.put(payloads(recording, description)[1])
        assert hangs.wait(60)
        kept = os.open(tmp_path / "result.journal", os.O_RDONLY)
        writer.abort()
        go_on.set()
        assert writer._pipeline.join(60)
        writer.abort()
        try:
            assert os.pread(kept, 10_000, 0) == before
        finally:
            os.close(kept)


# When


def test_a_checkpoint_is_due_after_two_seconds_or_so_many_bytes(monkeypatch):
    monkeypatch.undo()
    schedule = Schedule(now=100.0)
    assert not schedule.due(1, now=101.9)
    assert schedule.due(1, now=102.0)
    assert not schedule.due(0, now=1000.0), "what is saved already needs none"
    assert schedule.due(records.BYTES, now=100.1)


def test_where_an_fsync_is_slow_checkpoints_are_rarer(monkeypatch):
    monkeypatch.undo()
    schedule = Schedule(now=100.0)
    schedule.made(began=102.0, now=103.0)
    assert not schedule.due(1, now=122.9)
    assert not schedule.due(records.BYTES, now=122.9)
    assert schedule.due(1, now=123.0)
    schedule.made(began=200.0, now=300.0)
    assert schedule.due(1, now=360.0), "but not as rare as that"
