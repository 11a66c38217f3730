import io
import math
from dataclasses import replace

import numpy as np
import pytest
from extended import extended, product
from ops_support import column, noise, signal_of

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from zaudio.cli.drawing import CHANNELS_MOST, Look, draw, figure_of
from zaudio.ops.chain import _pass
from zaudio.ops.picturing import PictureSurvey, mel

RATE = 8000
LOOK = Look("take.wav", 0.0, (800, 500), "linear", average=False, theme="dark")


def view_of(array, scale="linear", samplerate=RATE):
    survey, signal = PictureSurvey(800, 0, scale), signal_of(array, samplerate)
    graph = _pass((survey.measure(signal),), signal).graph()
    return survey.report(graph(array, 0, 0, graph.output.frames), signal)


def pixels_of(view, look=LOOK):
    """The picture as brightness (rows, columns), and its figure."""
    rgb = imread(io.BytesIO(draw(view, look, "png")))[:, :, :3]
    return rgb @ np.array([0.2126, 0.7152, 0.0722]), figure_of(view, look)


def stretch(figure, axes):
    """The rows and columns of the picture that are those of the axes."""
    box, (height, width) = axes.get_position(), (figure.bbox.height, figure.bbox.width)
    rows = slice(round((1 - box.y1) * height) + 2, round((1 - box.y0) * height) - 2)
    return rows, slice(round(box.x0 * width) + 2, round(box.x1 * width) - 2)


def pixel(figure, axes, x, y):
    across, up = axes.transData.transform((x, y))
    return round(figure.bbox.height - up), round(across)


@pytest.mark.parametrize(
    ("hz", "scale"), product([300, 1000, 3000], ["linear", "mel"], keep=[(3000, "linear"), (300, "mel")])
)
def test_a_sine_is_a_bright_line_at_its_frequency(hz, scale):
    array = column(0.5 * np.sin(2 * np.pi * hz / RATE * np.arange(20_000)))
    brightness, figure = pixels_of(view_of(array, scale), replace(LOOK, scale=scale))
    axes = figure.axes[1]
    rows, columns = stretch(figure, axes)
    loudest = rows.start + brightness[rows, columns].mean(axis=1).argmax()
    expected, _ = pixel(figure, axes, 1, hz if scale == "linear" else float(mel(hz)))
    assert abs(loudest - expected) <= 3


def test_a_click_is_a_bright_column_at_its_time():
    array = 1e-4 * noise(40_000)
    array[26_000] = 0.9
    brightness, figure = pixels_of(view_of(array))
    for axes, spread in zip(figure.axes[:2], (1.5, 6), strict=True):  # a window of 512 frames is 8 columns wide
        rows, columns = stretch(figure, axes)
        _, expected = pixel(figure, axes, 26_000 / RATE, 0)
        assert abs(columns.start + brightness[rows, columns].mean(axis=0).argmax() - expected) <= spread


def test_on_paper_what_is_loud_is_dark():
    array = np.concatenate([1e-5 * noise(20_000), noise(20_000)])
    for theme, sign in (("dark", 1), ("light", -1)):
        brightness, figure = pixels_of(view_of(array), replace(LOOK, theme=theme))
        rows, columns = stretch(figure, figure.axes[1])
        quiet, loud = np.array_split(brightness[rows, columns], 2, axis=1)
        assert sign * (loud.mean() - quiet.mean()) > 0.4


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_colours_change_with_the_level_in_one_direction(theme):
    figure = figure_of(view_of(noise(100)), replace(LOOK, theme=theme))
    colours = figure.axes[1].images[0].get_cmap()(np.linspace(0, 1, 256))[:, :3]
    steps = np.diff(colours @ np.array([0.2126, 0.7152, 0.0722])) * (1 if theme == "dark" else -1)
    assert steps.min() > -1e-3
    assert steps.sum() > 0.9


def test_every_channel_has_a_waveform_and_all_have_one_spectrogram():
    for channels in (1, 2, CHANNELS_MOST):
        figure = figure_of(view_of(noise(500, channels)), LOOK)
        assert len(figure.axes) == channels + 2  # the colours are axes too
    figure = figure_of(view_of(noise(500, CHANNELS_MOST + 3)), LOOK)
    assert len(figure.axes) == CHANNELS_MOST + 2
    assert any(f"{CHANNELS_MOST + 3} channels (waveforms of the first" in text.get_text() for text in figure.texts)
    assert [axes.get_ylabel() for axes in figure_of(view_of(noise(500, 2)), LOOK).axes[:2]] == ["L", "R"]


def test_axes_have_times_and_frequencies_from_where_the_picture_begins():
    figure = figure_of(view_of(noise(80_000)), replace(LOOK, first=3600.0))
    axes = figure.axes[1]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["1:00:00", "1:00:02"]
    assert axes.get_xlim() == (3600, 3610)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "0 Hz",
        "500 Hz",
        *(f"{hertz / 1000:g} kHz" for hertz in range(1000, 4001, 500)),
    ]


def test_the_average_stands_beside_the_spectrogram_on_its_axis():
    array = column(0.5 * np.sin(2 * np.pi * 1000 / RATE * np.arange(20_000)))
    figure = figure_of(view_of(array), replace(LOOK, average=True))
    main, average = figure.axes[1:3]
    levels, places = average.lines[0].get_data()
    assert places[levels.argmax()] == pytest.approx(1000, abs=16)
    assert levels.max() == pytest.approx(20 * math.log10(0.5), abs=1)
    assert main.get_ylim() == average.get_ylim()


@pytest.mark.parametrize("array", [np.zeros((0, 2)), np.zeros((1, 1)), np.zeros((50, 2)), np.full((9, 1), 1e300)])
@pytest.mark.parametrize("scale", ["mel", extended("linear")])
def test_odd_recordings_have_a_picture(array, scale):
    assert draw(view_of(array, scale), replace(LOOK, scale=scale, average=True), "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(("format", "mark"), [("png", b"\x89PNG"), extended("svg", b"<?xml"), extended("pdf", b"%PDF")])
def test_the_same_numbers_give_the_same_bytes_in_every_format(format, mark):
    view = view_of(noise(3000, 2))
    first = draw(view, LOOK, format)
    assert first.startswith(mark)
    assert draw(view, LOOK, format) == first


def test_a_title_is_text_and_not_a_formula():
    title = "$x^2$ & <b> \x1b[31m" + "long " * 60
    figure = figure_of(view_of(noise(100)), replace(LOOK, title=title))
    shown = figure.texts[0].get_text()
    assert shown.startswith("$x^2$ & <b> ")
    assert "\x1b" not in shown
    assert len(shown) < 130
    assert b"$x^2$" in draw(view_of(noise(100)), replace(LOOK, title="$x^2$"), "svg")
    assert pixels_of(view_of(noise(100)), replace(LOOK, size=(200, 200)))[0].shape == (200, 200)


@pytest.mark.parametrize("size", [extended((800, 500)), (333, 217), extended((2001, 999))])
def test_a_picture_has_the_size_that_was_asked_for(size):
    brightness, _ = pixels_of(view_of(noise(100)), replace(LOOK, size=size))
    assert brightness.shape == size[::-1]
