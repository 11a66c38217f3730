"""What every test shares: Ctrl-C is heard; hypothesis is derandomized, so that a red run is red again."""

import signal

from hypothesis import HealthCheck, settings

# A shell lets what it starts in the background ignore SIGINT, and the processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "zaudio", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("zaudio")
