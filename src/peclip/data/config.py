"""Which part of which data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from peclip.config import Config


class DataConfig(Config):
    """A split of a data set. Fields are flags of the commands by their names, or `--set data.NAME=…` of train."""

    dataset: str
    """One of `peclip.data.DATASETS`."""
    root: Path
    """The folder of the videos, `--data-root`."""
    annotations: Path | None = None
    """The folder of the lists, or the table; by default they are looked for in the root."""
    fold: int | None = Field(None, ge=1)
    """From 1; `None` where the data set has no folds."""
    split: str = "train"
    """`train`, `val`, `test` or `all`, as far as the data set has them."""
    test_subjects: tuple[str, ...] = ()
    """Instead of a fold: who is tested, for data sets of actors."""
    allow_missing: bool = False
    """Leave out videos that are listed but not there, instead of an error."""
    captions: Path | None = None
    """Descriptions of the videos, for models that read them: a file as `peclip captions` writes it."""
    targets: Literal["labels", "votes", "mixed"] = "labels"
    """What is learned: the label of the data set, annotators' votes, or votes and `label_votes` for the label. The
    label that is scored is the first of these."""
    votes: Path | None = None
    """A csv with the votes of every video; see `docs/datasets.md`. A table may have them in its column `votes`."""
    label_votes: float = Field(2.0, gt=0, allow_inf_nan=False)
    """For `mixed`: how many votes the label of the data set counts as."""
    contempt: Literal["drop", "keep"] = "drop"
    """Of a data set whose labels lack it: leave votes for contempt out, or make it one more label."""
    copies: Literal["keep", "drop_from_train", "drop_from_test"] = "keep"
    """Stills with the same pixels in several splits: leave out of train what is in val or test too, or leave out of
    val and test what is in train too."""

    @field_validator("root", "annotations", "captions", "votes")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()

    @model_validator(mode="after")
    def _check_votes(self) -> DataConfig:
        if self.votes is not None and self.targets == "labels":
            raise ValueError(
                "votes were given, and targets is labels, which does not read them: set targets to votes or "
                "mixed, or leave votes out"
            )
        return self
