"""Launchers: one for each kind of place. Its module is imported when it is asked for, with all that this needs."""

from __future__ import annotations

from collections.abc import Sequence

from zaudio.launching.launcher import Launcher
from zaudio.launching.places import Place


def open_launchers(
    places: Sequence[Place], *, endpoint: str, trust_cluster: bool, template_args: str
) -> list[tuple[Launcher, int]]:
    """Return the launchers of these places, checked, each with the number of workers that it may have.

    A file of hosts has a launcher for each host, so that one that fails is given up by itself.

    Args:
        places: The places.
        endpoint: Where workers will connect; its port may be 0.
        trust_cluster: Whether a cluster without encryption of its own is trusted.
        template_args: Further arguments of a batch system's command.

    Raises:
        UsageError: A place cannot be used with these settings.
        LaunchError: A program or a package is missing.
    """
    found: list[tuple[Launcher, int]] = []
    for place in places:
        if place.kind == "ssh":
            from zaudio.launching.ssh import ssh_launchers

            found += ssh_launchers(place)
            continue
        assert place.count is not None, "a request without a number is refused"
        launcher = make_launcher(place, trust_cluster=trust_cluster, template_args=template_args)
        found.append((launcher, place.count))
    try:
        for launcher, _ in found:
            launcher.check(endpoint)
    except BaseException:
        for launcher, _ in found:
            launcher.stop()  # a check may have connected
        raise
    return found


def make_launcher(place: Place, *, trust_cluster: bool, template_args: str) -> Launcher:
    """Return the launcher of a place that has one.

    Raises:
        UsageError: What stands behind the colon cannot be used.
        LaunchError: A package is missing.
    """
    if place.kind == "slurm":
        from zaudio.launching.slurm import SlurmLauncher

        shared, path, read = (place.options.get(key, "") for key in ("shared", "path", "read"))
        return SlurmLauncher(arguments=template_args, shared=shared, path=path, read=read)
    from zaudio.launching.cluster import ClusterLauncher

    return ClusterLauncher(place, trust=trust_cluster)
