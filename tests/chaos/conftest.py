"""Fixtures of the fault tests. Each test gets a `scene`; whatever it started, mounted or made is gone afterwards."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "integration"))  # farm_support; at the end, so that nothing here is hidden

from harness import Scene  # noqa: E402  it needs the path above


@pytest.fixture
def scene(tmp_path):
    """A recording, a folder for the result, and a place for processes: see `harness.Scene`."""
    with Scene(tmp_path) as scene:
        yield scene
        scene.assert_nothing_left()
