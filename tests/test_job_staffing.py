"""Who may come to a job besides the workers that it starts elsewhere."""

import errno

import pytest

from zaudio.job.request import parse_request
from zaudio.job.staffing import others_may_come
from zaudio.net.keys import AllowList, add_worker, coordinator_keys, init
from zaudio.settings import Limits, Network, Security
from zaudio.timing import Timing


def request_of(*, bind=None, workers=None, limits=Limits(), timing=None):
    network = Network(workers_on=("slurm,n=2",))
    asked = {"ops": "invert", "workers": workers, "bind": bind, "chunk": None}
    return parse_request("x.raw", "out", **asked, network=network, security=Security(), limits=limits, timing=timing)


@pytest.mark.parametrize(("bind", "may"), [(None, False), ("tcp://127.0.0.1:0", True), ("tcp://127.0.0.1:5555", True)])
def test_workers_by_hand_come_to_an_address_that_the_user_named(bind, may):
    assert others_may_come(request_of(bind=bind), None) is may


def test_with_keys_workers_come_that_are_on_the_list_and_perhaps_when_it_cannot_be_read(tmp_path, monkeypatch):
    folder, request = str(tmp_path / "keys"), request_of(bind="tcp://127.0.0.1:5555")
    init(folder)
    keys = coordinator_keys(folder)
    assert not others_may_come(request, keys)

    def refuse(_):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(AllowList, "read", refuse)
        assert others_may_come(request, keys)
    add_worker(folder, "attic")
    assert others_may_come(request, keys)


@pytest.mark.parametrize(
    ("seconds", "timing", "queues"),
    [
        (None, None, True),
        (None, Timing(heartbeat=0.5), True),
        (None, Timing(worker_timeout=9), False),
        (9, None, False),
        (Timing().worker_timeout, None, False),
    ],
)
def test_a_job_waits_for_a_queue_unless_the_user_gives_a_number(seconds, timing, queues):
    assert request_of(limits=Limits(worker_timeout=seconds), timing=timing).queues is queues
