"""How a course is cut into chunks, what its farm must be made for, and what is said of it. Pure: nothing is run."""

import sys
import threading
from dataclasses import replace

import pytest
from net_support import PATIENCE

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.job import stages
from zaudio.job.cutting import chunk_bytes, cut, in_bundles, rounded
from zaudio.job.request import parse_request
from zaudio.job.stages import UNKNOWN_MAX, demand_of, demand_of_stage, name_of
from zaudio.ops import Course, import_allowed, make_ops, parse_chain
from zaudio.plan import Order
from zaudio.settings import Limits, Network, Playable, Raw, Security
from zaudio.signal import Signal

MIB = 1 << 20
SIGNAL = Signal(10_000_000, 1, 44100, sample_format("f32le"))


def request_of(ops, *, chunk=None, memory="128MiB", output="out", workers=2):
    return parse_request(
        "x.raw",
        output,
        ops=ops,
        workers=workers,
        bind=None,
        chunk=chunk,
        overwrite=False,
        fresh=False,
        raw=Raw(),
        network=Network(),
        security=Security(),
        limits=Limits(memory=memory),
        timing=None,
    )


LONG = replace(SIGNAL, frames=100_000_000)


def course_of(ops, signal=SIGNAL):
    return Course(make_ops(parse_chain(ops), import_allowed([])), signal)


def cut_of(ops, *, signal=SIGNAL, **settings):
    return cut(request_of(ops, **settings), course_of(ops, signal).main)


def test_a_chunk_is_a_mebibyte_and_four_where_there_is_a_grid():
    assert cut_of("invert").chunk_frames == MIB // 4
    plan, grid = cut_of("highpass:hz=80", signal=LONG), course_of("highpass:hz=80").main.grid
    assert (plan.chunk_frames, plan.chunk_frames % grid) == (MIB, 0)
    assert cut_of("invert").needs is None
    assert plan.needs is not None


def test_a_chunk_of_a_long_file_that_plays_is_two_mebibytes_where_memory_and_workers_allow():
    def chunk(frames=LONG.frames, **settings):
        return (
            4 * cut_of("invert", signal=replace(LONG, frames=frames), output=Playable("x.wav"), **settings).chunk_frames
        )

    assert chunk() == 2 * MIB
    assert chunk(frames=32 * MIB) == MIB  # 128 of them
    assert chunk(frames=48 * MIB) == 1.5 * MIB
    assert chunk(workers=16) == 2 * MIB
    assert chunk(workers=64) == MIB  # more would not fit in their outboxes
    assert chunk(memory="8MiB") == MIB
    assert chunk(chunk="4MiB") == 4 * MIB
    assert cut_of("invert", signal=LONG).chunk_frames == MIB // 4  # of a sealed result


def test_a_short_recording_with_a_grid_keeps_sixteen_workers_busy():
    grid = course_of("highpass:hz=80").main.grid
    assert cut_of("highpass:hz=80", signal=replace(SIGNAL, frames=16 * grid)).chunk_frames == grid
    assert cut_of("highpass:hz=80", signal=replace(SIGNAL, frames=16 * grid + 16)).chunk_frames == 2 * grid
    assert cut_of("highpass:hz=80", signal=replace(SIGNAL, frames=0)).chunk_frames == grid


