"""Drawing: a picture of a recording's numbers, by matplotlib.

Rules: the same numbers give the same bytes: nothing in the file tells when it was made. The colours grow brighter (on
paper, darker) with the level alone, so they can be read without colour.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from zaudio.cli import voice
from zaudio.cli.axes import (
    Array,
    decibels,
    full_scale,
    hertz_label,
    hertz_ticks,
    level_ticks,
    range_db,
    spread,
    time_label,
    time_ticks,
)
from zaudio.cli.progress import clock
from zaudio.ops.picturing import mel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from zaudio.ops.picturing import View

DPI = 100
COLOURS = 256
CHANNELS_MOST = 8  # with a waveform of their own; the title counts the others
WAVE_SHARE = 0.22  # of the height, for the first channel's waveform
WAVE_MORE = 0.09  # for each further one
WAVE_MOST = 0.6
TICK_PIXELS = 120  # from one time to the next, at least
LABEL_PIXELS = 18  # from one frequency to the next
LETTER_PIXELS = 12  # of a title, about
STRIP_PIXELS = 70  # a waveform that is lower has no room for three numbers
AVERAGE_SHARE, AVERAGE_PIXELS = 0.16, 96  # of the spectrogram's width, and at least

_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours.

    Attributes:
        paper: Behind everything.
        strip: Behind waveforms.
        ink: Of texts.
        quiet: Of lines that lead the eye.
        peak: Of the extremes of samples.
        rms: Of the RMS within them.
        map: The colours of levels, as matplotlib names them.
        fade: Whether the quietest levels fade into the paper.
    """

    paper: str
    strip: str
    ink: str
    quiet: str
    peak: str
    rms: str
    map: str
    fade: bool


# Magma is perceptually uniform, from black to a bright yellow. Reversed, it begins with that, which fades to white.
THEMES = {
    "dark": Theme("#0b0b12", "#14141d", "#e8e6f0", "#4a4858", "#8a6fd1", "#fcb07e", "magma", False),
    "light": Theme("#ffffff", "#f5f4f8", "#22202b", "#c9c6d3", "#9a87c9", "#4b2a86", "magma_r", True),
}


@dataclass(frozen=True, slots=True)
class Look:
    """The wishes for a picture.

    Attributes:
        title: Its title.
        first: The instant of its left end, in seconds.
        size: Width and height in pixels.
        scale: The scale of the frequencies.
        average: Whether the long-term average spectrum stands beside the spectrogram.
        theme: One of `THEMES`.
    """

    title: str
    first: float
    size: tuple[int, int]
    scale: str
    average: bool
    theme: str


def draw(view: View, look: Look, format: str) -> bytes:
    """Return a picture in a file format of matplotlib's."""
    with rc_context({"svg.hashsalt": "zaudio"}):
        content = io.BytesIO()
        figure_of(view, look).savefig(content, format=format, metadata=_METADATA[format])
    return content.getvalue()


def figure_of(view: View, look: Look) -> Figure:
    """Return a picture as a figure of matplotlib: the waveforms, then the spectrogram, then the spectrum beside it."""
    theme = THEMES[look.theme]
    settings: dict[Any, Any] = {"font.size": 10, "font.family": "DejaVu Sans", "text.color": theme.ink}
    settings |= {"axes.labelcolor": theme.ink, "xtick.color": theme.ink, "ytick.color": theme.ink}
    with rc_context(settings):
        figure = Figure(figsize=(look.size[0] / DPI, look.size[1] / DPI), dpi=DPI, facecolor=theme.paper)
        _fill(figure, view.fitted(look.size[0]), look, theme)
    return figure


