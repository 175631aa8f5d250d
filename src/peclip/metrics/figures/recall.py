"""Recall of each class with its interval, and UAR with its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.figures.titles import add_title, as_plain_text, class_names, facts_of
from peclip.metrics.intervals import wilson
from peclip.metrics.report import Report
from peclip.results.figures import PALETTE
from peclip.text.display import columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINT, _UAR = PALETTE[1], PALETTE[3]


@dataclass(frozen=True, slots=True, eq=False)
class Recalls:
    """Recall of the C classes, 0 to 1, and 95 % Wilson intervals; NaN for a class without videos."""

    labels: tuple[str, ...]
    videos: NDArray[np.int64]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def recalls_of(report: Report) -> Recalls:
    """Returns the recall of every class with its interval."""
    hits, videos = report.confusion.hits, report.confusion.support
    values = np.where(videos > 0, hits / np.maximum(videos, 1), np.nan)
    return Recalls(report.labels, videos, values, *wilson(hits, videos))


def draw(data: PlotData) -> Figure:
    """Draws a point and an interval per class, and a line at UAR."""
    assert data.report is not None
    from matplotlib.figure import Figure

    report, recalls = data.report, recalls_of(data.report)
    size = len(recalls.labels)
    names = class_names(recalls.labels, recalls.videos.tolist())
    figure = Figure(
        (7.2 + 0.03 * max(map(columns, names)), 2.0 + max(1.6, 0.3 * size)), layout="constrained"
    )
    axes = figure.subplots()
    if report.uar_ci is not None:
        start, end = report.uar_ci
        axes.axvspan(
            100 * start,
            100 * end,
            color=_UAR,
            alpha=0.15,
            linewidth=0,
            label="95 % interval of UAR",
        )
    axes.axvline(100 * report.uar, color=_UAR, linewidth=1.2, linestyle="--", label="UAR")
    used = np.flatnonzero(recalls.videos)
    values, low, high = (100 * x[used] for x in (recalls.values, recalls.low, recalls.high))
    axes.errorbar(
        values, used, xerr=np.maximum([values - low, high - values], 0), fmt="o", color=_POINT, capsize=3,
        markersize=5, label="recall, 95 % interval (Wilson)",
    )  # fmt: skip
    for place in np.flatnonzero(recalls.videos == 0).tolist():
        axes.text(1, place, "no videos", va="center", fontsize=8, color=PALETTE[9])
    axes.set_yticks(range(size), names, fontsize=8 if size > 12 else 9)
    axes.set_ylim(size - 0.4, -0.6)
    axes.set_xlim(-1, 101)
    axes.set_xlabel("recall (%)")
    axes.set_ylabel("true class (videos)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    as_plain_text(axes)
    add_title(figure, "Recall of each class", facts_of(data))
    return figure