def test_a_chunk_of_a_grid_is_shorter_where_there_is_little_memory():
    grid = course_of("highpass:hz=80").main.grid
    assert cut_of("highpass:hz=80", memory="3MiB").chunk_frames == -(-3 * MIB // 16 // grid) * grid
    with pytest.raises(UsageError, match="memory: a chunk takes"):
        cut_of("highpass:hz=80", memory="100KiB")
    with pytest.raises(UsageError, match="memory: a chunk takes 1048576 bytes, and 1000 are allowed"):
        cut_of("invert", memory=1000)


@pytest.mark.parametrize(("chunk", "blocks"), [("1f", 1), ("65536f", 1), ("65537f", 2), ("1MiB", 4)])
def test_a_chunk_that_is_asked_for_is_rounded_up_to_whole_blocks_and_that_is_said(chunk, blocks):
    request, course = request_of("highpass:hz=80", chunk=chunk), course_of("highpass:hz=80")
    plan = cut(request, course.main)
    assert (course.main.grid, plan.chunk_frames) == (65536, blocks * 65536)
    said = rounded(request, course.main, plan)
    assert bool(said) == (chunk in ("1f", "65537f"))
    assert not said or f"a chunk is {plan.chunk_frames} frames and not {chunk[:-1]}: whole blocks of 65536" in said


def test_nothing_is_said_of_chunks_that_nobody_asked_for_or_that_have_no_grid():
    for ops, chunk in (("highpass:hz=80", None), ("invert", "7f")):
        request, course = request_of(ops, chunk=chunk), course_of(ops)
        assert rounded(request, course.main, cut(request, course.main)) == ""


def test_the_input_of_a_chunk_is_as_long_as_asked_where_the_rate_changes():
    plan = cut_of("resample:hz=22050", chunk="400000f")
    span = plan.span(len(plan) // 2)
    assert 400_000 <= span.input_frames <= 400_000 + 2 * 2 * 71_680


def test_the_cells_of_a_measuring_stage_cover_about_a_chunk_of_the_recording():
    course = course_of("denoise")
    plan = cut(request_of("denoise"), course.measuring, Order.FORWARD)
    assert 1 <= len(plan) <= 32
    assert (plan.order, plan.chunk_frames % max(1, course.measuring.grid)) == (Order.FORWARD, 0)
    assert chunk_bytes(plan, course.measuring) < 6 * MIB


def test_small_chunks_travel_in_bundles():
    plan = cut_of("invert", chunk="100f")
    bundles = in_bundles(plan, course_of("invert").main)
    assert bundles.chunk_frames == 100 * (256 * 1024 // 400)


def test_a_farm_is_made_for_the_longest_stage_and_for_one_that_is_not_known_yet():
    request, course = request_of("invert"), course_of("invert")
    demand = demand_of(request, course, cut(request, course.main), first=3)
    assert (demand.chunks, demand.result_max, demand.slot_bytes, demand.modules) == (36, MIB, MIB, ())
    request, course = request_of(["highpass:hz=80", "denoise"]), course_of(["highpass:hz=80", "denoise"])
    main = cut(request, course.foreseen)
    demand = demand_of(request, course, main)
    assert demand.slot_bytes == main.chunk_frames * 4
    assert demand.result_max >= UNKNOWN_MAX
    assert demand.modules == ("zaudio.ops.sosfilt",)
    survey = demand_of_stage(cut(request, course.measuring, Order.FORWARD), course.measuring)
    assert survey.slot_bytes < UNKNOWN_MAX <= survey.result_max


@pytest.mark.parametrize("frames", [0, 1])
def test_a_recording_of_next_to_nothing_can_be_cut(frames):
    short = replace(SIGNAL, frames=frames)
    for ops in ("invert", "highpass:hz=80", "denoise"):
        course = course_of(ops, short)
        request = request_of(ops)
        assert len(cut(request, course.foreseen)) == frames
        assert demand_of(request, course, cut(request, course.foreseen)).chunks <= frames


def test_ops_are_named_for_sentences():
    assert name_of(make_ops(parse_chain("gain:db=1"), import_allowed([]))[0]) == "gain"


def test_two_threads_that_import_at_once_leave_prints_and_finders_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sys.stdout, list(sys.meta_path)
    inside = {name: threading.Event() for name in ("one", "two")}
    go_on = {name: threading.Event() for name in inside}
    found = {}

    def slow_import(names):
        name = names[0].partition(":")[0].removeprefix("zt_here_")
        inside[name].set()
        assert go_on[name].wait(PATIENCE)
        found[name] = (sys.stdout is sys.stderr, import_allowed(names))

    monkeypatch.setattr(stages, "import_allowed", slow_import)
    threads = {}
    for name in inside:
        (tmp_path / f"zt_here_{name}.py").write_text("def op(x):\n    return x\n")
        specs = parse_chain([f"zt_here_{name}:op"])
        threads[name] = threading.Thread(target=stages.import_named, args=(specs,))
        threads[name].start()
        assert inside[name].wait(PATIENCE)
    for name, thread in threads.items():  # the first one ends first
        go_on[name].set()
        thread.join()
    assert (sys.stdout, sys.meta_path) == before
    assert [aside for aside, _ in found.values()] == [True, True]