def _fill(figure: Figure, view: View, look: Look, theme: Theme) -> None:
    """Put titles, waveforms and spectrogram into a figure."""
    width, height = look.size
    shown = min(view.signal.channels, CHANNELS_MOST)
    wave = min(WAVE_MOST, WAVE_SHARE + WAVE_MORE * (shown - 1))
    left, right, top, bottom = 78 / width, 1 - 84 / width, 1 - 62 / height, 44 / height
    share = max(AVERAGE_SHARE, AVERAGE_PIXELS / (width * (right - left) - AVERAGE_PIXELS))
    ratios = [1.0, share, 0.018] if look.average else [1.0, 0.018]
    grid = figure.add_gridspec(
        shown + 1,
        len(ratios),
        width_ratios=ratios,
        height_ratios=[wave / shown] * shown + [1 - wave],
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        wspace=16 / width * 3,
        hspace=0.12,
    )
    figure.text(
        left,
        1 - 26 / height,
        _shortened(look.title, int(width * (1 - left) / LETTER_PIXELS)),
        size=14,
        weight="bold",
        parse_math=False,
    )
    figure.text(left, 1 - 48 / height, _facts(view, shown), size=10, alpha=0.8, parse_math=False)
    last = look.first + max(view.signal.frames, 1) / view.signal.samplerate
    span = (look.first, last)
    waves = [figure.add_subplot(grid[row, 0]) for row in range(shown)]
    for channel, axes in enumerate(waves):
        _waveform(axes, view, channel, span, theme)
    main = figure.add_subplot(grid[shown, 0])
    levels = decibels(view.powers)
    ends = range_db(levels)
    places = _places(view)
    image = _spectrogram(main, view, levels, span, ends, places, theme)
    _time_axis([*waves, main], span, round((right - left) * width / TICK_PIXELS))
    _hertz_axis(main, view, places, (top - bottom) * height * (1 - wave), theme)
    if look.average:
        _average(figure.add_subplot(grid[shown, 1]), view, places, ends, theme)
    bar = figure.colorbar(image, cax=figure.add_subplot(grid[shown, len(ratios) - 1]))
    bar.outline.set_visible(False)
    bar.ax.set_title("dB", size=10, color=theme.ink)
    bar.ax.tick_params(length=0)


def _waveform(axes: Axes, view: View, channel: int, span: tuple[float, float], theme: Theme) -> None:
    """Draw one channel's extremes, and the RMS within them."""
    least, greatest = view.outline(view.cell)
    limit = full_scale(float(max(abs(least).max(initial=0), abs(greatest).max(initial=0))))
    axes.set_facecolor(theme.strip)
    _steps(axes, least[:, channel], greatest[:, channel], span, view, theme.peak)
    rms = np.sqrt(view.squares[:, channel])
    _steps(axes, np.maximum(-rms, least[:, channel]), np.minimum(rms, greatest[:, channel]), span, view, theme.rms)
    axes.axhline(0, color=theme.quiet, linewidth=0.6)
    axes.set_ylim(-limit * 1.05, limit * 1.05)
    ticks = [(-limit, f"\N{MINUS SIGN}{limit:g}"), (0.0, "0"), (limit, f"{limit:g}")]
    box = axes.get_position().height * axes.figure.bbox.height
    places, names = zip(*ticks[1 if box < STRIP_PIXELS else 0 :], strict=True)
    axes.set_yticks(places, names)
    axes.tick_params(length=0, labelsize=9)
    if view.signal.channels > 1:
        axes.set_ylabel(_channel_name(channel, view.signal.channels), rotation=0, labelpad=14, va="center", ha="right")
    for side in axes.spines.values():
        side.set_visible(False)


def _steps(axes: Axes, low: Array, high: Array, span: tuple[float, float], view: View, color: str) -> None:
    """Fill between two curves that have a value per column."""
    if not len(low):
        return
    edges = np.minimum(span[0] + np.arange(len(low) + 1) * (view.cell / view.signal.samplerate), span[1])
    edge = 0.6  # of a pixel: silence is a line, and a click is seen
    axes.fill_between(edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=color, lw=edge)


def _spectrogram(
    axes: Axes,
    view: View,
    levels: Array,
    span: tuple[float, float],
    ends: tuple[float, float],
    places: Array,
    theme: Theme,
) -> AxesImage:
    """Draw the levels, and return the image."""
    shown = levels.T if len(levels) else np.full((len(places) - 1, 1), ends[0])
    # The last column may be partial: the picture ends with the recording.
    right = span[0] + shown.shape[1] * view.cell / view.signal.samplerate
    extent = (span[0], max(right, span[1]), places[0], places[-1])
    image = axes.imshow(
        shown, cmap=_colours(theme), vmin=ends[0], vmax=ends[1], origin="lower", aspect="auto", extent=extent
    )
    axes.set_facecolor(theme.paper)
    axes.set_ylim(places[0], places[-1])
    for side in axes.spines.values():
        side.set_visible(False)
    return image


