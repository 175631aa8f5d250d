"""Reliability diagram: accuracy against confidence, and the number of videos in each bin (Guo et al., 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from peclip.labels import canonical
from peclip.metrics.calibration_error import CalibrationBins, calibration_bins
from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.figures.titles import add_title, facts_of
from peclip.metrics.intervals import wilson
from peclip.metrics.prediction_table import PredictionTable
from peclip.results.figures import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR, _GAP, _LINE = PALETTE[4], PALETTE[3], PALETTE[9]


def bins_of(table: PredictionTable) -> CalibrationBins:
    """Returns the bins of the predictions whose target is a label of the model, as in `scoring.score`."""
    assert table.confidences is not None
    classes = set(map(canonical, table.classes))
    pairs = [
        (canonical(target), canonical(label))
        for target, label in zip(table.targets, table.labels, strict=True)
    ]
    kept = [number for number, (target, _) in enumerate(pairs) if target in classes]
    return calibration_bins(table.confidences[kept], [pairs[n][0] == pairs[n][1] for n in kept])


def draw(data: PlotData) -> Figure:
    """Draws the accuracy of each bin with its interval, its gap to the mean confidence, and its count."""
    assert data.table is not None
    from matplotlib.figure import Figure

    bins = bins_of(data.table)
    figure = Figure((7.2, 7.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    _draw_accuracies(above, bins)
    centres, width = (bins.edges[:-1] + bins.edges[1:]) / 2, 1 / len(bins.counts)
    below.bar(centres, bins.counts, 0.92 * width, color=_BAR)
    for place, count in zip(centres, bins.counts.tolist(), strict=True):
        below.annotate(
            f"{count:,}", (place, count), xytext=(0, 1.5), textcoords="offset points", ha="center",
            fontsize=7,
        )  # fmt: skip
    below.margins(y=0.18)
    below.yaxis.get_major_locator().set_params(integer=True)
    below.set_ylabel("videos")
    below.set_xlabel("confidence (probability of the predicted label)")
    for axes in (above, below):
        axes.set_xlim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    ece = (
        f"ECE {bins.error:.4f} (0 to 1; {len(bins.counts)} bins of equal width), mean confidence "
        f"{100 * bins.confidence_sums.sum() / bins.counts.sum():.2f} %"
    )
    add_title(figure, "Reliability diagram", facts_of(data, ece))
    return figure


def _draw_accuracies(axes: Axes, bins: CalibrationBins) -> None:
    used = bins.counts > 0
    centres = ((bins.edges[:-1] + bins.edges[1:]) / 2)[used]
    accuracy, confidence = bins.accuracies[used], bins.confidences[used]
    width = 1 / len(bins.counts)
    low, high = wilson(bins.hits[used], bins.counts[used])
    axes.bar(centres, accuracy, 0.92 * width, color=_BAR, label="accuracy")
    axes.errorbar(
        centres, accuracy, np.maximum([accuracy - low, high - accuracy], 0), fmt="none", ecolor="black",
        elinewidth=1, capsize=2, label="95 % interval (Wilson)",
    )  # fmt: skip
    axes.hlines(
        confidence, centres - 0.46 * width, centres + 0.46 * width, color=_GAP, linewidth=2.2,
        label="mean confidence",
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], "--", color=_LINE, linewidth=1, label="perfect calibration")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("accuracy")
