"""t-SNE of video features, a point per video in the colour and shape of its true class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peclip.labels import in_usual_order
from peclip.metrics.embedding import chosen, embed
from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.figures.titles import add_title, class_names
from peclip.results.figures import label_colours
from peclip.text.display import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX<>*"
_MANY = 12
"""Above this number of classes, colours and markers alone are hard to tell apart."""


def looks_of(labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Returns a colour and a marker per label: different pairs for at least 40 labels, markers for the colour-blind."""
    taken = set[tuple[str, str]]()
    looks = {}
    for number, (name, colour) in enumerate(label_colours(labels).items()):
        turned = [_MARKERS[(number + step) % len(_MARKERS)] for step in range(len(_MARKERS))]
        free = [marker for marker in turned if (colour, marker) not in taken]
        looks[name] = colour, (free or turned)[0]
        taken.add(looks[name])
    return looks


def draw(data: PlotData) -> Figure:
    """Embeds the features and draws them.

    Raises:
        ConfigError: there are too few videos.
        MissingExtraError: scikit-learn is not installed.
    """
    assert data.features is not None
    from matplotlib.figure import Figure

    features = data.features
    kept = chosen(len(features), seed=data.seed)
    embedding = embed(features.values[kept], seed=data.seed)
    targets = np.array([features.targets[number] for number in kept])
    labels = in_usual_order(targets.tolist())
    columns = 1 + (len(labels) - 1) // 24
    figure = Figure((8.6 + 3.6 * (columns - 1), 7.4), layout="constrained")
    axes = figure.subplots()
    _draw_points(axes, embedding.points, targets, labels)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    legend = axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        ncols=columns,
        frameon=False,
        fontsize=8,
        title="true class (videos)",
        title_fontsize=8,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    number = f"n = {len(kept):,} videos"
    if len(kept) < len(features):
        number += f" drawn at random from {len(features):,}"
    settings = (
        f"{number}; features of {features.values.shape[1]} numbers, perplexity {embedding.perplexity:.3g}, "
        f"initialised with PCA, seed {embedding.seed}"
    )
    meaning = "Neighbouring points have similar features; distances between groups have no meaning."
    about = features.about or ", ".join(filter(None, (data.videos, data.model)))
    add_title(figure, "t-SNE of video features", [about, settings, meaning])
    return figure


def _draw_points(
    axes: Axes, points: NDArray[np.float64], targets: NDArray[np.str_], labels: Sequence[str]
) -> None:
    """Draws the points of each class; with many classes, their numbers in the legend stand at their medians."""
    looks, many = looks_of(labels), len(labels) > _MANY
    size = float(np.clip(4000 / len(points), 10, 60))
    # The numbers of many classes tell them apart.
    shown = [shortened(name, 28) for name in labels] if many else class_names(labels, limit=28)
    for number, (name, short) in enumerate(zip(labels, shown, strict=True), 1):
        own = points[targets == name]
        colour, marker = looks[name]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=size,
            color=colour,
            marker=marker,
            alpha=0.8,
            linewidths=0.3,
            edgecolors="black",
            label=f"{f'{number} ' * many}{short} ({len(own):,})",
        )
        if many:
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.5, "linewidth": 0}
            x, y = np.median(own, axis=0).tolist()
            axes.text(x, y, f"{number}", ha="center", va="center", fontsize=7, bbox=box)
