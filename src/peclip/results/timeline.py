"""Plot of a prediction: probabilities over time (extra `plot`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peclip.results.interface import SourceResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from peclip.figures import PALETTE, check_matplotlib


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
            panel.plot(middles, values, color=colour, label=label, marker="o", markersize=3)
        title = f"person {track.track_id}" if track.track_id >= 0 else "whole frame"
        panel.set_title(f"{title}: {track.label}", loc="left", fontsize=10)
        panel.set(ylim=(-0.02, 1.02), ylabel="probability")
        panel.grid(alpha=0.3)
    if tracks:
        panels[-1].set_xlabel("seconds")
        panels[0].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    figure.suptitle(prediction.source, parse_math=False)
    return figure
