"""Plot of a prediction: probabilities over time (extra `plot`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peclip.results.interface import SourceResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from peclip.results.figures import PALETTE, check_matplotlib
from peclip.text.display import printable, shortened


def plot_timeline(prediction: SourceResult) -> Figure:
    """Draws the probabilities of every label over time, one panel per person.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_matplotlib("Prediction.plot()")
    from matplotlib.figure import Figure

    tracks = list(prediction.tracks.values())
    figure = Figure(figsize=(9, 1 + 2.4 * max(1, len(tracks))), layout="constrained")
    panels = figure.subplots(max(1, len(tracks)), 1, sharex=True, squeeze=False)[:, 0]
    if not tracks:
        panels[0].text(0.5, 0.5, "no face found", ha="center", va="center", fontsize=14)
        panels[0].set_axis_off()
    for panel, track in zip(panels, tracks, strict=False):
        middles = [(row.start_s + row.end_s) / 2 for row in track.rows]
        for number, label in enumerate(prediction.labels):
            values = [row.scores[label] for row in track.rows]
            colour = PALETTE[number % len(PALETTE)]
            panel.plot(
                middles, values, color=colour, label=shortened(label), marker="o", markersize=3
            )
        title = f"person {track.track_id}" if track.track_id >= 0 else "whole frame"
        said = f"{title}: {shortened(str(track.label))}"
        panel.set_title(said, loc="left", fontsize=10, parse_math=False)
        panel.set(ylim=(-0.02, 1.02), ylabel="probability")
        panel.grid(alpha=0.3)
    if tracks:
        panels[-1].set_xlabel("seconds")
        legend = panels[0].legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a label with dollar signs is no formula
    figure.suptitle(printable(prediction.source), parse_math=False)
    return figure
