"""Configuration of a data set and its split."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from peclip.config import Config


class DataConfig(Config, use_attribute_docstrings=True):
    """A split of a data set.

    Field names are flags of the commands, and their docstrings the help; `root` is `--data-root`. Others are
    set by `--set data.NAME=…` of train and evaluate.
    """

    dataset: str
    """Name of the data set, as listed by `peclip data list`."""
    root: Path
    """Root folder of the data set."""
    annotations: Path | None = None
    """Folder that contains the annotation lists, or the CSV file of the `table` data set; by default,
    peclip looks for the lists in the root folder."""
    fold: int | None = Field(None, ge=1, le=1000)
    """Fold number, starting at 1; `None` if the data set has no folds."""
    split: str = "train"
    """`train`, `val`, `test` or `all`; must exist in the data set."""
    test_subjects: tuple[str, ...] = ()
    """The test subjects (instead of a fold), for data sets with actors."""
    allow_missing: bool = False
    """Skip listed videos that are missing, instead of stopping with an error."""
    captions: Path | None = None
    """Caption file written by `peclip captions`, for models that read captions."""
    targets: Literal["labels", "votes", "mixed"] = "labels"
    """Training targets: the labels of the data set, the annotators' votes, or the votes plus `label_votes`
    votes for the label. The label with the highest target is scored."""
    votes: Path | None = None
    """A CSV file with the votes for every video; see `docs/datasets.md`. The `table` data set may provide
    them in its `votes` column instead."""
    label_votes: float = Field(2.0, gt=0, le=1e6)
    """For `mixed`: how many votes the label of the data set counts for."""
    contempt: Literal["drop", "keep"] = "drop"
    """For data sets without the label contempt: `drop` removes votes for it, `keep` adds it as a label."""
    copies: Literal["keep", "drop_from_train", "drop_from_test"] = "keep"
    """Stills that occur in more than one split: `keep` them, drop them from train if they are also in val
    or test, or drop them from val and test if they are also in train."""

    limit: int | None = Field(None, ge=1, le=1_000_000)
    """Use at most this many videos per class of each split, drawn at random, the same ones in every run."""

    @field_validator("root", "annotations", "captions", "votes")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()

    @model_validator(mode="after")
    def _check_votes(self) -> DataConfig:
        if self.votes is not None and self.targets == "labels":
            raise ValueError(
                "votes is set, but targets=labels ignores it: set targets to votes or mixed, or "
                "remove votes"
            )
        return self
