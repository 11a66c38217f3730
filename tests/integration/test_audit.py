"""Audits with real processes: a worker that computes wrongly is found, named and replaced, and the result is true."""

import threading
from dataclasses import replace

import pytest
from farm_support import PATIENT, decrypted, inverted, noise, on, write_raw
from net_support import MS, PATIENCE

from zaudio import Coordinator, NoWorkerError, Raw, Security, Worker
from zaudio.events import Dropped, Withdrawn

CHUNK = 40_000  # frames of 4 bytes: long enough to travel alone


@pytest.mark.covers(
    "A liar among real local workers with `--audit 100`: dropped, named, replaced; the result is the reference",
    bound="exit 0",
    measured="0.4 s",
    removed="`jury.py`: `liars = [... if other != digest]`",
)
@on("shared memory")
def test_a_liar_among_local_workers_is_dropped_named_and_replaced(tmp_path, lane):
    samples = noise(20 * CHUNK + 7)
    path = write_raw(tmp_path / "x.raw", samples)
    events = []
    report = Coordinator(
        path,
        tmp_path / "out",
        ops=f"farm_ops:lies:mark={tmp_path / 'mark'}",
        workers=3,
        chunk=f"{CHUNK}f",
        security=Security(audit=100),
        timing=PATIENT,
        on_event=events.append,
        **lane,
    ).run()
    (liar,) = [event for event in events if isinstance(event, Dropped)]
    assert report.dropped == {liar.worker: 0}, "with an audit of all, nothing of it was used"
    assert report.audited == report.chunks == 21
    assert not any(isinstance(event, Withdrawn) for event in events)
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@on("sockets")
def test_an_audit_where_nobody_lies_gives_the_reference_and_says_how_much_it_compared(tmp_path, lane):
    samples = noise(300_001, channels=2)
    path = write_raw(tmp_path / "x.raw", samples)
    settings = {"workers": 2, "chunk": "1000f", "raw": Raw(channels=2), "timing": PATIENT, **lane}
    report = Coordinator(path, tmp_path / "out", security=Security(audit=30), **settings).run()
    assert 0 < report.audited < report.chunks
    assert report.dropped == {}
    assert sum(report.shares.values()) == report.chunks
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


def test_a_recording_of_one_chunk_can_be_audited_by_local_workers(tmp_path):
    samples = noise(100)
    path = write_raw(tmp_path / "x.raw", samples)
    report = Coordinator(path, tmp_path / "out", workers=4, security=Security(audit=100), timing=PATIENT).run()
    assert report.audited == 1
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@pytest.mark.covers(
    "One worker and an audited chunk: ends after `--worker-timeout` and says why",
    bound="`--worker-timeout` + start",
    measured="exit 69",
    removed="`granting.py`: `member.session not in asked` in `starved`",
)
def test_one_worker_cannot_audit_and_the_job_says_so(tmp_path):
    path = write_raw(tmp_path / "x.raw", noise(1000))
    timing = replace(PATIENT, worker_timeout=1000 * MS)
    job = Coordinator(path, tmp_path / "out", bind="tcp://127.0.0.1:0", security=Security(audit=100), timing=timing)
    with job:
        thread = threading.Thread(target=Worker(job.endpoint, once=True).run)
        thread.start()
        with pytest.raises(NoWorkerError, match=f"chunk 0 is audited, and for {1000 * MS:g} s there was no second"):
            job.wait(timeout=PATIENCE)
        thread.join(PATIENCE)
    assert NoWorkerError.exit_code == 69
    assert not (tmp_path / "out" / "result.raw").exists()
