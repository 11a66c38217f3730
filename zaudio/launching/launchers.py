"""Launchers: the one for each kind of place. Its module is imported when it is asked for, and what that needs."""

from __future__ import annotations

from collections.abc import Sequence

from zaudio.launching.launcher import Launcher
from zaudio.launching.places import Place


def open_launchers(
    places: Sequence[Place], *, endpoint: str, trust_cluster: bool, template_args: str
) -> list[tuple[Launcher, int]]:
    """Return a launcher for each place, checked, and the number of workers that it is asked for.

    Args:
        places: The places.
        endpoint: Where workers will connect; its port may be 0.
        trust_cluster: Whether a cluster without encryption of its own is trusted.
        template_args: Further arguments of a batch system's command.

    Raises:
        UsageError: A place cannot be used with these settings.
        LaunchError: A program or a package is missing.
    """
    found = []
    for place in places:
        launcher = make_launcher(place, trust_cluster=trust_cluster, template_args=template_args)
        launcher.check(endpoint)
        count = place.count or launcher.capacity
        assert count, "a request without a number is refused"
        found.append((launcher, count))
    return found


def make_launcher(place: Place, *, trust_cluster: bool, template_args: str) -> Launcher:  # noqa: ARG001  for clusters
    """Return the launcher of a place.

    Raises:
        UsageError: What stands behind the colon cannot be used.
        LaunchError: A package is missing.
    """
    match place.kind:
        case "ssh":
            from zaudio.launching.ssh import SshLauncher

            return SshLauncher(place)
    raise NotImplementedError(place.kind)
