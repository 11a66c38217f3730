"""What every test shares: Ctrl-C is heard; hypothesis is derandomized, so that a red run is red again.

Hypothesis tries 30 examples where extended tests are left out, as in `make test`, and 100 elsewhere.

On a slow machine, `ZAUDIO_TEST_MS=3` gives each test three times as long, as it does all of its waits (net_support.py).
"""

import gc
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell lets what it starts in the background ignore SIGINT, and the processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "all", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("few", settings.get_profile("all"), max_examples=30)


def pytest_configure(config):
    settings.load_profile("few" if "not extended" in config.getoption("markexpr") else "all")


def pytest_collection_finish(session):
    # Else each collection of garbage looks at ten thousand tests, in 0.2 s; there is one after each test of a farm.
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    factor = float(os.environ.get("ZAUDIO_TEST_MS", "1"))
    if factor != 1 and config.pluginmanager.hasplugin("timeout"):
        for item in items:
            own = item.get_closest_marker("timeout")
            seconds = own.args[0] if own is not None else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(factor * seconds), append=False)
