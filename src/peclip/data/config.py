"""Which part of which data set."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

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

    @field_validator("root", "annotations", "captions")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()
