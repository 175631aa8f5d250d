"""Configuration of the evaluation of a model on a data set."""

from __future__ import annotations

from pydantic import Field

from peclip.config import RESAMPLES, Config, default_readers
from peclip.literals import FrameOrder, ViewAverage


class EvaluateOptions(Config, use_attribute_docstrings=True):
    """How a model is evaluated.

    Field names are the flags of `peclip evaluate`, and their docstrings its help; `resamples` is `--bootstrap`.
    """

    split: str | None = None
    """Split to score; by default the one that papers report."""
    labels: dict[str, str] | None = None
    """Custom labels for the model, with their texts or empty ones."""
    frames: FrameOrder = "as-recorded"
    """Order of the frames; any order but as-recorded destroys the temporal information, to show whether the model uses
    it."""
    tta: ViewAverage = "none"
    """Test-time augmentation; flip: the mean of the probabilities of a video and its mirror image."""
    prior_weight: float | None = Field(None, ge=0, le=1)
    """Label frequencies that predictions assume: 0 those of the training videos, 1 equal ones, values between a
    mixture; by default the weight stored in the model."""
    seed: int = Field(0, ge=0)
    """Seed of the bootstrap, and of shuffled frames."""
    batch_size: int = Field(8, ge=1)
    """Videos per forward pass."""
    workers: int = Field(default_factory=default_readers, ge=0)
    """Processes that read videos; by default one per core, at most 4."""
    resamples: int = Field(RESAMPLES, ge=0, le=1_000_000)
    """Bootstrap draws for the confidence intervals; 0 omits them."""
    skip_unreadable: bool = False
    """Skip videos that cannot be read; the report counts them."""
