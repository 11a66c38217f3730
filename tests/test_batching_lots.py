"""Which recordings share a lot."""

from types import SimpleNamespace

from zaudio.batching.lots import LOT_MOST, OPEN_MOST, Packer


def small(kind="a", size=10):
    return SimpleNamespace(alike=kind, held=size)


def packed(smalls, most=1000):
    packer = Packer(most)
    full = [lot for each in smalls for lot in packer.add(each)]
    return full, packer.rest()


def test_recordings_that_are_alike_share_a_lot_whatever_lies_between_them():
    a, b, c = small("a"), small("b"), small("a")
    assert packed([a, b, c]) == ([], [[a, c], [b]])


def test_a_lot_is_full_at_a_number_of_recordings():
    full, rest = packed([small() for _ in range(LOT_MOST + 1)], most=10**9)
    assert [len(lot) for lot in full] == [LOT_MOST]
    assert [len(lot) for lot in rest] == [1]


def test_a_lot_holds_no_more_bytes_than_are_allowed_unless_it_is_one_recording():
    full, rest = packed([small(size=40), small(size=60), small(size=1), small(size=500), small(size=1)], most=100)
    assert [[each.held for each in lot] for lot in (*full, *rest)] == [[40, 60], [1], [500], [1]]


def test_recordings_of_many_kinds_do_not_keep_more_files_open():
    packer, waiting = Packer(10**9), 0
    for number in range(3 * OPEN_MOST):
        waiting += 1 - sum(map(len, packer.add(small(number % OPEN_MOST))))
        assert waiting < OPEN_MOST
    assert sum(map(len, packer.rest())) == waiting
    assert packer.rest() == []
