"""A worker behind a proxy that changes bits, without CURVE: what it damages is refused, and the job is right."""

import pytest
from farm_support import noise
from harness import CHUNK, assert_promises
from net_support import PATIENCE, wait_until
from proxy import Proxy


@pytest.mark.covers(
    "a proxy flips bits, in every other payload, in every payload, in most headers",
    number=35,
    note="the last two: `make chaos`",
    bound="S, something was refused or requeued",
    measured="S",
    removed="`assembly.py`: `if result.checksum != checksum:`; `net/worker.py`: `== chunk.checksum`",
)
@pytest.mark.parametrize(
    "every",
    [
        pytest.param(300_000, id="in every other payload"),
        pytest.param(20_000, id="in every payload", marks=pytest.mark.chaos),
        pytest.param(500, id="in most headers", marks=pytest.mark.chaos),
    ],
)
def test_flipped_bits_are_in_no_result(scene, every):
    scene.record(30 * CHUNK)
    proxy = scene.cleaning.enter_context(Proxy(scene.host))
    gate, advertised = scene.folder / "gate", ("--advertise", f"{scene.host}:6555,6556")
    op = f"farm_ops:gated:gate={gate}"
    job = scene.coordinator(*advertised, "--op", "farm_ops:slow:ms=100", "--op", "invert", op=op, workers=1)
    scene.worker(job)
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 2, "both are at it")
    proxy.flip_bytes(every)
    gate.touch()
    job.finish(within=2 * PATIENCE, code=0)
    assert proxy.flipped > 0  # how many depends on how much of the job that worker does
    assert job.report["requeued"] + job.report["rejected"] > 0
    assert_promises(job)


def test_proxy_changes_what_it_says(scene):
    proxy = scene.cleaning.enter_context(Proxy(scene.host, ports=(), upstream=()))
    proxy.flip_bytes(1000)
    sent = noise(25_000).tobytes()
    changed = [number for number, pair in enumerate(zip(sent, proxy._flip(sent), strict=True)) if pair[0] != pair[1]]
    assert 50 < len(changed) == proxy.flipped < 200
