"""The weights of a batch's recordings: by their samples, or by an estimate that opened ones mend."""

from zaudio.batching.manifest import Named
from zaudio.batching.weights import ROUGHLY, Weights

WAV, MP3, SECOND = Named("a.wav", "a", 1000), Named("b.MP3", "b", 100), Named("c.mp3", "c", 50)


def test_a_closed_file_weighs_what_those_of_its_suffix_have_shown():
    weights = Weights([WAV, MP3, SECOND])
    assert weights.total == 1000 + 150 * ROUGHLY[".mp3"]
    weights.open(WAV, 900)
    weights.open(MP3, 2000)
    assert (weights.of(MP3), weights.total) == (2000, 900 + 2000 + 1000)
    weights.open(SECOND, 400)
    assert weights.total == 900 + 2000 + 400


def test_all_that_passed_is_all_whatever_was_opened():
    weights = Weights([WAV, MP3, SECOND])
    weights.open(MP3, 2000)
    for each in (WAV, MP3, SECOND):
        weights.pass_by(each)
    assert weights.passed == weights.total == 1000 + 2000 + 1000


def test_no_bytes_weigh_nothing():
    weights = Weights([Named("a.wav", "a", 0)])
    weights.open(Named("a.wav", "a", 0), 0)
    assert weights.total == weights.passed == Weights().total == 0
