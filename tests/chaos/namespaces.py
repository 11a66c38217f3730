"""Network: two network namespaces with a cable between them, and what happens to cables.

The coordinator lives in `near`, at `ADDRESS`; workers in `far` reach it over a veth pair, workers in `near` without it.
Prefixes of commands: `network.near`, `network.far`.

Rules: needs root, iproute2 and nftables, and is a skip without them. Nothing outside of the two namespaces changes, and
they go with everything in them.
"""

import itertools
import os
import re
import subprocess
from contextlib import suppress

import pytest
from faults import need

ADDRESS = "10.111.0.1"
FAR_ADDRESS = "10.111.0.2"
_serial = itertools.count()


class Network:
    """Both namespaces. A context manager."""

    def __init__(self):
        need("ip", "nft", "tc", root=True)
        name = f"zc{os.getpid()}-{next(_serial)}"
        self._names = f"{name}n", f"{name}f"
        try:
            for namespace in self._names:
                self._command("ip", "netns", "add", namespace)
            self._command("ip", "-n", self._names[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable",
                          "netns", self._names[1])  # fmt: skip
            for namespace, address in zip(self._names, (ADDRESS, FAR_ADDRESS), strict=True):
                self._command("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "cable")
                for link in ("lo", "cable"):
                    self._command("ip", "-n", namespace, "link", "set", link, "up")
        except subprocess.CalledProcessError as error:
            self.close()
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")

    @property
    def near(self):
        """Prefix of a command in the coordinator's namespace."""
        return ["ip", "netns", "exec", self._names[0]]

    @property
    def far(self):
        """Prefix of a command beyond the cable."""
        return ["ip", "netns", "exec", self._names[1]]

    # Faults

    def partition(self, *directions):
        """Drop every packet: both ways, or only ``up`` (to the coordinator) or ``down`` (from it)."""
        drop = 'meta iifname "cable" drop', 'meta oifname "cable" drop'
        chosen = [
            rule for name, rule in zip(("up", "down"), drop, strict=True) if name in (directions or ("up", "down"))
        ]
        self._rule(self._names[0], *chosen)

    def lose(self, percent):
        """Drop that share of the packets, at random, each way."""
        for namespace in self._names:
            self._rule(namespace, f'meta iifname "cable" numgen random mod 100 < {percent} counter drop')

    @property
    def lost(self):
        """How many packets `lose` has dropped."""
        said = (
            self._command("ip", "netns", "exec", namespace, "nft", "list", "table", "inet", "chaos")
            for namespace in self._names
        )
        return sum(int(count) for text in said for count in re.findall(r"counter packets (\d+)", text))

    def heal(self):
        """End `partition` and `lose`."""
        for namespace in self._names:
            with suppress(subprocess.CalledProcessError):  # it had none
                self._command("ip", "netns", "exec", namespace, "nft", "delete", "table", "inet", "chaos")

    def throttle(self, rate):
        """Let the cable carry no more than so much each way, such as ``10mbit``."""
        for namespace in self._names:
            self._command("tc", "-n", namespace, "qdisc", "add", "dev", "cable", "root", "tbf", "rate", rate,
                          "burst", "32kb", "latency", "400ms")  # fmt: skip

    def vanish(self):
        """The far host loses its power: not a packet leaves it any more, no FIN either."""
        self._command("ip", "-n", self._names[1], "link", "set", "cable", "down")

    # Making and unmaking

    def _rule(self, namespace, *rules):
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; "
            f"{'; '.join(rule for rule in rules if interface in rule)}; }}\n"
            for hook, interface in (("input", "iifname"), ("output", "oifname"))
            if any(interface in rule for rule in rules)
        )
        self._command("ip", "netns", "exec", namespace, "nft", "-f", "-", stdin=f"table inet chaos {{\n{chains}}}\n")

    @staticmethod
    def _command(*command, stdin=None):
        return subprocess.run(command, check=True, capture_output=True, text=True, input=stdin).stdout

    def close(self):
        """Remove both namespaces, and the cable with them."""
        for namespace in self._names:
            with suppress(subprocess.CalledProcessError):
                self._command("ip", "netns", "delete", namespace)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
