"""Which cases of a test `make test` has time for; the others try its scenario again, and `make test-all` runs them."""

import itertools

import pytest
from hypothesis import settings


def extended(*values):
    """Return a case that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.extended)


def product(*axes, keep):
    """Return each combination of the axes as a case; `make test` leaves out all but those in `keep`."""
    cases = list(itertools.product(*axes))
    assert set(keep) <= set(cases), "what is kept is one of them"
    return [case if case in keep else extended(*case) for case in cases]


def examples(most):
    """Return settings of hypothesis for so many examples; `make test` has time for 30 of 100."""
    return settings(max_examples=most * settings.default.max_examples // 100)


def named(value):
    """Return the name of a function as the id of a case; None leaves the id to pytest."""
    return getattr(value, "__name__", None)
