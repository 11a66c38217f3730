import numpy as np
import pytest

from zaudio.errors import UsageError
from zaudio.fold import Fold
from zaudio.formats import sample_format
from zaudio.signal import Signal

SIGNAL = Signal(5, 2, 10, sample_format("f64le"))
CELLS = np.arange(10, dtype="<f8").reshape(5, 2) / 3


def folded(*pieces, signal=SIGNAL):
    fold = Fold(signal)
    for piece in pieces:
        fold.put(piece)
    return fold


@pytest.mark.parametrize("cut", range(6))
def test_cells_come_back_as_one_array_wherever_they_were_cut(cut):
    first, second = CELLS[:cut], CELLS[cut:]
    fold = folded(memoryview(first.tobytes()), bytearray(second.tobytes()))
    assert (fold.finished, fold.sealed) == (2, False)
    fold.seal()
    assert fold.sealed
    assert fold.cells.tobytes() == CELLS.tobytes()
    assert (fold.cells.shape, fold.cells.dtype) == ((5, 2), np.float64)


def test_a_payload_may_be_used_again_at_once():
    payload = bytearray(CELLS.tobytes())
    fold = folded(payload)
    payload[:] = bytes(len(payload))
    fold.seal()
    assert fold.cells.tobytes() == CELLS.tobytes()


def test_cells_may_be_written_to():
    fold = folded(CELLS.tobytes())
    fold.seal()
    cells = fold.cells
    cells[0] = 7
    assert fold.cells.tobytes() == CELLS.tobytes()


def test_no_cells_at_all_are_an_empty_array():
    fold = folded(signal=Signal(0, 3, 10, SIGNAL.format))
    fold.seal()
    assert fold.cells.shape == (0, 3)


@pytest.mark.parametrize("size", [72, 88])
def test_a_measurement_of_another_length_is_refused(size):
    with pytest.raises(UsageError, match=f"expected 80 bytes of measurement, got {size}"):
        folded(bytes(size)).seal()


def test_other_numbers_are_refused():
    with pytest.raises(UsageError, match="what is measured is f64le, not f32le"):
        Fold(Signal(5, 2, 10, sample_format("f32le")))
