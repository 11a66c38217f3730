"""Tables, JSON and pictures of a benchmark.

Tables go to standard output, as plain text or as Markdown. JSON, with facts about the machine, and the picture go to
benchmarks/results/, under the benchmark's name and the time. Without matplotlib there is no picture.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import method

RESULTS = method.BENCHMARKS / "results"


@dataclass(frozen=True)
class Table:
    """A table, and sentences that belong under it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def plain(self) -> str:
        """Return the table as columns of text."""
        widths = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        lines = [
            "  ".join(_pad(cell, widths[i], i) for i, cell in enumerate(row)) for row in (self.columns, *self.rows)
        ]
        return "\n".join([self.title, *lines, *self.notes])

    def markdown(self) -> str:
        """Return the table as Markdown, notes as paragraphs."""
        ruler = ["---", *("---:" for _ in self.columns[1:])]
        lines = ["| " + " | ".join(row) + " |" for row in (self.columns, ruler, *self.rows)]
        return "\n\n".join([f"{self.title}:", "\n".join(lines), *self.notes])


def report(
    name: str,
    tables: Sequence[Table],
    facts: Mapping[str, object],
    *,
    markdown: bool,
    draw: Callable[[Any], None] | None = None,
) -> None:
    """Print the tables, write the JSON and the picture.

    Args:
        name: The benchmark's name; the files have it too.
        tables: The tables.
        facts: All measurements, for the JSON.
        markdown: Whether tables are printed as Markdown.
        draw: Fills a matplotlib figure.
    """
    for table in tables:
        print((table.markdown() if markdown else table.plain()) + "\n")
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": machine(), **facts}, indent=2) + "\n", encoding="utf-8")
    say(f"written to {path.relative_to(method.ROOT)}")
    if draw is not None:
        _draw(path.with_suffix(".png"), draw)


def machine() -> dict[str, object]:
    """Return facts about this machine and the versions of Python and zaudio."""
    from zaudio import __version__

    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "zaudio": __version__,
    }


def say(sentence: str) -> None:
    """Print a sentence that is no part of a table, on standard error."""
    print(sentence, file=sys.stderr)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the least and the most, as text."""
    of = method.summary(values)
    return f"{of['median']:.{digits}f} ({of['least']:.{digits}f}..{of['most']:.{digits}f})"


def mib(count: int | None) -> str:
    return f"{count / 2**20:.0f}" if count else "-"


def bars(figure: Any, title: str, unit: str, values: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw horizontal bars of medians, with the least and the most: one group per name, one bar per series."""
    axes = figure.add_subplot()
    names = list(values)
    series = list(dict.fromkeys(each for of in values.values() for each in of))
    height = 0.8 / len(series)
    for number, each in enumerate(series):
        shown = [
            (place, method.summary(values[name][each])) for place, name in enumerate(names) if each in values[name]
        ]
        medians = [of["median"] for _, of in shown]
        errors = [[of["median"] - of["least"] for _, of in shown], [of["most"] - of["median"] for _, of in shown]]
        axes.barh([place + number * height for place, _ in shown], medians, height, xerr=errors, label=each, capsize=2)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title)
    axes.legend()


def _draw(path: Path, draw: Callable[[Any], None]) -> None:
    try:
        import matplotlib
    except ImportError:
        say("no picture: matplotlib is not installed")
        return
    matplotlib.use("Agg")  # files only; no display is needed
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    draw(figure)
    figure.savefig(path, dpi=120)
    say(f"written to {path.relative_to(method.ROOT)}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)
