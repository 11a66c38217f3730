"""Staffing: the farm for a job or a survey: local workers, the addresses where others connect, warnings about peers.

Rules: it runs in the caller's thread, behind all refusals of the preparation. What is opened is closed by the exit
stack of the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from zaudio.endpoints import parse_advertise
from zaudio.job.request import Request
from zaudio.job.stages import CREDIT, OpenWork
from zaudio.launching.fleet import Fleet
from zaudio.launching.launchers import open_launchers
from zaudio.machine import check_limits
from zaudio.net.farm import Endpoints, Farm
from zaudio.net.keys import CoordinatorKeys
from zaudio.net.local import LocalWorkers
from zaudio.net.starter import Starter
from zaudio.net.wake import Waker
from zaudio.settings import exposed
from zaudio.watching.stream import Subscription


def open_farm(
    work: OpenWork, stack: ExitStack, *, waker: Waker, starter: Starter | None, keys: CoordinatorKeys | None
) -> Farm:
    """Start local workers, and make the farm. It binds when it is entered.

    Args:
        work: The job or the survey that it will run.
        stack: Closes what was opened.
        waker: Wakes the farm.
        starter: The process that starts local workers, when it was launched ahead of time.
        keys: The coordinator's keys, if it has any.

    Raises:
        UsageError: A limit of this process is too low for so many workers.
    """
    request, demand = work.request, work.demand
    # More workers than messages have nothing to do. In an audit up to three compute the same one.
    count = min(request.workers, demand.chunks * (3 if request.security.audit else 1))
    check_limits(count, coordinates=True, memory=request.memory)
    local = None
    if count:
        local = LocalWorkers(
            count,
            starter=starter,
            allow=named_by(work),
            credit=CREDIT,
            slot_bytes=None if request.network.sockets_only else demand.slot_bytes,
            memory=request.memory,
            keys=keys.local if keys is not None else None,
            preload=demand.modules,
        )
        stack.callback(local.close)
    elif starter is not None:
        starter.close()  # there is nothing for it to do
    elsewhere = None
    if request.bind is not None:
        elsewhere = Endpoints(request.bind, request.network.sink(request.bind))
    advertise = parse_advertise(request.network.advertise)
    return Farm(elsewhere, result_max=demand.result_max, waker=waker, local=local, keys=keys, advertise=advertise)


def open_fleet(
    request: Request,
    keys: CoordinatorKeys | None,
    stack: ExitStack,
    *,
    subscribe: Callable[[], Subscription],
    tell: Callable[[str, str], None],
) -> Fleet:
    """Check the places where workers are to be started, and return the fleet. Nothing is started yet.

    Args:
        request: The wishes of the user.
        keys: The coordinator's keys, if it has any.
        stack: Ends the workers.
        subscribe: Subscribes to the job's events.
        tell: Takes a place and a sentence about its workers.

    Raises:
        UsageError: Workers could not be started, or could not connect from there.
        LaunchError: A program or a package is missing.
    """
    network = request.network
    advertised = parse_advertise(network.advertise)
    endpoint = f"tcp://{advertised[0]}:{advertised[1]}" if advertised is not None else request.bind or ""
    launchers = open_launchers(
        request.places,
        endpoint=endpoint,
        trust_cluster=network.trust_cluster,
        template_args=network.template_args,
    )
    fleet = Fleet(
        launchers,
        guests=keys.guests if keys is not None else None,
        server=keys.local.server.decode() if keys is not None else None,
        at_once=network.all_workers,
        beside=request.workers,
        others=lambda: others_may_come(request, keys),
        queues=request.queues,
        timing=request.timing,
        subscribe=subscribe,
        tell=tell,
    )
    stack.callback(fleet.close)
    return fleet


def named_by(work: OpenWork) -> tuple[str, ...]:
    """Return the users' ops that a job names, for workers that it starts."""
    return tuple(dict.fromkeys((*(spec.name for spec in work.request.specs if spec.is_function), *work.demand.own)))


def others_may_come(request: Request, keys: CoordinatorKeys | None) -> bool:
    """Return whether a job may get workers besides those of its places: local ones, or some that others start."""
    if request.workers:
        return True
    if keys is None:
        return request.names_bind  # else nobody knows the port
    try:
        return bool(keys.allowed.read())
    except OSError:  # the gate keeps the list that it had, and tells
        return True


def warnings_of(request: Request, keys: CoordinatorKeys | None) -> tuple[str, ...]:
    """Return sentences about peers: strangers that can connect, or that no worker is admitted."""
    warnings = []
    endpoint = exposed(request.bind, request.network, request.security)
    if endpoint is not None:
        warnings.append(f"{endpoint}: whoever can reach this address can take part and read the recording")
    if keys is not None and request.bind is not None and not request.places and not keys.allowed.read():
        command = f"zaudio keys worker NAME --keys {request.security.keys}"
        warnings.append(f"no worker is admitted yet; `{command}` makes a key for one")
    return tuple(warnings)