def _colours(theme: Theme) -> ListedColormap:
    """Return the colours of levels, from the quietest to the loudest."""
    colours = colormaps[theme.map](np.linspace(0, 1, COLOURS))
    if theme.fade:
        share = (1 - np.linspace(0, 1, COLOURS)[:, None]) ** 2
        colours = colours * (1 - share) + share  # 1 is white
    return ListedColormap(colours)


def _average(axes: Axes, view: View, places: Array, ends: tuple[float, float], theme: Theme) -> None:
    """Draw the long-term average spectrum, its frequencies in line with the spectrogram's."""
    levels = np.maximum(decibels(view.average), ends[0])
    middles = (places[:-1] + places[1:]) / 2
    axes.set_facecolor(theme.strip)
    axes.fill_betweenx(middles, ends[0], levels, color=theme.peak, alpha=0.45, lw=0)
    axes.plot(levels, middles, color=theme.rms, lw=1.2)
    axes.set_ylim(places[0], places[-1])
    axes.set_xlim(*ends)
    axes.set_yticks([])
    axes.set_xticks(level_ticks(*ends))
    axes.tick_params(length=3, color=theme.quiet)
    axes.grid(axis="x", color=theme.quiet, lw=0.5)
    axes.set_title("average, dB", size=10, color=theme.ink)
    for side in axes.spines.values():
        side.set_visible(False)


# Axes


def _time_axis(rows: list[Axes], span: tuple[float, float], most: int) -> None:
    """Give all rows the same times, and the last one their names."""
    ticks, step = time_ticks(*span, max(2, most))
    for axes in rows:
        axes.set_xlim(*span)
        axes.set_xticks(ticks, [""] * len(ticks) if axes is not rows[-1] else _times(ticks, step, span[1]))
        axes.tick_params(axis="x", length=4 if axes is rows[-1] else 0)


def _times(ticks: list[float], step: float, last: float) -> list[str]:
    return [time_label(tick, step, last) for tick in ticks]


def _hertz_axis(axes: Axes, view: View, places: Array, pixels: float, theme: Theme) -> None:
    """Name frequencies, as far apart as their names are high."""
    ticks = hertz_ticks(view.signal.samplerate / 2, even=view.scale == "linear")
    lines = [_place(tick, view.scale) for tick in ticks]
    kept = spread(lines, LABEL_PIXELS / pixels * (places[-1] - places[0]))
    axes.set_yticks([lines[number] for number in kept], [hertz_label(ticks[number]) for number in kept])
    axes.tick_params(axis="y", length=4, color=theme.quiet)


def _places(view: View) -> Array:
    """Return the edges of the bands on the scale."""
    return np.array([_place(hertz, view.scale) for hertz in view.edges])


def _place(hertz: float, scale: str) -> float:
    return hertz if scale == "linear" else float(mel(hertz))


# Words


def _shortened(title: str, most: int) -> str:
    """Return a title of about that many characters: of a longer one, the beginning and the end."""
    title, half = voice.printable(title), max(5, most // 2 - 2)
    return title if len(title) <= most else f"{title[:half]} ... {title[-half:]}"


def _facts(view: View, shown: int) -> str:
    signal = view.signal
    channels = "1 channel" if signal.channels == 1 else f"{signal.channels} channels"
    if shown < signal.channels:
        channels += f" (waveforms of the first {shown})"
    length = signal.frames / signal.samplerate
    duration = clock(length) if length >= 60 else f"{length:.3g} s" if length >= 1 else f"{length * 1000:.3g} ms"
    return f"{duration}   {signal.samplerate:,} Hz   {channels}   {signal.format.name}"


def _channel_name(number: int, channels: int) -> str:
    return "LR"[number] if channels == 2 else str(number + 1)
