"""Differences between two models with their paired intervals: UAR, WAR, and the recall of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peclip.metrics.comparison import Difference
from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.figures.titles import add_title, as_plain_text, class_names, warnings_of
from peclip.results.figures import PALETTE
from peclip.text.display import columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCORE, _RECALL = PALETTE[3], PALETTE[1]


def draw(data: PlotData) -> Figure:
    """Draws a point and an interval per score, in percentage points."""
    assert data.comparison is not None
    from matplotlib.figure import Figure

    found = data.comparison
    names = class_names(
        [one.name for one in found.recall], [one.num_videos for one in found.recall]
    )
    figure = Figure(
        (7.6 + 0.03 * max(map(columns, names)), 2.6 + 0.32 * (2 + len(names))), layout="constrained"
    )
    axes = figure.subplots()
    scores = [found.uar, found.war]
    axes.axvline(0, color="black", linewidth=1)
    _draw(axes, scores, 0, _SCORE, "s", "UAR and WAR")
    _draw(axes, list(found.recall), 2, _RECALL, "o", "recall of a class")
    axes.axhline(1.5, color=PALETTE[10], linewidth=0.8)
    ticks = [f"UAR ({found.num_videos:,})", f"WAR ({found.num_videos:,})", *names]
    axes.set_yticks(range(len(ticks)), ticks, fontsize=8 if len(ticks) > 14 else 9)
    axes.set_ylim(len(ticks) - 0.4, -0.6)
    axes.set_xlabel("second - first (percentage points)")
    axes.set_ylabel("score (videos)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="best")
    as_plain_text(axes)
    people = "" if found.num_subjects is None else f" of {found.num_subjects:,} subjects"
    interval = (
        f"95 % intervals from {found.resamples:,} paired bootstrap draws of {found.unit}; p by randomisation"
        if found.resamples
        else "no intervals were requested"
    )
    facts = [
        data.videos,
        data.model,
        f"n = {found.num_videos:,} shared videos{people}",
        interval,
        *map(_in_words, scores),
        *(f"{note}." for note in found.notes),
        *warnings_of(data),
    ]
    add_title(figure, "Difference between two models", facts)
    return figure


def _draw(
    axes: Axes, scores: list[Difference], start: int, colour: str, marker: str, label: str
) -> None:
    values = [100 * one.value for one in scores]
    ends = [one.interval or (one.value, one.value) for one in scores]
    errors = [
        [max(value - 100 * low, 0) for value, (low, _) in zip(values, ends, strict=True)],
        [max(100 * high - value, 0) for value, (_, high) in zip(values, ends, strict=True)],
    ]
    axes.errorbar(
        values, range(start, start + len(scores)), xerr=errors, fmt=marker, color=colour, capsize=3,
        markersize=5, label=label,
    )  # fmt: skip


def _in_words(one: Difference) -> str:
    text = f"{one.name.upper()} {100 * one.first:.2f} to {100 * one.second:.2f} % ({100 * one.value:+.2f}"
    if one.interval is None:
        return f"{text} points)"
    return f"{text} points, {one.interval_text}, p = {one.p_text})".replace("= <", "< ")
