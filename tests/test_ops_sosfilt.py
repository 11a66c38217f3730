"""scipy's loop by itself: the same bits as `scipy.signal.sosfilt`, and that one where there is no such loop."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")

from zaudio.ops import sosfilt as module

RNG = np.random.default_rng(1)
SECTIONS = np.array([[1.0, -2.0, 1.0, 1.0, -1.98, 0.981], [1.1, -1.7, 0.7, 1.0, -1.6, 0.7], [0.5, 0, 0, 1, 0.25, 0]])
SAMPLES = RNG.standard_normal((3, 4099))
MEMORY = RNG.standard_normal((3, 3, 2))  # (rows, sections, 2); scipy has (sections, rows, 2)

# In a process where scipy.signal is not there yet; it comes afterwards, and finds its loop loaded.
ALONE = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
from zaudio.ops import sosfilt as module
assert module.compiled() is not None, "this scipy has no such loop"
heavy = {"scipy.signal", "scipy.stats", "scipy.optimize", "scipy.linalg"} & set(sys.modules)
assert not heavy, heavy
rng = np.random.default_rng(1)
sections = np.array([[1.0, -2.0, 1.0, 1.0, -1.98, 0.981], [1.1, -1.7, 0.7, 1.0, -1.6, 0.7], [0.5, 0, 0, 1, 0.25, 0]])
for frames in (1, 2, 4099):
    samples, memory = rng.standard_normal((3, frames)), rng.standard_normal((3, 3, 2))
    warm, cold, kept = samples.copy(), samples.copy(), sections.copy()
    module.sosfilt(sections, warm, memory.copy())
    module.sosfilt(sections, cold)
    assert (sections == kept).all()
    import scipy.signal
    filtered, _ = scipy.signal.sosfilt(sections, samples, zi=memory.transpose(1, 0, 2))
    assert warm.tobytes() == filtered.tobytes()
    assert cold.tobytes() == scipy.signal.sosfilt(sections, samples).tobytes()
assert scipy.signal._signaltools._sosfilt is sys.modules["scipy.signal._sosfilt"]._sosfilt
assert module.compiled() is None, "the public function is there, and costs nothing"
print("same bits")
"""


def test_the_loop_alone_gives_the_bits_of_the_public_function_and_leaves_the_rest_of_scipy_out():
    run = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("same bits\n", "")


def filtered(filter, *memory):
    samples = SAMPLES.copy()
    filter(SECTIONS, samples, *memory)
    return samples.tobytes()


def test_the_public_function_gives_the_same_bits_in_the_same_form():
    assert filtered(module.public(), MEMORY.copy()) == filtered(module.sosfilt, MEMORY.copy())
    assert filtered(module.public(), np.zeros((3, 3, 2))) == filtered(module.sosfilt)


def test_the_few_numbers_are_those_of_the_public_function():
    samples = module._SAMPLES.copy()
    module.public()(module._SECTIONS, samples, module._MEMORY.copy())
    np.testing.assert_allclose(samples, module._expected(), rtol=1e-13)


def louder(sections, samples, memory):
    samples *= 2


@pytest.mark.parametrize(
    "loop",
    [
        pytest.param(SimpleNamespace(_sosfilt=louder), id="computes something else"),
        pytest.param(SimpleNamespace(_sosfilt=lambda samples: None), id="takes something else"),
        pytest.param(SimpleNamespace(), id="has another name"),
    ],
)
def test_a_loop_of_another_scipy_is_not_taken(monkeypatch, loop):
    monkeypatch.delitem(sys.modules, "scipy.signal", raising=False)
    monkeypatch.setitem(sys.modules, "scipy.signal._sosfilt", loop)
    assert module.compiled() is None


def test_without_such_a_file_the_public_function_is_taken(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "scipy.signal", raising=False)
    monkeypatch.delitem(sys.modules, "scipy.signal._sosfilt", raising=False)
    monkeypatch.setattr(module.scipy, "__path__", [str(tmp_path)])
    assert module.compiled() is None
