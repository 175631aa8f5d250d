"""Where, exactly but slowly: by how much the log-odds fall if a part of all frames is covered.

The crop has G x G cells. A square of 2 x 2 cells, of the mean colour of the window, covers every place in turn, also half
beyond the edges, and a cell gets the mean fall of the four squares that cover it. This takes (G + 1)^2 passes and one
for the whole window; all of it twice for a model that averages mirror images.
"""

from __future__ import annotations

import numpy as np
import torch

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding

CELLS = 7
"""G, at most the pixels of a side."""
UNIT = "fall of the log-odds if covered in all frames"


def find_places(window: ExplainedWindow, cells: int = CELLS) -> Finding:
    """Returns the fall of the log-odds of each cell, (1, G, G)."""
    before, frames = window.forward_passes, window.batch.frames
    size = frames.shape[-1]
    cells = min(cells, size)
    edges = [round(number * size / cells) for number in range(cells + 1)]
    falls = np.zeros((cells + 1, cells + 1))
    whole = window.predict(window.batch)
    for row in range(cells + 1):
        for column in range(cells + 1):
            hidden = torch.zeros(1, size, size, dtype=torch.bool, device=frames.device)
            hidden[:, _around(row, edges), _around(column, edges)] = True
            falls[row, column] = float(whole - window.predict(window.without(hidden)))
    means = (falls[:-1, :-1] + falls[1:, :-1] + falls[:-1, 1:] + falls[1:, 1:]) / 4
    return Finding("occlusion", window.forward_passes - before, maps=means[None], unit=UNIT)


def _around(corner: int, edges: list[int]) -> slice:
    """Returns the pixels of the cells before and after a corner of the grid."""
    return slice(edges[max(corner - 1, 0)], edges[min(corner + 1, len(edges) - 1)])
