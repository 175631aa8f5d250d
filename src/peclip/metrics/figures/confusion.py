"""Confusion matrices: the percentage of each true class, and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError
from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.figures.titles import add_title, as_plain_text, class_names, facts_of
from peclip.metrics.plots import MAX_PLOTTED
from peclip.metrics.report import Report
from peclip.text.display import columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 12
"""Above this number of classes, cells are smaller, percentages are whole numbers, and zeros are blank."""


def row_shares(report: Report) -> NDArray[np.float64]:
    """Returns each row of the confusion matrix in per cent, (C, C); a class without videos is a row of NaN."""
    counts, support = report.confusion.counts, report.confusion.support[:, None]
    return np.where(support > 0, 100 * counts / np.maximum(support, 1), np.nan)


def draw_shares(data: PlotData) -> Figure:
    """Draws the percentages of each true class.

    Raises:
        ConfigError: there are too many classes.
    """
    report = _report(data)
    shares = row_shares(report)
    many = len(report.labels) > _MANY
    texts = [
        [
            "-" if np.isnan(x) else "" if many and x == 0 else f"{x:.0f}" if many else f"{x:.1f}"
            for x in row
        ]
        for row in shares
    ]
    heading = "Confusion matrix, % of each true class"
    return _matrix(data, report, shares, texts, heading, highest=100.0)


def draw_counts(data: PlotData) -> Figure:
    """Draws the number of videos of each pair of classes.

    Raises:
        ConfigError: there are too many classes.
    """
    report = _report(data)
    counts = report.confusion.counts
    many = len(report.labels) > _MANY
    texts = [["" if many and n == 0 else f"{n}" for n in row] for row in counts.tolist()]
    heading = "Confusion matrix, number of videos"
    return _matrix(data, report, counts, texts, heading, highest=float(max(counts.max(), 1)))


def _report(data: PlotData) -> Report:
    assert data.report is not None
    if len(data.report.labels) > MAX_PLOTTED:
        raise ConfigError(
            f"A plot of the confusion matrix shows at most {MAX_PLOTTED} classes; there are "
            f"{len(data.report.labels)}. Draw other figures with --only recall,reliability."
        )
    return data.report


def _matrix(
    data: PlotData,
    report: Report,
    values: NDArray[np.float64] | NDArray[np.int64],
    texts: list[list[str]],
    heading: str,
    *,
    highest: float,
) -> Figure:
    from matplotlib.figure import Figure

    size = len(report.labels)
    many = size > _MANY
    cell = 0.3 if many else 0.66
    names = class_names(report.labels)
    longest = max(map(columns, names))
    width = max(6.5, 1.9 + 0.07 * longest + cell * size)
    figure = Figure((width, 2.0 + 0.06 * longest + cell * size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=highest, aspect="auto")
    longest_text = max(len(text) for row in texts for text in row)
    fontsize = min(6.5 if many else 10, 60 * cell / (0.62 * max(longest_text, 1)))
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            dark = values[row, column] > 0.6 * highest
            axes.text(
                column, row, text, ha="center", va="center", fontsize=fontsize,
                color="white" if dark else "black",
            )  # fmt: skip
    _label_axes(axes, report, names, many=many)
    add_title(figure, heading, facts_of(data))
    return figure


def _label_axes(axes: Axes, report: Report, names: list[str], *, many: bool) -> None:
    places = range(len(names))
    turned = (
        {"rotation": 90} if many else {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    )
    fontsize = 7 if many else 9
    axes.set_xticks(places, names, fontsize=fontsize, **turned)
    numbered = class_names(report.labels, list(report.support.values()))
    axes.set_yticks(places, numbered, fontsize=fontsize)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (videos)")
    as_plain_text(axes)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    edges = [place - 0.5 for place in range(1, len(names))]
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8 if many else 1.5)
    axes.tick_params(which="minor", length=0)
