"""The report of a run, `report.json`: how each model was trained, and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peclip.metrics.folds import FoldMean, mean_over_folds
from peclip.metrics.report import Report

_REQUIRED = (
    *("dataset", "fold", "base", "selected_on", "selected_epoch", "epochs", "stopped_early"),
    "targets",
)
_OPTIONAL = ("operating_point", "warning")


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One trained model."""

    dataset: str
    fold: int | None
    """Fold of the data set; `None` if it has no folds."""
    base: str
    """The model that the training started from."""
    selected_on: str
    """`val`, `last` or `test`."""
    selected_epoch: int
    epochs: int
    stopped_early: bool
    targets: str
    """`DataConfig.targets`."""
    notes: tuple[str, ...] = ()
    """Notes on the videos, one sentence each."""
    operating_point: Mapping[str, Any] | None = None
    """What was chosen on the validation videos; see `OperatingPoint.to_dict`."""
    warning: str | None = None
    """Why the scores are too high, if they are."""
    reported_on: str | None = None
    """Title of the scored videos; `None` if there are no such videos and therefore no scores."""
    scores: Report | None = None
    captions: int | None = None
    """Number of scored videos with a caption, if the model reads captions."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form; an optional field without a value has no key."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _REQUIRED}
        found |= {"notes": list(self.notes)} if self.notes else {}
        given = {name: getattr(self, name) for name in _OPTIONAL}
        found |= {name: value for name, value in given.items() if value is not None}
        if self.scores is not None:
            found |= {"reported_on": self.reported_on, **self.scores.to_dict()}
        return found | ({} if self.captions is None else {"captions": self.captions})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelReport:
        """Reads the JSON form.

        Raises:
            KeyError: a field is missing.
            ConfigError: the confusion matrix is invalid.
        """
        fields: dict[str, Any] = {name: values[name] for name in _REQUIRED}
        fields |= {name: values.get(name) for name in (*_OPTIONAL, "reported_on", "captions")}
        scores = Report.from_dict(values) if "reported_on" in values else None
        return cls(**fields, notes=tuple(values.get("notes", ())), scores=scores)


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of a run."""

    name: str
    report: RunReport
    minutes: float
    """Time of all training steps, in all folds."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form; the complete report is in the folder of the stage."""
        first, mean = self.report.folds[0], self.report.mean
        found: dict[str, Any] = {
            "name": self.name,
            "dataset": first.dataset,
            "base": first.base,
            "epochs": first.epochs,
            "minutes": round(self.minutes, 2),
        }
        whole = self.report.to_dict()
        if mean is None and first.scores is not None:
            found["reported_on"] = first.reported_on
        return found | {k: whole[k] for k in ("num_videos", "uar", "war") if k in whole}


@dataclass(frozen=True, slots=True)
class RunReport:
    """All models of a run: one, or one per fold. Of a run in stages, those of the last stage."""

    folds: tuple[ModelReport, ...]
    stages: tuple[StageReport, ...] = ()
    """All stages, if there are any."""

    @property
    def mean(self) -> FoldMean | None:
        """The mean over several folds; `None` if one of them has no scores."""
        scores = [fold.scores for fold in self.folds if fold.scores is not None]
        return mean_over_folds(scores) if len(scores) == len(self.folds) > 1 else None

    @property
    def warning(self) -> str | None:
        """The warnings of all models, without duplicates."""
        return " ".join(dict.fromkeys(fold.warning for fold in self.folds if fold.warning)) or None

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form of the single model, or the mean over folds and the form of each fold."""
        first, *others = self.folds
        stages = {"stages": [stage.to_dict() for stage in self.stages]} if self.stages else {}
        if not others:
            return first.to_dict() | stages
        return {
            **stages,
            "dataset": first.dataset,
            "selected_on": first.selected_on,
            **({} if self.mean is None else self.mean.to_dict()),
            **({} if self.warning is None else {"warning": self.warning}),
            "folds": [fold.to_dict() for fold in self.folds],
        }
