"""Configuration of the evaluation of a model on a data set."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peclip.config import MAX_WORKERS, RESAMPLES, Config, default_readers
from peclip.literals import FrameOrder
from peclip.text.views import Views, ViewsText, parse_views


class EvaluateOptions(Config, use_attribute_docstrings=True):
    """How a model is evaluated.

    Field names are the flags of `peclip evaluate`, and their docstrings its help; `resamples` is `--bootstrap`.
    """

    split: str | None = None
    """Split to evaluate; by default, the split that papers report scores on."""
    labels: dict[str, str] | None = None
    """Custom labels for the model, mapped to their texts (empty for the default text)."""
    frames: FrameOrder = "as-recorded"
    """Frame order. All orders except as-recorded destroy temporal information; compare the scores with
    those of as-recorded to see whether the model uses it."""
    tta: ViewsText = "none"
    """Test-time augmentation: views of each video whose probabilities are averaged, such as flip or
    clips=2,crops=2,flip (8 views, so 8 times the computation)."""
    sound: Literal["on", "off"] = "on"
    """For models that read sound: off evaluates them on the frames alone."""
    prior_weight: float | None = Field(None, ge=0, le=1)
    """Label prior assumed at prediction time: 0 for the label frequencies of the training videos, 1 for a
    uniform prior, or a value in between to interpolate. Defaults to the value stored in the model."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed for the bootstrap and for frame shuffling."""
    batch_size: int | None = Field(None, ge=1, le=10_000)
    """Videos per forward pass; defaults to 8, or on a GPU to as many as keep it busy, up to 64."""
    workers: int = Field(default_factory=default_readers, ge=0, le=MAX_WORKERS)
    """Number of data-loading processes; by default, one per core, up to 4. For still images on a CPU, at most 1."""
    resamples: int = Field(RESAMPLES, ge=0, le=1_000_000)
    """Number of bootstrap samples for the confidence intervals; 0 disables them."""
    skip_unreadable: bool = False
    """Skip videos that cannot be read; the report states how many."""

    @property
    def views(self) -> Views:
        """The views that `tta` names."""
        return parse_views(self.tta)
