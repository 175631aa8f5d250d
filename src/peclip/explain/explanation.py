"""The explanation of one window's prediction. Nothing here imports torch.

Shapes: `T` frames, `G` rows and columns of a map, `S` side of a crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIGITS = 6
"""Of numbers in JSON: significant ones, since maps of large grids have small values."""


@dataclass(frozen=True, slots=True)
class Word:
    """A text that the model compares with the video."""

    text: str
    label: str
    """The label it describes."""
    similarity: float
    """The logit that the model would give a label with this text, times the temperature: for PE-CLIP a cosine."""
    is_phrase: bool
    """Whether it is one phrase of the label's text, and not the whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What one method finds."""

    method: str
    forward_passes: int
    """Windows that went through the network; a mirror image counts too."""
    backward_passes: int = 0
    frames: Array | None = None
    """(T,): importance of each frame; if `is_directed`, above 0 supports the label."""
    maps: Array | None = None
    """(T, G, G), or (1, G, G) for all frames: the same for each part of the crop, from the top left."""
    words: tuple[Word, ...] = ()
    streams: Mapping[str, float] = field(default_factory=dict)
    """Weight of each stream; the sum is 1."""
    unit: str = ""
    """Of `frames` and `maps`."""
    is_directed: bool = True
    """Whether values support or oppose the label, by their sign."""
    remark: str = ""
    """What limits the finding."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            "method": self.method,
            "forward_passes": self.forward_passes,
            "backward_passes": self.backward_passes,
            "unit": self.unit,
            "is_directed": self.is_directed,
            "frames": _numbers(self.frames),
            "maps": _numbers(self.maps),
            "words": [
                {
                    "text": word.text,
                    "label": word.label,
                    "similarity": _rounded(word.similarity),
                    "is_phrase": word.is_phrase,
                }
                for word in self.words
            ],
            "streams": {name: _rounded(weight) for name, weight in self.streams.items()},
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a model gives one person in one window its probability of a label."""

    source: str
    model: str
    label: str
    """The label that is explained; by default the most likely one."""
    scores: Mapping[str, float]
    """Probability by label, in the order of the model."""
    log_odds: float
    """The number that is explained: log(p / (1 - p)) of the label, in fp32."""
    track_id: int
    start_s: float
    end_s: float
    crops: NDArray[np.uint8]
    """uint8 (T, S, S, 3), RGB: the frames that the model saw."""
    frame_numbers: tuple[int, ...]
    """(T,): of the crops in the source; a short window repeats frames."""
    times_s: tuple[float, ...]
    """(T,): of the crops."""
    findings: Mapping[str, Finding]
    """By method."""

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Labels and probabilities, the most likely first."""
        return sorted(self.scores.items(), key=lambda item: -item[1])

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form, without pixels."""
        return {
            "source": self.source,
            "model": self.model,
            "label": self.label,
            "scores": {name: _rounded(score) for name, score in self.scores.items()},
            "log_odds": _rounded(self.log_odds),
            "track_id": self.track_id,
            "start_s": round(self.start_s, DIGITS),
            "end_s": round(self.end_s, DIGITS),
            "frame_numbers": list(self.frame_numbers),
            "times_s": [round(time, DIGITS) for time in self.times_s],
            "findings": {name: finding.to_dict() for name, finding in self.findings.items()},
        }


def _numbers(values: Array | None) -> Any:
    return None if values is None else np.vectorize(_rounded, otypes=[float])(values).tolist()


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
