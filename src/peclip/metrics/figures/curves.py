"""Learning curves: loss, UAR and WAR of every epoch, by split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from peclip.metrics.figures.plot_data import History, PlotData
from peclip.metrics.figures.titles import add_title, facts_of
from peclip.results.figures import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {"loss": "loss", "uar": "UAR (%)", "war": "WAR (%)"}
_STYLES = {
    "train": (PALETTE[1], "o"),
    "val": (PALETTE[3], "s"),
    "test": (PALETTE[5], "^"),
}


def curves_of(history: History) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
    """Returns epochs and values by panel and split; splits and values that no epoch has are left out."""
    return {
        key: {split: points for split in _STYLES if (points := _points(history, split, key))[0]}
        for key in PANELS
    }


def _points(history: History, split: str, key: str) -> tuple[list[int], list[float]]:
    found = [entry for entry in history if entry.get(split, {}).get(key) is not None]
    return [entry["epoch"] for entry in found], [entry[split][key] for entry in found]


def draw(data: PlotData) -> Figure:
    """Draws a panel for loss, UAR and WAR, with a line per split and fold, and marks the selected epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = dict(zip(PANELS, figure.subplots(1, 3), strict=True))
    several = len(data.histories) > 1
    for key, axes in panels.items():
        axes.set_title(PANELS[key], fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for name, history in data.histories.items():
        curves = curves_of(history)
        for key, axes in panels.items():
            _draw_curves(axes, curves[key], faint=several)
            if not several and name in data.selected:
                axes.axvline(
                    data.selected[name], color=PALETTE[9], linestyle=":", label="selected epoch"
                )
    handles, labels = panels["loss"].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        panels["loss"].legend(unique.values(), unique.keys(), frameon=False, fontsize=8)
    add_title(figure, "Learning curves", facts_of(data, *_notes(data)))
    return figure


def _draw_curves(
    axes: Axes, curves: Mapping[str, tuple[list[int], list[float]]], *, faint: bool
) -> None:
    for split, (epochs, values) in curves.items():
        colour, marker = _STYLES[split]
        axes.plot(
            epochs, values, color=colour, marker=marker, markersize=4, label=split,
            alpha=0.6 if faint else 1,
        )  # fmt: skip


def _notes(data: PlotData) -> list[str]:
    values = [
        value
        for history in data.histories.values()
        for panel in curves_of(history).values()
        for _, values in panel.values()
        for value in values
    ]
    gaps = sum(not math.isfinite(value) for value in values)
    notes = _selected(data)
    if gaps:
        notes.append(f"{gaps:,} of {len(values):,} values are NaN or infinite, and are not drawn.")
    return notes


def _selected(data: PlotData) -> list[str]:
    if len(data.histories) > 1:
        chosen = ", ".join(f"{name}: {epoch}" for name, epoch in data.selected.items())
        return [f"One line per fold; selected epochs: {chosen or 'none recorded'}."]
    return [f"Selected epoch: {epoch}." for epoch in data.selected.values()]
