"""The figures that `peclip plots` draws, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peclip.errors import ConfigError
from peclip.metrics.figures import confusion, curves, differences, recall, reliability, tsne
from peclip.metrics.figures.plot_data import PlotData
from peclip.results.figures import check_matplotlib
from peclip.results.fonts import fonts_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure: how it is drawn, and what it needs."""

    draw: Callable[[PlotData], Figure]
    has_numbers: Callable[[PlotData], bool]
    needs: str
    """What the source must have, for messages."""


_PREDICTIONS = "predictions, which this run has not written: finish it with peclip train --resume"
FIGURES: dict[str, FigureKind] = {
    "confusion": FigureKind(
        confusion.draw_shares,
        lambda data: data.report is not None,
        _PREDICTIONS,
    ),
    "confusion-counts": FigureKind(
        confusion.draw_counts,
        lambda data: data.report is not None,
        _PREDICTIONS,
    ),
    "reliability": FigureKind(
        reliability.draw,
        lambda data: data.table is not None and data.table.probabilities is not None,
        "probabilities: predictions with the columns prob_<label>",
    ),
    "recall": FigureKind(
        recall.draw,
        lambda data: data.report is not None,
        _PREDICTIONS,
    ),
    "curves": FigureKind(
        curves.draw,
        lambda data: any(data.histories.values()),
        "a training history: pass a run folder with metrics.jsonl",
    ),
    "tsne": FigureKind(
        tsne.draw,
        lambda data: data.features is not None,
        "video features: pass a run folder, or --features FILE.npz",
    ),
    "differences": FigureKind(
        differences.draw,
        lambda data: data.comparison is not None,
        "two models: --compare RUN_A RUN_B",
    ),
}
"""In the order in which they are drawn; the file of a figure has its name."""


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of figures without duplicates, in the order of `FIGURES`.

    Raises:
        ConfigError: a name is unknown, or there is none.
    """
    given = {name.strip().lower() for name in names} - {""}
    if unknown := sorted(given - FIGURES.keys()):
        raise ConfigError(f"Unknown figure {unknown[0]!r}; choose from {', '.join(FIGURES)}.")
    if not given:
        raise ConfigError(f"No figure was named; choose from {', '.join(FIGURES)}.")
    return tuple(name for name in FIGURES if name in given)


def check_numbers(names: Iterable[str], data: PlotData) -> None:
    """Checks that figures can be drawn.

    Raises:
        ConfigError: the data lack what one of them needs; the message says what that is.
    """
    for name in names:
        if not FIGURES[name].has_numbers(data):
            raise ConfigError(f"The figure {name!r} needs {FIGURES[name].needs}.")


def draw_figure(name: str, data: PlotData) -> Figure:
    """Draws a figure.

    Raises:
        ConfigError: the data lack what the figure needs; the message says what that is.
        MissingExtraError: matplotlib, or for t-SNE scikit-learn, is not installed.
    """
    check_numbers([name], data)
    check_matplotlib("Drawing figures")
    with fonts_for(_texts(data)):
        return FIGURES[name].draw(data)


def _texts(data: PlotData) -> list[str]:
    texts = [data.videos, data.model]
    if data.report is not None:
        texts += data.report.labels
    if data.features is not None:
        texts += [data.features.about, *set(data.features.targets)]
    if data.comparison is not None:
        texts += [one.name for one in data.comparison.recall]
    return texts
