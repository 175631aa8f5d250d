"""When, exactly: by how much the log-odds fall without each frame.

The frame is removed, not blanked: the models take any number of frames, so a shorter window is a valid input (a temporal
head interpolates its positions: the frames after the one removed move by at most one place). Copies of a
frame, with which a short window is filled up, are removed together. This takes one pass per distinct frame, and one for
the whole window; all of it twice for a model that averages mirror images.
"""

from __future__ import annotations

import numpy as np
import torch

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding

UNIT = "fall of the log-odds without the frame"


def find_frames(window: ExplainedWindow) -> Finding:
    """Returns the fall of the log-odds without each frame, (T,)."""
    before = window.forward_passes
    whole = window.predict(window.batch)
    numbers = window.frame_numbers
    falls: dict[int, float] = {}
    for number in dict.fromkeys(numbers):
        kept = [place for place, other in enumerate(numbers) if other != number]
        order = torch.tensor([kept], device=window.batch.frames.device)
        falls[number] = float(whole - window.predict(window.batch.at(order)))
    return Finding(
        "leave-one-out",
        window.forward_passes - before,
        frames=np.array([falls[number] for number in numbers]),
        unit=UNIT,
    )


def missing_in(window: ExplainedWindow) -> str | None:
    """Returns why the method cannot explain a window."""
    if len(set(window.frame_numbers)) > 1:
        return None
    return "the window has a single frame, which cannot be left out"
