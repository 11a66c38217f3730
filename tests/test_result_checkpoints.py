"""The shell around a journal: what it may not wait for."""

import os

import pytest

from zaudio.result import journal as subject
from zaudio.result.primitives import JournalSeal

pytestmark = pytest.mark.covers("A disk or file system that does not answer while the job ends")


def test_write_that_the_disk_does_not_answer_does_not_hold_up_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "STOP_PATIENCE", 0.01)
    fd = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT)
    checkpoints = subject.Checkpoints(fd, 0, JournalSeal(bytes(32), bytes(16)), 1)
    with checkpoints._lock:  # as `append` holds it inside the write
        checkpoints.stop()
    checkpoints.append(16, bytes(32))
    assert os.fstat(fd).st_size == 0, "nothing is written after it"
    checkpoints.close()
