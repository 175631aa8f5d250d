"""How faithful an explanation is: deletion and insertion curves, and the same model with random weights.

Deletion removes what a method ranks highest first; the probability of the label should fall early, so a small area under
the curve is good. Insertion starts with nothing and adds what is ranked highest first; a large area is good (Petsiuk et
al., 2018, "RISE", arXiv 1806.07421, section 4.1). An explanation that stays the same when the weights are random shows
the picture, not the model (Adebayo et al., 2018, "Sanity Checks for Saliency Maps", arXiv 1810.03292).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Array
from peclip.models.base import ExpressionModel
from peclip.types import Batch

STEPS = 10
"""Parts in which pixels are removed or added."""


def delete_frames(window: ExplainedWindow, importance: Array) -> Array:
    """Returns the log-odds of the label with 0, 1, ... of the highest-ranked frames removed; one stays.

    Args:
        window: T frames, of which copies are removed together.
        importance: (T,)

    Returns:
        (D,) for D distinct frames.
    """
    ranked = _ranked_frames(window, importance)
    return _log_odds(window, [_only(window, ranked[count:]) for count in range(len(ranked))])


def insert_frames(window: ExplainedWindow, importance: Array) -> Array:
    """Returns the log-odds of the label with only the 1, 2, ... highest-ranked frames, (D,)."""
    ranked = _ranked_frames(window, importance)
    return _log_odds(window, [_only(window, ranked[: n + 1]) for n in range(len(ranked))])


def delete_pixels(window: ExplainedWindow, maps: Array, steps: int = STEPS) -> Array:
    """Returns the log-odds of the label with the highest-ranked pixels replaced by the mean colour, (steps + 1,).

    Maps are interpolated to the size of the crops; every step takes the same number of pixels from each frame.

    Args:
        window: the window.
        maps: (T, G, G), or (1, G, G) for all frames.
        steps: parts in which pixels are removed.
    """
    ranks = _pixel_ranks(window, maps)
    hidden = [ranks < number / steps for number in range(steps + 1)]
    return _log_odds(window, [window.without(mask) for mask in hidden])


def insert_pixels(window: ExplainedWindow, maps: Array, steps: int = STEPS) -> Array:
    """Returns the log-odds of the label with only the highest-ranked pixels, from none to all, (steps + 1,)."""
    ranks = _pixel_ranks(window, maps)
    hidden = [ranks >= number / steps for number in range(steps + 1)]
    return _log_odds(window, [window.without(mask) for mask in hidden])


def area(log_odds: Array) -> float:
    """Returns the area under the curve of the probability, over a part of the window from 0 to 1 (trapezoids)."""
    probability = 1 / (1 + np.exp(-log_odds))
    return float((probability[:-1] + probability[1:]).mean() / 2)


def randomise(model: ExpressionModel, seed: int = 0) -> ExpressionModel:
    """Returns a copy of a model in which every weight is drawn anew, with the mean and the deviation of its tensor."""
    generator = torch.Generator().manual_seed(seed)
    drawn = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in drawn.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            deviation = parameter.std() if parameter.numel() > 1 else parameter.abs().sum()
            parameter.copy_(parameter.mean() + deviation * noise)
    return drawn


def _ranked_frames(window: ExplainedWindow, importance: Array) -> list[int]:
    """Returns the numbers of the distinct frames, the most important first."""
    values = dict(zip(window.frame_numbers, importance.tolist(), strict=True))
    return sorted(values, key=lambda number: -values[number])


def _only(window: ExplainedWindow, numbers: Sequence[int]) -> Batch:
    """Returns a window with some of its frames, in their order."""
    kept = [place for place, number in enumerate(window.frame_numbers) if number in set(numbers)]
    return window.batch.at(torch.tensor([kept], device=window.batch.frames.device))


def _pixel_ranks(window: ExplainedWindow, maps: Array) -> torch.Tensor:
    """Returns the rank of each pixel in its frame as a share, (T or 1, S, S): 0 is the highest."""
    size = window.batch.frames.shape[-1]
    grid = torch.from_numpy(maps)[:, None]
    fine = F.interpolate(grid, (size, size), mode="bilinear", align_corners=False)[:, 0]
    order = fine.flatten(1).argsort(dim=1, descending=True, stable=True)
    ranks = order.argsort(dim=1).to(torch.float64) / (size * size)
    return ranks.view(-1, size, size).to(window.batch.frames.device)


def _log_odds(window: ExplainedWindow, batches: Sequence[Batch]) -> Array:
    return np.array([float(window.predict(batch)) for batch in batches])
