"""A job for a recipient that is killed: what lies on the disk is wrapped, and only the identity goes on with it."""

import pytest
from harness import assert_no_traceback, assert_promises
from net_support import kill, wait_until

from zaudio import decrypt

pytestmark = [
    pytest.mark.extended,
    pytest.mark.covers(
        "A job for a recipient, killed: no raw key on the disk; refused without the identity, resumed with it",
        bound="exit 2, then 0",
        measured="7.7 s, three starts",
        removed="`keystore.py`: `if self._identity is None`; `folder.py`: `self.key_store = key_store ...`",
    ),
]


def test_killed_job_for_a_recipient_is_resumed_with_the_identity_alone(scene):
    identity = scene.folder / "me.identity"
    made = scene.zaudio("identity", identity)
    made.finish(code=0)
    op, gate = scene.held(12)
    settings = {"op": op}
    job = scene.farm("--recipient", made.out.strip(), **settings)
    wait_until(lambda: job.written, "something is written")  # else no work would be lost, and the job begun again
    kill(job.pid)
    job.finish()
    gate.touch()
    assert_promises(job)
    assert (scene.output / "encryption_key.bin.part").stat().st_size == 133, "no raw key, now or later"
    before = {path.name: path.read_bytes() for path in scene.output.iterdir()}

    refused = scene.farm("--recipient", made.out.strip(), **settings)
    refused.finish(code=2)
    assert "--identity FILE, or pass --fresh to start over" in refused.err
    assert {path.name: path.read_bytes() for path in scene.output.iterdir()} == before, "nothing has changed"
    raw = scene.farm(**settings)
    raw.finish(code=2)
    assert f"this job was begun with --recipient {made.out.strip()}" in raw.err

    resumed = scene.farm("--recipient", made.out.strip(), "--identity", identity, **settings)
    resumed.finish(code=0)
    assert_no_traceback(resumed)
    decrypt(scene.output, scene.folder / "audio", identity=identity)
    assert (scene.folder / "audio").read_bytes() == scene.reference
