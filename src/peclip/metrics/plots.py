"""Plots of scores: the confusion matrix, and training curves (extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peclip.metrics.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from peclip.errors import ConfigError
from peclip.results.figures import PALETTE, check_matplotlib
from peclip.results.fonts import fonts_for
from peclip.text.display import columns, printable, shortened

MAX_PLOTTED = 100
"""Maximum number of classes; one cell is drawn for each pair."""


def plot_confusion(report: Report, *, title: str | None = None) -> Figure:
    """Draws the confusion matrix: for each true class, the percentages and counts of the predicted classes.

    Args:
        report: the scores to plot, with any labels.
        title: by default, UAR, WAR and the number of videos.

    Raises:
        ConfigError: there are too many classes.
        MissingExtraError: matplotlib is not installed.
    """
    check_matplotlib("Plotting the confusion matrix")
    if len(report.labels) > MAX_PLOTTED:
        raise ConfigError(
            f"A plot of the confusion matrix shows at most {MAX_PLOTTED} classes; there are "
            f"{len(report.labels)}. Write the scores to a .json file instead."
        )
    with fonts_for([*report.labels, title or ""]):
        return _confusion_figure(report, title)


def _confusion_figure(report: Report, title: str | None) -> Figure:
    from matplotlib.figure import Figure

    size = len(report.labels)
    names = [shortened(name) for name in report.labels]
    longest = max(map(columns, names))
    width = max(5.5, 1.4 + 0.08 * longest + 0.72 * size)
    figure = Figure((width, 1.5 + 0.05 * longest + 0.62 * size), layout="constrained")
    axes = figure.subplots()
    if title is None:
        title = (
            f"UAR {100 * report.uar:.2f}, WAR {100 * report.war:.2f}, {report.num_videos} videos"
        )
    figure.suptitle(printable(title), fontsize=12, parse_math=False)
    _draw_cells(axes, report)
    places = range(size)
    axes.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        places, [f"{name} ({n})" for name, n in zip(names, report.support.values(), strict=True)]
    )
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)  # a label with dollar signs is no formula
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("true class (videos)")
    figure.supxlabel(
        "predicted class (% of the true class, and number of videos)", fontsize="medium"
    )
    return figure


def _draw_cells(axes: Axes, report: Report) -> None:
    videos = list(report.support.values())
    counts = report.confusion.counts.tolist()
    share = [
        [100 * n / max(total, 1) for n in row] for row, total in zip(counts, videos, strict=True)
    ]
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, total in enumerate(videos):
        for column, number in enumerate(counts[row]):
            colour = "white" if share[row][column] > 60 else "black"
            # A class that never occurs has counts of 0 and no per cent.
            above = f"{share[row][column]:.1f}" if total else "-"
            axes.text(
                column, row - 0.12, above, ha="center", va="center", color=colour, fontsize=10
            )
            axes.text(
                column, row + 0.26, number, ha="center", va="center", color=colour, fontsize=8
            )
    edges = [place - 0.5 for place in range(1, len(videos))]
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def plot_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws training curves: loss, UAR and WAR of every epoch, for each split.

    Args:
        history: one entry per epoch, as in `metrics.jsonl`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_matplotlib("A plot of the training")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    epochs = [entry["epoch"] for entry in history]
    splits = [name for name in ("train", "val", "test") if history and name in history[0]]
    for panel, (key, title) in zip(
        figure.subplots(1, 3),
        (("loss", "loss"), ("uar", "UAR (%)"), ("war", "WAR (%)")),
        strict=True,
    ):
        for number, name in enumerate(splits):
            values = [entry[name][key] for entry in history]
            panel.plot(
                epochs, values, color=PALETTE[number + 1], label=name, marker="o", markersize=3
            )
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
        panel.xaxis.get_major_locator().set_params(integer=True)
    if splits:
        figure.axes[0].legend(frameon=False, fontsize=8)
    return figure
