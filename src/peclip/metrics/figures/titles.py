"""Titles of figures: what is shown, of which videos and model, how many videos, and with which intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.intervals import Interval
from peclip.metrics.report import Report
from peclip.text.display import shortened, shortened_inside, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONT_SIZE = 9.5
_WIDTH_OF_LETTER = 0.56
"""Mean width of a letter, as a fraction of the font size."""


def add_title(figure: Figure, heading: str, facts: Sequence[str]) -> None:
    """Adds a heading and lines of facts above a figure, wrapped to its width."""
    letters = int(72 * figure.get_figwidth() / (_FONT_SIZE * _WIDTH_OF_LETTER)) - 2
    lines = [line for text in (heading, *facts) for line in wrapped(text, letters)]
    figure.suptitle("\n".join(lines), fontsize=_FONT_SIZE, parse_math=False)


def facts_of(data: PlotData, *more: str) -> list[str]:
    """Returns the lines of a title: videos and model, n and scores with intervals, and caveats."""
    found = [", ".join(filter(None, (data.videos, data.model)))]
    if data.report is not None:
        found += scores_of(data.report)
    found += more
    if data.report is not None and data.report.caution is not None:
        found.append(f"{data.report.caution}.")
    return found + warnings_of(data)


def warnings_of(data: PlotData) -> list[str]:
    """Returns the line about the warning of a report, if it has one."""
    if data.warning is None:
        return []
    return ["The scores may be too high: see the warning in report.json."]


def scores_of(report: Report) -> list[str]:
    """Returns the number of videos, and UAR and WAR with their intervals."""
    n = f"n = {report.num_videos:,} video{'s' * (report.num_videos != 1)}"
    if report.dropped:
        n += f" ({sum(report.dropped.values()):,} with other labels dropped)"
    if report.uar_ci is not None:
        n += "; UAR and WAR with 95 % intervals (bootstrap over videos):"
    scores = (("UAR", report.uar, report.uar_ci), ("WAR", report.war, report.war_ci))
    return [n, ", ".join(_score(*one) for one in scores)]


def _score(name: str, value: float, interval: Interval | None) -> str:
    text = f"{name} {100 * value:.2f} %"
    if interval is None:
        return text
    return f"{text} ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"


def class_names(
    labels: Sequence[str], videos: Sequence[int] | None = None, limit: int = 40
) -> list[str]:
    """Returns class names for an axis or a legend, with their number of videos; short, and different from each other."""
    names = _short_names(labels, limit)
    if videos is None:
        return names
    return [f"{name} ({n:,})" for name, n in zip(names, videos, strict=True)]


def _short_names(labels: Sequence[str], limit: int) -> list[str]:
    for shorten in (shortened, shortened_inside):
        names = [shorten(name, limit) for name in labels]
        if len(set(names)) == len(names):
            return names
    return [f"{number}. {shortened(name, limit - 4)}" for number, name in enumerate(labels, 1)]


def as_plain_text(axes: Axes) -> None:
    """Shows dollar signs in class names as they are, not as formulas."""
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts):
        text.set_parse_math(False)
