"""What every test shares: how hypothesis searches. Derandomized, so that a red run is red again."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "zaudio", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("zaudio")
