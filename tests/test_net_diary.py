"""The lines of a worker that say what it is at, one each."""

import pytest

from zaudio.net.diary import LOGGER, Diary
from zaudio.steps import Step
from zaudio.wire.messages import Chunk, Goodbye, Welcome

JOB, OTHER, SESSION = bytes(range(16)), b"o" * 16, b"s" * 16
ENDPOINT = "tcp://127.0.0.1:5555"


def welcome(job=JOB, incarnation=1):
    return Welcome(
        job,
        incarnation,
        SESSION,
        (),
        1.0,
        5,
        2,
        2**20,
        1,
        44100,
        "f32le",
        0,
        4,
        "reversed",
        (Step("gain"), Step("clip")),
        None,
    )


def chunk(start, stop):
    return Chunk(JOB, 1, SESSION, 1, 0, 1, start, stop, start, stop, 0, 0, -1)


@pytest.fixture
def diary(caplog):
    caplog.set_level("INFO", LOGGER)
    diary = Diary("attic", ENDPOINT)
    diary.lines = lambda: [record.getMessage() for record in caplog.records]
    return diary


def test_one_line_each_for_the_way_the_job_and_its_end(diary):
    for _ in range(3):  # it asks again and again
        diary.connects()
    diary.welcomed(welcome())
    diary.welcomed(welcome())  # a second one, after a lost connection
    diary.computed(chunk(0, 4))
    diary.computed(chunk(4, 17))  # a bundle
    diary.dismissed(Goodbye(JOB, 1, SESSION, "the job is done"))
    diary.dismissed(Goodbye(JOB, 1, SESSION, "the job is done"))  # on its other socket
    assert diary.lines() == [
        f"worker attic connects to {ENDPOINT}",
        "worker attic works on job 00010203: gain, clip",
        "worker attic has finished job 00010203 with 5 chunks: the job is done",
    ]


def test_silence_of_the_coordinator_is_said_once(diary):
    diary.connects()
    diary.welcomed(welcome())
    diary.connects()
    diary.connects()
    diary.welcomed(welcome())
    assert diary.lines()[2:] == [f"worker attic connects to {ENDPOINT} again: it hears nothing of the coordinator"]


def test_another_job_ends_the_one_before(diary):
    diary.welcomed(welcome())
    diary.computed(chunk(0, 4))
    diary.dismissed(Goodbye(OTHER, 1, SESSION, "not this one"))
    diary.welcomed(welcome(OTHER))
    assert diary.lines()[1:] == [
        "worker attic has finished job 00010203 with 1 chunk: another job begins",
        "worker attic works on job 6f6f6f6f: gain, clip",
    ]


def test_a_worker_that_leaves_says_why_if_it_had_a_job(diary):
    diary.leaves("it was told to stop")
    diary.welcomed(welcome())
    diary.leaves("it was told to stop")
    assert diary.lines()[1:] == ["worker attic leaves: it was told to stop; it has computed 0 chunks"]
