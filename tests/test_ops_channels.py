import numpy as np
import pytest
from ops_support import noise, run, signal_of, special_bits

from zaudio.errors import UsageError
from zaudio.formats import FORMATS
from zaudio.ops import Chain
from zaudio.ops.channels import Mix, Pick, Remix

X = np.array([[1.0, 10.0, 100.0], [2.0, -20.0, np.inf]])


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("1", [[1], [2]]),
        ("3/1", [[100, 1], [np.inf, 2]]),
        ("1/1/0", [[1, 1, 0], [2, 2, 0]]),
        ("0", [[0], [0]]),
        ("-1", [[-1], [-2]]),
        ("0.5*1+0.5*2", [[5.5], [-9]]),
        ("1-2 / 2*2", [[-9, 20], [22, -40]]),
        ("1+1", [[2], [4]]),
        (".5*1-1.*2", [[-9.5], [21]]),
    ],
)
def test_remix_makes_the_sums_of_its_map(to, expected):
    assert run(f"remix:to={to}", X).tolist() == expected


def test_remix_to_mono_is_the_mean():
    assert run("remix:to=mono", X[:1]).tolist() == [[pytest.approx(37)]]
    assert run("remix:to=mono", np.array([[5, -7]], "<i2")).tolist() == [[-1]]
    assert run("remix:to=mono", np.array([[1, 2]], "<i2")).tolist() == [[2]]  # 1.5, half to even


def test_remix_to_stereo_takes_one_channel_or_two_and_pans():
    one, two = np.array([[0.5]]), np.array([[0.5, 0.25]])
    assert run("remix", one).tolist() == [[0.5, 0.5]]
    assert run("remix", two).tolist() == two.tolist()
    assert run("remix:pan=-0.5", one).tolist() == [[0.5, 0.25]]
    assert run("remix:pan=1", two).tolist() == [[0, 0.25]]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_remix_that_only_picks_keeps_every_bit(name):
    array = noise(61, 2, name)
    assert run("remix:to=swap", array).tobytes() == np.ascontiguousarray(array[:, ::-1]).tobytes()
    assert run(["remix:to=swap", "remix:to=2/1"], array).tobytes() == array.tobytes()
    if name[0] == "f":
        bits = special_bits(FORMATS[name].dtype).reshape(-1, 2)
        assert run("remix:to=swap", bits.view(FORMATS[name].dtype)).view(bits.dtype).tolist() == bits[:, ::-1].tolist()


def test_remix_picks_or_mixes():
    assert isinstance(Remix("2/1", 0).design(signal_of(X)), Pick)
    assert isinstance(Remix("2/0.5*1", 0).design(signal_of(X)), Mix)
    assert isinstance(Remix("2/0", 0).design(signal_of(X)), Mix)


def test_a_sum_goes_from_the_first_channel_to_the_last():
    many = noise(100, 6)
    expected = many[:, 0].copy()
    for channel in range(1, 6):
        expected = expected + many[:, channel]
    assert run("remix:to=6+5+4+3+2+1", many)[:, 0].tolist() == expected.tolist()


def test_remix_changes_the_channels_of_what_follows():
    chain = Chain(["remix:to=1/2/1/2", "remix:to=4/4+1"], signal_of(noise(5, 2, "s16le")))
    assert chain.output.channels == 2
    with pytest.raises(UsageError, match="channels from 1 to 1 and"):
        Chain(["remix:to=mono", "remix:to=2"], signal_of(X))


@pytest.mark.parametrize("to", ["", "/", "1/", "1++2", "1 2x", "2*", "*1", "a", "1*1*1", "1e3*1", "12345", "+", "12 -"])
def test_a_map_that_cannot_be_read_is_refused(to):
    with pytest.raises(UsageError, match=r"op remix: expected (mono, stereo, swap or sums|channels from 1 to 3)"):
        Remix(to, 0).design(signal_of(X))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("remix:to=4", "expected channels from 1 to 3 and factors up to 1e[+]06, not '4' in '4'"),
        ("remix:to=1+0*4", "not '[+]0[*]4' in"),
        ("remix:to=2000000*1", "not '2000000[*]1'"),
        ("remix:to=swap", "to=swap takes 2 channels, and there are 3; give a map such as 1/2"),
        ("remix", "to=stereo takes 1 or 2 channels, and there are 3"),
        ("remix:to=mono,pan=0.5", "pan goes with to=stereo, not with to=mono"),
        ("remix:pan=2", "pan is a number from -1 to 1, not 2"),
        (f'remix:to="{"/".join("1" * 120)}"', None),
    ],
)
def test_a_map_of_other_channels_is_refused(spec, words):
    if words is None:
        assert Chain(spec, signal_of(X)).output.channels == 120
        return
    with pytest.raises(UsageError, match=words):
        Chain(spec, signal_of(X))
